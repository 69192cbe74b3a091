//! The bytes in flight, and the recovery of lost ones.
//!
//! One picture serves SACK (RFC 6675), NewReno (RFC 6582) and the time after a timeout (RFC 5681):
//!
//! ```text
//!   una          rtx_next            lost_edge                    nxt
//!    |  sent again   |   lost, to send   |   believed in flight    |
//! ```
//!
//! Ranges that the peer SACKed are cut out everywhere. Everything below `lost_edge` is lost. With
//! SACK, `reorder` finds the edge from the scoreboard; without, it advances by one segment at a
//! time (fast retransmit); after a timeout everything is lost.
//!
//! * **Define.** `una ≤ rtx_next, lost_edge ≤ nxt`, and [`Inflight::pipe`] is the number of bytes
//!   in the network.
//! * **Enforce.** Fields are private; acknowledgments only advance.
//! * **Consume.** `output::select` sends while `pipe` is below the congestion window.
//!
//! The bytes themselves are in the queue, and the congestion window is in `cc`.

mod recovery;

use core::time::Duration;

use super::scoreboard::Scoreboard;
use crate::base::Instant;
use crate::tcp::context::Context;
use crate::tcp::event::LossRule;
use crate::tcp::reorder::ReorderWindow;
use crate::tcp::seq::SeqNum;

/// Largest distance over which a sequence number is kept for a comparison: a quarter of the space.
const MAX_BEHIND: u32 = 1 << 30;

/// The stage of loss recovery, which selects retransmissions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// No loss is known.
    Open,
    /// Fast recovery, until everything sent before it is acknowledged.
    Recovery,
    /// After a timeout, until everything sent before it is acknowledged.
    Loss,
}

/// The news in an acknowledgment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Bytes newly acknowledged, cumulatively.
    pub(crate) acked: u32,
    /// Bytes that arrived since the last acknowledgment: acknowledged or SACKed for the first time.
    pub(crate) delivered: u32,
    /// A round-trip measurement.
    pub(crate) rtt: Option<Duration>,
    /// A loss was found: the congestion window must be reduced.
    pub(crate) entered_recovery: bool,
    /// The recovery is over: everything sent before it is acknowledged.
    pub(crate) left_recovery: bool,
}

/// The sending sequence space.
#[derive(Debug)]
pub(crate) struct Inflight {
    una: SeqNum,
    nxt: SeqNum,
    /// End of the sequence space of the current, or last, recovery (`recover` of RFC 6582).
    recover: SeqNum,
    lost_edge: SeqNum,
    rtx_next: SeqNum,
    /// SND.NXT at the last retransmission: bytes above were sent later.
    rtx_mark: SeqNum,
    /// The last recovery sent bytes within `rtx_from..rtx_to` again.
    rtx_from: SeqNum,
    rtx_to: SeqNum,
    /// The acknowledgment of the byte before this one gives a round-trip time.
    timed_end: SeqNum,
    timed_at: Instant,
    board: Scoreboard,
    /// Bytes that have arrived according to duplicate ACKs of a peer without SACK.
    dup_bytes: u32,
    dup_acks: u16,
    mode: Mode,
    reorder: ReorderWindow,
    sack: bool,
    /// The first retransmission of a recovery does not wait for the congestion window.
    urgent: bool,
    rescued: bool,
}

impl Inflight {
    /// Creates the state with nothing in flight, from `una` on. `sack`: both sides agreed on it.
    pub(crate) fn new(una: SeqNum, sack: bool) -> Self {
        Self {
            una,
            nxt: una,
            recover: una.back(1),
            lost_edge: una,
            rtx_next: una,
            rtx_mark: una,
            rtx_from: una,
            rtx_to: una,
            timed_end: una,
            timed_at: Instant::FAR_FUTURE,
            board: Scoreboard::default(),
            dup_bytes: 0,
            dup_acks: 0,
            mode: Mode::Open,
            reorder: ReorderWindow::default(),
            sack,
            urgent: false,
            rescued: false,
        }
    }

    /// Returns SND.UNA.
    pub(crate) fn una(&self) -> SeqNum {
        self.una
    }

    /// Returns SND.NXT.
    pub(crate) fn nxt(&self) -> SeqNum {
        self.nxt
    }

    /// Returns the number of bytes sent and not acknowledged.
    pub(crate) fn outstanding(&self) -> u32 {
        self.nxt - self.una
    }

    /// Returns the number of bytes that the peer SACKed.
    pub(crate) fn sacked(&self) -> u32 {
        self.board.total()
    }

    /// Returns the stage of loss recovery.
    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// Returns the estimated number of bytes in the network (RFC 6675 section 4, SetPipe).
    pub(crate) fn pipe(&self) -> u32 {
        let original = self.board.holes(self.lost_edge, self.nxt);
        let again = self.board.holes(self.una, self.rtx_next);
        original
            .saturating_add(again)
            .saturating_sub(self.dup_bytes)
    }

