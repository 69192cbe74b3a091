//! The end of a connection: it leaves the table, and nothing reaches it any more. In TIME-WAIT an entry
//! takes its place.

use std::sync::Arc;

use super::super::turn::Turn;
use super::connection::Connection;
use crate::base::Instant;
use crate::base::counters::Counter;
use crate::tcp::{Readiness, TimeWait};

/// Takes a connection out of the table and wakes the tasks that wait for it.
pub(in crate::stack) fn remove(turn: &mut Turn<'_>, connection: &Arc<Connection>) {
    let wakers = &mut turn.worker.work.wakers;
    let (first, failure) = connection.state.with(&mut turn.key.ctx(), |state, _| {
        state.collect_wakers(Readiness::CLOSED, wakers);
        let first = !std::mem::replace(&mut state.removed, true);
        (first, state.tcp.failure())
    });
    let connections = &turn.host.tcp.connections;
    if first && connections.remove(&mut turn.key.ctx(), connection) {
        turn.count(Counter::TcpClosed, 1);
        if let Some(failure) = failure {
            turn.count(failure, 1);
        }
    }
}

/// Puts an entry in the place of a connection, which counts as closed from now on.
pub(in crate::stack) fn retire(
    turn: &mut Turn<'_>,
    connection: &Arc<Connection>,
    time_wait: TimeWait,
    deadline: Instant,
) {
    let connections = &turn.host.tcp.connections;
    let placed = connections.retire(&mut turn.key.ctx(), connection, time_wait, deadline);
    if let Some(placed) = placed {
        turn.worker.alarms.note(placed.shard, deadline);
        turn.count(Counter::TcpClosed, 1);
        turn.count(Counter::TcpTimeWaitsRecycled, u64::from(placed.recycled));
    }
}
