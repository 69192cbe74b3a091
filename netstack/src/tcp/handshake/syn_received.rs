//! SYN-RECEIVED (RFC 9293 section 3.10.7.4, as far as it concerns this state): the peer's SYN is
//! known, ours is not acknowledged.

use std::sync::Arc;

use packet::Buffers;
use packet::tcp::{TcpFlags, TcpOptions, Timestamps};

use super::{Established, Opening, fail};
use crate::base::{DropReason, Instant, TcpConfig};
use crate::tcp::context::Context;
use crate::tcp::event::Event;
use crate::tcp::input::acceptable::{self, Reply, Verdict};
use crate::tcp::outcome::{Readiness, SegmentOutcome, State, TcpError};
use crate::tcp::output::delayed_ack::ReplyLimit;
use crate::tcp::segment::{Segment, SegmentOut, reset_for};
use crate::tcp::seq::SeqNum;
use crate::tcp::tcb::Tcb;
use crate::tcp::{Open, Stage};

/// The state SYN-RECEIVED.
#[derive(Debug)]
pub(in crate::tcp) struct SynReceived {
    pub(in crate::tcp) opening: Opening,
    irs: SeqNum,
    peer: TcpOptions,
    /// True if ours was the first SYN (a simultaneous open).
    active: bool,
    /// The application has closed already.
    pub(in crate::tcp) closing: bool,
    ack_due: bool,
    reply_limit: ReplyLimit,
}

impl SynReceived {
    /// Opens passively: `syn` came to a listener, and the SYN-ACK is due.
    pub(in crate::tcp) fn new(
        cfg: &Arc<TcpConfig>,
        open: Open,
        syn: &Segment,
        cx: &mut Context<'_>,
    ) -> Self {
        cx.emit(|| Event::StateChanged {
            from: State::Closed,
            to: State::SynReceived,
        });
        Self {
            opening: Opening::new(cfg, open, cx.now()),
            irs: syn.seq(),
            peer: *syn.options(),
            active: false,
            closing: false,
            ack_due: false,
            reply_limit: ReplyLimit::default(),
        }
    }

    /// Turns an active open into a simultaneous one: `syn` crossed ours.
    pub(super) fn simultaneous(opening: Opening, syn: &Segment, cx: &mut Context<'_>) -> Self {
        cx.emit(|| Event::StateChanged {
            from: State::SynSent,
            to: State::SynReceived,
        });
        Self {
            opening,
            irs: syn.seq(),
            peer: *syn.options(),
            active: true,
            closing: false,
            ack_due: false,
            reply_limit: ReplyLimit::default(),
        }
    }

    /// Takes a segment (RFC 9293 section 3.10.7.4, as far as it concerns SYN-RECEIVED).
    pub(in crate::tcp) fn on_segment(
        mut self,
        seg: Segment,
        cx: &mut Context<'_>,
        buffers: &Buffers,
    ) -> (Stage, SegmentOutcome) {
        let now = cx.now();
        let nxt = self.irs + 1;
        // The peer's SYN again. If it acknowledges ours, it is the second half of a simultaneous
        // open, and only the ACK is new. If it does not, our SYN-ACK was lost.
        if seg.has(TcpFlags::SYN) && seg.seq() == self.irs && !seg.has(TcpFlags::RST) {
            if !seg.has(TcpFlags::ACK) {
                self.opening.syn_due |= self.reply_limit.permit(now);
                return self.stay(SegmentOutcome::default());
            }
            if seg.ack() == self.opening.iss + 1 {
                let (done, closing) = self.establish(&seg, cx);
                return finish(done, closing, None, true, cx, buffers);
            }
        }
        let fails_paws = match (self.peer.timestamps, seg.options().timestamps) {
            (Some(recent), Some(ts)) => {
                self.opening.cfg.timestamps && acceptable::is_older(ts.val, recent.val)
            }
            _ => false,
        };
        let window = u32::from(self.opening.window());
        match acceptable::judge(&seg, fails_paws, nxt, window) {
            Verdict::Acceptable => {}
            Verdict::Reset => {
                let error = if self.active {
                    TcpError::Refused
                } else {
                    TcpError::Reset
                };
                let (stage, readiness) = fail(State::SynReceived, error, None, cx);
                return (stage, SegmentOutcome::of(readiness));
            }
            Verdict::Discard(reason, Reply::None) => {
                return self.stay(SegmentOutcome::dropped(reason));
            }
            Verdict::Discard(reason, _) => return self.answer(reason, now),
        }
        if seg.ack() != self.opening.iss + 1 {
            return self.stay(SegmentOutcome {
                rst: reset_for(&seg),
                ..SegmentOutcome::dropped(DropReason::TcpBadAck)
            });
        }
        let (done, closing) = self.establish(&seg, cx);
        finish(done, closing, Some(seg), false, cx, buffers)
    }

