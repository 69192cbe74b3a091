//! The rules of RFC 9776 and RFC 9777 for hosts, one test each.

use core::net::IpAddr;

use packet::checksum;
use packet::ip::{Ip, IpPacket, IpVersion, Ipv4, Ipv6};
use packet::membership::{Membership, Query, QueryVersion, Record, RecordKind};

use super::envelope::is_believable;
use super::packets;
use super::reporter::{MAX_SOURCES, Report, Reporter};
use crate::base::time::Duration;
use crate::base::{Instant, Rng};
use crate::ip::addresses::AddressTable;

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
        self.reporter.join(ip(group), self.now, &mut self.rng);
    }

    fn leave(&mut self, group: &str) {
        self.reporter.leave(ip(group), self.now, &mut self.rng);
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

#[test]
fn a_change_is_reported_at_once_and_once_more_within_a_second() {
    for (family, group, _, _) in FAMILIES {
        let mut rig = Rig::new(family);
        for (change, kind) in [
            (Rig::join as fn(&mut Rig, &str), RecordKind::ToExclude),
            (Rig::leave, RecordKind::ToInclude),
        ] {
            change(&mut rig, group);
            let sent = rig.pass(5_000);
            let expected = [record(kind, group, &[])];
            assert_eq!(sent.len(), 2, "{sent:?}");
            assert!(sent.iter().all(|(_, report)| records(report) == expected));
            assert_eq!(sent[0].0, 0);
            assert!((0..=1_000).contains(&sent[1].0), "{sent:?}");
            assert_eq!(rig.reporter.poll_timeout(), None);
        }
    }
}

#[test]
fn a_later_change_takes_the_place_of_the_earlier_one_in_the_repetitions() {
    let mut rig = Rig::new(IpVersion::V4);
    rig.join("239.0.0.1");
    assert_eq!(rig.due().len(), 1);
    rig.leave("239.0.0.1");
    let sent = rig.pass(5_000);
    assert_eq!(
        sent.len(),
        2,
        "the robustness variable counts from the last change"
    );
    for (_, report) in sent {
        let expected = [record(RecordKind::ToInclude, "239.0.0.1", &[])];
        assert_eq!(records(&report), expected);
    }
}

#[test]
fn the_queriers_robustness_says_how_often_a_change_is_reported() {
    for (robustness, times) in [(0, 2), (1, 2), (3, 3), (7, 7)] {
        let mut rig = Rig::new(IpVersion::V4);
        rig.hear(&igmp(0x11, 10, "0.0.0.0", &tail(robustness, 125, &[])));
        rig.join("239.0.0.1");
        assert_eq!(rig.pass(20_000).len(), times, "{robustness}");
    }
}

#[test]
fn groups_of_every_host_and_of_no_scope_are_never_reported() {
    for (family, groups) in [
        (IpVersion::V4, &["224.0.0.1"][..]),
        (IpVersion::V6, &["ff02::1", "ff01::5", "ff00::5"]),
    ] {
        let mut rig = Rig::new(family);
        groups.iter().for_each(|group| rig.join(group));
        rig.hear(&query(
            family,
            1_000,
            FAMILIES[usize::from(family == IpVersion::V6)].2,
            &[],
        ));
        groups.iter().for_each(|group| rig.leave(group));
        assert_eq!(rig.pass(20_000), []);
    }
}

#[test]
fn a_general_query_is_answered_for_every_group_at_a_random_time() {
    for (family, group, unspecified, _) in FAMILIES {
        let mut times = Vec::new();
        for seed in 0..20 {
            let mut rig = Rig::member(family, &[group]);
            rig.rng = Rng::from_u64(seed);
            rig.hear(&query(family, 10_000, unspecified, &[]));
            assert_eq!(rig.due(), [], "never at once");
            let sent = rig.pass(10_001);
            assert_eq!(sent.len(), 1);
            assert_eq!(
                records(&sent[0].1),
                [record(RecordKind::IsExclude, group, &[])]
            );
            times.push(sent[0].0);
        }
        times.sort_unstable();
        assert!(times[0] < 3_000 && times[19] > 7_000, "{times:?}");
    }
}

#[test]
fn a_host_without_groups_and_a_query_about_another_group_cause_no_answer() {
    let mut rig = Rig::new(IpVersion::V4);
    rig.hear(&query4(100, "0.0.0.0", &[]));
    assert_eq!(rig.pass(20_000), []);
    let mut rig = Rig::member(IpVersion::V4, &["239.0.0.1"]);
    rig.hear(&query4(100, "239.0.0.2", &[]));
    assert_eq!(rig.pass(20_000), []);
}

#[test]
fn rule_1_an_earlier_answer_to_a_general_query_answers_this_one_too() {
    let mut rig = Rig::member(IpVersion::V4, &["239.0.0.1", "239.0.0.2"]);
    rig.hear(&query4(1, "0.0.0.0", &[]));
    rig.hear(&query4(250, "239.0.0.1", &[]));
    let sent = rig.pass(60_000);
    // The second delay may be shorter by chance, which the seed excludes.
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(records(&sent[0].1).len(), 2);
}

#[test]
fn rule_2_a_later_general_query_takes_the_place_of_the_earlier() {
    let mut rig = Rig::member(IpVersion::V4, &["239.0.0.1"]);
    rig.hear(&query4(250, "0.0.0.0", &[]));
    rig.hear(&query4(1, "0.0.0.0", &[]));
    let sent = rig.pass(60_000);
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(sent[0].0 <= 100, "{sent:?}");
}

#[test]
fn rule_3_a_query_about_a_group_or_its_sources_is_answered_for_them_alone() {
    for (family, group, _, source) in FAMILIES {
        let other = if family == IpVersion::V4 {
            "239.9.9.9"
        } else {
            "ff05::999"
        };
        let mut rig = Rig::member(family, &[group, other]);
        rig.hear(&query(family, 1_000, group, &[]));
        let sent = rig.pass(1_001);
        assert_eq!(sent.len(), 1);
        assert_eq!(
            records(&sent[0].1),
            [record(RecordKind::IsExclude, group, &[])]
        );
        rig.hear(&query(family, 1_000, group, &[source]));
        let sent = rig.pass(1_001);
        // Table 5: a member that excludes nothing wants each source that is asked about.
        assert_eq!(
            records(&sent[0].1),
            [record(RecordKind::IsInclude, group, &[source])]
        );
        rig.hear(&query(family, 1_000, group, &[]));
        let sent = rig.pass(1_001);
        assert_eq!(
            records(&sent[0].1),
            [record(RecordKind::IsExclude, group, &[])]
        );
    }
}

#[test]
fn rule_4_a_query_about_the_whole_group_covers_its_sources() {
    let group = "239.0.0.1";
    for (first, second) in [(&["192.0.2.1"][..], &[][..]), (&[], &["192.0.2.1"])] {
        let mut rig = Rig::member(IpVersion::V4, &[group]);
        rig.hear(&query4(100, group, first));
        rig.hear(&query4(2, group, second));
        let sent = rig.pass(60_000);
        assert_eq!(sent.len(), 1, "one answer: {sent:?}");
        assert!(sent[0].0 <= 200, "the earlier of both times: {sent:?}");
        assert_eq!(
            records(&sent[0].1),
            [record(RecordKind::IsExclude, group, &[])]
        );
    }
}

#[test]
fn rule_5_sources_of_several_queries_are_collected_up_to_a_limit() {
    let group = "239.0.0.1";
    let mut rig = Rig::member(IpVersion::V4, &[group]);
    rig.hear(&query4(10, group, &["192.0.2.1", "192.0.2.2"]));
    rig.hear(&query4(100, group, &["192.0.2.2", "192.0.2.3"]));
    let sent = rig.pass(60_000);
    let all = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
    assert_eq!(sent.len(), 1);
    assert_eq!(
        records(&sent[0].1),
        [record(RecordKind::IsInclude, group, &all)]
    );
    assert!(sent[0].0 <= 1_000, "{sent:?}");

    // A flood of sources takes no more memory: the answer covers all of them.
    let many: Vec<String> = (0..=MAX_SOURCES).map(|n| format!("192.0.2.{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for chunk in many.chunks(10) {
        rig.hear(&query4(10, group, chunk));
    }
    let sent = rig.pass(60_000);
    assert_eq!(
        records(&sent[0].1),
        [record(RecordKind::IsExclude, group, &[])]
    );
}

#[test]
fn an_answer_that_does_not_fit_one_report_is_about_all_sources() {
    let group = "239.0.0.1";
    let mut rig = Rig::member(IpVersion::V4, &[group]);
    for (max_bytes, kind, sources) in [
        (16, RecordKind::IsInclude, &["192.0.2.1", "192.0.2.2"][..]),
        (15, RecordKind::IsExclude, &[]),
    ] {
        rig.hear(&query4(10, group, &["192.0.2.1", "192.0.2.2"]));
        rig.now = rig.now + Duration::from_secs(2);
        let (reporter, rng) = (&mut rig.reporter, &mut rig.rng);
        let report = reporter.poll_transmit(rig.now, max_bytes, rng);
        let report = report.expect("an answer");
        assert_eq!(records(&report), [record(kind, group, sources)]);
    }
}

#[test]
fn a_group_that_is_left_is_no_longer_in_an_answer() {
    let mut rig = Rig::member(IpVersion::V4, &["239.0.0.1"]);
    rig.hear(&query4(100, "0.0.0.0", &[]));
    rig.hear(&query4(100, "239.0.0.1", &[]));
    rig.leave("239.0.0.1");
    let sent = rig.pass(60_000);
    assert_eq!(sent.len(), 2);
    for (_, report) in sent {
        let expected = [record(RecordKind::ToInclude, "239.0.0.1", &[])];
        assert_eq!(records(&report), expected);
    }
}

#[test]
fn many_groups_take_several_reports() {
    let groups: Vec<String> = (0..200).map(|n| format!("239.0.1.{n}")).collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let mut rig = Rig::member(IpVersion::V4, &groups);
    rig.hear(&query4(10, "0.0.0.0", &[]));
    let sent = rig.pass(2_000);
    let lens: Vec<usize> = sent
        .iter()
        .map(|(_, report)| records(report).len())
        .collect();
    assert_eq!(lens, [MAX_BYTES / 8, 200 - MAX_BYTES / 8]);
}

#[test]
fn leaving_groups_is_bounded() {
    let mut rig = Rig::new(IpVersion::V4);
    for n in 0..1_000 {
        let group = format!("239.0.{}.{}", n / 250, n % 250);
        rig.join(&group);
        rig.leave(&group);
    }
    let reported: usize = rig.due().iter().map(|report| records(report).len()).sum();
    assert!(reported <= 256, "{reported}");
}

#[test]
fn with_a_querier_of_igmp_v2_the_host_speaks_v2() {
    let mut rig = Rig::new(IpVersion::V4);
    rig.hear(&igmp(0x11, 100, "0.0.0.0", &[]));
    assert_eq!(rig.reporter.version(rig.now), QueryVersion::Two);
    rig.join("239.0.0.1");
    let report = Report::Old(QueryVersion::Two, ip("239.0.0.1"));
    let sent = rig.pass(20_000);
    assert_eq!(
        sent.len(),
        2,
        "at once, and again within ten seconds: {sent:?}"
    );
    assert_eq!((sent[0].0, &sent[0].1, &sent[1].1), (0, &report, &report));
    // A general query, then one about the group.
    for group in ["0.0.0.0", "239.0.0.1"] {
        rig.hear(&igmp(0x11, 10, group, &[]));
        assert_eq!(rig.due(), []);
        let sent = rig.pass(1_001);
        assert_eq!(
            sent.iter().map(|(_, sent)| sent).collect::<Vec<_>>(),
            [&report]
        );
    }
    rig.leave("239.0.0.1");
    assert_eq!(rig.due(), [Report::Leave(ip("239.0.0.1"))]);
    assert_eq!(rig.pass(60_000), []);
}

#[test]
fn in_version_two_a_neighbours_report_answers_for_the_host() {
    let mut rig = Rig::member(IpVersion::V4, &["239.0.0.1"]);
    rig.hear(&igmp(0x11, 100, "0.0.0.0", &[]));
    rig.hear(&igmp(0x16, 0, "239.0.0.1", &[]));
    assert_eq!(rig.pass(20_000), []);
    rig.leave("239.0.0.1");
    assert_eq!(rig.due(), [], "the neighbour is the last reporter");
    // Of the newest version no report is suppressed (RFC 9776 section 7.2.2).
    let mut rig = Rig::member(IpVersion::V4, &["239.0.0.1"]);
    rig.hear(&query4(100, "0.0.0.0", &[]));
    rig.hear(&igmp(0x16, 0, "239.0.0.1", &[]));
    assert_eq!(rig.pass(20_000).len(), 1);
}

#[test]
fn with_a_querier_of_igmp_v1_the_host_speaks_v1_and_answers_within_ten_seconds() {
    let mut rig = Rig::member(IpVersion::V4, &["239.0.0.1"]);
    rig.hear(&igmp(0x11, 0, "0.0.0.0", &[]));
    let sent = rig.pass(10_001);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].1, Report::Old(QueryVersion::One, ip("239.0.0.1")));
    rig.leave("239.0.0.1");
    assert_eq!(rig.pass(20_000), [], "IGMPv1 has no message for that");
}

