//! The end of a connection: closing, aborting, failing (RFC 9293 sections 3.6, 3.10.4 and 3.10.5).

use super::context::Context;
use super::event::Event;
use super::outcome::{Readiness, TcpError};
use super::phase::{Phase, PhaseEvent};
use super::tcb::{Flags, Tcb};
use super::timers::Timers;
use crate::base::Instant;

impl Tcb {
    /// Closes our half.
    pub(super) fn close(&mut self, cx: &mut Context<'_>) {
        if !self.may_queue() {
            return;
        }
        self.flags.insert(Flags::FIN_QUEUED);
        self.restart_user_timer();
        self.transition(PhaseEvent::Close, cx);
    }

    /// Ends reading for the application.
    pub(super) fn close_recv(&mut self, cx: &mut Context<'_>) {
        if self.flags.contains(Flags::RECV_CLOSED) {
            return;
        }
        let unread = self.has_unread();
        self.flags.insert(Flags::RECV_CLOSED);
        self.restart_user_timer();
        self.ring.clear();
        self.assembler = None;
        if unread && self.phase != Phase::TimeWait && self.phase != Phase::Closed {
            self.reset_after_sending(cx);
            return;
        }
        self.on_phase_changed(cx);
    }

    /// Closes both halves.
    pub(super) fn close_both(&mut self, cx: &mut Context<'_>) {
        if !self.has_unread() {
            // Otherwise a reset takes the place of the FIN.
            self.close(cx);
        }
        self.close_recv(cx);
    }

    /// Returns true if the peer sent bytes that the application did not use.
    fn has_unread(&self) -> bool {
        self.ring.len() > 0
            || self.assembler.is_some()
            || self.flags.contains(Flags::UNREAD_DROPPED)
    }

    /// Ends the connection with a reset, because the peer must learn that its data was not read (RFC
    /// 1122 section 4.2.2.13). Bytes that were queued are sent once before.
    ///
    /// The windows may hold some of them back. The reset waits for those as long as the peer's
    /// acknowledgments let them out, at most until the retransmission or persist timer expires. It does not wait for our
    /// FIN, which says less than it does.
    pub(super) fn reset_after_sending(&mut self, cx: &mut Context<'_>) {
        if self.phase.may_transmit() && self.unsent() > 0 {
            self.flags.insert(Flags::RST_QUEUED);
            return;
        }
        self.abort(cx);
        self.flags.insert(Flags::RST_DUE);
    }

    /// Returns true if a reset is next, since everything before it was sent.
    pub(super) fn is_rst_next(&self) -> bool {
        self.flags.contains(Flags::RST_QUEUED) && self.unsent() == 0
    }

    /// Ends the connection at the application's wish.
    pub(super) fn abort(&mut self, cx: &mut Context<'_>) {
        self.abort_with(TcpError::Aborted, cx);
    }

    /// Ends the connection with a reset and this error.
    pub(super) fn abort_with(&mut self, error: TcpError, cx: &mut Context<'_>) {
        let reset = match self.phase {
            Phase::Established | Phase::FinWait1 | Phase::FinWait2 | Phase::CloseWait => true,
            // The RFC's states begin when the FIN is sent: until then, it is CLOSE-WAIT.
            Phase::Closing | Phase::LastAck => !self.fin_sent(),
            Phase::TimeWait | Phase::Closed => false,
        };
        if self.phase != Phase::Closed {
            self.fail(error, cx);
            self.ring.clear();
        }
        if reset {
            self.flags.insert(Flags::RST_DUE);
        }
    }

    /// Ends the connection with an error. Bytes received in order stay readable: the application
    /// reads them first and gets the error afterwards, as on Linux.
    pub(super) fn fail(&mut self, error: TcpError, cx: &mut Context<'_>) -> Readiness {
        if self.phase == Phase::Closed {
            return Readiness::empty();
        }
        self.error = Some(error);
        self.transition(PhaseEvent::Abort, cx);
        cx.emit(|| Event::Ended { error });
        Readiness::ERROR | Readiness::CLOSED | Readiness::READABLE | Readiness::WRITABLE
    }

    /// Frees everything that an ended connection does not need; unread bytes stay.
    fn release(&mut self, cx: &mut Context<'_>) {
        self.queue.clear();
        self.flight.release(cx);
        self.assembler = None;
        self.timers = Timers::default();
        self.flags.remove(
            Flags::PROBE_DUE
                | Flags::TAIL_PROBE_DUE
                | Flags::KEEPALIVE_DUE
                | Flags::WANT_WRITE
                | Flags::RST_QUEUED,
        );
    }

    /// Moves to the phase that `event` leads to, if it leads to another one.
    pub(super) fn transition(&mut self, event: PhaseEvent, cx: &mut Context<'_>) -> Readiness {
        let before = self.phase;
        let after = before.apply(event);
        if after == before {
            return Readiness::empty();
        }
        self.phase = after;
        if after == Phase::Closed && matches!(before, Phase::Established | Phase::CloseWait) {
            self.flags.insert(Flags::CUT_OFF);
        }
        cx.emit(|| Event::StateChanged {
            from: before.state(),
            to: after.state(),
        });
        self.on_phase_changed(cx)
    }

    /// Starts the timer of the new phase, and frees what the phase does not need.
    fn on_phase_changed(&mut self, cx: &mut Context<'_>) -> Readiness {
        if !self.phase.may_transmit() {
            self.timers.pace = Instant::FAR_FUTURE;
        }
        match self.phase {
            Phase::TimeWait => {
                let owed = self.ack;
                self.release(cx);
                self.ack = owed;
                self.timers.life = cx.now() + self.cfg.time_wait;
                Readiness::CLOSED
            }
            Phase::Closed => {
                self.release(cx);
                Readiness::CLOSED
            }
            Phase::FinWait2 if self.flags.contains(Flags::RECV_CLOSED) => {
                self.timers.life = cx.now() + self.cfg.fin_wait_2;
                Readiness::empty()
            }
            _ => Readiness::empty(),
        }
    }
}
