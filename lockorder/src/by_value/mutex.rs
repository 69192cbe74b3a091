//! A mutex that is held together with its context.

use core::fmt;
use core::ops::{Deref, DerefMut};

use lock_api::{RawMutex, RawMutexFair, RawMutexTimed};

use crate::hold::{acquire_within, before_waiting};
use crate::mutex::{Mutex, MutexGuard};
use crate::{DefaultRawMutex, Level, LockBefore, LockCtx};

impl<L: Level, T: ?Sized, R: RawMutex> Mutex<L, T, R> {
    /// Acquires the lock, blocking the thread, and keeps the context in what is returned.
    ///
    /// The result does not borrow a local variable, so a function can return it:
    ///
    /// ```
    /// # mod levels { lockorder::lock_order! {
    /// #     pub domain App; level Table, Log; App => Table => Log; } }
    /// use levels::{App, Log, Table};
    /// use lockorder::{HeldMutex, Key, LockCtx, Mutex};
    ///
    /// struct Store { table: Mutex<Table, Vec<u32>>, log: Mutex<Log, u32> }
    ///
    /// impl Store {
    ///     fn open<'a>(&'a self, ctx: LockCtx<'a, App>) -> HeldMutex<'a, App, Table, Vec<u32>> {
    ///         let mut table = self.table.hold(ctx);
    ///         let (rows, mut ctx) = HeldMutex::split(&mut table);
    ///         self.log.with(&mut ctx, |opened, _| *opened += 1);
    ///         rows.push(0);
    ///         table
    ///     }
    /// }
    ///
    /// let store = Store { table: Mutex::new(Vec::new()), log: Mutex::new(0) };
    /// let mut key = Key::<App>::take().expect("the key is free");
    /// let mut table = store.open(key.ctx());
    /// table.push(7);
    /// assert_eq!(*table, [0, 7]);
    /// ```
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn hold<'k, P>(&'k self, ctx: LockCtx<'k, P>) -> HeldMutex<'k, P, L, T, R>
    where
        P: LockBefore<L>,
    {
        HeldMutex {
            guard: self.acquire(),
            ctx,
        }
    }

    /// Acquires the lock if it is free now; gives the context back if not.
    ///
    /// ```
    /// # mod levels { lockorder::lock_order! { pub domain App; level Table; App => Table; } }
    /// # use lockorder::{HeldMutex, Key, LockCtx, Mutex};
    /// # use levels::{App, Table};
    /// fn lock<'a>(
    ///     table: &'a Mutex<Table, u32>,
    ///     contended: &mut u32,
    ///     ctx: LockCtx<'a, App>,
    /// ) -> HeldMutex<'a, App, Table, u32> {
    ///     match table.try_hold(ctx) {
    ///         Ok(held) => held,
    ///         Err(ctx) => {
    ///             *contended += 1;
    ///             table.hold(ctx)
    ///         }
    ///     }
    /// }
    /// # let (table, mut contended) = (Mutex::new(3), 0);
    /// # let mut key = Key::<App>::take().expect("the key is free");
    /// # assert_eq!(*lock(&table, &mut contended, key.ctx()), 3);
    /// ```
    ///
    /// # Errors
    ///
    /// The context, if the lock is taken.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn try_hold<'k, P>(
        &'k self,
        ctx: LockCtx<'k, P>,
    ) -> Result<HeldMutex<'k, P, L, T, R>, LockCtx<'k, P>>
    where
        P: LockBefore<L>,
    {
        match self.try_acquire() {
            Some(guard) => Ok(HeldMutex { guard, ctx }),
            None => Err(ctx),
        }
    }

    /// Acquires the lock if that is possible before `timeout` has passed.
    ///
    /// # Errors
    ///
    /// The context, if it was not possible.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn try_hold_for<'k, P>(
        &'k self,
        ctx: LockCtx<'k, P>,
        timeout: R::Duration,
    ) -> Result<HeldMutex<'k, P, L, T, R>, LockCtx<'k, P>>
    where
        P: LockBefore<L>,
        R: RawMutexTimed,
    {
        let inner = self.raw();
        match acquire_within(|| inner.try_lock(), || inner.try_lock_for(timeout)) {
            Some(guard) => Ok(HeldMutex {
                guard: MutexGuard::new(guard),
                ctx,
            }),
            None => Err(ctx),
        }
    }
}

/// A held [`Mutex`] together with its context: see [`Mutex::hold`].
///
/// `P` is the place of the context that was consumed.
#[must_use = "the lock is released when this is dropped"]
pub struct HeldMutex<'k, P, L: Level, T: ?Sized, R: RawMutex = DefaultRawMutex> {
    guard: MutexGuard<'k, L, T, R>,
    ctx: LockCtx<'k, P>,
}

impl<'k, P, L: Level, T: ?Sized, R: RawMutex> HeldMutex<'k, P, L, T, R> {
    /// Returns the context in which to acquire what comes after `L`.
    #[inline]
    pub fn ctx(_held: &mut Self) -> LockCtx<'_, L> {
        LockCtx::mint()
    }

    /// Returns the value, and the context in which to acquire what comes after `L`.
    #[inline]
    pub fn split(held: &mut Self) -> (&mut T, LockCtx<'_, L>) {
        (&mut held.guard, LockCtx::mint())
    }

    /// Turns the held lock into a guard and a context that need not be dropped together.
    #[inline]
    pub fn into_parts(held: Self) -> (MutexGuard<'k, L, T, R>, LockCtx<'k, L>) {
        (held.guard, LockCtx::mint())
    }

    /// Releases the lock and gives the context back.
    #[inline]
    pub fn release(held: Self) -> LockCtx<'k, P> {
        let HeldMutex { guard, ctx } = held;
        drop(guard);
        ctx
    }

    /// Releases the lock, hands it to the thread that has waited longest, and gives the context
    /// back.
    #[inline]
    pub fn release_fair(held: Self) -> LockCtx<'k, P>
    where
        R: RawMutexFair,
    {
        let HeldMutex { guard, ctx } = held;
        MutexGuard::unlock_fair(guard);
        ctx
    }

    /// Lets a thread that waits for the lock have it, and acquires it again.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn bump(held: &mut Self)
    where
        R: RawMutexFair,
    {
        before_waiting::<L, false>();
        lock_api::MutexGuard::bump(held.guard.raw_mut());
    }

    /// Releases the lock while `f` runs, with the context that it was acquired with, and acquires
    /// it again afterwards, also if `f` panics.
    ///
    /// The value may have changed meanwhile.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn unlocked<U>(held: &mut Self, f: impl FnOnce(&mut LockCtx<'_, P>) -> U) -> U {
        before_waiting::<L, false>();
        let ctx = &mut held.ctx;
        held.guard.unlocked(|| {
            let result = f(ctx);
            before_waiting::<L, false>();
            result
        })
    }

    /// Releases the lock while `f` runs. The caller has checked that it can be acquired again.
    #[cfg(feature = "std")]
    pub(crate) fn unlocked_for<U>(held: &mut Self, f: impl FnOnce() -> U) -> U {
        held.guard.unlocked(f)
    }
}

impl<P, L: Level, T: ?Sized, R: RawMutex> Deref for HeldMutex<'_, P, L, T, R> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<P, L: Level, T: ?Sized, R: RawMutex> DerefMut for HeldMutex<'_, P, L, T, R> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<P, L: Level, T: ?Sized + fmt::Debug, R: RawMutex> fmt::Debug for HeldMutex<'_, P, L, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
