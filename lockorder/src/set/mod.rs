//! Several locks of one level at a time.
//!
//! The order between levels says nothing about two locks of one level, so a thread that
//! holds one cannot take another. It takes all that it needs at once, as a set:
//!
//! | set | its locks are | costs | taken in the order of |
//! |---|---|---|---|
//! | [`LockSet`] | reachable elsewhere, too: references, `Arc`s, whole arrays and vectors | a sort and a check when made (none for locks that lie in one array) | their addresses |
//! | [`OwnedSet`] | reachable through the set only | nothing | their places in the set |
//! | [`RetrySet`] | such that their addresses say nothing, e.g. shared between processes | a check when made; may acquire in vain | whoever is free |
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
//! | `Keyable` | `&mut LockCtx<'_, P>` where `P: LockBefore<L>` | says what is held, too |
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
            pub fn with<P, Ret>(
                &self,
                ctx: &mut LockCtx<'_, P>,
                f: impl for<'d> FnOnce(<S as Data<'d, Exclusive>>::Data, &mut LockCtx<'_, S::Level>) -> Ret,
            ) -> Ret
            where
                P: LockBefore<S::Level>,
            {
                let (mut guard, mut child) = self.lock(ctx);
                f(self.locks.data(&mut guard), &mut child)
            }

            /// The same if every lock can be had now, else `None`, `f` not being called.
            #[inline]
            pub fn try_with<P, Ret>(
                &self,
                ctx: &mut LockCtx<'_, P>,
                f: impl for<'d> FnOnce(<S as Data<'d, Exclusive>>::Data, &mut LockCtx<'_, S::Level>) -> Ret,
            ) -> Option<Ret>
            where
                P: LockBefore<S::Level>,
            {
                let (mut guard, mut child) = self.try_lock(ctx)?;
                Some(f(self.locks.data(&mut guard), &mut child))
            }

            /// Acquires every lock of the set exclusively, blocking the thread. The guards come in
            /// the set's shape; each of them, and the context, borrows `ctx`.
            #[inline]
            pub fn lock<'k, P>(
                &'k self,
                ctx: &'k mut LockCtx<'_, P>,
            ) -> (<S as Lockable<Exclusive>>::Guard<'k>, LockCtx<'k, S::Level>)
            where
                P: LockBefore<S::Level>,
            {
                (self.acquire::<Exclusive>(ctx.permit()), ctx.descend())
            }

            /// Acquires every lock of the set exclusively if all can be had now; else none is held.
            #[inline]
            pub fn try_lock<'k, P>(
                &'k self,
                ctx: &'k mut LockCtx<'_, P>,
            ) -> Option<(<S as Lockable<Exclusive>>::Guard<'k>, LockCtx<'k, S::Level>)>
            where
                P: LockBefore<S::Level>,
            {
                let guard = self.try_acquire::<Exclusive>(ctx.permit())?;
                Some((guard, ctx.descend()))
            }
        }

        impl<S: Lockable<Shared> + $bound> $set<S> {
            /// Acquires every lock of the set shared, blocking the thread, for the time of `f`,
            /// which gets what they protect in the set's shape, and the context in which to
            /// acquire what comes after the level.
            #[inline]
            pub fn with_read<P, Ret>(
                &self,
                ctx: &mut LockCtx<'_, P>,
                f: impl for<'d> FnOnce(<S as Data<'d, Shared>>::Data, &mut LockCtx<'_, S::Level>) -> Ret,
            ) -> Ret
            where
                P: LockBefore<S::Level>,
            {
                let (mut guard, mut child) = self.read(ctx);
                f(self.locks.data(&mut guard), &mut child)
            }

            /// The same if every lock can be had now, else `None`, `f` not being called.
            #[inline]
            pub fn try_with_read<P, Ret>(
                &self,
                ctx: &mut LockCtx<'_, P>,
                f: impl for<'d> FnOnce(<S as Data<'d, Shared>>::Data, &mut LockCtx<'_, S::Level>) -> Ret,
            ) -> Option<Ret>
            where
                P: LockBefore<S::Level>,
            {
                let (mut guard, mut child) = self.try_read(ctx)?;
                Some(f(self.locks.data(&mut guard), &mut child))
            }

            /// Acquires every lock of the set shared, blocking the thread. The guards come in
            /// the set's shape; each of them, and the context, borrows `ctx`.
            #[inline]
            pub fn read<'k, P>(
                &'k self,
                ctx: &'k mut LockCtx<'_, P>,
            ) -> (<S as Lockable<Shared>>::Guard<'k>, LockCtx<'k, S::Level>)
            where
                P: LockBefore<S::Level>,
            {
                (self.acquire::<Shared>(ctx.permit()), ctx.descend())
            }

            /// Acquires every lock of the set shared if all can be had now; else none is held.
            #[inline]
            pub fn try_read<'k, P>(
                &'k self,
                ctx: &'k mut LockCtx<'_, P>,
            ) -> Option<(<S as Lockable<Shared>>::Guard<'k>, LockCtx<'k, S::Level>)>
            where
                P: LockBefore<S::Level>,
            {
                let guard = self.try_acquire::<Shared>(ctx.permit())?;
                Some((guard, ctx.descend()))
            }
        }
    };
}
mod collections;
mod members;
mod owned;
mod retry;
mod sorted;
mod tuples;

