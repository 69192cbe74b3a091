//! The budget: the bytes that all buffers of a stack together may take, and how short they are.
//!
//! * **Define.** Every slab that exists, free or in use, is counted here, and so is each [`Charge`]. Memory
//!   that is *used* is what is counted, less the free slabs.
//! * **Enforce.** A slab is counted before it is allocated and until it is freed; the count never exceeds the
//!   limit.
//! * **Consume.** [`Buffers::share`](super::Buffers::share) and [`Level`] tell the holders of memory when to
//!   hold less.
//!
//! Taking and returning a slab of a free list does not touch the count, so packets cost nothing here.
//!
//! ```text
//!  0            1/2      5/8        3/4        7/8   15/16   1  of the limit
//!  ├─────────────┼────────┼──────────┼──────────┼──────┼─────┤
//!    at ease     │        │ pressure │          │      │ limit
//!          leave ┘  enter ┘  shares ─┘    leave ┘      └ enter
//!                            end here
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// The pressure on a stack's memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[repr(u8)]
pub enum Level {
    /// Flows may hold what they like.
    #[default]
    Ease,
    /// Flows are held to a fair share of what is left, and copy what they hold out of slabs that it does
    /// not fill.
    Pressure,
    /// Even the least that each flow may hold is nearly too much: holders are given up.
    Limit,
}

impl Level {
    fn of(number: u8) -> Self {
        match number {
            0 => Self::Ease,
            1 => Self::Pressure,
            _ => Self::Limit,
        }
    }

    /// Returns a stable name for reports.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ease => "ease",
            Self::Pressure => "pressure",
            Self::Limit => "limit",
        }
    }
}

/// Bytes that one flow may always keep queued in one direction: a few segments.
pub const FLOOR_BYTES: usize = 4 << 10;

/// The reciprocal of the share of what is left that one flow may hold.
const SHARES: usize = 4;

/// The reciprocal of the share of all that one flow may hold while memory is at ease.
const EASE_SHARES: usize = 8;

/// A count of bytes with a limit.
#[derive(Debug)]
pub(super) struct Budget {
    limit: AtomicUsize,
    /// Bytes of slabs that exist, and of charges.
    allocated: AtomicUsize,
    /// The last level that was noted.
    level: AtomicU8,
}

/// The limit of a budget that is none.
pub(super) const UNLIMITED: usize = usize::MAX;

impl Budget {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit: AtomicUsize::new(limit),
            allocated: AtomicUsize::new(0),
            level: AtomicU8::new(0),
        })
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Changes the limit. What is counted stays, though it may be more.
    pub(super) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Counts `bytes` more; false if that exceeds the limit.
    pub(super) fn reserve(&self, bytes: usize) -> bool {
        let limit = self.limit();
        self.allocated
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |allocated| {
                allocated
                    .checked_add(bytes)
                    .filter(|allocated| *allocated <= limit)
            })
            .is_ok()
    }

    pub(super) fn release(&self, bytes: usize) {
        self.allocated.fetch_sub(bytes, Ordering::AcqRel);
    }

    pub(super) fn allocated(&self) -> usize {
        self.allocated.load(Ordering::Relaxed)
    }

    pub(super) fn level(&self) -> Level {
        Level::of(self.level.load(Ordering::Relaxed))
    }

    /// Returns true if so little exists that memory is at ease, whatever is free of it. Reads no free list.
    pub(super) fn is_surely_at_ease(&self) -> bool {
        self.allocated() < self.mark(self.level() > Level::Ease, 1, 2, 5, 8)
    }

    /// Returns the most that one flow may hold while memory is at ease.
    pub(super) fn share_at_ease(&self) -> usize {
        match self.limit() {
            UNLIMITED => UNLIMITED,
            limit => limit / EASE_SHARES,
        }
    }

    /// Returns the fair share of one flow while `used` bytes are used. What lies between the end of the shares
    /// and the limit is for the least that each flow may hold.
    pub(super) fn share(&self, used: usize) -> usize {
        if self.level_at(used) == Level::Ease {
            return self.share_at_ease();
        }
        self.part(3, 4).saturating_sub(used) / SHARES
    }

    /// Notes the level at `used` bytes. Returns it, and the level before.
    pub(super) fn note(&self, used: usize) -> (Level, Level) {
        let level = self.level_at(used);
        if level == self.level() {
            return (level, level);
        }
        (
            level,
            Level::of(self.level.swap(level as u8, Ordering::AcqRel)),
        )
    }

    /// Returns the level at `used` bytes, which depends on the level before: it ends later than it begins.
    pub(super) fn level_at(&self, used: usize) -> Level {
        let before = self.level();
        if used >= self.mark(before == Level::Limit, 7, 8, 15, 16) {
            Level::Limit
        } else if used >= self.mark(before > Level::Ease, 1, 2, 5, 8) {
            Level::Pressure
        } else {
            Level::Ease
        }
    }

    /// Returns the mark at which a level ends, if it `holds`, else the one at which it begins.
    fn mark(&self, holds: bool, end: usize, of: usize, begin: usize, of_begin: usize) -> usize {
        if holds {
            self.part(end, of)
        } else {
            self.part(begin, of_begin)
        }
    }

    fn part(&self, parts: usize, of: usize) -> usize {
        (self.limit() / of).saturating_mul(parts)
    }

    /// Returns how many bytes must go before the limit is left.
    pub(super) fn excess(&self, used: usize) -> usize {
        used.saturating_sub(self.part(7, 8))
    }
}

