//! What the worker that runs on this thread has to do before its turn ends.
//!
//! * **Define.** Inside [`scope`] the thread is a worker's: work for that worker goes to its own lists.
//! * **Enforce.** The lists are moved into the thread-local for the scope and out again; no reference
//!   to them leaves [`with`].
//! * **Consume.** A task that runs on the worker which owns its connection queues work without an
//!   atomic operation, a wake-up or a hand-over to another thread.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use packet::frame::TxPacket;

use crate::stack::tcp::connection::ConnCell;
use crate::stack::udp::app::OutDatagram;

/// A task that a worker runs.
pub type TaskFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The lists of one worker.
#[derive(Default)]
pub struct Local {
    /// Which mailbox this worker reads; see [`crate::stack::mailbox::Mailbox::id`].
    pub mailbox: u64,
    /// Connections that may have something to send or a timer to set.
    pub dirty: Vec<Arc<ConnCell>>,
    /// Tasks that can go on.
    pub ready: Vec<u32>,
    /// Tasks to start.
    pub spawn: Vec<TaskFuture>,
    /// Datagrams to build and send.
    pub datagrams: Vec<OutDatagram>,
    /// Packets to send at the end of the turn.
    pub transmit: Vec<TxPacket>,
}

thread_local! {
    static CURRENT: RefCell<Option<Local>> = const { RefCell::new(None) };
}

/// Runs `f` with `local` as this thread's worker.
pub fn scope<R>(local: &mut Local, f: impl FnOnce() -> R) -> R {
    /// Gives the lists back even if `f` unwinds.
    struct Restore<'a> {
        local: &'a mut Local,
        outer: Option<Local>,
    }
    impl Drop for Restore<'_> {
        fn drop(&mut self) {
            let outer = self.outer.take();
            if let Some(inner) = CURRENT.with(|current| current.replace(outer)) {
                *self.local = inner;
            }
        }
    }
    let outer = CURRENT.with(|current| current.replace(Some(std::mem::take(local))));
    let _restore = Restore { local, outer };
    f()
}

/// The lists of the worker with that mailbox, if it is the one on this thread.
pub fn with<R>(mailbox: u64, f: impl FnOnce(&mut Local) -> R) -> Option<R> {
    CURRENT.with(|current| match current.borrow_mut().as_mut() {
        Some(local) if local.mailbox == mailbox => Some(f(local)),
        _ => None,
    })
}

/// The mailbox of the worker on this thread.
pub fn current_mailbox() -> Option<u64> {
    CURRENT.with(|current| current.borrow().as_ref().map(|local| local.mailbox))
}
