//! A reader-writer lock that knows its level.
//!
//! - **Define:** a [`RwLock<L, T>`] is a raw reader-writer lock whose every acquisition that
//!   blocks, shared or exclusive, has a context below which nothing of level `L` or later is
//!   held. A read counts as an acquisition: a second read of the same lock on a thread can
//!   wait for a writer that waits for the first.
//! - **Enforce:** the raw lock is private; each acquisition borrows a context `P` with
//!   `P: LockBefore<L>` for as long as the lock is held.
//! - **Consume:** the context handed to the closure, or returned beside the guard, is of
//!   level `L`.

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use lock_api::{RawRwLock, RawRwLockDowngrade, RawRwLockFair, RawRwLockTimed};

use crate::ctx::{LockCtx, OnThisThread};
use crate::hold::{Hold, acquire, acquire_now, acquire_within};
use crate::set::Permit;
use crate::{DefaultRawRwLock, Level, LockBefore};

/// A reader-writer lock of level `L`, as large as the raw lock and its data.
///
/// `R` is the raw lock; see [`Mutex`](crate::Mutex) for what is asked of it.
pub struct RwLock<L, T: ?Sized, R = DefaultRawRwLock> {
    level: PhantomData<fn() -> L>,
    inner: lock_api::RwLock<R, T>,
}

impl<L, T, R: RawRwLock> RwLock<L, T, R> {
    /// A free lock.
    #[inline]
    pub const fn new(value: T) -> Self {
        RwLock {
            level: PhantomData,
            inner: lock_api::RwLock::new(value),
        }
    }

    /// The value. Owning the lock proves that nobody holds it.
    #[inline]
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }

    /// A lock around a raw lock that exists already, and that must not be locked.
    #[inline]
    pub const fn from_raw(raw: R, value: T) -> Self {
        RwLock {
            level: PhantomData,
            inner: lock_api::RwLock::from_raw(raw, value),
        }
    }
}

impl<L: Level, T: ?Sized, R: RawRwLock> RwLock<L, T, R> {
    /// Acquires the lock shared, blocking the thread, for the time of `f`.
    ///
    /// `f` gets the value, and the context in which to acquire what comes after `L`.
    #[inline]
    pub fn with_read<P, Ret>(
        &self,
        ctx: &mut LockCtx<'_, P>,
        f: impl FnOnce(&T, &mut LockCtx<'_, L>) -> Ret,
    ) -> Ret
    where
        P: LockBefore<L>,
    {
        let (guard, mut child) = self.read(ctx);
        f(&guard, &mut child)
    }

    /// [`with_read`](RwLock::with_read) if no writer has it or waits for it now, else `None`, `f` not being called.
    #[inline]
    pub fn try_with_read<P, Ret>(
        &self,
        ctx: &mut LockCtx<'_, P>,
        f: impl FnOnce(&T, &mut LockCtx<'_, L>) -> Ret,
    ) -> Option<Ret>
    where
        P: LockBefore<L>,
    {
        let (guard, mut child) = self.try_read(ctx)?;
        Some(f(&guard, &mut child))
    }

    /// Acquires the lock shared, blocking the thread. See [`Mutex::lock`](crate::Mutex::lock)
    /// for what the guard and the context borrow.
    #[inline]
    pub fn read<'k, P>(
        &'k self,
        ctx: &'k mut LockCtx<'_, P>,
    ) -> (RwLockReadGuard<'k, L, T, R>, LockCtx<'k, L>)
    where
        P: LockBefore<L>,
    {
        (self.hold_read(), ctx.descend())
    }

    /// Acquires the lock shared if no writer has it or waits for it now.
    #[inline]
    pub fn try_read<'k, P>(
        &'k self,
        ctx: &'k mut LockCtx<'_, P>,
    ) -> Option<(RwLockReadGuard<'k, L, T, R>, LockCtx<'k, L>)>
    where
        P: LockBefore<L>,
    {
        Some((self.try_hold_read()?, ctx.descend()))
    }

