//! The pool: a capped number of slabs of one size.

// The charge of a slab is behind a lock that is no part of any stack's lock order.
#![allow(clippy::disallowed_types)]

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::budget::{Budget, UNLIMITED};
use super::free_list::FreeLists;
use super::ledger::{Audit, Ledger};
use super::slab::{Alive, Slab, SlabMut, cost};
use super::store::{Cutter, Store};

struct PoolInner {
    free_lists: FreeLists,
    slab_bytes: usize,
    max_slabs: usize,
    /// Its slabs are lent for one turn only.
    lends: bool,
    /// The slabs that exist, free or in use.
    alive: Arc<Alive>,
    cutter: Cutter,
    ledger: Ledger,
}

/// A capped set of slabs of one size. It is cheap to clone and shared between threads.
///
/// Each thread has its own free list of the slabs that it took, so threads rarely touch each other's
/// memory. A slab returns to the free list of the thread that took it, no matter which thread drops
/// it, and the slab used last is taken first.
///
/// ```
/// use packet::Pool;
///
/// let pool = Pool::new(2048, 1);
/// let mut slab = pool.take().unwrap();
/// assert!(pool.take().is_none(), "the cap is hard");
/// slab.as_mut_slice()[..5].copy_from_slice(b"hello");
/// let payload = slab.freeze(0..5);
/// assert_eq!(&payload.slice(1..3)[..], b"el");
/// drop(payload);
/// assert_eq!(pool.in_use(), 0);
/// ```
#[derive(Clone)]
pub struct Pool {
    inner: Arc<PoolInner>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("slab_bytes", &self.inner.slab_bytes)
            .field("max_slabs", &self.inner.max_slabs)
            .field("in_use", &self.in_use())
            .finish()
    }
}

impl Pool {
    /// Length of the longest slab, in bytes: 1 GiB.
    pub const MAX_SLAB_BYTES: usize = 1 << 30;

    /// Creates a pool of at most `max_slabs` slabs, each `slab_bytes` long (clamped to
    /// [`MAX_SLAB_BYTES`](Self::MAX_SLAB_BYTES)).
    ///
    /// The pool allocates a slab when it is first needed and keeps it for reuse.
    pub fn new(slab_bytes: usize, max_slabs: usize) -> Self {
        Self::counted(slab_bytes, max_slabs, false, &Budget::new(UNLIMITED))
    }

    /// Creates a pool whose slabs are counted against `budget`. If it `lends` them, it does so for one turn
    /// only: payloads of them answer [`Payload::is_lent`](super::Payload::is_lent) with true, and nobody may
    /// keep one.
    pub(super) fn counted(
        slab_bytes: usize,
        max_slabs: usize,
        lends: bool,
        budget: &Arc<Budget>,
    ) -> Self {
        Self {
            inner: Arc::new(PoolInner {
                lends,
                free_lists: FreeLists::new(),
                slab_bytes: slab_bytes.min(Self::MAX_SLAB_BYTES),
                max_slabs,
                alive: Arc::new(Alive {
                    slabs: AtomicUsize::new(0),
                    budget: Arc::clone(budget),
                }),
                cutter: Cutter::default(),
                ledger: Ledger::new(),
            }),
        }
    }

    /// Takes a slab to write to, or returns `None` if all slabs are in use.
    ///
    /// While other threads take and give back slabs, `None` means that each slab was in use when the
    /// search looked for it, though not all of them at the same moment.
    pub fn take(&self) -> Option<SlabMut> {
        let free_lists = &self.inner.free_lists;
        let slab = free_lists
            .take()
            .or_else(|| self.allocate())
            // Another thread may have given back a slab to a list that the first search had passed.
            .or_else(|| free_lists.take())?;
        Some(SlabMut::take(slab))
    }

    /// Returns true if `slab` is counted among this pool's.
    pub(super) fn owns(&self, slab: &SlabMut) -> bool {
        slab.is_counted_by(&self.inner.alive)
    }

    fn allocate(&self) -> Option<Arc<Slab>> {
        let cutter = &self.inner.cutter;
        let slab = self.make(
            self.inner.slab_bytes,
            self.inner.free_lists.own(),
            |bytes| cutter.cut(bytes),
        )?;
        Some(Arc::new(slab))
    }

    /// Takes memory of `bytes`, which is no slab of the pool's size and is freed instead of reused.
    pub(super) fn take_exact(&self, bytes: usize) -> Option<SlabMut> {
        let slab = self.make(bytes.min(Self::MAX_SLAB_BYTES), Weak::new(), Store::single)?;
        Some(SlabMut::take(Arc::new(slab)))
    }

    fn make(
        &self,
        bytes: usize,
        free_list: Weak<super::free_list::FreeList>,
        store: impl FnOnce(usize) -> Option<Store>,
    ) -> Option<Slab> {
        let alive = &self.inner.alive;
        alive
            .slabs
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |slabs| {
                (slabs < self.inner.max_slabs).then_some(slabs + 1)
            })
            .ok()?;
        if !alive.budget.reserve(cost(bytes)) {
            alive.slabs.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        let Some(store) = store(bytes) else {
            alive.slabs.fetch_sub(1, Ordering::AcqRel);
            alive.budget.release(cost(bytes));
            return None;
        };
        Some(Slab {
            bytes: store,
            entry: self.inner.ledger.new_entry(),
            free_list,
            alive: Arc::clone(alive),
            lent: self.inner.lends,
            charged: Mutex::new(None),
        })
    }

    /// Frees unused slabs until at least `bytes` were freed, or none is left; returns how many bytes.
    pub(super) fn free_unused(&self, bytes: usize) -> usize {
        let each = cost(self.inner.slab_bytes);
        let mut freed = 0;
        while freed < bytes && self.inner.free_lists.take().is_some() {
            freed += each;
        }
        freed
    }

    /// Frees the slabs that nobody needed since the last call, but leaves each thread `floor` slabs. Returns
    /// the number of slabs freed.
    pub(super) fn trim(&self, floor: usize) -> usize {
        self.inner.free_lists.trim(floor)
    }

    /// Returns the bytes of the unused slabs.
    pub(super) fn free_bytes(&self) -> usize {
        self.inner.free_lists.count() * cost(self.inner.slab_bytes)
    }

    /// Returns true if [`trim`](Self::trim) has something to free, now or at its next call.
    pub(super) fn is_trimmable(&self, floor: usize) -> bool {
        self.inner.free_lists.longest() > floor
    }

    /// Returns the length of each slab, in bytes.
    pub fn slab_bytes(&self) -> usize {
        self.inner.slab_bytes
    }

    /// Returns the cap: the largest number of slabs that may exist.
    pub fn max_slabs(&self) -> usize {
        self.inner.max_slabs
    }

    /// Returns the number of slabs in use. While other threads take and give back slabs, the number may
    /// be off by as many as they moved meanwhile.
    pub fn in_use(&self) -> usize {
        let alive = self.inner.alive.slabs.load(Ordering::Acquire);
        alive.saturating_sub(self.inner.free_lists.count())
    }

    /// Returns what the ledger recorded: broken contracts and slabs in use. Without the feature `ledger`
    /// that is [`Audit::Unsupported`].
    pub fn audit(&self) -> Audit {
        self.inner.ledger.audit()
    }

    #[cfg(test)]
    pub(super) fn downgrade(&self) -> std::sync::Weak<impl Sized + use<>> {
        Arc::downgrade(&self.inner)
    }
}
