//! All connections at once: close, abort, information.

use std::net::SocketAddr;
use std::sync::Arc;

use super::super::foreign::locked;
use super::super::host::Host;
use super::connection::Connection;
use super::entry::enter;
use crate::tcp::{State, TcpInfo};

/// Resets a connection.
pub(crate) fn abort(host: &Host, connection: &Arc<Connection>) {
    enter(host, connection, |state, cx| state.tcp.abort(cx));
    host.workers.drive(connection);
}

fn connections(host: &Host) -> Vec<Arc<Connection>> {
    locked(|key| host.tcp.connections.snapshot(&mut key.ctx()))
}

/// Closes every connection politely: a FIN follows what is queued.
pub(crate) fn close_all(host: &Host) {
    for connection in connections(host) {
        enter(host, &connection, |state, cx| state.tcp.close(cx));
        host.workers.drive(&connection);
    }
}

/// Resets every connection.
pub(crate) fn abort_all(host: &Host) {
    for connection in connections(host) {
        abort(host, &connection);
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

/// Returns what TCP knows of each connection: its local address, its remote address, its numbers.
pub(crate) fn info(host: &Host) -> Vec<(SocketAddr, SocketAddr, TcpInfo)> {
    let info = |connection: &Arc<Connection>| {
        let info = connection.with_state(|state| state.tcp.info());
        (connection.flow.local(), connection.flow.remote(), info)
    };
    connections(host).iter().map(info).collect()
}
