//! The guards of a reader-writer lock.

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use lock_api::{RawRwLock, RawRwLockDowngrade, RawRwLockFair};

use crate::ctx::OnThisThread;
use crate::hold::Hold;
use crate::mapped::{MappedRwLockReadGuard, MappedRwLockWriteGuard};
use crate::{DefaultRawRwLock, Level};

/// A [`RwLock`](crate::RwLock) held shared, released on drop. Borrows the context that it was acquired with.
#[must_use = "the lock is released when its guard is dropped"]
pub struct RwLockReadGuard<'k, L: Level, T: ?Sized, R: RawRwLock = DefaultRawRwLock> {
    /// Dropped first: what is timed includes the release.
    inner: lock_api::RwLockReadGuard<'k, R, T>,
    hold: Hold<L>,
    thread: OnThisThread,
}

impl<'k, L: Level, T: ?Sized, R: RawRwLock> RwLockReadGuard<'k, L, T, R> {
    #[inline]
    pub(crate) fn new((inner, hold): (lock_api::RwLockReadGuard<'k, R, T>, Hold<L>)) -> Self {
        RwLockReadGuard {
            inner,
            hold,
            thread: PhantomData,
        }
    }

    /// Releases the lock while `f` runs, and acquires it again. The caller has established that
    /// nothing of its level or later is held then.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub(crate) fn unlocked<U>(&mut self, f: impl FnOnce() -> U) -> U {
        let _paused = self.hold.pause();
        lock_api::RwLockReadGuard::unlocked(&mut self.inner, f)
    }

    /// Turns the guard into one of a part of the value. See
    /// [`MutexGuard::map`](crate::MutexGuard::map).
    #[inline]
    pub fn map<U: ?Sized>(
        guard: Self,
        f: impl FnOnce(&T) -> &U,
    ) -> MappedRwLockReadGuard<'k, L, U, R> {
        let RwLockReadGuard { inner, hold, .. } = guard;
        MappedRwLockReadGuard::new(lock_api::RwLockReadGuard::map(inner, f), hold)
    }

    /// Turns the guard into one of a part of the value, if `f` finds the part.
    ///
    /// # Errors
    ///
    /// The guard, if `f` returns `None`.
    #[inline]
    pub fn try_map<U: ?Sized>(
        guard: Self,
        f: impl FnOnce(&T) -> Option<&U>,
    ) -> Result<MappedRwLockReadGuard<'k, L, U, R>, Self> {
        let RwLockReadGuard {
            inner,
            hold,
            thread,
        } = guard;
        match lock_api::RwLockReadGuard::try_map(inner, f) {
            Ok(inner) => Ok(MappedRwLockReadGuard::new(inner, hold)),
            Err(inner) => Err(RwLockReadGuard {
                inner,
                hold,
                thread,
            }),
        }
    }

    /// Releases the lock and hands it to the thread that has waited longest.
    #[inline]
    pub fn unlock_fair(guard: Self)
    where
        R: RawRwLockFair,
    {
        let RwLockReadGuard { inner, hold, .. } = guard;
        lock_api::RwLockReadGuard::unlock_fair(inner);
        hold.end();
    }
}

impl<L: Level, T: ?Sized, R: RawRwLock> Deref for RwLockReadGuard<'_, L, T, R> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<L: Level, T: ?Sized + fmt::Debug, R: RawRwLock> fmt::Debug for RwLockReadGuard<'_, L, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A [`RwLock`](crate::RwLock) held exclusively, released on drop. Borrows the context that it was acquired with.
#[must_use = "the lock is released when its guard is dropped"]
pub struct RwLockWriteGuard<'k, L: Level, T: ?Sized, R: RawRwLock = DefaultRawRwLock> {
    /// Dropped first: what is timed includes the release.
    inner: lock_api::RwLockWriteGuard<'k, R, T>,
    hold: Hold<L>,
    thread: OnThisThread,
}

impl<'k, L: Level, T: ?Sized, R: RawRwLock> RwLockWriteGuard<'k, L, T, R> {
    #[inline]
    pub(crate) fn new((inner, hold): (lock_api::RwLockWriteGuard<'k, R, T>, Hold<L>)) -> Self {
        RwLockWriteGuard {
            inner,
            hold,
            thread: PhantomData,
        }
    }

    /// Turns the exclusive hold into a shared one, without a moment in which the lock is
    /// free. The context beside the guard stays what it is.
    #[inline]
    pub fn downgrade(guard: Self) -> RwLockReadGuard<'k, L, T, R>
    where
        R: RawRwLockDowngrade,
    {
        let RwLockWriteGuard { inner, hold, .. } = guard;
        RwLockReadGuard::new((lock_api::RwLockWriteGuard::downgrade(inner), hold))
    }

    /// Releases the lock while `f` runs, and acquires it again. The caller has established that
    /// nothing of its level or later is held then.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub(crate) fn unlocked<U>(&mut self, f: impl FnOnce() -> U) -> U {
        let _paused = self.hold.pause();
        lock_api::RwLockWriteGuard::unlocked(&mut self.inner, f)
    }

    /// Turns the guard into one of a part of the value. See
    /// [`MutexGuard::map`](crate::MutexGuard::map).
    #[inline]
    pub fn map<U: ?Sized>(
        guard: Self,
        f: impl FnOnce(&mut T) -> &mut U,
    ) -> MappedRwLockWriteGuard<'k, L, U, R> {
        let RwLockWriteGuard { inner, hold, .. } = guard;
        MappedRwLockWriteGuard::new(lock_api::RwLockWriteGuard::map(inner, f), hold)
    }

    /// Turns the guard into one of a part of the value, if `f` finds the part.
    ///
    /// # Errors
    ///
    /// The guard, if `f` returns `None`.
    #[inline]
    pub fn try_map<U: ?Sized>(
        guard: Self,
        f: impl FnOnce(&mut T) -> Option<&mut U>,
    ) -> Result<MappedRwLockWriteGuard<'k, L, U, R>, Self> {
        let RwLockWriteGuard {
            inner,
            hold,
            thread,
        } = guard;
        match lock_api::RwLockWriteGuard::try_map(inner, f) {
            Ok(inner) => Ok(MappedRwLockWriteGuard::new(inner, hold)),
            Err(inner) => Err(RwLockWriteGuard {
                inner,
                hold,
                thread,
            }),
        }
    }

    /// Releases the lock and hands it to the thread that has waited longest.
    #[inline]
    pub fn unlock_fair(guard: Self)
    where
        R: RawRwLockFair,
    {
        let RwLockWriteGuard { inner, hold, .. } = guard;
        lock_api::RwLockWriteGuard::unlock_fair(inner);
        hold.end();
    }
}

impl<L: Level, T: ?Sized, R: RawRwLock> Deref for RwLockWriteGuard<'_, L, T, R> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<L: Level, T: ?Sized + fmt::Debug, R: RawRwLock> fmt::Debug for RwLockWriteGuard<'_, L, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<L: Level, T: ?Sized, R: RawRwLock> DerefMut for RwLockWriteGuard<'_, L, T, R> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}
