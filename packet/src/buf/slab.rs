//! One allocation of a pool, and its one writable form.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use super::ledger::Ghost;
use super::payload::Payload;
use super::shelf::{self, Shelf};

/// One allocation of a pool. Not nameable outside: it is seen as [`SlabMut`] or [`Payload`].
pub(super) struct Slab {
    pub(super) bytes: Box<[u8]>,
    pub(super) ghost: Ghost,
    /// Weak, because the shelf holds the slab at rest: a pool that nobody uses any more is freed, and
    /// slabs that outlive it are freed one by one.
    pub(super) home: Weak<Shelf>,
    /// How many slabs of its pool there are.
    pub(super) alive: Arc<AtomicUsize>,
}

impl Drop for Slab {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Gives a slab back to its pool if this was the last holder.
pub(super) fn release(slab: Arc<Slab>) {
    // Nobody has a weak reference, so the only holder stays the only one. Two last holders that let go
    // at the same moment may both see the other; then the slab is freed instead of kept, and its
    // drop lowers the count: correct, merely not recycled.
    if Arc::strong_count(&slab) == 1 {
        shelf::put_back(slab);
    }
}

/// A slab that only its holder can see: the one writable form.
pub struct SlabMut {
    /// `None` only after `freeze` or `drop` took it.
    slab: Option<Arc<Slab>>,
}

impl fmt::Debug for SlabMut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlabMut({} bytes)", self.len())
    }
}

impl SlabMut {
    /// `slab` was at rest and has one holder.
    pub(super) fn take(slab: Arc<Slab>) -> Self {
        slab.ghost.take();
        Self { slab: Some(slab) }
    }

    /// `slab` has one holder and, in the ledger, one reader.
    pub(super) fn thaw(slab: Arc<Slab>) -> Self {
        slab.ghost.thaw();
        Self { slab: Some(slab) }
    }

    /// All of the slab's bytes; what an earlier user wrote is still there.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        match self.slab.as_mut().and_then(Arc::get_mut) {
            Some(slab) => {
                slab.ghost.use_owned();
                &mut slab.bytes
            }
            None => &mut [],
        }
    }

    /// All of the slab's bytes, to read.
    pub fn as_slice(&self) -> &[u8] {
        self.slab.as_ref().map_or(&[], |slab| {
            slab.ghost.use_owned();
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
            slab.ghost.give_back_owned();
            release(slab);
        }
    }
}
