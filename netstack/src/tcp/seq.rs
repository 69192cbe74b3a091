//! Sequence numbers: arithmetic modulo 2^32 (RFC 9293 section 3.4).
//!
//! * **Define.** A [`SeqNum`] has no total order: two numbers compare only within half the space.
//! * **Enforce.** `SeqNum` does not implement `Ord`: comparisons have names, and a difference is a
//!   distance.
//! * **Consume.** Every comparison in `tcp` goes through these methods, so wrapping is right once.

use core::fmt;
use core::ops::{Add, AddAssign, Sub};

/// A sequence number of one direction of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub struct SeqNum(pub u32);

impl SeqNum {
    /// Returns true if `self` comes before `other`.
    pub const fn before(self, other: Self) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// Returns true if `self` comes after `other`.
    pub const fn after(self, other: Self) -> bool {
        other.before(self)
    }

    /// Returns true if `self` is `other` or comes before it.
    pub const fn at_or_before(self, other: Self) -> bool {
        !other.before(self)
    }

    /// Returns true if `self` is `other` or comes after it.
    pub const fn at_or_after(self, other: Self) -> bool {
        !self.before(other)
    }

    /// Returns true if `start` ≤ `self` < `end`.
    pub const fn within(self, start: Self, end: Self) -> bool {
        self.at_or_after(start) && self.before(end)
    }

    /// Returns the distance from `earlier` to `self`; zero if `self` comes first.
    pub const fn since(self, earlier: Self) -> u32 {
        if self.before(earlier) {
            0
        } else {
            self.0.wrapping_sub(earlier.0)
        }
    }

    /// Returns the number that comes `count` before `self`.
    #[must_use]
    pub const fn back(self, count: u32) -> Self {
        Self(self.0.wrapping_sub(count))
    }

    /// Returns the later of two.
    #[must_use]
    pub const fn max(self, other: Self) -> Self {
        if self.before(other) { other } else { self }
    }

    /// Returns the earlier of two.
    #[must_use]
    pub const fn min(self, other: Self) -> Self {
        if self.before(other) { self } else { other }
    }
}

impl Add<u32> for SeqNum {
    type Output = Self;

    fn add(self, count: u32) -> Self {
        Self(self.0.wrapping_add(count))
    }
}

impl AddAssign<u32> for SeqNum {
    fn add_assign(&mut self, count: u32) {
        *self = *self + count;
    }
}

impl Sub for SeqNum {
    type Output = u32;

    /// Returns the distance from the right operand to the left one, modulo 2^32.
    fn sub(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }
}

impl fmt::Debug for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::SeqNum;

    #[test]
    fn order_wraps() {
        let old = SeqNum(u32::MAX - 1);
        let new = old + 3;
        assert_eq!(new, SeqNum(1));
        assert!(old.before(new) && new.after(old));
        assert!(!old.after(new) && !new.before(old));
        assert_eq!(new.since(old), 3);
        assert_eq!(old.since(new), 0);
        assert_eq!(new - old, 3);
        assert_eq!(new.back(3), old);
        assert_eq!(old.max(new), new);
        assert_eq!(old.min(new), old);
    }

    #[test]
    fn within_is_half_open() {
        let start = SeqNum(u32::MAX);
        assert!(start.within(start, start + 1));
        assert!(!start.within(start, start));
        assert!(!(start + 1).within(start, start + 1));
    }
}
