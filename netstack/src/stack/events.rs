//! Events of connections, on their way to a subscriber of the program.
//!
//! The core reports events while the connection is locked; the subscriber is the program's and may
//! call back into the stack.
//!
//! * **Define.** An event reaches the subscriber after the locks under which it happened are released,
//!   in the order in which it happened on its connection.
//! * **Enforce.** Under a lock events are only appended to a list ([`EventLog`]); [`deliver`] takes
//!   that list where nothing is locked.
//! * **Consume.** Without a subscriber there is no list: the core gets a bare time and builds no event.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lockorder::Mutex;

use super::contain::contain;
use super::foreign::{Deferred, DeferredValue, Foreign, ForeignValue, locked};
use super::levels;
use crate::base::Instant;
use crate::demux::FlowKey;
use crate::tcp;

/// One event of one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionEvent {
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// The time of the event, on the stack's clock.
    pub at: Instant,
    /// The event.
    pub event: tcp::Event,
}

/// Gets the events of every connection of a stack.
///
/// Called with nothing locked, on the thread on which the event happened: often a worker's, so it
/// should not block.
pub trait Subscriber: Send + Sync + 'static {
    /// Handles one event.
    fn on_event(&self, event: &ConnectionEvent);
}

impl<F: Fn(&ConnectionEvent) + Send + Sync + 'static> Subscriber for F {
    fn on_event(&self, event: &ConnectionEvent) {
        self(event);
    }
}

/// There is a subscriber already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("subscribe: this stack has a subscriber already; let that one pass the events on")]
pub struct HasSubscriber;

impl ForeignValue for Arc<dyn Subscriber> {
    fn defer(self) -> DeferredValue {
        (Box::new(self) as Deferred).defer()
    }
}

/// The subscriber of a stack, if it has one.
pub(crate) struct Subscription {
    /// True if there is one: asked for each call into a connection.
    is_some: AtomicBool,
    subscriber: Mutex<levels::Subscription, Foreign<Arc<dyn Subscriber>>>,
}

impl Default for Subscription {
    fn default() -> Self {
        Self {
            is_some: AtomicBool::new(false),
            subscriber: Mutex::new(Foreign::none()),
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_some() {
            "Subscription(Some)"
        } else {
            "Subscription(None)"
        })
    }
}

impl Subscription {
    /// Sets the subscriber, once.
    pub(crate) fn set(&self, subscriber: Arc<dyn Subscriber>) -> Result<(), HasSubscriber> {
        let subscriber = Foreign::new(subscriber);
        locked(|key| {
            self.subscriber.with(&mut key.ctx(), |current, _| {
                if current.get().is_some() {
                    return Err(HasSubscriber);
                }
                *current = subscriber;
                self.is_some.store(true, Ordering::Release);
                Ok(())
            })
        })
    }

    /// Lets go of the subscriber.
    pub(crate) fn clear(&self) {
        self.is_some.store(false, Ordering::Release);
        let subscriber = locked(|key| {
            self.subscriber.with(&mut key.ctx(), |current, _| {
                std::mem::replace(current, Foreign::none())
            })
        });
        drop(subscriber);
    }

    /// Returns true if there is a subscriber.
    #[inline]
    pub(crate) fn is_some(&self) -> bool {
        self.is_some.load(Ordering::Acquire)
    }

    /// Passes events to the subscriber. Runs code of the program: nothing may be locked.
    pub(crate) fn deliver(&self, events: &mut Vec<ConnectionEvent>) {
        if events.is_empty() {
            return;
        }
        let subscriber = Foreign::from(locked(|key| {
            self.subscriber
                .with(&mut key.ctx(), |current, _| current.get().cloned())
        }));
        for event in events.drain(..) {
            if let Some(subscriber) = subscriber.get() {
                contain("a subscriber", || subscriber.on_event(&event));
            }
        }
    }
}

/// Appends the events of one connection to a list.
pub(crate) struct EventLog<'a> {
    flow: &'a FlowKey,
    /// `None` without a subscriber.
    events: Option<&'a mut Vec<ConnectionEvent>>,
}

impl<'a> EventLog<'a> {
    /// Creates a log for the connection of `flow` that appends to `events` if there is a subscriber.
    #[inline]
    pub(crate) fn new(
        subscription: &Subscription,
        flow: &'a FlowKey,
        events: &'a mut Vec<ConnectionEvent>,
    ) -> Self {
        Self {
            flow,
            events: subscription.is_some().then_some(events),
        }
    }

    /// Returns the context of one call into the core.
    #[inline]
    pub(crate) fn context(&mut self, now: Instant) -> tcp::Context<'_> {
        if self.events.is_some() {
            tcp::Context::new(now).with_subscriber(self)
        } else {
            tcp::Context::new(now)
        }
    }
}

impl tcp::Subscriber for EventLog<'_> {
    fn on_event(&mut self, now: Instant, event: tcp::Event) {
        if let Some(events) = &mut self.events {
            events.push(ConnectionEvent {
                local: self.flow.local(),
                remote: self.flow.remote(),
                at: now,
                event,
            });
        }
    }
}
