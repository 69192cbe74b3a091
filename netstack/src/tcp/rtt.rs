//! Round-trip time: the smoothed mean and the mean deviation (RFC 6298 section 2), and the least.
//!
//! The caller decides which samples are valid: the sender times one segment per round trip and
//! discards the sample when anything is retransmitted (Karn), or takes the echoed timestamp (RFC
//! 7323 section 4).

use core::time::Duration;

use super::tcb::secs;
use crate::base::Instant;

/// Nanoseconds of a tick, the unit of the estimate: an eighth of a microsecond, so that the mean of a loopback's round trips is
/// not lost in rounding.
const TICK_NANOS: u64 = 125;

/// Longest round trip, in ticks: 400 s are beyond every timeout, and the sums stay within 32 bits.
const LONGEST_TICKS: u32 = 3_200_000_000;

/// The estimate.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct RttEstimator {
    srtt_ticks: u32,
    rttvar_ticks: u32,
    least: MinRtt,
}

/// Returns a round trip in ticks, at least one.
fn ticks(rtt: Duration) -> u32 {
    let ticks = rtt.as_nanos() / u128::from(TICK_NANOS);
    u32::try_from(ticks)
        .unwrap_or(u32::MAX)
        .clamp(1, LONGEST_TICKS)
}

/// Returns the mean of `weight` parts of `old` and one of `new`, rounded to the nearest tick.
fn smoothed(old: u32, weight: u32, new: u32) -> u32 {
    let parts = u64::from(weight) + 1;
    let sum = u64::from(weight) * u64::from(old) + u64::from(new);
    ((sum + parts / 2) / parts) as u32
}

impl RttEstimator {
    /// Returns the estimate after a checkpoint, within its bounds.
    pub(super) fn restored(self, now: Instant) -> Self {
        Self {
            srtt_ticks: self.srtt_ticks.min(LONGEST_TICKS),
            rttvar_ticks: self.rttvar_ticks.min(LONGEST_TICKS),
            least: MinRtt {
                since_secs: self.least.since_secs.min(secs(now)),
                ..self.least
            },
        }
    }

    /// Takes one measurement.
    pub(super) fn sample(&mut self, rtt: Duration) {
        let rtt = ticks(rtt);
        if self.srtt_ticks == 0 {
            self.srtt_ticks = rtt;
            self.rttvar_ticks = rtt / 2;
        } else {
            // The deviation is from the old mean, so it comes first.
            let deviation = self.srtt_ticks.abs_diff(rtt);
            self.rttvar_ticks = smoothed(self.rttvar_ticks, 3, deviation);
            self.srtt_ticks = smoothed(self.srtt_ticks, 7, rtt).max(1);
        }
    }

    /// Takes the first measurement of what was sent after a timeout that was spurious. The path may have become longer for good,
    /// so that the estimate begins anew, but it becomes no shorter than it was (RFC 4015 section 3.1 step 11).
    pub(super) fn sample_after_spurious_timeout(&mut self, rtt: Duration) {
        let rtt = ticks(rtt);
        self.srtt_ticks = self.srtt_ticks.max(rtt);
        self.rttvar_ticks = self.rttvar_ticks.max(rtt / 2);
    }

    /// Takes a measurement at `now` for the least round-trip time: of any segment that was sent once.
    pub(super) fn sample_least(&mut self, rtt: Duration, now: Instant) {
        self.least.sample(rtt, now);
    }

    /// Returns the least round-trip time of the last minutes, once there was a sample.
    pub(super) fn least(&self) -> Option<Duration> {
        self.least.get()
    }

    /// Returns the smoothed round-trip time, once there was a sample.
    pub(super) fn srtt(&self) -> Option<Duration> {
        (self.srtt_ticks != 0).then(|| Duration::from_nanos(self.srtt_nanos()))
    }

    /// Returns the smoothed round-trip time in nanoseconds; zero before the first sample.
    pub(super) fn srtt_nanos(&self) -> u64 {
        u64::from(self.srtt_ticks) * TICK_NANOS
    }