use core::fmt;
use core::marker::PhantomData;

use crate::Level;

#[cfg(feature = "alloc")]
pub use collections::SliceOrder;
pub use members::Read;
pub use owned::OwnedSet;
pub use retry::RetrySet;
pub use sorted::LockSet;

/// The mode of an acquisition: each lock for its holder alone.
#[derive(Debug, Clone, Copy)]
pub enum Exclusive {}

/// The mode of an acquisition: with others that only read.
#[derive(Debug, Clone, Copy)]
pub enum Shared {}

/// The right to acquire locks of level `L` for the time `'k`.
///
/// - **Define:** during `'k` the thread holds no lock of level `L` or later but those that
///   were acquired with this permit.
/// - **Enforce:** only the sets of this crate make one, from a context that they borrow for
///   `'k`.
/// - **Consume:** [`Member::acquire`] acquires without asking for anything else.
pub struct Permit<'k, L> {
    level: PhantomData<fn() -> L>,
    time: PhantomData<(&'k mut (), *mut ())>,
}

impl<L> Clone for Permit<'_, L> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<L> Copy for Permit<'_, L> {}

impl<L> Permit<'_, L> {
    #[inline]
    pub(crate) const fn mint() -> Self {
        Permit {
            level: PhantomData,
            time: PhantomData,
        }
    }
}

impl<L: Level> fmt::Debug for Permit<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permit<{}>", L::NAME)
    }
}

/// One lock: a [`Mutex`](crate::Mutex) or [`RwLock`](crate::RwLock), or something that
/// leads to exactly one.
///
/// # Safety
///
/// - [`address`](OneLock::address) is that of the lock's own storage, equal for two values
///   exactly if they lead to the same lock, and constant while a shared borrow of the lock
///   lasts.
/// - [`Level`](OneLock::Level) is the level of that lock.
/// - If [`INLINE`](OneLock::INLINE), the lock lies inside the value, so that in an array
///   addresses grow with the index.
///
/// # Robustness
///
/// The promise against deadlock rests on it (a wrong address can make a thread wait for
/// itself), memory safety does not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a lock that can be a member of a set",
    label = "not a `Mutex`, a `RwLock`, or a reference to one"
)]
pub unsafe trait OneLock {
    /// The level of the lock.
    type Level: Level;

    /// Whether the lock lies inside the value.
    const INLINE: bool;

    /// The address of the lock.
    fn address(&self) -> usize;
}

/// What the closure of a set gets to see of a member: `&'d mut T` or `&'d T`.
pub trait MemberData<'d, M, Bound = &'d Self> {
    /// The view.
    type Data;
}

/// A lock that can be acquired in the mode `M`.
///
/// # Safety
///
/// - [`acquire`](Member::acquire) acquires the lock of [`OneLock::address`] and nothing
///   else; [`try_acquire`](Member::try_acquire) never waits.
/// - The guard releases the lock on drop, and keeps it until then. It is not `Send`.
///
/// # Robustness
///
/// As for [`OneLock`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be acquired in the mode `{M}`",
    label = "not a lock with this mode"
)]
pub unsafe trait Member<M>: OneLock + for<'d> MemberData<'d, M> {
    /// The lock, held.
    type Guard<'k>
    where
        Self: 'k;

    /// Acquires the lock, blocking the thread.
    fn acquire<'k>(&'k self, permit: Permit<'k, Self::Level>) -> Self::Guard<'k>;

    /// Acquires the lock if it is free now.
    fn try_acquire<'k>(&'k self, permit: Permit<'k, Self::Level>) -> Option<Self::Guard<'k>>;

