//! Slabs: the allocations of a pool, and the handle that may write to one.

// Not part of any stack's lock order: no other lock is taken while this one is held.
#![allow(clippy::disallowed_types)]

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::account::Account;
use super::budget::Budget;
use super::free_list::{self, FreeList};
use super::ledger::Entry;
use super::payload::Payload;
use super::store::Store;

/// One allocation of a pool. Users of the crate hold it as a [`SlabMut`] or a [`Payload`].
pub(super) struct Slab {
    pub(super) bytes: Store,
    pub(super) entry: Entry,
    /// The free list that the slab returns to. Weak, because the free list holds the slab while it is
    /// unused: a slab must not keep its pool alive, and one that outlives its pool is freed when it is
    /// dropped.
    pub(super) free_list: Weak<FreeList>,
    /// The slabs that the pool has allocated.
    pub(super) alive: Arc<Alive>,
    /// True in a pool whose slabs are lent for one turn only; see [`Pool::lending`](super::Pool).
    pub(super) lent: bool,
    /// The account of the flow that holds it, if one does.
    pub(super) charged: Mutex<Option<Account>>,
}

/// The slabs of a pool that exist, free or in use, and the budget that they are counted against.
#[derive(Debug)]
pub(super) struct Alive {
    pub(super) slabs: AtomicUsize,
    pub(super) budget: Arc<Budget>,
}

/// Bytes that a slab takes beside its contents: its record and those of the allocator.
const OVERHEAD_BYTES: usize = 128;

/// Returns the bytes that a slab of `len` bytes takes.
pub(super) const fn cost(len: usize) -> usize {
    len + OVERHEAD_BYTES
}

impl Slab {
    /// Moves the charge for this slab to `account`.
    pub(super) fn charge_to(&self, account: &Account) {
        let mut charged = self.charged.lock().unwrap_or_else(PoisonError::into_inner);
        match &*charged {
            Some(before) if before.is(account) => return,
            Some(before) => before.remove(cost(self.bytes.len())),
            None => {}
        }
        account.add(cost(self.bytes.len()));
        *charged = Some(account.clone());
    }

    /// Ends the charge: nobody holds the slab any more.
    fn discharge(&mut self) {
        let charged = self
            .charged
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = charged.take() {
            account.remove(cost(self.bytes.len()));
        }
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        self.discharge();
        self.alive.slabs.fetch_sub(1, Ordering::AcqRel);
        self.alive.budget.release(cost(self.bytes.len()));
    }
}

/// Gives a slab back to its pool if this was the last holder.
pub(super) fn release(mut slab: Arc<Slab>) {
    // There are no weak references to a slab, so a holder that is the only one stays the only one. When
    // the last two holders release it at the same moment, each may still count the other. The slab
    // is then freed instead of reused, and its drop lowers the pool's count.
    if Arc::strong_count(&slab) > 1 {
        return;
    }
    if let Some(last) = Arc::get_mut(&mut slab) {
        last.discharge();
        free_list::put_back(slab);
    }
}

/// A slab with a single holder, who may write to it.
///
/// [`Pool::take`](super::Pool::take) returns one. [`freeze`](Self::freeze) turns it into a read-only
/// [`Payload`] that can be shared. A `SlabMut` that is dropped gives the slab back to its pool.
pub struct SlabMut {
    /// `None` only after `freeze` or `drop` took the slab.
    slab: Option<Arc<Slab>>,
}

impl fmt::Debug for SlabMut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlabMut({} bytes)", self.len())
    }
}

impl SlabMut {
    /// Wraps `slab`, which was free and has one holder.
    pub(super) fn take(slab: Arc<Slab>) -> Self {
        slab.entry.take();
        Self { slab: Some(slab) }
    }

    /// Wraps `slab`, which has one holder and was shared with one reader.
    pub(super) fn thaw(slab: Arc<Slab>) -> Self {
        slab.entry.thaw();
        Self { slab: Some(slab) }
    }

    /// Returns true if the slab is one of those that `alive` counts.
    pub(super) fn is_counted_by(&self, alive: &Arc<Alive>) -> bool {
        let slab = self.slab.as_ref();
        slab.is_some_and(|slab| Arc::ptr_eq(&slab.alive, alive))
    }

    /// Returns all bytes of the slab. They hold whatever an earlier user wrote.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        match self.slab.as_mut().and_then(Arc::get_mut) {
            Some(slab) => {
                slab.entry.use_owned();
                &mut slab.bytes
            }
            None => &mut [],
        }
    }

    /// Returns all bytes of the slab for reading.
    pub fn as_slice(&self) -> &[u8] {
        self.slab.as_ref().map_or(&[], |slab| {
            slab.entry.use_owned();
            &slab.bytes
        })
    }

    /// Returns the length in bytes: the pool's slab size.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Returns `true` if the pool's slabs have no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends writing and returns `range` of the slab as a read-only slice that can be shared. The range is
    /// clamped to the slab.
    pub fn freeze(mut self, range: Range<usize>) -> Payload {
        let len = self.len();
        let end = range.end.min(len);
        let start = range.start.min(end);
        match self.slab.take() {
            Some(slab) => {
                slab.entry.freeze();
                Payload::of_slab(slab, start, end)
            }
            None => Payload::default(),
        }
    }
}

impl Drop for SlabMut {
    fn drop(&mut self) {
        if let Some(slab) = self.slab.take() {
            slab.entry.give_back_owned();
            release(slab);
        }
    }
}
