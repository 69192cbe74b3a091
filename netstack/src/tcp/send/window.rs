//! The peer's receive window (RFC 9293 sections 3.8.6 and 3.10.7.4, RFC 7323 section 2).

use crate::tcp::seq::SeqNum;

/// SND.WND, SND.WL1, SND.WL2 and the largest window seen.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct SendWindow {
    /// SND.WND: the offered window in bytes, from the last acknowledgment on.
    pub(crate) wnd: u32,
    /// Largest window ever offered, for silly window avoidance and ACK checks.
    pub(crate) max: u32,
    wl1: SeqNum,
    wl2: SeqNum,
}

impl SendWindow {
    /// Creates the window from the segment that completed the handshake.
    pub(crate) fn new(wnd: u32, seq: SeqNum, ack: SeqNum) -> Self {
        Self {
            wnd,
            max: wnd,
            wl1: seq,
            wl2: ack,
        }
    }

    /// Returns true if a peer can have offered this.
    pub(crate) fn is_valid(&self) -> bool {
        self.wnd <= self.max && self.max <= u32::from(u16::MAX) << 14
    }

    /// Takes the window of an acceptable acknowledgment, unless a newer one was seen. Returns true
    /// if the window changed.
    ///
    /// `advances`: it acknowledges something for the first time. Then its window is the newest although
    /// its sequence number is not, as that of a segment that fills a gap (Linux does the same). The windows of the segments
    /// behind it are newer than those of what came ahead of the gap.
    pub(crate) fn update(&mut self, wnd: u32, seq: SeqNum, ack: SeqNum, advances: bool) -> bool {
        let newer = self.wl1.before(seq) || (self.wl1 == seq && self.wl2.at_or_before(ack));
        if !newer && !advances {
            return false;
        }
        self.wl1 = seq;
        self.wl2 = ack;
        let changed = self.wnd != wnd;
        self.wnd = wnd;
        self.max = self.max.max(wnd);
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_segments_do_not_move_the_window() {
        let mut window = SendWindow::new(1_000, SeqNum(10), SeqNum(20));
        assert!(!window.update(5, SeqNum(9), SeqNum(99), false));
        assert!(!window.update(5, SeqNum(10), SeqNum(19), false));
        assert_eq!(window.wnd, 1_000);
        assert!(window.update(2_000, SeqNum(10), SeqNum(20), false));
        assert!(window.update(3, SeqNum(11), SeqNum(20), false));
        assert_eq!((window.wnd, window.max), (3, 2_000));
    }

    #[test]
    fn a_new_acknowledgment_moves_the_window_from_a_hole() {
        let mut window = SendWindow::new(1_000, SeqNum(10), SeqNum(20));
        assert!(window.update(2_000, SeqNum(8), SeqNum(30), true));
        assert!(!window.update(5, SeqNum(7), SeqNum(30), false), "old again");
        assert!(!window.update(5, SeqNum(8), SeqNum(29), false), "old again");
        assert_eq!(window.wnd, 2_000);
    }

    #[test]
    fn rfc9293_3_10_7_4_what_fills_a_gap_may_close_the_window_and_open_it_again() {
        let mut window = SendWindow::new(1_000, SeqNum(10), SeqNum(20));
        assert!(window.update(900, SeqNum(100), SeqNum(20), false), "ahead");
        assert!(window.update(0, SeqNum(10), SeqNum(21), true));
        assert!(window.update(2_000, SeqNum(60), SeqNum(21), false));
        assert_eq!((window.wnd, window.max), (2_000, 2_000));
    }
}
