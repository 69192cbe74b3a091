//! Loss detection: the one decision on which loss recovery rests.
//!
//! The evidence is order in sequence space (RFC 6675 `IsLost`): bytes sent long before something
//! that has arrived are lost. "Long before" is the reorder window: a number of segments, three at
//! first, that grows when the peer shows that segments taken for lost did arrive. Evidence by send
//! time (RFC 8985) belongs behind this same function and is not here yet.
//!
//! This module knows neither how the scoreboard is filled nor what is sent.

use super::send::scoreboard::Scoreboard;
use super::seq::SeqNum;

/// Duplicate acknowledgments, or SACKed segments above, that make a segment lost (RFC 5681).
const DUP_THRESH: u8 = 3;

/// Largest reorder window, in segments.
const MAX_DUP_THRESH: u8 = 64;

/// The amount of reordering that the path has shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReorderWindow {
    segments: u8,
}

impl Default for ReorderWindow {
    fn default() -> Self {
        Self {
            segments: DUP_THRESH,
        }
    }
}

impl ReorderWindow {
    /// Returns the number of segments above a hole that make it lost, with `outstanding` segments
    /// in flight: never more than can arrive above it.
    pub(super) fn dup_thresh(self, outstanding: u32) -> u8 {
        let arrivable = u8::try_from(outstanding.saturating_sub(1)).unwrap_or(u8::MAX);
        self.segments.min(arrivable.max(DUP_THRESH))
    }

    /// Widens the window: the peer reported a duplicate of a retransmission (RFC 2883), so the
    /// original had only been late.
    pub(super) fn on_spurious_retransmit(&mut self) {
        self.segments = self.segments.saturating_mul(2).min(MAX_DUP_THRESH);
    }

    /// Resets the window after a retransmission timeout: from here on, an early retransmission is
    /// better than a late one.
    pub(super) fn on_timeout(&mut self) {
        self.segments = DUP_THRESH;
    }

    /// Returns the edge below which everything that is not SACKed is lost; `una` if nothing is
    /// lost.
    pub(super) fn lost_edge(
        self,
        board: &Scoreboard,
        una: SeqNum,
        mss: u32,
        outstanding: u32,
    ) -> SeqNum {
        let ranges_needed = u32::from(self.dup_thresh(outstanding));
        let bytes_needed = (ranges_needed - 1).saturating_mul(mss);
        let mut ranges = 0u32;
        let mut bytes = 0u32;
        for &(left, right) in board.ranges().iter().rev() {
            ranges += 1;
            bytes = bytes.saturating_add(right - left);
            if ranges >= ranges_needed || bytes > bytes_needed {
                return left;
            }
        }
        una
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_ranges_or_more_than_two_segments() {
        let una = SeqNum(1_000);
        let window = ReorderWindow::default();
        let mut board = Scoreboard::default();
        board.insert(una + 100, una + 200);
        assert_eq!(window.lost_edge(&board, una, 100, 50), una);
        board.insert(una + 300, una + 400);
        assert_eq!(window.lost_edge(&board, una, 100, 50), una);
        board.insert(una + 500, una + 600);
        assert_eq!(window.lost_edge(&board, una, 100, 50), una + 100);
        board.insert(una + 700, una + 1_000);
        assert_eq!(window.lost_edge(&board, una, 100, 50), una + 700);
    }

    #[test]
    fn a_wider_window_waits_longer() {
        let una = SeqNum(0);
        let mut window = ReorderWindow::default();
        let mut board = Scoreboard::default();
        board.insert(una + 100, una + 400);
        assert_eq!(window.lost_edge(&board, una, 100, 50), una + 100);
        window.on_spurious_retransmit();
        assert_eq!(window.lost_edge(&board, una, 100, 50), una);
        for _ in 0..20 {
            window.on_spurious_retransmit();
        }
        assert_eq!(window.dup_thresh(1_000), MAX_DUP_THRESH);
        window.on_timeout();
        assert_eq!(window.dup_thresh(1_000), DUP_THRESH);
    }
}
