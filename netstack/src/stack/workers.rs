//! The workers of a stack, as other threads see them.

use std::net::SocketAddr;
use std::ops::Index;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use super::contain::take_caught;
use super::foreign::locked;
use super::mailbox::{Mailbox, Message};
use super::reached::Reached;
use super::sleepers::Sleepers;
use super::tcp::connection::Connection;
use super::worklist;
use crate::base::Counters;
use crate::base::counters::Counter;

/// One worker, as other threads see it.
#[derive(Debug)]
pub struct WorkerHandle {
    /// The way of work to it.
    pub mailbox: Arc<Mailbox>,
    /// Its counters.
    pub counters: Arc<Counters>,
    /// The tasks that sleep by its timers.
    pub(crate) sleepers: Sleepers,
    /// How far it is on the way to rest.
    pub(crate) reached: Reached,
}

/// The workers of a stack: at least one.
#[derive(Debug)]
pub struct Workers {
    handles: Box<[WorkerHandle]>,
    ended: AtomicUsize,
}

impl Index<usize> for Workers {
    type Output = WorkerHandle;

    fn index(&self, index: usize) -> &WorkerHandle {
        &self.handles[index]
    }
}

impl Workers {
    /// Creates handles for `count` workers, at least one.
    pub(crate) fn new(count: usize) -> Self {
        let worker = |_| WorkerHandle {
            mailbox: Arc::new(Mailbox::new()),
            counters: Arc::new(Counters::new()),
            sleepers: Sleepers::default(),
            reached: Reached::default(),
        };
        Self {
            handles: (0..count.max(1)).map(worker).collect(),
            ended: AtomicUsize::new(0),
        }
    }

    /// Returns the number of workers.
    pub(crate) fn count(&self) -> usize {
        self.handles.len()
    }

    /// Returns each worker's counters.
    pub(crate) fn counters(&self) -> impl Iterator<Item = &Counters> {
        self.handles.iter().map(|worker| &*worker.counters)
    }

    /// Returns each worker.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &WorkerHandle> {
        self.handles.iter()
    }

    /// Returns the mailbox of the worker that owns `connection`.
    pub(crate) fn owner(&self, connection: &Connection) -> &Mailbox {
        &self.handles[usize::from(connection.owner)].mailbox
    }

    /// Tells the owner of `connection`, once, that there may be something to send.
    pub(crate) fn drive(&self, connection: &Arc<Connection>) {
        self.owner(connection).drive(connection);
    }

    /// Appends the tasks that wait for room to send datagrams to `wakers`.
    pub(crate) fn take_senders(&self, wakers: &mut Vec<Waker>) {
        for worker in &self.handles {
            wakers.extend(worker.mailbox.take_senders());
        }
    }

    /// Appends the tasks that sleep to `wakers`.
    pub(crate) fn take_sleepers(&self, wakers: &mut Vec<Waker>) {
        for worker in &self.handles {
            locked(|key| worker.sleepers.wake_all(&mut key.ctx(), wakers));
        }
    }

    /// Notes that a worker ended; true if it was the last.
    pub(crate) fn is_last_to_end(&self) -> bool {
        self.ended.fetch_add(1, Ordering::AcqRel) + 1 == self.count()
    }

    /// Counts the panics of the program that were caught on this thread, with worker `index`.
    #[inline]
    pub(crate) fn count_panics_of(&self, index: usize) {
        let caught = take_caught();
        if caught > 0 {
            self[index].counters.add(Counter::ProgramPanics, caught);
        }
    }

    /// Returns the counters of the worker on this thread; those of the first on a thread that is none of them.
    pub(crate) fn counters_here(&self) -> &Counters {
        &self[self.current().unwrap_or(0)].counters
    }

    /// [`Workers::count_panics_of`] for a thread that may be no worker's.
    pub(crate) fn count_panics(&self) {
        self.count_panics_of(self.current().unwrap_or(0));
    }

    /// Tells every worker to stop.
    pub(crate) fn stop(&self) {
        for worker in &self.handles {
            worker.mailbox.send(Message::Stop);
        }
    }

    /// Returns the number of the worker on this thread, if it is one of these.
    pub(crate) fn current(&self) -> Option<usize> {
        let id = worklist::current_mailbox()?;
        self.handles
            .iter()
            .position(|worker| worker.mailbox.id() == id)
    }

    /// Chooses the owner of a new connection of ours: the worker on this thread, or else one by the
    /// connection's ports.
    pub(crate) fn choose_owner(&self, local: &SocketAddr, remote: &SocketAddr) -> u16 {
        if let Some(index) = self.current() {
            return index as u16;
        }
        let spread = u32::from(local.port()).wrapping_mul(31) ^ u32::from(remote.port());
        (spread as usize % self.count()) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::worklist::TaskWork;

    #[test]
    fn a_task_on_a_worker_opens_connections_of_that_worker() {
        let workers = Workers::new(4);
        let local = SocketAddr::from(([10, 0, 0, 1], 1));
        let remote = SocketAddr::from(([10, 0, 0, 2], 80));
        for index in 0..4 {
            let mut list = TaskWork {
                mailbox: workers[index].mailbox.id(),
                ..TaskWork::default()
            };
            let owner = worklist::scope(&mut list, || workers.choose_owner(&local, &remote));
            assert_eq!(usize::from(owner), index);
        }
        assert_eq!(workers.current(), None);
        assert!(usize::from(workers.choose_owner(&local, &remote)) < 4);
    }
}
