//! The timers of a synchronised connection expire: delayed ACK, retransmission, persist and
//! keepalive, and the ends of FIN-WAIT-2 and TIME-WAIT (RFC 9293 sections 3.8.3, 3.8.4, 3.8.6.1 and
//! 3.10.8).

use core::time::Duration;

use crate::base::Instant;
use crate::base::congestion::Loss;
use crate::tcp::context::Context;
use crate::tcp::event::Event;
use crate::tcp::outcome::Readiness;
use crate::tcp::phase::{Phase, PhaseEvent};
use crate::tcp::send::inflight::Mode;
use crate::tcp::tcb::{Flags, ORPHAN_RETRIES, Tcb};
use crate::tcp::timers::take_due;

/// Time by which peers delay the acknowledgment of a single segment, in nanoseconds.
const MAX_ACK_DELAY_NANOS: u64 = 50_000_000;

/// Time by which an acknowledgment may wait for a processor, in nanoseconds: Linux adds the same.
const SCHEDULING_NANOS: u64 = 2_000_000;

/// Round trips within the least retransmission timeout that make a path short.
const SHORT_PATH_DIVISOR: u32 = 32;

/// Wait for a probe before a round trip was measured.
const NO_RTT_PROBE_TIMEOUT: Duration = Duration::from_secs(1);

impl Tcb {
    /// Handles every timer that is due.
    pub(in crate::tcp) fn on_timeout(&mut self, cx: &mut Context<'_>) -> Readiness {
        let mut readiness = Readiness::empty();
        if take_due(&mut self.timers.delayed_ack, cx.now()) && self.ack.is_owed() {
            self.ack.set_due();
            self.flags.remove(Flags::INTERACTIVE);
        }
        // What waited for its departure leaves when the connection is asked for segments.
        take_due(&mut self.timers.pace, cx.now());
        if take_due(&mut self.timers.loss, cx.now()) && self.phase.may_transmit() {
            self.on_loss_timer(cx);
        }
        if take_due(&mut self.timers.retransmit, cx.now()) && self.phase.may_transmit() {
            readiness |= if self.flags.contains(Flags::RST_QUEUED) {
                // The peer lets no more out: the reset waits no longer.
                self.abort(cx);
                self.flags.insert(Flags::RST_DUE);
                Readiness::CLOSED
            } else if self.flight.outstanding() > 0 {
                self.on_retransmit_timer(cx)
            } else if self.has_unsent() {
                self.on_persist_timer(cx)
            } else {
                Readiness::empty()
            };
        }
        if self.phase != Phase::Closed && take_due(&mut self.timers.user, cx.now()) {
            readiness |= self.on_user_timer(cx);
        }
        if self.phase != Phase::Closed && take_due(&mut self.timers.life, cx.now()) {
            readiness |= self.on_life_timer(cx);
        }
        readiness
    }

    /// Handles the end of the reordering window, or the time for a tail loss probe (RFC 8985 section 8).
    fn on_loss_timer(&mut self, cx: &mut Context<'_>) {
        if self.flight.reorder_deadline().is_some() {
            let flight = self.flight.outstanding().max(self.turn_flight);
            let path = self.path_view();
            let progress = self.flight.on_reorder_timer(&path, cx);
            self.control_congestion(&progress, flight, cx);
            self.arm_loss_timer(false, cx.now());
        } else if self.may_probe() {
            self.flags.insert(Flags::TAIL_PROBE_DUE);
            if self.flight.probe_backoff() == 0 {
                // The timeout remains the last resort, if the probe is lost, too.
                self.timers.retransmit = cx.now() + self.rto();
            }
        }
    }

    /// Arms the timer of loss detection: for the end of the reordering window, or else for a tail loss
    /// probe. `restart`: something was sent for the first time, or acknowledged.
    pub(in crate::tcp) fn arm_loss_timer(&mut self, restart: bool, now: Instant) {
        if let Some(at) = self.flight.reorder_deadline() {
            self.timers.loss = at;
            return;
        }
        let probes = self.cfg.rack_tlp && self.may_probe();
        if !probes {
            self.timers.loss = Instant::FAR_FUTURE;
        } else if restart || self.timers.loss == Instant::FAR_FUTURE {
            self.timers.loss = (now + self.probe_timeout()).min(self.timers.retransmit);
        }
    }

    /// Returns true if a probe may be sent when acknowledgments cease.
    pub(in crate::tcp) fn may_probe(&self) -> bool {
        // Only a recovery needs to know.
        let is_short = self.flight.mode() != Mode::Open && self.is_short_path();
        self.flight.may_probe(is_short)
    }

    /// Returns true if the least retransmission timeout is many round trips.
    fn is_short_path(&self) -> bool {
        let many_round_trips = self.cfg.rto_min / SHORT_PATH_DIVISOR;
        self.rtt.srtt().is_some_and(|srtt| srtt < many_round_trips)
    }