#[test]
fn older_queriers_are_forgotten_in_turn() {
    let mut rig = Rig::member(IpVersion::V4, &["239.0.0.1"]);
    rig.hear(&igmp(0x11, 0, "0.0.0.0", &[]));
    rig.pass(100_000);
    rig.hear(&igmp(0x11, 100, "0.0.0.0", &[]));
    assert_eq!(rig.reporter.version(rig.now), QueryVersion::One);
    // 2 × 125 s + 10 × 10 s after each query (RFC 9776 section 8.12).
    rig.pass(250_000);
    assert_eq!(rig.reporter.version(rig.now), QueryVersion::Two);
    rig.pass(99_999);
    assert_eq!(rig.reporter.version(rig.now), QueryVersion::Two);
    rig.pass(1);
    assert_eq!(rig.reporter.version(rig.now), QueryVersion::Three);
}

#[test]
fn a_query_about_a_group_does_not_change_the_version() {
    let mut rig = Rig::member(IpVersion::V4, &["239.0.0.1"]);
    rig.hear(&igmp(0x11, 100, "239.0.0.1", &[]));
    assert_eq!(rig.reporter.version(rig.now), QueryVersion::Three);
    let sent = rig.pass(20_000);
    assert_eq!(
        records(&sent[0].1),
        [record(RecordKind::IsExclude, "239.0.0.1", &[])]
    );
}

