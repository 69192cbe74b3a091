//! A reader-writer lock that knows its level.
//!
//! - **Define:** a [`RwLock<L, T>`] is a raw reader-writer lock whose every acquisition that
//!   blocks, shared or exclusive, has a context below which nothing of level `L` or later is
//!   held. A read counts as an acquisition: a second read of the same lock on a thread can
//!   wait for a writer that waits for the first.
//! - **Enforce:** the raw lock is private; each acquisition borrows a context whose place
//!   `P` has `P: LockBefore<L>`, for as long as the lock is held.
//! - **Consume:** the context handed to the closure, or returned beside the guard, is of
//!   level `L`.

mod guards;

use core::fmt;
use core::marker::PhantomData;

use lock_api::{RawRwLock, RawRwLockTimed};

pub use guards::{RwLockReadGuard, RwLockWriteGuard};

use crate::ctx::{Context, LockCtx, child};
use crate::hold::{acquire, acquire_now, acquire_within};
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
    /// Creates a free lock.
    #[inline]
    pub const fn new(value: T) -> Self
    where
        L: Level,
    {
        RwLock {
            level: PhantomData,
            inner: lock_api::RwLock::new(value),
        }
    }

    /// Returns the value. Owning the lock proves that it is free.
    #[inline]
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }

    /// Creates a lock around a raw lock that exists already, and that must not be locked.
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
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn with_read<C: Context, Ret>(
        &self,
        ctx: &mut C,
        f: impl FnOnce(&T, &mut LockCtx<'_, L>) -> Ret,
    ) -> Ret
    where
        C::Place: LockBefore<L>,
    {
        let (guard, mut child) = self.read(ctx);
        f(&guard, &mut child)
    }

    /// [`with_read`](RwLock::with_read) if no writer has it or waits for it now.
    /// Returns `None` otherwise, without calling `f`.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn try_with_read<C: Context, Ret>(
        &self,
        ctx: &mut C,
        f: impl FnOnce(&T, &mut LockCtx<'_, L>) -> Ret,
    ) -> Option<Ret>
    where
        C::Place: LockBefore<L>,
    {
        let (guard, mut child) = self.try_read(ctx)?;
        Some(f(&guard, &mut child))
    }

    /// Acquires the lock shared, blocking the thread. See [`Mutex::lock`](crate::Mutex::lock)
    /// for what the guard and the context borrow.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn read<'k, C: Context>(
        &'k self,
        ctx: &'k mut C,
    ) -> (RwLockReadGuard<'k, L, T, R>, LockCtx<'k, L>)
    where
        C::Place: LockBefore<L>,
    {
        (self.acquire_read(), child(ctx))
    }

    /// Acquires the lock shared if no writer has it or waits for it now.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn try_read<'k, C: Context>(
        &'k self,
        ctx: &'k mut C,
    ) -> Option<(RwLockReadGuard<'k, L, T, R>, LockCtx<'k, L>)>
    where
        C::Place: LockBefore<L>,
    {
        Some((self.try_acquire_read()?, child(ctx)))
    }

    /// Acquires the lock shared if that is possible before `timeout` has passed.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn try_read_for<'k, C: Context>(
        &'k self,
        ctx: &'k mut C,
        timeout: R::Duration,
    ) -> Option<(RwLockReadGuard<'k, L, T, R>, LockCtx<'k, L>)>
    where
        C::Place: LockBefore<L>,
        R: RawRwLockTimed,
    {
        let now = || self.inner.try_read();
        let guard = acquire_within(now, || self.inner.try_read_for(timeout))?;
        Some((RwLockReadGuard::new(guard), child(ctx)))
    }

    /// Acquires the lock shared if that is possible before the time `deadline`.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn try_read_until<'k, C: Context>(
        &'k self,
        ctx: &'k mut C,
        deadline: R::Instant,
    ) -> Option<(RwLockReadGuard<'k, L, T, R>, LockCtx<'k, L>)>
    where
        C::Place: LockBefore<L>,
        R: RawRwLockTimed,
    {
        let now = || self.inner.try_read();
        let guard = acquire_within(now, || self.inner.try_read_until(deadline))?;
        Some((RwLockReadGuard::new(guard), child(ctx)))
    }

    /// Acquires the lock exclusively, blocking the thread, for the time of `f`.
    ///
    /// `f` gets the value, and the context in which to acquire what comes after `L`.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn with_write<C: Context, Ret>(
        &self,
        ctx: &mut C,
        f: impl FnOnce(&mut T, &mut LockCtx<'_, L>) -> Ret,
    ) -> Ret
    where
        C::Place: LockBefore<L>,
    {
        let (mut guard, mut child) = self.write(ctx);
        f(&mut guard, &mut child)
    }

    /// [`with_write`](RwLock::with_write) if it is free now. Returns `None` otherwise,
    /// without calling `f`.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn try_with_write<C: Context, Ret>(
        &self,
        ctx: &mut C,
        f: impl FnOnce(&mut T, &mut LockCtx<'_, L>) -> Ret,
    ) -> Option<Ret>
    where
        C::Place: LockBefore<L>,
    {
        let (mut guard, mut child) = self.try_write(ctx)?;
        Some(f(&mut guard, &mut child))
    }

    /// Acquires the lock exclusively, blocking the thread. See [`Mutex::lock`](crate::Mutex::lock)
    /// for what the guard and the context borrow.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn write<'k, C: Context>(
        &'k self,
        ctx: &'k mut C,
    ) -> (RwLockWriteGuard<'k, L, T, R>, LockCtx<'k, L>)
    where
        C::Place: LockBefore<L>,
    {
        (self.acquire_write(), child(ctx))
    }

    /// Acquires the lock exclusively if it is free now.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn try_write<'k, C: Context>(
        &'k self,
        ctx: &'k mut C,
    ) -> Option<(RwLockWriteGuard<'k, L, T, R>, LockCtx<'k, L>)>
    where
        C::Place: LockBefore<L>,
    {
        Some((self.try_acquire_write()?, child(ctx)))
    }

    /// Acquires the lock exclusively if that is possible before `timeout` has passed.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn try_write_for<'k, C: Context>(
        &'k self,
        ctx: &'k mut C,
        timeout: R::Duration,
    ) -> Option<(RwLockWriteGuard<'k, L, T, R>, LockCtx<'k, L>)>
    where
        C::Place: LockBefore<L>,
        R: RawRwLockTimed,
    {
        let now = || self.inner.try_write();
        let guard = acquire_within(now, || self.inner.try_write_for(timeout))?;
        Some((RwLockWriteGuard::new(guard), child(ctx)))
    }

    /// Acquires the lock exclusively if that is possible before the time `deadline`.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn try_write_until<'k, C: Context>(
        &'k self,
        ctx: &'k mut C,
        deadline: R::Instant,
    ) -> Option<(RwLockWriteGuard<'k, L, T, R>, LockCtx<'k, L>)>
    where
        C::Place: LockBefore<L>,
        R: RawRwLockTimed,
    {
        let now = || self.inner.try_write();
        let guard = acquire_within(now, || self.inner.try_write_until(deadline))?;
        Some((RwLockWriteGuard::new(guard), child(ctx)))
    }
}

