//! The processing of a segment in a synchronised state (RFC 9293 section 3.10.7.4), in the RFC's
//! order: acceptability, acknowledgment, payload, FIN. Each has a module.

pub(super) mod acceptable;
pub(super) mod ack;
pub(in crate::tcp) mod data;
pub(in crate::tcp) mod fin;

use packet::Buffers;

use super::context::Context;
use super::outcome::SegmentOutcome;
use super::phase::Phase;
use super::segment::{Segment, reset_for};
use super::tcb::Tcb;
use crate::base::{DropReason, Instant};

impl Tcb {
    /// Takes one segment.
    pub(super) fn on_segment(
        &mut self,
        seg: &mut Segment,
        cx: &mut Context<'_>,
        buffers: &Buffers,
    ) -> SegmentOutcome {
        let has_data = !seg.payload().is_empty();
        self.segments.on_received(seg.wire_segments(), has_data);
        if self.phase == Phase::Closed {
            return SegmentOutcome {
                rst: reset_for(seg),
                ..SegmentOutcome::dropped(DropReason::TcpNoListener)
            };
        }
        match acceptable::check(self, seg, cx.now()) {
            acceptable::Acceptability::Process => self.process(seg, cx, buffers),
            acceptable::Acceptability::Discard(reason) => SegmentOutcome::dropped(reason),
            acceptable::Acceptability::Reset(error) => SegmentOutcome {
                readiness: self.fail(error, cx),
                ..SegmentOutcome::default()
            },
            acceptable::Acceptability::ResetSilently => {
                let readiness = self.on_reset_while_closing(cx);
                SegmentOutcome {
                    readiness,
                    ..SegmentOutcome::default()
                }
            }
        }
    }

    /// Takes payload and FIN of the SYN-ACK that opened the connection (RFC 9293 section 3.10.7.3, fourth).
    pub(super) fn on_syn_payload(
        &mut self,
        seg: &mut Segment,
        cx: &mut Context<'_>,
        buffers: &Buffers,
    ) -> SegmentOutcome {
        seg.skip_syn();
        let fin = fin::position(seg);
        let (readiness, drop) = data::process(self, seg, cx, buffers);
        SegmentOutcome {
            readiness: readiness | fin::process(self, fin, cx),
            drop,
            rst: None,
        }
    }

    /// Counts the congestion mark of an acceptable segment, on each of the wire segments that it consists of.
    fn count_marks(&mut self, seg: &Segment) {
        let segments = seg.wire_segments();
        if self.ecn.on_segment(seg, segments, self.ack.is_owed()) {
            self.ack.set_due();
        }
    }

    /// Notes a sign of life: a segment that only the peer can have sent, since its sequence number and
    /// its acknowledgment fit.
    fn on_heard(&mut self, now: Instant) {
        self.last_heard = now;
        if self.keepalives > 0 {
            self.arm_keepalive(now);
        }
    }

    fn process(
        &mut self,
        seg: &mut Segment,
        cx: &mut Context<'_>,
        buffers: &Buffers,
    ) -> SegmentOutcome {
        let mut outcome = SegmentOutcome::default();
        match ack::process(self, seg, cx) {
            Ok(readiness) => {
                outcome.readiness |= readiness;
                acceptable::update_ts_recent(self, seg, cx.now());
                self.count_marks(seg);
                if let Some(timeout) = seg.options().user_timeout {
                    self.on_peer_user_timeout(timeout);
                }
                self.on_heard(cx.now());
            }
            Err(reason) => {
                outcome.drop = Some(reason);
                return outcome;
            }
        }
        if self.phase == Phase::Closed {
            return outcome;
        }
        let fin = fin::position(seg);
        let (readiness, drop) = data::process(self, seg, cx, buffers);
        outcome.readiness |= readiness;
        outcome.drop = drop;
        if self.phase == Phase::Closed {
            return outcome;
        }
        outcome.readiness |= fin::process(self, fin, cx);
        outcome
    }
}
