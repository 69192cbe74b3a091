//! Pacing: the time at which the next segment may leave, and how much leaves together.
//!
//! A segment of `n` bytes at a rate of `r` takes `n / r`, and the next one leaves after that: it is due at
//! `next`, and may leave a millisecond earlier. The wheel of timers ticks each millisecond, so what is due within a tick
//! leaves together. Being late costs no rate, up to a quarter of the round trip: what was due meanwhile leaves then.
//!
//! ```text
//!         quantum    quantum    quantum
//!      ──────|──────────|──────────|─────> time
//!            now      next: the next quantum is due
//! ```
//!
//! A round trip of about a tick cannot be divided by it. There the window and the acknowledgments set the pace, and
//! nothing ever waits for a timer.

use core::time::Duration;

use crate::base::Instant;

/// Time whose worth leaves together, and a tick of the timers.
pub(super) const TICK: Duration = Duration::from_millis(1);
/// Lateness that costs no rate on any path: a tick, and the time to wake up.
const LEAST_CREDIT: Duration = Duration::from_micros(1_500);
/// Lateness that costs no rate on a path whose round trip is four times as long: a busy machine lets threads wait.
const MOST_CREDIT: Duration = Duration::from_millis(10);
/// Longest super-segment, in bytes.
const MAX_QUANTUM: u32 = 64 << 10;

/// Returns the most bytes that leave together: about a millisecond's worth, at least two segments
/// (draft-ietf-ccwg-bbr-06 section 5.6.3).
pub(super) fn quantum(bytes_per_second: u64, mss: u32) -> u32 {
    let earned = bytes_per_second / 1_000;
    let earned = u32::try_from(earned).unwrap_or(u32::MAX);
    earned.min(MAX_QUANTUM).max(2 * mss)
}

/// The departure times of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pacer {
    /// Time at which the next segment is due.
    next: Instant,
    /// The last time for which unused departures were forgotten.
    looked_at: Instant,
    /// Something waited for its departure: lateness is that of the timer.
    waited: bool,
}

impl Pacer {
    /// Returns the time for which the next segment must wait; `None` if it may leave at `now`.
    pub(super) fn wait(&mut self, srtt: Option<Duration>, now: Instant) -> Option<Instant> {
        if now > self.looked_at {
            self.looked_at = now;
            let lateness = match core::mem::take(&mut self.waited) {
                true => (srtt.unwrap_or_default() / 4).clamp(LEAST_CREDIT, MOST_CREDIT),
                false => Duration::ZERO,
            };
            self.next = self.next.max(before(now, lateness));
        }
        if self.next <= now + TICK {
            return None;
        }
        self.waited = true;
        Some(before(self.next, TICK))
    }

    /// Notes that `len` bytes leave.
    pub(super) fn on_sent(&mut self, len: u32, bytes_per_second: u64) {
        self.next = self.next + time_of(len, bytes_per_second);
    }

    /// Lets `len` bytes leave at `now` at once: nothing is in flight, and the network stands that as a burst.
    pub(super) fn allow_burst(&mut self, len: u32, bytes_per_second: u64, now: Instant) {
        self.looked_at = now;
        self.waited = false;
        self.next = before(now, time_of(len, bytes_per_second));
    }
}

fn before(now: Instant, time: Duration) -> Instant {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Instant::from_nanos(now.as_nanos().saturating_sub(nanos))
}

/// Returns the time that `len` bytes take at a rate.
fn time_of(len: u32, bytes_per_second: u64) -> Duration {
    let nanos = u64::from(len).saturating_mul(1_000_000_000) / bytes_per_second.max(1);
    Duration::from_nanos(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1_000;
    /// A segment each millisecond.
    const RATE: u64 = 1_000_000;
    const SRTT: Option<Duration> = Some(Duration::from_millis(20));

    fn micros(n: u64) -> Instant {
        Instant::from_micros(1_000_000 + n)
    }

    /// Sends segments at `now` until one must wait; returns how many and until when.
    fn send(pacer: &mut Pacer, now: Instant) -> (u32, Instant) {
        for sent in 0.. {
            if let Some(until) = pacer.wait(SRTT, now) {
                return (sent, until);
            }
            pacer.on_sent(MSS, RATE);
        }
        unreachable!()
    }

    #[test]
    fn segments_leave_at_their_rate_however_late_the_timer_is() {
        let mut pacer = Pacer::default();
        let (first, mut until) = send(&mut pacer, micros(0));
        assert_eq!(first, 2, "one, and one that is due within a tick");
        assert!(until >= micros(1_000) && until <= micros(2_000));
        let mut sent = 0;
        for late in [0, 300, 900, 0, 1_000, 4_900, 20] {
            let now = until + Duration::from_micros(late);
            let (count, next) = send(&mut pacer, now);
            sent += count;
            until = next;
            assert!(until > now);
        }
        // The next one is due a tick after the timer.
        let expected = (until - micros(0)).as_millis() as u32 + 1;
        assert_eq!(first + sent, expected);
    }

    #[test]
    fn what_was_not_sent_in_time_is_no_credit() {
        let mut pacer = Pacer::default();
        send(&mut pacer, micros(0));
        let (burst, _) = send(&mut pacer, micros(1_000_000));
        assert!(burst <= 7, "a quarter of the round trip: {burst}");
    }

    #[test]
    fn an_initial_window_may_leave_at_once() {
        let mut pacer = Pacer::default();
        pacer.allow_burst(10 * MSS, RATE, micros(0));
        let (burst, _) = send(&mut pacer, micros(0));
        assert!((10..=12).contains(&burst), "{burst}");
    }

    #[test]
    fn a_short_round_trip_waits_for_no_timer() {
        let mut pacer = Pacer::default();
        // What a round trip takes at this rate is far less than a tick.
        for _ in 0..1_000 {
            // Up to a millisecond's worth ahead.
            let now = before(pacer.next, Duration::from_micros(950));
            assert_eq!(pacer.wait(Some(Duration::from_micros(50)), now), None);
            pacer.on_sent(MSS / 20, RATE);
        }
    }

    #[test]
    fn a_quantum_is_a_millisecond_and_two_segments_at_least() {
        assert_eq!(quantum(10, MSS), 2 * MSS);
        assert_eq!(quantum(10_000_000, MSS), 10 * MSS);
        assert_eq!(quantum(u64::MAX, MSS), 64 << 10);
    }
}
