//! Merges TCP segments that continue each other into super-segments, as the kernel's GRO does.
//!
//! * **Define.** A [`Train`] is one segment, or several that one super-segment could have been cut into: the
//!   same headers but for lengths, identification, sequence number, PSH and checksums, and all of one size but
//!   the last, which may be shorter.
//! * **Enforce.** The checksums of a segment are verified before it becomes part of a train of several.
//! * **Consume.** The device vouches for the checksum of a train of several, and each byte of its payload was
//!   sent in this order.

use bytes::Bytes;
use packet::IpProto;
use packet::checksum::{self, RxChecksum};
use packet::ip::Outline;
use packet::tcp::TcpFlags;

const TCP_LEN: usize = 20;
const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
/// Largest IP packet without the header of IPv6, in bytes.
const MAX_BYTES: usize = 65_535;

/// A TCP segment that may be merged, as offsets and numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shape {
    /// Offset of the TCP header.
    tcp_at: usize,
    /// Length of all headers.
    header_len: usize,
    seq: u32,
    payload_len: usize,
    /// It has PSH: nothing is merged behind it.
    push: bool,
}

impl Shape {
    /// Returns the shape of a data segment without IP options, extension headers, or flags beyond ACK and PSH.
    fn of(packet: &[u8]) -> Option<Self> {
        let (tcp_at, proto_at) = match packet.first()? {
            0x45 => (IPV4_LEN, 9),
            version if version >> 4 == 6 => (IPV6_LEN, 6),
            _ => return None,
        };
        if *packet.get(proto_at)? != IpProto::TCP.0 {
            return None;
        }
        let total_len = if tcp_at == IPV4_LEN {
            // Neither "more fragments" nor an offset.
            if packet.get(6)? & 0x3f != 0 || *packet.get(7)? != 0 {
                return None;
            }
            usize::from(number(packet, 2)?)
        } else {
            IPV6_LEN + usize::from(number(packet, 4)?)
        };
        let tcp = packet.get(tcp_at..)?;
        let header_len = tcp_at + usize::from(tcp.get(12)? >> 4) * 4;
        let flags = TcpFlags::from_bits_retain(*tcp.get(13)?);
        let plain = flags | TcpFlags::PSH == TcpFlags::ACK | TcpFlags::PSH;
        if !plain || total_len != packet.len() || header_len < tcp_at + TCP_LEN {
            return None;
        }
        let payload_len = packet.len().checked_sub(header_len)?;
        Some(Self {
            tcp_at,
            header_len,
            seq: u32::from_be_bytes(tcp.get(4..8)?.try_into().ok()?),
            payload_len,
            push: flags.contains(TcpFlags::PSH),
        })
        .filter(|shape| shape.payload_len > 0)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Returns true if two packets of one shape have the same headers, but for what differs within a train.
fn same_flow(first: &[u8], next: &[u8], shape: &Shape) -> bool {
    let same = |from: usize, to: usize| first.get(from..to) == next.get(from..to);
    let ip = if shape.tcp_at == IPV4_LEN {
        same(0, 2) && same(6, 10) && same(12, 20)
    } else {
        same(0, 4) && same(6, 40)
    };
    let tcp = shape.tcp_at;
    // Ports; acknowledgment and data offset; window; urgent pointer and options.
    ip && same(tcp, tcp + 4)
        && same(tcp + 8, tcp + 13)
        && same(tcp + 14, tcp + 16)
        && same(tcp + 18, shape.header_len)
}

/// Verifies the checksums of both headers.
fn is_intact(packet: &[u8], shape: &Shape) -> bool {
    let (Some(outline), Some(tcp)) = (Outline::read(packet), packet.get(shape.tcp_at..)) else {
        return false;
    };
    let ip = shape.tcp_at == IPV6_LEN || packet.get(..IPV4_LEN).is_some_and(checksum::verify);
    ip && checksum::verify_transport(outline.src, outline.dst, IpProto::TCP, tcp)
}

/// Segments that were merged.
#[derive(Debug)]
pub(super) struct Train {
    first: Bytes,
    shape: Option<Shape>,
    /// The merged packet, once there is a second segment.
    merged: Vec<u8>,
    /// Nothing can follow.
    is_complete: bool,
    next_seq: u32,
}

/// A packet for the stack.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) data: Bytes,
    pub(super) checksum: RxChecksum,
    pub(super) gso_size: u16,
}

impl Train {
    /// Begins a train with any packet.
    pub(super) fn new(first: Bytes) -> Self {
        let shape = Shape::of(&first);
        Self {
            is_complete: shape.is_none_or(|shape| shape.push),
            next_seq: shape.map_or(0, |shape| shape.seq.wrapping_add(shape.payload_len as u32)),
            shape,
            first,
            merged: Vec::new(),
        }
    }

    /// Appends a packet if it continues the train. `room` is how many bytes may still come, to make room for at
    /// once.
    pub(super) fn push(&mut self, packet: &[u8], room: usize) -> bool {
        if self.is_complete {
            return false;
        }
        let (Some(mine), Some(next)) = (self.shape, Shape::of(packet)) else {
            return false;
        };
        let len = self.merged.len().max(self.first.len()) + next.payload_len;
        let continues = (next.tcp_at, next.header_len) == (mine.tcp_at, mine.header_len)
            && next.seq == self.next_seq
            && next.payload_len <= mine.payload_len
            && len <= MAX_BYTES
            && same_flow(&self.first, packet, &mine)
            && is_intact(packet, &next);
        if !continues {
            return false;
        }
        if self.merged.is_empty() {
            if !is_intact(&self.first, &mine) {
                self.is_complete = true;
                return false;
            }
            self.merged
                .reserve_exact((self.first.len() + room).min(MAX_BYTES));
            self.merged.extend_from_slice(&self.first);
        }
        let payload = packet.get(next.header_len..).unwrap_or(&[]);
        self.merged.extend_from_slice(payload);
        self.next_seq = next.seq.wrapping_add(next.payload_len as u32);
        self.is_complete = next.push || next.payload_len < mine.payload_len;
        if next.push
            && let Some(flags) = self.merged.get_mut(mine.tcp_at + 13)
        {
            *flags |= TcpFlags::PSH.bits();
        }
        true
    }

    /// Returns the packet: the first one as it was, or the merged one with the lengths of all.
    pub(super) fn finish(self) -> Merged {
        let (Some(shape), false) = (self.shape, self.merged.is_empty()) else {
            return Merged {
                data: self.first,
                checksum: RxChecksum::Unknown,
                gso_size: 0,
            };
        };
        let mut merged = self.merged;
        // At most MAX_BYTES.
        let len = merged.len();
        if let Some(ip) = merged.get_mut(..shape.tcp_at) {
            if shape.tcp_at == IPV4_LEN {
                ip[2..4].copy_from_slice(&(len as u16).to_be_bytes());
                ip[10..12].copy_from_slice(&[0, 0]);
                let sum = checksum::of(ip).to_be_bytes();
                ip[10..12].copy_from_slice(&sum);
            } else {
                ip[4..6].copy_from_slice(&((len - IPV6_LEN) as u16).to_be_bytes());
            }
        }
        Merged {
            data: Bytes::from(merged),
            checksum: RxChecksum::Vouched,
            // A segment of a packet that was received is no longer than that.
            gso_size: shape.payload_len as u16,
        }
    }
}

#[cfg(test)]
#[path = "coalesce_tests.rs"]
mod tests;
