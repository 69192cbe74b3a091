//! The end of a connection: it leaves the table, and nothing reaches it any more.

use std::sync::Arc;

use super::super::turn::Turn;
use super::connection::Connection;
use crate::base::counters::Counter;
use crate::tcp::Readiness;

/// Takes a connection out of the table and wakes the tasks that wait for it. A place in a backlog that
/// it still holds is given back.
pub(in crate::stack) fn remove(turn: &mut Turn<'_>, connection: &Arc<Connection>) {
    let wakers = &mut turn.worker.work.wakers;
    let first = connection.state.with(&mut turn.key.ctx(), |state, _| {
        state.collect_wakers(Readiness::CLOSED, wakers);
        state.handshake = None;
        !std::mem::replace(&mut state.removed, true)
    });
    let connections = &turn.host.tcp.connections;
    if first && connections.remove(&mut turn.key.ctx(), connection) {
        turn.count(Counter::TcpClosed, 1);
    }
}
