//! A listening TCP port.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use lockorder::Mutex;

use super::super::levels;
use super::accept::{AcceptQueue, Backlog, Place};

/// A listening port of connections `C`.
pub(crate) struct Listener<C: 'static> {
    /// The address that it listens on; may be unspecified.
    pub(crate) local: SocketAddr,
    backlog: Arc<Backlog>,
    pub(crate) queue: Mutex<levels::AcceptQueue, AcceptQueue<C>>,
}

impl<C> fmt::Debug for Listener<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({})", self.local)
    }
}

impl<C> Listener<C> {
    /// Creates a listener on `local` for at most `backlog` connections that are not accepted yet.
    pub(crate) fn new(local: SocketAddr, backlog: usize) -> Arc<Self> {
        Arc::new(Self {
            local,
            backlog: Backlog::new(backlog),
            queue: Mutex::new(AcceptQueue::default()),
        })
    }

    /// Admits a SYN; `None` if the backlog is full.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<Handshake<C>> {
        self.backlog.admit().map(|place| Handshake {
            listener: Arc::clone(self),
            place,
        })
    }

    /// Returns how many places of the backlog are taken.
    #[cfg(any(test, feature = "invariants"))]
    pub(crate) fn places_taken(&self) -> usize {
        self.backlog.taken()
    }
}

/// The part of a connection that came in and is not handed out yet: its listener, and its place in
/// that listener's backlog. Dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Handshake<C: 'static> {
    /// The listener that the SYN was for.
    pub(crate) listener: Arc<Listener<C>>,
    /// The place in its backlog.
    pub(crate) place: Place,
}
