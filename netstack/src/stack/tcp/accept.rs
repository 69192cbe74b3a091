//! Accepting: the places of a backlog, and the queue of connections that wait to be accepted.
//!
//! * **Define.** A connection that comes in holds a [`Place`] of its listener's backlog from the end of
//!   its handshake until the application has it or it is gone. It goes to exactly one taker: the accept
//!   queue, a service, or nobody because the listener closed.
//! * **Enforce.** A place gives itself back when it is dropped; there is no other way to give one back.
//!   [`AcceptQueue::offer`] decides and queues in one step, under the queue's lock, and the same lock
//!   guards the change of taker.
//! * **Consume.** No path can leak a place, and no connection can come in between a listener that sets
//!   its service and the queue that it empties.
//!
//! Generic over the connection `C`, so that a model checker can run it with numbers.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use super::super::contain::contain;
use super::super::foreign::{Deferred, DeferredValue, Foreign, ForeignValue};
use super::super::task::TaskFuture;
use super::super::waiters::{Ticket, Waiter, WakerSlot};
use crate::base::Rng;
use crate::demux::{FlowKey, HasFlow};
use crate::ip::peer::draw_crowding;

/// A bound on connections that are not accepted yet.
#[derive(Debug)]
pub(crate) struct Backlog {
    /// Shared by the listeners for which the program set none.
    limit: Arc<AtomicUsize>,
    taken: AtomicUsize,
}

impl Backlog {
    /// Creates a backlog of `limit` places.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Self::sharing(&Arc::new(AtomicUsize::new(limit)))
    }

    /// Creates a backlog of as many places as `limit` says at any time.
    pub(crate) fn sharing(limit: &Arc<AtomicUsize>) -> Arc<Self> {
        let limit = Arc::clone(limit);
        Arc::new(Self {
            limit,
            taken: AtomicUsize::new(0),
        })
    }

    /// Takes a place; `None` if all are taken.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<Place> {
        let limit = self.limit();
        self.taken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| {
                (taken < limit).then_some(taken + 1)
            })
            .ok()
            .map(|_| Place(Arc::clone(self)))
    }

    /// Returns true if all places are taken.
    pub(crate) fn is_full(&self) -> bool {
        self.taken.load(Ordering::Acquire) >= self.limit()
    }

    fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Returns how many places are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }
}

/// A place in a backlog; given back when it is dropped.
#[must_use = "a place that is dropped is given back"]
pub(crate) struct Place(Arc<Backlog>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place")
    }
}

/// A function that starts a service for a new connection.
pub(crate) type ServiceFn<C> = dyn Fn(C) -> TaskFuture + Send + Sync;

impl<C: 'static> ForeignValue for Arc<ServiceFn<C>> {
    fn defer(self) -> DeferredValue {
        (Box::new(self) as Deferred).defer()
    }
}

/// A service, shared by the listener and the connections that are about to be served. The closure is
/// the program's.
pub(crate) struct Service<C: 'static>(Foreign<Arc<ServiceFn<C>>>);

impl<C: 'static> Service<C> {
    /// Makes a service of `start`.
    pub(crate) fn new(start: Arc<ServiceFn<C>>) -> Self {
        Self(Foreign::new(start))
    }

    /// Starts the service for `connection`; `None` if that panicked. Runs code of the program: nothing
    /// may be locked.
    pub(crate) fn start(&self, connection: C) -> Option<TaskFuture> {
        let start = self.0.get()?;
        contain("a service", || start(connection))
    }
}

impl<C: 'static> Clone for Service<C> {
    /// Counts one more holder; no code of the program runs.
    fn clone(&self) -> Self {
        Self(match self.0.get() {
            Some(start) => Foreign::new(Arc::clone(start)),
            None => Foreign::none(),
        })
    }
}

/// The taker of connections whose handshake is done.
enum Taker<C: 'static> {
    /// `accept`, through the queue.
    Queue,
    /// A service that runs on the worker of the connection.
    Service(Service<C>),
    /// None: the listener is closed.
    Closed,
}

