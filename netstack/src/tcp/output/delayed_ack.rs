//! When to acknowledge (RFC 9293 section 3.8.6.3, RFC 5681 section 4.2), and how often to answer
//! what is not acceptable (RFC 5961 section 7).
//!
//! * every second segment at once, and so every super-segment of two or more;
//! * at once, too: whatever is out of order, fills a gap, or carries a FIN;
//! * anything else within the delay.

use core::time::Duration;

use crate::base::Instant;

/// What is owed to the peer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DelayedAck {
    segments: u8,
    now: bool,
}

impl DelayedAck {
    /// `len` bytes arrived in order, as wire segments of `size` bytes. True if an acknowledgment is
    /// owed at once.
    pub(crate) fn on_text(&mut self, len: u32, size: u32) -> bool {
        let segments = len.div_ceil(size.max(1)).clamp(1, 2) as u8;
        self.segments = self.segments.saturating_add(segments);
        if self.segments >= 2 {
            self.now = true;
        }
        self.now
    }

    /// An acknowledgment is owed at once.
    pub(crate) fn on_urgent(&mut self) {
        self.now = true;
    }

    /// True if one must be sent now.
    pub(crate) fn is_due(self) -> bool {
        self.now
    }

    /// True if one is owed, now or later.
    pub(crate) fn is_owed(self) -> bool {
        self.now || self.segments > 0
    }

    /// A segment with an acknowledgment left.
    pub(crate) fn on_sent(&mut self) {
        *self = Self::default();
    }
}

/// Replies to unacceptable segments within a second: a connection's own count, so that it tells
/// nobody about other connections (CVE-2016-5696).
const REPLIES_PER_SECOND: u8 = 8;

/// Rate limit of replies to what is not acceptable.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReplyLimit {
    since: Instant,
    count: u8,
}

impl ReplyLimit {
    /// True if one more reply may be sent.
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
        assert!(!ack.on_text(10, 1_460));
        assert!(ack.is_owed() && !ack.is_due());
        assert!(ack.on_text(1_460, 1_460));
        ack.on_sent();
        assert!(!ack.is_owed());
        assert!(ack.on_text(2_920, 1_460), "a super-segment is several");
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
