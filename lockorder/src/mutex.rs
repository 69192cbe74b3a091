//! A mutex that knows its level.
//!
//! - **Define:** a [`Mutex<L, T>`] is a raw mutex whose every acquisition that blocks has a
//!   context below which nothing of level `L` or later is held.
//! - **Enforce:** the raw lock is private; each acquisition borrows a context `P` with
//!   `P: LockBefore<L>` for as long as the lock is held.
//! - **Consume:** the context handed to the closure, or returned beside the guard, is of
//!   level `L`.

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use lock_api::{RawMutex, RawMutexFair, RawMutexTimed};

use crate::ctx::{LockCtx, OnThisThread};
use crate::hold::{Hold, acquire, acquire_now, acquire_within};
use crate::set::Permit;
use crate::{DefaultRawMutex, Level, LockBefore};

/// A mutual exclusion lock of level `L`, as large as the raw lock and its data.
///
/// `R` is the raw lock. It must be a lock of its own: a raw lock that stands for another one
/// elsewhere (a handle to a global critical section, say) belongs in one `Mutex` only.
///
/// The closure form [`with`](Mutex::with) is the first choice. It cannot leak a guard and
/// cannot be carried over an `.await`.
pub struct Mutex<L, T: ?Sized, R = DefaultRawMutex> {
    level: PhantomData<fn() -> L>,
    inner: lock_api::Mutex<R, T>,
}

impl<L, T, R: RawMutex> Mutex<L, T, R> {
    /// A free mutex.
    #[inline]
    pub const fn new(value: T) -> Self {
        Mutex {
            level: PhantomData,
            inner: lock_api::Mutex::new(value),
        }
    }

    /// The value. Owning the mutex proves that nobody holds it.
    #[inline]
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<L, T, R> Mutex<L, T, R> {
    /// A mutex around a raw lock that exists already, and that must not be locked.
    #[inline]
    pub const fn from_raw(raw: R, value: T) -> Self {
        Mutex {
            level: PhantomData,
            inner: lock_api::Mutex::from_raw(raw, value),
        }
    }
}

impl<L: Level, T: ?Sized, R: RawMutex> Mutex<L, T, R> {
    /// Acquires the lock, blocking the thread, for the time of `f`.
    ///
    /// `f` gets the value, and the context in which to acquire what comes after `L`.
    #[inline]
    pub fn with<P, Ret>(
        &self,
        ctx: &mut LockCtx<'_, P>,
        f: impl FnOnce(&mut T, &mut LockCtx<'_, L>) -> Ret,
    ) -> Ret
    where
        P: LockBefore<L>,
    {
        let (mut guard, mut child) = self.lock(ctx);
        f(&mut guard, &mut child)
    }

    /// [`with`](Mutex::with) if the lock is free now, else `None`, `f` not being called.
    #[inline]
    pub fn try_with<P, Ret>(
        &self,
        ctx: &mut LockCtx<'_, P>,
        f: impl FnOnce(&mut T, &mut LockCtx<'_, L>) -> Ret,
    ) -> Option<Ret>
    where
        P: LockBefore<L>,
    {
        let (mut guard, mut child) = self.try_lock(ctx)?;
        Some(f(&mut guard, &mut child))
    }

    /// Acquires the lock, blocking the thread.
    ///
    /// Both the guard and the context of level `L` borrow `ctx`: the parent can be used
    /// again when both are gone.
    #[inline]
    pub fn lock<'k, P>(
        &'k self,
        ctx: &'k mut LockCtx<'_, P>,
    ) -> (MutexGuard<'k, L, T, R>, LockCtx<'k, L>)
    where
        P: LockBefore<L>,
    {
        (self.hold(), ctx.descend())
    }

    /// Acquires the lock if it is free now.
    #[inline]
    pub fn try_lock<'k, P>(
        &'k self,
        ctx: &'k mut LockCtx<'_, P>,
    ) -> Option<(MutexGuard<'k, L, T, R>, LockCtx<'k, L>)>
    where
        P: LockBefore<L>,
    {
        Some((self.try_hold()?, ctx.descend()))
    }

