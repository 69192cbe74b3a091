//! Per-thread free lists: the cache that keeps a pool's unused slabs close to the thread that uses them.
//!
//! Every slab belongs to the free list of the thread that took it last, and returns there no matter
//! which thread drops it. So a worker gets its own slabs back, most recently used first and still in
//! the processor's cache, and does not touch memory that other workers write.
//!
//! A free list is behind a lock that is held for one push or one pop and is rarely contended: mostly
//! the same thread takes it. The pool's cap counts slabs over all free lists, so a pool searches every
//! free list before it allocates another slab.

// Not part of any stack's lock order: no other lock is taken while this one is held.
#![allow(clippy::disallowed_types)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use super::slab::Slab;
use super::thread_slot;

/// Fewest free lists in a pool.
const MIN_FREE_LISTS: usize = 8;
/// Most free lists in a pool.
const MAX_FREE_LISTS: usize = thread_slot::SLOTS;

/// The unused slabs of one thread, or of the threads that share a slot. The alignment keeps two free
/// lists out of one cache line, and out of a pair of lines that the processor fetches together.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct FreeList {
    slabs: Mutex<Slabs>,
    /// Number of slabs; written under the lock only.
    count: AtomicUsize,
}

/// The slabs of a free list, the one used last at the end.
#[derive(Default)]
struct Slabs {
    unused: Vec<Arc<Slab>>,
    /// The smallest number of slabs since the list was trimmed: so many at the front were not needed.
    least: usize,
}

impl FreeList {
    fn push(&self, slab: Arc<Slab>) {
        let mut slabs = self.lock();
        slabs.unused.push(slab);
        self.count.store(slabs.unused.len(), Ordering::Release);
    }

    /// Takes the slab that was pushed last.
    fn pop(&self) -> Option<Arc<Slab>> {
        if self.count() == 0 {
            return None;
        }
        let mut slabs = self.lock();
        let slab = slabs.unused.pop()?;
        let left = slabs.unused.len();
        slabs.least = slabs.least.min(left);
        self.count.store(left, Ordering::Release);
        Some(slab)
    }

    /// Frees the slabs that were not needed since the last call, but `floor`; returns how many.
    fn trim(&self, floor: usize) -> usize {
        if self.count() == 0 {
            return 0;
        }
        let mut slabs = self.lock();
        let len = slabs.unused.len();
        let surplus = slabs.least.min(len.saturating_sub(floor));
        if surplus > 0 {
            // Those that stay are neighbours, so that whole blocks of memory become free.
            slabs.unused.sort_by_key(|slab| slab.bytes.address());
        }
        let freed: Vec<_> = slabs.unused.drain(..surplus).collect();
        slabs.unused.shrink_to(2 * (len - surplus));
        slabs.least = len - surplus;
        self.count.store(len - surplus, Ordering::Release);
        drop(slabs);
        freed.len()
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Slabs> {
        // No code that can panic runs under the lock, so a poisoned list is still whole.
        self.slabs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All free lists of a pool, indexed by thread slot.
pub(super) struct FreeLists {
    lists: Box<[Arc<FreeList>]>,
}

impl FreeLists {
    /// Creates empty free lists.
    pub(super) fn new() -> Self {
        Self {
            lists: (0..list_count()).map(|_| Arc::default()).collect(),
        }
    }

    /// Takes an unused slab, from the current thread's free list if it has one and from any other
    /// otherwise. The slab belongs to the current thread's free list from then on.
    pub(super) fn take(&self) -> Option<Arc<Slab>> {
        self.take_at(thread_slot::current())
    }

    /// Returns the current thread's free list: the one that a newly allocated slab belongs to.
    pub(super) fn own(&self) -> Weak<FreeList> {
        self.own_at(thread_slot::current())
    }

    fn take_at(&self, slot: usize) -> Option<Arc<Slab>> {
        let (before, from) = self.lists.split_at_checked(self.index(slot))?;
        let (own, after) = from.split_first()?;
        if let Some(slab) = own.pop() {
            return Some(slab);
        }
        let mut slab = after.iter().chain(before).find_map(|list| list.pop())?;
        if let Some(slab) = Arc::get_mut(&mut slab) {
            slab.free_list = Arc::downgrade(own);
        }
        Some(slab)
    }

    fn own_at(&self, slot: usize) -> Weak<FreeList> {
        self.lists
            .get(self.index(slot))
            .map_or(Weak::new(), Arc::downgrade)
    }

    /// Frees what was not needed since the last call, but `floor` slabs of each list; returns how many.
    pub(super) fn trim(&self, floor: usize) -> usize {
        self.lists.iter().map(|list| list.trim(floor)).sum()
    }

    /// Length of the longest list.
    pub(super) fn longest(&self) -> usize {
        self.lists
            .iter()
            .map(|list| list.count())
            .max()
            .unwrap_or(0)
    }

    /// Number of unused slabs.
    pub(super) fn count(&self) -> usize {
        self.lists.iter().map(|list| list.count()).sum()
    }

    fn index(&self, slot: usize) -> usize {
        slot % self.lists.len().max(1)
    }
}

/// Returns a slab that has no other holder to its free list, or frees it if its pool is gone.
pub(super) fn put_back(slab: Arc<Slab>) {
    if let Some(list) = slab.free_list.upgrade() {
        list.push(slab);
    }
}

/// Number of free lists in a pool: one for each thread that can run at a time, and as many for threads
/// that wait.
fn list_count() -> usize {
    static LIST_COUNT: OnceLock<usize> = OnceLock::new();
    *LIST_COUNT.get_or_init(|| {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        (2 * processors).clamp(MIN_FREE_LISTS, MAX_FREE_LISTS)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buf::ledger::Ledger;
    use crate::buf::store::Store;

    /// Slabs belong to the slot that took them last, no matter who drops them.
    #[test]
    fn slabs_return_to_the_slot_that_took_them() {
        let free_lists = FreeLists::new();
        let budget = crate::buf::budget::Budget::new(1_000);
        assert!(budget.reserve(2 * crate::buf::slab::cost(8)));
        let alive = Arc::new(crate::buf::slab::Alive {
            slabs: AtomicUsize::new(2),
            budget,
        });
        let ledger = Ledger::new();
        let make = |slot| {
            Arc::new(Slab {
                lent: false,
                charged: Mutex::new(None),
                bytes: Store::single(8).expect("memory"),
                entry: ledger.new_entry(),
                free_list: free_lists.own_at(slot),
                alive: Arc::clone(&alive),
            })
        };
        let unused = || [0, 1, 2].map(|slot| free_lists.lists[slot].count());
        put_back(make(0));
        put_back(make(1));
        assert_eq!((unused(), free_lists.count()), ([1, 1, 0], 2));
        // First the slot's own slabs, then those of others, which it keeps.
        let own = free_lists.take_at(1).expect("its own");
        let other = free_lists.take_at(1).expect("another's");
        assert!(free_lists.take_at(1).is_none());
        put_back(own);
        put_back(other);
        assert_eq!(unused(), [0, 2, 0]);
        // Slots beyond the number of lists wrap around.
        let far = free_lists.take_at(2 + free_lists.lists.len()).expect("any");
        put_back(far);
        assert_eq!(unused(), [0, 1, 1]);
        drop(free_lists);
        assert_eq!(
            alive.slabs.load(Ordering::Relaxed),
            0,
            "unused slabs are freed with their pool"
        );
    }
}
