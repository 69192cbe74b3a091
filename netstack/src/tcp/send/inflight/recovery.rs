//! The stages of loss recovery: detection of losses, fast recovery, timeout, and the ends of both.

use super::{Inflight, Mode};
use crate::base::Instant;
use crate::tcp::context::Context;
use crate::tcp::event::{Event, LossRule, Recovery};
use crate::tcp::seq::SeqNum;

impl Inflight {
    /// Detects losses. Returns true if a recovery begins.
    pub(super) fn detect(&mut self, mss: u32, cx: &mut Context<'_>) -> bool {
        if self.outstanding() == 0 {
            return false;
        }
        let segments = self.outstanding() / mss.max(1);
        let edge = self.reorder.lost_edge(&self.board, self.una, mss, segments);
        match self.mode {
            Mode::Open => {
                let enough = self.dup_acks >= u16::from(self.reorder.dup_thresh(segments));
                let lost = if self.sack {
                    edge.after(self.una) || (enough && !self.board.is_empty())
                } else {
                    // RFC 6582 section 4: these are not duplicates that an earlier recovery caused.
                    enough && self.una.after(self.recover)
                };
                if lost {
                    self.enter(Mode::Recovery, Recovery::Fast, cx);
                    self.rtx_mark = self.nxt;
                    let rule = if self.sack {
                        LossRule::Sacked
                    } else {
                        LossRule::DuplicateAcks
                    };
                    let edge = edge.max((self.una + mss).min(self.nxt));
                    self.advance_lost_edge(edge, rule, cx);
                    self.urgent = true;
                    self.rescued = false;
                    if !self.sack {
                        let arrived = u32::from(self.dup_acks).saturating_mul(mss);
                        self.dup_bytes = arrived.min(self.outstanding().saturating_sub(mss));
                    }
                }
                lost
            }
            Mode::Recovery => {
                self.advance_lost_edge(edge, LossRule::Sacked, cx);
                self.detect_lost_again(mss, segments, cx);
                false
            }
            Mode::Loss => {
                self.detect_lost_again(mss, segments, cx);
                false
            }
        }
    }

    /// Detects a lost retransmission: enough bytes that were sent after it have arrived.
    fn detect_lost_again(&mut self, mss: u32, segments: u32, cx: &mut Context<'_>) {
        if !self.sack || self.rtx_next == self.una {
            return;
        }
        let above = self.board.sacked(self.rtx_mark, self.nxt);
        let needed = u32::from(self.reorder.dup_thresh(segments)).saturating_mul(mss);
        if above >= needed {
            self.report_lost(self.una, self.rtx_next, LossRule::RetransmissionLost, cx);
            self.rtx_next = self.una;
            self.rtx_mark = self.nxt;
        }
    }

    /// Advances the lost edge: everything below `edge` that is not SACKed is lost.
    pub(super) fn advance_lost_edge(&mut self, edge: SeqNum, rule: LossRule, cx: &mut Context<'_>) {
        let before = self.lost_edge;
        self.lost_edge = before.max(edge);
        self.report_lost(before, self.lost_edge, rule, cx);
    }

    /// Tells the subscriber which bytes of `from..to` are lost.
    #[inline]
    fn report_lost(&self, from: SeqNum, to: SeqNum, rule: LossRule, cx: &mut Context<'_>) {
        if !cx.has_subscriber() {
            return;
        }
        let mut at = from;
        while let Some((seq, end)) = self.board.next_hole(at, to) {
            let len = end - seq;
            cx.emit(|| Event::SegmentLost { seq, len, rule });
            at = end;
        }
    }

    /// Begins a recovery of everything sent until now.
    fn enter(&mut self, mode: Mode, kind: Recovery, cx: &mut Context<'_>) {
        if self.mode != mode {
            cx.emit(|| Event::RecoveryEntered { kind });
        }
        self.mode = mode;
        self.recover = self.nxt;
        self.rtx_next = self.una;
        self.rtx_from = self.una;
        self.rtx_to = self.una;
    }

    pub(super) fn reopen(&mut self, cx: &mut Context<'_>) {
        if self.mode != Mode::Open {
            cx.emit(|| Event::RecoveryLeft);
        }
        self.mode = Mode::Open;
        self.dup_acks = 0;
        self.dup_bytes = 0;
        self.lost_edge = self.una;
        self.rtx_next = self.una;
        self.urgent = false;
    }

    /// Handles the retransmission timer: everything that is not SACKed is lost. `again`: it expired
    /// for the same byte before; then the peer may have reneged, and its SACKs are forgotten.
    pub(crate) fn on_timeout(&mut self, again: bool, cx: &mut Context<'_>) {
        if again {
            self.board.clear();
        }
        self.reorder.on_timeout();
        self.enter(Mode::Loss, Recovery::Timeout, cx);
        self.rtx_mark = self.nxt;
        self.lost_edge = self.nxt;
        self.report_lost(self.una, self.nxt, LossRule::Timeout, cx);
        self.dup_acks = 0;
        self.dup_bytes = 0;
        self.timed_at = Instant::FAR_FUTURE;
        self.urgent = true;
    }

    /// Undoes a spurious recovery or timeout.
    pub(crate) fn undo(&mut self, cx: &mut Context<'_>) {
        self.reorder.on_spurious_retransmit();
        self.reopen(cx);
    }

    /// Marks everything in flight for retransmission in smaller segments, since the path cannot
    /// carry the present size. This is no sign of congestion.
    pub(crate) fn on_path_mtu(&mut self, cx: &mut Context<'_>) {
        if self.outstanding() == 0 {
            return;
        }
        let mode = if self.mode == Mode::Open {
            self.rescued = true;
            Mode::Recovery
        } else {
            self.mode
        };
        self.enter(mode, Recovery::PathMtu, cx);
        self.lost_edge = self.nxt;
        self.report_lost(self.una, self.nxt, LossRule::PathMtu, cx);
        self.timed_at = Instant::FAR_FUTURE;
        self.dup_bytes = 0;
        self.urgent = true;
    }
}
