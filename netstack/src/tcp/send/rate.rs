//! Delivery rate samples (draft-ietf-ccwg-bbr-06 section 4.1).
//!
//! Each transmission records how much had been delivered by then, and when. Its acknowledgment shows how
//! much was delivered since: that over the time it took is a sample of the bandwidth. The time is the longer
//! one of sending and of acknowledging, so that neither bursts nor compressed ACKs make the path look faster
//! than it is.

use core::time::Duration;

use super::record::{Fate, Record};
use crate::base::Instant;
use crate::base::congestion::{Lost, RateSample};
use crate::tcp::seq::SeqNum;

/// The counters of deliveries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Bytes delivered in all, modulo 2^32.
    delivered: u32,
    /// Bytes lost in all, modulo 2^32.
    lost: u32,
    /// Time of the last delivery.
    delivered_at: Instant,
    /// Time at which the segment that was delivered last was sent.
    first_sent_at: Instant,
    /// The samples are limited by the application until this much is delivered.
    app_limited_until: Option<u32>,
    /// The last sample: bytes, and the microseconds that they took.
    sampled: (u32, u32),
}

impl Default for Rate {
    fn default() -> Self {
        Self {
            delivered: 0,
            lost: 0,
            delivered_at: Instant::ZERO,
            first_sent_at: Instant::ZERO,
            app_limited_until: None,
            sampled: (0, 0),
        }
    }
}

fn micros(from: Instant, to: Instant) -> u32 {
    let nanos = to.as_nanos().saturating_sub(from.as_nanos());
    u32::try_from(nanos / 1_000).unwrap_or(u32::MAX)
}

impl Rate {
    /// Returns how many bytes were delivered in all, modulo 2^32.
    pub(crate) fn delivered(&self) -> u32 {
        self.delivered
    }

    /// Returns the rate of the last sample, in bytes per second.
    pub(crate) fn last(&self) -> Option<u64> {
        let (bytes, micros) = self.sampled;
        (u64::from(bytes) * 1_000_000).checked_div(micros.into())
    }

    /// Returns true if the samples are limited by the application now.
    pub(crate) fn is_app_limited(&self) -> bool {
        self.app_limited_until.is_some()
    }

    /// Counts a run of `bytes` that is lost, and describes it by its record.
    pub(crate) fn on_lost(&mut self, bytes: u32, record: &Record) -> Lost {
        self.lost = self.lost.wrapping_add(bytes);
        Lost {
            bytes,
            sent_in_flight: record.in_flight,
            lost_since: self.lost.wrapping_sub(record.lost),
            app_limited: record.app_limited,
            ..Lost::default()
        }
    }

    /// Returns the record of a transmission at `now` that makes it `in_flight` bytes in the network. `idle`:
    /// nothing else is.
    pub(crate) fn on_sent(
        &mut self,
        end: SeqNum,
        serial: u32,
        in_flight: u32,
        now: Instant,
        idle: bool,
    ) -> Record {
        if idle {
            self.first_sent_at = now;
            self.delivered_at = now;
        }
        Record {
            end,
            serial,
            sent_at: now,
            delivered: self.delivered,
            lost: self.lost,
            in_flight,
            since_delivery_micros: micros(self.delivered_at, now),
            send_elapsed_micros: micros(self.first_sent_at, now),
            fate: Fate::InFlight,
            resent: false,
            app_limited: self.app_limited_until.is_some(),
            mtu_probe: false,
        }
    }

    /// Notes that the application has nothing more to send, with `pipe` bytes in flight.
    pub(crate) fn on_app_limited(&mut self, pipe: u32) {
        self.app_limited_until = Some(self.delivered.wrapping_add(pipe));
    }

    /// Takes the delivery of `bytes`, of which `newest` was sent last. Returns a sample if that is certain.
    pub(crate) fn on_delivered(
        &mut self,
        bytes: u32,
        newest: Option<&Record>,
        now: Instant,
    ) -> Option<RateSample> {
        self.delivered = self.delivered.wrapping_add(bytes);
        self.delivered_at = now;
        if let Some(until) = self.app_limited_until
            && (self.delivered.wrapping_sub(until) as i32) > 0
        {
            self.app_limited_until = None;
        }
        let newest = newest?;
        self.first_sent_at = newest.sent_at;
        let since_send = micros(newest.sent_at, now);
        let acknowledging = newest.since_delivery_micros.saturating_add(since_send);
        let interval = newest.send_elapsed_micros.max(acknowledging);
        let bytes = self.delivered.wrapping_sub(newest.delivered);
        self.sampled = (bytes, interval);
        Some(RateSample {
            bytes,
            interval: Duration::from_micros(u64::from(interval)),
            app_limited: newest.app_limited,
            prior_delivered: newest.delivered,
            sent_in_flight: newest.in_flight,
            lost: self.lost.wrapping_sub(newest.lost),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_what_was_delivered_in_a_round_trip() {
        let at = Instant::from_millis;
        let mut rate = Rate::default();
        let first = rate.on_sent(SeqNum(1_000), 1, 1_000, at(0), true);
        let second = rate.on_sent(SeqNum(2_000), 2, 1_000, at(5), false);
        let sample = rate
            .on_delivered(1_000, Some(&first), at(20))
            .expect("a sample");
        assert_eq!((sample.bytes, sample.interval), (1_000, at(20) - at(0)));
        // The second left 5 ms after the first, and its acknowledgment came 1 ms after that of the first.
        let sample = rate
            .on_delivered(1_000, Some(&second), at(21))
            .expect("a sample");
        assert_eq!((sample.bytes, sample.interval), (2_000, at(21) - at(0)));
        assert!(!sample.app_limited);
        rate.on_app_limited(0);
        let third = rate.on_sent(SeqNum(3_000), 3, 1_000, at(30), true);
        let sample = rate
            .on_delivered(1_000, Some(&third), at(50))
            .expect("a sample");
        assert_eq!((sample.bytes, sample.interval), (1_000, at(20) - at(0)));
        assert!(sample.app_limited);
        let fourth = rate.on_sent(SeqNum(4_000), 4, 1_000, at(50), true);
        assert!(!fourth.app_limited);
    }
}
