//! Merges TCP segments that continue each other into super-segments, as the kernel's GRO does.
//!
//! * **Define.** A [`Train`] is one segment, or several that one super-segment could have been cut into: the
//!   same headers but for lengths, identification, sequence number, PSH and checksums, and all of one size but
//!   the last, which may be shorter.
//! * **Enforce.** The checksums of a segment are verified before it becomes part of a train of several.
//! * **Consume.** The device vouches for the checksum of a train of several, and each byte of its payload was
//!   sent in this order.

use std::ops::Deref;

use packet::checksum::{self, RxChecksum};
use packet::ip::Outline;
use packet::tcp::{TcpFlags, TcpOption, TcpOptionIter};
use packet::{Buffers, IpProto, Payload};

use crate::base::{Counters, DropReason};

const TCP_LEN: usize = 20;
const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
/// Largest IP packet without the header of IPv6, in bytes.
const MAX_BYTES: usize = 65_535;
/// Longest headers of a segment, in bytes: IPv6, and TCP with options.
const MAX_HEADER_BYTES: usize = IPV6_LEN + 60;
/// Length of timestamps and their padding, in bytes: no code of use fits beside it into fewer.
const TIMESTAMPS_LEN: usize = 12;
/// Offset of the flags in a TCP header.
const FLAGS_AT: usize = 13;

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
    /// The flags of ECN but AE.
    ecn: TcpFlags,
}

impl Shape {
    /// Returns the shape of a data segment without IP options, extension headers, or flags beyond ACK, PSH and those
    /// of ECN.
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
        let flags = TcpFlags::from_bits_retain((*tcp.get(FLAGS_AT)?).into());
        // The flags of ECN must be those of the segments before; so RFC 9768 wants it.
        let any = TcpFlags::PSH | TcpFlags::ECE | TcpFlags::CWR;
        let plain = flags.difference(any) == TcpFlags::ACK;
        if !plain || total_len != packet.len() || header_len < tcp_at + TCP_LEN {
            return None;
        }
        let payload_len = packet.len().checked_sub(header_len)?;
        if is_signed(tcp.get(TCP_LEN..header_len - tcp_at)?) {
            return None;
        }
        Some(Self {
            tcp_at,
            header_len,
            seq: u32::from_be_bytes(tcp.get(4..8)?.try_into().ok()?),
            payload_len,
            push: flags.contains(TcpFlags::PSH),
            ecn: flags & (TcpFlags::ECE | TcpFlags::CWR),
        })
        .filter(|shape| shape.payload_len > 0)
    }
}

/// Returns true if options have a code that covers this segment alone (TCP-AO, RFC 5925): one that continues it with a
/// copy of the options is forged, and both would be lost.
fn is_signed(options: &[u8]) -> bool {
    if options.len() <= TIMESTAMPS_LEN {
        return false;
    }
    TcpOptionIter::new(options).any(|option| matches!(option, TcpOption::Authentication { .. }))
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

/// Segments that continue each other, in the order in which they came. Kept from one train to the next, for its
/// allocation.
#[derive(Debug)]
pub(super) struct Train<P> {
    segments: Vec<P>,
    /// The shape of the first one, if others may be merged with it.
    shape: Option<Shape>,
    /// Length of the merged packet, in bytes.
    len: usize,
    next_seq: u32,
    /// No other segment can follow.
    is_complete: bool,
}

/// A packet for the stack.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) data: Payload,
    pub(super) checksum: RxChecksum,
    pub(super) gso_size: u16,
}

impl<P> Default for Train<P> {
    fn default() -> Self {
        Self {
            segments: Vec::new(),
            shape: None,
            len: 0,
            next_seq: 0,
            is_complete: false,
        }
    }
}

