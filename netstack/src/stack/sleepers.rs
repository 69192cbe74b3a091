//! The tasks of the program that sleep by the stack's clock: a queue for each worker, ordered by the time at which they
//! wake.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use lockorder::{LockBefore, LockCtx, Mutex};

use super::foreign::Foreign;
use super::levels;
use crate::base::Instant;

/// The sleeping tasks of one worker.
pub(crate) struct Sleepers {
    /// When the first one wakes, in nanoseconds; `u64::MAX` if nobody sleeps.
    earliest_nanos: AtomicU64,
    queue: Mutex<levels::Sleepers, Queue>,
}

#[derive(Default)]
struct Queue {
    sleeping: BTreeMap<Place, Foreign<Waker>>,
    next_number: u64,
}

/// The place of a sleeping task: its deadline, and a number that no other has.
pub(crate) type Place = (Instant, u64);

impl fmt::Debug for Sleepers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleepers")
            .field("earliest", &self.earliest())
            .finish_non_exhaustive()
    }
}

impl Default for Sleepers {
    fn default() -> Self {
        Self {
            earliest_nanos: AtomicU64::new(u64::MAX),
            queue: Mutex::new(Queue::default()),
        }
    }
}

impl Sleepers {
    /// Returns when the first sleeping task wakes.
    #[inline]
    pub(crate) fn earliest(&self) -> Option<Instant> {
        let nanos = self.earliest_nanos.load(Ordering::Acquire);
        (nanos != u64::MAX).then(|| Instant::from_nanos(nanos))
    }

    /// Appends up to `most` tasks whose time has come at `now` to `wakers`, earliest first.
    pub(crate) fn wake_due<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        now: Instant,
        most: usize,
        wakers: &mut Vec<Waker>,
    ) where
        L: LockBefore<levels::Sleepers>,
    {
        if self.earliest().is_none_or(|earliest| earliest > now) {
            return;
        }
        self.queue.with(ctx, |queue, _| {
            for _ in 0..most {
                let due = queue.sleeping.first_entry();
                let Some(due) = due.filter(|entry| entry.key().0 <= now) else {
                    break;
                };
                wakers.extend(due.remove().take());
            }
            self.note_earliest(queue);
        });
    }

    /// Gives the place `before` back. Then calls `is_over`, with the queue locked, and if that returns `None` takes a
    /// place for `waker` that wakes at `deadline`. Returns that place, and whether it is the first of the queue.
    ///
    /// # Errors
    /// The result of `is_over`.
    pub(crate) fn sleep<L, E>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        before: Option<Place>,
        deadline: Instant,
        waker: Foreign<Waker>,
        is_over: impl FnOnce() -> Option<E>,
    ) -> Result<(Place, bool), E>
    where
        L: LockBefore<levels::Sleepers>,
    {
        self.queue.with(ctx, |queue, _| {
            if let Some(before) = before {
                queue.sleeping.remove(&before);
            }
            if let Some(over) = is_over() {
                self.note_earliest(queue);
                return Err(over);
            }
            let place = (deadline, queue.next_number);
            queue.next_number += 1;
            queue.sleeping.insert(place, waker);
            self.note_earliest(queue);
            let first = queue.sleeping.first_key_value();
            let is_first = first.is_some_and(|(first, _)| *first == place);
            Ok((place, is_first))
        })
    }

    /// Gives a place back.
    pub(crate) fn forget<L>(&self, ctx: &mut LockCtx<'_, L>, place: Place)
    where
        L: LockBefore<levels::Sleepers>,
    {
        self.queue.with(ctx, |queue, _| {
            queue.sleeping.remove(&place);
            self.note_earliest(queue);
        });
    }

    /// Appends every sleeping task to `wakers`.
    pub(crate) fn wake_all<L>(&self, ctx: &mut LockCtx<'_, L>, wakers: &mut Vec<Waker>)
    where
        L: LockBefore<levels::Sleepers>,
    {
        self.queue.with(ctx, |queue, _| {
            let sleeping = std::mem::take(&mut queue.sleeping);
            wakers.extend(sleeping.into_values().filter_map(|mut waker| waker.take()));
            self.note_earliest(queue);
        });
    }

    fn note_earliest(&self, queue: &Queue) {
        let first = queue.sleeping.first_key_value();
        let nanos = first.map_or(u64::MAX, |((at, _), _)| at.as_nanos());
        self.earliest_nanos.store(nanos, Ordering::Release);
    }
}
