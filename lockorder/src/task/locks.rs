//! The locks that may be held over an `.await`.

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::panic::Location;

use super::{TaskCtx, wait};
use crate::{Level, LockBefore, Place};

/// tokio's mutex, of level `L`: fair, and may be held over an `.await`.
pub struct AsyncMutex<L, T: ?Sized> {
    level: PhantomData<fn() -> L>,
    inner: tokio::sync::Mutex<T>,
}

impl<L, T> AsyncMutex<L, T> {
    /// Creates a free mutex.
    pub fn new(value: T) -> Self {
        AsyncMutex {
            level: PhantomData,
            inner: tokio::sync::Mutex::new(value),
        }
    }

    /// Creates a free mutex, in a constant expression.
    pub const fn const_new(value: T) -> Self {
        AsyncMutex {
            level: PhantomData,
            inner: tokio::sync::Mutex::const_new(value),
        }
    }

    /// Returns the value.
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<L: Level, T: ?Sized> AsyncMutex<L, T> {
    /// Acquires the lock. To cancel is to drop the future, which gives the place in the
    /// queue away.
    ///
    /// # Panics
    ///
    /// If the future is polled outside of the scope that the context comes from: in another
    /// scope, under a key, or on a thread that the context was lent to. The message has the place
    /// of this call. A context has to be `Send`, for runtimes that move tasks between threads, so
    /// the compiler cannot keep it in its scope.
    #[track_caller]
    pub fn lock<'k, P>(
        &'k self,
        ctx: &'k mut TaskCtx<'_, P>,
    ) -> impl Future<Output = (AsyncMutexGuard<'k, L, T>, TaskCtx<'k, L>)>
    where
        P: LockBefore<L> + Place,
    {
        let at = Location::caller();
        async move {
            let inner = wait(ctx, at, self.inner.lock()).await;
            let guard = AsyncMutexGuard {
                inner,
                level: PhantomData,
            };
            (guard, ctx.child())
        }
    }

    /// Acquires the lock if it is free now and the context's own scope is being polled.
    pub fn try_lock<'k, P>(
        &'k self,
        ctx: &'k mut TaskCtx<'_, P>,
    ) -> Option<(AsyncMutexGuard<'k, L, T>, TaskCtx<'k, L>)>
    where
        P: LockBefore<L> + Place,
    {
        if !ctx.is_polled() {
            return None;
        }
        let guard = AsyncMutexGuard {
            inner: self.inner.try_lock().ok()?,
            level: PhantomData,
        };
        Some((guard, ctx.child()))
    }

    /// Returns the value. The exclusive borrow proves that the lock is free.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }
}

impl<L: Level, T: ?Sized> fmt::Debug for AsyncMutex<L, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncMutex")
            .field("level", &L::NAME)
            .finish_non_exhaustive()
    }
}

/// A held [`AsyncMutex`]. `Send` if the value is.
#[must_use = "the lock is released when its guard is dropped"]
pub struct AsyncMutexGuard<'k, L, T: ?Sized> {
    inner: tokio::sync::MutexGuard<'k, T>,
    level: PhantomData<fn() -> L>,
}

impl<L, T: ?Sized> Deref for AsyncMutexGuard<'_, L, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<L, T: ?Sized> DerefMut for AsyncMutexGuard<'_, L, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

/// tokio's reader-writer lock, of level `L`: fair, and may be held over an `.await`.
pub struct AsyncRwLock<L, T: ?Sized> {
    level: PhantomData<fn() -> L>,
    inner: tokio::sync::RwLock<T>,
}

impl<L, T> AsyncRwLock<L, T> {
    /// Creates a free lock.
    pub fn new(value: T) -> Self {
        AsyncRwLock {
            level: PhantomData,
            inner: tokio::sync::RwLock::new(value),
        }
    }

    /// Creates a free lock, in a constant expression.
    pub const fn const_new(value: T) -> Self {
        AsyncRwLock {
            level: PhantomData,
            inner: tokio::sync::RwLock::const_new(value),
        }
    }

    /// Returns the value.
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<L: Level, T: ?Sized> AsyncRwLock<L, T> {
    /// Acquires the lock shared.
    ///
    /// # Panics
    ///
    /// As [`AsyncMutex::lock`].
    #[track_caller]
    pub fn read<'k, P>(
        &'k self,
        ctx: &'k mut TaskCtx<'_, P>,
    ) -> impl Future<Output = (AsyncReadGuard<'k, L, T>, TaskCtx<'k, L>)>
    where
        P: LockBefore<L> + Place,
    {
        let at = Location::caller();
        async move {
            let inner = wait(ctx, at, self.inner.read()).await;
            let guard = AsyncReadGuard {
                inner,
                level: PhantomData,
            };
            (guard, ctx.child())
        }
    }

    /// Acquires the lock exclusively.
    ///
    /// # Panics
    ///
    /// As [`AsyncMutex::lock`].
    #[track_caller]
    pub fn write<'k, P>(
        &'k self,
        ctx: &'k mut TaskCtx<'_, P>,
    ) -> impl Future<Output = (AsyncWriteGuard<'k, L, T>, TaskCtx<'k, L>)>
    where
        P: LockBefore<L> + Place,
    {
        let at = Location::caller();
        async move {
            let inner = wait(ctx, at, self.inner.write()).await;
            let guard = AsyncWriteGuard {
                inner,
                level: PhantomData,
            };
            (guard, ctx.child())
        }
    }

    /// Returns the value. The exclusive borrow proves that the lock is free.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }
}

impl<L: Level, T: ?Sized> fmt::Debug for AsyncRwLock<L, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncRwLock")
            .field("level", &L::NAME)
            .finish_non_exhaustive()
    }
}

/// An [`AsyncRwLock`] held shared.
#[must_use = "the lock is released when its guard is dropped"]
pub struct AsyncReadGuard<'k, L, T: ?Sized> {
    inner: tokio::sync::RwLockReadGuard<'k, T>,
    level: PhantomData<fn() -> L>,
}

impl<L, T: ?Sized> Deref for AsyncReadGuard<'_, L, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

/// An [`AsyncRwLock`] held exclusively.
#[must_use = "the lock is released when its guard is dropped"]
pub struct AsyncWriteGuard<'k, L, T: ?Sized> {
    inner: tokio::sync::RwLockWriteGuard<'k, T>,
    level: PhantomData<fn() -> L>,
}

impl<'k, L, T: ?Sized> AsyncWriteGuard<'k, L, T> {
    /// Turns the exclusive hold into a shared one, without a moment in which the lock is
    /// free.
    pub fn downgrade(guard: Self) -> AsyncReadGuard<'k, L, T> {
        AsyncReadGuard {
            inner: guard.inner.downgrade(),
            level: PhantomData,
        }
    }
}

impl<L, T: ?Sized> Deref for AsyncWriteGuard<'_, L, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<L, T: ?Sized> DerefMut for AsyncWriteGuard<'_, L, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}
