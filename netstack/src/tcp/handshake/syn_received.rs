//! SYN-RECEIVED as a connection of its own: the peer's SYN is known, ours is not acknowledged.
//!
//! [`HalfOpen`] judges what arrives. This adds what a connection has beyond it: the application, which
//! may close, a timer, and an error to report.

use std::sync::Arc;

use packet::Buffers;
use packet::buf::Account;
use packet::tcp::TcpFlags;

use super::early::EarlyData;
use super::half_open::{Answer, HalfOpen, Step};
use super::{Established, Opening, fail, syn_window};
use crate::base::{Instant, TcpConfig};
use crate::tcp::block::Block;
use crate::tcp::context::Context;
use crate::tcp::event::Event;
use crate::tcp::input::{data, fin};
use crate::tcp::outcome::{Readiness, SegmentOutcome, State, TcpError, Unreachable};
use crate::tcp::recv::ring::Ring;
use crate::tcp::segment::{Segment, SegmentOut, reset_for};
use crate::tcp::settings::Settings;
use crate::tcp::tcb::Tcb;
use crate::tcp::{Open, Stage};

/// The state SYN-RECEIVED.
#[derive(Debug)]
pub(in crate::tcp) struct SynReceived {
    pub(in crate::tcp) half: HalfOpen,
    /// Largest segment that the path to the peer carries.
    pub(in crate::tcp) path_mss: u16,
    pub(in crate::tcp) settings: Settings,
    pub(in crate::tcp) soft_error: Option<Unreachable>,
    pub(in crate::tcp) cfg: Arc<TcpConfig>,
    timer: Instant,
    /// True if ours was the first SYN (a simultaneous open).
    active: bool,
    /// The application has closed already.
    pub(in crate::tcp) closing: bool,
    syn_due: bool,
    ack_due: bool,
    /// The data of our SYN, and the data that follows the handshake.
    early: Option<Box<EarlyData>>,
    /// The data of the peer's SYN.
    received: Option<Box<Received>>,
}

/// Text and FIN of a SYN that crossed ours: "queue them for processing after the ESTABLISHED state has been reached" (RFC
/// 9293 section 3.10.7.3, fourth).
#[derive(Debug)]
struct Received {
    ring: Ring,
    account: Account,
    has_fin: bool,
}

impl Received {
    /// Keeps what `syn` has beyond its SYN, if there is memory for it: otherwise the peer sends it again.
    fn of(syn: &mut Segment, window: u32, buffers: &Buffers) -> Option<Box<Self>> {
        let mut payload = syn.take_payload();
        let has_fin = syn.has(TcpFlags::FIN);
        let sent = payload.len();
        if sent == 0 && !has_fin {
            return None;
        }
        let account = Account::default();
        let memory = buffers.charging(&account);
        payload.truncate((window as usize).min(memory.room(0)));
        let mut ring = Ring::default();
        let kept = ring.push(payload, memory);
        Some(Box::new(Self {
            ring,
            account,
            has_fin: has_fin && kept == sent,
        }))
    }

