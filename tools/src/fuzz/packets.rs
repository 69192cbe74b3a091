//! Packets for the fuzzer, built by a library that the stack does not use and then mutated; and checks
//! of a packet that do not depend on the stack.

use std::net::IpAddr;

use etherparse::{PacketBuilder, PacketBuilderStep, ip_number};

use super::input::Input;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV4: u8 = 1;
const ICMPV6: u8 = 58;

/// The sender's and the receiver's address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Path {
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
}

/// The fields of one TCP segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tcp<'a> {
    pub(super) from: u16,
    pub(super) to: u16,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: u8,
    pub(super) window: u16,
    pub(super) options: &'a [u8],
}

impl Path {
    fn ip(&self) -> PacketBuilderStep<etherparse::IpHeaders> {
        match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                PacketBuilder::ipv4(from.octets(), to.octets(), 64)
            }
            (from, to) => PacketBuilder::ipv6(v6(from), v6(to), 64),
        }
    }

    pub(super) fn tcp(&self, tcp: &Tcp<'_>, payload: &[u8]) -> Vec<u8> {
        let mut header = etherparse::TcpHeader::new(tcp.from, tcp.to, tcp.seq, tcp.window);
        header.acknowledgment_number = tcp.ack;
        header.fin = tcp.flags & 0x01 != 0;
        header.syn = tcp.flags & 0x02 != 0;
        header.rst = tcp.flags & 0x04 != 0;
        header.psh = tcp.flags & 0x08 != 0;
        header.ack = tcp.flags & 0x10 != 0;
        header.urg = tcp.flags & 0x20 != 0;
        header.ece = tcp.flags & 0x40 != 0;
        header.cwr = tcp.flags & 0x80 != 0;
        let options = tcp.options.get(..tcp.options.len().min(40) & !3);
        // It fails only for an illegal length.
        let _ = header.set_options_raw(options.unwrap_or_default());
        written(|out| self.ip().tcp_header(header).write(out, payload))
    }

    pub(super) fn udp(&self, from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
        written(|out| self.ip().udp(from, to).write(out, payload))
    }

    pub(super) fn echo(&self, id: u16, payload: &[u8]) -> Vec<u8> {
        if self.to.is_ipv4() {
            written(|out| self.ip().icmpv4_echo_request(id, 1).write(out, payload))
        } else {
            written(|out| self.ip().icmpv6_echo_request(id, 1).write(out, payload))
        }
    }

    pub(super) fn icmp(&self, kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
        if self.to.is_ipv4() {
            written(|out| self.ip().icmpv4_raw(kind, code, rest).write(out, payload))
        } else {
            written(|out| self.ip().icmpv6_raw(kind, code, rest).write(out, payload))
        }
    }

    /// Builds one fragment with any offset.
    pub(super) fn fragment(
        &self,
        id: u16,
        offset: u16,
        more: bool,
        proto: u8,
        bytes: &[u8],
    ) -> Vec<u8> {
        let field = (offset & 0x1fff) << 3 | u16::from(more);
        if self.to.is_ipv4() {
            let mut packet = written(|out| self.ip().write(out, ip_number::UDP, bytes));
            packet[4..6].copy_from_slice(&id.to_be_bytes());
            let field = (field >> 3) | if more { 0x2000 } else { 0 };
            packet[6..8].copy_from_slice(&field.to_be_bytes());
            packet[9] = proto;
            fix_checksums(&mut packet);
            return packet;
        }
        let mut header = vec![proto, 0];
        header.extend(field.to_be_bytes());
        header.extend([0, 0]);
        header.extend(id.to_be_bytes());
        header.extend(bytes);
        written(|out| {
            self.ip()
                .write(out, ip_number::IPV6_FRAGMENTATION_HEADER, &header)
        })
    }
}

fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
    }
}

