//! Retrying sets: locks whose addresses are no common order.
//!
//! - **Define:** a thread that acquires a [`RetrySet`] holds none of its locks while it
//!   waits for one of them, and no lock is there twice.
//! - **Enforce:** it waits for the first lock only and tries the others; if one is taken, it
//!   releases all before it waits for that one. The constructors check for duplicates, which
//!   it would retry for ever.
//! - **Consume:** waiting with nothing of the level held closes no circle.

use super::{Data, Distinct, DuplicateLock, Exclusive, Lockable, Locks, Permit, Shared, check};
use crate::ctx::{Context, child, permit};
use crate::{LockBefore, LockCtx};

/// A set of locks of one level that is acquired by waiting for one and trying the rest.
///
/// For locks that are known by different addresses (raw locks in memory that several
/// processes map), and for sets that are made for one rare acquisition. In each round some thread
/// makes progress; one thread can lose again and again to others.
///
/// The same lock may be acquired through a retrying set here and a sorted set there: neither relies
/// on the other's order.
#[derive(Debug)]
pub struct RetrySet<S> {
    locks: S,
}

impl<S: Locks> RetrySet<S> {
    /// Refuses the locks if two are the same one.
    #[inline]
    pub fn try_new(locks: S) -> Result<Self, DuplicateLock> {
        check(&locks, &locks.order())?;
        Ok(RetrySet { locks })
    }

    /// Makes a set of locks that cannot be the same, because their owner is here.
    #[inline]
    pub const fn new(locks: S) -> Self
    where
        S: Distinct,
    {
        RetrySet { locks }
    }

    /// Returns the members, in the order that they were given in.
    #[inline]
    pub const fn members(&self) -> &S {
        &self.locks
    }

    /// Returns the members, and dissolves the set.
    #[inline]
    pub fn into_members(self) -> S {
        self.locks
    }

    fn acquire<'k, M>(&'k self, permit: Permit<'k, S::Level>) -> S::Guard<'k>
    where
        S: Lockable<M>,
    {
        let count = self.locks.count();
        let mut wait_for = 0;
        'retry: loop {
            let mut slots = self.locks.slots();
            if count > 0 {
                self.locks.acquire(wait_for, &mut slots, permit);
            }
            for index in (0..count).filter(|index| *index != wait_for) {
                if !self.locks.try_acquire(index, &mut slots, permit) {
                    // Dropping the slots releases what is held; only then wait.
                    wait_for = index;
                    continue 'retry;
                }
            }
            return S::finish(&mut slots);
        }
    }

    #[inline]
    fn try_acquire<'k, M>(&'k self, permit: Permit<'k, S::Level>) -> Option<S::Guard<'k>>
    where
        S: Lockable<M>,
    {
        let mut slots = self.locks.slots();
        for index in 0..self.locks.count() {
            if !self.locks.try_acquire(index, &mut slots, permit) {
                return None;
            }
        }
        Some(S::finish(&mut slots))
    }
}

acquisitions!(RetrySet: Locks);
