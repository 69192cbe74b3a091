//! Round-trip time: the smoothed mean and the mean deviation (RFC 6298 section 2).
//!
//! The caller decides which samples are valid: the sender times one segment per round trip and
//! discards the sample when anything is retransmitted (Karn), or takes the echoed timestamp (RFC
//! 7323 section 4).

use core::time::Duration;

/// The estimate, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RttEstimator {
    srtt_nanos: u64,
    rttvar_nanos: u64,
}

impl RttEstimator {
    /// Takes one measurement.
    pub(super) fn sample(&mut self, rtt: Duration) {
        // An hour is beyond every timeout; the bound keeps the sums far from overflow.
        let rtt = u64::try_from(rtt.as_nanos())
            .unwrap_or(u64::MAX)
            .clamp(1, 3_600_000_000_000);
        if self.srtt_nanos == 0 {
            self.srtt_nanos = rtt;
            self.rttvar_nanos = rtt / 2;
        } else {
            // The deviation is from the old mean, so it comes first.
            let deviation = self.srtt_nanos.abs_diff(rtt);
            self.rttvar_nanos = (3 * self.rttvar_nanos + deviation) / 4;
            self.srtt_nanos = ((7 * self.srtt_nanos + rtt) / 8).max(1);
        }
    }

    /// Returns the smoothed round-trip time, once there was a sample.
    pub(super) fn srtt(&self) -> Option<Duration> {
        (self.srtt_nanos != 0).then(|| Duration::from_nanos(self.srtt_nanos))
    }

    /// Returns the mean deviation.
    pub(super) fn rttvar(&self) -> Duration {
        Duration::from_nanos(self.rttvar_nanos)
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
}
