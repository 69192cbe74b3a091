//! Checksums of transports, computed by a library that the stack does not use.

use std::net::IpAddr;

use etherparse::checksum::Sum16BitWords;

use super::packet::{ICMP, ICMPV6, Packet, TCP, UDP};

/// Returns the offset of the checksum in a transport's header.
fn field(protocol: u8) -> Option<usize> {
    match protocol {
        TCP => Some(16),
        UDP => Some(6),
        ICMP | ICMPV6 => Some(2),
        _ => None,
    }
}

/// Returns the sum over the pseudo-header.
fn pseudo(packet: &Packet<'_>, len: usize) -> Sum16BitWords {
    let mut sum = Sum16BitWords::new();
    if packet.protocol == ICMP {
        return sum;
    }
    let sum = match (packet.source, packet.destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => sum.add_4bytes(from.octets()).add_4bytes(to.octets()),
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            sum.add_16bytes(from.octets()).add_16bytes(to.octets())
        }
        _ => sum,
    };
    sum.add_2bytes([0, packet.protocol])
        .add_4bytes((len as u32).to_be_bytes())
}

/// Returns true if the checksum is right; `None` if the packet has none, or was not captured whole.
pub(crate) fn is_right(packet: &Packet<'_>) -> Option<bool> {
    let payload = packet.payload();
    let at = field(packet.protocol)?;
    if payload.len() < packet.payload_len as usize || packet.fragment.is_some() {
        return None;
    }
    let stored = payload.get(at..at + 2)?;
    if packet.protocol == UDP && stored == [0, 0] {
        return None;
    }
    Some(
        pseudo(packet, payload.len())
            .add_slice(payload)
            .ones_complement()
            == 0,
    )
}

/// Writes the checksums of an IP packet, also that of an IPv4 header; wrong ones of the transport if `spoil`.
pub(crate) fn write(ip: &mut [u8], spoil: bool) {
    write_header(ip);
    let Some((at, value)) = computed(ip) else {
        return;
    };
    let value = if spoil { !value } else { value };
    if let Some(place) = ip.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

fn computed(ip: &mut [u8]) -> Option<(usize, u16)> {
    let (at, protocol) = {
        let packet = Packet::parse(ip, ip.len() as u32)?;
        (packet.payload_at + field(packet.protocol)?, packet.protocol)
    };
    ip.get_mut(at..at + 2)?.fill(0);
    let packet = Packet::parse(ip, ip.len() as u32)?;
    let payload = packet.payload();
    let sum = pseudo(&packet, payload.len()).add_slice(payload);
    let value = u16::from_be(sum.ones_complement());
    // In UDP, zero means that there is none.
    let value = if protocol == UDP && value == 0 {
        0xffff
    } else {
        value
    };
    Some((at, value))
}

/// Writes the checksum of an IPv4 header.
pub(crate) fn write_header(ip: &mut [u8]) {
    let len = match ip.first() {
        Some(first) if first >> 4 == 4 => usize::from(first & 0xf) * 4,
        _ => return,
    };
    let Some(header) = ip.get_mut(..len).filter(|header| header.len() >= 20) else {
        return;
    };
    header[10..12].fill(0);
    let sum = Sum16BitWords::new().add_slice(header).ones_complement();
    header[10..12].copy_from_slice(&sum.to_ne_bytes());
}
