//! The scoreboard: the ranges that the peer SACKed (RFC 2018, RFC 6675 section 3).
//!
//! * **Define.** A [`Scoreboard`] is a sorted list of disjoint, non-adjacent ranges above the first
//!   unacknowledged byte.
//! * **Enforce.** Only [`Scoreboard::insert`] adds ranges, and merges them; there are at most
//!   [`MAX_RANGES`].
//! * **Consume.** Counting the bytes in flight and finding the next hole take one pass over few
//!   ranges, whatever the peer sends: a SACK flood costs bounded time and memory. The ranges count
//!   bytes, so no count of segments can overflow.

use crate::tcp::seq::SeqNum;

/// Maximum number of ranges. A range that does not fit is forgotten; at worst it is sent again.
pub(crate) const MAX_RANGES: usize = 128;

/// The ranges that the peer reported, lowest sequence numbers first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scoreboard {
    ranges: Vec<(SeqNum, SeqNum)>,
}

impl Scoreboard {
    /// Returns the ranges, sorted.
    pub(crate) fn ranges(&self) -> &[(SeqNum, SeqNum)] {
        &self.ranges
    }

    /// Returns true if nothing is SACKed.
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Notes that `left..right` arrived; returns how many bytes of it are new. The caller checked
    /// that the range lies within what is outstanding.
    pub(crate) fn insert(&mut self, left: SeqNum, right: SeqNum) -> u32 {
        if !left.before(right) {
            return 0;
        }
        // The ranges that the peer reported, lowest sequence numbers first.
        let first = self.ranges.partition_point(|&(_, r)| r.before(left));
        let last = self.ranges.partition_point(|&(l, _)| l.at_or_before(right));
        if first == last {
            if self.ranges.len() >= MAX_RANGES {
                return 0;
            }
            self.ranges.insert(first, (left, right));
            return right - left;
        }
        let touched = self.ranges.get(first..last).unwrap_or(&[]);
        let known: u32 = touched.iter().map(|&(l, r)| r - l).sum();
        let merged_left = touched.first().map_or(left, |&(l, _)| l.min(left));
        let merged_right = touched.last().map_or(right, |&(_, r)| r.max(right));
        self.ranges
            .splice(first..last, [(merged_left, merged_right)]);
        (merged_right - merged_left) - known
    }

    /// Forgets everything below `una`. Returns true if `una` itself was SACKed: the peer has
    /// reneged (RFC 2018 section 8), and then everything is forgotten.
    pub(crate) fn advance(&mut self, una: SeqNum) -> bool {
        let gone = self.ranges.partition_point(|&(_, r)| r.at_or_before(una));
        self.ranges.drain(..gone);
        let reneged = self
            .ranges
            .first()
            .is_some_and(|&(left, _)| left.at_or_before(una));
        if reneged {
            self.ranges.clear();
        }
        if self.ranges.is_empty() {
            // An idle connection holds nothing.
            self.ranges = Vec::new();
        }
        reneged
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.ranges = Vec::new();
    }

    /// Returns the number of SACKed bytes within `from..to`.
    pub(crate) fn sacked(&self, from: SeqNum, to: SeqNum) -> u32 {
        self.ranges
            .iter()
            .map(|&(l, r)| r.min(to).since(l.max(from)))
            .sum()
    }

    /// Returns the number of SACKed bytes.
    pub(crate) fn total(&self) -> u32 {
        self.ranges.iter().map(|&(l, r)| r - l).sum()
    }

    /// Returns the number of bytes within `from..to` that are not SACKed.
    pub(crate) fn holes(&self, from: SeqNum, to: SeqNum) -> u32 {
        to.since(from) - self.sacked(from, to)
    }