    /// Acquires the lock shared if that is possible before `timeout` has passed.
    #[inline]
    pub fn try_read_for<'k, P>(
        &'k self,
        ctx: &'k mut LockCtx<'_, P>,
        timeout: R::Duration,
    ) -> Option<(RwLockReadGuard<'k, L, T, R>, LockCtx<'k, L>)>
    where
        P: LockBefore<L>,
        R: RawRwLockTimed,
    {
        let now = || self.inner.try_read();
        let guard = acquire_within(now, || self.inner.try_read_for(timeout))?;
        Some((RwLockReadGuard::new(guard), ctx.descend()))
    }

    /// Acquires the lock shared if that is possible before the time `deadline`.
    #[inline]
    pub fn try_read_until<'k, P>(
        &'k self,
        ctx: &'k mut LockCtx<'_, P>,
        deadline: R::Instant,
    ) -> Option<(RwLockReadGuard<'k, L, T, R>, LockCtx<'k, L>)>
    where
        P: LockBefore<L>,
        R: RawRwLockTimed,
    {
        let now = || self.inner.try_read();
        let guard = acquire_within(now, || self.inner.try_read_until(deadline))?;
        Some((RwLockReadGuard::new(guard), ctx.descend()))
    }

    /// Acquires the lock exclusively, blocking the thread, for the time of `f`.
    ///
    /// `f` gets the value, and the context in which to acquire what comes after `L`.
    #[inline]
    pub fn with_write<P, Ret>(
        &self,
        ctx: &mut LockCtx<'_, P>,
        f: impl FnOnce(&mut T, &mut LockCtx<'_, L>) -> Ret,
    ) -> Ret
    where
        P: LockBefore<L>,
    {
        let (mut guard, mut child) = self.write(ctx);
        f(&mut guard, &mut child)
    }

    /// [`with_write`](RwLock::with_write) if nobody has it now, else `None`, `f` not being called.
    #[inline]
    pub fn try_with_write<P, Ret>(
        &self,
        ctx: &mut LockCtx<'_, P>,
        f: impl FnOnce(&mut T, &mut LockCtx<'_, L>) -> Ret,
    ) -> Option<Ret>
    where
        P: LockBefore<L>,
    {
        let (mut guard, mut child) = self.try_write(ctx)?;
        Some(f(&mut guard, &mut child))
    }

    /// Acquires the lock exclusively, blocking the thread. See [`Mutex::lock`](crate::Mutex::lock)
    /// for what the guard and the context borrow.
    #[inline]
    pub fn write<'k, P>(
        &'k self,
        ctx: &'k mut LockCtx<'_, P>,
    ) -> (RwLockWriteGuard<'k, L, T, R>, LockCtx<'k, L>)
    where
        P: LockBefore<L>,
    {
        (self.hold_write(), ctx.descend())
    }

    /// Acquires the lock exclusively if nobody has it now.
    #[inline]
    pub fn try_write<'k, P>(
        &'k self,
        ctx: &'k mut LockCtx<'_, P>,
    ) -> Option<(RwLockWriteGuard<'k, L, T, R>, LockCtx<'k, L>)>
    where
        P: LockBefore<L>,
    {
        Some((self.try_hold_write()?, ctx.descend()))
    }

    /// Acquires the lock exclusively if that is possible before `timeout` has passed.
    #[inline]
    pub fn try_write_for<'k, P>(
        &'k self,
        ctx: &'k mut LockCtx<'_, P>,
        timeout: R::Duration,
    ) -> Option<(RwLockWriteGuard<'k, L, T, R>, LockCtx<'k, L>)>
    where
        P: LockBefore<L>,
        R: RawRwLockTimed,
    {
        let now = || self.inner.try_write();
        let guard = acquire_within(now, || self.inner.try_write_for(timeout))?;
        Some((RwLockWriteGuard::new(guard), ctx.descend()))
    }

    /// Acquires the lock exclusively if that is possible before the time `deadline`.
    #[inline]
    pub fn try_write_until<'k, P>(
        &'k self,
        ctx: &'k mut LockCtx<'_, P>,
        deadline: R::Instant,
    ) -> Option<(RwLockWriteGuard<'k, L, T, R>, LockCtx<'k, L>)>
    where
        P: LockBefore<L>,
        R: RawRwLockTimed,
    {
        let now = || self.inner.try_write();
        let guard = acquire_within(now, || self.inner.try_write_until(deadline))?;
        Some((RwLockWriteGuard::new(guard), ctx.descend()))
    }
}

