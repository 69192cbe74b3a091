//! The context of a call into a connection: the time, and perhaps a subscriber to events.
//!
//! The core has no clock, so each call says what time it is. A caller that wants to know what the
//! connection does passes a [`Subscriber`] along; the connection itself holds none. Without one no
//! event is built.
//!
//! An [`Instant`] alone is a context, too. The stack passes the time of its turn, and its log of events
//! if the program subscribed to events:
//!
//! ```text
//!   tcp.on_segment(&mut segment, now, buffers);
//!   tcp.on_segment(&mut segment, Context::new(now).with_subscriber(&mut log), buffers);
//! ```

use core::fmt;

use super::event::{Event, Subscriber};
use crate::base::Instant;

/// The time of a call, and the subscriber to its events.
pub struct Context<'a> {
    now: Instant,
    subscriber: Option<&'a mut dyn Subscriber>,
}

impl<'a> Context<'a> {
    /// Creates a context without a subscriber.
    #[inline]
    pub fn new(now: Instant) -> Self {
        Self {
            now,
            subscriber: None,
        }
    }

    /// Adds a subscriber, which gets every event of the call.
    pub fn with_subscriber(self, subscriber: &'a mut dyn Subscriber) -> Self {
        Context {
            now: self.now,
            subscriber: Some(subscriber),
        }
    }

    /// Returns the same context for a call within the call.
    pub fn reborrow(&mut self) -> Context<'_> {
        Context {
            now: self.now,
            subscriber: match &mut self.subscriber {
                Some(subscriber) => Some(&mut **subscriber),
                None => None,
            },
        }
    }

    /// Returns the time of the call.
    #[inline]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Returns true if there is a subscriber: for events that take a loop to build.
    #[inline]
    pub(super) fn has_subscriber(&self) -> bool {
        self.subscriber.is_some()
    }

    /// Builds an event and passes it to the subscriber, if there is one.
    #[inline]
    pub(super) fn emit(&mut self, event: impl FnOnce() -> Event) {
        if let Some(subscriber) = &mut self.subscriber {
            subscriber.on_event(self.now, event());
        }
    }
}

impl From<Instant> for Context<'_> {
    #[inline]
    fn from(now: Instant) -> Self {
        Self::new(now)
    }
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("now", &self.now)
            .field("has_subscriber", &self.has_subscriber())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_subscriber_no_event_is_built() {
        let mut built = 0;
        let mut event = || {
            built += 1;
            Event::PersistProbe
        };
        let mut cx = Context::new(Instant::ZERO);
        cx.emit(&mut event);
        assert!(!cx.has_subscriber());
        let mut seen = Vec::new();
        Context::new(Instant::from_millis(7))
            .with_subscriber(&mut seen)
            .emit(event);
        assert_eq!(built, 1);
        assert_eq!(seen, [(Instant::from_millis(7), Event::PersistProbe)]);
    }
}
