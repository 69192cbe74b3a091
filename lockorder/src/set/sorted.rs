//! Sorted sets, of locks that are reachable elsewhere, too.
//!
//! - **Define:** a [`LockSet`] has its locks' indices in the order of their addresses, and
//!   no lock twice.
//! - **Enforce:** the constructors sort, and check or ask for [`Distinct`]; a member
//!   cannot be exchanged, and [`Anchored`] says that moving the set moves
//!   no lock.
//! - **Consume:** all threads take locks of one level by ascending address, whatever sets
//!   they made: two of them cannot wait for each other. An address cannot change meanwhile:
//!   both have the lock borrowed.

use super::{
    Anchored, Data, Distinct, DuplicateLock, Exclusive, Lockable, Locks, Order, Permit, Shape,
    Shared, check,
};
use crate::ctx::{Context, child, permit};
use crate::{LockBefore, LockCtx};

/// A set of locks of one level, acquired by ascending address.
///
/// ```
/// # mod levels { lockorder::lock_order! { pub domain Bank; level Account; Bank => Account; } }
/// use lockorder::{DuplicateLock, Key, LockSet, Mutex};
///
/// type Account = Mutex<levels::Account, i64>;
///
/// fn transfer(key: &mut Key<levels::Bank>, from: &Account, to: &Account, sum: i64)
///     -> Result<(), DuplicateLock>
/// {
///     // From here to there, or from there to here: the order is the same.
///     LockSet::try_new((from, to))?.with(&mut key.ctx(), |(from, to), _| {
///         *from -= sum;
///         *to += sum;
///     });
///     Ok(())
/// }
///
/// let (one, other) = (Account::new(100), Account::new(0));
/// let mut key = Key::take().expect("the key is free");
/// assert_eq!(transfer(&mut key, &one, &other, 30), Ok(()));
/// assert_eq!(transfer(&mut key, &other, &other, 30), Err(DuplicateLock { first: 0, second: 1 }));
/// assert_eq!((one.into_inner(), other.into_inner()), (70, 30));
/// ```
#[derive(Debug)]
pub struct LockSet<S: Shape> {
    locks: S,
    order: S::Order,
}

impl<S: Locks + Anchored> LockSet<S> {
    /// Sorts the locks, and refuses them if two are the same one.
    #[inline]
    pub fn try_new(locks: S) -> Result<Self, DuplicateLock> {
        let order = locks.order();
        check(&locks, &order)?;
        Ok(LockSet { locks, order })
    }

    /// Sorts locks that cannot be the same, because their owner is here.
    #[inline]
    pub fn new(locks: S) -> Self
    where
        S: Distinct,
    {
        let order = locks.order();
        LockSet { locks, order }
    }
}

impl<S: Locks> LockSet<S> {
    /// Returns the members, in the order that they were given in.
    #[inline]
    pub fn members(&self) -> &S {
        &self.locks
    }

    /// Returns the members, and dissolves the set.
    #[inline]
    pub fn into_members(self) -> S {
        self.locks
    }

    #[inline]
    fn acquire<'k, M>(&'k self, permit: Permit<'k, S::Level>) -> S::Guard<'k>
    where
        S: Lockable<M>,
    {
        if S::ASCENDING {
            return self.locks.acquire_by_index(permit);
        }
        let mut slots = self.locks.slots();
        for turn in 0..self.locks.count() {
            self.locks.acquire(self.order.at(turn), &mut slots, permit);
        }
        S::finish(&mut slots)
    }

    #[inline]
    fn try_acquire<'k, M>(&'k self, permit: Permit<'k, S::Level>) -> Option<S::Guard<'k>>
    where
        S: Lockable<M>,
    {
        let mut slots = self.locks.slots();
        for turn in 0..self.locks.count() {
            let index = self.order.at(turn);
            if !self.locks.try_acquire(index, &mut slots, permit) {
                return None;
            }
        }
        Some(S::finish(&mut slots))
    }
}

acquisitions!(LockSet: Locks);