    /// Returns the first hole at or after `from` that begins below `to`, cut at `to`.
    pub(crate) fn next_hole(&self, from: SeqNum, to: SeqNum) -> Option<(SeqNum, SeqNum)> {
        let mut start = from;
        for &(left, right) in &self.ranges {
            if start.before(left) {
                break;
            }
            start = start.max(right);
        }
        if !start.before(to) {
            return None;
        }
        let end = self
            .ranges
            .iter()
            .map(|&(left, _)| left)
            .find(|left| left.after(start))
            .map_or(to, |left| left.min(to));
        Some((start, end))
    }

    /// Checks what must hold whatever the peer sends.
    #[cfg(any(test, feature = "invariants"))]
    pub(crate) fn check(&self) {
        assert!(self.ranges.len() <= MAX_RANGES);
        for &(left, right) in &self.ranges {
            assert!(left.before(right), "an empty range");
        }
        for pair in self.ranges.windows(2) {
            assert!(pair[0].1.before(pair[1].0), "ranges overlap or touch");
        }
    }

    /// Returns the end of the highest SACKed range.
    pub(crate) fn highest(&self) -> Option<SeqNum> {
        self.ranges.last().map(|&(_, right)| right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    #[test]
    fn merges_and_counts() {
        let at = |n: u32| SeqNum(u32::MAX - 50) + n;
        let mut board = Scoreboard::default();
        assert_eq!(board.insert(at(100), at(200)), 100);
        assert_eq!(board.insert(at(300), at(400)), 100);
        assert_eq!(board.insert(at(150), at(350)), 100);
        assert_eq!(board.ranges(), [(at(100), at(400))]);
        assert_eq!(board.insert(at(100), at(400)), 0);
        assert_eq!(board.insert(at(400), at(410)), 10, "adjacent ranges join");
        assert_eq!(board.ranges().len(), 1);
        assert_eq!(board.insert(at(5), at(5)), 0);
        assert_eq!(board.holes(at(0), at(500)), 190);
        assert_eq!(board.next_hole(at(0), at(500)), Some((at(0), at(100))));
        assert_eq!(board.next_hole(at(100), at(500)), Some((at(410), at(500))));
        assert_eq!(board.next_hole(at(120), at(300)), None);
        assert!(!board.advance(at(90)));
        assert!(board.advance(at(100)), "the peer reneged");
        assert!(board.is_empty());
    }

    #[test]
    fn agrees_with_a_bitmap() {
        for seed in 0..300 {
            let mut rng = Rng::from_u64(seed);
            let base = SeqNum(rng.u32());
            let mut board = Scoreboard::default();
            let mut map = [false; 600];
            for _ in 0..60 {
                let left = rng.below(590);
                let right = left + 1 + rng.below(600 - left - 1);
                let right = right.min(left + 1 + rng.below(20));
                let news = map[left as usize..right as usize]
                    .iter()
                    .filter(|b| !**b)
                    .count() as u32;
                assert_eq!(board.insert(base + left, base + right), news, "seed {seed}");
                map[left as usize..right as usize].fill(true);
                let total = map.iter().filter(|b| **b).count() as u32;
                assert_eq!(board.total(), total, "seed {seed}");
                let from = rng.below(600);
                let hole = (from..600).find(|i| !map[*i as usize]);
                let got = board.next_hole(base + from, base + 600);
                assert_eq!(got.map(|(s, _)| s - base), hole, "seed {seed}");
                if let Some((s, e)) = got {
                    let end = (s - base..600).find(|i| map[*i as usize]).unwrap_or(600);
                    assert_eq!(e - base, end, "seed {seed}");
                }
            }
            assert!(board.ranges().windows(2).all(|w| w[0].1.before(w[1].0)));
        }
    }

    #[test]
    fn a_sack_flood_is_bounded() {
        let mut board = Scoreboard::default();
        for i in 0..100_000u32 {
            board.insert(SeqNum(i * 2 + 1), SeqNum(i * 2 + 2));
        }
        assert_eq!(board.ranges().len(), MAX_RANGES);
    }
}
