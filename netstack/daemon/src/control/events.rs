//! `events`: what happens to connections, as it happens.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use netstack::net::ConnectionEvent;
use netstack::tcp::{Event, WindowChange};
use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::Target;
use super::channel::{Line, Lines, Replies};
use super::protocol::{End, EventRow, EventsRequest, Reply, Request};
use crate::current::Current;

/// Most events that wait for one client.
const QUEUE_EVENTS: usize = 4_096;

/// The clients that want events. The stack builds none while there are none.
#[derive(Debug)]
pub(crate) struct Events {
    current: Current,
    /// Unix time of the stack's time zero.
    origin: Duration,
    sinks: Arc<ArcSwap<Vec<Arc<Sink>>>>,
}

/// A client that wants events.
#[derive(Debug)]
struct Sink {
    wanted: EventsRequest,
    queue: Sender<ConnectionEvent>,
    lost: AtomicU64,
}

impl Sink {
    fn wants(&self, event: &ConnectionEvent) -> bool {
        let ends = [event.local, event.remote];
        let EventsRequest {
            address,
            port,
            flow,
            is_brief,
            ..
        } = self.wanted;
        if flow.is_some_and(|flow| flow != (event.local, event.remote))
            || (is_brief && is_frequent(&event.event))
        {
            return false;
        }
        ends.iter().any(|end| {
            address.is_none_or(|wanted| end.ip() == wanted)
                && port.is_none_or(|wanted| end.port() == wanted)
        })
    }

