//! One connection as it happens: what TCP knows of it ten times a second, and its events, as server-sent events.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, Query, State};
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::stream;
use netstack::net::ConnectionEvent;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::routes::Web;
use super::server::Lasting;
use crate::clock::unix_time;
use crate::control::events::Subscribed;
use crate::control::protocol::{EventRow, EventsRequest};
use crate::control::rows::SocketRow;

/// Time between two messages.
const INTERVAL: Duration = Duration::from_millis(100);

/// Most events of one message; the others come with the next.
const MOST_EVENTS: usize = 100;

/// The ends of a connection.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ends {
    local: SocketAddr,
    peer: SocketAddr,
}

/// A message to the browser.
#[derive(Debug, Serialize)]
struct Message {
    /// Unix time.
    at_micros: u64,
    /// `None`: the connection has ended.
    row: Option<SocketRow>,
    events: Vec<EventRow>,
    /// Events that this browser was too slow for, since the last message.
    lost: u64,
}

/// A browser that watches a connection.
struct Watch {
    web: Arc<Web>,
    ends: Ends,
    ticks: Interval,
    subscribed: Subscribed,
    events: Receiver<ConnectionEvent>,
    has_ended: bool,
    _place: OwnedSemaphorePermit,
}

impl Watch {
    /// Returns what is new; `None` after the end of the connection was told.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        if self.has_ended {
            return None;
        }
        // A browser that reads slowly gets fewer messages.
        self.ticks.tick().await;
        let Ends { local, peer } = self.ends;
        let target = &self.web.target;
        let info = target.stack().tcp_info_of(local, peer);
        self.has_ended = info.is_none();
        let events = std::iter::from_fn(|| self.events.try_recv().ok());
        let message = Message {
            at_micros: u64::try_from(unix_time().as_micros()).unwrap_or(u64::MAX),
            row: info.map(|info| SocketRow::of_connection(local, peer, &info)),
            events: events
                .take(MOST_EVENTS)
                .map(|event| target.events.row(&event))
                .collect(),
            lost: self.subscribed.take_lost(),
        };
        // A row is always JSON.
        let event = Event::default().json_data(message).unwrap_or_default();
        Some((Ok(event), self))
    }
}

/// Answers with messages until the connection ends or the browser goes.
pub(super) async fn stream(
    State(web): State<Arc<Web>>,
    Query(ends): Query<Ends>,
    Extension(lasting): Extension<Lasting>,
) -> Response {
    let Ok(place) = Arc::clone(&web.streams).try_acquire_owned() else {
        let text = "too many connections are watched: close another page of one first\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")], text).into_response();
    };
    let Ends { local, peer } = ends;
    if web.target.stack().tcp_info_of(local, peer).is_none() {
        let text = "there is no such connection: it has ended\n";
        return (StatusCode::NOT_FOUND, text).into_response();
    }
    let wanted = EventsRequest {
        flow: Some((local, peer)),
        is_brief: true,
        ..EventsRequest::default()
    };
    let (subscribed, events) = web.target.events.add(wanted);
    lasting.mark();
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watch = Watch {
        web,
        ends,
        ticks,
        subscribed,
        events,
        has_ended: false,
        _place: place,
    };
    Sse::new(stream::unfold(watch, Watch::next)).into_response()
}
