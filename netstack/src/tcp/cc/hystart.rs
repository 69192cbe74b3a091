//! HyStart++ (RFC 9406): leaves the first slow start when the round trip grows, before the queue overflows.
//!
//! When the least round trip of a round is clearly longer than that of the round before, growth slows to a
//! quarter: conservative slow start (CSS). If the round trip shrinks again, it was a false alarm. After five
//! rounds congestion avoidance begins.

use core::time::Duration;

use crate::tcp::seq::SeqNum;

/// Least growth of the round trip that counts.
const MIN_RTT_THRESH: Duration = Duration::from_millis(4);
/// Growth of the round trip that always counts.
const MAX_RTT_THRESH: Duration = Duration::from_millis(16);
/// Growth of the round trip that counts, as a part of it.
const MIN_RTT_DIVISOR: u32 = 8;
/// Samples in a round that are worth a judgement.
const N_RTT_SAMPLE: u8 = 8;
/// Rounds of CSS before congestion avoidance.
const CSS_ROUNDS: u8 = 5;
/// Divisor of growth during CSS.
const CSS_GROWTH_DIVISOR: u32 = 4;

/// No sample.
const INFINITY: u32 = u32::MAX;

/// The way in which slow start goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Growth {
    /// By what is acknowledged.
    Full,
    /// By a part of it.
    Divided(u32),
    /// Not any more: congestion avoidance begins.
    Over,
}

/// The state of the first slow start. Times are in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct HyStart {
    /// End of the present round (`windowEnd`).
    round_end: SeqNum,
    last_min: u32,
    present_min: u32,
    /// Least round trip when CSS began; infinite outside of it.
    baseline: u32,
    samples: u8,
    /// Rounds of CSS, the present one included; zero: standard slow start.
    rounds: u8,
}

impl HyStart {
    /// Creates the state of a connection whose stream begins at `una`.
    pub(super) fn new(una: SeqNum) -> Self {
        Self {
            round_end: una,
            last_min: INFINITY,
            present_min: INFINITY,
            baseline: INFINITY,
            samples: 0,
            rounds: 0,
        }
    }

    /// Takes an acknowledgment in slow start, with `una..nxt` in flight after it.
    pub(super) fn on_ack(&mut self, rtt: Option<Duration>, una: SeqNum, nxt: SeqNum) -> Growth {
        if let Some(rtt) = rtt {
            let micros = u32::try_from(rtt.as_micros()).unwrap_or(INFINITY - 1);
            self.present_min = self.present_min.min(micros);
            self.samples = self.samples.saturating_add(1);
            self.judge();
        }
        if una.at_or_after(self.round_end) {
            self.round_end = nxt;
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
        let (least, most) = (MIN_RTT_THRESH.as_micros(), MAX_RTT_THRESH.as_micros());
        let thresh = u128::from(self.last_min / MIN_RTT_DIVISOR).clamp(least, most);
        if u128::from(self.present_min) >= u128::from(self.last_min) + thresh {
            self.baseline = self.present_min;
            self.rounds = 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNA: SeqNum = SeqNum(u32::MAX - 5_000);

    /// Returns a round of `acks` acknowledgments, each with this round trip.
    fn round(hystart: &mut HyStart, at: &mut SeqNum, acks: u32, millis: u64) -> Growth {
        let end = *at + 2 * acks;
        let mut growth = Growth::Full;
        for _ in 0..acks {
            *at += 1;
            growth = hystart.on_ack(Some(Duration::from_millis(millis)), *at, end);
        }
        growth
    }

    #[test]
    fn rfc9406_4_2_a_longer_round_trip_slows_growth_and_then_ends_it() {
        let (mut hystart, mut at) = (HyStart::new(UNA), UNA);
        assert_eq!(round(&mut hystart, &mut at, 10, 40), Growth::Full);
        assert_eq!(
            round(&mut hystart, &mut at, 20, 44),
            Growth::Full,
            "an eighth is 5 ms"
        );
        assert_eq!(round(&mut hystart, &mut at, 40, 50), Growth::Divided(4));
        let mut rounds = 1;
        while round(&mut hystart, &mut at, 40, 60) != Growth::Over {
            rounds += 1;
            assert!(rounds < 20);
        }
        assert_eq!(rounds, 5);
    }

    #[test]
    fn rfc9406_4_2_a_false_alarm_resumes_slow_start() {
        let (mut hystart, mut at) = (HyStart::new(UNA), UNA);
        round(&mut hystart, &mut at, 10, 40);
        assert_eq!(round(&mut hystart, &mut at, 20, 50), Growth::Divided(4));
        assert_eq!(round(&mut hystart, &mut at, 20, 41), Growth::Full);
    }

    #[test]
    fn rfc9406_4_3_few_samples_and_short_round_trips_prove_nothing() {
        let (mut hystart, mut at) = (HyStart::new(UNA), UNA);
        round(&mut hystart, &mut at, 10, 40);
        assert_eq!(round(&mut hystart, &mut at, 7, 90), Growth::Full);
        let (mut hystart, mut at) = (HyStart::new(UNA), UNA);
        round(&mut hystart, &mut at, 10, 1);
        assert_eq!(
            round(&mut hystart, &mut at, 10, 4),
            Growth::Full,
            "less than 4 ms more"
        );
        assert_eq!(round(&mut hystart, &mut at, 10, 8), Growth::Divided(4));
    }
}
