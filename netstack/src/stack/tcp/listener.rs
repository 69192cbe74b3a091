//! A listening TCP port: its backlog, and the connections that wait to be accepted.
//!
//! A connection counts against the backlog from its SYN until it is accepted or gone. A listener hands
//! connections out in one of two ways: to `accept`, or to a service that runs on the worker which
//! owns the connection.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use lockorder::Mutex;

use crate::stack::levels;
use crate::stack::local::TaskFuture;
use crate::stack::tcp::connection::ConnCell;

/// Starts a service for a new connection.
pub type Service = Box<dyn Fn(Arc<ConnCell>) -> TaskFuture + Send + Sync>;

/// A listening port.
pub struct Listener {
    /// The address it listens on; may be unspecified.
    pub(crate) local: SocketAddr,
    backlog: usize,
    pending: AtomicUsize,
    closed: AtomicBool,
    service: OnceLock<Service>,
    pub(crate) queue: Mutex<levels::Accept, AcceptQueue>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({})", self.local)
    }
}

/// Established connections, oldest first, and the tasks that wait for one.
#[derive(Default)]
pub(crate) struct AcceptQueue {
    pub(crate) ready: VecDeque<Arc<ConnCell>>,
    pub(crate) acceptors: Vec<Waker>,
}

impl Listener {
    pub(crate) fn new(local: SocketAddr, backlog: usize) -> Arc<Self> {
        Arc::new(Self {
            local,
            backlog,
            pending: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            service: OnceLock::new(),
            queue: Mutex::new(AcceptQueue::default()),
        })
    }

    /// Takes a place in the backlog for a SYN; false if it is full.
    pub(crate) fn admit(&self) -> bool {
        if self.closed.load(Ordering::Acquire) {
            return false;
        }
        self.pending
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |pending| {
                (pending < self.backlog).then_some(pending + 1)
            })
            .is_ok()
    }

    /// Gives a place back.
    pub(crate) fn release(&self) {
        self.pending.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// From now on connections go to `service`. False if there is one already.
    pub(crate) fn set_service(&self, service: Service) -> bool {
        self.service.set(service).is_ok()
    }

    pub(crate) fn has_service(&self) -> bool {
        self.service.get().is_some()
    }

    /// The task that serves `cell`; `None` if this listener has no service.
    pub(crate) fn serve(&self, cell: Arc<ConnCell>) -> Option<TaskFuture> {
        self.service.get().map(|service| service(cell))
    }
}