/// The decision about one connection whose handshake is done.
pub(crate) enum Offer<C: 'static> {
    /// Queued; the tasks that wait in `accept` were handed out to be woken.
    Queued,
    /// To be started with this service, with nothing locked.
    Serve(Service<C>, C),
    /// To be reset: the listener is closed.
    Refused(C),
}

/// Connections that wait to be accepted, oldest first, and tasks that wait for one.
pub(crate) struct AcceptQueue<C: 'static> {
    taker: Taker<C>,
    ready: VecDeque<(C, Place)>,
    acceptors: WakerSlot,
}

/// The listener has a service already.
#[derive(Debug)]
pub(crate) struct HasService;

impl<C> Default for AcceptQueue<C> {
    fn default() -> Self {
        Self {
            taker: Taker::Queue,
            ready: VecDeque::new(),
            acceptors: WakerSlot::default(),
        }
    }
}

impl<C> AcceptQueue<C> {
    /// Offers a connection whose handshake is done. Tasks to be woken are appended to `wakers`.
    pub(crate) fn offer(
        &mut self,
        connection: C,
        place: Place,
        wakers: &mut Vec<Waker>,
    ) -> Offer<C> {
        match &self.taker {
            Taker::Queue => {
                self.ready.push_back((connection, place));
                self.acceptors.drain_into(wakers);
                Offer::Queued
            }
            Taker::Service(service) => Offer::Serve(service.clone(), connection),
            Taker::Closed => Offer::Refused(connection),
        }
    }

    /// Takes connections back from the service: from now on they wait to be accepted. A closed listener
    /// keeps closed.
    pub(crate) fn take_back(&mut self) {
        if let Taker::Service(_) = self.taker {
            self.taker = Taker::Queue;
        }
    }

    /// Hands connections to `service` from now on, and returns those that were queued, which it
    /// takes too.
    ///
    /// # Errors
    /// [`HasService`] if there is a service already; a closed listener keeps closed and returns
    /// nothing.
    pub(crate) fn serve(&mut self, service: Service<C>) -> Result<Vec<C>, HasService> {
        match self.taker {
            Taker::Queue => {
                self.taker = Taker::Service(service);
                Ok(self.take_ready())
            }
            Taker::Service(_) => Err(HasService),
            Taker::Closed => Ok(Vec::new()),
        }
    }

    /// Closes the queue. Returns the connections that were not accepted; tasks to be woken are
    /// appended to `wakers`.
    pub(crate) fn close(&mut self, wakers: &mut Vec<Waker>) -> Vec<C> {
        self.taker = Taker::Closed;
        self.acceptors.drain_into(wakers);
        self.take_ready()
    }

    /// Takes the oldest connection; if there is none, `waiter` is woken for the next.
    pub(crate) fn accept(&mut self, waiter: &mut Waiter<'_>) -> Accept<C> {
        self.acceptors.resume(waiter);
        match (self.ready.pop_front(), &self.taker) {
            (Some((connection, _place)), _) => Accept::Ready(connection),
            (None, Taker::Closed) => Accept::Closed,
            (None, _) => {
                self.acceptors.register(waiter);
                Accept::Wait
            }
        }
    }

    /// Returns the connections that wait to be accepted, oldest first.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &C> {
        self.ready.iter().map(|(connection, _)| connection)
    }

    /// Forgets a task that no longer waits for a connection.
    pub(crate) fn forget(&mut self, ticket: Ticket) {
        self.acceptors.forget(ticket);
    }

    /// Returns how many connections wait to be accepted.
    #[cfg(any(test, feature = "invariants"))]
    pub(crate) fn len(&self) -> usize {
        self.ready.len()
    }

    fn take_ready(&mut self) -> Vec<C> {
        self.ready
            .drain(..)
            .map(|(connection, _)| connection)
            .collect()
    }
}

impl<C: HasFlow> AcceptQueue<C> {
    /// Takes out a connection of the peer that crowds the others out, if there is one. Its place is free.
    pub(crate) fn displace(&mut self, newcomer: &FlowKey, rng: &mut Rng) -> Option<C> {
        let at = self.crowding(newcomer, rng)?;
        self.ready.remove(at).map(|(connection, _)| connection)
    }

