//! Reordering: how long segments sent later may overtake one before it counts as lost.
//!
//! Two kinds of evidence make a segment lost. By count (RFC 5681, RFC 6675): three segments that were sent
//! after it arrived. By time (RFC 8985): one that was sent after it arrived, and the reordering window has
//! passed. Counts hold until the path is seen to reorder; then time alone decides. Both adapt when the peer
//! reports that a retransmission was needless.

use core::time::Duration;

use super::seq::SeqNum;

/// Segments sent later that make one lost when they arrive (RFC 5681).
const DUP_THRESH: u8 = 3;

/// Largest number of segments after it that are waited for.
const MAX_DUP_THRESH: u8 = 64;

/// Recoveries without a needless retransmission after which the window shrinks to its first size (RFC 8985
/// section 6.2).
const PERSIST: u8 = 16;

/// Reordering window when no round trip was measured.
const DEFAULT_WINDOW: Duration = Duration::from_millis(250);

/// The reason for taking the path for one that reorders.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
enum Evidence {
    /// There is none.
    None,
    /// An earlier connection saw it.
    Hint,
    /// A segment that was sent once arrived after one that was sent later.
    Seen,
}

/// The reordering that the path has shown.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Reordering {
    /// Segments after one that make it lost.
    segments: u8,
    evidence: Evidence,
    /// The window in quarters of the least round-trip time.
    quarters: u8,
    /// Recoveries that keep a window of more than one quarter.
    persist: u8,
    /// SND.NXT at the last D-SACK: the window grows once a round trip.
    dsack_round: Option<SeqNum>,
}

impl Default for Reordering {
    fn default() -> Self {
        Self {
            segments: DUP_THRESH,
            evidence: Evidence::None,
            quarters: 1,
            persist: PERSIST,
            dsack_round: None,
        }
    }
}

impl Reordering {
    /// Returns what was learnt before a checkpoint, within its bounds.
    pub(super) fn restored(self) -> Self {
        Self {
            segments: self.segments.clamp(DUP_THRESH, MAX_DUP_THRESH),
            quarters: self.quarters.max(1),
            persist: self.persist.min(PERSIST),
            dsack_round: None,
            ..self
        }
    }

    /// Returns the number of segments above a hole that make it lost, with `outstanding` segments in
    /// flight: never more than can arrive above it.
    pub(super) fn dup_thresh(self, outstanding: u32) -> u8 {
        let arrivable = u8::try_from(outstanding.saturating_sub(1)).unwrap_or(u8::MAX);
        self.segments.min(arrivable.max(DUP_THRESH))
    }

    /// Returns true if counts are evidence.
    pub(super) fn counts(self) -> bool {
        self.evidence == Evidence::None
    }

    /// Returns true if this connection saw reordering itself.
    pub(super) fn is_seen(self) -> bool {
        self.evidence == Evidence::Seen
    }

    /// Notes that an earlier connection saw reordering on this path.
    pub(super) fn expect(&mut self) {
        if self.evidence == Evidence::None {
            self.evidence = Evidence::Hint;
        }
    }

    /// Returns the reordering window (RFC 8985 section 6.2 step 4). `eager`: in a recovery, or enough
    /// segments arrived to begin one.
    pub(super) fn window(
        self,
        eager: bool,
        min_rtt: Option<Duration>,
        srtt: Option<Duration>,
    ) -> Duration {
        if self.counts() && eager {
            return Duration::ZERO;
        }
        let (Some(least), Some(mean)) = (min_rtt.or(srtt), srtt.or(min_rtt)) else {
            return DEFAULT_WINDOW;
        };
        (least * u32::from(self.quarters) / 4).min(mean)
    }

    /// Notes that a segment that was sent once arrived after one that was sent later.
    pub(super) fn on_reordered(&mut self) {
        self.evidence = Evidence::Seen;
    }

    /// Notes that the peer reported a duplicate of a retransmission (RFC 2883) with `una..nxt` in flight:
    /// the original had only been late.
    pub(super) fn on_dsack(&mut self, una: SeqNum, nxt: SeqNum) {
        self.on_spurious_retransmit();
        self.on_progress(una);
        if self.dsack_round.is_none() {
            self.dsack_round = Some(nxt);
            self.quarters = self.quarters.saturating_add(1);
            self.persist = PERSIST;
        }
    }

    /// Notes that everything before `una` is acknowledged.
    pub(super) fn on_progress(&mut self, una: SeqNum) {
        if self.dsack_round.is_some_and(|end| una.at_or_after(end)) {
            self.dsack_round = None;
        }
    }

    /// Notes that a retransmission was needless: more segments are waited for.
    pub(super) fn on_spurious_retransmit(&mut self) {
        self.segments = self.segments.saturating_mul(2).min(MAX_DUP_THRESH);
    }

    /// Notes the end of a recovery.
    pub(super) fn on_recovered(&mut self) {
        self.persist = self.persist.saturating_sub(1);
        if self.persist == 0 {
            self.quarters = 1;
        }
    }

    /// Notes a retransmission timeout: from here on, an early retransmission is better than a late one.
    pub(super) fn on_timeout(&mut self) {
        self.segments = DUP_THRESH;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Option<Duration> = Some(Duration::from_millis(40));
    const MEAN: Option<Duration> = Some(Duration::from_millis(50));

    #[test]
    fn needless_retransmissions_widen_the_count() {
        let mut reordering = Reordering::default();
        assert_eq!(reordering.dup_thresh(1_000), 3);
        reordering.on_spurious_retransmit();
        assert_eq!(reordering.dup_thresh(1_000), 6);
        assert_eq!(reordering.dup_thresh(5), 4, "no more than can arrive");
        for _ in 0..20 {
            reordering.on_spurious_retransmit();
        }
        assert_eq!(reordering.dup_thresh(1_000), MAX_DUP_THRESH);
        reordering.on_timeout();
        assert_eq!(reordering.dup_thresh(1_000), 3);
    }

    #[test]
    fn rfc8985_6_2_the_window_is_a_quarter_of_the_least_round_trip_or_nothing() {
        let mut reordering = Reordering::default();
        let millis = Duration::from_millis;
        assert_eq!(reordering.window(true, MIN, MEAN), Duration::ZERO);
        assert_eq!(reordering.window(false, MIN, MEAN), millis(10));
        reordering.on_reordered();
        assert!(!reordering.counts());
        assert_eq!(reordering.window(true, MIN, MEAN), millis(10));
        assert_eq!(reordering.window(true, None, None), DEFAULT_WINDOW);
    }

    #[test]
    fn rfc8985_6_2_the_window_grows_once_a_round_trip_and_shrinks_after_16_recoveries() {
        let mut reordering = Reordering::default();
        let at = |n: u32| SeqNum(u32::MAX - 50) + n;
        reordering.on_reordered();
        for _ in 0..3 {
            reordering.on_dsack(at(0), at(100));
        }
        let millis = Duration::from_millis;
        assert_eq!(reordering.window(true, MIN, MEAN), millis(20));
        reordering.on_progress(at(100));
        reordering.on_dsack(at(100), at(200));
        assert_eq!(reordering.window(true, MIN, MEAN), millis(30));
        for round in 2..9 {
            reordering.on_dsack(at(100 * round), at(100 * round + 100));
        }
        assert_eq!(
            reordering.window(true, MIN, MEAN),
            millis(50),
            "at most SRTT"
        );
        for _ in 0..15 {
            reordering.on_recovered();
        }
        assert_eq!(reordering.window(true, MIN, MEAN), millis(50));
        reordering.on_recovered();
        assert_eq!(reordering.window(true, MIN, MEAN), millis(10));
    }
}
