//! The rules of RFC 9776 and RFC 9777 for hosts, one test each.

use core::net::IpAddr;

use packet::checksum;
use packet::ip::{Ip, IpPacket, IpVersion, Ipv4, Ipv6};
use packet::membership::{Membership, Query, QueryVersion, Record, RecordKind};

use super::envelope::is_believable;
use super::filter::{FilterMode, SourceFilter};
use super::packets;
use super::reporter::{MAX_SOURCES, Report, Reporter};
use crate::base::time::Duration;
use crate::base::{Instant, Rng};
use crate::ip::addresses::AddressTable;

mod headers;
mod newest;
mod older;
mod sources;

const MAX_BYTES: usize = 1_400;

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// A host, its time and its randomness.
struct Rig {
    reporter: Reporter,
    rng: Rng,
    now: Instant,
}

impl Rig {
    fn new(family: IpVersion) -> Self {
        Self {
            reporter: Reporter::new(family),
            rng: Rng::from_u64(7),
            now: at(1_000),
        }
    }

    /// A member of these groups whose joins were reported to the end.
    fn member(family: IpVersion, groups: &[&str]) -> Self {
        let mut rig = Self::new(family);
        for group in groups {
            rig.join(group);
        }
        rig.pass(20_000);
        rig
    }

    fn join(&mut self, group: &str) {
        self.want(group, &SourceFilter::everything());
    }

    fn leave(&mut self, group: &str) {
        self.want(group, &SourceFilter::nothing());
    }

    fn want(&mut self, group: &str, filter: &SourceFilter) {
        let (group, rng) = (ip(group), &mut self.rng);
        self.reporter.change(group, filter, self.now, rng);
    }

    fn hear(&mut self, message: &[u8]) {
        let family = if message[0] == 0x11 || message[0] < 0x20 {
            IpVersion::V4
        } else {
            IpVersion::V6
        };
        match read(family, message) {
            Membership::Query(query) => self.reporter.on_query(&query, self.now, &mut self.rng),
            Membership::Report(group) => self.reporter.on_old_report(group, self.now),
            Membership::Other => {}
        }
    }

    /// Returns what is due now.
    fn due(&mut self) -> Vec<Report> {
        let (reporter, rng) = (&mut self.reporter, &mut self.rng);
        std::iter::from_fn(|| reporter.poll_transmit(self.now, MAX_BYTES, rng)).collect()
    }

    /// Lets time pass from timer to timer; returns what is sent, with the milliseconds since the start.
    fn pass(&mut self, millis: u64) -> Vec<(u64, Report)> {
        let (start, end) = (self.now, self.now + Duration::from_millis(millis));
        let mut sent = Vec::new();
        while let Some(next) = self.reporter.poll_timeout().filter(|next| *next <= end) {
            self.now = next.max(self.now);
            let since = (self.now - start).as_millis() as u64;
            sent.extend(self.due().into_iter().map(|report| (since, report)));
            let next = self.reporter.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "{next:?}");
        }
        self.now = end;
        sent
    }
}

fn read(family: IpVersion, message: &[u8]) -> Membership<'_> {
    match family {
        IpVersion::V4 => Membership::parse_igmp(message).expect("a message of IGMP"),
        IpVersion::V6 => {
            let (src, dst) = ("fe80::1".parse(), "ff02::1".parse());
            let (src, dst) = (src.expect("an address"), dst.expect("an address"));
            let vouched = packet::RxChecksum::Vouched;
            let view = packet::icmp::Icmpv6View::parse(src, dst, message, vouched);
            Membership::of_mld(&view.expect("a message"))
                .expect("a message of MLD")
                .expect("of the right length")
        }
    }
}

/// A message of IGMP with its checksum.
fn igmp(kind: u8, code: u8, group: &str, tail: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, code, 0, 0];
    match ip(group) {
        IpAddr::V4(v4) => bytes.extend(v4.octets()),
        IpAddr::V6(_) => panic!("{group}"),
    }
    bytes.extend(tail);
    let sum = checksum::of(&bytes).to_be_bytes();
    bytes[2..4].copy_from_slice(&sum);
    bytes
}

/// The end of a query of IGMPv3 or MLDv2: robustness, interval, sources.
fn tail(robustness: u8, interval: u8, sources: &[&str]) -> Vec<u8> {
    let mut bytes = vec![robustness, interval];
    bytes.extend((sources.len() as u16).to_be_bytes());
    for source in sources {
        match ip(source) {
            IpAddr::V4(v4) => bytes.extend(v4.octets()),
            IpAddr::V6(v6) => bytes.extend(v6.octets()),
        }
    }
    bytes
}

/// A query of IGMPv3 that allows `tenths` tenths of a second.
fn query4(tenths: u8, group: &str, sources: &[&str]) -> Vec<u8> {
    igmp(0x11, tenths, group, &tail(2, 125, sources))
}

/// A query of MLD that allows `millis` milliseconds; of version one without a tail.
fn query6(millis: u16, group: &str, tail: &[u8]) -> Vec<u8> {
    let mut bytes = vec![130, 0, 0, 0];
    bytes.extend(millis.to_be_bytes());
    bytes.extend([0, 0]);
    match ip(group) {
        IpAddr::V6(v6) => bytes.extend(v6.octets()),
        IpAddr::V4(_) => panic!("{group}"),
    }
    bytes.extend(tail);
    bytes
}

fn record(kind: RecordKind, group: &str, sources: &[&str]) -> Record {
    Record {
        kind,
        group: ip(group),
        sources: sources.iter().map(|source| ip(source)).collect(),
    }
}

fn records(report: &Report) -> &[Record] {
    match report {
        Report::Records(records) => records,
        other => panic!("{other:?} is of an older version"),
    }
}

/// The families, with a group, the unspecified address and a source of each.
const FAMILIES: [(IpVersion, &str, &str, &str); 2] = [
    (IpVersion::V4, "239.1.2.3", "0.0.0.0", "192.0.2.9"),
    (IpVersion::V6, "ff05::123", "::", "2001:db8::9"),
];

/// A query of the newest version in either family.
fn query(family: IpVersion, millis: u16, group: &str, sources: &[&str]) -> Vec<u8> {
    match family {
        IpVersion::V4 => query4((millis / 100) as u8, group, sources),
        IpVersion::V6 => query6(millis, group, &tail(2, 125, sources)),
    }
}

fn query_in(rig: &mut Rig, query: &Query<'_>) {
    rig.reporter.on_query(query, rig.now, &mut rig.rng);
}
