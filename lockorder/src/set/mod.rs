//! Several locks of one level at a time.
//!
//! The order between levels says nothing about two locks of one level, so a thread that
//! holds one cannot take another. It takes all that it needs at once, as a set:
//!
//! | set | its locks are | costs | taken in the order of |
//! |---|---|---|---|
//! | [`LockSet`] | reachable elsewhere, too: references, `Arc`s, whole arrays and vectors | a sort and a check when made (none for locks that lie in one array) | their addresses |
//! | [`OwnedSet`] | reachable through the set only | nothing | their places in the set |
//! | [`RetrySet`] | known by several addresses, e.g. shared between processes | a check when made; may acquire in vain | none: it waits for one and tries the rest |
//!
//! All three hold tuples, arrays, vectors and slices of [`Mutex`](crate::Mutex) and
//! [`RwLock`](crate::RwLock), of one level (another level in the set does not compile). All
//! can be acquired exclusively (`lock`, `with`) and, where every member is an `RwLock`,
//! shared (`read`, `with_read`); [`Read`] makes one member shared in an exclusive set.
//!
//! # From HappyLock
//!
//! | HappyLock | here | different in |
//! |---|---|---|
//! | `ThreadKey` | [`Key`](crate::Key) | one per domain; borrowed, not consumed, so that later levels can follow |
//! | `Keyable` | `&mut LockCtx<'_, P>` where `C::Place: LockBefore<L>` | says what is held, too |
//! | `Mutex<T, R>`, `RwLock<T, R>` | [`Mutex<L, T, R>`](crate::Mutex), [`RwLock<L, T, R>`](crate::RwLock) | have a level |
//! | `SpinLock<T>` | `Mutex<L, T, RawSpin>`, feature `spin` | |
//! | `LockCollection`, `BoxedLockCollection<L>` | [`LockSet<S>`] of references, `Arc`s, or of a `Vec` or boxed slice that it owns | nothing is boxed beyond what the set owns already |
//! | `RefLockCollection<'a, L>` | [`LockSet<&'a S>`](LockSet) | no allocation for tuples, arrays and slices of locks |
//! | `OwnedLockCollection<L>` | [`OwnedSet<S>`] | |
//! | `RetryingLockCollection<L>` | [`RetrySet<S>`] | |
//! | `new`, `new_ref`, `try_new`, `new_unchecked` | `new`, `new`, `try_new`; no unchecked one | the error names the two places |
//! | `Poisonable<L>` | [`Poisonable<X>`](crate::Poisonable) | |
//! | `Lockable`, `RawLock` | [`Lockable`], [`OneLock`], [`Member`] | a member cannot be acquired without a permit |
//! | `Sharable`, `read`, `scoped_read` | `Lockable<Shared>`, `read`, `with_read` | one shared member in an exclusive set: [`Read`] |
//! | `OwnedLockable` | [`Distinct`], [`Owned`] | two properties, two traits |
//! | `LockableGetMut`, `LockableIntoInner` | `get_mut` and `into_inner` of [`OwnedSet`] give the members | |
//! | `LockGuard` | the members' own guards, each bound to the context | can be dropped one by one |
//! | `scoped_lock`, `scoped_try_lock` | `with`, `try_with` | |
//! | collections in collections | not offered: flatten them | |
//! | `LockContext` | [`LockCtx`](crate::LockCtx): hold, then take more, of a later level | checked by the compiler, not by retrying |