#[test]
fn a_change_of_the_version_gives_up_what_is_pending() {
    let mut rig = Rig::new(IpVersion::V4);
    rig.join("239.0.0.1");
    assert_eq!(rig.due().len(), 1);
    rig.hear(&igmp(0x11, 100, "0.0.0.0", &[]));
    let sent = rig.pass(20_000);
    let report = Report::Old(QueryVersion::Two, ip("239.0.0.1"));
    assert_eq!(
        sent.iter().map(|(_, sent)| sent).collect::<Vec<_>>(),
        [&report]
    );
}

#[test]
fn with_a_router_of_mld_v1_the_host_speaks_v1() {
    let mut rig = Rig::member(IpVersion::V6, &["ff05::1"]);
    rig.hear(&query6(0xffff, "::", &[]));
    assert_eq!(rig.reporter.version(rig.now), QueryVersion::Two);
    // The response code is linear in this version: 65.535 s, not hours.
    let sent = rig.pass(65_536);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].1, Report::Old(QueryVersion::Two, ip("ff05::1")));
    rig.leave("ff05::1");
    assert_eq!(rig.due(), [Report::Leave(ip("ff05::1"))]);
    rig.pass(250_000);
    assert_eq!(rig.reporter.version(rig.now), QueryVersion::Three);
}

