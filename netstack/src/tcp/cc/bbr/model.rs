//! The estimates of BBR: bandwidth, aggregation, and what losses say (draft-ietf-ccwg-bbr-06 section 5.5).

use core::time::Duration;

use super::{BETA, Bbr, HEADROOM, Rate, State, UNBOUNDED, UNBOUNDED_RATE, Undo};
use crate::base::Instant;
use crate::base::congestion::{Acked, Lost, Window};

/// The maximum of the present and the last cycle of probing (section 5.5.3).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MaxFilter {
    present: u64,
    last: u64,
}

impl MaxFilter {
    pub(super) fn update(&mut self, value: u64) {
        self.present = self.present.max(value);
    }

    /// Begins another cycle. One without a sample is none.
    pub(super) fn advance(&mut self) {
        if self.present > 0 {
            self.last = self.present;
            self.present = 0;
        }
    }

    pub(super) fn get(self) -> u64 {
        self.present.max(self.last)
    }
}

/// Round trips over which aggregation is remembered, in two halves (`ExtraAckedFilterLen`).
const AGGREGATION_ROUNDS: u32 = 10;

/// The degree of aggregation: how much is acknowledged beyond the estimated rate (section 5.5.9).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Aggregation {
    pub(super) start: Instant,
    delivered: u32,
    present: u32,
    last: u32,
    /// Round trips of the present half.
    rounds: u32,
}

impl Aggregation {
    pub(super) fn extra_acked(self) -> u32 {
        self.present.max(self.last)
    }

    /// Begins another round trip of a filter of that many.
    fn on_round(&mut self, filter_rounds: u32) {
        self.rounds += 1;
        if self.rounds >= filter_rounds.div_ceil(2) {
            self.rounds = 0;
            // With one round to remember, the last one is forgotten at once.
            self.last = if filter_rounds > 1 { self.present } else { 0 };
            self.present = 0;
        }
    }
}

/// Returns true if `a` comes at or after `b`, of two counts modulo 2^32.
fn at_or_after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 >= 0
}

/// Returns `part` of a volume.
fn scaled(volume: u32, part: f64) -> u32 {
    (f64::from(volume) * part) as u32
}

impl Bbr {
    /// Begins a round trip: it ends when something that is sent from now on is acknowledged.
    pub(super) fn start_round(&mut self) {
        self.next_round_delivered = self.delivered_total;
    }

    fn update_round(&mut self, rate: Rate) {
        self.round_start = rate
            .prior_delivered
            .is_some_and(|prior| at_or_after(prior, self.next_round_delivered));
        if self.round_start {
            self.start_round();
            self.round_count = self.round_count.wrapping_add(1);
            self.rounds_since_probe_up = self.rounds_since_probe_up.saturating_add(1);
        }
    }

    fn update_max_bw(&mut self, rate: Rate) {
        self.update_round(rate);
        let counts = rate.delivery_rate >= self.max_bw.get() || !rate.is_app_limited;
        if rate.delivery_rate > 0 && counts {
            self.max_bw.update(rate.delivery_rate);
        }
    }

    pub(super) fn update_latest_delivery_signals(&mut self, rate: Rate) {
        self.loss_round_start = false;
        self.bw_latest = self.bw_latest.max(rate.delivery_rate);
        self.inflight_latest = self.inflight_latest.max(rate.delivered);
        let ends = rate
            .prior_delivered
            .is_some_and(|prior| at_or_after(prior, self.loss_round_delivered));
        if ends {
            self.loss_round_delivered = self.delivered_total;
            self.loss_round_start = true;
        }
    }

    pub(super) fn advance_latest_delivery_signals(&mut self, rate: Rate) {
        if self.loss_round_start {
            self.bw_latest = rate.delivery_rate;
            self.inflight_latest = rate.delivered;
        }
    }

    pub(super) fn reset_congestion_signals(&mut self) {
        self.is_loss_in_round = false;
        self.bw_latest = 0;
        self.inflight_latest = 0;
    }

    /// Answers once a round trip to losses (section 5.5.10.3).
    pub(super) fn update_congestion_signals(&mut self, window: &Window, rate: Rate) {
        self.update_max_bw(rate);
        if !self.loss_round_start {
            return;
        }
        if self.is_loss_in_round && !self.state.is_probing() {
            if self.bw_shortterm == UNBOUNDED_RATE {
                self.bw_shortterm = self.max_bw.get();
            }
            if self.inflight_shortterm == UNBOUNDED {
                self.inflight_shortterm = window.cwnd;
            }
            let slower = (self.bw_shortterm as f64 * BETA) as u64;
            self.bw_shortterm = self.bw_latest.max(slower);
            let less = scaled(self.inflight_shortterm, BETA);
            self.inflight_shortterm = self.inflight_latest.max(less);
        }
        self.is_loss_in_round = false;
    }

    pub(super) fn reset_short_term_model(&mut self) {
        self.bw_shortterm = UNBOUNDED_RATE;
        self.inflight_shortterm = UNBOUNDED;
    }

