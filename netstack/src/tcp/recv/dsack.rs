//! Reports of what arrived twice (D-SACK, RFC 2883).
//!
//! Each report leaves once, in the first SACK block of a segment. A turn may take several duplicates: those that
//! continue each other are one report, others are reported in segments of their own.

use crate::tcp::seq::SeqNum;

/// Reports that wait. A peer that sends more duplicates in one turn learns of the first ones.
const MOST: usize = 4;

/// Ranges that arrived twice and were not reported yet, the oldest first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Duplicates {
    ranges: [(SeqNum, SeqNum); MOST],
    len: u8,
}

impl Duplicates {
    /// Notes that `left..right` arrived twice.
    pub(crate) fn note(&mut self, left: SeqNum, right: SeqNum) {
        if !left.before(right) {
            return;
        }
        let len = usize::from(self.len);
        if let Some((_, end)) = self.ranges[..len].last_mut()
            && *end == left
        {
            *end = right;
        } else if let Some(free) = self.ranges.get_mut(len) {
            *free = (left, right);
            self.len += 1;
        }
    }

    /// Returns the range to report next.
    pub(crate) fn first(&self) -> Option<(SeqNum, SeqNum)> {
        self.ranges[..usize::from(self.len)].first().copied()
    }

    /// Returns true if there is nothing to report.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Notes that the first range was reported.
    pub(crate) fn on_reported(&mut self) {
        if self.len > 0 {
            self.ranges.rotate_left(1);
            self.len -= 1;
        }
    }

    /// Keeps an empty report, which must not be.
    #[cfg(test)]
    pub(crate) fn break_for_test(&mut self, at: SeqNum) {
        self.ranges[0] = (at, at);
        self.len = 1;
    }

    /// Checks that no report is empty.
    #[cfg(any(test, feature = "invariants"))]
    pub(crate) fn check(&self) {
        for (left, right) in &self.ranges[..usize::from(self.len)] {
            assert!(left.before(*right), "an empty D-SACK block");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_continues_is_one_report_and_what_does_not_is_another() {
        let at = |n: u32| SeqNum(u32::MAX - 5) + n;
        let mut duplicates = Duplicates::default();
        duplicates.note(at(3), at(3));
        assert!(duplicates.is_empty());
        duplicates.note(at(0), at(10));
        duplicates.note(at(10), at(20));
        for n in 3..9 {
            duplicates.note(at(10 * n), at(10 * n + 5));
        }
        let mut reported = Vec::new();
        while let Some(range) = duplicates.first() {
            reported.push(range);
            duplicates.on_reported();
        }
        let expected = [(0, 20), (30, 35), (40, 45), (50, 55)];
        assert_eq!(reported, expected.map(|(l, r)| (at(l), at(r))));
    }
}
