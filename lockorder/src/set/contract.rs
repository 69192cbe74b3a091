//! The traits of sets and of their members.
//!
//! Two layers: a [`Member`] is one lock, a [`Lockable`] is several in some shape. Each has the
//! mode of acquisition as a parameter, so that exclusive and shared sets are one code. The
//! traits are unsafe to implement; the implementations of this crate are for its own locks,
//! for what leads to one, and for tuples, arrays, slices and vectors.

use core::fmt;
use core::marker::PhantomData;

use crate::Level;

/// The exclusive mode of an acquisition.
#[derive(Debug, Clone, Copy)]
pub enum Exclusive {}

/// The shared mode of an acquisition: others can read at the same time.
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

    /// True if the lock lies inside the value.
    const INLINE: bool;

    /// Returns the address of the lock.
    fn address(&self) -> usize;
}

/// The same level as `L`: what the levels of the members of a tuple must be.
#[diagnostic::on_unimplemented(
    message = "a set has locks of the levels `{L}` and `{Self}`",
    label = "the locks of a set are of one level",
    note = "locks of several levels are acquired one after the other, in the declared order"
)]
pub trait SameLevel<L> {}
impl<L> SameLevel<L> for L {}

/// The view of a member in the closure of a set: `&'d mut T` or `&'d T`.
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

    /// Returns the view of what is protected.
    fn data<'d, 'k>(&'d self, guard: &'d mut Self::Guard<'k>) -> <Self as MemberData<'d, M>>::Data
    where
        Self: 'k;
}

/// An order of acquisition.
pub trait Order {
    /// Returns the index of the lock to take at that turn.
    fn at(&self, turn: usize) -> usize;
}

/// The shape of a set: a tuple, an array, a slice or a vector, of locks of whatever levels.
///
/// A type that holds a set asks for its shape only, so that a set of several levels is refused once,
/// where it is made.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a set of locks of one level",
    label = "expected a tuple, array, slice or vector of locks, all of one level"
)]
pub trait Shape {
    /// The order by address.
    type Order: Order;
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
pub unsafe trait Locks: Shape {
    /// The level of every lock in it.
    type Level: Level;

    /// True if the order by address is that of the indices, wherever the set lies.
    const ASCENDING: bool;

    /// Returns the number of locks.
    fn count(&self) -> usize;

    /// Returns the address of the lock at that index.
    fn address(&self, index: usize) -> usize;

    /// Sorts by address.
    fn order(&self) -> Self::Order;
}

/// The view of a set in its closure: the members' views, in the set's shape.
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

    /// Room for the guards. Guards in it are released when it is dropped.
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

    /// Takes the guards out, all of which must have been acquired.
    fn finish<'k>(slots: &mut Self::Slots<'k>) -> Self::Guard<'k>
    where
        Self: 'k;

    /// Returns the view of what is protected.
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

/// The locks belong to the value: exclusive access to it is exclusive access to them.
///
/// # Safety
///
/// A value that is not shared must lead to locks that are not shared.
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
