//! Builds packets byte by byte, independently of the code under test. They are valid until a test
//! changes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netstackd::probe::ping::internet_checksum;

use crate::hostile::Family;

/// An address of the subnet without a host, so that no kernel reacts to the daemon's answers.
pub const FROM_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 99);
/// An IPv6 address of the subnet without a host.
pub const FROM_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x99);

/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;
/// Number of the destination options header.
pub const DESTINATION_OPTIONS: u8 = 60;
/// Number of the fragment header.
pub const FRAGMENT_HEADER: u8 = 44;

/// Type of an ICMP echo reply.
pub const ECHO_REPLY_V4: u8 = 0;
/// Type of an ICMPv6 echo reply.
pub const ECHO_REPLY_V6: u8 = 129;

/// Writes the right IPv4 header checksum.
pub fn seal_v4(packet: &mut [u8]) {
    let header_bytes = usize::from(packet[0] & 0x0f) * 4;
    let header_bytes = header_bytes.min(packet.len());
    packet[10..12].fill(0);
    let sum = internet_checksum(&packet[..header_bytes]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// Builds an IPv4 packet with `options` (a multiple of 4 bytes) and `payload`.
pub fn ipv4_with(
    from: Ipv4Addr,
    to: Ipv4Addr,
    proto: u8,
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let header_bytes = 20 + options.len();
    let total = u16::try_from(header_bytes + payload.len()).expect("a packet");
    let mut packet = vec![0x40 | (header_bytes / 4) as u8, 0];
    packet.extend_from_slice(&total.to_be_bytes());
    packet.extend_from_slice(&[0x12, 0x34, 0, 0, 64, proto, 0, 0]);
    packet.extend_from_slice(&from.octets());
    packet.extend_from_slice(&to.octets());
    packet.extend_from_slice(options);
    packet.extend_from_slice(payload);
    seal_v4(&mut packet);
    packet
}

/// Builds an IPv4 packet from [`FROM_V4`].
pub fn ipv4(to: Ipv4Addr, proto: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_with(FROM_V4, to, proto, &[], payload)
}

/// Builds an IPv4 fragment from [`FROM_V4`]; `offset` is in bytes.
pub fn ipv4_fragment(
    to: Ipv4Addr,
    proto: u8,
    ident: u16,
    offset: u16,
    more: bool,
    payload: &[u8],
) -> Vec<u8> {
    let mut packet = ipv4(to, proto, payload);
    packet[4..6].copy_from_slice(&ident.to_be_bytes());
    let field = (offset / 8) | if more { 0x2000 } else { 0 };
    packet[6..8].copy_from_slice(&field.to_be_bytes());
    seal_v4(&mut packet);
    packet
}

/// Builds an IPv6 packet.
pub fn ipv6_from(from: Ipv6Addr, to: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a packet");
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend_from_slice(&length.to_be_bytes());
    packet.extend_from_slice(&[next, 64]);
    packet.extend_from_slice(&from.octets());
    packet.extend_from_slice(&to.octets());
    packet.extend_from_slice(payload);
    packet
}

/// Builds an IPv6 packet from [`FROM_V6`].
pub fn ipv6(to: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    ipv6_from(FROM_V6, to, next, payload)
}

/// Builds an IPv6 fragment header and its payload; `offset` is in bytes.
pub fn fragment_v6(next: u8, ident: u32, offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![next, 0];
    bytes.extend_from_slice(&(offset | u16::from(more)).to_be_bytes());
    bytes.extend_from_slice(&ident.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Returns the stack's address in the family of `address`.
fn ours(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => Family::V4.ours(),
        IpAddr::V6(_) => Family::V6.ours(),
    }
}

/// Builds a packet from `from` to the stack, with an IPv4 or IPv6 header.
pub fn packet(from: IpAddr, proto: u8, payload: &[u8]) -> Vec<u8> {
    packet_to(from, ours(from), proto, payload)
}

/// Builds a packet.
///
/// # Panics
///
/// Panics if the addresses are of different families.
pub fn packet_to(from: IpAddr, to: IpAddr, proto: u8, payload: &[u8]) -> Vec<u8> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ipv4_with(from, to, proto, &[], payload),
        (IpAddr::V6(from), IpAddr::V6(to)) => ipv6_from(from, to, proto, payload),
        _ => panic!("{from} and {to} are of different families"),
    }
}

/// Builds a fragment from `from` to the stack; `offset` is in bytes.
pub fn fragment(
    from: IpAddr,
    proto: u8,
    ident: u16,
    offset: u16,
    more: bool,
    payload: &[u8],
) -> Vec<u8> {
    match from {
        IpAddr::V4(_) => {
            let mut packet = packet(from, proto, payload);
            packet[4..6].copy_from_slice(&ident.to_be_bytes());
            let field = (offset / 8) | if more { 0x2000 } else { 0 };
            packet[6..8].copy_from_slice(&field.to_be_bytes());
            seal_v4(&mut packet);
            packet
        }
        IpAddr::V6(_) => {
            let body = fragment_v6(proto, ident.into(), offset, more, payload);
            packet(from, FRAGMENT_HEADER, &body)
        }
    }
}

/// Builds a UDP datagram from `from` to the stack, with its checksum.
pub fn datagram(from: IpAddr, source: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    sealed(packet(from, UDP, &udp(source, to, payload)))
}

/// Builds a UDP message from `from` to the stack with its checksum, to be cut into fragments.
pub fn udp_message(from: IpAddr, source: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let whole = datagram(from, source, to, payload);
    whole[header_bytes(&whole)..].to_vec()
}

/// Builds an echo request from `from` to the stack; `rest` is identifier and sequence number.
pub fn echo_request(from: IpAddr, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
    match from {
        IpAddr::V4(_) => sealed(packet(from, ICMP, &icmp(8, 0, rest, payload))),
        IpAddr::V6(_) => sealed(packet(from, ICMPV6, &icmp(128, 0, rest, payload))),
    }
}

/// An ICMP error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Complaint {
    /// Protocol unreachable, or with IPv6 the parameter problem that means the same.
    Protocol,
    /// Port unreachable.
    Port,
    /// Larger than this MTU.
    TooBig(u32),
}

