//! [`Tcp`]: a connection as its owner sees it.
//!
//! Every method forwards to the stage that the connection is in.

use std::sync::Arc;

use packet::Buffers;

use super::Stage;
use super::block::Block;
use super::context::Context;
use super::event::Event;
use super::handshake::{self, HalfOpen, SynReceived, SynSent};
use super::outcome::{Readiness, SegmentOutcome, State, TcpError};
use super::phase::Phase;
use super::reuse::Reuse;
use super::segment::{Segment, SegmentOut, reset_for};
use super::seq::SeqNum;
use super::settings::Settings;
use super::tcb::{Flags, Tcb};
use crate::base::counters::Counter;
use crate::base::{DropReason, Instant, TcpConfig};

/// Parameters of a new connection.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    /// Our initial sequence number, from [`IsnGenerator::isn`](super::IsnGenerator::isn).
    pub isn: SeqNum,
    /// Offset of our timestamps, from [`IsnGenerator::ts_offset`](super::IsnGenerator::ts_offset).
    pub ts_offset: u32,
    /// Largest segment that we can receive: the MTU of the link less the fixed IP and TCP headers (RFC 9293
    /// section 3.7.1). It is announced.
    pub mss: u16,
    /// Largest segment that the path to the peer carries: its MTU less the fixed headers. It says nothing about
    /// what the peer may send.
    pub path_mss: u16,
}

/// One connection, in any state.
#[derive(Debug)]
pub struct Tcp {
    pub(super) stage: Stage,
}