    /// Estimates how much is acknowledged in lumps (section 5.5.9).
    pub(super) fn update_ack_aggregation(&mut self, window: &Window, acked: &Acked) {
        if self.round_start {
            let rounds = match self.full_bw_reached {
                true => AGGREGATION_ROUNDS,
                false => 1,
            };
            self.aggregation.on_round(rounds);
        }
        let interval = acked.now.saturating_since(self.aggregation.start);
        let mut expected = volume(self.bw, interval);
        let aggregation = &mut self.aggregation;
        if aggregation.delivered <= expected {
            aggregation.delivered = 0;
            aggregation.start = acked.now;
            expected = 0;
        }
        aggregation.delivered = aggregation.delivered.saturating_add(acked.delivered);
        let extra = (aggregation.delivered - expected).min(window.cwnd);
        aggregation.present = aggregation.present.max(extra);
    }

    /// Takes a run of lost bytes (section 5.5.10.2).
    pub(super) fn handle_lost(&mut self, window: &Window, lost: &Lost) {
        if !self.is_loss_in_round {
            self.loss_round_delivered = lost.delivered_total;
            self.save_state_upon_loss(window);
        }
        self.is_loss_in_round = true;
        self.loss_runs_in_round = self.loss_runs_in_round.saturating_add(1);
        if !self.is_bw_probe_sample {
            return;
        }
        let mut rate = Rate {
            tx_in_flight: lost.sent_in_flight,
            lost: lost.lost_since,
            is_app_limited: lost.app_limited,
            selective: lost.selective,
            ..Rate::default()
        };
        if rate.is_inflight_too_high(self.loss_thresh) {
            rate.tx_in_flight = inflight_at_loss(lost, self.loss_thresh);
            self.handle_inflight_too_high(window, rate);
        }
    }

    fn handle_inflight_too_high(&mut self, window: &Window, rate: Rate) {
        self.prev_probe_too_high = true;
        self.is_bw_probe_sample = false;
        if !rate.is_app_limited {
            let least = scaled(self.target_inflight(window), BETA);
            self.inflight_longterm = rate.tx_in_flight.max(least);
        }
        if self.state == State::Up {
            self.undo.state = Some(State::Up);
            // The clock of the cycle is that of the last acknowledgment, which found the loss.
            self.start_down(self.last_ack);
        }
    }

    /// Keeps what a spurious recovery restores (section 5.5.11.1).
    pub(super) fn save_state_upon_loss(&mut self, window: &Window) {
        self.save_cwnd(window);
        self.undo = Undo {
            state: None,
            bw_shortterm: self.bw_shortterm,
            inflight_shortterm: self.inflight_shortterm,
            inflight_longterm: self.inflight_longterm,
        };
    }

    /// Returns `gain` times the bandwidth-delay product; without a round trip, the initial window.
    pub(super) fn bdp(&self, gain: f64) -> u32 {
        self.bdp_of(self.bw, gain)
    }

    /// Returns the same for another bandwidth.
    pub(super) fn bdp_of(&self, bw: u64, gain: f64) -> u32 {
        let Some(rtt) = self.min_rtt else {
            return self.initial;
        };
        (bw as f64 * rtt.as_secs_f64() * gain) as u32
    }

    /// Returns `cap`, raised to what the offloads of both ends need (section 5.6.4.2).
    pub(super) fn quantized(&self, cap: u32) -> u32 {
        let cap = cap
            .max(self.send_quantum().saturating_mul(3))
            .max(self.min_pipe_cwnd());
        match self.state {
            State::Up => cap.saturating_add(2 * self.mss),
            _ => cap,
        }
    }

    /// Returns the volume that `gain` bandwidth-delay products take.
    pub(super) fn inflight(&self, gain: f64) -> u32 {
        self.quantized(self.bdp(gain))
    }

    /// Returns a volume that leaves something to others.
    pub(super) fn inflight_with_headroom(&self) -> u32 {
        if self.inflight_longterm == UNBOUNDED {
            return UNBOUNDED;
        }
        let headroom = scaled(self.inflight_longterm, HEADROOM).max(self.mss);
        self.inflight_longterm
            .saturating_sub(headroom)
            .max(self.min_pipe_cwnd())
    }

    /// Returns the volume that is wanted in flight: the bandwidth-delay product, unless congestion bounds it.
    pub(super) fn target_inflight(&self, window: &Window) -> u32 {
        self.bdp(1.0).min(window.cwnd)
    }
}

/// Returns what a rate delivers in a time.
fn volume(bytes_per_second: u64, time: Duration) -> u32 {
    let bytes = u128::from(bytes_per_second) * time.as_nanos() / 1_000_000_000;
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Returns the volume in flight at which losses exceeded what is tolerated, which may be within this run.
fn inflight_at_loss(lost: &Lost, loss_thresh: f64) -> u32 {
    let before = f64::from(lost.sent_in_flight) - f64::from(lost.bytes);
    let lost_before = f64::from(lost.lost_since) - f64::from(lost.bytes);
    let prefix = (loss_thresh * before - lost_before) / (1.0 - loss_thresh);
    (before + prefix).max(0.0) as u32
}
