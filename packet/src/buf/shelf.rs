//! Where the slabs of a pool rest: a shelf for each thread that takes them.
//!
//! * **Define.** A slab has a home, the shelf of the thread that took it last. It is given back there
//!   by whoever drops it, so a worker finds its own slabs, the one last used on top and still in its
//!   cache, and does not touch memory that other workers write.
//! * **Enforce.** A slab's home is written by who takes it and read by who gives it back. A shelf is
//!   behind a lock that is held for one push or one pop, and mostly by the same thread.
//! * **Consume.** The pool's bound counts slabs, not shelves: before a slab more is made, every shelf
//!   is asked for one.

#![allow(clippy::disallowed_types)] // A leaf of no stack's: nothing is called while it is held.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use super::slab::Slab;

/// Most shelves in a pool.
const MOST_SHELVES: usize = 64;

/// The slabs at rest of one thread, or of the threads that share a seat.
#[derive(Default)]
pub(super) struct Shelf {
    slabs: Mutex<Vec<Arc<Slab>>>,
    /// How many there are; written under the lock only.
    count: AtomicUsize,
}

impl Shelf {
    /// Puts `slab` on top.
    fn push(&self, slab: Arc<Slab>) {
        let mut slabs = self.lock();
        slabs.push(slab);
        self.count.store(slabs.len(), Ordering::Release);
    }

    /// Takes the slab on top.
    fn pop(&self) -> Option<Arc<Slab>> {
        if self.count() == 0 {
            return None;
        }
        let mut slabs = self.lock();
        let slab = slabs.pop()?;
        self.count.store(slabs.len(), Ordering::Release);
        Some(slab)
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Slab>>> {
        // Nothing that can panic runs under it, and a list of slabs cannot be half changed.
        self.slabs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All shelves of a pool.
pub(super) struct Shelves {
    all: Box<[Arc<Shelf>]>,
}

impl Shelves {
    /// A shelf for each processor.
    pub(super) fn new() -> Self {
        Self {
            all: (0..seats()).map(|_| Arc::default()).collect(),
        }
    }

    /// A slab at rest, from this thread's shelf if it has any, and made at home there.
    pub(super) fn take(&self) -> Option<Arc<Slab>> {
        let (before, from) = self.all.split_at_checked(self.seat())?;
        let (own, behind) = from.split_first()?;
        if let Some(slab) = own.pop() {
            return Some(slab);
        }
        let mut slab = behind.iter().chain(before).find_map(|shelf| shelf.pop())?;
        if let Some(slab) = Arc::get_mut(&mut slab) {
            slab.home = Arc::downgrade(own);
        }
        Some(slab)
    }

    /// Where a slab that this thread makes is at home.
    pub(super) fn home(&self) -> Weak<Shelf> {
        self.all
            .get(self.seat())
            .map_or(Weak::new(), Arc::downgrade)
    }

    /// How many slabs rest.
    pub(super) fn count(&self) -> usize {
        self.all.iter().map(|shelf| shelf.count()).sum()
    }

    /// Which shelf is this thread's.
    fn seat(&self) -> usize {
        seat() % self.all.len().max(1)
    }
}

/// Gives a slab that nobody else holds back to its home. If its pool is gone, it is freed.
pub(super) fn put_back(slab: Arc<Slab>) {
    if let Some(home) = slab.home.upgrade() {
        home.push(slab);
    }
}

/// How many threads have a shelf of their own: as many as run at a time.
fn seats() -> usize {
    static SEATS: OnceLock<usize> = OnceLock::new();
    *SEATS.get_or_init(|| {
        std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(MOST_SHELVES)
    })
}

/// This thread's number.
fn seat() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static SEAT: usize = NEXT.fetch_add(1, Ordering::Relaxed));
    // While a thread ends it has no seat of its own any more.
    SEAT.try_with(|seat| *seat).unwrap_or(0)
}
