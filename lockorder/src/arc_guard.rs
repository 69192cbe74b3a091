//! Guards that own an `Arc` of their lock.

use alloc::sync::Arc;
use core::fmt;
use core::mem::MaybeUninit;
use core::ops::{Deref, DerefMut};

use lock_api::{RawMutex, RawRwLock};

use crate::{
    DefaultRawMutex, DefaultRawRwLock, Level, LockBefore, LockCtx, Mutex, MutexGuard, RwLock,
    RwLockReadGuard, RwLockWriteGuard,
};

/// A guard `G` of a lock in an `Arc`, which it keeps alive. It borrows the context, not the lock.
///
/// - **Define:** `guard` is a hold of a lock that lies in `owner`'s value.
/// - **Enforce:** the fields are private; only the acquisitions of this crate make one, and the
///   guard is never given out.
/// - **Consume:** the guard is dropped before the owner, so its reference is good as long as it is
///   used.
#[must_use = "the lock is released when its guard is dropped"]
pub struct ArcGuard<O: ?Sized, G> {
    /// Always initialised. A plain field would tell the compiler that the reference in it outlives
    /// every function that gets this value, and the one that drops it frees the lock.
    guard: MaybeUninit<G>,
    owner: Arc<O>,
}

/// A held mutex that lies in an `Arc`: see [`Mutex::lock_arc`].
pub type ArcMutexGuard<'k, L, T, R = DefaultRawMutex> =
    ArcGuard<Mutex<L, T, R>, MutexGuard<'k, L, T, R>>;

/// A lock held shared that lies in an `Arc`: see [`RwLock::read_arc`].
pub type ArcReadGuard<'k, L, T, R = DefaultRawRwLock> =
    ArcGuard<RwLock<L, T, R>, RwLockReadGuard<'k, L, T, R>>;

/// A lock held exclusively that lies in an `Arc`: see [`RwLock::write_arc`].
pub type ArcWriteGuard<'k, L, T, R = DefaultRawRwLock> =
    ArcGuard<RwLock<L, T, R>, RwLockWriteGuard<'k, L, T, R>>;

impl<O: ?Sized, G> ArcGuard<O, G> {
    /// Acquires a lock of the owner's value, or does not.
    pub(crate) fn new<'k, E>(
        owner: &Arc<O>,
        acquire: impl FnOnce(&'k O) -> Result<G, E>,
    ) -> Result<Self, E>
    where
        O: 'k,
        G: 'k,
    {
        let owner = Arc::clone(owner);
        // SAFETY: the value lives as long as `owner`, which this struct keeps until the guard is
        // gone. What `acquire` returns can keep the reference in `G` only: an error of this
        // crate's callers has none in it.
        let value = unsafe { &*Arc::as_ptr(&owner) };
        let guard = MaybeUninit::new(acquire(value)?);
        Ok(ArcGuard { guard, owner })
    }

    /// Returns what the lock lies in.
    #[inline]
    pub fn owner(guard: &Self) -> &Arc<O> {
        &guard.owner
    }

    #[inline]
    fn guard(&self) -> &G {
        // SAFETY: always initialised.
        unsafe { self.guard.assume_init_ref() }
    }
}

impl<O: ?Sized, G> Drop for ArcGuard<O, G> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: initialised, and not used after this; the owner is dropped afterwards.
        unsafe { self.guard.assume_init_drop() };
    }
}

impl<O: ?Sized, G: Deref> Deref for ArcGuard<O, G> {
    type Target = G::Target;

    #[inline]
    fn deref(&self) -> &G::Target {
        self.guard()
    }
}

impl<O: ?Sized, G: DerefMut> DerefMut for ArcGuard<O, G> {
    #[inline]
    fn deref_mut(&mut self) -> &mut G::Target {
        // SAFETY: always initialised.
        unsafe { self.guard.assume_init_mut() }
    }
}

impl<O: ?Sized, G: fmt::Debug> fmt::Debug for ArcGuard<O, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.guard().fmt(f)
    }
}

/// The same, where nothing can go wrong.
fn always<O: ?Sized, G>(made: Result<ArcGuard<O, G>, core::convert::Infallible>) -> ArcGuard<O, G> {
    match made {
        Ok(guard) => guard,
        Err(never) => match never {},
    }
}

