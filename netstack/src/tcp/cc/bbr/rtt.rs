//! The least round trip, and ProbeRTT, which empties the queue to measure it (draft-ietf-ccwg-bbr-06 section
//! 5.3.4).

use core::time::Duration;

use super::{AckPhase, Bbr, PROBE_RTT_CWND_GAIN, Rate, State};
use crate::base::Instant;
use crate::base::congestion::Window;

/// Time over which the least round trip holds (`MinRTTFilterLen`).
const MIN_RTT_FILTER: Duration = Duration::from_secs(10);
/// Time after which it is measured again (`ProbeRTTInterval`).
const PROBE_RTT_INTERVAL: Duration = Duration::from_secs(5);
/// Least time with a small window (`ProbeRTTDuration`).
const PROBE_RTT_DURATION: Duration = Duration::from_millis(200);

impl Bbr {
    pub(super) fn update_min_rtt(&mut self, rtt: Option<Duration>, now: Instant) {
        self.probe_rtt_expired = now > self.probe_rtt_min_stamp + PROBE_RTT_INTERVAL;
        if let Some(rtt) = rtt
            && (self.probe_rtt_expired || self.probe_rtt_min_delay.is_none_or(|least| rtt < least))
        {
            self.probe_rtt_min_delay = Some(rtt);
            self.probe_rtt_min_stamp = now;
        }
        let is_expired = now > self.min_rtt_stamp + MIN_RTT_FILTER;
        let is_less = match (self.probe_rtt_min_delay, self.min_rtt) {
            (Some(delay), Some(least)) => delay < least,
            (delay, None) => delay.is_some(),
            (None, _) => false,
        };
        if is_less || (is_expired && self.probe_rtt_min_delay.is_some()) {
            self.min_rtt = self.probe_rtt_min_delay;
            self.min_rtt_stamp = self.probe_rtt_min_stamp;
        }
    }

    pub(super) fn check_probe_rtt(&mut self, window: &mut Window, rate: Rate, now: Instant) {
        if self.state != State::ProbeRtt && self.probe_rtt_expired && !self.idle_restart {
            self.save_cwnd(window);
            self.state = State::ProbeRtt;
            self.probe_rtt_done_stamp = None;
            self.ack_phase = AckPhase::Stopping;
            self.start_round();
        }
        if self.state == State::ProbeRtt {
            self.handle_probe_rtt(window, now);
        }
        if rate.delivered > 0 {
            self.idle_restart = false;
        }
    }

    fn handle_probe_rtt(&mut self, window: &mut Window, now: Instant) {
        if self.probe_rtt_done_stamp.is_some() {
            self.probe_rtt_round_done |= self.round_start;
            if self.probe_rtt_round_done {
                self.check_probe_rtt_done(window, now);
            }
        } else if self.in_flight <= self.probe_rtt_cwnd() {
            self.probe_rtt_done_stamp = Some(now + PROBE_RTT_DURATION);
            self.probe_rtt_round_done = false;
            self.start_round();
        }
    }

    pub(super) fn check_probe_rtt_done(&mut self, window: &mut Window, now: Instant) {
        if self.probe_rtt_done_stamp.is_none_or(|done| now <= done) {
            return;
        }
        self.probe_rtt_min_stamp = now;
        self.restore_cwnd(window);
        self.reset_short_term_model();
        if self.full_bw_reached {
            self.start_down(now);
            self.start_cruise();
        } else {
            self.enter_startup();
        }
    }

    /// Returns the window of ProbeRTT (section 5.6.4.5).
    pub(super) fn probe_rtt_cwnd(&self) -> u32 {
        self.bdp(PROBE_RTT_CWND_GAIN).max(self.min_pipe_cwnd())
    }
}
