//! The pool: a capped number of slabs of one size.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::free_list::FreeLists;
use super::ledger::{Audit, Ledger};
use super::slab::{Slab, SlabMut};

struct PoolInner {
    free_lists: FreeLists,
    slab_bytes: usize,
    max_slabs: usize,
    /// Its slabs are lent for one turn only.
    lends: bool,
    /// Number of slabs that exist, free or in use.
    alive: Arc<AtomicUsize>,
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
    /// The pool allocates a slab when it is first needed and keeps it for reuse as long as the pool lives.
    pub fn new(slab_bytes: usize, max_slabs: usize) -> Self {
        Self::with_lends(slab_bytes, max_slabs, false)
    }

    /// Creates a pool whose slabs are lent for one turn only: payloads of them answer
    /// [`Payload::is_lent`](super::Payload::is_lent) with true, and nobody may keep one.
    pub(super) fn lending(slab_bytes: usize, max_slabs: usize) -> Self {
        Self::with_lends(slab_bytes, max_slabs, true)
    }

    fn with_lends(slab_bytes: usize, max_slabs: usize, lends: bool) -> Self {
        Self {
            inner: Arc::new(PoolInner {
                lends,
                free_lists: FreeLists::new(),
                slab_bytes: slab_bytes.min(Self::MAX_SLAB_BYTES),
                max_slabs,
                alive: Arc::default(),
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

    fn allocate(&self) -> Option<Arc<Slab>> {
        self.inner
            .alive
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |alive| {
                (alive < self.inner.max_slabs).then_some(alive + 1)
            })
            .ok()?;
        Some(Arc::new(Slab {
            bytes: vec![0; self.inner.slab_bytes].into_boxed_slice(),
            entry: self.inner.ledger.new_entry(),
            free_list: self.inner.free_lists.own(),
            alive: Arc::clone(&self.inner.alive),
            lent: self.inner.lends,
        }))
    }

    /// Returns the length of each slab, in bytes.
    pub fn slab_bytes(&self) -> usize {
        self.inner.slab_bytes
    }

    /// Returns the cap: the largest number of slabs that may exist.
    pub fn max_slabs(&self) -> usize {
        self.inner.max_slabs
    }

    /// Returns `true` if at most a quarter of the slabs is left. A stack should then drop data that its
    /// peers will send again, to be able to receive the data that it needs next.
    pub fn is_scarce(&self) -> bool {
        self.has_at_most(4)
    }

    /// Returns `true` if at most one slab in `parts` is left.
    pub(super) fn has_at_most(&self, parts: usize) -> bool {
        let limit = self.max_slabs() / parts.max(1);
        // Most pools never allocate that many slabs, which spares counting the free lists.
        let unallocated = self
            .max_slabs()
            .saturating_sub(self.inner.alive.load(Ordering::Acquire));
        if unallocated > limit {
            return false;
        }
        self.max_slabs().saturating_sub(self.in_use()) <= limit
    }

    /// Returns the number of slabs in use. While other threads take and give back slabs, the number may
    /// be off by as many as they moved meanwhile.
    pub fn in_use(&self) -> usize {
        let alive = self.inner.alive.load(Ordering::Acquire);
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
