//! Delayed ACKs (RFC 9293 section 3.8.6.3, RFC 5681 section 4.2), and the rate limit of replies to
//! unacceptable segments (RFC 5961 section 7).
//!
//! * every second segment is acknowledged at once, and so is every super-segment of two or more;
//! * each segment that is out of order is acknowledged at once with a segment of its own, so that the
//!   sender can count (RFC 5681 section 4.2) and learns of every range;
//! * a segment that fills a gap or carries a FIN is acknowledged at once;
//! * any other segment is acknowledged within the delay.

use core::time::Duration;

use crate::base::Instant;

/// The ACK that is owed to the peer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DelayedAck {
    segments: u8,
    now: bool,
    /// Duplicate ACKs that are due, one for each segment out of order.
    duplicates: u8,
}

impl DelayedAck {
    /// Notes that `len` bytes arrived in order, as wire segments of `size` bytes. Returns true if
    /// an ACK is due at once.
    pub(crate) fn on_payload(&mut self, len: u32, size: u32) -> bool {
        let segments = len.div_ceil(size.max(1)).clamp(1, 2) as u8;
        self.segments = self.segments.saturating_add(segments);
        if self.segments >= 2 {
            self.now = true;
        }
        self.now
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
    pub(crate) fn duplicates(self) -> u8 {
        self.duplicates
    }

    /// Returns true if an ACK must be sent now.
    pub(crate) fn is_due(self) -> bool {
        self.now
    }

    /// Returns true if an ACK is owed, now or later.
    pub(crate) fn is_owed(self) -> bool {
        self.now || self.segments > 0
    }

    /// Notes that a segment with an ACK was sent.
    pub(crate) fn on_sent(&mut self) {
        let duplicates = self.duplicates.saturating_sub(1);
        *self = Self {
            segments: 0,
            now: duplicates > 0,
            duplicates,
        };
    }
}

/// Replies to unacceptable segments within a second. Each connection counts its own, so that the
/// limit reveals nothing about other connections (CVE-2016-5696).
const REPLIES_PER_SECOND: u8 = 8;

/// Rate limit of replies to unacceptable segments, challenge ACKs included.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReplyLimit {
    since: Instant,
    count: u8,
}

impl ReplyLimit {
    /// Returns true if one more reply may be sent, and counts it.
    pub(crate) fn permit(&mut self, now: Instant) -> bool {
        if now.saturating_since(self.since) >= Duration::from_secs(1) || self.count == 0 {
            self.since = now;
            self.count = 0;
        }
        let permitted = self.count < REPLIES_PER_SECOND;
        if permitted {
            self.count += 1;
        }
        permitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_segment() {
        let mut ack = DelayedAck::default();
        assert!(!ack.on_payload(10, 1_460));
        assert!(ack.is_owed() && !ack.is_due());
        assert!(ack.on_payload(1_460, 1_460));
        ack.on_sent();
        assert!(!ack.is_owed());
        assert!(ack.on_payload(2_920, 1_460), "a super-segment is several");
    }

    #[test]
    fn replies_are_limited_per_second() {
        let mut limit = ReplyLimit::default();
        let granted = (0..2_000u64)
            .filter(|i| limit.permit(Instant::from_millis(*i)))
            .count();
        assert_eq!(granted, 2 * usize::from(REPLIES_PER_SECOND));
    }
}
