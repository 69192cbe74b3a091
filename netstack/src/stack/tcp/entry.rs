//! The application's entries into a connection: their time, and those that can cause events.

use super::super::events::EventLog;
use super::super::host::Host;
use super::connection::{Connection, ConnectionState};
use crate::base::Instant;
use crate::tcp::Context;

/// Returns the time of a call on `connection`. A task on the worker that owns it runs in a turn, which has a time: that
/// saves reading the clock.
pub(super) fn time_of_call(host: &Host, connection: &Connection) -> Instant {
    let turn = host.workers.owner(connection).turn_time();
    turn.unwrap_or_else(|| host.clock.now())
}

/// Runs `f` on a connection's state with the context of one call into the core, then passes the
/// events that it caused to the stack's subscriber.
pub(crate) fn enter<R>(
    host: &Host,
    connection: &Connection,
    f: impl FnOnce(&mut ConnectionState, Context<'_>) -> R,
) -> R {
    let now = time_of_call(host, connection);
    let mut events = Vec::new();
    let mut log = EventLog::new(&host.subscription, &connection.flow, &mut events);
    let result = connection.with_state(|state| f(state, log.context(now)));
    host.subscription.deliver(&mut events);
    host.workers.count_panics();
    result
}
