//! Owned sets: locks that can be reached through the set only.
//!
//! - **Define:** a thread that acquires a lock of an [`OwnedSet`] acquires all of them, by index.
//! - **Enforce:** the set takes a value that owns its locks ([`Owned`]), and never gives a shared
//!   reference to them.
//! - **Consume:** two threads that want the same set meet at its first lock, so neither a
//!   sort nor a check for duplicates is needed.

use super::{Data, Exclusive, Lockable, Locks, Owned, Permit, Shared};
use crate::ctx::{Context, child, permit};
use crate::{LockBefore, LockCtx};

/// A set of locks that belong to it, acquired in the order of their places.
///
/// ```
/// # mod levels { lockorder::lock_order! { pub domain App; level Shard; App => Shard; } }
/// use lockorder::{Key, OwnedSet, RwLock};
/// static SHARDS: OwnedSet<[RwLock<levels::Shard, u32>; 2]> =
///     OwnedSet::new([RwLock::new(1), RwLock::new(2)]);
/// let mut key = Key::<levels::App>::take().expect("the key is free");
/// SHARDS.with(&mut key.ctx(), |[first, second], _| core::mem::swap(first, second));
/// assert_eq!(SHARDS.with_read(&mut key.ctx(), |[first, second], _| *first * 10 + *second), 21);
/// ```
#[derive(Debug)]
pub struct OwnedSet<S> {
    locks: S,
}

impl<S: Locks + Owned> OwnedSet<S> {
    /// Takes the locks over. An owner can neither have a lock twice nor share it.
    #[inline]
    pub const fn new(locks: S) -> Self {
        OwnedSet { locks }
    }
}

// A derived one would ask for nothing but `S: Default`, and let references in.
impl<S: Locks + Owned + Default> Default for OwnedSet<S> {
    fn default() -> Self {
        OwnedSet::new(S::default())
    }
}

impl<S> OwnedSet<S> {
    /// Returns the members. The exclusive borrow proves that they are free.
    #[inline]
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.locks
    }

    /// Returns the members.
    #[inline]
    pub fn into_inner(self) -> S {
        self.locks
    }
}

impl<S: Locks + Owned> OwnedSet<S> {
    #[inline]
    fn acquire<'k, M>(&'k self, permit: Permit<'k, S::Level>) -> S::Guard<'k>
    where
        S: Lockable<M>,
    {
        self.locks.acquire_by_index(permit)
    }

    #[inline]
    fn try_acquire<'k, M>(&'k self, permit: Permit<'k, S::Level>) -> Option<S::Guard<'k>>
    where
        S: Lockable<M>,
    {
        let mut slots = self.locks.slots();
        for index in 0..self.locks.count() {
            if !self.locks.try_acquire(index, &mut slots, permit) {
                return None;
            }
        }
        Some(S::finish(&mut slots))
    }
}

acquisitions!(OwnedSet: Owned);
