//! How many connections a listener may have whose handshake is not done (RFC 7413 section 5.1, PendingFastOpenRequests).
//!
//! * **Define.** A [`FastOpenPlace`] is a place for one connection that a SYN with data opened.
//! * **Enforce.** [`FastOpenQueue::admit`] gives no more places than the limit. A place comes back when the handshake ends;
//!   after a reset only a minute later.
//! * **Consume.** Whoever got cookies for addresses that it can spoof, and resets its own connections, opens no more than
//!   the limit in a minute.

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::base::Instant;

/// Time for which a place is kept after a reset.
const HELD_AFTER_RESET: Duration = Duration::from_secs(60);

/// Bits of the number of places that are kept; the time is above them.
const COUNT_BITS: u32 = 24;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

/// The places of one listener.
#[derive(Debug)]
pub struct FastOpenQueue {
    limit: AtomicUsize,
    /// Places that are taken, those that are kept after a reset included.
    taken: AtomicUsize,
    /// Places that are kept after a reset, and the second in which they are free.
    held: AtomicU64,
}

impl FastOpenQueue {
    /// Creates a queue of `limit` places; with none, the listener does not use Fast Open.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit: AtomicUsize::new(limit),
            taken: AtomicUsize::new(0),
            held: AtomicU64::new(0),
        })
    }

    /// Returns the number of places.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Changes the number of places.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Returns how many places are taken.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// Takes a place; `None` if all are taken.
    pub fn admit(self: &Arc<Self>, now: Instant) -> Option<FastOpenPlace> {
        self.release_held(now);
        let limit = self.limit();
        self.taken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| {
                (taken < limit).then_some(taken + 1)
            })
            .ok()
            .map(|_| FastOpenPlace {
                queue: Arc::clone(self),
                is_held: false,
            })
    }

    /// Frees the places that were kept long enough.
    fn release_held(&self, now: Instant) {
        let seconds = now.as_millis() / 1_000;
        let due = |held: u64| held & COUNT_MASK > 0 && seconds >= held >> COUNT_BITS;
        let freed = self
            .held
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |held| {
                due(held).then_some(0)
            });
        if let Ok(held) = freed {
            self.taken
                .fetch_sub((held & COUNT_MASK) as usize, Ordering::AcqRel);
        }
    }
}

/// The place of one connection; given back when it is dropped.
#[must_use = "a place that is dropped is given back"]
#[derive(Debug)]
pub struct FastOpenPlace {
    queue: Arc<FastOpenQueue>,
    /// It is not free yet when it is dropped.
    is_held: bool,
}

impl FastOpenPlace {
    /// Gives the place back a minute later: the peer reset its connection at `now`.
    pub fn hold(mut self, now: Instant) {
        let until = now + HELD_AFTER_RESET;
        let until = until.as_millis().div_ceil(1_000);
        let noted = self
            .queue
            .held
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |held| {
                let count = (held & COUNT_MASK) + 1;
                (count <= COUNT_MASK).then_some(until << COUNT_BITS | count)
            });
        self.is_held = noted.is_ok();
    }
}

impl Drop for FastOpenPlace {
    fn drop(&mut self) {
        if !self.is_held {
            self.queue.taken.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back_and_after_a_reset_later() {
        let queue = FastOpenQueue::new(2);
        let mut now = Instant::from_millis(1_500);
        let first = queue.admit(now).expect("free");
        let second = queue.admit(now).expect("free");
        assert!(queue.admit(now).is_none());
        drop(first);
        let first = queue.admit(now).expect("free again");
        first.hold(now);
        second.hold(now);
        assert_eq!(queue.taken(), 2);
        now = now + Duration::from_millis(59_900);
        assert!(queue.admit(now).is_none());
        now = now + Duration::from_millis(1_100);
        let held: Vec<_> = core::iter::from_fn(|| queue.admit(now)).collect();
        assert_eq!(held.len(), 2);
        drop(held);
        assert_eq!(queue.taken(), 0);
        queue.set_limit(0);
        assert!(queue.admit(now).is_none());
    }
}