/// The acquisitions that every kind of set has.
macro_rules! acquisitions {
    ($set:ident: $bound:ident) => {
        impl<S: Lockable<Exclusive> + $bound> $set<S> {
            /// Acquires every lock of the set exclusively, blocking the thread, for the time of `f`,
            /// which gets what they protect in the set's shape, and the context in which to
            /// acquire what comes after the level.
            #[inline]
            pub fn with<C: Context, Ret>(
                &self,
                ctx: &mut C,
                f: impl for<'d> FnOnce(<S as Data<'d, Exclusive>>::Data, &mut LockCtx<'_, S::Level>) -> Ret,
            ) -> Ret
            where
                C::Place: LockBefore<S::Level>,
            {
                let (mut guard, mut child) = self.lock(ctx);
                f(self.locks.data(&mut guard), &mut child)
            }

            /// The same if every lock can be had now. Returns `None` otherwise, without calling `f`.
            #[inline]
            pub fn try_with<C: Context, Ret>(
                &self,
                ctx: &mut C,
                f: impl for<'d> FnOnce(<S as Data<'d, Exclusive>>::Data, &mut LockCtx<'_, S::Level>) -> Ret,
            ) -> Option<Ret>
            where
                C::Place: LockBefore<S::Level>,
            {
                let (mut guard, mut child) = self.try_lock(ctx)?;
                Some(f(self.locks.data(&mut guard), &mut child))
            }

            /// Acquires every lock of the set exclusively, blocking the thread. The guards come in
            /// the set's shape; each of them, and the context, borrows `ctx`.
            #[inline]
            pub fn lock<'k, C: Context>(
                &'k self,
                ctx: &'k mut C,
            ) -> (<S as Lockable<Exclusive>>::Guard<'k>, LockCtx<'k, S::Level>)
            where
                C::Place: LockBefore<S::Level>,
            {
                (self.acquire::<Exclusive>(permit(ctx)), child(ctx))
            }

            /// Acquires every lock of the set exclusively if all can be had now; else none is held.
            #[inline]
            pub fn try_lock<'k, C: Context>(
                &'k self,
                ctx: &'k mut C,
            ) -> Option<(<S as Lockable<Exclusive>>::Guard<'k>, LockCtx<'k, S::Level>)>
            where
                C::Place: LockBefore<S::Level>,
            {
                let guard = self.try_acquire::<Exclusive>(permit(ctx))?;
                Some((guard, child(ctx)))
            }
        }

        impl<S: Lockable<Shared> + $bound> $set<S> {
            /// Acquires every lock of the set shared, blocking the thread, for the time of `f`,
            /// which gets what they protect in the set's shape, and the context in which to
            /// acquire what comes after the level.
            #[inline]
            pub fn with_read<C: Context, Ret>(
                &self,
                ctx: &mut C,
                f: impl for<'d> FnOnce(<S as Data<'d, Shared>>::Data, &mut LockCtx<'_, S::Level>) -> Ret,
            ) -> Ret
            where
                C::Place: LockBefore<S::Level>,
            {
                let (mut guard, mut child) = self.read(ctx);
                f(self.locks.data(&mut guard), &mut child)
            }

            /// The same if every lock can be had now. Returns `None` otherwise, without calling `f`.
            #[inline]
            pub fn try_with_read<C: Context, Ret>(
                &self,
                ctx: &mut C,
                f: impl for<'d> FnOnce(<S as Data<'d, Shared>>::Data, &mut LockCtx<'_, S::Level>) -> Ret,
            ) -> Option<Ret>
            where
                C::Place: LockBefore<S::Level>,
            {
                let (mut guard, mut child) = self.try_read(ctx)?;
                Some(f(self.locks.data(&mut guard), &mut child))
            }

            /// Acquires every lock of the set shared, blocking the thread. The guards come in
            /// the set's shape; each of them, and the context, borrows `ctx`.
            #[inline]
            pub fn read<'k, C: Context>(
                &'k self,
                ctx: &'k mut C,
            ) -> (<S as Lockable<Shared>>::Guard<'k>, LockCtx<'k, S::Level>)
            where
                C::Place: LockBefore<S::Level>,
            {
                (self.acquire::<Shared>(permit(ctx)), child(ctx))
            }

            /// Acquires every lock of the set shared if all can be had now; else none is held.
            #[inline]
            pub fn try_read<'k, C: Context>(
                &'k self,
                ctx: &'k mut C,
            ) -> Option<(<S as Lockable<Shared>>::Guard<'k>, LockCtx<'k, S::Level>)>
            where
                C::Place: LockBefore<S::Level>,
            {
                let guard = self.try_acquire::<Shared>(permit(ctx))?;
                Some((guard, child(ctx)))
            }
        }
    };
}
mod collections;
mod contract;
mod members;
mod owned;
mod retry;
mod sorted;
mod tuples;

use core::fmt;

#[cfg(feature = "alloc")]
pub use collections::SliceOrder;
pub use contract::{
    Anchored, Data, Distinct, Exclusive, Lockable, Locks, Member, MemberData, OneLock, Order,
    Owned, Permit, SameLevel, Shape, Shared,
};
pub use members::Read;
pub use owned::OwnedSet;
pub use retry::RetrySet;
pub use sorted::LockSet;

/// The error of a set in which two places lead to the same lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DuplicateLock {
    /// The lower index in the set.
    pub first: usize,
    /// The higher index in the set.
    pub second: usize,
}

impl fmt::Display for DuplicateLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the locks at {} and {} of the set are the same one",
            self.first, self.second
        )
    }
}

impl core::error::Error for DuplicateLock {}

/// Looks for a lock that is there twice: two neighbours in the order of addresses.
pub(crate) fn check<S: Locks>(set: &S, order: &S::Order) -> Result<(), DuplicateLock> {
    for turn in 1..set.count() {
        let (one, other) = (order.at(turn - 1), order.at(turn));
        if set.address(one) == set.address(other) {
            return Err(DuplicateLock {
                first: one.min(other),
                second: one.max(other),
            });
        }
    }
    Ok(())
}

/// Panics because of an empty slot. Sets acquire each index once before they finish, so it is not
/// called.
#[cold]
#[inline(never)]
pub(crate) fn missing() -> ! {
    unreachable!("every lock of the set has been acquired")
}