/// Builds an ICMP error of `from` about the packet `quote` of the stack.
pub fn complaint(from: IpAddr, complaint: Complaint, quote: &[u8]) -> Vec<u8> {
    let number = |mtu: u32| mtu.to_be_bytes();
    let (kind, code, rest) = match (from, complaint) {
        (IpAddr::V4(_), Complaint::Protocol) => (3, 2, [0; 4]),
        (IpAddr::V4(_), Complaint::Port) => (3, 3, [0; 4]),
        (IpAddr::V4(_), Complaint::TooBig(mtu)) => (3, 4, number(mtu)),
        (IpAddr::V6(_), Complaint::Protocol) => (4, 1, number(6)),
        (IpAddr::V6(_), Complaint::Port) => (1, 4, [0; 4]),
        (IpAddr::V6(_), Complaint::TooBig(mtu)) => (2, 0, number(mtu)),
    };
    let proto = if from.is_ipv4() { ICMP } else { ICMPV6 };
    sealed(packet(from, proto, &icmp(kind, code, rest, quote)))
}

fn header_bytes(packet: &[u8]) -> usize {
    match packet[0] >> 4 {
        4 => usize::from(packet[0] & 0x0f) * 4,
        _ => 40,
    }
}

/// Returns the destination, the transport protocol and the transport message of a packet that is no fragment and
/// has no extension headers.
pub fn parts(packet: &[u8]) -> Option<(IpAddr, u8, &[u8])> {
    match packet.first()? >> 4 {
        4 if packet[6] & 0x3f == 0 => {
            let to: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
            Some((to.into(), packet[9], packet.get(header_bytes(packet)..)?))
        }
        6 => {
            let to: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
            Some((to.into(), packet[6], packet.get(40..)?))
        }
        _ => None,
    }
}

/// Returns the checksum of a transport message with its pseudo-header; the checksum field must be zero.
fn transport_checksum(from: &[u8], to: &[u8], proto: u8, message: &[u8]) -> [u8; 2] {
    let mut bytes = [from, to].concat();
    bytes.extend_from_slice(&(message.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 0, proto]);
    bytes.extend_from_slice(message);
    internet_checksum(&bytes).to_be_bytes()
}

/// Writes the right transport checksum into a packet without options or extension headers.
pub fn seal(packet: &mut [u8]) {
    let (addresses, at, proto) = match packet[0] >> 4 {
        4 => (12..20, 20, packet[9]),
        _ => (8..40, 40, packet[6]),
    };
    let addresses = packet[addresses].to_vec();
    let (from, to) = addresses.split_at(addresses.len() / 2);
    let field = at
        + match proto {
            TCP => 16,
            UDP => 6,
            _ => 2,
        };
    packet[field..field + 2].fill(0);
    let sum = match proto {
        ICMP => internet_checksum(&packet[at..]).to_be_bytes(),
        _ => transport_checksum(from, to, proto, &packet[at..]),
    };
    // In UDP a checksum of zero says that there is none (RFC 768).
    let sum = match (proto, sum) {
        (UDP, [0, 0]) => [0xff; 2],
        _ => sum,
    };
    packet[field..field + 2].copy_from_slice(&sum);
}

/// Returns the packet with the right transport checksum.
pub fn sealed(mut packet: Vec<u8>) -> Vec<u8> {
    seal(&mut packet);
    packet
}

/// Builds a UDP datagram with a checksum of zero.
pub fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [from.to_be_bytes(), to.to_be_bytes()].concat();
    bytes.extend_from_slice(&(8 + payload.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(payload);
    bytes
}

/// Builds a TCP segment without options, with a checksum of zero; `flags` as in the header's low byte.
pub fn tcp(from: u16, to: u16, seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [from.to_be_bytes(), to.to_be_bytes()].concat();
    bytes.extend_from_slice(&seq.to_be_bytes());
    bytes.extend_from_slice(&ack.to_be_bytes());
    bytes.extend_from_slice(&[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    bytes.extend_from_slice(payload);
    bytes
}

/// Builds an ICMP or ICMPv6 message with a checksum of zero.
pub fn icmp(kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, code, 0, 0];
    bytes.extend_from_slice(&rest);
    bytes.extend_from_slice(payload);
    bytes
}
