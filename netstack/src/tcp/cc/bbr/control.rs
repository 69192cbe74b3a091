//! Derives pacing rate, quantum and window from the model (draft-ietf-ccwg-bbr-06 section 5.6).

use core::time::Duration;

use super::{
    Bbr, MIN_PIPE_SEGMENTS, NOMINAL_RTT, PACING_MARGIN, STARTUP_PACING_GAIN, State, UNBOUNDED,
};
use crate::base::congestion::Window;
use crate::tcp::cc::pacing;

impl Bbr {
    /// Sets the first rate, from the initial window (section 5.6.2).
    pub(super) fn init_pacing_rate(&mut self, srtt: Option<Duration>) {
        let seconds = srtt
            .filter(|srtt| !srtt.is_zero())
            .unwrap_or(NOMINAL_RTT)
            .as_secs_f64();
        let window = self.initial.max(MIN_PIPE_SEGMENTS * self.mss);
        self.pacing_rate = (STARTUP_PACING_GAIN * f64::from(window) / seconds) as u64;
    }

    pub(super) fn set_pacing_rate_with_gain(&mut self, gain: f64) {
        let rate = (gain * self.bw as f64 * PACING_MARGIN) as u64;
        if rate > 0 && (self.full_bw_reached || rate > self.pacing_rate) {
            self.pacing_rate = rate;
        }
    }

    /// Returns the most that is sent together (section 5.6.3).
    pub(super) fn send_quantum(&self) -> u32 {
        pacing::quantum(self.pacing_rate, self.mss)
    }

    /// Follows the model with the window (section 5.6.4.6).
    pub(super) fn set_cwnd(&mut self, window: &mut Window, newly_acked: u32) {
        let capped = self.bdp(self.state.cwnd_gain());
        let max = self.quantized(capped.saturating_add(self.aggregation.extra_acked()));
        let grown = window.cwnd.saturating_add(newly_acked);
        if self.full_bw_reached {
            window.cwnd = grown.min(max);
        } else if window.cwnd < max || self.delivered < u64::from(self.initial) {
            window.cwnd = grown;
        }
        window.cwnd = window.cwnd.max(self.min_pipe_cwnd());
        if self.state == State::ProbeRtt {
            window.cwnd = window.cwnd.min(self.probe_rtt_cwnd());
        }
        self.bound_cwnd_for_model(window);
    }

    /// Bounds the window by what losses taught (section 5.6.4.7).
    pub(super) fn bound_cwnd_for_model(&self, window: &mut Window) {
        let longterm = match self.state {
            State::Down | State::Refill | State::Up => self.inflight_longterm,
            State::Cruise | State::ProbeRtt => self.inflight_with_headroom(),
            State::Startup | State::Drain => UNBOUNDED,
        };
        let cap = longterm.min(self.inflight_shortterm);
        window.cwnd = window.cwnd.min(cap.max(self.min_pipe_cwnd()));
    }

    pub(super) fn save_cwnd(&mut self, window: &Window) {
        self.prior_cwnd = if !self.in_recovery && self.state != State::ProbeRtt {
            window.cwnd
        } else {
            self.prior_cwnd.max(window.cwnd)
        };
    }

    pub(super) fn restore_cwnd(&mut self, window: &mut Window) {
        window.cwnd = window.cwnd.max(self.prior_cwnd);
    }
}
