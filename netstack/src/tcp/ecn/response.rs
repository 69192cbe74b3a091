//! The sender: marks of what it sent reduce its window, once a round trip, by less than a loss (RFC 3168 section
//! 6.1.2, RFC 8511, RFC 9768 section 3.2.2.5.2).

use packet::tcp::TcpFlags;

use super::{Ecn, EcnMode, Marks, field_of};
use crate::tcp::segment::Segment;
use crate::tcp::seq::SeqNum;

/// Values of the field of three bits.
const CYCLE: u32 = 8;
/// Values of a counter of bytes in the option.
const FIELD_MASK: u32 = (1 << 24) - 1;

/// The news of an acknowledgment.
#[derive(Clone, Copy, Debug)]
pub(in crate::tcp) struct Delivered {
    /// Bytes that it acknowledges, or reports by SACK, for the first time.
    pub(in crate::tcp) bytes: u32,
    /// Payload of a full segment.
    pub(in crate::tcp) mss: u32,
    pub(in crate::tcp) una: SeqNum,
}

impl Ecn {
    /// Takes the feedback of an acceptable acknowledgment. Returns the number of packets that it says were marked.
    pub(in crate::tcp) fn on_feedback(&mut self, seg: &Segment, delivered: Delivered) -> u32 {
        // A classic receiver echoes until it sees CWR, which leaves with the byte at `reduced_to`: what acknowledges
        // only the bytes before it still tells of the marks that the window was reduced for.
        if self.marks.contains(Marks::REDUCED) && delivered.una.after(self.reduced_to) {
            self.marks.remove(Marks::REDUCED);
        }
        let marked = match self.mode {
            EcnMode::Off => 0,
            EcnMode::Classic => {
                let marked = u32::from(seg.has(TcpFlags::ECE));
                self.echoed.packets = self.echoed.packets.wrapping_add(marked);
                marked
            }
            // An acknowledgment without news may have been overtaken.
            EcnMode::Accurate if delivered.bytes == 0 => 0,
            EcnMode::Accurate => self.on_counters(seg, delivered),
        };
        if self.marks.contains(Marks::DEAF) {
            0
        } else {
            marked
        }
    }

    /// Returns true if the window must be reduced for marks now: it was not in this round trip.
    pub(in crate::tcp) fn may_reduce(&self) -> bool {
        !self.marks.contains(Marks::REDUCED)
    }

    /// Notes that the window was reduced, for marks or for a loss, with everything up to `nxt` sent.
    pub(in crate::tcp) fn on_reduced(&mut self, nxt: SeqNum) {
        if self.mode == EcnMode::Off {
            return;
        }
        self.marks.insert(Marks::REDUCED);
        self.marks
            .set(Marks::CWR_DUE, self.mode == EcnMode::Classic);
        self.reduced_to = nxt;
    }

    /// Lets the mark of a round trip follow SND.UNA, before it is so far behind that it compares as if it were ahead.
    pub(in crate::tcp) fn forget_old(&mut self, una: SeqNum) {
        self.reduced_to = self.reduced_to.max(una.back(1));
    }

    /// Reads the counters of Accurate ECN (RFC 9768 appendices A.1 and A.2).
    fn on_counters(&mut self, seg: &Segment, delivered: Delivered) -> u32 {
        let bytes = self.on_option(seg, delivered.bytes);
        let least = field_of(seg.flags()).wrapping_sub(self.echoed.packets) & (CYCLE - 1);
        let acked = delivered.bytes / delivered.mss.max(1);
        let marked = if acked < CYCLE {
            // However few packets it acknowledges: those without payload are marked, too.
            least
        } else {
            // The field may have cycled, if ACKs were lost.
            let most = acked - (acked.wrapping_sub(least) & (CYCLE - 1));
            let most = if most < least { least } else { most };
            match bytes {
                Some(0) => least,
                // SACK blocks leave no room for the option: its absence is no sign of a cycle.
                None if !seg.options().sack.as_slice().is_empty() => least,
                Some(bytes) if bytes <= delivered.mss.saturating_mul(least) => {
                    // It did not, if the packets would be less than half as large as they are.
                    if bytes / most.max(1) < delivered.mss / 2 {
                        least
                    } else {
                        most
                    }
                }
                _ => most,
            }
        };
        self.echoed.packets = self.echoed.packets.wrapping_add(marked);
        marked
    }

