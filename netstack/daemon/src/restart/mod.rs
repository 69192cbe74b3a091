//! Hot restart: a new process takes the place of this one, and no connection notices more than a pause.
//!
//! ```text
//!   new process                               the one that runs
//!     take-over (format, version)      ──>      one of another format is refused
//!                                      <──      queues
//!     descriptors                      ──>
//!                                      <──      the descriptors of the TUN device
//!     ready                            ──>      services give their connections back, the stack rests
//!                                      <──      state (bytes)
//!     restores it, at rest
//!     taken                            ──>      from here on it will end
//!                                      <──      yours
//!     begins                                    tells the supervisor, and ends with exit code 0
//!     reads the end, and tells the supervisor
//! ```
//!
//! * **Define.** There is one owner of the device: whoever reads from it.
//! * **Enforce.** The old process rests before it sends its state, and the new one rests until it has read `yours`. Whatever fails
//!   before lets the old one go on with its own connections ([`hand_over`], [`resting`]), and the new one end without a packet
//!   ([`take_over`]).
//! * **Consume.** A failed attempt costs a pause and nothing else.

pub(crate) mod hand_over;
pub(crate) mod resting;
pub(crate) mod take_over;

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use tokio::sync::{Semaphore, oneshot};

/// A demand of the control socket on the main thread, which has the stack and the services.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Rest, and return the state; or why that cannot be.
    Rest(oneshot::Sender<Result<Vec<u8>, String>>),
    /// Be ready to end: the new process, whose control socket has this path, has restored the state. False if that is too late.
    Commit(Option<PathBuf>, oneshot::Sender<bool>),
    /// End: the new process, which may have this number, has the device.
    Leave(Option<u32>),
    /// Go on: there is no new process any more.
    GoOn,
}

/// The way of the control socket to the main thread.
pub(crate) struct Desk {
    ask: Box<dyn Fn(Ask) + Send + Sync>,
    /// The queues of the device.
    descriptors: Vec<OwnedFd>,
    /// One process at a time takes over.
    places: Semaphore,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("descriptors", &self.descriptors)
            .finish_non_exhaustive()
    }
}

impl Desk {
    /// Creates the way to whoever answers `ask`. `descriptors` are those of the device's queues.
    pub(crate) fn new(
        descriptors: Vec<OwnedFd>,
        ask: impl Fn(Ask) + Send + Sync + 'static,
    ) -> Self {
        Self {
            ask: Box::new(ask),
            descriptors,
            places: Semaphore::new(1),
        }
    }
}
