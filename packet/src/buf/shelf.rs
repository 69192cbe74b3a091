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

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use super::slab::Slab;

/// Least and most shelves in a pool.
const LEAST_SHELVES: usize = 8;
const MOST_SHELVES: usize = 64;

/// The slabs at rest of one thread, or of the threads that share a seat. No two shelves share a cache
/// line, nor a pair of them that the processor fetches together.
#[derive(Default)]
#[repr(align(128))]
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
    /// Empty ones.
    pub(super) fn new() -> Self {
        Self {
            all: (0..shelves()).map(|_| Arc::default()).collect(),
        }
    }

    /// A slab at rest, from this thread's shelf if it has any, and made at home there.
    pub(super) fn take(&self) -> Option<Arc<Slab>> {
        self.take_at(seat())
    }

    /// Where a slab that this thread makes is at home.
    pub(super) fn home(&self) -> Weak<Shelf> {
        self.home_at(seat())
    }

    fn take_at(&self, seat: usize) -> Option<Arc<Slab>> {
        let (before, from) = self.all.split_at_checked(self.place(seat))?;
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

    fn home_at(&self, seat: usize) -> Weak<Shelf> {
        self.all
            .get(self.place(seat))
            .map_or(Weak::new(), Arc::downgrade)
    }

    /// How many slabs rest.
    pub(super) fn count(&self) -> usize {
        self.all.iter().map(|shelf| shelf.count()).sum()
    }

    /// Which shelf is that of `seat`.
    fn place(&self, seat: usize) -> usize {
        seat % self.all.len().max(1)
    }
}

/// Gives a slab that nobody else holds back to its home. If its pool is gone, it is freed.
pub(super) fn put_back(slab: Arc<Slab>) {
    if let Some(home) = slab.home.upgrade() {
        home.push(slab);
    }
}

/// How many shelves a pool has: for every thread that runs at a time, and as many that wait.
fn shelves() -> usize {
    static SHELVES: OnceLock<usize> = OnceLock::new();
    *SHELVES.get_or_init(|| {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        (2 * processors).clamp(LEAST_SHELVES, MOST_SHELVES)
    })
}

/// A number that no other living thread has, as long as there are no more than [`MOST_SHELVES`]; the
/// lowest one that is free, so that a program's workers do not share a shelf.
struct Seat(usize);

/// The seats taken, one bit each.
static TAKEN: AtomicU64 = AtomicU64::new(0);

impl Seat {
    fn new() -> Self {
        let taken = TAKEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            (taken != u64::MAX).then(|| taken | 1 << taken.trailing_ones())
        });
        // Beyond the last seat, threads share it.
        Self(taken.map_or(MOST_SHELVES, |taken| taken.trailing_ones() as usize))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.0 < MOST_SHELVES {
            TAKEN.fetch_and(!(1 << self.0), Ordering::Relaxed);
        }
    }
}

/// This thread's number.
fn seat() -> usize {
    thread_local!(static SEAT: Seat = Seat::new());
    // While a thread ends it has no seat of its own any more.
    SEAT.try_with(|seat| seat.0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Barrier;

    use super::*;
    use crate::buf::ledger::Ledger;

    #[test]
    fn living_threads_have_seats_of_their_own() {
        // Few enough that other tests' threads find seats, too.
        const THREADS: usize = 16;
        let all_sit = Barrier::new(THREADS);
        let seats: HashSet<usize> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        let mine = seat();
                        all_sit.wait();
                        assert_eq!(seat(), mine, "it stays the same");
                        mine
                    })
                })
                .collect();
            let seats = threads.into_iter().map(|thread| thread.join());
            seats.map(|seat| seat.expect("a seat")).collect()
        });
        assert_eq!(seats.len(), THREADS);
        assert!(seats.iter().all(|seat| *seat < MOST_SHELVES), "{seats:?}");
        // Seats are given up: a thousand threads in a row need few.
        let later: HashSet<usize> = (0..1000)
            .map(|_| std::thread::spawn(seat).join().expect("a seat"))
            .collect();
        assert!(later.len() < MOST_SHELVES, "{later:?}");
        assert!(later.iter().all(|seat| *seat < MOST_SHELVES), "{later:?}");
    }

    /// Whoever drops them; and with the one that took them last.
    #[test]
    fn slabs_rest_with_the_seat_that_took_them() {
        let shelves = Shelves::new();
        let alive = Arc::new(AtomicUsize::new(2));
        let ledger = Ledger::new();
        let make = |seat| {
            Arc::new(Slab {
                bytes: vec![0; 8].into(),
                ghost: ledger.ghost(),
                home: shelves.home_at(seat),
                alive: Arc::clone(&alive),
            })
        };
        let resting = || [0, 1, 2].map(|seat| shelves.all[seat].count());
        put_back(make(0));
        put_back(make(1));
        assert_eq!((resting(), shelves.count()), ([1, 1, 0], 2));
        // Its own first, then those of others, which stay with who took them.
        let own = shelves.take_at(1).expect("its own");
        let other = shelves.take_at(1).expect("another's");
        assert!(shelves.take_at(1).is_none());
        put_back(own);
        put_back(other);
        assert_eq!(resting(), [0, 2, 0]);
        // From any seat, however far.
        let far = shelves.take_at(2 + shelves.all.len()).expect("any");
        put_back(far);
        assert_eq!(resting(), [0, 1, 1]);
        drop(shelves);
        assert_eq!(
            alive.load(Ordering::Relaxed),
            0,
            "slabs at rest go with their pool"
        );
    }
}
