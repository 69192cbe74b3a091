//! The retransmission timeout: from the estimate, bounded, backed off (RFC 6298 sections 2, 5).

use core::time::Duration;

use super::rtt::RttEstimator;
use crate::base::TcpConfig;

/// Clock granularity G of RFC 6298 in nanoseconds: the wheel that drives the timers ticks in milliseconds.
const GRANULARITY_NANOS: u64 = 1_000_000;

/// Maximum number of doublings; beyond it every timeout is the upper bound.
const MAX_BACKOFF: u8 = 16;

/// Exponential back-off (RFC 6298 section 5.5).
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Backoff(u8);

impl Backoff {
    /// Returns the back-off after a checkpoint.
    pub(super) fn restored(self) -> Self {
        Self(self.0.min(MAX_BACKOFF))
    }

    /// Doubles the timeout once more.
    pub(super) fn grow(&mut self) {
        self.0 = (self.0 + 1).min(MAX_BACKOFF);
    }

    /// Returns the number of doublings.
    pub(super) fn count(self) -> u8 {
        self.0
    }

    /// Ends the back-off, after a valid measurement.
    pub(super) fn reset(&mut self) {
        self.0 = 0;
    }
}

/// Returns the timeout: SRTT + max(G, 4·RTTVAR, `rto_min`), doubled per back-off, at most `rto_max`.
///
/// The minimum is that of the variance term, as on Linux. If it were that of the sum, a steady path
/// whose round trip is longer than the minimum would leave no room for a delayed ACK.
pub(super) fn timeout(rtt: &RttEstimator, backoff: Backoff, cfg: &TcpConfig) -> Duration {
    // Each segment asks: this is cheaper than the arithmetic of `Duration`.
    let base = match rtt.srtt_nanos() {
        0 => nanos(cfg.rto_initial),
        srtt => {
            let deviation = rtt.rttvar_nanos().saturating_mul(4);
            srtt.saturating_add(deviation.max(GRANULARITY_NANOS).max(nanos(cfg.rto_min)))
        }
    };
    let timeout = base.saturating_mul(1 << backoff.0).min(nanos(cfg.rto_max));
    Duration::from_nanos(timeout)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_and_backoff() {
        let cfg = TcpConfig::default();
        let mut rtt = RttEstimator::default();
        let mut backoff = Backoff::default();
        assert_eq!(timeout(&rtt, backoff, &cfg), cfg.rto_initial);
        let srtt = Duration::from_micros(50);
        rtt.sample(srtt);
        assert_eq!(timeout(&rtt, backoff, &cfg), srtt + cfg.rto_min);
        backoff.grow();
        assert_eq!(timeout(&rtt, backoff, &cfg), (srtt + cfg.rto_min) * 2);
        for _ in 0..100 {
            backoff.grow();
        }
        assert_eq!(timeout(&rtt, backoff, &cfg), cfg.rto_max);
        backoff.reset();
        rtt.sample(Duration::from_secs(1));
        assert!(timeout(&rtt, backoff, &cfg) > cfg.rto_min);
    }
}
