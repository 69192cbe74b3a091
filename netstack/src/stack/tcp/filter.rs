//! A program's filter of SYNs: called for each one before anything is kept of it.

use std::net::SocketAddr;
use std::sync::Arc;

use super::super::contain::contain;
use super::super::foreign::{Deferred, DeferredValue, Foreign, ForeignValue};

/// A SYN, as a program sees it before it is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SynInfo {
    /// The destination that the peer chose.
    pub local: SocketAddr,
    /// The peer.
    pub remote: SocketAddr,
    /// Time to live (IPv6: hop limit) with which it arrived.
    pub ttl: u8,
    /// Type of service (IPv6: traffic class) with which it arrived.
    pub tos: u8,
    /// The MSS that the peer offers; that of its family if it offers none (RFC 9293 section 3.7.1).
    pub mss: Option<u16>,
    /// The window scale that the peer offers (RFC 7323).
    pub window_scale: Option<u8>,
    /// True if the peer offers selective acknowledgments (RFC 2018).
    pub sack: bool,
    /// True if the peer offers timestamps (RFC 7323).
    pub timestamps: bool,
}

/// Returns true for the SYNs that a listener is to take.
pub(crate) type FilterFn = dyn Fn(&SynInfo) -> bool + Send + Sync;

impl ForeignValue for Arc<FilterFn> {
    fn defer(self) -> DeferredValue {
        (Box::new(self) as Deferred).defer()
    }
}

/// The filter of a listener, or none.
pub(crate) struct Filter(Foreign<Arc<FilterFn>>);

impl Default for Filter {
    fn default() -> Self {
        Self(Foreign::none())
    }
}

impl Filter {
    pub(crate) fn new(filter: Arc<FilterFn>) -> Self {
        Self(Foreign::new(filter))
    }

    /// Returns true if there is a filter.
    pub(crate) fn is_some(&self) -> bool {
        self.0.get().is_some()
    }

    /// Returns true if the listener is to take a SYN. A filter that panics takes none. Runs code of the program:
    /// nothing may be locked.
    pub(crate) fn takes(&self, syn: &SynInfo) -> bool {
        match self.0.get() {
            Some(filter) => contain("a filter of SYNs", || filter(syn)).unwrap_or(false),
            None => true,
        }
    }
}

impl Clone for Filter {
    /// Counts one more holder; no code of the program runs.
    fn clone(&self) -> Self {
        match self.0.get() {
            Some(filter) => Self::new(Arc::clone(filter)),
            None => Self::default(),
        }
    }
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_some() {
            "Filter(Some)"
        } else {
            "Filter(None)"
        })
    }
}
