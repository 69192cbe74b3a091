//! The rate limit of ICMP errors: a token bucket over all destinations.
//!
//! A shared bucket is a side channel: a peer that sends spoofed probes and then probes of its own learns
//! from a missing error which of the spoofed ones was answered (CVE-2020-25705). So each error costs one to
//! three tokens at random. Tokens accrue at twice the configured rate, which keeps the mean, and no peer can
//! infer the exact number of tokens.
//!
//! Sections: RFC 4443 section 2.4(f), RFC 1812 section 4.3.2.8.

use crate::base::time::Duration;
use crate::base::{Instant, Rng};

/// Mean price of an error, in tokens.
const MEAN_PRICE: u64 = 2;

/// A token bucket for ICMP errors.
///
/// ```
/// use netstack::base::{Instant, Rng};
/// use netstack::icmp::IcmpLimiter;
///
/// let (mut rng, now) = (Rng::from_u64(7), Instant::ZERO);
/// let mut limiter = IcmpLimiter::new(1_000, 50, now);
/// let sent = (0..1_000).filter(|_| limiter.allow(now, &mut rng)).count();
/// assert!((34..=100).contains(&sent), "about the burst of 50");
/// ```
#[derive(Clone, Debug)]
pub struct IcmpLimiter {
    /// Credit in nanoseconds; a token is worth `nanos_per_token`.
    credit_nanos: u64,
    max_nanos: u64,
    /// 0: no error may be sent.
    nanos_per_token: u64,
    per_second: u32,
    burst: u32,
    /// Price of the next error, in tokens. Drawn once, so that a repeated attempt gets no lower price.
    price: u64,
    refilled: Instant,
}

impl IcmpLimiter {
    /// Creates a full bucket that allows `per_second` errors per second in the mean and `burst` at once.
    /// Both are approximate, because prices are random. If either is zero, no error is allowed.
    pub fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let nanos_per_token = match per_second {
            0 => 0,
            rate => 1_000_000_000 / (u64::from(rate) * MEAN_PRICE).min(1_000_000_000),
        };
        let max_nanos = nanos_per_token * u64::from(burst) * MEAN_PRICE;
        Self {
            credit_nanos: max_nanos,
            max_nanos,
            nanos_per_token,
            per_second,
            burst,
            price: MEAN_PRICE,
            refilled: now,
        }
    }

    /// Returns the errors per second, and at once, that it allows.
    pub fn limits(&self) -> (u32, u32) {
        (self.per_second, self.burst)
    }

    /// Changes the limits. The part of the bucket that was full stays full.
    ///
    /// ```
    /// use netstack::base::{Instant, Rng};
    /// use netstack::icmp::IcmpLimiter;
    ///
    /// let (mut rng, now) = (Rng::from_u64(7), Instant::ZERO);
    /// let mut limiter = IcmpLimiter::new(1_000, 50, now);
    /// while limiter.allow(now, &mut rng) {}
    /// limiter.set_limits(10, 500);
    /// assert!(!limiter.allow(now, &mut rng), "it fills with time");
    /// ```
    pub fn set_limits(&mut self, per_second: u32, burst: u32) {
        let new = Self::new(per_second, burst, self.refilled);
        let full = u128::from(new.max_nanos) * u128::from(self.credit_nanos);
        let credit = full / u128::from(self.max_nanos.max(1));
        *self = Self {
            credit_nanos: u64::try_from(credit).unwrap_or(u64::MAX).min(new.max_nanos),
            price: self.price,
            ..new
        };
    }

    /// Returns `true` if an error may be sent now, and takes its price from the bucket.
    pub fn allow(&mut self, now: Instant, rng: &mut Rng) -> bool {
        if self.nanos_per_token == 0 {
            return false;
        }
        let elapsed: Duration = now.saturating_since(self.refilled);
        self.refilled = self.refilled.max(now);
        let elapsed = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.credit_nanos = self
            .credit_nanos
            .saturating_add(elapsed)
            .min(self.max_nanos);
        let cost = self.nanos_per_token * self.price;
        match self.credit_nanos.checked_sub(cost) {
            Some(left) => {
                self.credit_nanos = left;
                self.price = u64::from(1 + rng.below(3));
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_and_the_burst_are_bounded() {
        for seed in 0..20 {
            let mut rng = Rng::from_u64(seed);
            let start = Instant::from_millis(5);
            let mut limiter = IcmpLimiter::new(1_000, 50, start);
            let burst = (0..1_000)
                .filter(|_| limiter.allow(start, &mut rng))
                .count();
            assert!((34..=100).contains(&burst), "seed {seed}: {burst}");
            // Ten seconds of more demand than supply: the mean holds.
            let sent = (1..=100_000u64)
                .filter(|n| limiter.allow(start + Duration::from_micros(n * 100), &mut rng))
                .count();
            assert!((9_000..=11_000).contains(&sent), "seed {seed}: {sent}");
        }
    }

    #[test]
    fn time_that_stands_still_or_goes_back_gives_nothing() {
        let mut rng = Rng::from_u64(3);
        let mut limiter = IcmpLimiter::new(10, 5, Instant::from_millis(1_000));
        while limiter.allow(Instant::from_millis(1_000), &mut rng) {}
        for _ in 0..100 {
            assert!(!limiter.allow(Instant::ZERO, &mut rng));
            assert!(!limiter.allow(Instant::from_millis(1_000), &mut rng));
        }
        // A long time fills it to the burst, no further.
        let later = Instant::from_millis(1_000_000);
        let sent = (0..1_000)
            .filter(|_| limiter.allow(later, &mut rng))
            .count();
        assert!(sent <= 10, "{sent}");
    }

    #[test]
    fn zero_is_off() {
        let mut rng = Rng::from_u64(3);
        for (rate, burst) in [(0, 50), (1_000, 0)] {
            let mut limiter = IcmpLimiter::new(rate, burst, Instant::ZERO);
            assert!(!limiter.allow(Instant::from_millis(9_999), &mut rng));
        }
        // A rate beyond a nanosecond each does not divide by zero.
        let mut fast = IcmpLimiter::new(u32::MAX, u32::MAX, Instant::ZERO);
        assert!(fast.allow(Instant::ZERO, &mut rng));
    }
}
