//! A listening TCP port, and its share of the handshakes that are half open.
//!
//! * **Define.** A [`SynPlace`] is a place for one half-open connection, of all that the stack may have
//!   and of those that one listener may have.
//! * **Enforce.** A place gives itself back when it is dropped. A listener gets another one only while
//!   it has fewer than are free, or fewer than [`FLOOR`]: alone it can take half of all places, two that
//!   are flooded a third each, and so on.
//! * **Consume.** A flood of SYNs to some ports blocks no other port.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lockorder::Mutex;

use super::super::levels;
use super::accept::{AcceptQueue, Backlog, Place};
use super::deferred::Deferred;
use super::options::Options;
use crate::tcp::FastOpenQueue;

/// Places that a listener can have in any case, beyond the limit if need be.
const FLOOR: usize = 8;

/// The places for half-open connections of a whole stack.
#[derive(Debug)]
pub(crate) struct SynPlaces {
    limit: AtomicUsize,
    taken: AtomicUsize,
}

impl SynPlaces {
    /// Creates `limit` places.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit: AtomicUsize::new(limit),
            taken: AtomicUsize::new(0),
        })
    }

    /// Returns how many places are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// Returns the number of places.
    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Changes the number of places. Those that are taken stay taken.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    fn free(&self) -> usize {
        self.limit().saturating_sub(self.taken())
    }
}

/// A listening port of connections `C`.
pub(crate) struct Listener<C: 'static> {
    /// The address that it listens on; may be unspecified.
    pub(crate) local: SocketAddr,
    /// The options of its connections.
    pub(crate) options: Options,
    backlog: Arc<Backlog>,
    pub(crate) queue: Mutex<levels::AcceptQueue, AcceptQueue<C>>,
    /// The SYNs that the program decides about, if it does.
    pub(crate) deferred: Option<Mutex<levels::AcceptQueue, Deferred<C>>>,
    /// Places for connections that a SYN with data opened.
    pub(crate) fast_open: Arc<FastOpenQueue>,
    places: Arc<SynPlaces>,
    /// Places that this listener has taken.
    half_open: AtomicUsize,
}

impl<C> fmt::Debug for Listener<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({})", self.local)
    }
}

impl<C> Listener<C> {
    /// Creates a listener on `local` for as many connections that are not accepted yet as `options` allow, and
    /// for its share of `places`.
    pub(crate) fn new(local: SocketAddr, options: Options, places: &Arc<SynPlaces>) -> Arc<Self> {
        let backlog = Backlog::new(options.config.backlog);
        Self::with_backlog(local, options, places, backlog)
    }

    /// [`Listener::new`] with a backlog whose limit others may share.
    pub(crate) fn with_backlog(
        local: SocketAddr,
        options: Options,
        places: &Arc<SynPlaces>,
        backlog: Arc<Backlog>,
    ) -> Arc<Self> {
        Arc::new(Self {
            local,
            backlog,
            fast_open: FastOpenQueue::new(options.config.fast_open_backlog),
            deferred: options.defers.then(|| Mutex::new(Deferred::default())),
            options,
            queue: Mutex::new(AcceptQueue::default()),
            places: Arc::clone(places),
            half_open: AtomicUsize::new(0),
        })
    }

    /// Admits a connection whose handshake is done; `None` if the backlog is full.
    pub(crate) fn admit(&self) -> Option<Place> {
        self.backlog.admit()
    }

    /// Returns true if no connection can be admitted now.
    pub(crate) fn is_backlog_full(&self) -> bool {
        self.backlog.is_full()
    }

