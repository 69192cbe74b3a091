//! The pool, its slabs, and the one writable form of a slab.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use crossbeam_queue::ArrayQueue;

use super::ledger::{Audit, Ghost, Ledger};
use super::payload::Payload;

/// One allocation of a pool. Not nameable outside: it is seen as [`SlabMut`] or [`Payload`].
pub(super) struct Slab {
    pub(super) bytes: Box<[u8]>,
    pub(super) ghost: Ghost,
    /// Weak, because the pool holds the slabs at rest: a pool that nobody uses any more is freed, and
    /// slabs that outlive it are freed one by one.
    pool: Weak<PoolInner>,
}

impl Drop for Slab {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.alive.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

struct PoolInner {
    /// Slabs at rest. Every one of them is uniquely owned by the queue.
    free: ArrayQueue<Arc<Slab>>,
    slab_bytes: usize,
    max_slabs: usize,
    /// Slabs that exist, at rest or in use.
    alive: AtomicUsize,
    ledger: Ledger,
}

/// A bounded set of equal slabs; cheap to clone, shared between threads.
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
    /// A pool whose slabs are `slab_bytes` long, of which at most `max_slabs` exist at a time.
    /// No slab is allocated before it is first needed.
    pub fn new(slab_bytes: usize, max_slabs: usize) -> Self {
        Self {
            inner: Arc::new(PoolInner {
                free: ArrayQueue::new(max_slabs.max(1)),
                slab_bytes,
                max_slabs,
                alive: AtomicUsize::new(0),
                ledger: Ledger::new(),
            }),
        }
    }

    /// A writable slab, or `None` when all of them are in use.
    pub fn take(&self) -> Option<SlabMut> {
        let slab = match self.inner.free.pop() {
            Some(slab) => slab,
            None => self.allocate()?,
        };
        slab.ghost.take();
        Some(SlabMut { slab: Some(slab) })
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
            pool: Arc::downgrade(&self.inner),
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

    /// True when less than a quarter of the slabs is left: time to keep nothing that can come again,
    /// so that what is needed can still be received.
    pub fn is_scarce(&self) -> bool {
        self.in_use() * 4 >= self.max_slabs() * 3
    }

    /// How many slabs are held by somebody now.
    pub fn in_use(&self) -> usize {
        self.inner
            .alive
            .load(Ordering::Acquire)
            .saturating_sub(self.inner.free.len())
    }

    /// What the ghost ledger says: contracts broken, slabs that are out. Compiled in by the feature
    /// `ledger`; without it, [`Audit::Unsupported`].
    pub fn audit(&self) -> Audit {
        self.inner.ledger.audit()
    }

    #[cfg(test)]
    pub(super) fn downgrade(&self) -> Weak<impl Sized + use<>> {
        Arc::downgrade(&self.inner)
    }

    /// Whether `slab` is one of this pool's.
    pub(super) fn is_home_of(&self, slab: &SlabMut) -> bool {
        slab.slab
            .as_ref()
            .is_some_and(|slab| std::ptr::eq(slab.pool.as_ptr(), Arc::as_ptr(&self.inner)))
    }
}

/// Gives a slab back to its pool if this was the last holder.
pub(super) fn release(mut slab: Arc<Slab>) {
    slab.ghost.give_back();
    // Two last holders that let go at the same moment may both see the other; then the slab is
    // freed instead of kept, and its drop lowers the count: correct, merely not recycled.
    if let Some(unique) = Arc::get_mut(&mut slab)
        && let Some(pool) = unique.pool.upgrade()
    {
        // The queue has room for every slab of the pool, so this cannot fail.
        let _ = pool.free.push(slab);
    }
}

/// A slab that only its holder can see: the one writable form.
pub struct SlabMut {
    /// `None` only after `freeze` or `drop` took it.
    slab: Option<Arc<Slab>>,
}

impl fmt::Debug for SlabMut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlabMut({})", self.len())
    }
}

impl SlabMut {
    /// `slab` must have one holder and, in the ledger, one reader.
    pub(super) fn thaw(slab: Arc<Slab>) -> Self {
        slab.ghost.thaw();
        Self { slab: Some(slab) }
    }

    /// All of the slab's bytes; what an earlier user wrote is still there.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        match self.slab.as_mut().and_then(Arc::get_mut) {
            Some(slab) => {
                slab.ghost.write();
                &mut slab.bytes
            }
            None => &mut [],
        }
    }

    /// All of the slab's bytes, to read.
    pub fn as_slice(&self) -> &[u8] {
        self.slab.as_ref().map_or(&[], |slab| {
            slab.ghost.read();
            &slab.bytes
        })
    }

    /// Length in bytes: the pool's slab size.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// True for a pool of zero-length slabs.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the writing: `range` of the slab as a shareable slice (clamped to the slab).
    pub fn freeze(mut self, range: Range<usize>) -> Payload {
        let len = self.len();
        let end = range.end.min(len);
        let start = range.start.min(end);
        match self.slab.take() {
            Some(slab) => {
                slab.ghost.freeze();
                Payload::of_slab(slab, start, end)
            }
            None => Payload::default(),
        }
    }
}

impl Drop for SlabMut {
    fn drop(&mut self) {
        if let Some(slab) = self.slab.take() {
            release(slab);
        }
    }
}