#[test]
fn groups_are_reported_again_once_there_is_a_link_local_address() {
    let mut rig = Rig::member(IpVersion::V6, &["ff05::1", "ff05::2"]);
    rig.reporter.report_all(rig.now, &mut rig.rng);
    let sent = rig.due();
    let expected = ["ff05::1", "ff05::2"].map(|group| record(RecordKind::ToExclude, group, &[]));
    assert_eq!(records(&sent[0]), expected);
}

#[test]
fn lengths_that_no_version_has_are_refused() {
    for len in [0, 4, 7, 9, 10, 11] {
        let bytes = vec![0; len];
        assert!(Membership::parse_igmp(&bytes).is_err(), "{len}");
    }
    // Two sources announced, one there.
    let mut short = query4(10, "239.0.0.1", &["192.0.2.1"]);
    short[11] = 2;
    short[2..4].copy_from_slice(&[0, 0]);
    let sum = checksum::of(&short).to_be_bytes();
    short[2..4].copy_from_slice(&sum);
    assert!(Membership::parse_igmp(&short).is_err());
    let mut damaged = query4(10, "239.0.0.1", &[]);
    damaged[9] ^= 1;
    assert!(Membership::parse_igmp(&damaged).is_err(), "checksum");
    // Bytes behind the fields belong to the checksum and are ignored.
    let long = igmp(
        0x11,
        10,
        "239.0.0.1",
        &[&tail(2, 125, &[])[..], b"more"].concat(),
    );
    let Ok(Membership::Query(query)) = Membership::parse_igmp(&long) else {
        panic!("a query");
    };
    assert_eq!(query.source_count(), 0);
}

