//! HyStart++ (RFC 9406): leaves the first slow start when the round trip grows, before the queue overflows.
//!
//! When the least round trip of a round is clearly longer than that of the round before, growth slows to a
//! quarter: conservative slow start (CSS). If the round trip shrinks again, it was a false alarm. After five
//! rounds congestion avoidance begins.

use core::time::Duration;

/// Least growth of the round trip that counts.
pub(super) const MIN_RTT_THRESH: Duration = Duration::from_millis(4);
/// Growth of the round trip that always counts.
const MAX_RTT_THRESH: Duration = Duration::from_millis(16);
/// Growth of the round trip that counts, as a part of it.
const MIN_RTT_DIVISOR: u32 = 8;
/// Samples in a round that are worth a judgement.
pub(super) const N_RTT_SAMPLE: u8 = 8;
/// Rounds of CSS before congestion avoidance.
const CSS_ROUNDS: u8 = 5;
/// Divisor of growth during CSS.
const CSS_GROWTH_DIVISOR: u32 = 4;

/// No sample.
const INFINITY: u32 = u32::MAX;

/// Returns by how much a round trip must be longer than `rtt` to count as longer, both in microseconds (`RttThresh`).
pub(super) fn threshold(rtt: u32) -> u32 {
    // Milliseconds.
    let [least, most] = [MIN_RTT_THRESH, MAX_RTT_THRESH].map(|time| time.as_micros() as u32);
    (rtt / MIN_RTT_DIVISOR).clamp(least, most)
}

/// The way in which slow start goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Growth {
    /// By what is acknowledged.
    Full,
    /// By a part of it.
    Divided(u32),
    /// Not any more: congestion avoidance begins.
    Over,
    /// Up to this window, in bytes.
    UpTo(u32),
}

/// The state of the first slow start. Times are in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct HyStart {
    last_min: u32,
    present_min: u32,
    /// Least round trip when CSS began; infinite outside of it.
    baseline: u32,
    samples: u8,
    /// Rounds of CSS, the present one included; zero: standard slow start.
    rounds: u8,
}

impl Default for HyStart {
    fn default() -> Self {
        Self {
            last_min: INFINITY,
            present_min: INFINITY,
            baseline: INFINITY,
            samples: 0,
            rounds: 0,
        }
    }
}

impl HyStart {
    /// Takes an acknowledgment in slow start. `round_start`: it ends a round, and the next one begins
    /// (`windowEnd`).
    pub(super) fn on_ack(&mut self, rtt: Option<Duration>, round_start: bool) -> Growth {
        if let Some(rtt) = rtt {
            let micros = u32::try_from(rtt.as_micros()).unwrap_or(INFINITY - 1);
            self.present_min = self.present_min.min(micros);
            self.samples = self.samples.saturating_add(1);
            self.judge();
        }
        if round_start {
            self.last_min = self.present_min;
            self.present_min = INFINITY;
            self.samples = 0;
            if self.rounds > 0 {
                self.rounds += 1;
            }
        }
        match self.rounds {
            0 => Growth::Full,
            1..=CSS_ROUNDS => Growth::Divided(CSS_GROWTH_DIVISOR),
            _ => Growth::Over,
        }
    }

    /// Begins or ends CSS, if the samples of this round say so.
    fn judge(&mut self) {
        if self.samples < N_RTT_SAMPLE || self.present_min == INFINITY {
            return;
        }
        if self.rounds > 0 {
            if self.present_min < self.baseline {
                self.baseline = INFINITY;
                self.rounds = 0;
            }
            return;
        }
        if self.last_min == INFINITY {
            return;
        }
        let thresh = u64::from(threshold(self.last_min));
        if u64::from(self.present_min) >= u64::from(self.last_min) + thresh {
            self.baseline = self.present_min;
            self.rounds = 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how slow start grows after a round of `acks` acknowledgments, each with this round trip.
    fn round(hystart: &mut HyStart, acks: u32, millis: u64) -> Growth {
        let mut growth = Growth::Full;
        for i in 0..acks {
            growth = hystart.on_ack(Some(Duration::from_millis(millis)), i == 0);
        }
        growth
    }

    #[test]
    fn rfc9406_4_2_a_longer_round_trip_slows_growth_and_then_ends_it() {
        let mut hystart = HyStart::default();
        assert_eq!(round(&mut hystart, 10, 40), Growth::Full);
        assert_eq!(
            round(&mut hystart, 20, 44),
            Growth::Full,
            "an eighth is 5 ms"
        );
        assert_eq!(round(&mut hystart, 40, 50), Growth::Divided(4));
        let mut rounds = 1;
        while round(&mut hystart, 40, 60) != Growth::Over {
            rounds += 1;
            assert!(rounds < 20);
        }
        assert_eq!(rounds, 5);
    }

    #[test]
    fn rfc9406_4_2_a_false_alarm_resumes_slow_start() {
        let mut hystart = HyStart::default();
        round(&mut hystart, 10, 40);
        assert_eq!(round(&mut hystart, 20, 50), Growth::Divided(4));
        assert_eq!(round(&mut hystart, 20, 41), Growth::Full);
    }

    #[test]
    fn rfc9406_4_3_few_samples_and_short_round_trips_prove_nothing() {
        let mut hystart = HyStart::default();
        round(&mut hystart, 10, 40);
        assert_eq!(round(&mut hystart, 7, 90), Growth::Full);
        let mut hystart = HyStart::default();
        round(&mut hystart, 10, 1);
        assert_eq!(
            round(&mut hystart, 10, 4),
            Growth::Full,
            "less than 4 ms more"
        );
        assert_eq!(round(&mut hystart, 10, 8), Growth::Divided(4));
    }
}
