//! The headers of a completed packet: those of its first fragment, without the fragmentation.

use core::ops::Range;

use crate::ip::fragment::{FRAGMENT_HEADER, IPV6_HEADER};

/// Returns the ECN codepoint of a packet.
pub(super) fn ecn_of(packet: &[u8]) -> u8 {
    match packet {
        [first, second, ..] if first >> 4 == 4 => second & 3,
        [first, second, ..] if first >> 4 == 6 => second >> 4 & 3,
        _ => 0,
    }
}

/// Sets the ECN codepoint of a packet.
pub(super) fn set_ecn(packet: &mut [u8], ipv6: bool, ecn: u8) {
    if let Some(byte) = packet.get_mut(1) {
        *byte = if ipv6 {
            *byte & !0x30 | ecn << 4
        } else {
            *byte & !3 | ecn
        };
    }
}

/// Returns the ECN codepoint of a datagram: CE if any fragment has it. A mix of CE and Not-ECT is not
/// valid, and the datagram is dropped (RFC 3168 section 5.3).
pub(super) fn combine_ecn(seen: u8) -> Option<u8> {
    const NOT_ECT: u8 = 1 << 0;
    const ECT_1: u8 = 1 << 1;
    const ECT_0: u8 = 1 << 2;
    const CE: u8 = 1 << 3;
    match seen {
        s if s & CE != 0 && s & NOT_ECT != 0 => None,
        s if s & CE != 0 => Some(3),
        // Of a mix of the others, any may be selected.
        s if s & NOT_ECT != 0 => Some(0),
        s if s & ECT_0 != 0 => Some(2),
        s if s & ECT_1 != 0 => Some(1),
        _ => Some(0),
    }
}

/// Sets the total length and clears the fragment fields.
pub(super) fn rewrite_ipv4(packet: &mut [u8], header_len: usize) -> Option<()> {
    let total = u16::try_from(packet.len()).ok()?;
    let header = packet.get_mut(..header_len)?;
    header.get_mut(2..4)?.copy_from_slice(&total.to_be_bytes());
    header.get_mut(6..8)?.copy_from_slice(&[0, 0]);
    Some(())
}

/// Computes the checksum of an IPv4 header and writes it into the header.
pub(super) fn write_ipv4_checksum(header: &mut [u8]) {
    const FIELD: Range<usize> = 10..12;
    if let Some(field) = header.get_mut(FIELD) {
        field.copy_from_slice(&[0, 0]);
    }
    let checksum = packet::checksum::of(header);
    if let Some(field) = header.get_mut(FIELD) {
        field.copy_from_slice(&checksum.to_be_bytes());
    }
}

/// Removes the fragment header: moves the headers in front of it by 8 bytes, which is where the packet
/// then begins. Sets the last next header field to `proto`, and the payload length.
pub(super) fn rewrite_ipv6(packet: &mut [u8], header_len: usize, proto: u8) -> Option<()> {
    let kept = header_len.checked_sub(FRAGMENT_HEADER)?;
    packet.copy_within(0..kept, FRAGMENT_HEADER);
    let packet = packet.get_mut(FRAGMENT_HEADER..)?;
    let payload_len = u16::try_from(packet.len().checked_sub(IPV6_HEADER)?).ok()?;
    packet
        .get_mut(4..6)?
        .copy_from_slice(&payload_len.to_be_bytes());
    // Walks the extension headers in front of the fragment header, which the parser has accepted. Each has
    // at least 8 bytes, so the loop ends.
    let mut next_header_at = 6;
    let mut at = IPV6_HEADER;
    while at < kept {
        next_header_at = at;
        at += (usize::from(*packet.get(at + 1)?) + 1) * 8;
    }
    *packet.get_mut(next_header_at)? = proto;
    Some(())
}
