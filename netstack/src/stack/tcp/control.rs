//! All connections at once: close, abort, information.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;

use super::super::foreign::locked;
use super::super::host::Host;
use super::connection::Connection;
use super::entry::enter;
use crate::demux::FlowKey;
use crate::tcp::{Readiness, State, TcpInfo};

/// Resets a connection.
pub(crate) fn abort(host: &Host, connection: &Arc<Connection>) {
    enter(host, connection, |state, cx| state.tcp.abort(cx));
    host.workers.drive(connection);
}

fn connections(host: &Host) -> Vec<Arc<Connection>> {
    locked(|key| host.tcp.connections.snapshot(&mut key.ctx()))
}

/// Closes a connection politely: a FIN follows what is queued.
pub(crate) fn close(host: &Host, connection: &Arc<Connection>) {
    enter(host, connection, |state, cx| state.tcp.close(cx));
    host.workers.drive(connection);
}

/// Closes every connection politely.
pub(crate) fn close_all(host: &Host) {
    for connection in connections(host) {
        close(host, &connection);
    }
}

/// Resets the connections whose local address is one for which `is_concerned` holds.
pub(crate) fn abort_where(host: &Host, is_concerned: impl Fn(SocketAddr) -> bool) {
    for connection in connections(host) {
        if is_concerned(connection.flow.local()) {
            abort(host, &connection);
        }
    }
}

/// Resets every connection, and forgets those in TIME-WAIT. The tasks that wait for them are appended to `wakers`:
/// their owners may have ended.
pub(crate) fn end_all(host: &Host, wakers: &mut Vec<Waker>) {
    for connection in connections(host) {
        enter(host, &connection, |state, cx| {
            state.tcp.abort(cx);
            state.collect_wakers(Readiness::CLOSED, wakers);
        });
        host.workers.drive(&connection);
    }
    locked(|key| host.tcp.connections.forget_time_waits(&mut key.ctx()));
}

/// Takes the connections of a worker that ended out of the table. The tasks that wait for them are
/// appended to `wakers`.
pub(crate) fn remove_all(host: &Host, owner: usize, wakers: &mut Vec<Waker>) {
    for connection in connections(host) {
        if usize::from(connection.owner) != owner {
            continue;
        }
        enter(host, &connection, |state, cx| {
            state.tcp.abort(cx);
            state.collect_wakers(Readiness::CLOSED, wakers);
            state.removed = true;
        });
        locked(|key| host.tcp.connections.remove(&mut key.ctx(), &connection));
    }
}

/// Returns the number of connections that are neither closed nor in TIME-WAIT.
pub(crate) fn open_count(host: &Host) -> usize {
    let open = |connection: &&Arc<Connection>| {
        let state = connection.with_state(|state| state.tcp.state());
        !matches!(state, State::TimeWait | State::Closed)
    };
    connections(host).iter().filter(open).count()
}

/// Returns the number of connections in ESTABLISHED or CLOSE-WAIT.
pub(crate) fn established_count(host: &Host) -> usize {
    let is_established = |connection: &&Arc<Connection>| {
        let state = connection.with_state(|state| state.tcp.state());
        matches!(state, State::Established | State::CloseWait)
    };
    connections(host).iter().filter(is_established).count()
}

/// Returns what TCP knows of each connection: its local address, its remote address, its numbers.
pub(crate) fn info(host: &Host) -> Vec<(SocketAddr, SocketAddr, TcpInfo)> {
    let now = host.clock.now();
    let info = |connection: &Arc<Connection>| {
        let info = connection.with_state(|state| state.tcp.info_at(now));
        (connection.flow.local(), connection.flow.remote(), info)
    };
    connections(host).iter().map(info).collect()
}

/// Returns what TCP knows of one connection.
pub(crate) fn info_of(host: &Host, local: SocketAddr, remote: SocketAddr) -> Option<TcpInfo> {
    let flow = FlowKey::new(local, remote);
    let connection = locked(|key| host.tcp.connections.get(&mut key.ctx(), &flow))?;
    Some(connection.with_state(|state| state.tcp.info()))
}
