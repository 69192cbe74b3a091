//! Locks that remember a panic.
//!
//! - **Define:** a [`Poisonable`] lock is poisoned from the moment when a thread that had it
//!   exclusively unwinds, until it is cleared.
//! - **Enforce:** its guard looks, when it is dropped, whether a panic has begun since it was
//!   made; the lock inside cannot be reached but through the guard.
//! - **Consume:** an acquisition of a poisoned lock gives the value inside an error, so that the
//!   code says where a value that may be half changed is good enough.

use core::fmt;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

use crate::ctx::{Context, child, permit};
use crate::set::{
    Anchored, Distinct, Exclusive, Member, MemberData, OneLock, Owned, Permit, Shared,
};
use crate::{LockBefore, LockCtx};

/// A [`Mutex`](crate::Mutex) or [`RwLock`](crate::RwLock) that remembers whether a thread
/// panicked while it had it exclusively. Can be a member of a set.
///
/// The locks of this crate do not poison by themselves: most of what is under a lock is
/// either consistent at every panic or guarded by more than this lock.
///
/// ```
/// # mod levels { lockorder::lock_order! { pub domain App; level Ledger; App => Ledger; } }
/// use lockorder::{Key, Mutex, Poisonable};
/// let ledger = Poisonable::new(Mutex::<levels::Ledger, _>::new((100, 0)));
/// # std::panic::set_hook(Box::new(|_| ()));
/// std::panic::catch_unwind(|| {
///     Key::<levels::App>::with(|key| {
///         ledger.with(&mut key.ctx(), |accounts, _| {
///             accounts.expect("not poisoned yet").0 -= 30;
///             panic!("between the two halves");
///         })
///     })
/// })
/// .expect_err("it panicked");
/// Key::<levels::App>::with(|key| {
///     ledger.with(&mut key.ctx(), |accounts, _| {
///         let accounts = accounts.expect_err("poisoned").into_inner();
///         accounts.1 += 30;
///     });
///     ledger.clear_poison();
/// });
/// assert!(!ledger.is_poisoned());
/// ```
#[derive(Default)]
pub struct Poisonable<X> {
    poisoned: AtomicBool,
    lock: X,
}

impl<X> Poisonable<X> {
    /// Wraps a lock, not poisoned.
    #[inline]
    pub const fn new(lock: X) -> Self {
        Poisonable {
            poisoned: AtomicBool::new(false),
            lock,
        }
    }

    /// Returns whether the lock is poisoned now. For a decision, look at the result of an acquisition.
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Relaxed)
    }

    /// Marks the lock as not poisoned.
    #[inline]
    pub fn clear_poison(&self) {
        self.poisoned.store(false, Ordering::Relaxed);
    }

    /// Returns the lock, as `Err` if it is poisoned.
    pub fn into_inner(self) -> Result<X, Poisoned<X>> {
        if self.poisoned.into_inner() {
            Err(Poisoned { value: self.lock })
        } else {
            Ok(self.lock)
        }
    }

    // The flag is read and written while the lock is held, which orders it.
    #[inline]
    fn judge<V>(&self, value: V) -> Result<V, Poisoned<V>> {
        if self.is_poisoned() {
            Err(Poisoned { value })
        } else {
            Ok(value)
        }
    }
}

impl<X: Member<Exclusive>> Poisonable<X> {
    /// Acquires the lock exclusively, blocking the thread, for the time of `f`, which gets
    /// the value, as `Err` if the lock is poisoned.
    pub fn with<C: Context, Ret>(
        &self,
        ctx: &mut C,
        f: impl for<'d> FnOnce(
            <Self as MemberData<'d, Exclusive>>::Data,
            &mut LockCtx<'_, X::Level>,
        ) -> Ret,
    ) -> Ret
    where
        C::Place: LockBefore<X::Level>,
    {
        let (mut guard, mut child) = self.lock(ctx);
        f(
            <Self as Member<Exclusive>>::data(self, &mut guard),
            &mut child,
        )
    }

    /// Acquires the lock exclusively, blocking the thread.
    #[allow(clippy::type_complexity)]
    pub fn lock<'k, C: Context>(
        &'k self,
        ctx: &'k mut C,
    ) -> (
        Result<PoisonGuard<'k, X::Guard<'k>>, Poisoned<PoisonGuard<'k, X::Guard<'k>>>>,
        LockCtx<'k, X::Level>,
    )
    where
        C::Place: LockBefore<X::Level>,
    {
        let guard = <Self as Member<Exclusive>>::acquire(self, permit(ctx));
        (guard, child(ctx))
    }
}

impl<X: Member<Shared>> Poisonable<X> {
    /// Acquires the lock shared, blocking the thread, for the time of `f`, which gets the
    /// value, as `Err` if the lock is poisoned. A panic in `f` does not poison it: nothing
    /// can be half changed.
    pub fn with_read<C: Context, Ret>(
        &self,
        ctx: &mut C,
        f: impl for<'d> FnOnce(
            <Self as MemberData<'d, Shared>>::Data,
            &mut LockCtx<'_, X::Level>,
        ) -> Ret,
    ) -> Ret
    where
        C::Place: LockBefore<X::Level>,
    {
        let mut guard = <Self as Member<Shared>>::acquire(self, permit(ctx));
        let mut child = child(ctx);
        f(<Self as Member<Shared>>::data(self, &mut guard), &mut child)
    }
}

