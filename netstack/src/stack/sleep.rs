//! Sleeping by the stack's clock, which is the machine's or a virtual one.
//!
//! * **Define.** A [`Sleeping`] has at most one place, in the queue of the worker on which it began.
//! * **Enforce.** It looks at the stack's end and at the time under the lock under which it takes its place. The
//!   worker's next timer is never later than its earliest place: another thread that takes an earlier one tells it.
//! * **Consume.** No sleep outlasts its deadline or its stack.

use std::task::{Poll, Waker};

use super::ending::EndReason;
use super::foreign::{Foreign, locked};
use super::host::Host;
use super::mailbox::Message;
use super::sleepers::Place;
use crate::base::Instant;

/// One sleep.
#[derive(Debug)]
pub(crate) struct Sleeping {
    deadline: Instant,
    /// The number of a worker and the place in its queue.
    place: Option<(usize, Place)>,
}

impl Sleeping {
    /// Creates a sleep until `deadline`, which has not begun.
    pub(crate) fn new(deadline: Instant) -> Self {
        Self {
            deadline,
            place: None,
        }
    }

    /// Returns when the sleep ends.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Ready at the deadline, or with the reason when the stack ended. Wakes the task of `waker` then.
    pub(crate) fn poll(&mut self, host: &Host, waker: &Waker) -> Poll<Result<(), EndReason>> {
        // The copy is made, and the one before it dropped, with nothing locked: both are code of the program.
        let waker = Foreign::new(waker.clone());
        let (worker, before) = match self.place.take() {
            Some((worker, place)) => (worker, Some(place)),
            None => (host.workers.current().unwrap_or(0), None),
        };
        let deadline = self.deadline;
        let is_over = || match host.ending.reason() {
            Some(reason) => Some(Err(reason.clone())),
            None => (host.clock.now() >= deadline).then_some(Ok(())),
        };
        let sleepers = &host.workers[worker].sleepers;
        let slept = locked(|key| sleepers.sleep(&mut key.ctx(), before, deadline, waker, is_over));
        match slept {
            Err(over) => Poll::Ready(over),
            Ok((place, is_first)) => {
                self.place = Some((worker, place));
                if is_first && host.workers.current() != Some(worker) {
                    host.workers[worker].mailbox.send(Message::Timer);
                }
                Poll::Pending
            }
        }
    }

    /// Gives the place back.
    pub(crate) fn forget(&mut self, host: &Host) {
        if let Some((worker, place)) = self.place.take() {
            locked(|key| {
                host.workers[worker].sleepers.forget(&mut key.ctx(), place);
            });
        }
    }
}