impl<L: Level, T: ?Sized, R: RawMutex> Mutex<L, T, R> {
    /// Acquires the lock, blocking the thread, and keeps its `Arc` in the guard.
    ///
    /// ```
    /// # mod levels { lockorder::lock_order! {
    /// #     pub domain App; level Table, Conn; App => Table => Conn; } }
    /// use levels::{App, Conn, Table};
    /// use lockorder::{ArcMutexGuard, Key, LockCtx, Mutex, RwLock};
    /// use std::sync::Arc;
    ///
    /// type Connections = RwLock<Table, Vec<Arc<Mutex<Conn, u32>>>>;
    ///
    /// fn first<'k>(table: &Connections, mut ctx: LockCtx<'k, App>) -> ArcMutexGuard<'k, Conn, u32> {
    ///     let conn = table.with_read(&mut ctx, |table, _| table[0].clone());
    ///     conn.lock_arc(ctx).0
    /// }
    ///
    /// let table = RwLock::new(vec![Arc::new(Mutex::new(5))]);
    /// let mut key = Key::<App>::take().expect("the key is free");
    /// assert_eq!(*first(&table, key.ctx()), 5);
    /// ```
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn lock_arc<'k, P>(
        self: &Arc<Self>,
        _ctx: LockCtx<'k, P>,
    ) -> (ArcMutexGuard<'k, L, T, R>, LockCtx<'k, L>)
    where
        P: LockBefore<L>,
        Self: 'k,
    {
        let guard = always(ArcGuard::new(self, |lock| Ok(lock.acquire())));
        (guard, LockCtx::mint())
    }

    /// Acquires the lock if it is free now, and keeps its `Arc` in the guard.
    ///
    /// # Errors
    ///
    /// The context, if the lock is taken.
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    #[allow(clippy::type_complexity)]
    pub fn try_lock_arc<'k, P>(
        self: &Arc<Self>,
        ctx: LockCtx<'k, P>,
    ) -> Result<(ArcMutexGuard<'k, L, T, R>, LockCtx<'k, L>), LockCtx<'k, P>>
    where
        P: LockBefore<L>,
        Self: 'k,
    {
        match ArcGuard::new(self, |lock| lock.try_acquire().ok_or(())) {
            Ok(guard) => Ok((guard, LockCtx::mint())),
            Err(()) => Err(ctx),
        }
    }
}

impl<L: Level, T: ?Sized, R: RawRwLock> RwLock<L, T, R> {
    /// Acquires the lock shared, blocking the thread, and keeps its `Arc` in the guard.
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn read_arc<'k, P>(
        self: &Arc<Self>,
        _ctx: LockCtx<'k, P>,
    ) -> (ArcReadGuard<'k, L, T, R>, LockCtx<'k, L>)
    where
        P: LockBefore<L>,
        Self: 'k,
    {
        let guard = always(ArcGuard::new(self, |lock| Ok(lock.acquire_read())));
        (guard, LockCtx::mint())
    }

    /// Acquires the lock exclusively, blocking the thread, and keeps its `Arc` in the guard.
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn write_arc<'k, P>(
        self: &Arc<Self>,
        _ctx: LockCtx<'k, P>,
    ) -> (ArcWriteGuard<'k, L, T, R>, LockCtx<'k, L>)
    where
        P: LockBefore<L>,
        Self: 'k,
    {
        let guard = always(ArcGuard::new(self, |lock| Ok(lock.acquire_write())));
        (guard, LockCtx::mint())
    }

    /// Acquires the lock shared if that is possible now, and keeps its `Arc` in the guard.
    ///
    /// # Errors
    ///
    /// The context, if the lock is taken.
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    #[allow(clippy::type_complexity)]
    pub fn try_read_arc<'k, P>(
        self: &Arc<Self>,
        ctx: LockCtx<'k, P>,
    ) -> Result<(ArcReadGuard<'k, L, T, R>, LockCtx<'k, L>), LockCtx<'k, P>>
    where
        P: LockBefore<L>,
        Self: 'k,
    {
        match ArcGuard::new(self, |lock| lock.try_acquire_read().ok_or(())) {
            Ok(guard) => Ok((guard, LockCtx::mint())),
            Err(()) => Err(ctx),
        }
    }

    /// Acquires the lock exclusively if it is free now, and keeps its `Arc` in the guard.
    ///
    /// # Errors
    ///
    /// The context, if the lock is taken.
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    #[allow(clippy::type_complexity)]
    pub fn try_write_arc<'k, P>(
        self: &Arc<Self>,
        ctx: LockCtx<'k, P>,
    ) -> Result<(ArcWriteGuard<'k, L, T, R>, LockCtx<'k, L>), LockCtx<'k, P>>
    where
        P: LockBefore<L>,
        Self: 'k,
    {
        match ArcGuard::new(self, |lock| lock.try_acquire_write().ok_or(())) {
            Ok(guard) => Ok((guard, LockCtx::mint())),
            Err(()) => Err(ctx),
        }
    }
}