    /// Takes the option. Returns how many bytes more it says were marked; no more than `delivered` count.
    fn on_option(&mut self, seg: &Segment, delivered: u32) -> Option<u32> {
        let option = seg.options().acc_ecn?;
        if !self.marks.contains(Marks::HEARS_OPTION) {
            return None;
        }
        let follow = |counter: &mut u32, field: Option<u32>| {
            let field = field?;
            let more = field.wrapping_sub(*counter) & FIELD_MASK;
            *counter = counter.wrapping_add(more);
            Some(more)
        };
        follow(&mut self.echoed.ect0, option.ect0());
        follow(&mut self.echoed.ect1, option.ect1());
        // A field that is left out did not change.
        let more = follow(&mut self.echoed.ce, option.ce()).unwrap_or(0);
        Some(more.min(delivered))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::ecn::flags_of;
    use crate::tcp::segment::SegmentParts;
    use packet::tcp::{AccEcn, TcpOptions};

    const MSS: u32 = 1_000;

    fn accurate() -> Ecn {
        let mut ecn = Ecn::new(EcnMode::Accurate, SeqNum(0));
        ecn.marks.insert(Marks::HEARS_OPTION);
        ecn
    }

    /// An acknowledgment of `packets` packets; `ce`: bytes with CE that its option reports.
    fn feedback(ecn: &mut Ecn, field: u32, packets: u32, ce: Option<u32>) -> u32 {
        let seg = Segment::from(SegmentParts {
            flags: flags_of(field) | TcpFlags::ACK,
            options: TcpOptions {
                acc_ecn: ce.map(|ce| AccEcn::new(false, 1, ce, 1, 2)),
                ..TcpOptions::default()
            },
            ..SegmentParts::default()
        });
        let delivered = Delivered {
            bytes: packets * MSS,
            mss: MSS,
            una: SeqNum(0),
        };
        ecn.on_feedback(&seg, delivered)
    }

    #[test]
    fn rfc9768_a_2_1_the_field_is_a_difference_modulo_8() {
        let mut ecn = accurate();
        assert_eq!(feedback(&mut ecn, 5, 2, None), 0);
        assert_eq!(feedback(&mut ecn, 7, 2, None), 2);
        assert_eq!(feedback(&mut ecn, 1, 2, None), 2, "around");
        assert_eq!(feedback(&mut ecn, 4, 0, None), 0, "overtaken");
        assert_eq!(ecn.counters().1.packets, 4);
    }

    #[test]
    fn rfc9768_a_2_1_without_the_option_the_safest_number_counts() {
        // The examples of the appendix: 2 more of 9 packets are 2, of 10 they are 10.
        assert_eq!(feedback(&mut accurate(), 7, 9, None), 2);
        assert_eq!(feedback(&mut accurate(), 7, 10, None), 10);
    }

    #[test]
    fn rfc9768_a_2_2_with_the_option_the_bytes_decide() {
        assert_eq!(feedback(&mut accurate(), 5, 40, Some(0)), 0);
        assert_eq!(feedback(&mut accurate(), 7, 10, Some(2 * MSS)), 2);
        assert_eq!(feedback(&mut accurate(), 7, 10, Some(10 * MSS)), 10);
        // An option that was zeroed on the way is not read.
        let mut ecn = Ecn::new(EcnMode::Accurate, SeqNum(0));
        assert_eq!(feedback(&mut ecn, 7, 10, Some(0)), 10);
    }

    #[test]
    fn a_lie_about_bytes_counts_for_no_more_than_was_delivered() {
        let mut ecn = accurate();
        for i in 0..1_000 {
            let marked = feedback(&mut ecn, i, 20, Some(i.wrapping_mul(7_654_321)));
            assert!(marked <= 20 + CYCLE, "{marked}");
        }
    }

    #[test]
    fn one_reduction_for_a_round_trip() {
        let mut ecn = Ecn::new(EcnMode::Classic, SeqNum(0));
        assert!(ecn.may_reduce());
        ecn.on_reduced(SeqNum(10_000));
        assert!(!ecn.may_reduce());
        let ack = |una| Delivered {
            bytes: MSS,
            mss: MSS,
            una: SeqNum(una),
        };
        let seg = Segment::from(SegmentParts {
            flags: TcpFlags::ACK | TcpFlags::ECE,
            ..SegmentParts::default()
        });
        assert_eq!(ecn.on_feedback(&seg, ack(9_999)), 1);
        assert!(!ecn.may_reduce());
        assert_eq!(ecn.on_feedback(&seg, ack(10_000)), 1);
        assert!(!ecn.may_reduce(), "CWR has not arrived");
        assert_eq!(ecn.on_feedback(&seg, ack(10_001)), 1);
        assert!(ecn.may_reduce());
        assert_eq!(ecn.flags_out(false, true), TcpFlags::CWR);
        assert!(ecn.flags_out(false, true).is_empty(), "once");
    }
}