/// Returns the packet that `write` builds; an empty one if its length is not possible.
fn written<E>(write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Vec<u8> {
    let mut out = Vec::new();
    if write(&mut out).is_err() {
        out.clear();
    }
    out
}

/// Mutates the packet as the input says, most often not at all.
pub(super) fn mutate(packet: &mut Vec<u8>, input: &mut Input<'_>) {
    let times = [0, 0, 0, 1, 1, 2, 3, 8][input.below(8)];
    for _ in 0..times {
        if packet.is_empty() {
            packet.push(input.u8());
        }
        // Most changes go to the headers, where they matter.
        let at = if input.rarely(4) {
            input.below(packet.len())
        } else {
            input.below(packet.len().min(80))
        };
        match input.below(7) {
            0 | 1 => packet[at] = input.u8(),
            2 => packet[at] ^= 1 << input.below(8),
            3 => packet.truncate(at),
            4 => packet.extend(input.bytes(16)),
            5 => {
                let bytes = input.bytes(4);
                packet.splice(at..at, bytes.iter().copied());
            }
            _ => {
                let value = [0, 0, 0xff, 0xff, 0x7f, 0x80][input.below(6)];
                packet[at] = value;
            }
        }
    }
    if times > 0 && !input.rarely(4) {
        fix_checksums(packet);
    }
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).fold(0, |sum, pair| {
        sum + u32::from(u16::from_be_bytes([
            pair[0],
            pair.get(1).copied().unwrap_or(0),
        ]))
    })
}

fn folded(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

/// Returns the offset of the checksum in a transport header.
fn checksum_at(proto: u8) -> Option<usize> {
    match proto {
        TCP => Some(16),
        UDP => Some(6),
        ICMPV4 | ICMPV6 => Some(2),
        _ => None,
    }
}

/// Returns where the transport header begins and ends, its protocol and the sum of its pseudo-header;
/// `None` if the packet is fragmented, malformed, or has extension headers.
fn transport(packet: &[u8]) -> Option<(usize, usize, u8, u32)> {
    let (at, end, proto, addresses) = match packet.first()? >> 4 {
        4 => {
            let at = usize::from(packet[0] & 15) * 4;
            let end = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
            if packet.get(6)? & 0x3f != 0 || *packet.get(7)? != 0 {
                return None;
            }
            (at, end, *packet.get(9)?, packet.get(12..20)?)
        }
        6 => {
            let len = usize::from(u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?]));
            (40, 40 + len, *packet.get(6)?, packet.get(8..40)?)
        }
        _ => return None,
    };
    let len = packet.get(at..end)?.len() as u32;
    let pseudo = match proto {
        ICMPV4 => 0,
        _ => sum(addresses) + u32::from(proto) + (len >> 16) + (len & 0xffff),
    };
    Some((at, end, proto, pseudo))
}

/// Writes the right value into every checksum field that the packet has room for.
pub(super) fn fix_checksums(packet: &mut [u8]) {
    if packet.first().is_some_and(|first| first >> 4 == 4) {
        let len = usize::from(packet[0] & 15) * 4;
        if len >= 20
            && let Some(header) = packet.get_mut(..len)
        {
            header[10..12].fill(0);
            let sum = !folded(sum(header));
            header[10..12].copy_from_slice(&sum.to_be_bytes());
        }
    }
    let Some((at, end, proto, pseudo)) = transport(packet) else {
        return;
    };
    let Some(field) = checksum_at(proto).map(|offset| at + offset) else {
        return;
    };
    if field + 2 > end {
        return;
    }
    packet[field..field + 2].fill(0);
    let mut value = !folded(pseudo + sum(&packet[at..end]));
    if value == 0 && proto == UDP {
        value = 0xffff;
    }
    packet[field..field + 2].copy_from_slice(&value.to_be_bytes());
}

