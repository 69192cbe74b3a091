//! A mutex that knows its level.
//!
//! - **Define:** a [`Mutex<L, T>`] is a raw mutex whose every acquisition that blocks has a
//!   context below which nothing of level `L` or later is held.
//! - **Enforce:** the raw lock is private; each acquisition borrows a context whose place
//!   `P` has `P: LockBefore<L>`, for as long as the lock is held.
//! - **Consume:** the context handed to the closure, or returned beside the guard, is of
//!   level `L`.

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use lock_api::{RawMutex, RawMutexFair, RawMutexTimed};

use crate::ctx::{Context, LockCtx, OnThisThread, child};
use crate::hold::{Hold, acquire, acquire_now, acquire_within};
use crate::mapped::MappedMutexGuard;
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
    /// Creates a free mutex.
    #[inline]
    pub const fn new(value: T) -> Self
    where
        L: Level,
    {
        Mutex {
            level: PhantomData,
            inner: lock_api::Mutex::new(value),
        }
    }

    /// Returns the value. Owning the mutex proves that it is free.
    #[inline]
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<L, T, R> Mutex<L, T, R> {
    /// Creates a mutex around a raw lock that exists already, and that must not be locked.
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
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn with<C: Context, Ret>(
        &self,
        ctx: &mut C,
        f: impl FnOnce(&mut T, &mut LockCtx<'_, L>) -> Ret,
    ) -> Ret
    where
        C::Place: LockBefore<L>,
    {
        let (mut guard, mut child) = self.lock(ctx);
        f(&mut guard, &mut child)
    }

    /// [`with`](Mutex::with) if the lock is free now. Returns `None` otherwise,
    /// without calling `f`.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn try_with<C: Context, Ret>(
        &self,
        ctx: &mut C,
        f: impl FnOnce(&mut T, &mut LockCtx<'_, L>) -> Ret,
    ) -> Option<Ret>
    where
        C::Place: LockBefore<L>,
    {
        let (mut guard, mut child) = self.try_lock(ctx)?;
        Some(f(&mut guard, &mut child))
    }

    /// Acquires the lock, blocking the thread.
    ///
    /// Both the guard and the context of level `L` borrow `ctx`: the parent can be used
    /// again when both are gone.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn lock<'k, C: Context>(
        &'k self,
        ctx: &'k mut C,
    ) -> (MutexGuard<'k, L, T, R>, LockCtx<'k, L>)
    where
        C::Place: LockBefore<L>,
    {
        (self.acquire(), child(ctx))
    }

    /// Acquires the lock if it is free now.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn try_lock<'k, C: Context>(
        &'k self,
        ctx: &'k mut C,
    ) -> Option<(MutexGuard<'k, L, T, R>, LockCtx<'k, L>)>
    where
        C::Place: LockBefore<L>,
    {
        Some((self.try_acquire()?, child(ctx)))
    }

    /// Acquires the lock if that is possible before `timeout` has passed.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn try_lock_for<'k, C: Context>(
        &'k self,
        ctx: &'k mut C,
        timeout: R::Duration,
    ) -> Option<(MutexGuard<'k, L, T, R>, LockCtx<'k, L>)>
    where
        C::Place: LockBefore<L>,
        R: RawMutexTimed,
    {
        let now = || self.inner.try_lock();
        let guard = acquire_within(now, || self.inner.try_lock_for(timeout))?;
        Some((MutexGuard::new(guard), child(ctx)))
    }

    /// Acquires the lock if that is possible before the time `deadline`.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn try_lock_until<'k, C: Context>(
        &'k self,
        ctx: &'k mut C,
        deadline: R::Instant,
    ) -> Option<(MutexGuard<'k, L, T, R>, LockCtx<'k, L>)>
    where
        C::Place: LockBefore<L>,
        R: RawMutexTimed,
    {
        let now = || self.inner.try_lock();
        let guard = acquire_within(now, || self.inner.try_lock_until(deadline))?;
        Some((MutexGuard::new(guard), child(ctx)))
    }
}

