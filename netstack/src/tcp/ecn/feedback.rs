//! The receiver: what arrives with marks is fed back (RFC 3168 section 6.1.3, RFC 9768 section 3.2).

use core::num::NonZeroU8;

use packet::tcp::{AccEcn, TcpFlags};

use super::{CE, ECT_0, ECT_1, Ecn, EcnMode, Marks, flags_of};
use crate::tcp::segment::Segment;

/// CE marks after which an ACK is due, with payload that is not acknowledged and without (RFC 9768 section
/// 3.2.2.5.1).
const MARKS_WITH_PAYLOAD: u8 = 2;
const MARKS_ALONE: u8 = 3;

impl Ecn {
    /// Counts an acceptable segment of `packets` wire segments. Returns true if an ACK is due for its marks at once.
    pub(in crate::tcp) fn on_segment(&mut self, seg: &Segment, packets: u32, owed: bool) -> bool {
        match self.mode {
            EcnMode::Off => false,
            EcnMode::Classic => self.on_classic(seg, packets),
            EcnMode::Accurate => self.on_accurate(seg, packets, owed),
        }
    }

    fn on_classic(&mut self, seg: &Segment, packets: u32) -> bool {
        if seg.payload().is_empty() {
            return false;
        }
        // What was marked before the peer reduced its window was answered by that.
        if seg.has(TcpFlags::CWR) {
            self.marks.remove(Marks::ECHO);
        }
        if seg.ecn() != CE {
            return false;
        }
        let first = !self.marks.contains(Marks::ECHO);
        self.marks.insert(Marks::ECHO);
        self.received.packets = self.received.packets.wrapping_add(packets);
        first
    }

    fn on_accurate(&mut self, seg: &Segment, packets: u32, owed: bool) -> bool {
        let bytes = seg.payload_len();
        let is_ce = seg.ecn() == CE;
        let moved = match seg.ecn() {
            CE => &mut self.received.ce,
            ECT_0 => &mut self.received.ect0,
            ECT_1 => &mut self.received.ect1,
            _ => &mut 0,
        };
        *moved = moved.wrapping_add(bytes);
        if bytes > 0 {
            self.marks.insert(match seg.ecn() {
                CE => Marks::CHANGED | Marks::SAW_CE,
                ECT_0 => Marks::CHANGED,
                ECT_1 => Marks::CHANGED | Marks::SAW_ECT_1,
                _ => Marks::empty(),
            });
        }
        let changes = is_ce && bytes > 0 && !self.marks.contains(Marks::LAST_CE);
        self.marks.set(Marks::LAST_CE, is_ce);
        if is_ce {
            self.received.packets = self.received.packets.wrapping_add(packets);
            let packets = u8::try_from(packets).unwrap_or(u8::MAX);
            self.unreported = self.unreported.saturating_add(packets);
        }
        let most = if owed || bytes > 0 {
            MARKS_WITH_PAYLOAD
        } else {
            MARKS_ALONE
        };
        changes || (is_ce && self.unreported >= most)
    }

    /// Returns true if the next segment must be bare: it acknowledges a SYN-ACK, and says with which codepoint that
    /// arrived.
    pub(in crate::tcp) fn wants_bare(&self) -> bool {
        self.marks.contains(Marks::ACKS_SYN)
    }

    /// Returns true if a device that cuts super-segments would take CWR, which is part of a number here, from all
    /// wire segments but the first.
    pub(in crate::tcp) fn forbids_cutting(&self) -> bool {
        self.mode == EcnMode::Accurate && self.received.packets & 2 != 0
    }

    /// Returns the flags of a segment. `bare`: it is an ACK alone. `fresh`: it has new data.
    pub(in crate::tcp) fn flags_out(&mut self, bare: bool, fresh: bool) -> TcpFlags {
        match self.mode {
            EcnMode::Off => TcpFlags::empty(),
            EcnMode::Classic => {
                let mut flags = TcpFlags::empty();
                flags.set(TcpFlags::ECE, self.marks.contains(Marks::ECHO));
                if fresh && self.marks.contains(Marks::CWR_DUE) {
                    self.marks.remove(Marks::CWR_DUE);
                    flags |= TcpFlags::CWR;
                }
                flags
            }
            EcnMode::Accurate if bare && self.wants_bare() => {
                self.marks.remove(Marks::ACKS_SYN);
                flags_of(self.syn_ack_field())
            }
            EcnMode::Accurate => {
                self.unreported = 0;
                flags_of(self.received.packets)
            }
        }
    }

    /// Returns the option of a bare ACK beside `blocks` SACK blocks, if a counter moved since it was reported and there
    /// is room (RFC 9768 section 3.2.3.3): two blocks have precedence.
    pub(in crate::tcp) fn option_out(&self, blocks: usize) -> Option<AccEcn> {
        if !self.marks.intersects(Marks::CHANGED | Marks::ACKS_SYN) {
            return None;
        }
        let fields = if self.marks.contains(Marks::SAW_ECT_1) {
            3
        } else if self.marks.contains(Marks::SAW_CE) {
            2
        } else {
            1
        };
        // The longest takes as much as a block and a half.
        if blocks > 2 || (blocks > 1 && fields == 3) {
            return None;
        }
        let received = &self.received;
        Some(AccEcn::new(
            false,
            received.ect0,
            received.ce,
            received.ect1,
            fields,
        ))
    }

    /// Notes that the option was sent.
    pub(in crate::tcp) fn on_option_sent(&mut self) {
        self.marks.remove(Marks::CHANGED);
    }

    /// Returns the field of an ACK after the connection has ended, if the peer expects one.
    pub(in crate::tcp) fn final_field(&self) -> Option<Ace> {
        let field = self.received.packets as u8 & 7;
        (self.mode == EcnMode::Accurate).then(|| Ace(NonZeroU8::MIN.saturating_add(field)))
    }
}

/// The last value of the field of three bits, and one.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub(in crate::tcp) struct Ace(NonZeroU8);

/// Returns the flags of an ACK after the connection has ended.
pub(in crate::tcp) fn final_flags(field: Option<Ace>) -> TcpFlags {
    field.map_or(TcpFlags::empty(), |field| {
        flags_of(u32::from(field.0.get()) - 1)
    })
}