impl<L: Level, T: ?Sized, R: RawRwLock> RwLock<L, T, R> {
    #[inline]
    fn hold_read(&self) -> RwLockReadGuard<'_, L, T, R> {
        RwLockReadGuard::new(acquire(|| self.inner.try_read(), || self.inner.read()))
    }

    #[inline]
    fn try_hold_read(&self) -> Option<RwLockReadGuard<'_, L, T, R>> {
        acquire_now(self.inner.try_read()).map(RwLockReadGuard::new)
    }

    #[inline]
    fn hold_write(&self) -> RwLockWriteGuard<'_, L, T, R> {
        RwLockWriteGuard::new(acquire(|| self.inner.try_write(), || self.inner.write()))
    }

    #[inline]
    fn try_hold_write(&self) -> Option<RwLockWriteGuard<'_, L, T, R>> {
        acquire_now(self.inner.try_write()).map(RwLockWriteGuard::new)
    }

    /// Acquires the lock as a member of a set.
    #[inline]
    pub(crate) fn read_permitted<'k>(
        &'k self,
        _permit: Permit<'k, L>,
    ) -> RwLockReadGuard<'k, L, T, R> {
        self.hold_read()
    }

    /// Acquires the lock as a member of a set, if that is possible now.
    #[inline]
    pub(crate) fn try_read_permitted<'k>(
        &'k self,
        _permit: Permit<'k, L>,
    ) -> Option<RwLockReadGuard<'k, L, T, R>> {
        self.try_hold_read()
    }

    /// Acquires the lock as a member of a set.
    #[inline]
    pub(crate) fn write_permitted<'k>(
        &'k self,
        _permit: Permit<'k, L>,
    ) -> RwLockWriteGuard<'k, L, T, R> {
        self.hold_write()
    }

    /// Acquires the lock as a member of a set, if that is possible now.
    #[inline]
    pub(crate) fn try_write_permitted<'k>(
        &'k self,
        _permit: Permit<'k, L>,
    ) -> Option<RwLockWriteGuard<'k, L, T, R>> {
        self.try_hold_write()
    }
}

impl<L, T: ?Sized, R: RawRwLock> RwLock<L, T, R> {
    /// The value. The exclusive borrow proves that nobody holds the lock.
    #[inline]
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }

    /// Whether somebody holds the lock: true or false at some moment of the call, no more.
    #[inline]
    pub fn is_locked(&self) -> bool {
        self.inner.is_locked()
    }
}

impl<L, T: Default, R: RawRwLock> Default for RwLock<L, T, R> {
    fn default() -> Self {
        RwLock::new(T::default())
    }
}

impl<L, T, R: RawRwLock> From<T> for RwLock<L, T, R> {
    fn from(value: T) -> Self {
        RwLock::new(value)
    }
}

/// Does not show the value: that would be an acquisition without a context.
impl<L: Level, T: ?Sized, R: RawRwLock> fmt::Debug for RwLock<L, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RwLock")
            .field("level", &L::NAME)
            .field("locked", &self.is_locked())
            .finish_non_exhaustive()
    }
}

/// A [`RwLock`] held shared, released on drop. Borrows the context that it was acquired with.
#[must_use = "the lock is released when its guard is dropped"]
pub struct RwLockReadGuard<'k, L: Level, T: ?Sized, R: RawRwLock = DefaultRawRwLock> {
    /// Dropped first: what is timed includes the release.
    inner: lock_api::RwLockReadGuard<'k, R, T>,
    hold: Hold<L>,
    thread: OnThisThread,
}

impl<'k, L: Level, T: ?Sized, R: RawRwLock> RwLockReadGuard<'k, L, T, R> {
    #[inline]
    fn new((inner, hold): (lock_api::RwLockReadGuard<'k, R, T>, Hold<L>)) -> Self {
        RwLockReadGuard {
            inner,
            hold,
            thread: PhantomData,
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

/// A [`RwLock`] held exclusively, released on drop. Borrows the context that it was acquired with.
#[must_use = "the lock is released when its guard is dropped"]
pub struct RwLockWriteGuard<'k, L: Level, T: ?Sized, R: RawRwLock = DefaultRawRwLock> {
    /// Dropped first: what is timed includes the release.
    inner: lock_api::RwLockWriteGuard<'k, R, T>,
    hold: Hold<L>,
    thread: OnThisThread,
}

impl<'k, L: Level, T: ?Sized, R: RawRwLock> RwLockWriteGuard<'k, L, T, R> {
    #[inline]
    fn new((inner, hold): (lock_api::RwLockWriteGuard<'k, R, T>, Hold<L>)) -> Self {
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
