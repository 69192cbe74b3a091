//! The cycle of ProbeBW: drain, cruise, refill, probe (draft-ietf-ccwg-bbr-06 section 5.3.3).

use core::time::Duration;

use super::{AckPhase, Bbr, Rate, State, UNBOUNDED};
use crate::base::Instant;
use crate::base::congestion::{Acked, Window};

/// Round trips after which the bandwidth is probed at the latest, for the sake of Reno and CUBIC.
const RENO_ROUNDS: u32 = 63;

impl Bbr {
    /// Begins a cycle: slows down to empty the queue.
    pub(super) fn start_down(&mut self, now: Instant) {
        self.reset_congestion_signals();
        self.probe_up_acked_per_inc = UNBOUNDED;
        self.pick_probe_wait();
        self.cycle_stamp = now;
        self.ack_phase = AckPhase::Stopping;
        self.start_round();
        self.state = State::Down;
    }

    /// Keeps the rate.
    pub(super) fn start_cruise(&mut self) {
        self.state = State::Cruise;
    }

    /// Forgets the short-term model, and fills the pipe for a round trip.
    pub(super) fn start_refill(&mut self) {
        self.reset_short_term_model();
        self.probe_up_rounds = 0;
        self.probe_up_acked = 0;
        self.prev_probe_precautionary = false;
        self.ack_phase = AckPhase::Refilling;
        self.start_round();
        self.state = State::Refill;
    }

    /// Probes for more.
    fn start_up(&mut self, window: &Window, rate: Rate) {
        self.ack_phase = AckPhase::Starting;
        self.start_round();
        self.reset_full_bw();
        self.full_bw = rate.delivery_rate;
        self.state = State::Up;
        self.raise_inflight_longterm_slope(window);
    }

    /// Moves the cycle on, if it is time (`UpdateProbeBWCyclePhase`).
    pub(super) fn update_cycle_phase(&mut self, window: &Window, acked: &Acked, rate: Rate) {
        if !self.full_bw_reached || self.adapt_long_term_model(window, acked, rate) {
            return;
        }
        let now = acked.now;
        if matches!(self.state, State::Down | State::Cruise) {
            let probes = self.check_time_to_probe(window, now);
            if !probes && self.state == State::Down && self.is_time_to_cruise() {
                self.start_cruise();
            }
        } else if self.state == State::Refill && self.round_start {
            self.is_bw_probe_sample = true;
            self.start_up(window, rate);
        } else if self.state == State::Up && self.is_time_to_go_down(window, rate) {
            self.prev_probe_too_high = false;
            self.start_down(now);
        }
    }

    fn is_time_to_cruise(&self) -> bool {
        let bdp = self.quantized(self.bdp_of(self.max_bw.get(), 1.0));
        self.in_flight <= self.inflight_with_headroom() && self.in_flight <= bdp
    }

    /// Returns true if the probe is over (section 5.3.3.7).
    fn is_time_to_go_down(&mut self, window: &Window, rate: Rate) -> bool {
        if self.prev_probe_too_high && self.in_flight >= self.inflight_longterm {
            self.prev_probe_precautionary = true;
            return true;
        }
        if self.is_limited && window.cwnd >= self.inflight_longterm {
            // The bandwidth is bounded by the volume: its plateau says nothing.
            self.reset_full_bw();
            self.full_bw = rate.delivery_rate;
            return false;
        }
        self.full_bw_now
    }

    /// Begins to probe, if it is time (section 5.3.3.8).
    fn check_time_to_probe(&mut self, window: &Window, now: Instant) -> bool {
        let waited = now > self.cycle_stamp + self.probe_wait;
        let reno_rounds = self.target_inflight(window) / self.mss;
        if waited || self.rounds_since_probe_up >= reno_rounds.min(RENO_ROUNDS) {
            self.start_refill();
            return true;
        }
        false
    }

    /// Chooses at random when to probe again, so that flows do not probe together.
    pub(super) fn pick_probe_wait(&mut self) {
        self.rounds_since_probe_up = self.random_below(2);
        let micros = 2_000_000 + self.random_below(1_000_000);
        self.probe_wait = Duration::from_micros(u64::from(micros));
    }

    fn raise_inflight_longterm_slope(&mut self, window: &Window) {
        let growth = 1u32 << self.probe_up_rounds;
        self.probe_up_rounds = (self.probe_up_rounds + 1).min(30);
        self.probe_up_acked_per_inc = (window.cwnd / growth).max(self.mss);
    }

    /// Raises the bound of the volume: by 1, 2, 4, … segments a round trip.
    fn probe_inflight_longterm_upward(&mut self, window: &Window, newly_acked: u32) {
        if !self.is_limited || window.cwnd < self.inflight_longterm {
            return;
        }
        self.probe_up_acked = self.probe_up_acked.saturating_add(newly_acked);
        if self.probe_up_acked >= self.probe_up_acked_per_inc {
            let steps = self.probe_up_acked / self.probe_up_acked_per_inc;
            self.probe_up_acked -= steps * self.probe_up_acked_per_inc;
            let more = steps.saturating_mul(self.mss);
            self.inflight_longterm = self.inflight_longterm.saturating_add(more);
        }
        if self.round_start {
            self.raise_inflight_longterm_slope(window);
        }
    }

    /// Follows the feedback of a probe with the long-term model. Returns true if it moved the cycle on.
    fn adapt_long_term_model(&mut self, window: &Window, acked: &Acked, rate: Rate) -> bool {
        let in_probe_bw = self.state.is_probe_bw();
        if self.ack_phase == AckPhase::Starting && self.round_start {
            self.ack_phase = AckPhase::Feedback;
        }
        if self.ack_phase == AckPhase::Stopping && self.round_start {
            self.is_bw_probe_sample = false;
            self.ack_phase = AckPhase::Init;
            if in_probe_bw && !rate.is_app_limited {
                self.max_bw.advance();
            }
            if in_probe_bw && self.prev_probe_precautionary && !self.prev_probe_too_high {
                self.start_refill();
                return true;
            }
        }
        if rate.is_inflight_too_high(self.loss_thresh) || self.inflight_longterm == UNBOUNDED {
            return false;
        }
        self.inflight_longterm = self.inflight_longterm.max(rate.tx_in_flight);
        if self.state == State::Up {
            self.probe_inflight_longterm_upward(window, acked.delivered);
        }
        false
    }
}
