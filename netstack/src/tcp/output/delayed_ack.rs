//! Delayed ACKs (RFC 9293 section 3.8.6.3, RFC 5681 section 4.2).
//!
//! * every second full-sized segment is acknowledged at once, and so is every super-segment of two or more;
//! * so are the first segments of a connection and those after a pause, unless the application is seen to
//!   reply: the sender's window grows with acknowledgments (as on Linux, "quick" ACKs);
//! * each segment that is out of order is acknowledged at once with a segment of its own, so that the
//!   sender can count (RFC 5681 section 4.2) and learns of every range. With SACK a super-segment is one
//!   range and gets one ACK;
//! * a segment that fills a gap or carries a FIN is acknowledged at once;
//! * any other segment is acknowledged within the delay: about twice the time between the sender's
//!   segments, at most the configured delay.

use core::time::Duration;

use crate::base::Instant;

/// Shortest delay: below it an application may only wait for the processor.
const MIN_DELAY: Duration = Duration::from_millis(10);

/// Pause after which nothing that was learnt of the sender counts, and the first segments are acknowledged at once
/// again: the sender may have returned to slow start. No longer than a connection is idle before it rests, so that
/// a rest forgets nothing.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// In-order payload that has just arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived {
    /// Bytes of it that are new.
    pub(crate) len: u32,
    /// Payload of each wire segment, in bytes.
    pub(crate) size: u32,
    pub(crate) now: Instant,
    /// ACKs that are sent at once after a pause; zero if the application replies to what arrives.
    pub(crate) quick: u8,
}

/// The ACK that is owed to the peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DelayedAck {
    /// Bytes that arrived in order since the last ACK.
    bytes: u32,
    /// Payload of the largest wire segment that the peer sent, in bytes.
    full: u32,
    now: bool,
    /// Duplicate ACKs that are due, one for each segment out of order.
    duplicates: u8,
    /// ACKs that are still sent at once.
    quick: u8,
    /// Arrival of the last payload; `Instant::FAR_FUTURE`: there was none.
    last: Instant,
    /// Smoothed time between arrivals, in microseconds, at least one; zero: there were no two without a pause.
    gap_micros: u32,
}

impl Default for DelayedAck {
    fn default() -> Self {
        Self {
            bytes: 0,
            full: 0,
            now: false,
            duplicates: 0,
            quick: 0,
            last: Instant::FAR_FUTURE,
            gap_micros: 0,
        }
    }
}

impl DelayedAck {
    /// Notes that payload arrived in order. Returns true if an ACK is due at once.
    pub(crate) fn on_payload(&mut self, arrived: Arrived) -> bool {
        self.note_rhythm(&arrived);
        self.full = self.full.max(arrived.size.min(arrived.len));
        self.bytes = self.bytes.saturating_add(arrived.len);
        let quick = self.quick > 0 && arrived.quick > 0;
        if self.bytes > self.full || quick {
            self.now = true;
        }
        self.now
    }

    /// Measures the time since the last arrival.
    fn note_rhythm(&mut self, arrived: &Arrived) {
        let is_first = self.last == Instant::FAR_FUTURE;
        let gap = arrived.now.saturating_since(self.last);
        self.last = arrived.now;
        match Some(gap).filter(|gap| !is_first && *gap < PAUSE) {
            Some(gap) => {
                // Less than a tenth of a second.
                let micros = gap.as_micros() as u32;
                let mean = match self.gap_micros {
                    0 => micros,
                    mean => (3 * mean + micros) / 4,
                };
                self.gap_micros = mean.max(1);
            }
            None => {
                self.gap_micros = 0;
                self.full = 0;
                self.quick = arrived.quick;
            }
        }
    }

    /// Returns how long an ACK may wait, at most `longest`.
    pub(crate) fn delay(&self, longest: Duration) -> Duration {
        if self.gap_micros == 0 {
            return longest;
        }
        let rhythm = Duration::from_micros(2 * u64::from(self.gap_micros));
        rhythm.max(MIN_DELAY).min(longest)
    }

    /// Returns true if the peer's payload came no longer than `within` ago: what is sent now replies to it.
    pub(crate) fn is_reply(&self, now: Instant, within: Duration) -> bool {
        self.last != Instant::FAR_FUTURE && now.saturating_since(self.last) < within
    }

