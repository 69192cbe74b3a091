//! The single locks that can be in a set, and pointers to them.

use lock_api::{RawMutex, RawRwLock};

use super::{Anchored, Distinct, Exclusive, Member, MemberData, OneLock, Owned, Permit, Shared};
use crate::{Level, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

// SAFETY: the raw lock lies in the mutex, and is not of size zero or else two of them cannot
// be told apart and count as the same, which refuses a set and allows none.
unsafe impl<L: Level, T: ?Sized, R: RawMutex> OneLock for Mutex<L, T, R> {
    type Level = L;
    const INLINE: bool = true;

    #[inline]
    fn address(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
}

impl<'d, L, T: ?Sized, R> MemberData<'d, Exclusive, &'d Self> for Mutex<L, T, R> {
    type Data = &'d mut T;
}

// SAFETY: acquires its own raw lock; the guard releases it.
unsafe impl<L: Level, T: ?Sized, R: RawMutex> Member<Exclusive> for Mutex<L, T, R> {
    type Guard<'k>
        = MutexGuard<'k, L, T, R>
    where
        Self: 'k;

    #[inline]
    fn acquire<'k>(&'k self, permit: Permit<'k, L>) -> Self::Guard<'k> {
        self.acquire_permitted(permit)
    }

    #[inline]
    fn try_acquire<'k>(&'k self, permit: Permit<'k, L>) -> Option<Self::Guard<'k>> {
        self.try_acquire_permitted(permit)
    }

    #[inline]
    fn data<'d, 'k>(&'d self, guard: &'d mut Self::Guard<'k>) -> &'d mut T
    where
        Self: 'k,
    {
        guard
    }
}

// SAFETY: as for `Mutex`.
unsafe impl<L: Level, T: ?Sized, R: RawRwLock> OneLock for RwLock<L, T, R> {
    type Level = L;
    const INLINE: bool = true;

    #[inline]
    fn address(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
}

impl<'d, L, T: ?Sized, R> MemberData<'d, Exclusive, &'d Self> for RwLock<L, T, R> {
    type Data = &'d mut T;
}

impl<'d, L, T: ?Sized, R> MemberData<'d, Shared, &'d Self> for RwLock<L, T, R> {
    type Data = &'d T;
}

// SAFETY: acquires its own raw lock; the guard releases it.
unsafe impl<L: Level, T: ?Sized, R: RawRwLock> Member<Exclusive> for RwLock<L, T, R> {
    type Guard<'k>
        = RwLockWriteGuard<'k, L, T, R>
    where
        Self: 'k;

    #[inline]
    fn acquire<'k>(&'k self, permit: Permit<'k, L>) -> Self::Guard<'k> {
        self.write_permitted(permit)
    }

    #[inline]
    fn try_acquire<'k>(&'k self, permit: Permit<'k, L>) -> Option<Self::Guard<'k>> {
        self.try_write_permitted(permit)
    }

    #[inline]
    fn data<'d, 'k>(&'d self, guard: &'d mut Self::Guard<'k>) -> &'d mut T
    where
        Self: 'k,
    {
        guard
    }
}

// SAFETY: acquires its own raw lock; the guard releases it.
unsafe impl<L: Level, T: ?Sized, R: RawRwLock> Member<Shared> for RwLock<L, T, R> {
    type Guard<'k>
        = RwLockReadGuard<'k, L, T, R>
    where
        Self: 'k;

    #[inline]
    fn acquire<'k>(&'k self, permit: Permit<'k, L>) -> Self::Guard<'k> {
        self.read_permitted(permit)
    }

    #[inline]
    fn try_acquire<'k>(&'k self, permit: Permit<'k, L>) -> Option<Self::Guard<'k>> {
        self.try_read_permitted(permit)
    }

    #[inline]
    fn data<'d, 'k>(&'d self, guard: &'d mut Self::Guard<'k>) -> &'d T
    where
        Self: 'k,
    {
        guard
    }
}

/// A member that is read: in a set that is acquired exclusively, this lock is shared.
///
/// ```
/// # mod levels { lockorder::lock_order! { pub domain App; level Account; App => Account; } }
/// use lockorder::{Key, LockSet, Mutex, Read, RwLock};
/// let rate = RwLock::<levels::Account, u64>::new(3);
/// let total = Mutex::<levels::Account, u64>::new(0);
/// let mut key = Key::<levels::App>::take().expect("the key is free");
/// let set = LockSet::try_new((Read(&rate), &total))?;
/// set.with(&mut key.ctx(), |(rate, total), _| *total += 5 * *rate);
/// assert_eq!(total.into_inner(), 15);
/// # Ok::<(), lockorder::DuplicateLock>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Read<X>(pub X);

// SAFETY: the same lock as the inner one's, in the same place.
unsafe impl<X: OneLock> OneLock for Read<X> {
    type Level = X::Level;
    const INLINE: bool = X::INLINE;

    #[inline]
    fn address(&self) -> usize {
        self.0.address()
    }
}

impl<'d, M, X: MemberData<'d, Shared>> MemberData<'d, M, &'d Self> for Read<X> {
    type Data = X::Data;
}

// SAFETY: the inner one's, shared, whatever the mode.
unsafe impl<M, X: Member<Shared>> Member<M> for Read<X> {
    type Guard<'k>
        = X::Guard<'k>
    where
        Self: 'k;

    #[inline]
    fn acquire<'k>(&'k self, permit: Permit<'k, X::Level>) -> Self::Guard<'k> {
        self.0.acquire(permit)
    }

    #[inline]
    fn try_acquire<'k>(&'k self, permit: Permit<'k, X::Level>) -> Option<Self::Guard<'k>> {
        self.0.try_acquire(permit)
    }

    #[inline]
    fn data<'d, 'k>(&'d self, guard: &'d mut Self::Guard<'k>) -> <X as MemberData<'d, Shared>>::Data
    where
        Self: 'k,
    {
        self.0.data(guard)
    }
}

/// Pointers to a lock elsewhere: references, and owners on the heap.
macro_rules! leads {
    ($($(#[$attribute:meta])* [$($generics:tt)*] $pointer:ty;)*) => {$(
        $(#[$attribute])*
        // SAFETY: the lock pointed at, for as long as the pointer is borrowed.
        unsafe impl<$($generics)* X: OneLock + ?Sized> OneLock for $pointer {
            type Level = X::Level;
            const INLINE: bool = false;

            #[inline]
            fn address(&self) -> usize {
                X::address(self)
            }
        }

        $(#[$attribute])*
        impl<'d, $($generics)* M, X: MemberData<'d, M> + ?Sized> MemberData<'d, M, &'d Self> for $pointer {
            type Data = X::Data;
        }

        $(#[$attribute])*
        // SAFETY: the lock pointed at.
        unsafe impl<$($generics)* M, X: Member<M> + ?Sized> Member<M> for $pointer {
            type Guard<'k> = X::Guard<'k> where Self: 'k;

            #[inline]
            fn acquire<'k>(&'k self, permit: Permit<'k, X::Level>) -> Self::Guard<'k> {
                X::acquire(self, permit)
            }

            #[inline]
            fn try_acquire<'k>(&'k self, permit: Permit<'k, X::Level>) -> Option<Self::Guard<'k>> {
                X::try_acquire(self, permit)
            }

            #[inline]
            fn data<'d, 'k>(&'d self, guard: &'d mut Self::Guard<'k>) -> <X as MemberData<'d, M>>::Data
    where
        Self: 'k,
    {
                X::data(self, guard)
            }
        }

        $(#[$attribute])*
        // SAFETY: moving a pointer does not move what it points at.
        unsafe impl<$($generics)* X: ?Sized> Anchored for $pointer {}
    )*};
}

leads! {
    ['a,] &'a X;
    #[cfg(feature = "alloc")]
    [] alloc::sync::Arc<X>;
    #[cfg(feature = "alloc")]
    [] alloc::boxed::Box<X>;
}

/// Types that own their lock.
macro_rules! owns {
    ($($(#[$attribute:meta])* [$($generics:tt)*] $owner:ty;)*) => {$(
        $(#[$attribute])*
        // SAFETY: one lock is not there twice.
        unsafe impl<$($generics)*> Distinct for $owner {}

        $(#[$attribute])*
        // SAFETY: the lock lies in the value, or in what it alone points at.
        unsafe impl<$($generics)*> Owned for $owner {}
    )*};
}

owns! {
    [L, T: ?Sized, R] Mutex<L, T, R>;
    [L, T: ?Sized, R] RwLock<L, T, R>;
    [X: Owned] Read<X>;
    #[cfg(feature = "alloc")]
    [X: Owned + ?Sized] alloc::boxed::Box<X>;
}

// SAFETY: as the inner one.
unsafe impl<X: Anchored> Anchored for Read<X> {}

// SAFETY: the same locks, of which no two are the same.
unsafe impl<S: Distinct + ?Sized> Distinct for &S {}