    /// Notes that `len` bytes of sequence space were sent for the first time.
    pub(crate) fn on_sent(&mut self, len: u32, now: Instant) {
        self.nxt += len;
        // During a recovery the acknowledgment would wait for the holes to be filled.
        if self.timed_at == Instant::FAR_FUTURE && self.mode != Mode::Recovery {
            self.timed_end = self.nxt;
            self.timed_at = now;
        }
    }

    /// Notes that a zero window probe, which did not count as sent, was acknowledged.
    pub(crate) fn on_probe_accepted(&mut self) {
        self.nxt += 1;
    }

    /// Notes that `len` bytes from `seq` on were sent again.
    pub(crate) fn on_resent(&mut self, seq: SeqNum, len: u32) {
        // Karn: the acknowledgment could be of either copy.
        self.timed_at = Instant::FAR_FUTURE;
        self.urgent = false;
        let end = seq + len;
        self.rtx_next = self.rtx_next.max(end);
        self.rtx_to = self.rtx_to.max(end);
        self.rtx_mark = self.nxt;
    }

    /// Notes that the rescue retransmission was sent (RFC 6675 section 4, NextSeg rule 4).
    pub(crate) fn on_rescued(&mut self) {
        self.timed_at = Instant::FAR_FUTURE;
        self.rescued = true;
        self.rtx_mark = self.nxt;
    }

    /// Returns true if a retransmission must be sent even though the congestion window is full.
    pub(crate) fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// Returns the next lost range that was not sent again yet.
    pub(crate) fn next_lost(&self) -> Option<(SeqNum, SeqNum)> {
        if self.mode == Mode::Open {
            return None;
        }
        self.board.next_hole(self.rtx_next, self.lost_edge)
    }

    /// Returns a range that may be lost, to be sent when there is nothing better (NextSeg rule 3).
    pub(crate) fn next_suspect(&self) -> Option<(SeqNum, SeqNum)> {
        if self.mode != Mode::Recovery {
            return None;
        }
        let highest = self.board.highest()?;
        self.board
            .next_hole(self.rtx_next.max(self.lost_edge), highest)
    }

    /// Returns the last segment in flight, once per recovery: its retransmission brings an
    /// acknowledgment if no other segment does (rule 4).
    pub(crate) fn rescue(&self, mss: u32) -> Option<(SeqNum, SeqNum)> {
        if self.mode != Mode::Recovery || self.rescued || !self.sack {
            return None;
        }
        let highest = self.board.highest()?;
        let start = self
            .nxt
            .back(mss.min(self.outstanding()))
            .max(highest)
            .max(self.rtx_next);
        start.before(self.nxt).then_some((start, self.nxt))
    }

    /// Takes an acceptable acknowledgment. `blocks` is its SACK option; `duplicate` says that it is
    /// a duplicate ACK in the sense of RFC 5681 section 2.
    pub(crate) fn on_ack(
        &mut self,
        ack: SeqNum,
        blocks: &[(u32, u32)],
        duplicate: bool,
        mss: u32,
        cx: &mut Context<'_>,
    ) -> Progress {
        let mut progress = Progress::default();
        let old_una = self.una;
        if ack.after(self.una) && ack.at_or_before(self.nxt) {
            progress.acked = ack - self.una;
            let known = self.board.sacked(self.una, ack);
            progress.delivered = progress.acked - known;
            self.una = ack;
            if self.timed_at != Instant::FAR_FUTURE && self.timed_end.at_or_before(ack) {
                progress.rtt = Some(cx.now().saturating_since(self.timed_at));
                self.timed_at = Instant::FAR_FUTURE;
            }
            self.board.advance(ack);
            self.rtx_next = self.rtx_next.max(ack);
            self.lost_edge = self.lost_edge.max(ack);
        }
        let sack_news = if self.sack {
            self.on_sack(ack, blocks, old_una)
        } else {
            0
        };
        progress.delivered = progress.delivered.saturating_add(sack_news);

        if progress.acked > 0 {
            self.on_advance(progress.acked, mss, cx);
        } else if duplicate || sack_news > 0 {
            self.dup_acks = self.dup_acks.saturating_add(1);
            if !self.sack && self.mode != Mode::Loss {
                // Limited transmit (RFC 3042): before a recovery two new segments may follow.
                let most = match self.mode {
                    Mode::Open => 2 * mss,
                    _ => u32::MAX,
                };
                self.dup_bytes = self
                    .dup_bytes
                    .saturating_add(mss)
                    .min(most)
                    .min(self.outstanding().saturating_sub(mss));
            }
        }
        if self.mode != Mode::Open && self.una.at_or_after(self.recover) {
            self.reopen(cx);
            progress.left_recovery = true;
        }
        if self.detect(mss, cx) {
            progress.entered_recovery = true;
        }
        progress
    }

