//! Segments as the connection sees them: parsed and verified on the way in, not yet cut, addressed
//! or checksummed on the way out.
//!
//! Owns no state. A [`Segment`] may be a super-segment: up to 64 KiB that the device received as
//! one, with the size of the wire segments in `gso_size`. A [`SegmentOut`] may be longer than one
//! wire segment too; the device or the stack cuts it at `mss`.

use super::seq::SeqNum;
use packet::Payload;
use packet::frame::Chunks;
use packet::tcp::{TcpFlags, TcpOptions};

/// A received segment whose checksum was verified.
#[derive(Clone, Debug, Default)]
pub struct Segment {
    /// Sequence number of the first octet (of the SYN, if there is one).
    pub seq: SeqNum,
    /// Acknowledgment number; means something only with the ACK flag.
    pub ack: SeqNum,
    /// Control bits.
    pub flags: TcpFlags,
    /// Window field as on the wire, not scaled.
    pub window: u16,
    /// Urgent pointer; means something only with the URG flag.
    pub urgent: u16,
    /// Options.
    pub options: TcpOptions,
    /// ECN bits of the IP header.
    pub ecn: u8,
    /// Size of the segments that were coalesced into this one, in bytes; 0: it was one.
    pub gso_size: u16,
    /// Text.
    pub payload: Payload,
}

impl Segment {
    /// Length in sequence space: text, SYN and FIN (SEG.LEN of RFC 9293 section 3.4).
    pub fn seq_len(&self) -> u32 {
        (self.payload.len() as u32)
            .wrapping_add(u32::from(self.flags.contains(TcpFlags::SYN)))
            .wrapping_add(u32::from(self.flags.contains(TcpFlags::FIN)))
    }

    /// True if all of `flags` are set.
    pub(super) fn has(&self, flags: TcpFlags) -> bool {
        self.flags.contains(flags)
    }
}

/// A segment to send.
#[derive(Clone, Debug, Default)]
pub struct SegmentOut {
    /// Sequence number.
    pub seq: SeqNum,
    /// Acknowledgment number.
    pub ack: SeqNum,
    /// Control bits. FIN and PSH belong to the last wire segment if it is cut.
    pub flags: TcpFlags,
    /// Window field as on the wire.
    pub window: u16,
    /// Options, repeated on every wire segment if it is cut.
    pub options: TcpOptions,
    /// Text, sharing the send queue's memory.
    pub payload: Chunks,
    /// Payload bytes of each wire segment, if `payload` is longer than that.
    pub mss: u16,
}

impl SegmentOut {
    /// Length in sequence space.
    pub fn seq_len(&self) -> u32 {
        (self.payload.len_bytes() as u32)
            .wrapping_add(u32::from(self.flags.contains(TcpFlags::SYN)))
            .wrapping_add(u32::from(self.flags.contains(TcpFlags::FIN)))
    }
}

/// The reset that answers a segment for which there is no connection (RFC 9293 section 3.10.7.1);
/// `None` if the segment is itself a reset.
pub fn reset_for(seg: &Segment) -> Option<SegmentOut> {
    if seg.has(TcpFlags::RST) {
        return None;
    }
    if seg.has(TcpFlags::ACK) {
        Some(SegmentOut {
            seq: seg.ack,
            flags: TcpFlags::RST,
            ..SegmentOut::default()
        })
    } else {
        Some(SegmentOut {
            ack: seg.seq + seg.seq_len(),
            flags: TcpFlags::RST | TcpFlags::ACK,
            ..SegmentOut::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_is_acceptable_to_who_asked() {
        let syn = Segment {
            seq: SeqNum(u32::MAX),
            flags: TcpFlags::SYN,
            ..Segment::default()
        };
        let rst = reset_for(&syn).expect("reset");
        assert_eq!(rst.flags, TcpFlags::RST | TcpFlags::ACK);
        assert_eq!((rst.seq, rst.ack), (SeqNum(0), SeqNum(0)));

        let ack = Segment {
            seq: SeqNum(7),
            ack: SeqNum(99),
            flags: TcpFlags::ACK,
            ..Segment::default()
        };
        let rst = reset_for(&ack).expect("reset");
        assert_eq!((rst.flags, rst.seq), (TcpFlags::RST, SeqNum(99)));

        let rst = Segment {
            flags: TcpFlags::RST,
            ..Segment::default()
        };
        assert!(reset_for(&rst).is_none());
    }
}
