//! Attempts out of order.
//!
//! - **Define:** a thread that has acquired a lock out of order waits for nothing of the domain
//!   until it has released it.
//! - **Enforce:** such an acquisition is an attempt, borrows the context, and yields a [`TryCtx`],
//!   with which nothing but another attempt is possible.
//! - **Consume:** a cycle of waiting threads has a thread that waits while it holds a lock out of
//!   order; there is none, so eviction and reclaim can reach for earlier levels.

// A guard and a context, as everywhere; the projection to the domain is what makes it complex.
#![allow(clippy::type_complexity)]

use core::fmt;
use core::marker::PhantomData;

use lock_api::{RawMutex, RawRwLock};

use crate::ctx::sealed::{OnAnyThread, Sealed};
use crate::{
    Domain, Level, LockCtx, Mutex, MutexGuard, Place, RwLock, RwLockReadGuard, RwLockWriteGuard,
};

/// The right to try to acquire any lock of the domain `D`. Zero-sized.
///
/// A lock was acquired out of order ([`Mutex::try_lock_unordered`]), so to wait is not in order
/// for any level, and does not compile.
pub struct TryCtx<'k, D> {
    domain: PhantomData<fn() -> D>,
    /// Borrows the parent exclusively; neither `Send` nor `Sync`.
    parent: PhantomData<(&'k mut (), *mut ())>,
}

// SAFETY: the condition holds for no `D`: see the same implementation of `LockCtx`.
unsafe impl<D: OnAnyThread> Send for TryCtx<'_, D> {}

impl<D> TryCtx<'_, D> {
    #[inline]
    const fn mint() -> Self {
        TryCtx {
            domain: PhantomData,
            parent: PhantomData,
        }
    }
}

impl<D: Domain> fmt::Debug for TryCtx<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TryCtx<{}>", D::NAME)
    }
}

/// The argument of an attempt out of order: a [`LockCtx`], or the [`TryCtx`] of an attempt before.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a lock context nor one for attempts",
    label = "expected a `LockCtx` or a `TryCtx`",
    note = "a `Key` gives the context of the root: pass `&mut key.ctx()`"
)]
pub trait AnyContext: Sealed {
    /// The domain that it belongs to.
    type Domain;
}

impl<P: Place> AnyContext for LockCtx<'_, P> {
    type Domain = P::Domain;
}

impl<D> Sealed for TryCtx<'_, D> {}
impl<D> AnyContext for TryCtx<'_, D> {
    type Domain = D;
}

impl<C: crate::Context + AnyContext> AnyContext for &mut C {
    type Domain = <C as AnyContext>::Domain;
}

impl<L: Level, T: ?Sized, R: RawMutex> Mutex<L, T, R> {
    /// Acquires the lock if it is free now, whatever is held.
    ///
    /// ```
    /// # mod levels { lockorder::lock_order! {
    /// #     pub domain Cache; level Bucket, Page; Cache => Bucket => Page; } }
    /// use levels::{Bucket, Cache, Page};
    /// use lockorder::{Key, Mutex};
    /// let bucket = Mutex::<Bucket, _>::new(vec![1, 2]);
    /// let page = Mutex::<Page, _>::new(Some(2));
    /// let mut key = Key::<Cache>::take().expect("the key is free");
    /// page.with(&mut key.ctx(), |page, ctx| {
    ///     // To evict, the page's bucket is needed, which comes before the page.
    ///     let Some((mut bucket, _)) = bucket.try_lock_unordered(ctx) else { return };
    ///     bucket.retain(|number| Some(*number) != *page);
    ///     *page = None;
    /// });
    /// assert_eq!(bucket.into_inner(), [1]);
    /// ```
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn try_lock_unordered<'k, C>(
        &'k self,
        _ctx: &'k mut C,
    ) -> Option<(MutexGuard<'k, L, T, R>, TryCtx<'k, L::Domain>)>
    where
        C: AnyContext<Domain = L::Domain>,
    {
        Some((self.try_acquire()?, TryCtx::mint()))
    }
}

impl<L: Level, T: ?Sized, R: RawRwLock> RwLock<L, T, R> {
    /// Acquires the lock shared if that is possible now, whatever is held. See
    /// [`Mutex::try_lock_unordered`].
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn try_read_unordered<'k, C>(
        &'k self,
        _ctx: &'k mut C,
    ) -> Option<(RwLockReadGuard<'k, L, T, R>, TryCtx<'k, L::Domain>)>
    where
        C: AnyContext<Domain = L::Domain>,
    {
        Some((self.try_acquire_read()?, TryCtx::mint()))
    }

    /// Acquires the lock exclusively if it is free now, whatever is held. See
    /// [`Mutex::try_lock_unordered`].
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn try_write_unordered<'k, C>(
        &'k self,
        _ctx: &'k mut C,
    ) -> Option<(RwLockWriteGuard<'k, L, T, R>, TryCtx<'k, L::Domain>)>
    where
        C: AnyContext<Domain = L::Domain>,
    {
        Some((self.try_acquire_write()?, TryCtx::mint()))
    }
}
