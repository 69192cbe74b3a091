//! Hot restart: a new process takes the place of this one, and no connection notices more than a pause.
//!
//! ```text
//!   new process                               the one that runs
//!     take-over (format, version, job) ──>      one of another format or job is refused
//!                                      <──      queues, ports
//!     descriptors                      ──>
//!                                      <──      the descriptors of the TUN device, and of the ports of the machine
//!     ready                            ──>      services and jobs put their connections down, the stack rests
//!                                      <──      state (bytes)
//!     descriptors                      ──>
//!                                      <──      the descriptors of the flows, if there are any
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

use crate::carried::packed::Shared;

/// A demand of the control socket on the main thread, which has the stack and the services.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Rest, and return the state; or why that cannot be.
    Rest(oneshot::Sender<Result<State, String>>),
    /// Be ready to end: the new process, whose control socket has this path, has restored the state. False if that is too late.
    Commit(Option<PathBuf>, oneshot::Sender<bool>),
    /// End: the new process, which may have this number, has the device.
    Leave(Option<u32>),
    /// Go on: there is no new process any more.
    GoOn,
}

/// All that another process needs, beside the device.
pub(crate) struct State {
    stack: Vec<u8>,
    /// The flows of the job, and the sockets of the machine that they have.
    carried: Vec<u8>,
    descriptors: Vec<Shared>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "State({} bytes)", self.stack.len() + self.carried.len())
    }
}

/// The way of the control socket to the main thread.
pub(crate) struct Desk {
    ask: Box<dyn Fn(Ask) + Send + Sync>,
    /// The name of the job whose flows this process has.
    job: &'static str,
    /// The queues of the device.
    queues: Vec<OwnedFd>,
    /// The ports of the machine on which the job listens, by their names.
    listening: Vec<(String, Shared)>,
    /// One process at a time takes over.
    places: Semaphore,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("job", &self.job)
            .field("queues", &self.queues)
            .finish_non_exhaustive()
    }
}

impl Desk {
    /// Creates the way to whoever answers `ask`.
    pub(crate) fn new(
        job: &'static str,
        queues: Vec<OwnedFd>,
        listening: Vec<(String, Shared)>,
        ask: impl Fn(Ask) + Send + Sync + 'static,
    ) -> Self {
        Self {
            ask: Box::new(ask),
            job,
            queues,
            listening,
            places: Semaphore::new(1),
        }
    }
}