impl Tcp {
    /// Opens actively: the connection is in SYN-SENT, with the SYN due.
    pub fn connect<'a>(cfg: &Arc<TcpConfig>, open: Open, cx: impl Into<Context<'a>>) -> Self {
        Self {
            stage: Stage::SynSent(SynSent::new(cfg, open, &mut cx.into())),
        }
    }

    /// Opens passively: the connection is in SYN-RECEIVED, with the SYN-ACK due. The caller checked
    /// that `syn` is a SYN, without ACK and RST, to a listener (RFC 9293 section 3.10.7.2).
    pub fn accept<'a>(
        cfg: &Arc<TcpConfig>,
        open: Open,
        syn: &Segment,
        cx: impl Into<Context<'a>>,
    ) -> Self {
        Self {
            stage: Stage::SynReceived(SynReceived::new(cfg, open, syn, &mut cx.into())),
        }
    }

    /// Makes the connection of a passive open that `seg` completes, and takes the rest of the segment:
    /// [`HalfOpen::on_segment`] judged it [`Step::Complete`](super::Step::Complete). `path_mss` is the largest
    /// segment that the path to the peer carries.
    pub fn complete<'a>(
        half: &HalfOpen,
        path_mss: u16,
        cfg: &Arc<TcpConfig>,
        seg: &mut Segment,
        cx: impl Into<Context<'a>>,
        buffers: &Buffers,
    ) -> (Self, SegmentOutcome) {
        let cx = &mut cx.into();
        cx.emit(|| Event::StateChanged {
            from: State::Closed,
            to: State::SynReceived,
        });
        let settings = Settings::new(cfg);
        let done = half.establish(path_mss, cfg, settings, seg, cx);
        let (tcb, outcome) = handshake::complete(done, seg, cx, buffers);
        let stage = Stage::Open(Block::boxed(tcb));
        (Self { stage }, outcome)
    }

    /// Takes a segment that belongs to this connection (RFC 9293 section 3.10.7), and its payload out of it.
    pub fn on_segment<'a>(
        &mut self,
        seg: &mut Segment,
        cx: impl Into<Context<'a>>,
        buffers: &Buffers,
    ) -> SegmentOutcome {
        let cx = &mut cx.into();
        let outcome = self.checked(|tcp| match tcp.open_mut() {
            Some(tcb) => tcb.on_segment(seg, cx, buffers),
            None => tcp.on_segment_unsynchronised(seg, cx, buffers),
        });
        if let Some(reason) = outcome.drop {
            cx.emit(|| Event::SegmentDropped { reason });
        }
        outcome
    }

    /// Takes a segment before the connection is open, or after a handshake failed.
    fn on_segment_unsynchronised(
        &mut self,
        seg: &mut Segment,
        cx: &mut Context<'_>,
        buffers: &Buffers,
    ) -> SegmentOutcome {
        let (stage, outcome) = match self.take_stage() {
            Stage::SynSent(state) => state.on_segment(seg, cx, buffers),
            Stage::SynReceived(state) => state.on_segment(seg, cx, buffers),
            Stage::FastOpened(state) => state.on_segment(seg, cx, buffers),
            stage => {
                let outcome = SegmentOutcome {
                    rst: reset_for(seg),
                    ..SegmentOutcome::dropped(DropReason::TcpNoListener)
                };
                (stage, outcome)
            }
        };
        self.stage = stage;
        outcome
    }

    /// Handles every timer due at or before `now`.
    pub fn on_timeout<'a>(&mut self, cx: impl Into<Context<'a>>) -> Readiness {
        let cx = &mut cx.into();
        self.checked(|tcp| {
            if let Stage::Resting(resting) = &tcp.stage
                && resting.life > cx.now()
            {
                return Readiness::empty();
            }
            if let Some(tcb) = tcp.open_mut() {
                return tcb.on_timeout(cx);
            }
            let (stage, readiness) = match tcp.take_stage() {
                Stage::SynSent(state) => state.on_timeout(cx),
                Stage::SynReceived(state) => state.on_timeout(cx),
                Stage::FastOpened(state) => state.on_timeout(cx),
                stage => (stage, Readiness::empty()),
            };
            tcp.stage = stage;
            readiness
        })
    }

    /// Returns the time at which [`on_timeout`](Self::on_timeout) must be called next, if any.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.stage {
            Stage::SynSent(state) => Some(state.opening.timer()),
            Stage::SynReceived(state) => Some(state.timer()),
            Stage::FastOpened(state) => Some(state.timer()),
            Stage::Open(tcb) => tcb.timers.earliest(),
            Stage::Resting(resting) => {
                (resting.life != Instant::FAR_FUTURE).then_some(resting.life)
            }
            Stage::Closed { .. } => None,
        }
    }

    /// Returns the next segment to send now. Call it until `None`. Where the device cuts
    /// super-segments, `max_payload` is the most payload of one call; with a smaller value than a
    /// segment (0, say), each call returns one segment.
    pub fn poll_transmit<'a>(
        &mut self,
        cx: impl Into<Context<'a>>,
        max_payload: usize,
    ) -> Option<SegmentOut> {
        let mut out = SegmentOut::default();
        self.poll_transmit_into(cx, max_payload, &mut out)
            .then_some(out)
    }

    /// Builds the next segment to send now in `out`, as [`poll_transmit`](Self::poll_transmit) returns it. Returns false
    /// if there is none. A segment is long, and each move of it costs time.
    pub fn poll_transmit_into<'a>(
        &mut self,
        cx: impl Into<Context<'a>>,
        max_payload: usize,
        out: &mut SegmentOut,
    ) -> bool {
        let cx = &mut cx.into();
        if !out.payload.is_empty() {
            out.payload.clear();
        }
        self.checked(|tcp| {
            let built = match &mut tcp.stage {
                Stage::Open(tcb) => {
                    tcb.awake_since = tcb.awake_since.min(cx.now());
                    return tcb.poll_transmit(max_payload, cx, out);
                }
                Stage::FastOpened(state) => return state.poll_transmit(max_payload, cx, out),
                Stage::SynSent(state) => state.poll_transmit(cx.now()),
                Stage::SynReceived(state) => state.poll_transmit(cx.now()),
                Stage::Resting(_) => None,
                Stage::Closed { reset, .. } => reset.take().map(|reset| *reset),
            };
            match built {
                Some(segment) => {
                    *out = segment;
                    true
                }
                None => false,
            }
        })
    }

    pub(super) fn take_stage(&mut self) -> Stage {
        core::mem::replace(&mut self.stage, Stage::closed(None, None))
    }

    /// Returns the control block of a connection that the application can use and that does not rest.
    pub(super) fn tcb(&self) -> Option<&Tcb> {
        match &self.stage {
            Stage::Open(tcb) => Some(tcb),
            Stage::FastOpened(state) => Some(&state.block),
            _ => None,
        }
    }

    /// Returns the control block of a connection that the application can use. It does not rest any more.
    pub(super) fn tcb_mut(&mut self) -> Option<&mut Tcb> {
        self.wake();
        match &mut self.stage {
            Stage::Open(tcb) => Some(tcb),
            Stage::FastOpened(state) => Some(&mut state.block),
            _ => None,
        }
    }

    /// Returns the control block of a connection whose handshake is done. It does not rest any more.
    fn open_mut(&mut self) -> Option<&mut Tcb> {
        self.wake();
        match &mut self.stage {
            Stage::Open(tcb) => Some(tcb),
            _ => None,
        }
    }

    pub(super) fn settings(&self) -> Option<&Settings> {
        match &self.stage {
            Stage::SynSent(state) => Some(&state.opening.settings),
            Stage::SynReceived(state) => Some(&state.settings),
            Stage::Open(tcb) => Some(&tcb.settings),
            Stage::FastOpened(state) => Some(&state.block.settings),
            Stage::Resting(resting) => Some(&resting.settings),
            Stage::Closed { .. } => None,
        }
    }

    pub(super) fn settings_mut(&mut self) -> Option<&mut Settings> {
        match &mut self.stage {
            Stage::SynSent(state) => Some(&mut state.opening.settings),
            Stage::SynReceived(state) => Some(&mut state.settings),
            Stage::Open(tcb) => Some(&mut tcb.settings),
            Stage::FastOpened(state) => Some(&mut state.block.settings),
            Stage::Resting(resting) => Some(&mut resting.settings),
            Stage::Closed { .. } => None,
        }
    }
}