fn addresses(prefixes: &[&str]) -> AddressTable {
    let mut table = AddressTable::new();
    for prefix in prefixes {
        table.add(prefix.parse().expect(prefix)).expect(prefix);
    }
    table
}

#[test]
fn reports_have_ttl_1_router_alert_and_the_right_addresses() {
    let ours = addresses(&["10.0.0.1/24", "2001:db8::1/64", "fe80::1/64"]);
    let records = Report::Records(vec![record(RecordKind::ToExclude, "239.0.0.1", &[])]);
    let old = |version| Report::Old(version, ip("239.0.0.1"));
    let leave = Report::Leave(ip("239.0.0.1"));
    for (report, dst, kind) in [
        (&records, "224.0.0.22", 0x22),
        (&old(QueryVersion::Two), "239.0.0.1", 0x16),
        (&old(QueryVersion::One), "239.0.0.1", 0x12),
        (&leave, "224.0.0.2", 0x17),
    ] {
        let bytes = bytes_of(IpVersion::V4, report, &ours);
        let packet = IpPacket::<Ipv4>::parse(&bytes).expect("a packet");
        assert_eq!((packet.ttl(), packet.traffic_class()), (1, 0xc0));
        assert_eq!(IpAddr::from(packet.src()), ip("10.0.0.1"));
        assert_eq!(IpAddr::from(packet.dst()), ip(dst));
        assert_eq!(bytes[20..24], [148, 4, 0, 0]);
        assert_eq!(packet.payload()[0], kind);
        assert!(checksum::verify(packet.payload()));
    }
    let records = Report::Records(vec![record(RecordKind::ToExclude, "ff05::1", &[])]);
    for (report, dst, kind) in [
        (&records, "ff02::16", 143),
        (
            &Report::Old(QueryVersion::Two, ip("ff05::1")),
            "ff05::1",
            131,
        ),
        (&Report::Leave(ip("ff05::1")), "ff02::2", 132),
    ] {
        let bytes = bytes_of(IpVersion::V6, report, &ours);
        let packet = IpPacket::<Ipv6>::parse(&bytes).expect("a packet");
        assert_eq!(packet.ttl(), 1);
        assert_eq!(IpAddr::from(packet.src()), ip("fe80::1"));
        assert_eq!(IpAddr::from(packet.dst()), ip(dst));
        assert_eq!(bytes[40..48], [58, 0, 5, 2, 0, 0, 1, 0]);
        assert_eq!(packet.payload()[0], kind);
        let (src, dst) = (packet.src().into(), packet.dst().into());
        let icmp = packet::IpProto::ICMPV6;
        assert!(checksum::verify_transport(src, dst, icmp, packet.payload()));
    }
    // Without an address of the family, or without a link-local one.
    let bytes = bytes_of(IpVersion::V6, &records, &addresses(&["2001:db8::1/64"]));
    assert_eq!(
        IpPacket::<Ipv6>::parse(&bytes)
            .expect("a packet")
            .src()
            .to_bits(),
        0
    );
    let bytes = bytes_of(IpVersion::V4, &leave, &addresses(&["2001:db8::1/64"]));
    assert_eq!(
        IpPacket::<Ipv4>::parse(&bytes)
            .expect("a packet")
            .src()
            .to_bits(),
        0
    );
}

fn bytes_of(family: IpVersion, report: &Report, ours: &AddressTable) -> Vec<u8> {
    packets::packet(family, report, ours)
        .expect("a packet")
        .to_vec()
}

