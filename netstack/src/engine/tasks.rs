//! The tasks of one worker: futures that run on the thread that owns their connections.
//!
//! A service that runs here sees a segment in the turn that received it: there is no hand-off to
//! another thread and no wake-up of a sleeping one. The worker polls with nothing locked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use slab::Slab;

use crate::stack::contain::{catch, contain};
use crate::stack::mailbox::Mailbox;
use crate::stack::task::{TaskFuture, declare_own};

/// The state behind a task's waker.
struct Handle {
    id: u32,
    queued: AtomicBool,
    mailbox: Arc<Mailbox>,
}

impl Wake for Handle {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.mailbox.wake_task(self.id);
        }
    }
}

struct Task {
    future: TaskFuture,
    handle: Arc<Handle>,
    waker: Waker,
}

/// The tasks of one worker.
pub(super) struct Tasks {
    tasks: Slab<Task>,
    mailbox: Arc<Mailbox>,
    /// The message of the latest panic of a task.
    panicked: Option<String>,
}

impl Tasks {
    pub(super) fn new(mailbox: Arc<Mailbox>) -> Self {
        Self {
            tasks: Slab::new(),
            mailbox,
            panicked: None,
        }
    }

    /// Returns the number of tasks that have not ended.
    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Adds a task and returns its number. It runs when [`Tasks::poll`] is called with that number.
    pub(super) fn insert(&mut self, future: TaskFuture) -> u32 {
        // Numbers are reused: a late wake of a task that had this one merely polls this task once too often.
        let place = self.tasks.vacant_entry();
        // No worker has 2^32 tasks.
        let id = place.key() as u32;
        let handle = Arc::new(Handle {
            id,
            queued: AtomicBool::new(false),
            mailbox: Arc::clone(&self.mailbox),
        });
        let waker = Waker::from(Arc::clone(&handle));
        declare_own(&waker);
        place.insert(Task {
            future,
            handle,
            waker,
        });
        id
    }

    /// Gives back the memory of tasks that ended, as far as no other lies behind it.
    pub(super) fn trim(&mut self) {
        super::trim(&mut self.tasks);
    }

    /// Returns the message of the latest panic of a task, once.
    pub(super) fn take_panic(&mut self) -> Option<String> {
        self.panicked.take()
    }

    /// Drops every task.
    pub(super) fn clear(&mut self) {
        for (_, task) in std::mem::take(&mut self.tasks) {
            contain("a task's destructor", || drop(task));
        }
    }

    /// Polls one task once. A task that panics ends; the worker goes on.
    pub(super) fn poll(&mut self, id: u32) {
        let Some(task) = self.tasks.get_mut(id as usize) else {
            return;
        };
        task.handle.queued.store(false, Ordering::Release);
        let (future, waker) = (&mut task.future, &task.waker);
        let poll = catch("a task", || {
            future.as_mut().poll(&mut Context::from_waker(waker))
        });
        if !matches!(poll, Ok(std::task::Poll::Pending)) {
            self.panicked = poll.err().or(self.panicked.take());
            let ended = self.tasks.try_remove(id as usize);
            // Its destructor may call into the stack: run it when the tasks are consistent again.
            contain("a task's destructor", || drop(ended));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::task::is_own;

    struct Other;

    impl Wake for Other {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn the_wakers_of_a_worker_s_tasks_are_told_from_others() {
        let mut tasks = Tasks::new(Arc::new(Mailbox::new()));
        tasks.insert(Box::pin(async {}));
        let own = &tasks.tasks[0].waker;
        assert!(is_own(own) && is_own(&own.clone()));
        assert!(!is_own(&Waker::from(Arc::new(Other))));
        assert!(!is_own(Waker::noop()));
    }

    #[test]
    fn tasks_that_ended_leave_nothing() {
        let mailbox = Arc::new(Mailbox::new());
        let mut tasks = Tasks::new(Arc::clone(&mailbox));
        let ids: Vec<u32> = (0..5_000)
            .map(|_| tasks.insert(Box::pin(async {})))
            .collect();
        assert_eq!(tasks.len(), 5_000);
        for id in ids {
            tasks.poll(id);
        }
        assert_eq!((tasks.len(), tasks.take_panic()), (0, None));
        // Each handle would hold the mailbox.
        assert_eq!(Arc::strong_count(&mailbox), 2);
        tasks.trim();
        assert!(tasks.tasks.capacity() < 2_000);
    }
}
