//! UDP sockets as an application uses them.
//!
//! | file | |
//! |---|---|
//! | `bind` | binding, connecting and closing a socket |
//! | `flow` | the sockets of flows |
//! | `recv` | receiving, and waiting for a datagram |
//! | `send` | sending, and waiting for room to send |

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;

use lockorder::{LockBefore, LockCtx};

use super::super::foreign::locked;
use super::super::host::Host;
use super::super::levels;
use super::socket::{BoundSocket, Protocol};
use super::table::SocketTable;
use crate::udp::SocketError;

mod bind;
mod flow;
mod recv;
mod send;

pub(crate) use bind::{bind, bind_any, connect, unbind};
pub(crate) use flow::flow;
pub(crate) use recv::{forget, poll_peek, poll_readable, poll_recv, poll_recv_many, take_error};
pub(crate) use send::{Content, Ends, own_payload, poll_send, poll_writable};

fn io_error(error: SocketError) -> io::Error {
    let kind = match error {
        SocketError::Refused => io::ErrorKind::ConnectionRefused,
        SocketError::HostUnreachable => io::ErrorKind::HostUnreachable,
        SocketError::NetUnreachable => io::ErrorKind::NetworkUnreachable,
        SocketError::Prohibited => io::ErrorKind::PermissionDenied,
        SocketError::TooBig { .. } => io::ErrorKind::InvalidInput,
        SocketError::Protocol => io::ErrorKind::Other,
        SocketError::Displaced => io::ErrorKind::ConnectionAborted,
    };
    io::Error::new(kind, error)
}

/// Returns the table of the sockets of a protocol.
pub(in crate::stack) fn table(host: &Host, protocol: Protocol) -> &SocketTable {
    match protocol {
        Protocol::Udp => &host.udp,
        Protocol::Echo => &host.echo.asking,
        Protocol::EchoAnswer => &host.echo.answering,
    }
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// Returns every open socket of UDP and ICMP echo, each once.
pub(in crate::stack) fn all<L>(host: &Host, ctx: &mut LockCtx<'_, L>) -> Vec<Arc<BoundSocket>>
where
    L: LockBefore<levels::Tables>,
{
    let mut sockets = Vec::new();
    for table in [&host.udp, &host.echo.asking, &host.echo.answering] {
        for group in table.snapshot(ctx) {
            sockets.extend(group.sockets().cloned());
        }
    }
    sockets.sort_unstable_by_key(Arc::as_ptr);
    sockets.dedup_by(|a, b| Arc::ptr_eq(a, b));
    sockets
}

/// Appends the tasks that wait for datagrams to `wakers`.
pub(crate) fn wake_all(host: &Host, wakers: &mut Vec<Waker>) {
    locked(|key| {
        for socket in all(host, &mut key.ctx()) {
            socket.state.with(&mut key.ctx(), |state, _| {
                state.readers.drain_into(wakers);
            });
        }
    });
}

/// Returns the peer that a socket is connected to.
pub(crate) fn peer(socket: &BoundSocket) -> Option<SocketAddr> {
    locked(|key| {
        socket
            .state
            .with(&mut key.ctx(), |state, _| state.socket.remote())
    })
}
