//! Ascending chains of ranked locks.

#[cfg(feature = "alloc")]
use alloc::sync::Arc;
use core::fmt;

use lock_api::{RawMutex, RawRwLock};

use super::{OutOfRank, Rank, Ranked};
#[cfg(feature = "alloc")]
use crate::arc_guard::ArcGuard;
use crate::ctx::{Context, child};
use crate::{
    Level, LockBefore, LockCtx, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
};

/// The right to acquire ranked locks of level `L`, each of a higher rank than the one before.
///
/// The guards live as long as the context that this was made from is borrowed, and can be dropped
/// in any order. What comes after `L` is acquired with [`ctx`](Ascending::ctx).
pub struct Ascending<'k, L, K> {
    ctx: LockCtx<'k, L>,
    highest: Option<K>,
}

impl<'k, L: Level, K> Ascending<'k, L, K> {
    /// Begins a chain: none of its level is held.
    #[inline]
    pub fn new<C: Context>(ctx: &'k mut C) -> Self
    where
        K: Rank,
        C::Place: LockBefore<L>,
    {
        Self::begin(child(ctx))
    }

    /// Begins a chain with a context that is given up for it, so that the chain and its guards can
    /// be returned from a function.
    #[inline]
    pub fn from_ctx<P>(ctx: LockCtx<'k, P>) -> Self
    where
        K: Rank,
        P: LockBefore<L>,
    {
        Self::begin(ctx.into_descend())
    }

    #[inline]
    fn begin(ctx: LockCtx<'k, L>) -> Self {
        Ascending { ctx, highest: None }
    }
}

impl<L: Level, K: Rank> Ascending<'_, L, K> {
    /// Returns the highest rank that was acquired, which the next one must be above.
    #[inline]
    pub fn highest(&self) -> Option<K> {
        self.highest
    }

    /// Returns the context in which to acquire what comes after `L`. While something of a later
    /// level is held, the chain does not go on.
    #[inline]
    pub fn ctx(&mut self) -> LockCtx<'_, L> {
        self.ctx.reborrow()
    }

    /// Refuses a rank that is not above all that were acquired.
    #[inline]
    fn check(&self, wanted: K) -> Result<(), OutOfRank<K>> {
        match self.highest {
            Some(held) if wanted <= held => Err(OutOfRank { held, wanted }),
            _ => Ok(()),
        }
    }

    #[inline]
    fn acquired(&mut self, rank: K) {
        self.highest = self.highest.max(Some(rank));
    }
}

macro_rules! acquisitions {
    ($lock:ident, $raw:ident: $(
        $(#[$doc:meta])* $name:ident, $try_name:ident, $arc_name:ident, $try_arc_name:ident
        => $guard:ident, $acquire:ident, $try_acquire:ident;
    )*) => {$(
        impl<'k, L: Level, K: Rank> Ascending<'k, L, K> {
            $(#[$doc])*
            /// blocking the thread.
            ///
            /// # Errors
            ///
            /// [`OutOfRank`] if the rank is not above all that were acquired. Nothing is waited
            /// for then.
            #[inline]
            #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
            pub fn $name<T, R: $raw>(
                &mut self,
                ranked: &'k Ranked<K, $lock<L, T, R>>,
            ) -> Result<$guard<'k, L, T, R>, OutOfRank<K>> {
                self.check(ranked.rank)?;
                let guard = ranked.lock.$acquire();
                self.acquired(ranked.rank);
                Ok(guard)
            }

            $(#[$doc])*
            /// if that is possible now, whatever its rank.
            #[inline]
            #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
            pub fn $try_name<T, R: $raw>(
                &mut self,
                ranked: &'k Ranked<K, $lock<L, T, R>>,
            ) -> Option<$guard<'k, L, T, R>> {
                let guard = ranked.lock.$try_acquire()?;
                self.acquired(ranked.rank);
                Some(guard)
            }

            $(#[$doc])*
            /// blocking the thread, and keeps its `Arc` in the guard.
            ///
            /// # Errors
            ///
            /// [`OutOfRank`] if the rank is not above all that were acquired. Nothing is waited
            /// for then.
            #[cfg(feature = "alloc")]
            #[inline]
            #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
            #[allow(clippy::type_complexity)]
            pub fn $arc_name<T: 'k, R: $raw + 'k>(
                &mut self,
                ranked: &Arc<Ranked<K, $lock<L, T, R>>>,
            ) -> Result<
                ArcGuard<Ranked<K, $lock<L, T, R>>, $guard<'k, L, T, R>>,
                OutOfRank<K>,
            >
            where
                K: 'k,
            {
                self.check(ranked.rank)?;
                let guard = ArcGuard::new(ranked, |ranked| Ok(ranked.lock.$acquire()))?;
                self.acquired(ranked.rank);
                Ok(guard)
            }

            $(#[$doc])*
            /// if that is possible now, whatever its rank, and keeps its `Arc` in the guard.
            #[cfg(feature = "alloc")]
            #[inline]
            #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
            #[allow(clippy::type_complexity)]
            pub fn $try_arc_name<T: 'k, R: $raw + 'k>(
                &mut self,
                ranked: &Arc<Ranked<K, $lock<L, T, R>>>,
            ) -> Option<ArcGuard<Ranked<K, $lock<L, T, R>>, $guard<'k, L, T, R>>>
            where
                K: 'k,
            {
                let guard =
                    ArcGuard::new(ranked, |ranked| ranked.lock.$try_acquire().ok_or(())).ok()?;
                self.acquired(ranked.rank);
                Some(guard)
            }
        }
    )*};
}

acquisitions! { Mutex, RawMutex:
    /// Acquires the lock,
    lock, try_lock, lock_arc, try_lock_arc => MutexGuard, acquire, try_acquire;
}
acquisitions! { RwLock, RawRwLock:
    /// Acquires the lock shared,
    read, try_read, read_arc, try_read_arc => RwLockReadGuard, acquire_read, try_acquire_read;
    /// Acquires the lock exclusively,
    write, try_write, write_arc, try_write_arc
        => RwLockWriteGuard, acquire_write, try_acquire_write;
}

impl<L: Level, K: fmt::Debug> fmt::Debug for Ascending<'_, L, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ascending")
            .field("level", &L::NAME)
            .field("highest", &self.highest)
            .finish()
    }
}
