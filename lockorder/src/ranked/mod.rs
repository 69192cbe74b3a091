//! Several locks of one level, one after the other, in the order of their ranks.
//!
//! A set ([`LockSet`](crate::LockSet)) takes its locks at once. Where the next lock is only known
//! when the one before is held (a walk down a tree, the rows that a transaction comes across), the
//! locks get a rank each, and a thread takes them in ascending order:
//!
//! ```
//! # mod levels { lockorder::lock_order! { pub domain Db; level Row; Db => Row; } }
//! use lockorder::{Ascending, Key, Mutex, Ranked};
//!
//! let rows = [10, 20, 30].map(|id| Ranked::new(id, Mutex::<levels::Row, i64>::new(0)));
//! let mut key = Key::<levels::Db>::take().expect("the key is free");
//! let mut root = key.ctx();
//! let mut rows_held = Ascending::new(&mut root);
//! let mut first = rows_held.lock(&rows[0])?;
//! let mut third = rows_held.lock(&rows[2])?;
//! *first -= 1;
//! *third += 1;
//! // The second one is out of order now, and that is an error value.
//! assert_eq!(rows_held.lock(&rows[1]).unwrap_err().wanted, 20);
//! // An attempt does not wait, so it may come in any order.
//! assert!(rows_held.try_lock(&rows[1]).is_some());
//! # Ok::<(), lockorder::OutOfRank<i32>>(())
//! ```
//!
//! Hand over hand: take the child, then drop the parent's guard. The ranks of the nodes grow on
//! the way (the depth, say), and nodes beside each other that are held together differ in a second
//! part of the rank. Nodes lie in `Arc`s and are taken with [`Ascending::write_arc`], whose guard
//! does not borrow the parent.
//!
//! - **Define:** a thread that waits for a [`Ranked`] lock holds, of its level, only ranked locks
//!   of a lower rank.
//! - **Enforce:** the rank lies beside the lock and does not change; its type is a [`Rank`], whose
//!   order is total; the lock inside can be acquired through its rank only, and is no member of
//!   a set. An [`Ascending`] borrows the context for as long as any of its guards, and remembers
//!   the highest rank that it has acquired.
//! - **Consume:** within the level, every thread waits for a rank above all that it holds.

mod ascending;
mod rank;

use core::fmt;

use lock_api::{RawMutex, RawRwLock};

pub use ascending::Ascending;
pub use rank::{OutOfRank, Rank};

use crate::ctx::{Context, child};
use crate::{
    Level, LockBefore, LockCtx, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
};

/// A [`Mutex`] or [`RwLock`] with a rank among the locks of its level. See the [module](self).
pub struct Ranked<K, X> {
    rank: K,
    lock: X,
}

impl<K, X> Ranked<K, X> {
    /// Gives a lock its rank. Locks of the same rank cannot be held together.
    #[inline]
    pub const fn new(rank: K, lock: X) -> Self {
        Ranked { rank, lock }
    }

    /// Returns the lock, without its rank.
    #[inline]
    pub fn into_inner(self) -> X {
        self.lock
    }
}

impl<K, X> Ranked<K, X> {
    /// Returns the lock. The exclusive borrow proves that it is free.
    #[inline]
    pub const fn get_mut(&mut self) -> &mut X {
        &mut self.lock
    }
}

impl<K: Copy, X> Ranked<K, X> {
    /// Returns the rank.
    #[inline]
    pub const fn rank(&self) -> K {
        self.rank
    }
}

/// The acquisitions of a ranked lock alone.
impl<K, L: Level, T, R: RawMutex> Ranked<K, Mutex<L, T, R>> {
    /// Acquires the lock alone of its level, blocking the thread. As [`Mutex::lock`].
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn lock<'k, C: Context>(
        &'k self,
        ctx: &'k mut C,
    ) -> (MutexGuard<'k, L, T, R>, LockCtx<'k, L>)
    where
        C::Place: LockBefore<L>,
    {
        (self.lock.acquire(), child(ctx))
    }

    /// Acquires the lock alone of its level, blocking the thread, for the time of `f`. As
    /// [`Mutex::with`].
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn with<C: Context, Ret>(
        &self,
        ctx: &mut C,
        f: impl FnOnce(&mut T, &mut LockCtx<'_, L>) -> Ret,
    ) -> Ret
    where
        C::Place: LockBefore<L>,
    {
        self.lock.with(ctx, f)
    }
}

/// The acquisitions of a ranked lock alone.
impl<K, L: Level, T, R: RawRwLock> Ranked<K, RwLock<L, T, R>> {
    /// Acquires the lock alone of its level, shared, blocking the thread. As [`RwLock::read`].
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn read<'k, C: Context>(
        &'k self,
        ctx: &'k mut C,
    ) -> (RwLockReadGuard<'k, L, T, R>, LockCtx<'k, L>)
    where
        C::Place: LockBefore<L>,
    {
        (self.lock.acquire_read(), child(ctx))
    }

    /// Acquires the lock alone of its level, exclusively, blocking the thread. As
    /// [`RwLock::write`].
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn write<'k, C: Context>(
        &'k self,
        ctx: &'k mut C,
    ) -> (RwLockWriteGuard<'k, L, T, R>, LockCtx<'k, L>)
    where
        C::Place: LockBefore<L>,
    {
        (self.lock.acquire_write(), child(ctx))
    }
}

impl<K: fmt::Debug, X: fmt::Debug> fmt::Debug for Ranked<K, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ranked")
            .field("rank", &self.rank)
            .field("lock", &self.lock)
            .finish()
    }
}
