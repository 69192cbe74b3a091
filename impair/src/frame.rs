//! A packet, or a super-packet that stands for many, and how it is cut.

use std::ops::Range;

use packet::IpProto;
use packet::checksum::{self, Checksum as Sum};
use packet::frame::SegmentKind;
use packet::ip::Outline;

pub(crate) const V4_LEN: usize = 20;
pub(crate) const V6_LEN: usize = 40;
const TCP_LEN: usize = 20;
pub(crate) const UDP_LEN: usize = 8;
/// Offsets in a TCP header, in bytes.
const TCP_SEQ_AT: usize = 4;
const TCP_DATA_OFFSET_AT: usize = 12;
const TCP_FLAGS_AT: usize = 13;
const TCP_CHECKSUM_AT: usize = 16;
/// Offsets in a UDP header, in bytes.
const UDP_LEN_AT: usize = 4;
pub(crate) const UDP_CHECKSUM_AT: usize = 6;
const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;
/// The ECN field: both bits set is "congestion experienced" (RFC 3168 section 5).
const ECN_CE: u8 = 3;

/// The state of a packet's transport checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Checksum {
    /// It is in the packet, and nobody has verified it.
    #[default]
    Complete,
    /// It was verified, or the packet never left the machine: the field may hold anything.
    Vouched,
    /// The field holds the sum of the pseudo-header: summing from `start` to the end is left to whoever needs it.
    Partial {
        /// Offset of the transport header, in bytes.
        start: u16,
        /// Offset of the checksum field from `start`, in bytes.
        offset: u16,
    },
}

/// How a super-packet is cut into segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cut {
    pub(crate) kind: SegmentKind,
    /// Offset of the transport header, in bytes.
    pub(crate) transport_at: usize,
    /// Length of all headers, in bytes.
    pub(crate) header_len: usize,
    /// Bytes of payload in each segment but the last.
    pub(crate) size: usize,
}

/// An IP packet, or a super-packet: the headers of the first segment with the payload of all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    pub(crate) bytes: Vec<u8>,
    pub(crate) checksum: Checksum,
    pub(crate) cut: Option<Cut>,
}

impl Frame {
    /// Returns a packet with a complete checksum.
    pub fn bare(bytes: Vec<u8>) -> Self {
        Self::new(bytes, Checksum::Complete, 0)
    }

    /// Returns a packet, or a super-packet whose segments carry `gso_size` bytes of payload each.
    ///
    /// A packet that is not TCP or UDP, or has no more than one segment, stays one packet whatever `gso_size` says.
    pub fn new(bytes: Vec<u8>, checksum: Checksum, gso_size: u16) -> Self {
        let cut = Cut::of(&bytes, usize::from(gso_size));
        Self {
            bytes,
            checksum,
            cut,
        }
    }

    /// Returns the bytes, from the IP header on.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the bytes, from the IP header on.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Returns what is known about the transport checksum.
    pub fn checksum(&self) -> Checksum {
        self.checksum
    }

    /// Returns the payload bytes of each segment but the last; 0 for one packet.
    pub fn gso_size(&self) -> u16 {
        let size = self.cut.map_or(0, |cut| cut.size);
        u16::try_from(size).unwrap_or_default()
    }

    /// Returns the protocol of the segments and the length of all headers; `None` for one packet.
    pub fn cut_as(&self) -> Option<(SegmentKind, usize)> {
        self.cut.map(|cut| (cut.kind, cut.header_len))
    }

    /// Returns the number of packets that this one stands for.
    pub fn segments(&self) -> usize {
        self.cut.map_or(1, |cut| {
            self.bytes
                .len()
                .saturating_sub(cut.header_len)
                .div_ceil(cut.size)
                .max(1)
        })
    }

    /// Returns the length of segment number `index` as a packet of its own, in bytes.
    pub fn segment_len(&self, index: usize) -> usize {
        let Some(cut) = self.cut else {
            return self.bytes.len();
        };
        let payload = self.bytes.len().saturating_sub(cut.header_len);
        let rest = payload.saturating_sub(index.saturating_mul(cut.size));
        cut.header_len + rest.min(cut.size)
    }

    /// Returns the length of all segments as packets of their own, in bytes.
    pub fn wire_bytes(&self) -> u64 {
        let extra = self.cut.map_or(0, |cut| cut.header_len) * (self.segments() - 1);
        (self.bytes.len() + extra) as u64
    }

