//! Timers of connections that are due (RFC 9293 section 3.10.8).

use std::sync::Arc;

use super::super::events::EventLog;
use super::super::turn::Turn;
use super::connection::Connection;
use super::outbound::count_losses;

/// Handles a connection's timers that are due.
pub fn on_timeout(turn: &mut Turn<'_>, connection: &Arc<Connection>) {
    let now = turn.now;
    let worker = &mut *turn.worker;
    let subscription = &turn.host.subscription;
    connection.state.with(&mut turn.key.ctx(), |state, _| {
        let before = state.tcp.losses();
        let mut log = EventLog::new(subscription, connection.flow, &mut worker.work.events);
        let readiness = state.tcp.on_timeout(log.context(now));
        count_losses(worker, before, state.tcp.losses());
        state.collect_wakers(readiness, &mut worker.work.wakers);
    });
    turn.drive_later(connection);
}