    /// Returns the place of a connection of the peer that crowds the others out, if there is one: the newest that
    /// a sample shows, since it has waited least.
    pub(crate) fn crowding(&self, newcomer: &FlowKey, rng: &mut Rng) -> Option<usize> {
        let len = u32::try_from(self.ready.len()).unwrap_or(u32::MAX);
        let draw = || {
            let at = rng.below(len) as usize;
            let (connection, _) = self.ready.get(at)?;
            Some((at, connection.flow().peer()))
        };
        draw_crowding(newcomer.peer(), draw, usize::max)
    }
}

/// The answer to `accept`.
pub(crate) enum Accept<C> {
    /// A connection.
    Ready(C),
    /// None yet; the task will be woken.
    Wait,
    /// None any more.
    Closed,
}

#[cfg(test)]
mod tests {
    use std::task::{Poll, Wake};

    use super::super::super::waiters::Wait;
    use super::*;

    struct Idle;

    impl Wake for Idle {
        fn wake(self: Arc<Self>) {}
    }

    fn service() -> Service<u32> {
        Service::new(Arc::new(|_| Box::pin(async {})))
    }

    fn accept(queue: &mut AcceptQueue<u32>) -> Poll<Option<u32>> {
        let waker = Waker::from(std::sync::Arc::new(Idle));
        Waiter::poll(Wait::Poll(&waker), |waiter| match queue.accept(waiter) {
            Accept::Ready(connection) => Poll::Ready(Some(connection)),
            Accept::Wait => Poll::Pending,
            Accept::Closed => Poll::Ready(None),
        })
    }

    #[test]
    fn a_place_comes_back_however_its_holder_ends() {
        let backlog = Backlog::new(2);
        let first = backlog.admit().expect("free");
        let second = backlog.admit().expect("free");
        assert!(backlog.admit().is_none());
        drop(first);
        assert_eq!(backlog.taken(), 1);

        let mut queue = AcceptQueue::default();
        let mut wakers = Vec::new();
        assert!(matches!(queue.offer(7, second, &mut wakers), Offer::Queued));
        assert_eq!(backlog.taken(), 1, "queued connections hold their place");
        assert_eq!(accept(&mut queue), Poll::Ready(Some(7)));
        assert_eq!(backlog.taken(), 0);

        let place = backlog.admit().expect("free");
        let _ = queue.offer(8, place, &mut wakers);
        assert_eq!(queue.close(&mut wakers), [8]);
        assert_eq!(backlog.taken(), 0);
    }

    #[test]
    fn a_service_takes_what_waits_and_what_comes() {
        let backlog = Backlog::new(8);
        let mut queue = AcceptQueue::default();
        let mut wakers = Vec::new();
        let place = || backlog.admit().expect("free");
        assert!(matches!(
            queue.offer(1, place(), &mut wakers),
            Offer::Queued
        ));
        assert_eq!(queue.serve(service()).expect("the first"), [1]);
        assert!(matches!(
            queue.offer(2, place(), &mut wakers),
            Offer::Serve(_, 2)
        ));
        assert!(queue.serve(service()).is_err());
        assert_eq!(queue.len(), 0);
        assert_eq!(backlog.taken(), 0);
    }

    #[test]
    fn a_closed_queue_refuses_and_wakes() {
        let backlog = Backlog::new(8);
        let mut queue = AcceptQueue::default();
        let mut wakers = Vec::new();
        assert_eq!(accept(&mut queue), Poll::Pending);
        assert!(queue.close(&mut wakers).is_empty());
        assert_eq!(wakers.len(), 1);
        let place = backlog.admit().expect("free");
        assert!(matches!(
            queue.offer(3, place, &mut wakers),
            Offer::Refused(3)
        ));
        assert_eq!(backlog.taken(), 0);
        assert_eq!(accept(&mut queue), Poll::Ready(None));
    }
}