    /// Returns the segments of this range as a frame of their own; everything if the range is.
    pub fn run(&self, range: Range<usize>) -> Self {
        let Some(cut) = self.cut else {
            return self.clone();
        };
        let count = self.segments();
        if range.start == 0 && range.end >= count {
            return self.clone();
        }
        let from = cut.header_len + range.start.saturating_mul(cut.size);
        let to = cut.header_len + range.end.saturating_mul(cut.size);
        let to = to.min(self.bytes.len());
        let from = from.min(to);
        let mut bytes = Vec::with_capacity(cut.header_len + to - from);
        bytes.extend_from_slice(self.bytes.get(..cut.header_len).unwrap_or_default());
        bytes.extend_from_slice(self.bytes.get(from..to).unwrap_or_default());
        let is_one = range.len() <= 1;
        // The headers were read when the frame was made, so all of the fields are there.
        let _ = cut.rewrite(&mut bytes, range.start, range.end >= count);
        let checksum = match self.checksum {
            Checksum::Complete => Checksum::Complete,
            Checksum::Vouched => Checksum::Vouched,
            partial @ Checksum::Partial { .. } => {
                let _ = cut.write_pseudo_sum(&mut bytes);
                partial
            }
        };
        Self {
            bytes,
            checksum,
            cut: (!is_one).then_some(cut),
        }
    }

    /// Makes the transport checksum complete. Of a super-packet the segments have theirs, so nothing is done.
    pub fn finish(&mut self) {
        if self.cut.is_some() {
            return;
        }
        match std::mem::take(&mut self.checksum) {
            Checksum::Complete => {}
            Checksum::Partial { start, offset } => {
                let _ = finish_partial(&mut self.bytes, start.into(), offset.into());
            }
            Checksum::Vouched => {
                let _ = compute_whole(&mut self.bytes);
            }
        }
    }

    /// Inverts the bit number `bit`, after the checksum was completed, so that the receiver can find out.
    pub fn flip_bit(&mut self, bit: usize) {
        self.finish();
        if let Some(byte) = self.bytes.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
    }

    /// Marks all segments as having met congestion (RFC 3168). Returns false, and changes nothing, if their transport
    /// does not know such marks.
    pub fn mark(&mut self) -> bool {
        match self.bytes.first().map(|byte| byte >> 4) {
            Some(4) => mark_v4(&mut self.bytes).unwrap_or(false),
            Some(6) => mark_v6(&mut self.bytes).unwrap_or(false),
            _ => false,
        }
    }
}

fn mark_v4(bytes: &mut [u8]) -> Option<bool> {
    let header: &mut [u8; V4_LEN] = bytes.first_chunk_mut()?;
    let old = [header[0], header[1]];
    if old[1] & ECN_CE == 0 {
        return Some(false);
    }
    header[1] |= ECN_CE;
    let sum = u16::from_be_bytes([header[10], header[11]]);
    let new = u16::from_be_bytes([header[0], header[1]]);
    let sum = checksum::update_u16(sum, u16::from_be_bytes(old), new);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    Some(true)
}

fn mark_v6(bytes: &mut [u8]) -> Option<bool> {
    // The traffic class lies across the first two bytes; its ECN field is bits 4 and 5 of the second.
    let byte = bytes.get_mut(1)?;
    if *byte & (ECN_CE << 4) == 0 {
        return Some(false);
    }
    *byte |= ECN_CE << 4;
    Some(true)
}

impl Cut {
    fn of(bytes: &[u8], size: usize) -> Option<Self> {
        if size == 0 {
            return None;
        }
        let outline = Outline::read(bytes)?;
        if outline.fragment.is_some() || outline.total_len != bytes.len() {
            return None;
        }
        let transport_at = bytes.len().checked_sub(outline.transport.len())?;
        let (kind, header_len) = match outline.proto {
            IpProto::TCP => {
                let offset = outline.transport.get(TCP_DATA_OFFSET_AT)? >> 4;
                let kind = if outline.src.is_ipv4() {
                    SegmentKind::Tcp4
                } else {
                    SegmentKind::Tcp6
                };
                (kind, (usize::from(offset) * 4).max(TCP_LEN))
            }
            IpProto::UDP => (SegmentKind::Udp, UDP_LEN),
            _ => return None,
        };
        let header_len = transport_at + header_len;
        (bytes.len() > header_len + size).then_some(Self {
            kind,
            transport_at,
            header_len,
            size,
        })
    }

    fn is_v4(bytes: &[u8]) -> bool {
        bytes.first().is_some_and(|byte| byte >> 4 == 4)
    }