    /// Gives it to the connection, which has nothing else.
    fn move_to(self, tcb: &mut Tcb, cx: &mut Context<'_>) -> Readiness {
        let len = self.ring.len() as u32;
        tcb.account = self.account;
        tcb.ring = self.ring;
        tcb.window.nxt += len;
        tcb.stats.bytes_in += u64::from(len);
        let size = tcb.payload_mss();
        data::owe_ack(tcb, len, size, cx.now());
        let fin = self.has_fin.then_some(tcb.window.nxt);
        Readiness::READABLE | fin::process(tcb, fin, cx)
    }
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
            half: HalfOpen::new(cfg, open, syn, cx.now()),
            path_mss: open.path_mss,
            settings: Settings::new(cfg),
            soft_error: None,
            cfg: Arc::clone(cfg),
            timer: cx.now() + cfg.rto_initial,
            active: false,
            closing: false,
            syn_due: true,
            ack_due: false,
            early: None,
            received: None,
        }
    }

    /// Turns an active open into a simultaneous one: `syn` crossed ours.
    pub(super) fn simultaneous(
        opening: Opening,
        syn: &mut Segment,
        cx: &mut Context<'_>,
        buffers: &Buffers,
    ) -> Self {
        cx.emit(|| Event::StateChanged {
            from: State::SynSent,
            to: State::SynReceived,
        });
        let open = Open {
            isn: opening.iss,
            ts_offset: opening.ts_offset,
            mss: opening.mss,
            path_mss: opening.path_mss,
        };
        let mut half = HalfOpen::new(&opening.cfg, open, syn, opening.sent_at);
        half.set_retries(opening.retries);
        let window = syn_window(&opening.cfg).into();
        Self {
            half,
            path_mss: opening.path_mss,
            settings: opening.settings,
            soft_error: opening.soft_error,
            cfg: opening.cfg,
            timer: opening.timer,
            active: true,
            closing: false,
            syn_due: true,
            ack_due: false,
            early: opening.early,
            received: Received::of(syn, window, buffers),
        }
    }

    /// Takes a segment (RFC 9293 section 3.10.7.4, as far as it concerns SYN-RECEIVED).
    pub(in crate::tcp) fn on_segment(
        mut self,
        seg: &mut Segment,
        cx: &mut Context<'_>,
        buffers: &Buffers,
    ) -> (Stage, SegmentOutcome) {
        let sent = self.early.as_ref().map_or(0, |early| early.sent());
        match self.half.on_segment_after(sent, &self.cfg, seg, cx.now()) {
            Step::Complete => {
                let done = self
                    .half
                    .establish(self.path_mss, &self.cfg, self.settings, seg, cx);
                let mut tcb = Tcb::new(done, cx.now());
                let received = self.received.map(|received| received.move_to(&mut tcb, cx));
                if let Some(early) = self.early {
                    early.move_to(&mut tcb);
                }
                let mut outcome = take_rest(&mut tcb, seg, cx, buffers);
                outcome.readiness |= received.unwrap_or_default();
                if self.closing {
                    tcb.close(cx);
                }
                outcome.readiness |= Readiness::ESTABLISHED | Readiness::WRITABLE;
                (Stage::Open(Block::boxed(tcb)), outcome)
            }
            Step::Reset => {
                let error = if self.active {
                    TcpError::Refused
                } else {
                    TcpError::Reset
                };
                let (stage, readiness) = fail(State::SynReceived, error, None, cx);
                (stage, SegmentOutcome::of(readiness))
            }
            Step::Stay(drop, answer) => {
                self.syn_due |= answer == Answer::SynAck;
                self.ack_due |= answer == Answer::Ack;
                let outcome = SegmentOutcome {
                    drop,
                    rst: reset_for(seg).filter(|_| answer == Answer::Reset),
                    ..SegmentOutcome::default()
                };
                (Stage::SynReceived(self), outcome)
            }
        }
    }

    pub(in crate::tcp) fn timer(&self) -> Instant {
        self.timer
    }

    pub(in crate::tcp) fn on_timeout(mut self, cx: &mut Context<'_>) -> (Stage, Readiness) {
        if self.timer > cx.now() {
            return (Stage::SynReceived(self), Readiness::empty());
        }
        if !self.half.on_timeout(self.cfg.syn_retries, cx.now()) {
            let error = self
                .soft_error
                .map_or(TcpError::TimedOut, TcpError::Unreachable);
            return fail(State::SynReceived, error, None, cx);
        }
        let count = self.half.retries();
        cx.emit(|| Event::RetransmissionTimeout { count });
        self.timer = cx.now() + self.half.timeout(&self.cfg);
        self.syn_due = true;
        (Stage::SynReceived(self), Readiness::empty())
    }

    pub(in crate::tcp) fn poll_transmit(&mut self, now: Instant) -> Option<SegmentOut> {
        if core::mem::take(&mut self.syn_due) {
            self.ack_due = false;
            return Some(self.half.syn_ack(&self.cfg, now));
        }
        core::mem::take(&mut self.ack_due).then(|| self.half.ack(&self.cfg, now))
    }

    /// Returns the reset of an aborted handshake.
    pub(in crate::tcp) fn reset(&self, now: Instant) -> SegmentOut {
        self.half.reset(&self.cfg, now)
    }
}

/// Makes the connection of a finished handshake, which `seg` completed, and processes the rest of the segment.
pub(in crate::tcp) fn complete(
    done: Established,
    seg: &mut Segment,
    cx: &mut Context<'_>,
    buffers: &Buffers,
) -> (Tcb, SegmentOutcome) {
    let mut tcb = Tcb::new(done, cx.now());
    let outcome = take_rest(&mut tcb, seg, cx, buffers);
    (tcb, outcome)
}

/// Processes what the segment that completed the handshake has beyond its acknowledgment.
fn take_rest(
    tcb: &mut Tcb,
    seg: &mut Segment,
    cx: &mut Context<'_>,
    buffers: &Buffers,
) -> SegmentOutcome {
    if seg.has(TcpFlags::SYN) {
        // The second half of a simultaneous open: there is no rest.
        tcb.ack.set_due();
        return SegmentOutcome::default();
    }
    tcb.on_segment(seg, cx, buffers)
}