/// Returns true if nothing is left to do for a control block.
fn is_over(tcb: &Tcb) -> bool {
    tcb.phase == Phase::Closed && !tcb.flags.contains(Flags::RST_DUE)
}

/// Closing, and the state of the connection.
impl Tcp {
    /// Closes our half: a FIN follows the queued bytes. Reading goes on.
    pub fn close<'a>(&mut self, cx: impl Into<Context<'a>>) {
        let cx = &mut cx.into();
        self.wake();
        self.checked(|tcp| match &mut tcp.stage {
            Stage::SynSent(_) => {
                cx.emit(|| Event::StateChanged {
                    from: State::SynSent,
                    to: State::Closed,
                });
                tcp.stage = Stage::closed(None, None);
            }
            Stage::SynReceived(state) => state.closing = true,
            Stage::Open(tcb) => tcb.close(cx),
            Stage::FastOpened(state) => state.block.close(cx),
            Stage::Resting(_) | Stage::Closed { .. } => {}
        });
    }

    /// Ends reading. Bytes that are unread or arrive later reset the connection (RFC 1122 section
    /// 4.2.2.13); what is queued is sent before the reset. To close altogether, call
    /// [`close_both`](Self::close_both).
    pub fn close_recv<'a>(&mut self, cx: impl Into<Context<'a>>) {
        let cx = &mut cx.into();
        self.checked(|tcp| {
            if let Some(tcb) = tcp.tcb_mut() {
                tcb.close_recv(cx);
            }
        });
    }

    /// Closes both halves. If there is something unread, a reset follows the queued bytes, else a
    /// FIN does.
    pub fn close_both<'a>(&mut self, cx: impl Into<Context<'a>>) {
        let mut cx = cx.into();
        if self.tcb_mut().is_none() {
            self.close(cx);
            return;
        }
        let cx = &mut cx;
        self.checked(|tcp| {
            if let Some(tcb) = tcp.tcb_mut() {
                tcb.close_both(cx);
            }
        });
    }

    /// Notes that the application dropped bytes that it had taken with [`recv_pop`](Self::recv_pop)
    /// and not used: closing treats them as unread.
    pub fn note_unread(&mut self) {
        if let Some(tcb) = self.tcb_mut() {
            tcb.flags.insert(Flags::UNREAD_DROPPED);
        }
    }

    /// Ends the connection at once. The next [`poll_transmit`](Self::poll_transmit) returns a
    /// reset, if the state calls for one (RFC 9293 section 3.10.5).
    pub fn abort<'a>(&mut self, cx: impl Into<Context<'a>>) {
        let cx = &mut cx.into();
        let from = self.state();
        self.wake();
        self.checked(|tcp| {
            let reset = match &mut tcp.stage {
                Stage::SynSent(_) => None,
                Stage::SynReceived(state) => Some(state.reset(cx.now())),
                Stage::Open(tcb) => return tcb.abort(cx),
                Stage::FastOpened(state) => return state.block.abort(cx),
                Stage::Resting(_) | Stage::Closed { .. } => return,
            };
            (tcp.stage, _) = handshake::fail(from, TcpError::Aborted, reset, cx);
        });
    }

    /// Returns the state of the connection.
    pub fn state(&self) -> State {
        match &self.stage {
            Stage::SynSent(_) => State::SynSent,
            Stage::SynReceived(_) => State::SynReceived,
            Stage::Open(tcb) => tcb.phase.state(),
            Stage::FastOpened(state) => state.state(),
            Stage::Resting(_) => State::Established,
            Stage::Closed { .. } => State::Closed,
        }
    }

    /// Returns the error that ended the connection, if one did.
    pub fn error(&self) -> Option<TcpError> {
        match &self.stage {
            Stage::Open(tcb) => tcb.error,
            Stage::FastOpened(state) => state.block.error,
            Stage::Closed { error, .. } => *error,
            _ => None,
        }
    }

    /// Takes the error that ended the connection, so that it is shown once.
    pub fn take_error(&mut self) -> Option<TcpError> {
        match &mut self.stage {
            Stage::Open(tcb) => tcb.error.take(),
            Stage::FastOpened(state) => state.block.error.take(),
            Stage::Closed { error, .. } => error.take(),
            _ => None,
        }
    }

    /// Returns the counter of the way in which a connection that is CLOSED ended, if it did not end as it should (RFC
    /// 4022, tcpAttemptFails and tcpEstabResets).
    pub fn failure(&self) -> Option<Counter> {
        match &self.stage {
            Stage::Closed { .. } => Some(Counter::TcpAttemptFails),
            Stage::Open(tcb) if tcb.flags.contains(Flags::CUT_OFF) => Some(Counter::TcpEstabResets),
            _ => None,
        }
    }

    /// Returns true if the connection is CLOSED and no reset must be sent. The application may
    /// still have bytes to read.
    pub fn is_gone(&self) -> bool {
        match &self.stage {
            Stage::Open(tcb) => is_over(tcb),
            Stage::FastOpened(state) => is_over(&state.block),
            Stage::Closed { reset, .. } => reset.is_none(),
            _ => false,
        }
    }

    /// Returns true if [`poll_transmit`](Self::poll_transmit) may have a segment. It is worth
    /// asking after reading, since a read can make a window update due.
    pub fn wants_transmit(&self) -> bool {
        match &self.stage {
            Stage::Open(tcb) => {
                tcb.ack.is_due()
                    || tcb.flags.intersects(Flags::RST_DUE | Flags::KEEPALIVE_DUE)
                    || tcb.has_unsent()
                    || tcb.is_rst_next()
                    || tcb.flight.next_lost().is_some()
            }
            Stage::FastOpened(state) => state.wants_transmit(),
            Stage::Closed { reset, .. } => reset.is_some(),
            Stage::Resting(_) => false,
            _ => true,
        }
    }

    /// Decides if `syn`, which arrived for this connection in TIME-WAIT, may open a new one in its
    /// place (RFC 6191). `None`: it is a segment of this connection.
    pub fn time_wait_reuse(&self, syn: &Segment) -> Option<Reuse> {
        self.time_wait()?.reuse(syn)
    }
}