impl<P: Deref<Target = [u8]>> Train<P> {
    /// Appends a packet if it continues the train; gives it back otherwise. Any packet begins an empty one.
    pub(super) fn push(&mut self, packet: P) -> Result<(), P> {
        let Some(first) = self.segments.first() else {
            self.begin(packet);
            return Ok(());
        };
        if self.is_complete {
            return Err(packet);
        }
        let (Some(mine), Some(next)) = (self.shape, Shape::of(&packet)) else {
            return Err(packet);
        };
        let len = self.len + next.payload_len;
        let continues = (next.tcp_at, next.header_len) == (mine.tcp_at, mine.header_len)
            && next.seq == self.next_seq
            && next.ecn == mine.ecn
            && next.payload_len <= mine.payload_len
            && len <= MAX_BYTES
            && same_flow(first, &packet, &mine)
            && is_intact(&packet, &next);
        if !continues {
            return Err(packet);
        }
        if self.segments.len() == 1 && !is_intact(first, &mine) {
            self.is_complete = true;
            return Err(packet);
        }
        self.len = len;
        self.next_seq = next.seq.wrapping_add(next.payload_len as u32);
        self.is_complete = next.push || next.payload_len < mine.payload_len;
        self.segments.push(packet);
        Ok(())
    }

    fn begin(&mut self, first: P) {
        let shape = Shape::of(&first);
        self.len = first.len();
        self.is_complete = shape.is_none_or(|shape| shape.push);
        self.next_seq = shape.map_or(0, |shape| shape.seq.wrapping_add(shape.payload_len as u32));
        self.shape = shape;
        self.segments.push(first);
    }

    /// Empties the train. Passes its segments to `each` as one packet, or, if they are one or there is no memory
    /// to merge them in, one by one, as `keep` keeps them. Packets that no memory holds are counted.
    pub(super) fn finish(
        &mut self,
        buffers: &Buffers,
        counters: &Counters,
        keep: impl Fn(P) -> Option<Payload>,
        mut each: impl FnMut(Merged),
    ) {
        if let Some(merged) = self.merge(buffers) {
            self.segments.clear();
            each(merged);
            return;
        }
        for segment in self.segments.drain(..) {
            match keep(segment) {
                Some(data) => each(Merged {
                    data,
                    checksum: RxChecksum::Unknown,
                    gso_size: 0,
                }),
                None => counters.drop_packet(DropReason::NoReceiveBuffer),
            }
        }
    }

    /// Copies several segments into one packet with the lengths of all.
    fn merge(&self, buffers: &Buffers) -> Option<Merged> {
        let (shape, [first, .., last]) = (self.shape?, &self.segments[..]) else {
            return None;
        };
        let mut room = [0; MAX_HEADER_BYTES];
        let header = room.get_mut(..shape.header_len)?;
        header.copy_from_slice(first.get(..shape.header_len)?);
        // The last one may have PSH.
        *header.get_mut(shape.tcp_at + FLAGS_AT)? |= *last.get(shape.tcp_at + FLAGS_AT)?;
        set_len(header.get_mut(..shape.tcp_at)?, self.len);
        let payloads = self.segments.iter().map(|segment| {
            let payload = segment.get(shape.header_len..);
            payload.unwrap_or(&[])
        });
        Some(Merged {
            data: buffers.gather(std::iter::once(&*header).chain(payloads))?,
            checksum: RxChecksum::Vouched,
            // A segment of a packet that was received is no longer than that.
            gso_size: shape.payload_len as u16,
        })
    }
}

/// Writes the length of a packet, at most [`MAX_BYTES`], into its IP header.
fn set_len(ip: &mut [u8], len: usize) {
    if ip.len() == IPV4_LEN {
        ip[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        ip[10..12].copy_from_slice(&[0, 0]);
        let sum = checksum::of(ip).to_be_bytes();
        ip[10..12].copy_from_slice(&sum);
    } else {
        ip[4..6].copy_from_slice(&((len - IPV6_LEN) as u16).to_be_bytes());
    }
}

#[cfg(test)]
#[path = "coalesce_tests.rs"]
mod tests;
