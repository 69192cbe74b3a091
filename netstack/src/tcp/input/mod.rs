//! A segment arrives at a synchronised connection (RFC 9293 section 3.10.7.4): is it acceptable,
//! what does it acknowledge, what text does it carry, does it end the stream. In that order, one
//! module each.

pub(super) mod acceptable;
pub(super) mod ack;
pub(super) mod data;
pub(super) mod fin;

use packet::Buffers;

use super::outcome::{Readiness, SegmentOutcome};
use super::phase::Phase;
use super::segment::{Segment, reset_for};
use super::tcb::{Flags, Tcb};
use crate::base::{DropReason, Instant};

impl Tcb {
    /// Takes one segment.
    pub(super) fn on_segment(
        &mut self,
        seg: Segment,
        now: Instant,
        buffers: &Buffers,
    ) -> SegmentOutcome {
        if self.phase == Phase::Closed {
            return SegmentOutcome {
                rst: reset_for(&seg),
                ..SegmentOutcome::dropped(DropReason::TcpNoListener)
            };
        }
        let mut outcome = match acceptable::check(self, &seg, now) {
            acceptable::Acceptability::Process => self.process(seg, now, buffers),
            acceptable::Acceptability::Discard(reason) => SegmentOutcome::dropped(reason),
            acceptable::Acceptability::Reset(error) => SegmentOutcome {
                readiness: self.fail(error),
                ..SegmentOutcome::default()
            },
            acceptable::Acceptability::ResetSilently => {
                let readiness = self.on_reset_while_closing(now);
                SegmentOutcome {
                    readiness,
                    ..SegmentOutcome::default()
                }
            }
        };
        if self.ack.is_due() || self.flags.contains(Flags::RST_DUE) || self.has_unsent() {
            outcome.readiness |= Readiness::TRANSMIT;
        }
        outcome
    }

    fn process(&mut self, seg: Segment, now: Instant, buffers: &Buffers) -> SegmentOutcome {
        self.last_heard = now;
        if self.keepalives > 0 {
            self.arm_keepalive(now);
        }
        let mut outcome = SegmentOutcome::default();
        match ack::process(self, &seg, now) {
            Ok(readiness) => outcome.readiness |= readiness,
            Err(reason) => {
                outcome.drop = Some(reason);
                return outcome;
            }
        }
        if self.phase == Phase::Closed {
            return outcome;
        }
        let fin = fin::position(&seg);
        let (readiness, drop) = data::process(self, seg, now, buffers);
        outcome.readiness |= readiness;
        outcome.drop = drop;
        if self.phase == Phase::Closed {
            return outcome;
        }
        outcome.readiness |= fin::process(self, fin, now);
        outcome
    }
}