#[test]
fn queries_from_elsewhere_are_not_believed() {
    use packet::build::{
        Head, IpFields, prepend_ip, prepend_ipv4_with_options, prepend_options_header,
    };
    let fields = |src: &str, dst: &str, ttl| IpFields {
        src: ip(src),
        dst: ip(dst),
        proto: packet::IpProto::IGMP,
        ttl,
        traffic_class: 0,
        ident: 0,
        dont_fragment: true,
        flow_label: 0,
    };
    let v4 = |dst: &str, alert: bool, message: &[u8]| {
        let (mut head, fields) = (Head::new(), fields("10.0.0.2", dst, 1));
        let options: &[u8] = if alert { &[148, 4, 0, 0] } else { &[] };
        prepend_ipv4_with_options(&mut head, &fields, options, message.len()).expect("built");
        let bytes = [head.as_slice(), message].concat();
        let packet = IpPacket::<Ipv4>::parse(&bytes).expect("a packet");
        believed(&packet, read(IpVersion::V4, packet.payload()))
    };
    let (v1, v2) = (igmp(0x11, 0, "0.0.0.0", &[]), igmp(0x11, 9, "0.0.0.0", &[]));
    let specific = query4(9, "239.0.0.1", &[]);
    for (dst, alert, message, expected) in [
        ("224.0.0.1", true, &v2, true),
        ("224.0.0.1", false, &v2, false),
        ("224.0.0.1", false, &v1, true),
        ("239.0.0.1", true, &v2, false),
        // RFC 9776 section 4.1.12: any address of the host will do.
        ("10.0.0.1", true, &v2, true),
        ("239.0.0.1", true, &specific, true),
        ("239.0.0.1", false, &specific, false),
    ] {
        assert_eq!(
            v4(dst, alert, message),
            expected,
            "{dst} {alert} {message:?}"
        );
    }
    let v6 = |src: &str, ttl, alert: bool| {
        let message = query6(1_000, "::", &tail(2, 125, &[]));
        let mut head = Head::new();
        let mut fields = fields(src, "ff02::1", ttl);
        fields.proto = packet::IpProto::ICMPV6;
        if alert {
            fields.proto = packet::IpProto::HOP_BY_HOP;
            let alert = [5, 2, 0, 0];
            prepend_options_header(&mut head, packet::IpProto::ICMPV6, &alert).expect("built");
        }
        prepend_ip(&mut head, &fields, message.len()).expect("built");
        let bytes = [head.as_slice(), &message].concat();
        let packet = IpPacket::<Ipv6>::parse(&bytes).expect("a packet");
        believed(&packet, read(IpVersion::V6, packet.payload()))
    };
    assert!(v6("fe80::2", 1, true));
    assert!(!v6("2001:db8::2", 1, true), "source");
    assert!(!v6("fe80::2", 2, true), "hop limit");
    assert!(!v6("fe80::2", 1, false), "router alert");
}

fn believed<I: Ip>(packet: &IpPacket<'_, I>, message: Membership<'_>) -> bool {
    match message {
        Membership::Query(query) => is_believable::<I>(packet, &query),
        other => panic!("{other:?}"),
    }
}

/// Queries of every content and any order leave the state bounded and its timers in the future.
#[test]
fn floods_of_queries_change_nothing_but_the_time_of_answers() {
    let mut rig = Rig::member(IpVersion::V4, &["239.0.0.1"]);
    let mut random = Rng::from_u64(3);
    let (mut sent, mut asked, mut most_sources) = (0, 0, 0);
    for _ in 0..20_000 {
        let mut bytes = vec![0; 8 + random.below(64) as usize];
        random.fill(&mut bytes);
        bytes[0] = [0x11, 0x16, 0x12, 0x17, 0x22][random.below(5) as usize];
        match random.below(8) {
            0 => {}
            1 => bytes[4..8].fill(0),
            _ => bytes[4..8].copy_from_slice(&[239, 0, 0, 1]),
        }
        if random.chance(500_000) && bytes.len() >= 12 {
            // As many sources as there are.
            let count = (bytes.len() as u16 - 12) / 4;
            bytes[10..12].copy_from_slice(&count.to_be_bytes());
        }
        bytes[2..4].copy_from_slice(&[0, 0]);
        let sum = checksum::of(&bytes).to_be_bytes();
        bytes[2..4].copy_from_slice(&sum);
        match Membership::parse_igmp(&bytes) {
            Ok(Membership::Query(query)) => {
                asked += 1;
                query_in(&mut rig, &query);
            }
            Ok(Membership::Report(group)) => rig.reporter.on_old_report(group, rig.now),
            _ => {}
        }
        most_sources = most_sources.max(rig.reporter.queried_sources());
        sent += rig.pass(10).len();
        let next = rig.reporter.poll_timeout();
        assert!(next.is_none_or(|next| next > rig.now), "{next:?}");
    }
    assert!(
        most_sources > 0 && most_sources <= MAX_SOURCES,
        "{most_sources}"
    );
    // 200 seconds; several queries are answered by one report.
    assert!(asked > 1_000, "{asked}");
    assert!(sent > 0 && sent < asked / 2, "{sent} to {asked} queries");
}

fn query_in(rig: &mut Rig, query: &Query<'_>) {
    rig.reporter.on_query(query, rig.now, &mut rig.rng);
}