    /// What is protected.
    fn data<'d, 'k>(&'d self, guard: &'d mut Self::Guard<'k>) -> <Self as MemberData<'d, M>>::Data
    where
        Self: 'k;
}

/// In what order to acquire: the index of the lock whose turn it is.
pub trait Order {
    /// The index of the lock to take at that turn.
    fn at(&self, turn: usize) -> usize;
}

/// Several locks of one level.
///
/// # Safety
///
/// - The locks are those of the indices below [`count`](Locks::count), with the addresses
///   that [`address`](Locks::address) says, and neither changes while a shared borrow lasts.
/// - [`order`](Locks::order) yields each index once, by ascending address; if
///   [`ASCENDING`](Locks::ASCENDING), that is by index.
///
/// # Robustness
///
/// As for [`OneLock`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a set of locks of one level",
    label = "expected a tuple, array, slice or vector of locks, all of one level"
)]
pub unsafe trait Locks {
    /// The level of every lock in it.
    type Level: Level;

    /// The order by address.
    type Order: Order;

    /// Whether that is the order of the indices, wherever the set lies.
    const ASCENDING: bool;

    /// How many locks there are.
    fn count(&self) -> usize;

    /// The address of the lock at that index.
    fn address(&self, index: usize) -> usize;

    /// Sorts by address.
    fn order(&self) -> Self::Order;
}

/// What the closure of a set gets to see: the members' views, in the set's shape.
pub trait Data<'d, M, Bound = &'d Self> {
    /// The views.
    type Data;
}

/// A set that can be acquired in the mode `M`.
///
/// # Safety
///
/// [`acquire`](Lockable::acquire) and [`try_acquire`](Lockable::try_acquire) do for the lock
/// of that index what [`Member`] asks, and keep the guard in the slots;
/// [`acquire_by_index`](Lockable::acquire_by_index) does it for all of them, from 0 on.
///
/// # Robustness
///
/// As for [`OneLock`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a set of locks that can be acquired in the mode `{M}`",
    label = "not every member is a lock with this mode"
)]
pub unsafe trait Lockable<M>: Locks + for<'d> Data<'d, M> {
    /// The members' guards, in the set's shape.
    type Guard<'k>
    where
        Self: 'k;

    /// Room for the guards. What is in it is released when it is dropped.
    type Slots<'k>
    where
        Self: 'k;

    /// Acquires every lock, by index, blocking the thread.
    fn acquire_by_index<'k>(&'k self, permit: Permit<'k, Self::Level>) -> Self::Guard<'k>;

    /// Empty slots.
    fn slots<'k>(&'k self) -> Self::Slots<'k>;

    /// Acquires the lock of that index, which must be below [`Locks::count`].
    fn acquire<'k>(
        &'k self,
        index: usize,
        slots: &mut Self::Slots<'k>,
        permit: Permit<'k, Self::Level>,
    );

    /// Acquires the lock of that index if it is free now. False if not.
    fn try_acquire<'k>(
        &'k self,
        index: usize,
        slots: &mut Self::Slots<'k>,
        permit: Permit<'k, Self::Level>,
    ) -> bool;

    /// The guards, all of which must have been acquired.
    fn finish<'k>(slots: Self::Slots<'k>) -> Self::Guard<'k>
    where
        Self: 'k;

    /// What is protected.
    fn data<'d, 'k>(&'d self, guard: &'d mut Self::Guard<'k>) -> <Self as Data<'d, M>>::Data
    where
        Self: 'k;
}

/// No two of the locks are the same one.
///
/// # Safety
///
/// That must be so, whatever safe code does: the locks lie in the value, or are owned by it.
///
/// # Robustness
///
/// As for [`OneLock`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` may hold the same lock twice",
    label = "does not own its locks: check it with `try_new`"
)]
pub unsafe trait Distinct {}

/// The locks belong to the value: whoever has it alone has them alone.
///
/// # Safety
///
/// A value that nobody else can reach must lead to locks that nobody else can reach.
///
/// # Robustness
///
/// As for [`OneLock`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not own its locks",
    label = "others may reach these locks: use a `LockSet`"
)]
pub unsafe trait Owned: Distinct {}

/// Moving the value does not move its locks.
///
/// # Safety
///
/// That must be so.
///
/// # Robustness
///
/// As for [`OneLock`].
#[diagnostic::on_unimplemented(
    message = "the locks of `{Self}` move with it",
    label = "a sorted set keeps an order of addresses: give it a reference, or use an `OwnedSet`"
)]
pub unsafe trait Anchored {}

/// A set that was refused: two of its places lead to the same lock.
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

/// Looks for a lock that is there twice: neighbours in the order by address.
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

/// A slot that was to be filled. Sets acquire each index once before they finish.
#[cold]
#[inline(never)]
pub(crate) fn missing() -> ! {
    unreachable!("every lock of the set has been acquired")
}
