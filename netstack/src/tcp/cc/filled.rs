//! The end of the first slow start at a bottleneck, before the queue overflows.
//!
//! A window of slow start is sent faster than the one before was acknowledged. Where that is faster than the bottleneck, its first
//! segments still find an empty queue, and its last ones wait. HyStart++ (RFC 9406) goes by the least round trip of a round, which is
//! that of the first ones. So it notices one round later; by then the window has doubled again, and a queue of one
//! bandwidth-delay product overflows.
//!
//! Here the latest samples count. While the least of the last few is longer than the least round trip of the path, segments wait
//! at the bottleneck and arrive at its rate, which tells what the path holds. When it is clearly longer, slow start ends at
//! twice of that: a queue of one bandwidth-delay product is full then, and the path stays so while segments are late. This is not in
//! RFC 9406; it only ever ends slow start earlier.

use super::hystart::{MIN_RTT_THRESH, N_RTT_SAMPLE, threshold};
use crate::base::congestion::Acked;

/// Segments that tell a rate.
const LEAST_SEGMENTS: u32 = 16;

/// The bytes that arrived since segments wait. Times are in microseconds, modulo 2^32; zero: not known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Filled {
    since: u32,
    /// Bytes that had arrived by then, modulo 2^32.
    before: u32,
    /// Least round trip of the latest samples.
    least: u32,
    samples: u8,
}

impl Filled {
    /// Takes an acknowledgment in slow start. Returns the window at which slow start ends, in bytes, if the path is full.
    pub(super) fn on_ack(&mut self, acked: &Acked) -> Option<u32> {
        let now = (acked.now.as_nanos() / 1_000) as u32;
        let least = self.sample(micros(acked.rtt?))?;
        let path = acked.min_rtt.filter(|rtt| *rtt >= MIN_RTT_THRESH)?;
        let path = micros(path);
        let longer = least.saturating_sub(path);
        // What the application or a recovery holds back arrives no faster than it is sent.
        let is_held_back = !acked.is_limited || acked.in_recovery;
        if self.since == 0 || is_held_back || longer < threshold(path) / 4 {
            (self.since, self.before) = (now, acked.delivered_total);
            return None;
        }
        let time = now.wrapping_sub(self.since);
        let bytes = acked.delivered_total.wrapping_sub(self.before);
        let tells = time >= path / 8 && bytes >= LEAST_SEGMENTS.saturating_mul(acked.mss);
        if longer < threshold(path) || !tells {
            return None;
        }
        let holds = u64::from(bytes) * u64::from(path) / u64::from(time.max(1));
        // Late segments wait elsewhere. The path was at least as fast as it was for a round trip.
        let proven = acked
            .rate
            .and_then(|rate| rate.bytes_per_second(acked.min_rtt));
        let proven = u128::from(proven.unwrap_or(0)) * u128::from(path) / 1_000_000;
        let target = 2 * u128::from(holds).max(proven);
        Some(u32::try_from(target).unwrap_or(u32::MAX))
    }

    /// Takes a sample; returns the least of the last few when there are enough.
    fn sample(&mut self, rtt: u32) -> Option<u32> {
        self.least = match self.samples {
            0 => rtt,
            _ => self.least.min(rtt),
        };
        self.samples = (self.samples + 1) % N_RTT_SAMPLE;
        (self.samples == 0).then_some(self.least)
    }
}

fn micros(time: core::time::Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::base::Instant;

    const MSS: u32 = 1_000;
    const RTT_MICROS: u64 = 20_000;

    /// Returns the first answer to segments that arrive `apart` microseconds from each other, and the number of the segment. `rtt` is the
    /// round trip of a segment by its number.
    fn answer(
        segments: u64,
        apart: u64,
        is_limited: bool,
        rtt: impl Fn(u64) -> u64,
    ) -> Option<(u64, u32)> {
        let mut filled = Filled::default();
        (0..segments).find_map(|n| {
            let acked = Acked {
                now: Instant::from_millis(1_000) + Duration::from_micros(n * apart),
                delivered_total: 7_000_u32.wrapping_add(n as u32 * MSS),
                mss: MSS,
                rtt: Some(Duration::from_micros(rtt(n))),
                min_rtt: Some(Duration::from_micros(RTT_MICROS)),
                is_limited,
                ..Acked::default()
            };
            filled.on_ack(&acked).map(|target| (n, target))
        })
    }

    #[test]
    fn a_window_whose_end_waits_tells_what_the_path_holds() {
        // 8 segments in a millisecond, sent at twice this rate.
        let waiting = |n| RTT_MICROS + n * 62;
        let (n, target) = answer(400, 125, true, waiting).expect("it is full");
        assert!((64..=80).contains(&n), "{n}");
        assert_eq!(target, 2 * 8 * 20 * MSS);
        // What came before at another rate does not count.
        let later = |n: u64| RTT_MICROS + n.saturating_sub(200) * 62;
        let (n, target) = answer(400, 125, true, later).expect("it is full");
        assert!((264..=280).contains(&n), "{n}");
        assert_eq!(target, 2 * 8 * 20 * MSS);
    }

    #[test]
    fn nothing_else_ends_slow_start() {
        let steady = |_| RTT_MICROS;
        assert_eq!(answer(400, 125, true, steady), None, "nothing waits");
        let late = |n| RTT_MICROS + if n % 10 == 0 { 20_000 } else { 0 };
        assert_eq!(answer(400, 125, true, late), None, "some are late");
        let waiting = |n| RTT_MICROS + n * 1_000;
        assert_eq!(answer(23, 1_500, true, waiting), None, "few segments");
        assert_eq!(
            answer(400, 125, false, waiting),
            None,
            "not the path's rate"
        );
        let slightly = |n| RTT_MICROS + n * 9;
        assert_eq!(answer(400, 125, true, slightly), None, "less than 4 ms");
    }

    #[test]
    fn a_path_shorter_than_the_threshold_is_left_alone() {
        let mut filled = Filled::default();
        for n in 0..1_000_u64 {
            let acked = Acked {
                now: Instant::from_millis(1_000) + Duration::from_micros(n * 100),
                delivered_total: n as u32 * MSS,
                mss: MSS,
                rtt: Some(Duration::from_millis(50)),
                min_rtt: Some(Duration::from_millis(3)),
                is_limited: true,
                ..Acked::default()
            };
            assert_eq!(filled.on_ack(&acked), None);
        }
    }
}
