//! The counts of a connection, for [`TcpInfo`](super::TcpInfo).
//!
//! Most connections lose nothing. What losses count lies apart, and takes memory from the first one on.

use crate::base::Instant;

/// Counts of bytes, and those of losses.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Stats {
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    losses: Option<Box<LossStats>>,
}

/// Counts of wire segments, modulo 2^32.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct SegmentStats {
    pub(super) received: u32,
    pub(super) received_with_data: u32,
    pub(super) sent: u32,
    pub(super) sent_with_data: u32,
    pub(super) delivered: u32,
}

impl Default for SegmentStats {
    /// Counts a handshake: the SYN of each side, of which ours was delivered.
    fn default() -> Self {
        Self {
            received: 1,
            received_with_data: 0,
            sent: 1,
            sent_with_data: 0,
            delivered: 1,
        }
    }
}

impl SegmentStats {
    /// Counts what arrived: `segments` of the wire.
    pub(super) fn on_received(&mut self, segments: u32, has_data: bool) {
        self.received = self.received.wrapping_add(segments);
        if has_data {
            self.received_with_data = self.received_with_data.wrapping_add(segments);
        }
    }

    /// Counts what leaves: `len` bytes of payload, in segments of `mss`.
    pub(super) fn on_sent(&mut self, len: u32, mss: u32) {
        if len == 0 {
            self.sent = self.sent.wrapping_add(1);
            return;
        }
        let segments = len.div_ceil(mss.max(1));
        self.sent = self.sent.wrapping_add(segments);
        self.sent_with_data = self.sent_with_data.wrapping_add(segments);
    }

    /// Counts the delivery of `len` bytes that one acknowledgment tells, in segments of `mss`.
    pub(super) fn on_delivered(&mut self, len: u32, mss: u32) {
        self.delivered = self.delivered.wrapping_add(len.div_ceil(mss.max(1)));
    }
}

/// Counts of losses, and of what looks like one.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct LossStats {
    pub(super) retransmits: u32,
    pub(super) bytes_resent: u64,
    pub(super) timeouts: u32,
    pub(super) timeout_series: u32,
    /// Milliseconds of the series of timeouts that are over.
    timeout_millis: u32,
    /// When the present series began, in milliseconds modulo 2^32.
    series_since_millis: Option<u32>,
    pub(super) recoveries: u32,
    pub(super) undone: u32,
    pub(super) duplicates_reported: u32,
    pub(super) reordered: u32,
    pub(super) out_of_order: u32,
}

impl LossStats {
    /// Counts a retransmission timeout.
    fn on_timeout(&mut self, now: Instant) {
        self.timeouts = self.timeouts.wrapping_add(1);
        if self.series_since_millis.is_none() {
            self.timeout_series = self.timeout_series.wrapping_add(1);
            self.series_since_millis = Some(now.as_millis() as u32);
        }
    }

    /// Returns the time of all series of timeouts, in milliseconds. The present one counts up to `now`.
    pub(super) fn timeout_millis(&self, now: Instant) -> u32 {
        let present = self
            .series_since_millis
            .filter(|_| now != Instant::ZERO)
            .map_or(0, |since| (now.as_millis() as u32).wrapping_sub(since));
        self.timeout_millis.saturating_add(present)
    }

    fn end_series(&mut self, now: Instant) {
        self.timeout_millis = self.timeout_millis(now);
        self.series_since_millis = None;
    }
}

impl Stats {
    /// Returns the counts of losses, if there were any.
    pub(super) fn losses(&self) -> Option<&LossStats> {
        self.losses.as_deref()
    }

    /// Returns the counts of losses, to count one.
    pub(super) fn losses_mut(&mut self) -> &mut LossStats {
        self.losses.get_or_insert_default()
    }

    /// Counts a retransmission timeout.
    pub(super) fn on_timeout(&mut self, now: Instant) {
        self.losses_mut().on_timeout(now);
    }

    /// Notes that the peer acknowledged something new: a series of timeouts is over.
    pub(super) fn on_progress(&mut self, now: Instant) {
        if let Some(losses) = &mut self.losses {
            losses.end_series(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_those_of_the_wire() {
        let mut segments = SegmentStats::default();
        segments.on_sent(0, 1_000);
        segments.on_sent(1, 1_000);
        segments.on_sent(10_001, 1_000);
        assert_eq!((segments.sent, segments.sent_with_data), (14, 12));
        segments.on_received(45, true);
        segments.on_received(1, false);
        assert_eq!((segments.received, segments.received_with_data), (47, 45));
        segments.on_delivered(10_001, 1_000);
        segments.on_delivered(0, 1_000);
        assert_eq!(segments.delivered, 12);
    }

    #[test]
    fn a_series_of_timeouts_lasts_until_something_is_acknowledged() {
        let at = Instant::from_millis;
        let mut stats = Stats::default();
        stats.on_progress(at(1_000));
        assert!(stats.losses().is_none(), "nothing was lost");
        for millis in [2_000, 3_000, 5_000] {
            stats.on_timeout(at(millis));
        }
        let millis = |stats: &Stats, now| stats.losses().map(|losses| losses.timeout_millis(now));
        assert_eq!(millis(&stats, at(6_000)), Some(4_000));
        stats.on_progress(at(7_000));
        stats.on_progress(at(8_000));
        stats.on_timeout(at(10_000));
        stats.on_progress(at(10_500));
        assert_eq!(millis(&stats, at(20_000)), Some(5_500));
        let losses = stats.losses().expect("there were some");
        assert_eq!((losses.timeouts, losses.timeout_series), (4, 2));
    }
}
