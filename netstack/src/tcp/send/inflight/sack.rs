//! SACK blocks: what arrived out of order (RFC 2018), and what arrived twice (RFC 2883, RFC 3708).

use super::news::News;
use super::{Ack, Inflight, MAX_BEHIND, Mode, Progress};
use crate::tcp::send::record::Fate;
use crate::tcp::seq::SeqNum;

/// SACK blocks of one segment.
const MAX_BLOCKS: usize = 4;

/// Cuts that SACK blocks may make beside those at segment edges: a bound on what a peer that SACKs single
/// bytes can cost.
const SPARE_CUTS: usize = 128;

/// The retransmissions of the present or last recovery: if all were needless, so was the recovery.
#[derive(Clone, Copy, Debug)]
pub(super) struct Undo {
    from: SeqNum,
    to: SeqNum,
    /// Bytes sent again that the peer has not reported as duplicates.
    bytes: u32,
    /// The congestion window was reduced, and it is not known if for nothing.
    active: bool,
    /// Acknowledgments had shown the loss, not silence.
    by_order: bool,
}

impl Undo {
    pub(super) fn none(at: SeqNum) -> Self {
        Self {
            from: at,
            to: at,
            bytes: 0,
            active: false,
            by_order: false,
        }
    }

    /// Begins anew with a recovery of what is in flight from `una` on. `active`: it reduces the window;
    /// `by_order`: acknowledgments showed the loss.
    pub(super) fn begin(&mut self, una: SeqNum, active: bool, by_order: bool) {
        *self = Self {
            active,
            by_order,
            ..Self::none(una)
        };
    }

    /// Returns true if a needless recovery was due to reordering, not to delay.
    pub(super) fn shows_reordering(&self) -> bool {
        self.active && self.by_order
    }

    /// Returns true if the peer has reported duplicates of everything that was sent again.
    pub(super) fn is_reported(&self) -> bool {
        self.bytes == 0
    }

    /// Notes that `len` bytes up to `end` were sent again.
    pub(super) fn on_resent(&mut self, end: SeqNum, len: u32) {
        self.to = self.to.max(end);
        self.bytes = self.bytes.saturating_add(len);
    }

    /// Takes the report that `left..right` arrived twice. Returns true if this recovery sent it again.
    fn on_duplicate(&mut self, left: SeqNum, right: SeqNum) -> bool {
        let is_known = left.within(self.from, self.to);
        if is_known {
            self.bytes = self.bytes.saturating_sub(right - left);
        }
        is_known
    }

    /// Returns true if everything that was sent again was needless.
    pub(super) fn is_needless(&self) -> bool {
        self.active && self.bytes == 0
    }

    /// Ends the question.
    pub(super) fn settle(&mut self) {
        self.active = false;
    }

    /// Forgets what is so far behind `una` that it would compare as if it were ahead.
    pub(super) fn forget_old(&mut self, una: SeqNum) {
        if una.since(self.to) > MAX_BEHIND {
            *self = Self::none(una);
        }
    }

    #[cfg(any(test, feature = "invariants"))]
    pub(super) fn is_inverted(&self) -> bool {
        self.to.before(self.from)
    }
}

/// Returns the duplicate that the first block reports, if it does (RFC 2883 section 4).
fn duplicate_of(input: &Ack<'_>) -> Option<(SeqNum, SeqNum)> {
    let &(left, right) = input.blocks.first()?;
    let (left, right) = (SeqNum(left), SeqNum(right));
    let within = input
        .blocks
        .get(1)
        .is_some_and(|&(l, r)| SeqNum(l).at_or_before(left) && right.at_or_before(SeqNum(r)));
    (left.before(right) && (right.at_or_before(input.ack) || within)).then_some((left, right))
}

impl Inflight {
    /// Takes a report of a duplicate. Returns true if it is one of a tail loss probe.
    pub(super) fn on_dsack(&mut self, input: &Ack<'_>, progress: &mut Progress) -> bool {
        let Some((left, right)) = duplicate_of(input) else {
            return false;
        };
        progress.is_duplicate_reported = true;
        if self.probe.is_resent_up_to(right) {
            return true;
        }
        // RFC 2883: only a duplicate of a retransmission says something about the path. One of an earlier recovery
        // is reported when the next one has begun, if they follow each other.
        let is_ours = left.since(self.una) < MAX_BEHIND && self.undo.on_duplicate(left, right);
        let busy = self.busy.as_ref();
        if is_ours || busy.is_some_and(|busy| busy.was_resent_lately(left)) {
            self.reorder.on_dsack(self.una, self.nxt);
        }
        progress.all_duplicates = is_ours && self.undo.is_needless();
        false
    }

    /// Takes the blocks of a SACK option. Returns true if they have news.
    pub(super) fn on_sack(&mut self, input: &Ack<'_>, news: &mut News) -> bool {
        let mut blocks = [(self.una, self.una); MAX_BLOCKS];
        let mut count = 0;
        for &(left, right) in input.blocks {
            let (left, right) = (SeqNum(left), SeqNum(right));
            // Only outstanding bytes can have arrived: any other block is wrong or old. Both ends are
            // checked, because a range of half the sequence space deceives each check alone.
            let usable = left.before(right)
                && left.within(self.una + 1, self.nxt)
                && right.within(left + 1, self.nxt + 1);
            if usable && let Some(slot) = blocks.get_mut(count) {
                *slot = (left, right);
                count += 1;
            }
        }
        if count == 0 {
            return false;
        }
        // In ascending order, or the blocks of one segment would look like reordering.
        let una = self.una;
        let blocks = blocks.get_mut(..count).unwrap_or(&mut []);
        blocks.sort_unstable_by_key(|&(left, _)| left - una);
        let before = news.bytes;
        let segments = self.outstanding() / input.path.mss.max(1);
        let limit = SPARE_CUTS + 2 * segments as usize;
        for &(left, right) in blocks.iter() {
            self.sack_range(left, right, limit, news);
        }
        news.bytes > before
    }

    /// Takes one block, which lies within what is outstanding.
    fn sack_range(&mut self, left: SeqNum, right: SeqNum, limit: usize, news: &mut News) {
        let busy = self.busy();
        let mut at = left;
        while at.before(right) {
            let index = busy.records.index_of(at);
            let Some(&record) = busy.records.get(index) else {
                return;
            };
            let end = record.end.min(right);
            if record.fate != Fate::Sacked {
                if !busy.records.sack(index, at, end, limit) {
                    return;
                }
                let len = end - at;
                busy.sacked += len;
                if record.fate == Fate::Lost {
                    busy.lost -= len;
                }
                news.take(&record, at, end, busy.fack, false);
                busy.fack = busy.fack.max(end);
            }
            at = end;
        }
    }

    /// Counts a duplicate ACK.
    pub(super) fn on_duplicate(&mut self, mss: u32) {
        let (sack, outstanding) = (self.sack, self.outstanding());
        let busy = self.busy();
        busy.dup_acks = busy.dup_acks.saturating_add(1);
        if !sack && busy.mode != Mode::Loss {
            // Limited transmit (RFC 3042): before a recovery two new segments may follow.
            let most = match busy.mode {
                Mode::Open => 2 * mss,
                _ => u32::MAX,
            };
            busy.dup_bytes = busy
                .dup_bytes
                .saturating_add(mss)
                .min(most)
                .min(outstanding.saturating_sub(mss));
        }
    }
}
