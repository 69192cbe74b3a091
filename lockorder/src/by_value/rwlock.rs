//! A reader-writer lock that is held together with its context.

use core::fmt;
use core::ops::{Deref, DerefMut};

use lock_api::{RawRwLock, RawRwLockDowngrade, RawRwLockUpgrade, RawRwLockUpgradeDowngrade};

use crate::hold::{Hold, acquire, acquire_now, before_waiting};
use crate::rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use crate::{DefaultRawRwLock, Level, LockBefore, LockCtx};

impl<L: Level, T: ?Sized, R: RawRwLock> RwLock<L, T, R> {
    /// Acquires the lock shared, blocking the thread, and keeps the context in what is returned.
    /// See [`Mutex::hold`](crate::Mutex::hold).
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn hold_read<'k, P>(&'k self, ctx: LockCtx<'k, P>) -> HeldRead<'k, P, L, T, R>
    where
        P: LockBefore<L>,
    {
        HeldRead {
            guard: self.acquire_read(),
            ctx,
        }
    }

    /// Acquires the lock shared if that is possible now; gives the context back if not.
    ///
    /// # Errors
    ///
    /// The context, if a writer has the lock or waits for it.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn try_hold_read<'k, P>(
        &'k self,
        ctx: LockCtx<'k, P>,
    ) -> Result<HeldRead<'k, P, L, T, R>, LockCtx<'k, P>>
    where
        P: LockBefore<L>,
    {
        match self.try_acquire_read() {
            Some(guard) => Ok(HeldRead { guard, ctx }),
            None => Err(ctx),
        }
    }

    /// Acquires the lock exclusively, blocking the thread, and keeps the context in what is
    /// returned. See [`Mutex::hold`](crate::Mutex::hold).
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn hold_write<'k, P>(&'k self, ctx: LockCtx<'k, P>) -> HeldWrite<'k, P, L, T, R>
    where
        P: LockBefore<L>,
    {
        HeldWrite {
            guard: self.acquire_write(),
            ctx,
        }
    }

    /// Acquires the lock exclusively if it is free now; gives the context back if not.
    ///
    /// # Errors
    ///
    /// The context, if the lock is taken.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn try_hold_write<'k, P>(
        &'k self,
        ctx: LockCtx<'k, P>,
    ) -> Result<HeldWrite<'k, P, L, T, R>, LockCtx<'k, P>>
    where
        P: LockBefore<L>,
    {
        match self.try_acquire_write() {
            Some(guard) => Ok(HeldWrite { guard, ctx }),
            None => Err(ctx),
        }
    }

    /// Acquires the lock shared, and so that this thread alone can make that an exclusive hold
    /// without releasing it.
    ///
    /// ```
    /// # mod levels { lockorder::lock_order! { pub domain App; level Names; App => Names; } }
    /// use lockorder::{HeldUpgradable, Key, RwLock};
    /// use std::collections::HashMap;
    /// static NAMES: std::sync::LazyLock<RwLock<levels::Names, HashMap<u32, String>>> =
    ///     std::sync::LazyLock::new(Default::default);
    ///
    /// let mut key = Key::<levels::App>::take().expect("the key is free");
    /// let names = NAMES.hold_upgradable(key.ctx());
    /// if !names.contains_key(&1) {
    ///     HeldUpgradable::upgrade(names).insert(1, "one".into());
    /// }
    /// ```
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn hold_upgradable<'k, P>(&'k self, ctx: LockCtx<'k, P>) -> HeldUpgradable<'k, P, L, T, R>
    where
        P: LockBefore<L>,
        R: RawRwLockUpgrade,
    {
        let inner = self.raw();
        let (guard, hold) = acquire(|| inner.try_upgradable_read(), || inner.upgradable_read());
        HeldUpgradable { guard, hold, ctx }
    }

    /// Acquires the lock upgradably if that is possible now; gives the context back if not.
    ///
    /// # Errors
    ///
    /// The context, if the lock cannot be had.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn try_hold_upgradable<'k, P>(
        &'k self,
        ctx: LockCtx<'k, P>,
    ) -> Result<HeldUpgradable<'k, P, L, T, R>, LockCtx<'k, P>>
    where
        P: LockBefore<L>,
        R: RawRwLockUpgrade,
    {
        match acquire_now(self.raw().try_upgradable_read()) {
            Some((guard, hold)) => Ok(HeldUpgradable { guard, hold, ctx }),
            None => Err(ctx),
        }
    }
}

/// The common part of the two kinds of held reader-writer locks.
macro_rules! held {
    ($(#[$attribute:meta])* $held:ident: $guard:ident) => {
        $(#[$attribute])*
        #[must_use = "the lock is released when this is dropped"]
        pub struct $held<'k, P, L: Level, T: ?Sized, R: RawRwLock = DefaultRawRwLock> {
            guard: $guard<'k, L, T, R>,
            ctx: LockCtx<'k, P>,
        }

        impl<'k, P, L: Level, T: ?Sized, R: RawRwLock> $held<'k, P, L, T, R> {
            /// Returns the context in which to acquire what comes after `L`.
            #[inline]
            pub fn ctx(_held: &mut Self) -> LockCtx<'_, L> {
                LockCtx::mint()
            }

            /// Turns the held lock into a guard and a context that need not be dropped together.
            #[inline]
            pub fn into_parts(held: Self) -> ($guard<'k, L, T, R>, LockCtx<'k, L>) {
                (held.guard, LockCtx::mint())
            }

            /// Releases the lock and gives the context back.
            #[inline]
            pub fn release(held: Self) -> LockCtx<'k, P> {
                let $held { guard, ctx } = held;
                drop(guard);
                ctx
            }

            /// Releases the lock while `f` runs, with the context that it was acquired with, and
            /// acquires it again afterwards, also if `f` panics.
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
        }

        impl<P, L: Level, T: ?Sized, R: RawRwLock> Deref for $held<'_, P, L, T, R> {
            type Target = T;

            #[inline]
            fn deref(&self) -> &T {
                &self.guard
            }
        }

        impl<P, L: Level, T: ?Sized + fmt::Debug, R: RawRwLock> fmt::Debug
            for $held<'_, P, L, T, R>
        {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (**self).fmt(f)
            }
        }
    };
}

