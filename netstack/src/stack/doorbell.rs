//! Waking a worker that sleeps: rung by whoever leaves work, heard by one thread.
//!
//! * **Define.** A worker that found nothing to do says that it falls asleep, looks at its queues once
//!   more, and sleeps in its device. Whoever leaves work pushes it first and rings after.
//! * **Enforce.** Both sides put a sequentially consistent fence between their write and their read, so
//!   at least one of them sees the other's write.
//! * **Consume.** No work waits for a sleeping worker, and a worker that is awake costs no wake-up.

use std::sync::OnceLock;

use super::contain::contain;

#[cfg(feature = "loom")]
use loom::sync::atomic::{AtomicBool, Ordering, fence};
#[cfg(not(feature = "loom"))]
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// The wake-up of one worker.
#[derive(Default)]
pub(crate) struct Doorbell {
    asleep: AtomicBool,
    unpark: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Doorbell {
    /// Sets, once, how to end the worker's sleep.
    pub(crate) fn set_unpark(&self, unpark: Box<dyn Fn() + Send + Sync>) {
        let _ = self.unpark.set(unpark);
    }

    /// Wakes the worker if it sleeps. Call it after the work was queued.
    pub(crate) fn ring(&self) {
        fence(Ordering::SeqCst);
        // One ringer wakes the worker; the others, too late, write nothing.
        if self.asleep.load(Ordering::SeqCst)
            && self
                .asleep
                .compare_exchange(true, false, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
            && let Some(unpark) = self.unpark.get()
        {
            contain("an unparker", unpark);
        }
    }

    /// Announces that the worker is about to sleep. False if it must not, because its queues are
    /// not empty.
    pub(crate) fn fall_asleep(&self, is_empty: impl FnOnce() -> bool) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if is_empty() {
            return true;
        }
        self.asleep.swap(false, Ordering::SeqCst);
        false
    }

    /// Announces that the worker is awake.
    pub(crate) fn awake(&self) {
        // A swap and not a store: it reads what a late ringer wrote, so that whatever follows happens
        // after that ring.
        self.asleep.swap(false, Ordering::SeqCst);
    }
}