/// Returns true if every checksum that the packet has is right.
pub(super) fn checksums_hold(packet: &[u8]) -> bool {
    if packet.first().is_some_and(|first| first >> 4 == 4) {
        let len = usize::from(packet[0] & 15) * 4;
        let header = packet.get(..len).unwrap_or_default();
        if folded(sum(header)) != 0xffff {
            return false;
        }
    }
    let Some((at, end, proto, pseudo)) = transport(packet) else {
        return true;
    };
    let Some(offset) = checksum_at(proto) else {
        return true;
    };
    if at + offset + 2 > end {
        return false;
    }
    let field = packet.get(at + offset..at + offset + 2);
    if proto == UDP && field == Some(&[0, 0]) {
        return packet[0] >> 4 == 4;
    }
    folded(pseudo + sum(&packet[at..end])) == 0xffff
}

/// Returns the reason why no stack may accept the packet, if the packet alone shows one; `None` if it
/// may be valid.
pub(super) fn certainly_bad(packet: &[u8], ours: IpAddr) -> Option<&'static str> {
    let Some(first) = packet.first() else {
        return Some("empty");
    };
    let to = match first >> 4 {
        4 => {
            let header = usize::from(first & 15) * 4;
            if packet.len() < 20 || header < 20 {
                return Some("shorter than a header");
            }
            let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
            if total < header || total > packet.len() {
                return Some("length");
            }
            if folded(sum(&packet[..header])) != 0xffff {
                return Some("header checksum");
            }
            let to: [u8; 4] = [packet[16], packet[17], packet[18], packet[19]];
            IpAddr::from(to)
        }
        6 => {
            if packet.len() < 40 {
                return Some("shorter than a header");
            }
            let len = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
            if 40 + len > packet.len() {
                return Some("length");
            }
            let mut to = [0; 16];
            to.copy_from_slice(&packet[24..40]);
            IpAddr::from(to)
        }
        _ => return Some("version"),
    };
    let own_family = to.is_ipv4() == ours.is_ipv4();
    // All ones and all zeros after the prefix are broadcast addresses (RFC 1122 section 3.2.1.3).
    let many = match to {
        IpAddr::V4(to) => {
            to.is_multicast() || to.is_broadcast() || matches!(to.octets()[3], 0 | 255)
        }
        IpAddr::V6(to) => to.is_multicast(),
    };
    if own_family && to != ours && !many {
        return Some("for another host");
    }
    let (at, end, proto, _) = transport(packet)?;
    // The UDP length says what is summed: if it differs from the IP length, the packet alone does not
    // show what a stack does.
    let length = packet.get(at + 4..at + 6)?;
    let plain = proto == TCP
        || proto == UDP && usize::from(u16::from_be_bytes([length[0], length[1]])) == end - at;
    if plain && end - at >= 8 && !checksums_hold(packet) {
        return Some("transport checksum");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: Path = Path {
        from: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9)),
        to: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)),
    };
    const V6: Path = Path {
        from: IpAddr::V6(std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 9)),
        to: IpAddr::V6(std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1)),
    };

    #[test]
    fn built_packets_are_good_and_a_flipped_bit_is_seen() {
        let tcp = Tcp {
            from: 1,
            to: 2,
            seq: 3,
            ack: 4,
            flags: 0x12,
            window: 5,
            options: &[2, 4, 5, 180, 1, 1, 1, 0],
        };
        for path in [V4, V6] {
            for packet in [
                path.tcp(&tcp, b"abc"),
                path.udp(7, 8, b"abcd"),
                path.echo(9, b"x"),
                path.icmp(3, 4, [0; 4], b"quoted"),
            ] {
                assert!(checksums_hold(&packet), "{packet:02x?}");
                assert_eq!(certainly_bad(&packet, path.to), None);
                let mut fixed = packet.clone();
                fix_checksums(&mut fixed);
                assert_eq!(fixed, packet);
                let mut damaged = packet.clone();
                *damaged.last_mut().expect("a byte") ^= 0x10;
                assert!(!checksums_hold(&damaged));
                for len in 0..packet.len() {
                    let _ = certainly_bad(&packet[..len], path.to);
                    fix_checksums(&mut damaged[..len]);
                }
            }
            assert!(!path.fragment(1, 2, true, 17, b"abcdefgh").is_empty());
        }
    }
}