// An acquisition after a panic says so.
impl<X> std::panic::UnwindSafe for Poisonable<X> {}
impl<X> std::panic::RefUnwindSafe for Poisonable<X> {}

impl<X: fmt::Debug> fmt::Debug for Poisonable<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poisonable")
            .field("poisoned", &self.is_poisoned())
            .field("lock", &self.lock)
            .finish()
    }
}

/// A held [`Poisonable`], which becomes poisoned if this guard is dropped by unwinding.
#[derive(Debug)]
pub struct PoisonGuard<'k, G> {
    /// Dropped first: the flag is written while the lock is held.
    _watch: Watch<'k>,
    guard: G,
}

/// Writes the flag.
#[derive(Debug)]
struct Watch<'k> {
    poisoned: &'k AtomicBool,
    /// A panic was under way when the lock was acquired, and does not concern this lock.
    panicking: bool,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.panicking && std::thread::panicking() {
            self.poisoned.store(true, Ordering::Relaxed);
        }
    }
}

impl<G: Deref> Deref for PoisonGuard<'_, G> {
    type Target = G::Target;

    fn deref(&self) -> &G::Target {
        &self.guard
    }
}

impl<G: DerefMut> DerefMut for PoisonGuard<'_, G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.guard
    }
}

/// The error of a poisoned lock, with the value in it.
#[derive(Clone, Copy)]
pub struct Poisoned<V> {
    value: V,
}

impl<V> Poisoned<V> {
    /// Returns the value, poisoned as it is.
    pub fn into_inner(self) -> V {
        self.value
    }
}

impl<V> fmt::Debug for Poisoned<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poisoned").finish_non_exhaustive()
    }
}

impl<V> fmt::Display for Poisoned<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a thread panicked while it held this lock")
    }
}

impl<V> core::error::Error for Poisoned<V> {}

// SAFETY: the same lock as the inner one's, and inside where that one is.
unsafe impl<X: OneLock> OneLock for Poisonable<X> {
    type Level = X::Level;
    const INLINE: bool = X::INLINE;

    #[inline]
    fn address(&self) -> usize {
        self.lock.address()
    }
}

impl<'d, X: MemberData<'d, Exclusive>> MemberData<'d, Exclusive, &'d Self> for Poisonable<X> {
    type Data = Result<X::Data, Poisoned<X::Data>>;
}

impl<'d, X: MemberData<'d, Shared>> MemberData<'d, Shared, &'d Self> for Poisonable<X> {
    type Data = Result<X::Data, Poisoned<X::Data>>;
}

// SAFETY: acquires the inner lock, whose guard is in this one.
unsafe impl<X: Member<Exclusive>> Member<Exclusive> for Poisonable<X> {
    type Guard<'k>
        = Result<PoisonGuard<'k, X::Guard<'k>>, Poisoned<PoisonGuard<'k, X::Guard<'k>>>>
    where
        Self: 'k;

    fn acquire<'k>(&'k self, permit: Permit<'k, X::Level>) -> Self::Guard<'k> {
        let guard = self.lock.acquire(permit);
        self.judge(PoisonGuard {
            _watch: Watch {
                poisoned: &self.poisoned,
                panicking: std::thread::panicking(),
            },
            guard,
        })
    }

    fn try_acquire<'k>(&'k self, permit: Permit<'k, X::Level>) -> Option<Self::Guard<'k>> {
        let guard = self.lock.try_acquire(permit)?;
        Some(self.judge(PoisonGuard {
            _watch: Watch {
                poisoned: &self.poisoned,
                panicking: std::thread::panicking(),
            },
            guard,
        }))
    }

    fn data<'d, 'k>(
        &'d self,
        guard: &'d mut Self::Guard<'k>,
    ) -> <Self as MemberData<'d, Exclusive>>::Data
    where
        Self: 'k,
    {
        match guard {
            Ok(guard) => Ok(self.lock.data(&mut guard.guard)),
            Err(poisoned) => Err(Poisoned {
                value: self.lock.data(&mut poisoned.value.guard),
            }),
        }
    }
}

// SAFETY: acquires the inner lock, whose guard is this one.
unsafe impl<X: Member<Shared>> Member<Shared> for Poisonable<X> {
    type Guard<'k>
        = Result<X::Guard<'k>, Poisoned<X::Guard<'k>>>
    where
        Self: 'k;

    fn acquire<'k>(&'k self, permit: Permit<'k, X::Level>) -> Self::Guard<'k> {
        let guard = self.lock.acquire(permit);
        self.judge(guard)
    }

    fn try_acquire<'k>(&'k self, permit: Permit<'k, X::Level>) -> Option<Self::Guard<'k>> {
        let guard = self.lock.try_acquire(permit)?;
        Some(self.judge(guard))
    }

    fn data<'d, 'k>(
        &'d self,
        guard: &'d mut Self::Guard<'k>,
    ) -> <Self as MemberData<'d, Shared>>::Data
    where
        Self: 'k,
    {
        match guard {
            Ok(guard) => Ok(self.lock.data(guard)),
            Err(poisoned) => Err(Poisoned {
                value: self.lock.data(&mut poisoned.value),
            }),
        }
    }
}

// SAFETY: as the inner one.
unsafe impl<X: Distinct> Distinct for Poisonable<X> {}
// SAFETY: as the inner one; nothing but its guards gives a way to it.
unsafe impl<X: Owned> Owned for Poisonable<X> {}
// SAFETY: as the inner one.
unsafe impl<X: Anchored> Anchored for Poisonable<X> {}