    /// Writes what differs in the headers of segments from number `first` on: lengths, identification, sequence number,
    /// flags.
    pub(crate) fn rewrite(&self, bytes: &mut [u8], first: usize, has_last: bool) -> Option<()> {
        let total = bytes.len();
        let is_v4 = Self::is_v4(bytes);
        let (ip, transport) = bytes.split_at_mut_checked(self.transport_at)?;
        if is_v4 {
            let len = u16::try_from(total).ok()?;
            ip.get_mut(2..4)?.copy_from_slice(&len.to_be_bytes());
            let id = ip.get_mut(4..6)?;
            let number = u16::from_be_bytes([id[0], id[1]]).wrapping_add(first as u16);
            id.copy_from_slice(&number.to_be_bytes());
            ip.get_mut(10..12)?.copy_from_slice(&[0, 0]);
            let sum = checksum::of(ip);
            ip.get_mut(10..12)?.copy_from_slice(&sum.to_be_bytes());
        } else {
            let len = u16::try_from(total.checked_sub(V6_LEN)?).ok()?;
            ip.get_mut(4..6)?.copy_from_slice(&len.to_be_bytes());
        }
        if self.kind == SegmentKind::Udp {
            let len = u16::try_from(transport.len()).ok()?;
            let field = transport.get_mut(UDP_LEN_AT..UDP_LEN_AT + 2)?;
            field.copy_from_slice(&len.to_be_bytes());
            return Some(());
        }
        let field = transport.get_mut(TCP_SEQ_AT..TCP_SEQ_AT + 4)?;
        let seq = u32::from_be_bytes([field[0], field[1], field[2], field[3]]);
        let seq = seq.wrapping_add((first * self.size) as u32);
        field.copy_from_slice(&seq.to_be_bytes());
        let flags = transport.get_mut(TCP_FLAGS_AT)?;
        if !has_last {
            *flags &= !(FIN | PSH);
        }
        if first > 0 {
            *flags &= !CWR;
        }
        Some(())
    }

    /// Writes the sum of the pseudo-header to the checksum field.
    pub(crate) fn write_pseudo_sum(&self, bytes: &mut [u8]) -> Option<()> {
        let sum = pseudo_sum(bytes)?.partial();
        let at = self.transport_at
            + match self.kind {
                SegmentKind::Udp => UDP_CHECKSUM_AT,
                _ => TCP_CHECKSUM_AT,
            };
        let field = bytes.get_mut(at..at + 2)?;
        field.copy_from_slice(&sum.to_be_bytes());
        Some(())
    }
}

fn pseudo_sum(bytes: &[u8]) -> Option<Sum> {
    let outline = Outline::read(bytes)?;
    let len = u32::try_from(outline.transport.len()).ok()?;
    Some(checksum::pseudo_header(
        outline.src,
        outline.dst,
        outline.proto,
        len,
    ))
}

/// Completes a checksum whose field holds a partial sum.
fn finish_partial(bytes: &mut [u8], start: usize, offset: usize) -> Option<()> {
    let covered = bytes.get_mut(start..)?;
    let sum = checksum::of(covered);
    let field = covered.get_mut(offset..offset + 2)?;
    field.copy_from_slice(&never_zero(sum, offset).to_be_bytes());
    Some(())
}

/// Computes the checksum of a TCP segment or UDP datagram anew.
fn compute_whole(bytes: &mut [u8]) -> Option<()> {
    let outline = Outline::read(bytes)?;
    if outline.fragment.is_some() {
        return None;
    }
    let offset = match outline.proto {
        IpProto::TCP => TCP_CHECKSUM_AT,
        IpProto::UDP => UDP_CHECKSUM_AT,
        _ => return None,
    };
    let start = bytes.len().checked_sub(outline.transport.len())?;
    let mut sum = pseudo_sum(bytes)?;
    let covered = bytes.get_mut(start..)?;
    covered.get_mut(offset..offset + 2)?.fill(0);
    sum.add_bytes(covered);
    let sum = never_zero(sum.finish(), offset);
    covered
        .get_mut(offset..offset + 2)?
        .copy_from_slice(&sum.to_be_bytes());
    Some(())
}

/// In UDP, zero means that there is no checksum (RFC 768).
fn never_zero(sum: u16, offset: usize) -> u16 {
    if sum == 0 && offset == UDP_CHECKSUM_AT {
        0xffff
    } else {
        sum
    }
}
