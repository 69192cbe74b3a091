//! The pool: how many slabs there may be, and where the next one comes from.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::ledger::{Audit, Ledger};
use super::shelf::Shelves;
use super::slab::{Slab, SlabMut};

struct PoolInner {
    shelves: Shelves,
    slab_bytes: usize,
    max_slabs: usize,
    /// Slabs that exist, at rest or in use.
    alive: Arc<AtomicUsize>,
    ledger: Ledger,
}

/// A bounded set of equal slabs; cheap to clone, shared between threads.
///
/// Each thread finds the slabs that it took before, the last one first, without touching what other
/// threads touch; a slab goes back to the thread that took it, whoever drops it.
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
    /// Longest slab, in bytes: 1 GiB. Longer ones are asked for in vain.
    pub const MAX_SLAB_BYTES: usize = 1 << 30;

    /// A pool whose slabs are `slab_bytes` long (at most [`MAX_SLAB_BYTES`](Self::MAX_SLAB_BYTES)), of
    /// which at most `max_slabs` exist at a time. No slab is allocated before it is first needed, and
    /// none is freed before the pool is: after a peak, its slabs rest.
    pub fn new(slab_bytes: usize, max_slabs: usize) -> Self {
        Self {
            inner: Arc::new(PoolInner {
                shelves: Shelves::new(),
                slab_bytes: slab_bytes.min(Self::MAX_SLAB_BYTES),
                max_slabs,
                alive: Arc::default(),
                ledger: Ledger::new(),
            }),
        }
    }

    /// A writable slab, or `None` when all of them are in use. (While other threads take and give back,
    /// all of them were at some moments of the search, if not at every one.)
    pub fn take(&self) -> Option<SlabMut> {
        let shelves = &self.inner.shelves;
        let slab = shelves
            .take()
            .or_else(|| self.allocate())
            // One that was given back where the search had been already.
            .or_else(|| shelves.take())?;
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
            ghost: self.inner.ledger.ghost(),
            home: self.inner.shelves.home(),
            alive: Arc::clone(&self.inner.alive),
        }))
    }

    /// Length of each slab, in bytes.
    pub fn slab_bytes(&self) -> usize {
        self.inner.slab_bytes
    }

    /// How many slabs may exist.
    pub fn max_slabs(&self) -> usize {
        self.inner.max_slabs
    }

    /// True when no more than a quarter of the slabs is left: time to keep nothing that can come again,
    /// so that what is needed can still be received.
    pub fn is_scarce(&self) -> bool {
        // Mostly enough was never made, and nobody's stock needs to be looked at.
        let unmade = self
            .max_slabs()
            .saturating_sub(self.inner.alive.load(Ordering::Acquire));
        if unmade > self.max_slabs() / 4 {
            return false;
        }
        let left = self.max_slabs().saturating_sub(self.in_use());
        left <= self.max_slabs() / 4
    }

    /// How many slabs are held by somebody now. While other threads take and give back, it is off by
    /// what they did meanwhile.
    pub fn in_use(&self) -> usize {
        let alive = self.inner.alive.load(Ordering::Acquire);
        alive.saturating_sub(self.inner.shelves.count())
    }

    /// What the ghost ledger says: contracts broken, slabs that are out. Compiled in by the feature
    /// `ledger`; without it, [`Audit::Unsupported`].
    pub fn audit(&self) -> Audit {
        self.inner.ledger.audit()
    }

    #[cfg(test)]
    pub(super) fn downgrade(&self) -> std::sync::Weak<impl Sized + use<>> {
        Arc::downgrade(&self.inner)
    }
}