impl<L: Level, T: ?Sized, R: RawRwLock> RwLock<L, T, R> {
    /// Returns the raw library's lock.
    #[inline]
    pub(crate) fn raw(&self) -> &lock_api::RwLock<R, T> {
        &self.inner
    }

    /// Acquires the lock shared. The caller has established that it is in order, and borrows the
    /// context for as long as the guard lives.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub(crate) fn acquire_read(&self) -> RwLockReadGuard<'_, L, T, R> {
        RwLockReadGuard::new(acquire(|| self.inner.try_read(), || self.inner.read()))
    }

    /// Acquires the lock shared if that is possible now.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub(crate) fn try_acquire_read(&self) -> Option<RwLockReadGuard<'_, L, T, R>> {
        acquire_now(self.inner.try_read()).map(RwLockReadGuard::new)
    }

    /// Acquires the lock exclusively. As [`acquire_read`](RwLock::acquire_read).
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub(crate) fn acquire_write(&self) -> RwLockWriteGuard<'_, L, T, R> {
        RwLockWriteGuard::new(acquire(|| self.inner.try_write(), || self.inner.write()))
    }

    /// Acquires the lock exclusively if it is free now.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub(crate) fn try_acquire_write(&self) -> Option<RwLockWriteGuard<'_, L, T, R>> {
        acquire_now(self.inner.try_write()).map(RwLockWriteGuard::new)
    }

    /// Acquires the lock as a member of a set.
    #[inline]
    pub(crate) fn read_permitted<'k>(
        &'k self,
        _permit: Permit<'k, L>,
    ) -> RwLockReadGuard<'k, L, T, R> {
        self.acquire_read()
    }

    /// Acquires the lock as a member of a set, if that is possible now.
    #[inline]
    pub(crate) fn try_read_permitted<'k>(
        &'k self,
        _permit: Permit<'k, L>,
    ) -> Option<RwLockReadGuard<'k, L, T, R>> {
        self.try_acquire_read()
    }

    /// Acquires the lock as a member of a set.
    #[inline]
    pub(crate) fn write_permitted<'k>(
        &'k self,
        _permit: Permit<'k, L>,
    ) -> RwLockWriteGuard<'k, L, T, R> {
        self.acquire_write()
    }

    /// Acquires the lock as a member of a set, if that is possible now.
    #[inline]
    pub(crate) fn try_write_permitted<'k>(
        &'k self,
        _permit: Permit<'k, L>,
    ) -> Option<RwLockWriteGuard<'k, L, T, R>> {
        self.try_acquire_write()
    }
}

impl<L, T: ?Sized, R: RawRwLock> RwLock<L, T, R> {
    /// Returns the value. The exclusive borrow proves that the lock is free.
    #[inline]
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }

    /// Returns whether the lock is taken, at some moment of the call.
    #[inline]
    pub fn is_locked(&self) -> bool {
        self.inner.is_locked()
    }
}

impl<L: Level, T: Default, R: RawRwLock> Default for RwLock<L, T, R> {
    fn default() -> Self {
        RwLock::new(T::default())
    }
}

impl<L: Level, T, R: RawRwLock> From<T> for RwLock<L, T, R> {
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