    /// Ends the handshake: `seg` acknowledges our SYN. True if the application has closed already.
    fn establish(self, seg: &Segment, cx: &mut Context<'_>) -> (Established, bool) {
        let from = State::SynReceived;
        let done = self.opening.establish(from, self.irs, &self.peer, seg, cx);
        (done, self.closing)
    }

    /// Discards the segment and owes an ACK, within the limit of such replies.
    fn answer(mut self, reason: DropReason, now: Instant) -> (Stage, SegmentOutcome) {
        self.ack_due |= self.reply_limit.permit(now);
        self.stay(SegmentOutcome::dropped(reason))
    }

    fn stay(self, outcome: SegmentOutcome) -> (Stage, SegmentOutcome) {
        (Stage::SynReceived(self), outcome)
    }

    pub(in crate::tcp) fn on_timeout(mut self, cx: &mut Context<'_>) -> (Stage, Readiness) {
        match self.opening.on_timeout(cx) {
            Ok(()) => (Stage::SynReceived(self), Readiness::empty()),
            Err(error) => fail(State::SynReceived, error, None, cx),
        }
    }

    pub(in crate::tcp) fn poll_transmit(&mut self, now: Instant) -> Option<SegmentOut> {
        let opening = &mut self.opening;
        if core::mem::take(&mut opening.syn_due) {
            self.ack_due = false;
            let mut options = opening.options(now);
            // Options that the peer's SYN did not offer must not be sent.
            if self.peer.window_scale.is_none() {
                options.window_scale = None;
            }
            options.sack_permitted &= self.peer.sack_permitted;
            options.timestamps = match (options.timestamps, self.peer.timestamps) {
                (Some(ours), Some(theirs)) => Some(Timestamps {
                    val: ours.val,
                    ecr: theirs.val,
                }),
                _ => None,
            };
            return Some(SegmentOut {
                seq: opening.iss,
                ack: self.irs + 1,
                flags: TcpFlags::SYN | TcpFlags::ACK,
                window: opening.window(),
                options,
                mss: opening.mss,
                ..SegmentOut::default()
            });
        }
        if core::mem::take(&mut self.ack_due) {
            return Some(self.bare(TcpFlags::ACK, now));
        }
        None
    }

    /// Returns the reset of an aborted handshake.
    pub(in crate::tcp) fn reset(&self, now: Instant) -> SegmentOut {
        self.bare(TcpFlags::RST | TcpFlags::ACK, now)
    }

    fn bare(&self, flags: TcpFlags, now: Instant) -> SegmentOut {
        let opening = &self.opening;
        let timestamps = match self.peer.timestamps {
            Some(theirs) if opening.cfg.timestamps => Some(Timestamps {
                val: opening.ts_now(now),
                ecr: theirs.val,
            }),
            _ => None,
        };
        SegmentOut {
            seq: opening.iss + 1,
            ack: self.irs + 1,
            flags,
            window: opening.window(),
            options: TcpOptions {
                timestamps,
                ..TcpOptions::default()
            },
            mss: opening.mss,
            ..SegmentOut::default()
        }
    }
}

/// Moves to ESTABLISHED, and processes the rest of the segment.
fn finish(
    done: Established,
    closing: bool,
    rest: Option<Segment>,
    ack_now: bool,
    cx: &mut Context<'_>,
    buffers: &Buffers,
) -> (Stage, SegmentOutcome) {
    let mut tcb = Tcb::new(done, cx.now());
    let mut outcome = match rest {
        Some(seg) => tcb.on_segment(seg, cx, buffers),
        None => SegmentOutcome::default(),
    };
    if ack_now {
        tcb.ack.set_due();
    }
    if closing {
        tcb.close(cx);
    }
    outcome.readiness |= Readiness::ESTABLISHED | Readiness::WRITABLE;
    (Stage::Open(tcb), outcome)
}
