//! Startup, which doubles the rate each round trip until the path is full, and Drain, which empties the queue that this
//! made (draft-ietf-ccwg-bbr-06 sections 5.3.1 and 5.3.2).

use super::{Bbr, Rate, STARTUP_FULL_LOSS_COUNT, State};
use crate::base::Instant;
use crate::base::congestion::Acked;

impl Bbr {
    /// Begins Startup (section 5.3.1.1).
    pub(super) fn enter_startup(&mut self) {
        self.state = State::Startup;
    }

    /// Looks for a plateau of the bandwidth (section 5.3.1.2).
    ///
    /// Growth counts with any acknowledgment, not only with the first one of a round trip as in the draft: of
    /// acknowledgments that come together, the first one tells of two segments only.
    pub(super) fn check_full_bw_reached(&mut self, rate: Rate) {
        if self.full_bw_now || rate.is_app_limited || rate.delivery_rate == 0 {
            return;
        }
        if rate.delivery_rate as f64 >= self.full_bw as f64 * 1.25 {
            self.reset_full_bw();
            self.full_bw = rate.delivery_rate;
            return;
        }
        if !self.round_start {
            return;
        }
        self.full_bw_count += 1;
        self.full_bw_now = self.full_bw_count >= 3;
        self.full_bw_reached |= self.full_bw_now;
    }

    pub(super) fn reset_full_bw(&mut self) {
        self.full_bw = 0;
        self.full_bw_count = 0;
        self.full_bw_now = false;
    }

    /// Ends Startup if the bandwidth or the losses say so.
    pub(super) fn check_startup_done(&mut self, acked: &Acked, rate: Rate) {
        self.check_startup_high_loss(acked, rate);
        if self.state == State::Startup && self.full_bw_reached {
            self.state = State::Drain;
            self.drain_start_round = self.round_count;
        }
    }

    /// Ends Startup if too much is lost (section 5.3.1.3).
    pub(super) fn check_startup_high_loss(&mut self, acked: &Acked, rate: Rate) {
        let runs = self.loss_runs_in_round;
        if self.loss_round_start {
            self.loss_runs_in_round = 0;
        }
        if self.state != State::Startup || self.full_bw_reached || !acked.in_recovery {
            return;
        }
        let is_high = if acked.selective {
            self.loss_round_start
                && runs >= STARTUP_FULL_LOSS_COUNT
                && rate.is_inflight_too_high(self.loss_thresh)
        } else {
            runs > 0
        };
        if is_high {
            self.undo.state = Some(State::Startup);
            self.full_bw_reached = true;
            self.inflight_longterm = self.bdp(1.0).max(self.inflight_latest);
        }
    }

    /// Ends Drain when the queue is empty (section 5.3.2).
    pub(super) fn check_drain_done(&mut self, now: Instant) {
        let is_drained = self.in_flight <= self.inflight(1.0);
        let rounds = self.round_count.wrapping_sub(self.drain_start_round);
        if self.state == State::Drain && (is_drained || rounds > 3) {
            self.start_down(now);
        }
    }
}
