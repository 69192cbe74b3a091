//! The messages that a host sends.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::igmp;
use crate::checksum;
use crate::icmp::{Icmpv6, Icmpv6Link};

/// The kind of a record in a report of the newest version (RFC 9776 section 4.2.13).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RecordKind {
    /// IS_IN: the member wants the sources listed.
    IsInclude,
    /// IS_EX: the member wants all sources but those listed.
    IsExclude,
    /// TO_IN: the member wants only the sources listed from now on; with none, it left the group.
    ToInclude,
    /// TO_EX: the member wants all sources but those listed from now on; with none, it joined the group.
    ToExclude,
    /// ALLOW: the member wants the sources listed, too, from now on.
    Allow,
    /// BLOCK: the member wants the sources listed no more from now on.
    Block,
}

impl RecordKind {
    const fn number(self) -> u8 {
        match self {
            Self::IsInclude => 1,
            Self::IsExclude => 2,
            Self::ToInclude => 3,
            Self::ToExclude => 4,
            Self::Allow => 5,
            Self::Block => 6,
        }
    }
}

/// A record of a report of the newest version: the state of one group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its kind.
    pub kind: RecordKind,
    /// The group.
    pub group: IpAddr,
    /// The sources; addresses of the other family than the group's are left out.
    pub sources: Vec<IpAddr>,
}

impl Record {
    /// Returns the length of the record in a report, in bytes.
    pub fn len_bytes(&self) -> usize {
        let address = if self.group.is_ipv4() { 4 } else { 16 };
        4 + address + self.sources.len() * address
    }

    /// Appends the record to `out`: without auxiliary data, of which no kind is defined.
    fn write(&self, out: &mut Vec<u8>) {
        let sources = self.sources.iter();
        let sources = sources.filter(|source| source.is_ipv4() == self.group.is_ipv4());
        // As many as fit a packet.
        let count = sources.clone().count() as u16;
        out.extend([self.kind.number(), 0]);
        out.extend(count.to_be_bytes());
        push_address(out, self.group);
        for &source in sources {
            push_address(out, source);
        }
    }
}

fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => out.extend(v4.octets()),
        IpAddr::V6(v6) => out.extend(v6.octets()),
    }
}

/// A message of IGMP that a host sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IgmpMessage<'a> {
    /// A report of IGMPv1 about one group.
    ReportV1(Ipv4Addr),
    /// A report of IGMPv2 about one group.
    ReportV2(Ipv4Addr),
    /// IGMPv2: the host left the group.
    LeaveV2(Ipv4Addr),
    /// A report of IGMPv3.
    ReportV3(&'a [Record]),
}

impl IgmpMessage<'_> {
    /// Returns the whole message, with its checksum.
    pub fn to_vec(&self) -> Vec<u8> {
        let (kind, rest, records): (_, _, &[Record]) = match self {
            Self::ReportV1(group) => (igmp::REPORT_V1, group.octets(), &[]),
            Self::ReportV2(group) => (igmp::REPORT_V2, group.octets(), &[]),
            Self::LeaveV2(group) => (igmp::LEAVE_V2, group.octets(), &[]),
            Self::ReportV3(records) => (igmp::REPORT_V3, count_of(records), records),
        };
        let mut out = vec![kind, 0, 0, 0];
        out.extend(rest);
        for record in records {
            record.write(&mut out);
        }
        let sum = checksum::of(&out).to_be_bytes();
        if let Some(field) = out.get_mut(2..4) {
            field.copy_from_slice(&sum);
        }
        out
    }
}

/// A message of MLD that a host sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MldMessage<'a> {
    /// A report of MLDv1 about one group.
    Report(Ipv6Addr),
    /// MLDv1: the host left the group.
    Done(Ipv6Addr),
    /// A report of MLDv2.
    ReportV2(&'a [Record]),
}

impl MldMessage<'_> {
    /// Returns the ICMPv6 header of the message, and the bytes behind it.
    pub fn to_parts(&self) -> (Icmpv6, Vec<u8>) {
        let (message, rest, body) = match self {
            Self::Report(group) => (Icmpv6Link::MulticastReport, [0; 4], group.octets().to_vec()),
            Self::Done(group) => (Icmpv6Link::MulticastDone, [0; 4], group.octets().to_vec()),
            Self::ReportV2(records) => {
                let mut body = Vec::new();
                for record in *records {
                    record.write(&mut body);
                }
                (Icmpv6Link::MulticastReportV2, count_of(records), body)
            }
        };
        (Icmpv6::Link { message, rest }, body)
    }
}

/// Returns the four bytes with the number of records: two reserved ones, then the number.
fn count_of(records: &[Record]) -> [u8; 4] {
    // As many as fit a packet.
    let [high, low] = (records.len() as u16).to_be_bytes();
    [0, 0, high, low]
}
