//! What was found out under a lock and must wait until none is held.
//!
//! * **Define.** Waking a task or handing a connection to a service runs code that is not ours.
//! * **Enforce.** Under a lock these are only collected; [`Deferred::run`] takes `&mut Key`, which
//!   proves that nothing is locked.
//! * **Consume.** A waker may take any lock of the stack, or poll its task on the spot.

use std::sync::Arc;
use std::task::Waker;

use lockorder::Key;

use crate::stack::levels::StackLocks;
use crate::stack::local::TaskFuture;
use crate::stack::tcp::connection::ConnCell;
use crate::stack::tcp::listener::Listener;

/// Calls to be made when nothing is locked.
#[derive(Default)]
pub struct Deferred {
    pub(crate) wakers: Vec<Waker>,
    /// Listeners let go of; with the last reference goes a service, which is not our code.
    pub(crate) released: Vec<Arc<Listener>>,
    /// Connections for a listener that serves them on their worker.
    pub(crate) served: Vec<(Arc<Listener>, Arc<ConnCell>)>,
}

impl Deferred {
    /// Wakes `waker` when nothing is locked.
    pub fn wake(&mut self, waker: Waker) {
        self.wakers.push(waker);
    }

    /// True if there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.wakers.is_empty() && self.served.is_empty() && self.released.is_empty()
    }

    /// Makes the calls. Tasks that services want to start are passed to `spawn`.
    pub fn run(&mut self, key: &mut Key<StackLocks>, mut spawn: impl FnMut(TaskFuture)) {
        if self.is_empty() {
            return;
        }
        let Self {
            wakers,
            served,
            released,
        } = self;
        key.lend(|| {
            released.clear();
            for (listener, cell) in served.drain(..) {
                if let Some(future) = listener.serve(cell) {
                    spawn(future);
                }
            }
            for waker in wakers.drain(..) {
                waker.wake();
            }
        });
    }
}
