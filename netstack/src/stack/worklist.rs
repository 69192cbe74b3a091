//! The work that the worker on this thread has to do before its turn ends.
//!
//! * **Define.** Inside [`scope`] the thread is a worker's: work for that worker goes to its own lists.
//! * **Enforce.** The lists are moved into the thread-local for the scope and out again; no reference
//!   to them leaves [`with`].
//! * **Consume.** A task that runs on the worker which owns its connection queues work without an
//!   atomic operation, a wake-up or a hand-over to another thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use packet::frame::TxPacket;

use super::events::ConnectionEvent;
use super::task::TaskFuture;
use super::tcp::connection::{Connection, Service};
use super::udp::socket::Outgoing;
use crate::base::Instant;

/// The lists of one worker.
#[derive(Default)]
pub struct Worklist {
    /// The lists that tasks on the worker's thread fill.
    pub tasks: TaskWork,
    /// Tasks to start.
    pub spawn: Vec<TaskFuture>,
    /// Packets to send at the end of the turn.
    pub transmit: Vec<TxPacket>,
    /// Connections that have nothing but a FIN to send, which waits until the device was read to its end.
    pub(crate) parting: VecDeque<Arc<Connection>>,
    /// Packets that the stack sends to itself.
    pub looped: Vec<TxPacket>,
    /// Tasks to wake, with nothing locked.
    pub wakers: Vec<Waker>,
    /// Events for the stack's subscriber, to be delivered with nothing locked.
    pub(crate) events: Vec<ConnectionEvent>,
    /// Services to start, with nothing locked.
    pub(crate) serve: Vec<(Service, Arc<Connection>)>,
}

impl Worklist {
    /// Returns true if there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        let tasks = &self.tasks;
        tasks.connections.is_empty()
            && tasks.ready.is_empty()
            && tasks.datagrams.is_empty()
            && self.spawn.is_empty()
            && self.transmit.is_empty()
            && self.parting.is_empty()
            && self.looped.is_empty()
            && self.wakers.is_empty()
            && self.events.is_empty()
            && self.serve.is_empty()
    }

    /// Gives the memory of long lists back, which a crowd of connections leaves behind. Called when the worker has nothing to do.
    pub(crate) fn trim(&mut self) {
        /// Entries for which a list keeps its memory.
        const KEPT: usize = 4_096;
        fn trim<T>(list: &mut Vec<T>) {
            if list.capacity() > KEPT && list.is_empty() {
                list.shrink_to(KEPT);
            }
        }
        trim(&mut self.tasks.connections);
        trim(&mut self.tasks.ready);
        trim(&mut self.spawn);
        trim(&mut self.transmit);
        trim(&mut self.looped);
        trim(&mut self.wakers);
        trim(&mut self.events);
        trim(&mut self.serve);
        if self.parting.capacity() > KEPT && self.parting.is_empty() {
            self.parting.shrink_to(KEPT);
        }
    }
}

/// The work that tasks make for the worker on whose thread they run. Small: it is moved into the
/// thread-local and out again in each turn.
#[derive(Default)]
pub struct TaskWork {
    /// The identity of the mailbox that this worker reads; see [`super::mailbox::Mailbox::id`].
    pub mailbox: u64,
    /// The time of the worker's turn.
    pub now: Option<Instant>,
    /// Connections that may have something to send or a timer to set.
    pub connections: Vec<Arc<Connection>>,
    /// Tasks that can go on.
    pub ready: Vec<u32>,
    /// Datagrams to build and send.
    pub datagrams: Outgoing,
}

thread_local! {
    static CURRENT: RefCell<Option<TaskWork>> = const { RefCell::new(None) };
}

/// Runs `f` with `list` as this thread's worklist.
pub fn scope<R>(list: &mut TaskWork, f: impl FnOnce() -> R) -> R {
    /// Gives the lists back even if `f` unwinds.
    struct Restore<'a> {
        list: &'a mut TaskWork,
        outer: Option<TaskWork>,
    }
    impl Drop for Restore<'_> {
        fn drop(&mut self) {
            let outer = self.outer.take();
            if let Some(inner) = CURRENT.with(|current| current.replace(outer)) {
                *self.list = inner;
            }
        }
    }
    let outer = CURRENT.with(|current| current.replace(Some(std::mem::take(list))));
    let _restore = Restore { list, outer };
    f()
}

/// Runs `f` on the lists of the worker with that mailbox, if it is the one on this thread.
pub fn with<R>(mailbox: u64, f: impl FnOnce(&mut TaskWork) -> R) -> Option<R> {
    CURRENT.with(|current| match current.borrow_mut().as_mut() {
        Some(list) if list.mailbox == mailbox => Some(f(list)),
        _ => None,
    })
}

/// Returns the identity of the mailbox of the worker on this thread.
pub fn current_mailbox() -> Option<u64> {
    CURRENT.with(|current| current.borrow().as_ref().map(|list| list.mailbox))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(mailbox: u64) -> TaskWork {
        TaskWork {
            mailbox,
            ..TaskWork::default()
        }
    }

    #[test]
    fn work_goes_to_the_worker_of_this_thread_and_to_no_other() {
        let mut mine = list(1);
        assert_eq!(current_mailbox(), None);
        scope(&mut mine, || {
            assert_eq!(current_mailbox(), Some(1));
            assert!(with(1, |list| list.ready.push(7)).is_some());
            assert!(with(2, |list| list.ready.push(8)).is_none());
        });
        assert_eq!((mine.mailbox, mine.ready), (1, vec![7]));
        assert_eq!(current_mailbox(), None);
    }

    #[test]
    fn scopes_nest_and_end_when_the_code_in_them_panics() {
        let (mut outer, mut inner) = (list(1), list(2));
        scope(&mut outer, || {
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                scope(&mut inner, || {
                    with(2, |list| list.ready.push(3));
                    panic!("a task");
                });
            }));
            assert!(panicked.is_err());
            assert_eq!(current_mailbox(), Some(1));
        });
        assert_eq!((inner.ready, outer.mailbox), (vec![3], 1));
    }
}