    fn on_advance(&mut self, acked: u32, mss: u32, cx: &mut Context<'_>) {
        match self.mode {
            Mode::Open => {
                self.forget_old();
                self.dup_acks = 0;
                self.dup_bytes = 0;
                self.lost_edge = self.una;
                self.rtx_next = self.una;
            }
            Mode::Recovery if !self.sack => {
                // A partial acknowledgment: the next segment is lost, too (RFC 6582 section 3.2).
                // All of its bytes but one segment had been counted by duplicates; and however many
                // those were, the first segment in flight has not arrived.
                self.dup_bytes = self
                    .dup_bytes
                    .saturating_sub(acked.saturating_sub(mss))
                    .min(self.outstanding().saturating_sub(mss));
                // Unless it was sent again already.
                let edge = (self.una + mss).min(self.nxt);
                self.advance_lost_edge(edge, LossRule::PartialAck, cx);
                self.urgent = self.rtx_next == self.una;
            }
            Mode::Recovery | Mode::Loss => {}
        }
    }

    /// Lets the marks of earlier recoveries follow SND.UNA, before they are so far behind that they
    /// compare as if they were ahead.
    fn forget_old(&mut self) {
        self.recover = self.recover.max(self.una.back(1));
        // Duplicates of what was sent again can be reported for a while.
        if self.una.since(self.rtx_to) > MAX_BEHIND {
            self.rtx_from = self.una;
            self.rtx_to = self.una;
        }
    }

    /// Takes the blocks of a SACK option; returns how many bytes are new.
    fn on_sack(&mut self, ack: SeqNum, blocks: &[(u32, u32)], old_una: SeqNum) -> u32 {
        let mut news = 0u32;
        for (i, &(left, right)) in blocks.iter().enumerate() {
            let (left, right) = (SeqNum(left), SeqNum(right));
            if !left.before(right) {
                continue;
            }
            let duplicate = i == 0
                && (right.at_or_before(ack)
                    || blocks.get(1).is_some_and(|&(l, r)| {
                        SeqNum(l).at_or_before(left) && right.at_or_before(SeqNum(r))
                    }));
            if duplicate {
                // RFC 2883: only a duplicate of a retransmission says something about the path.
                if left.within(self.rtx_from, self.rtx_to) && left.since(old_una) < MAX_BEHIND {
                    self.reorder.on_spurious_retransmit();
                }
                if right.at_or_before(ack) {
                    continue;
                }
            }
            // Only outstanding bytes can have arrived: any other block is wrong or old. Both ends
            // are checked, because a range of half the sequence space deceives each check alone.
            if left.within(self.una + 1, self.nxt) && right.within(left + 1, self.nxt + 1) {
                news = news.saturating_add(self.board.insert(left, right));
            }
        }
        news
    }

    /// Returns true if a round-trip measurement is under way.
    pub(crate) fn is_timing(&self) -> bool {
        self.timed_at != Instant::FAR_FUTURE
    }

    /// Frees the memory that a closed connection does not need.
    pub(crate) fn release(&mut self, cx: &mut Context<'_>) {
        self.board.clear();
        self.reopen(cx);
    }

    /// Checks what must hold whatever the peer sends.
    #[cfg(any(test, feature = "invariants"))]
    pub(crate) fn check(&self) {
        let space = |n: SeqNum| n.at_or_after(self.una) && n.at_or_before(self.nxt);
        assert!(self.una.at_or_before(self.nxt));
        assert!(space(self.rtx_next) && space(self.lost_edge));
        self.board.check();
        assert!(self.sack || self.board.is_empty(), "SACK was not agreed on");
        for &(left, right) in self.board.ranges() {
            assert!(left.after(self.una) && right.at_or_before(self.nxt));
        }
        // The pipe, hole by hole.
        let holes = |from: SeqNum, to: SeqNum| {
            let mut total = 0;
            let mut at = from;
            while let Some((start, end)) = self.board.next_hole(at, to) {
                total += end - start;
                at = end;
            }
            total
        };
        let original = holes(self.lost_edge, self.nxt);
        let again = holes(self.una, self.rtx_next);
        assert!(self.dup_bytes <= self.outstanding());
        assert_eq!(
            self.pipe(),
            (original + again).saturating_sub(self.dup_bytes)
        );
        assert!(!self.rtx_to.before(self.rtx_from));
        if self.mode == Mode::Open {
            assert_eq!((self.lost_edge, self.rtx_next), (self.una, self.una));
            assert_eq!(self.next_lost(), None);
        } else {
            assert!(self.una.before(self.recover) && self.recover.at_or_before(self.nxt));
        }
    }
}