    /// Makes an ACK due at once.
    pub(crate) fn set_due(&mut self) {
        self.now = true;
    }

    /// Notes that `count` segments arrived out of order: a duplicate ACK is due for each.
    pub(crate) fn on_out_of_order(&mut self, count: u8) {
        self.duplicates = self.duplicates.saturating_add(count.max(1));
        self.now = true;
    }

    /// Notes that RCV.NXT advanced, so that the next ACK says more than a duplicate. `ranges` are left
    /// to be reported.
    pub(crate) fn on_advance(&mut self, ranges: u8) {
        self.duplicates = self.duplicates.min(ranges);
    }

    /// Returns the number of duplicate ACKs that are due.
    pub(crate) fn duplicates(&self) -> u8 {
        self.duplicates
    }

    /// Returns true if an ACK must be sent now.
    pub(crate) fn is_due(&self) -> bool {
        self.now
    }

    /// Returns true if an ACK is owed, now or later.
    pub(crate) fn is_owed(&self) -> bool {
        self.now || self.bytes > 0
    }

    /// Notes that a segment with an ACK was sent.
    pub(crate) fn on_sent(&mut self) {
        self.duplicates = self.duplicates.saturating_sub(1);
        self.now = self.duplicates > 0;
        if self.bytes > 0 {
            self.quick = self.quick.saturating_sub(1);
        }
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arrivals of segments of at most 1,460 bytes, `millis` after the start.
    fn arrived(len: u32, millis: u64, quick: u8) -> Arrived {
        Arrived {
            len,
            size: 1_460,
            now: Instant::from_millis(millis),
            quick,
        }
    }

    #[test]
    fn every_second_segment() {
        let mut ack = DelayedAck::default();
        assert!(!ack.on_payload(arrived(10, 0, 0)));
        assert!(ack.is_owed() && !ack.is_due());
        assert!(ack.on_payload(arrived(1_460, 0, 0)));
        ack.on_sent();
        assert!(!ack.is_owed());
        assert!(
            ack.on_payload(arrived(2_920, 0, 0)),
            "a super-segment is several"
        );
    }

    #[test]
    fn small_segments_count_by_their_bytes() {
        let mut ack = DelayedAck::default();
        assert!(!ack.on_payload(arrived(1_460, 0, 0)));
        ack.on_sent();
        for _ in 0..14 {
            assert!(!ack.on_payload(arrived(100, 0, 0)));
        }
        assert!(ack.on_payload(arrived(100, 0, 0)), "more than a full one");
    }

    #[test]
    fn the_first_segments_and_those_after_a_pause_are_acknowledged_at_once() {
        let mut ack = DelayedAck::default();
        let mut at_once = |from: u64| {
            (from..from + 10)
                .filter(|millis| {
                    let due = ack.on_payload(arrived(1_000, *millis, 4));
                    ack.on_sent();
                    due
                })
                .count()
        };
        assert_eq!(at_once(0), 4);
        assert_eq!(at_once(100), 0);
        assert_eq!(at_once(5_000), 4);
        // The application replies.
        assert!(!ack.on_payload(arrived(1_000, 9_000, 0)));
    }

    #[test]
    fn the_delay_follows_the_rhythm_of_the_sender() {
        let longest = Duration::from_millis(40);
        let mut ack = DelayedAck::default();
        ack.on_payload(arrived(1_000, 0, 0));
        assert_eq!(ack.delay(longest), longest);
        ack.on_payload(arrived(1_000, 8, 0));
        assert_eq!(ack.delay(longest), Duration::from_millis(16));
        ack.on_payload(arrived(1_000, 8, 0));
        assert_eq!(ack.delay(longest), Duration::from_millis(12));
        ack.on_payload(arrived(1_000, 8, 0));
        ack.on_payload(arrived(1_000, 8, 0));
        assert_eq!(ack.delay(longest), MIN_DELAY);
        assert_eq!(ack.delay(Duration::ZERO), Duration::ZERO);
        ack.on_payload(arrived(1_000, 300, 0));
        assert_eq!(ack.delay(longest), longest);
    }
}