/// Bytes that are counted against a budget without being a slab. Gives them back when it is dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    pub(super) fn new(budget: &Arc<Budget>) -> Self {
        Self {
            budget: Arc::clone(budget),
            bytes: 0,
        }
    }

    /// Returns the bytes that are counted.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counts `bytes` instead of what was counted before. Returns false, and changes nothing, if the budget
    /// does not have them.
    #[must_use]
    pub fn set(&mut self, bytes: usize) -> bool {
        if bytes > self.bytes {
            if !self.budget.reserve(bytes - self.bytes) {
                return false;
            }
        } else {
            self.budget.release(self.bytes - bytes);
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_ends_later_than_it_begins() {
        let budget = Budget::new(1_600);
        let levels = [
            (0, Level::Ease),
            (999, Level::Ease),
            (1_000, Level::Pressure),
            (800, Level::Pressure),
            (799, Level::Ease),
            (1_499, Level::Pressure),
            (1_500, Level::Limit),
            (1_400, Level::Limit),
            (1_399, Level::Pressure),
            (1_450, Level::Pressure),
            (0, Level::Ease),
        ];
        for (used, level) in levels {
            assert_eq!(budget.note(used).0, level, "{used}");
        }
    }

    #[test]
    fn shares_shrink_with_what_is_left() {
        let budget = Budget::new(1_600);
        assert_eq!(budget.share(999), 200);
        assert_eq!(budget.share(1_000), 50);
        assert_eq!(budget.share(1_100), 25);
        assert_eq!(budget.share(1_200), 0);
        assert_eq!(Budget::new(UNLIMITED).share(1 << 40), usize::MAX);
    }

    #[test]
    fn a_lower_limit_takes_nothing_back_and_grants_nothing_more() {
        let budget = Budget::new(1_600);
        assert!(budget.reserve(1_000));
        budget.set_limit(800);
        assert_eq!((budget.allocated(), budget.limit()), (1_000, 800));
        assert!(!budget.reserve(1));
        assert_eq!(budget.level_at(1_000), Level::Limit);
        budget.set_limit(3_200);
        assert!(budget.reserve(1));
        assert_eq!(budget.level_at(1_001), Level::Ease);
    }

    #[test]
    fn a_charge_is_never_more_than_the_budget_has() {
        let budget = Budget::new(100);
        let mut charge = Charge::new(&budget);
        assert!(charge.set(60) && !charge.set(101) && charge.set(100));
        assert!(!budget.reserve(1));
        assert!(charge.set(10) && budget.reserve(90));
        drop(charge);
        assert_eq!(budget.allocated(), 90);
    }
}
