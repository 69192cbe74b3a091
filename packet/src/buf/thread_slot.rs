//! Small numbers for running threads, by which a pool finds a thread's free list.

use std::sync::atomic::{AtomicU64, Ordering};

/// Number of slots. The slots in use are the bits of one word.
pub(super) const SLOTS: usize = 64;

/// The slots in use, one bit each.
static IN_USE: AtomicU64 = AtomicU64::new(0);

/// The slot of a running thread: the lowest number that was free when the thread first asked, so that
/// the workers of a program do not share a free list. The slot becomes free again when the thread ends.
struct ThreadSlot(usize);

impl ThreadSlot {
    fn new() -> Self {
        let in_use = IN_USE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |in_use| {
            (in_use != u64::MAX).then(|| in_use | 1 << in_use.trailing_ones())
        });
        // Threads beyond the last slot share one number.
        Self(in_use.map_or(SLOTS, |in_use| in_use.trailing_ones() as usize))
    }
}

impl Drop for ThreadSlot {
    fn drop(&mut self) {
        if self.0 < SLOTS {
            IN_USE.fetch_and(!(1 << self.0), Ordering::Relaxed);
        }
    }
}

/// Returns the slot of the current thread. No two running threads have the same one as long as at most
/// [`SLOTS`] threads use pools.
pub(super) fn current() -> usize {
    thread_local!(static SLOT: ThreadSlot = ThreadSlot::new());
    // A thread that is ending has given up its slot.
    SLOT.try_with(|slot| slot.0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn running_threads_have_different_slots() {
        // Few enough to leave slots for the threads of other tests.
        const THREADS: usize = 16;
        let all_have_slots = Barrier::new(THREADS);
        let slots: HashSet<usize> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        let mine = current();
                        all_have_slots.wait();
                        assert_eq!(current(), mine, "a thread keeps its slot");
                        mine
                    })
                })
                .collect();
            let slots = threads.into_iter().map(|thread| thread.join());
            slots.map(|slot| slot.expect("a slot")).collect()
        });
        assert_eq!(slots.len(), THREADS);
        assert!(slots.iter().all(|slot| *slot < SLOTS), "{slots:?}");
        // Slots are reused: a thousand threads one after another need few.
        let later: HashSet<usize> = (0..1000)
            .map(|_| std::thread::spawn(current).join().expect("a slot"))
            .collect();
        assert!(later.len() < SLOTS, "{later:?}");
        assert!(later.iter().all(|slot| *slot < SLOTS), "{later:?}");
    }
}