held! {
    /// A [`RwLock`] held shared, together with its context: see [`RwLock::hold_read`].
    HeldRead: RwLockReadGuard
}
held! {
    /// A [`RwLock`] held exclusively, together with its context: see [`RwLock::hold_write`].
    HeldWrite: RwLockWriteGuard
}

impl<'k, P, L: Level, T: ?Sized, R: RawRwLock> HeldRead<'k, P, L, T, R> {
    /// Returns the value, and the context in which to acquire what comes after `L`.
    #[inline]
    pub fn split(held: &mut Self) -> (&T, LockCtx<'_, L>) {
        (&held.guard, LockCtx::mint())
    }
}

impl<'k, P, L: Level, T: ?Sized, R: RawRwLock> HeldWrite<'k, P, L, T, R> {
    /// Returns the value, and the context in which to acquire what comes after `L`.
    #[inline]
    pub fn split(held: &mut Self) -> (&mut T, LockCtx<'_, L>) {
        (&mut held.guard, LockCtx::mint())
    }

    /// Turns the exclusive hold into a shared one, without a moment in which the lock is free.
    #[inline]
    pub fn downgrade(held: Self) -> HeldRead<'k, P, L, T, R>
    where
        R: RawRwLockDowngrade,
    {
        HeldRead {
            guard: RwLockWriteGuard::downgrade(held.guard),
            ctx: held.ctx,
        }
    }
}

impl<P, L: Level, T: ?Sized, R: RawRwLock> DerefMut for HeldWrite<'_, P, L, T, R> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// A [`RwLock`] held shared, and upgradable: see [`RwLock::hold_upgradable`].
///
/// Other threads can read at the same time; at most one holds the lock upgradably.
#[must_use = "the lock is released when this is dropped"]
pub struct HeldUpgradable<'k, P, L: Level, T: ?Sized, R: RawRwLockUpgrade = DefaultRawRwLock> {
    /// Dropped first: what is timed includes the release.
    guard: lock_api::RwLockUpgradableReadGuard<'k, R, T>,
    hold: Hold<L>,
    ctx: LockCtx<'k, P>,
}

impl<'k, P, L: Level, T: ?Sized, R: RawRwLockUpgrade> HeldUpgradable<'k, P, L, T, R> {
    /// Returns the context in which to acquire what comes after `L`.
    #[inline]
    pub fn ctx(_held: &mut Self) -> LockCtx<'_, L> {
        LockCtx::mint()
    }

    /// Returns the value, and the context in which to acquire what comes after `L`.
    #[inline]
    pub fn split(held: &mut Self) -> (&T, LockCtx<'_, L>) {
        (&held.guard, LockCtx::mint())
    }

    /// Releases the lock and gives the context back.
    #[inline]
    pub fn release(held: Self) -> LockCtx<'k, P> {
        let HeldUpgradable { guard, hold, ctx } = held;
        drop(guard);
        hold.end();
        ctx
    }

    /// Waits for the other readers to leave, and makes the hold exclusive. The value does not
    /// change meanwhile.
    ///
    /// The thread holds nothing of a later level, which would borrow `held`. The readers that are waited for
    /// can only wait for later levels, so they leave.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn upgrade(held: Self) -> HeldWrite<'k, P, L, T, R> {
        before_waiting::<L, false>();
        let HeldUpgradable { guard, hold, ctx } = held;
        let guard = lock_api::RwLockUpgradableReadGuard::upgrade(guard);
        HeldWrite {
            guard: RwLockWriteGuard::new((guard, hold)),
            ctx,
        }
    }

    /// Makes the hold exclusive if there are no other readers now.
    ///
    /// # Errors
    ///
    /// The lock, held as before.
    #[inline]
    pub fn try_upgrade(held: Self) -> Result<HeldWrite<'k, P, L, T, R>, Self> {
        let HeldUpgradable { guard, hold, ctx } = held;
        match lock_api::RwLockUpgradableReadGuard::try_upgrade(guard) {
            Ok(guard) => Ok(HeldWrite {
                guard: RwLockWriteGuard::new((guard, hold)),
                ctx,
            }),
            Err(guard) => Err(HeldUpgradable { guard, hold, ctx }),
        }
    }

    /// Gives the right to upgrade up, and goes on reading.
    #[inline]
    pub fn downgrade(held: Self) -> HeldRead<'k, P, L, T, R>
    where
        R: RawRwLockUpgradeDowngrade,
    {
        let HeldUpgradable { guard, hold, ctx } = held;
        let guard = lock_api::RwLockUpgradableReadGuard::downgrade(guard);
        HeldRead {
            guard: RwLockReadGuard::new((guard, hold)),
            ctx,
        }
    }
}

impl<P, L: Level, T: ?Sized, R: RawRwLockUpgrade> Deref for HeldUpgradable<'_, P, L, T, R> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<P, L: Level, T: ?Sized + fmt::Debug, R: RawRwLockUpgrade> fmt::Debug
    for HeldUpgradable<'_, P, L, T, R>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