    /// Admits a SYN; `None` if the listener has its share of half-open connections.
    pub(crate) fn admit_syn(self: &Arc<Self>) -> Option<SynPlace<C>> {
        let own = self.half_open.load(Ordering::Acquire);
        let (places, limit) = (&self.places, self.places.limit());
        places
            .taken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| {
                let free = limit.saturating_sub(taken);
                (own < free.max(FLOOR)).then_some(taken + 1)
            })
            .ok()
            .map(|_| SynPlace::counted(self))
    }

    /// Admits a SYN whatever the share: it takes the place of a connection in TIME-WAIT.
    pub(crate) fn admit_successor(self: &Arc<Self>) -> SynPlace<C> {
        self.places.taken.fetch_add(1, Ordering::AcqRel);
        SynPlace::counted(self)
    }

    /// Returns true if the listener has taken more than half of the places that it can have now.
    fn is_pressed(&self) -> bool {
        self.half_open() > self.places.free() / 2
    }

    /// Returns how many connections of this listener are half open.
    pub(crate) fn half_open(&self) -> usize {
        self.half_open.load(Ordering::Acquire)
    }

    /// Returns how many places of the backlog are taken.
    pub(crate) fn places_taken(&self) -> usize {
        self.backlog.taken()
    }
}

/// The place of one half-open connection; given back when it is dropped.
#[must_use = "a place that is dropped is given back"]
#[derive(Debug)]
pub(crate) struct SynPlace<C: 'static> {
    listener: Arc<Listener<C>>,
}

impl<C> SynPlace<C> {
    /// Makes a place that was taken from the stack's.
    fn counted(listener: &Arc<Listener<C>>) -> Self {
        listener.half_open.fetch_add(1, Ordering::AcqRel);
        Self {
            listener: Arc::clone(listener),
        }
    }

    /// Returns the listener that the SYN was for.
    pub(crate) fn listener(&self) -> &Arc<Listener<C>> {
        &self.listener
    }

    /// Returns how often a SYN-ACK may be sent again: less often when places are short.
    pub(crate) fn retries(&self, configured: u8) -> u8 {
        if self.listener.is_pressed() {
            configured.min(RETRIES_UNDER_PRESSURE)
        } else {
            configured
        }
    }
}

/// Retransmissions of a SYN-ACK while places for half-open connections are short: it is given up
/// after 1 + 2 + 4 seconds.
const RETRIES_UNDER_PRESSURE: u8 = 2;

impl<C> Drop for SynPlace<C> {
    fn drop(&mut self) {
        self.listener.half_open.fetch_sub(1, Ordering::AcqRel);
        self.listener.places.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(places: &Arc<SynPlaces>, port: u16) -> Arc<Listener<u32>> {
        Listener::new(
            ([10, 0, 0, 1], port).into(),
            Options::with_backlog(4),
            places,
        )
    }

    /// Takes places until there are no more for that listener.
    fn fill(listener: &Arc<Listener<u32>>) -> Vec<SynPlace<u32>> {
        std::iter::from_fn(|| listener.admit_syn()).collect()
    }

    #[test]
    fn a_place_is_always_left_for_another_port() {
        let places = SynPlaces::new(600);
        let first = listener(&places, 1);
        let mut held = fill(&first);
        assert_eq!(held.len(), 300);
        for port in 2..30 {
            let other = listener(&places, port);
            let more = fill(&other);
            assert!(more.len() >= FLOOR, "port {port}");
            held.extend(more);
        }
        assert!(places.taken() <= 600 + 28 * FLOOR);
        drop(held);
        assert_eq!((places.taken(), first.half_open()), (0, 0));
    }

    #[test]
    fn a_successor_of_a_connection_in_time_wait_has_a_place_in_any_case() {
        let places = SynPlaces::new(2);
        let listener = listener(&places, 1);
        let held = fill(&listener);
        assert_eq!(held.len(), FLOOR);
        let more: Vec<_> = (0..5).map(|_| listener.admit_successor()).collect();
        assert_eq!(places.taken(), FLOOR + 5);
        assert_eq!(listener.half_open(), FLOOR + 5);
        drop((held, more));
        assert_eq!(places.taken(), 0);
    }

    #[test]
    fn handshakes_are_given_up_earlier_when_places_are_short() {
        let places = SynPlaces::new(100);
        let listener = listener(&places, 1);
        let mut held: Vec<_> = (0..30).filter_map(|_| listener.admit_syn()).collect();
        assert_eq!(held[0].retries(6), 6);
        held.extend(fill(&listener));
        assert_eq!((held[0].retries(6), held[0].retries(1)), (2, 1));
    }
}
