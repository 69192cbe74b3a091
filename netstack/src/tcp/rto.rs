//! The retransmission timeout: from the estimate, bounded, backed off (RFC 6298 sections 2, 5).

use core::time::Duration;

use super::rtt::RttEstimator;
use crate::base::TcpConfig;

/// Clock granularity G of RFC 6298: the wheel that drives the timers ticks in milliseconds.
const GRANULARITY: Duration = Duration::from_millis(1);

/// Maximum number of doublings; beyond it every timeout is the upper bound.
const MAX_BACKOFF: u8 = 16;

/// Exponential back-off (RFC 6298 section 5.5).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff(u8);

impl Backoff {
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
    let base = match rtt.srtt() {
        None => cfg.rto_initial,
        Some(srtt) => srtt + (rtt.rttvar() * 4).max(GRANULARITY).max(cfg.rto_min),
    };
    base.saturating_mul(1 << backoff.0).min(cfg.rto_max)
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