    /// Returns the time after which missing acknowledgments are worth a probe (RFC 8985 section 7.2).
    fn probe_timeout(&self) -> Duration {
        let srtt = self.rtt.srtt_nanos();
        if srtt == 0 {
            return NO_RTT_PROBE_TIMEOUT;
        }
        let delayed = if self.flight.outstanding() <= self.payload_mss() {
            MAX_ACK_DELAY_NANOS
        } else {
            SCHEDULING_NANOS
        };
        // A round trip is an hour at most.
        let nanos = 2 * srtt + delayed;
        Duration::from_nanos(nanos << self.flight.probe_backoff().min(8))
    }

    fn on_retransmit_timer(&mut self, cx: &mut Context<'_>) -> Readiness {
        self.retries = self.retries.saturating_add(1);
        self.stats.on_timeout(cx.now());
        if self.retries > self.max_retries() {
            let error = self.timeout_error();
            return self.fail(error, cx);
        }
        let flight = self.flight.outstanding();
        let count = self.retries;
        cx.emit(|| Event::RetransmissionTimeout { count });
        self.suspect_black_hole(cx);
        let mss = self.payload_mss();
        let loss = Loss {
            in_flight: 0,
            first: self.retries == 1,
            ..Loss::new(flight, mss)
        };
        self.cc.on_timeout(&loss, cx);
        self.ecn.on_reduced(self.flight.nxt());
        let path = self.path_view();
        self.flight.on_timeout(self.retries > 1, &path, cx);
        if let Some(fate) = self.flight.take_probe_fate() {
            self.on_probe_fate(fate, cx);
        }
        self.report_lost(cx);
        self.flags.remove(Flags::TAIL_PROBE_DUE);
        // What was sent lately is not lost yet.
        let reorder = self.flight.reorder_deadline();
        self.timers.loss = reorder.unwrap_or(Instant::FAR_FUTURE);
        self.resent_at = cx.now();
        if self.retries == 1 {
            self.begin_episode(cx.now());
        }
        self.backoff.grow();
        self.timers.retransmit = cx.now() + self.rto();
        Readiness::empty()
    }

    /// Handles the persist timer: the window has been closed, or silly, for a timeout. Sends zero
    /// window probes, at growing intervals, for as long as the peer answers (RFC 9293 section
    /// 3.8.6.1). Once the application is gone, the number of probes is bounded.
    fn on_persist_timer(&mut self, cx: &mut Context<'_>) -> Readiness {
        self.retries = self.retries.saturating_add(1);
        let orphan = self.flags.contains(Flags::RECV_CLOSED);
        if self.retries > self.max_retries()
            || (orphan && self.backoff.count() >= ORPHAN_RETRIES && self.peer.wnd == 0)
        {
            let error = self.timeout_error();
            let readiness = self.fail(error, cx);
            if orphan {
                self.flags.insert(Flags::RST_DUE);
            }
            return readiness;
        }
        self.flags.insert(Flags::PROBE_DUE);
        self.backoff.grow();
        self.timers.retransmit = cx.now() + self.rto();
        Readiness::empty()
    }

    fn on_life_timer(&mut self, cx: &mut Context<'_>) -> Readiness {
        match self.phase {
            Phase::TimeWait => self.transition(PhaseEvent::Expired, cx),
            Phase::FinWait2 if self.flags.contains(Flags::RECV_CLOSED) => {
                self.transition(PhaseEvent::Abort, cx)
            }
            _ => self.on_keepalive_timer(cx),
        }
    }

    fn on_keepalive_timer(&mut self, cx: &mut Context<'_>) -> Readiness {
        let Some(idle) = self.settings.keepalive() else {
            return Readiness::empty();
        };
        let silent = cx.now().saturating_since(self.last_heard);
        if self.flight.outstanding() > 0 || self.has_unsent() || silent < idle {
            // The other timers watch the peer, or it was heard since.
            self.keepalives = 0;
            let wait = idle.saturating_sub(silent).max(Duration::from_millis(1));
            self.timers.life = cx.now() + if silent < idle { wait } else { idle };
            return Readiness::empty();
        }
        // The number of probes or the user timeout, whichever is reached first. On Linux a user timeout replaces the
        // number and may lengthen keepalive; netstackd has one user timeout for all connections, and keepalive for
        // applications that want to know sooner.
        let is_silent_too_long = (self.settings.user_timeout())
            .is_some_and(|timeout| self.keepalives > 0 && silent >= timeout);
        if is_silent_too_long || self.keepalives >= self.settings.keepalive_probes {
            let error = self.timeout_error();
            let readiness = self.fail(error, cx);
            self.flags.insert(Flags::RST_DUE);
            return readiness;
        }
        self.keepalives += 1;
        self.flags.insert(Flags::KEEPALIVE_DUE);
        let mut next = cx.now() + self.settings.keepalive_interval();
        if let Some(timeout) = self.settings.user_timeout() {
            next = next.min(self.last_heard + timeout);
        }
        self.timers.life = next.max(cx.now() + Duration::from_millis(1));
        Readiness::empty()
    }
}