    /// Acquires the lock if that is possible before `timeout` has passed.
    #[inline]
    pub fn try_lock_for<'k, P>(
        &'k self,
        ctx: &'k mut LockCtx<'_, P>,
        timeout: R::Duration,
    ) -> Option<(MutexGuard<'k, L, T, R>, LockCtx<'k, L>)>
    where
        P: LockBefore<L>,
        R: RawMutexTimed,
    {
        let now = || self.inner.try_lock();
        let guard = acquire_within(now, || self.inner.try_lock_for(timeout))?;
        Some((MutexGuard::new(guard), ctx.descend()))
    }

    /// Acquires the lock if that is possible before the time `deadline`.
    #[inline]
    pub fn try_lock_until<'k, P>(
        &'k self,
        ctx: &'k mut LockCtx<'_, P>,
        deadline: R::Instant,
    ) -> Option<(MutexGuard<'k, L, T, R>, LockCtx<'k, L>)>
    where
        P: LockBefore<L>,
        R: RawMutexTimed,
    {
        let now = || self.inner.try_lock();
        let guard = acquire_within(now, || self.inner.try_lock_until(deadline))?;
        Some((MutexGuard::new(guard), ctx.descend()))
    }
}

impl<L: Level, T: ?Sized, R: RawMutex> Mutex<L, T, R> {
    #[inline]
    fn hold(&self) -> MutexGuard<'_, L, T, R> {
        MutexGuard::new(acquire(|| self.inner.try_lock(), || self.inner.lock()))
    }

    #[inline]
    fn try_hold(&self) -> Option<MutexGuard<'_, L, T, R>> {
        acquire_now(self.inner.try_lock()).map(MutexGuard::new)
    }

    /// Acquires the lock as a member of a set.
    #[inline]
    pub(crate) fn acquire_permitted<'k>(
        &'k self,
        _permit: Permit<'k, L>,
    ) -> MutexGuard<'k, L, T, R> {
        self.hold()
    }

    /// Acquires the lock as a member of a set, if it is free now.
    #[inline]
    pub(crate) fn try_acquire_permitted<'k>(
        &'k self,
        _permit: Permit<'k, L>,
    ) -> Option<MutexGuard<'k, L, T, R>> {
        self.try_hold()
    }
}

impl<L, T: ?Sized, R: RawMutex> Mutex<L, T, R> {
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

impl<L, T: Default, R: RawMutex> Default for Mutex<L, T, R> {
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

impl<L, T, R: RawMutex> From<T> for Mutex<L, T, R> {
    fn from(value: T) -> Self {
        Mutex::new(value)
    }
}

/// Does not show the value: that would be an acquisition without a context.
impl<L: Level, T: ?Sized, R: RawMutex> fmt::Debug for Mutex<L, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex")
            .field("level", &L::NAME)
            .field("locked", &self.is_locked())
            .finish_non_exhaustive()
    }
}

/// A held [`Mutex`], released on drop. Borrows the context that it was acquired with.
#[must_use = "the lock is released when its guard is dropped"]
pub struct MutexGuard<'k, L: Level, T: ?Sized, R: RawMutex = DefaultRawMutex> {
    /// Dropped first: what is timed includes the release.
    inner: lock_api::MutexGuard<'k, R, T>,
    hold: Hold<L>,
    thread: OnThisThread,
}

impl<'k, L: Level, T: ?Sized, R: RawMutex> MutexGuard<'k, L, T, R> {
    #[inline]
    fn new((inner, hold): (lock_api::MutexGuard<'k, R, T>, Hold<L>)) -> Self {
        MutexGuard {
            inner,
            hold,
            thread: PhantomData,
        }
    }

    /// Releases the lock and hands it to the thread that has waited longest.
    #[inline]
    pub fn unlock_fair(guard: Self)
    where
        R: RawMutexFair,
    {
        let MutexGuard { inner, hold, .. } = guard;
        lock_api::MutexGuard::unlock_fair(inner);
        hold.end();
    }
}

impl<L: Level, T: ?Sized, R: RawMutex> Deref for MutexGuard<'_, L, T, R> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<L: Level, T: ?Sized, R: RawMutex> DerefMut for MutexGuard<'_, L, T, R> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<L: Level, T: ?Sized + fmt::Debug, R: RawMutex> fmt::Debug for MutexGuard<'_, L, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
