//! SYN-SENT (RFC 9293 section 3.10.7.3): our SYN was sent, and nothing is known of the peer.

use std::sync::Arc;

use packet::Buffers;
use packet::tcp::TcpFlags;

use super::{Opening, SynReceived, fail, syn_options, syn_window, ts_at};
use crate::base::{DropReason, Instant, TcpConfig};
use crate::tcp::block::Block;
use crate::tcp::context::Context;
use crate::tcp::ecn::negotiate;
use crate::tcp::event::Event;
use crate::tcp::outcome::{Readiness, SegmentOutcome, State, TcpError};
use crate::tcp::segment::{Segment, SegmentOut, reset_for};
use crate::tcp::tcb::Tcb;
use crate::tcp::{Open, Stage};

/// The state SYN-SENT.
#[derive(Debug)]
pub(in crate::tcp) struct SynSent {
    pub(in crate::tcp) opening: Opening,
}

impl SynSent {
    /// Opens actively: the SYN is due.
    pub(in crate::tcp) fn new(cfg: &Arc<TcpConfig>, open: Open, cx: &mut Context<'_>) -> Self {
        cx.emit(|| Event::StateChanged {
            from: State::Closed,
            to: State::SynSent,
        });
        Self {
            opening: Opening::new(cfg, open, cx.now()),
        }
    }

    /// Takes a segment (RFC 9293 section 3.10.7.3).
    pub(in crate::tcp) fn on_segment(
        self,
        seg: &mut Segment,
        cx: &mut Context<'_>,
        buffers: &Buffers,
    ) -> (Stage, SegmentOutcome) {
        let acked = seg.has(TcpFlags::ACK);
        // First: the ACK bit. Only our SYN, and what it carried, can be acknowledged.
        if acked && !self.opening.is_acked_by(seg) {
            let outcome = SegmentOutcome {
                rst: reset_for(seg),
                ..SegmentOutcome::dropped(DropReason::TcpBadAck)
            };
            return (Stage::SynSent(self), outcome);
        }
        // Second: the RST bit.
        if seg.has(TcpFlags::RST) {
            if acked {
                let (stage, readiness) = fail(State::SynSent, TcpError::Refused, None, cx);
                return (stage, SegmentOutcome::of(readiness));
            }
            let outcome = SegmentOutcome::dropped(DropReason::TcpNotAcceptable);
            return (Stage::SynSent(self), outcome);
        }
        // Fourth: the SYN bit.
        if !seg.has(TcpFlags::SYN) {
            let outcome = SegmentOutcome::dropped(DropReason::TcpNotAcceptable);
            return (Stage::SynSent(self), outcome);
        }
        if acked {
            let mut opening = self.opening;
            let early = opening.early.take();
            let done = opening.establish(seg.seq(), seg.options(), seg, cx);
            let mut tcb = Tcb::new(done, cx.now());
            if let Some(early) = early {
                early.move_to(&mut tcb);
            }
            tcb.ack.set_due();
            let mut outcome = tcb.on_syn_payload(seg, cx, buffers);
            outcome.readiness |= Readiness::ESTABLISHED | Readiness::WRITABLE;
            return (Stage::Open(Block::boxed(tcb)), outcome);
        }
        // A simultaneous open: our SYN goes out again, as a SYN-ACK.
        let received = SynReceived::simultaneous(self.opening, seg, cx, buffers);
        (Stage::SynReceived(received), SegmentOutcome::default())
    }

    pub(in crate::tcp) fn on_timeout(mut self, cx: &mut Context<'_>) -> (Stage, Readiness) {
        match self.opening.on_timeout(cx) {
            Ok(()) => (Stage::SynSent(self), Readiness::empty()),
            Err(error) => fail(State::SynSent, error, None, cx),
        }
    }

    pub(in crate::tcp) fn poll_transmit(&mut self, now: Instant) -> Option<SegmentOut> {
        let opening = &mut self.opening;
        if !core::mem::take(&mut opening.syn_due) {
            return None;
        }
        let mut syn = SegmentOut {
            seq: opening.iss,
            flags: TcpFlags::SYN | negotiate::offer(&opening.cfg, opening.retries),
            window: syn_window(&opening.cfg),
            options: syn_options(&opening.cfg, opening.mss, ts_at(now, opening.ts_offset)),
            mss: opening.mss,
            ..SegmentOut::default()
        };
        if let Some(early) = &mut opening.early
            && opening.retries == 0
        {
            early.add_to(opening.iss, &mut syn);
        }
        Some(syn)
    }
}