impl<L: Level, T: ?Sized, R: RawMutex> Mutex<L, T, R> {
    /// Returns the raw library's mutex.
    #[inline]
    pub(crate) fn raw(&self) -> &lock_api::Mutex<R, T> {
        &self.inner
    }

    /// Acquires the lock. The caller has established that it is in order, and borrows the
    /// context for as long as the guard lives.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub(crate) fn acquire(&self) -> MutexGuard<'_, L, T, R> {
        MutexGuard::new(acquire(|| self.inner.try_lock(), || self.inner.lock()))
    }

    /// Acquires the lock if it is free now.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub(crate) fn try_acquire(&self) -> Option<MutexGuard<'_, L, T, R>> {
        acquire_now(self.inner.try_lock()).map(MutexGuard::new)
    }

    /// Acquires the lock as a member of a set.
    #[inline]
    pub(crate) fn acquire_permitted<'k>(
        &'k self,
        _permit: Permit<'k, L>,
    ) -> MutexGuard<'k, L, T, R> {
        self.acquire()
    }

    /// Acquires the lock as a member of a set, if it is free now.
    #[inline]
    pub(crate) fn try_acquire_permitted<'k>(
        &'k self,
        _permit: Permit<'k, L>,
    ) -> Option<MutexGuard<'k, L, T, R>> {
        self.try_acquire()
    }
}

impl<L, T: ?Sized, R: RawMutex> Mutex<L, T, R> {
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

impl<L: Level, T: Default, R: RawMutex> Default for Mutex<L, T, R> {
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

impl<L: Level, T, R: RawMutex> From<T> for Mutex<L, T, R> {
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
    pub(crate) fn new((inner, hold): (lock_api::MutexGuard<'k, R, T>, Hold<L>)) -> Self {
        MutexGuard {
            inner,
            hold,
            thread: PhantomData,
        }
    }

    /// Returns the raw library's guard. It must stay a hold of the same lock.
    #[inline]
    pub(crate) fn raw_mut(&mut self) -> &mut lock_api::MutexGuard<'k, R, T> {
        &mut self.inner
    }

    /// Releases the lock while `f` runs, and acquires it again. The caller has established that
    /// nothing of its level or later is held then.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub(crate) fn unlocked<U>(&mut self, f: impl FnOnce() -> U) -> U {
        let _paused = self.hold.pause();
        lock_api::MutexGuard::unlocked(&mut self.inner, f)
    }

    /// Turns the guard into one of a part of the value.
    ///
    /// ```
    /// # mod levels { lockorder::lock_order! { pub domain App; level Pair; App => Pair; } }
    /// use lockorder::{Key, Mutex, MutexGuard};
    /// let pair = Mutex::<levels::Pair, _>::new((1, 2));
    /// let mut key = Key::<levels::App>::take().expect("the key is free");
    /// let mut root = key.ctx();
    /// let (guard, _ctx) = pair.lock(&mut root);
    /// let mut second = MutexGuard::map(guard, |pair| &mut pair.1);
    /// *second += 1;
    /// ```
    #[inline]
    pub fn map<U: ?Sized>(
        guard: Self,
        f: impl FnOnce(&mut T) -> &mut U,
    ) -> MappedMutexGuard<'k, L, U, R> {
        let MutexGuard { inner, hold, .. } = guard;
        MappedMutexGuard::new(lock_api::MutexGuard::map(inner, f), hold)
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
    ) -> Result<MappedMutexGuard<'k, L, U, R>, Self> {
        let MutexGuard {
            inner,
            hold,
            thread,
        } = guard;
        match lock_api::MutexGuard::try_map(inner, f) {
            Ok(inner) => Ok(MappedMutexGuard::new(inner, hold)),
            Err(inner) => Err(MutexGuard {
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