    /// Returns the mean deviation in nanoseconds.
    pub(super) fn rttvar_nanos(&self) -> u64 {
        u64::from(self.rttvar_ticks) * TICK_NANOS
    }

    /// Returns the mean deviation.
    pub(super) fn rttvar(&self) -> Duration {
        Duration::from_nanos(self.rttvar_nanos())
    }
}

/// Half of the time over which the least round trip is remembered, in seconds. A longer path is known for what it is
/// after it, at the latest after twice as long.
const HALF_WINDOW_SECS: u32 = 150;

/// A minimum over the present and the last half of a window of time (RFC 8985 section 6.2 step 1).
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
struct MinRtt {
    /// Microseconds; `u32::MAX`: no sample.
    present: u32,
    last: u32,
    since_secs: u32,
}

impl Default for MinRtt {
    fn default() -> Self {
        Self {
            present: u32::MAX,
            last: u32::MAX,
            since_secs: 0,
        }
    }
}

impl MinRtt {
    fn sample(&mut self, rtt: Duration, now: Instant) {
        let age = secs(now).saturating_sub(self.since_secs);
        if age >= HALF_WINDOW_SECS {
            self.last = if age < 2 * HALF_WINDOW_SECS {
                self.present
            } else {
                u32::MAX
            };
            self.present = u32::MAX;
            self.since_secs = secs(now);
        }
        let micros = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX - 1);
        self.present = self.present.min(micros);
    }

    fn get(self) -> Option<Duration> {
        let least = self.present.min(self.last);
        (least != u32::MAX).then(|| Duration::from_micros(u64::from(least)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_sample_sets_and_later_ones_smooth() {
        let mut rtt = RttEstimator::default();
        assert_eq!(rtt.srtt(), None);
        rtt.sample(Duration::from_millis(80));
        assert_eq!(rtt.srtt(), Some(Duration::from_millis(80)));
        assert_eq!(rtt.rttvar(), Duration::from_millis(40));
        rtt.sample(Duration::from_millis(160));
        assert_eq!(rtt.srtt(), Some(Duration::from_millis(90)));
        assert_eq!(rtt.rttvar(), Duration::from_millis(50));
    }

    #[test]
    fn absurd_samples_do_not_overflow() {
        let mut rtt = RttEstimator::default();
        for _ in 0..100 {
            rtt.sample(Duration::MAX);
            rtt.sample(Duration::ZERO);
        }
        assert!(rtt.srtt().is_some());
    }

    #[test]
    fn rfc8985_6_2_the_least_round_trip_is_forgotten_after_a_while() {
        let mut rtt = RttEstimator::default();
        let millis = Duration::from_millis;
        let at = |secs: u64| Instant::from_millis(1_000 * secs);
        assert_eq!(rtt.least(), None);
        rtt.sample_least(millis(10), at(0));
        for secs in (0..140).step_by(10) {
            rtt.sample_least(millis(30), at(secs));
        }
        assert_eq!(rtt.least(), Some(millis(10)));
        rtt.sample_least(millis(30), at(160));
        assert_eq!(rtt.least(), Some(millis(10)));
        rtt.sample_least(millis(30), at(320));
        assert_eq!(rtt.least(), Some(millis(30)));
        rtt.sample_least(millis(50), at(2_000));
        assert_eq!(rtt.least(), Some(millis(50)));
    }

    #[test]
    fn rfc4015_3_1_after_a_spurious_timeout_the_estimate_begins_anew() {
        let mut rtt = RttEstimator::default();
        rtt.sample(Duration::from_millis(10));
        rtt.sample_after_spurious_timeout(Duration::from_millis(300));
        assert_eq!(rtt.srtt(), Some(Duration::from_millis(300)));
        assert_eq!(rtt.rttvar(), Duration::from_millis(150));
        rtt.sample_after_spurious_timeout(Duration::from_millis(20));
        assert_eq!(rtt.srtt(), Some(Duration::from_millis(300)));
    }
}
