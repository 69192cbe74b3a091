//! The application's entries into a connection that can cause events.

use super::super::events::EventLog;
use super::super::host::Host;
use super::connection::{Connection, ConnectionState};
use crate::tcp::Context;

/// Runs `f` on a connection's state with the context of one call into the core, then passes the
/// events that it caused to the stack's subscriber.
pub(crate) fn enter<R>(
    host: &Host,
    connection: &Connection,
    f: impl FnOnce(&mut ConnectionState, Context<'_>) -> R,
) -> R {
    let now = host.clock.now();
    let mut events = Vec::new();
    let mut log = EventLog::new(&host.subscription, &connection.flow, &mut events);
    let result = connection.with_state(|state| f(state, log.context(now)));
    host.subscription.deliver(&mut events);
    host.workers.count_panics();
    result
}
