//! Multicast groups: joined sockets, IGMP and MLD, against packets made by hand and against the kernel.

mod all_hosts;
mod edges;
mod kernel;
mod kernel_sources;
mod sources;
mod virtual_link;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet::checksum;
use tests::forge;

/// The group of the tests in IPv4.
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
/// The group of the tests in IPv6.
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 1, 0x23);

/// Builds an IGMPv3 query that allows `tenths` tenths of a second: a general one to 224.0.0.1, or one about `group`.
fn igmp_query(from: Ipv4Addr, group: Option<Ipv4Addr>, tenths: u8) -> Vec<u8> {
    igmp_source_query(from, group, tenths, &[])
}

/// As [`igmp_query`], about these sources of the group.
fn igmp_source_query(
    from: Ipv4Addr,
    group: Option<Ipv4Addr>,
    tenths: u8,
    sources: &[IpAddr],
) -> Vec<u8> {
    let to = group.unwrap_or(Ipv4Addr::new(224, 0, 0, 1));
    let mut message = vec![0x11, tenths, 0, 0];
    message.extend(group.unwrap_or(Ipv4Addr::UNSPECIFIED).octets());
    message.extend(query_tail(sources));
    igmp_packet(from, to, message)
}

/// Returns the end of a query of the newest version: robustness, interval, sources.
fn query_tail(sources: &[IpAddr]) -> Vec<u8> {
    let mut tail = vec![2, 125, 0, sources.len() as u8];
    for source in sources {
        match source {
            IpAddr::V4(v4) => tail.extend(v4.octets()),
            IpAddr::V6(v6) => tail.extend(v6.octets()),
        }
    }
    tail
}

/// Seals a message of IGMP, and puts it into a packet with TTL 1 and the Router Alert option.
fn igmp_packet(from: Ipv4Addr, to: Ipv4Addr, mut message: Vec<u8>) -> Vec<u8> {
    let sum = checksum::of(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    let mut packet = forge::ipv4_with(from, to, 2, &[148, 4, 0, 0], &message);
    packet[8] = 1;
    forge::seal_v4(&mut packet);
    packet
}

/// Builds a general query of MLDv2 to `ff02::1` that allows `millis` milliseconds.
fn mld_query(from: Ipv6Addr, millis: u16) -> Vec<u8> {
    mld_source_query(from, None, millis, &[])
}

/// As [`mld_query`], or about a group, or these sources of it.
fn mld_source_query(
    from: Ipv6Addr,
    group: Option<Ipv6Addr>,
    millis: u16,
    sources: &[IpAddr],
) -> Vec<u8> {
    let to = group.unwrap_or(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
    let mut message = vec![130, 0, 0, 0];
    message.extend(millis.to_be_bytes());
    message.extend([0; 2]);
    message.extend(group.unwrap_or(Ipv6Addr::UNSPECIFIED).octets());
    message.extend(query_tail(sources));
    mld_packet(from, to, message)
}

/// Seals a message of MLD, and puts it into a packet with hop limit 1 and the Router Alert option.
fn mld_packet(from: Ipv6Addr, to: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
    let (src, dst) = (IpAddr::V6(from), IpAddr::V6(to));
    let len = message.len() as u32;
    let mut sum = checksum::pseudo_header(src, dst, packet::IpProto::ICMPV6, len);
    sum.add_bytes(&message);
    message[2..4].copy_from_slice(&sum.finish().to_be_bytes());
    let hop_by_hop = [58, 0, 5, 2, 0, 0, 1, 0];
    let mut packet = forge::ipv6_from(from, to, 0, &[&hop_by_hop[..], &message].concat());
    packet[7] = 1;
    packet
}

/// A record of a report: its kind, its group, and its number of sources.
type Record = (u8, IpAddr, u16);

/// A record of a report with its sources.
type SourceRecord = (u8, IpAddr, Vec<IpAddr>);

/// Returns the records of an IGMPv3 report, or of an MLDv2 report; `None` for any other packet.
fn records(packet: &[u8]) -> Option<Vec<Record>> {
    let found = source_records(packet)?.into_iter();
    let count = |(kind, group, sources): SourceRecord| (kind, group, sources.len() as u16);
    Some(found.map(count).collect())
}

/// As [`records`], with the sources.
fn source_records(packet: &[u8]) -> Option<Vec<SourceRecord>> {
    let (message, address_len) = match packet.first()? >> 4 {
        4 => (packet.get(24..)?, 4),
        _ => (packet.get(48..)?, 16),
    };
    let is_report = match address_len {
        4 => packet[9] == 2 && packet[0] == 0x46 && message[0] == 0x22,
        _ => packet[6] == 0 && packet[40] == 58 && message[0] == 143,
    };
    if !is_report {
        return None;
    }
    let count = u16::from_be_bytes([message[6], message[7]]);
    let mut rest = &message[8..];
    let address = |bytes: &[u8]| match address_len {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).expect("an address")),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes).expect("an address")),
    };
    let mut found = Vec::new();
    for _ in 0..count {
        let sources = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        let (addresses, behind) = rest[4..].split_at(address_len * (1 + sources));
        let mut addresses = addresses.chunks(address_len).map(address);
        let group = addresses.next().expect("the group");
        found.push((rest[0], group, addresses.collect()));
        rest = behind;
    }
    Some(found)
}

/// The kinds of records.
const IS_IN: u8 = 1;
const IS_EX: u8 = 2;
const TO_IN: u8 = 3;
const TO_EX: u8 = 4;
const ALLOW: u8 = 5;
const BLOCK: u8 = 6;