    /// Hands an event on, on a worker's thread: it never waits.
    fn offer(&self, event: &ConnectionEvent) {
        if self.wants(event) && self.queue.try_send(*event).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Returns whether an event is one that nearly every acknowledgment brings.
fn is_frequent(event: &Event) -> bool {
    use WindowChange::{CongestionAvoidance, SlowStart};
    matches!(
        event,
        Event::PacingRate { .. }
            | Event::CongestionWindow {
                reason: SlowStart | CongestionAvoidance,
                ..
            }
    )
}

impl Events {
    /// Makes ready to subscribe to whichever stack serves.
    pub(super) fn new(current: &Current, origin: Duration) -> Arc<Self> {
        let events = Arc::new(Self {
            current: current.clone(),
            origin,
            sinks: Arc::default(),
        });
        let weak = Arc::downgrade(&events);
        current.on_replaced(move || {
            if let Some(events) = weak.upgrade() {
                events.settle();
            }
        });
        events
    }

    /// Adds a client.
    pub(crate) fn add(
        self: &Arc<Self>,
        wanted: EventsRequest,
    ) -> (Subscribed, Receiver<ConnectionEvent>) {
        let (queue, events) = channel(QUEUE_EVENTS);
        let sink = Arc::new(Sink {
            wanted,
            queue,
            lost: AtomicU64::new(0),
        });
        self.sinks.rcu(|sinks| {
            let mut sinks = Vec::clone(sinks);
            sinks.push(Arc::clone(&sink));
            sinks
        });
        let subscribed = Subscribed {
            events: Arc::clone(self),
            sink,
        };
        self.settle();
        (subscribed, events)
    }

    /// Subscribes to the stack if there are clients, and lets go of it if there are none. Clients come and go on several
    /// threads; whoever acts last looks once more, so what is left is right.
    fn settle(&self) {
        loop {
            let stack = self.current.stack();
            let has_clients = !self.sinks.load().is_empty();
            if has_clients {
                let sinks = Arc::clone(&self.sinks);
                // If there is a subscriber, it is this one.
                let _ = stack.subscribe(move |event: &ConnectionEvent| {
                    for sink in sinks.load().iter() {
                        sink.offer(event);
                    }
                });
            } else {
                stack.unsubscribe();
            }
            if has_clients != self.sinks.load().is_empty() {
                return;
            }
        }
    }

    pub(crate) fn row(&self, event: &ConnectionEvent) -> EventRow {
        row(self.origin, event)
    }
}

/// Returns an event as a row. `origin` is the Unix time of the stack's time zero.
pub(crate) fn row(origin: Duration, event: &ConnectionEvent) -> EventRow {
    let at = origin + Duration::from_nanos(event.at.as_nanos());
    let (name, fields) = describe(&event.event);
    EventRow {
        at_micros: u64::try_from(at.as_micros()).unwrap_or(u64::MAX),
        local: event.local,
        remote: event.remote,
        event: name.to_owned(),
        fields: fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<BTreeMap<_, _>>(),
    }
}

/// A client among those that want events, until it is dropped.
#[derive(Debug)]
pub(crate) struct Subscribed {
    events: Arc<Events>,
    sink: Arc<Sink>,
}

impl Subscribed {
    /// Returns how many events the client was too slow for since the last call.
    pub(crate) fn take_lost(&self) -> u64 {
        self.sink.lost.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.events.sinks.rcu(|sinks| {
            let mut sinks = Vec::clone(sinks);
            sinks.retain(|sink| !Arc::ptr_eq(sink, &self.sink));
            sinks
        });
        self.events.settle();
    }
}

/// Sends events until the client has had enough.
///
/// # Errors
/// The client is gone.
pub(super) async fn serve(
    target: &Target,
    wanted: &EventsRequest,
    lines: &mut Lines,
    replies: &mut Replies,
) -> io::Result<()> {
    let (subscribed, mut events) = target.events.add(wanted.clone());
    let mut end = End::default();
    while wanted.count.is_none_or(|most| end.count < most) {
        let event = tokio::select! {
            event = events.recv() => event,
            line = lines.next() => match line? {
                Some(Line::Request(Request::Stop {})) => break,
                Some(_) => continue,
                None => return Ok(()),
            },
        };
        let Some(event) = event else { break };
        let lost = subscribed.take_lost();
        if lost > 0 {
            end.lost += lost;
            replies.send_patiently(&Reply::Lost { count: lost }).await?;
        }
        end.count += 1;
        replies
            .send_patiently(&Reply::Event(target.events.row(&event)))
            .await?;
    }
    end.lost += subscribed.take_lost();
    drop(subscribed);
    replies.send(&Reply::End(end)).await
}

/// Returns the name of an event and what is known of it.
fn describe(event: &Event) -> (&'static str, Vec<(&'static str, Value)>) {
    let named = |value: &dyn std::fmt::Debug| json!(words(&format!("{value:?}")));
    match event {
        Event::StateChanged { from, to } => (
            "state-changed",
            vec![("from", named(from)), ("to", named(to))],
        ),
        Event::SegmentDropped { reason } => {
            ("segment-dropped", vec![("reason", json!(reason.label()))])
        }
        Event::SegmentLost { seq, len, rule } => (
            "segment-lost",
            vec![
                ("seq", json!(seq.0)),
                ("len", json!(len)),
                ("rule", named(rule)),
            ],
        ),
        Event::RetransmissionTimeout { count } => {
            ("retransmission-timeout", vec![("count", json!(count))])
        }
        Event::RecoveryEntered { kind } => ("recovery-entered", vec![("kind", named(kind))]),
        Event::RecoveryLeft => ("recovery-left", vec![]),
        Event::Undone { evidence } => ("undone", vec![("evidence", named(evidence))]),
        Event::TailLossProbe { seq, len } => (
            "tail-loss-probe",
            vec![("seq", json!(seq.0)), ("len", json!(len))],
        ),
        Event::PacingRate { rate } => ("pacing-rate", vec![("rate", json!(rate))]),
        Event::CongestionWindow {
            cwnd,
            ssthresh,
            reason,
        } => (
            "congestion-window",
            vec![
                ("cwnd", json!(cwnd)),
                ("ssthresh", json!(ssthresh)),
                ("reason", named(reason)),
            ],
        ),
        Event::MssChanged { mss, reason } => (
            "mss-changed",
            vec![("mss", json!(mss)), ("reason", named(reason))],
        ),
        Event::CongestionMarks { packets } => {
            ("congestion-marks", vec![("packets", json!(packets))])
        }
        Event::PeerWindowClosed => ("peer-window-closed", vec![]),
        Event::PeerWindowOpened { window } => {
            ("peer-window-opened", vec![("window", json!(window))])
        }
        Event::PersistProbe => ("persist-probe", vec![]),
        Event::KeepaliveProbe { count } => ("keepalive-probe", vec![("count", json!(count))]),
        Event::Ended { error } => ("ended", vec![("error", json!(error.to_string()))]),
        other => ("other", vec![("text", json!(format!("{other:?}")))]),
    }
}

/// Turns the name of a variant into words with hyphens.
fn words(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if (letter.is_ascii_uppercase() || letter.is_ascii_digit()) && !text.is_empty() {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use netstack::tcp::State;

    use super::*;

    #[test]
    fn events_have_names_with_hyphens() {
        let (name, fields) = describe(&Event::StateChanged {
            from: State::Established,
            to: State::FinWait1,
        });
        assert_eq!(name, "state-changed");
        assert_eq!(
            fields,
            [("from", json!("established")), ("to", json!("fin-wait-1"))]
        );
        assert_eq!(describe(&Event::RecoveryLeft), ("recovery-left", vec![]));
    }
}
