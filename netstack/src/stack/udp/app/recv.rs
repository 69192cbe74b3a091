//! Receiving, and waiting for a datagram.

use std::io;
use std::net::SocketAddr;
use std::task::Poll;

use super::super::super::foreign::locked;
use super::super::super::host::Host;
use super::super::super::waiters::{Ticket, Wait, Waiter};
use super::super::socket::{BoundSocket, SocketState};
use super::error::io_error;
use crate::udp::{Datagram, Segments};

/// Polls for a datagram, an error, or the end of the stack.
pub(crate) fn poll_readable(host: &Host, socket: &BoundSocket, wait: Wait<'_>) -> Poll<()> {
    poll_socket(host, socket, wait, |state| {
        state.socket.is_readable().then_some(Ok(()))
    })
    .map(drop)
}

/// Takes at most `limit` datagrams of a socket, at least one.
///
/// # Errors
/// As [`poll_recv`].
pub(crate) fn poll_recv_many(
    host: &Host,
    socket: &BoundSocket,
    wait: Wait<'_>,
    out: &mut Vec<Datagram>,
    limit: usize,
) -> Poll<io::Result<usize>> {
    poll_socket(host, socket, wait, |state| {
        if let Some(error) = state.socket.take_error() {
            return Some(Err(io_error(error)));
        }
        let before = out.len();
        out.extend(std::iter::from_fn(|| state.socket.recv()).take(limit));
        let count = out.len() - before;
        (count > 0).then_some(Ok(count))
    })
}

/// Copies the start of the oldest datagram of a socket without taking it. Returns the number of bytes, and the sender.
///
/// # Errors
/// As [`poll_recv`].
pub(crate) fn poll_peek(
    host: &Host,
    socket: &BoundSocket,
    wait: Wait<'_>,
    out: &mut [u8],
) -> Poll<io::Result<(usize, SocketAddr)>> {
    poll_socket(host, socket, wait, |state| {
        if let Some(error) = state.socket.take_error() {
            return Some(Err(io_error(error)));
        }
        let (bytes, from) = (state.socket.peek()?, state.socket.peek_sender()?);
        let count = bytes.len().min(out.len());
        out[..count].copy_from_slice(&bytes[..count]);
        Some(Ok((count, from)))
    })
}

/// Runs `attempt` on a socket until it gives something; the task of `wait` is woken to try again.
fn poll_socket<R>(
    host: &Host,
    socket: &BoundSocket,
    wait: Wait<'_>,
    mut attempt: impl FnMut(&mut SocketState) -> Option<io::Result<R>>,
) -> Poll<io::Result<R>> {
    Waiter::poll(wait, |waiter| {
        locked(|key| {
            socket.state.with(&mut key.ctx(), |state, _| {
                state.readers.resume(waiter);
                // Under the lock under which the end of the stack takes the wakers.
                host.ending.check()?;
                if let Some(result) = attempt(state) {
                    return Poll::Ready(result);
                }
                state.readers.register(waiter);
                Poll::Pending
            })
        })
    })
}

/// Sets the most bytes of memory that the queue of a socket holds.
pub(crate) fn set_queue_bytes(socket: &BoundSocket, bytes: usize) {
    locked(|key| {
        let set = |state: &mut SocketState| state.socket.set_max_bytes(bytes);
        socket.state.with(&mut key.ctx(), |state, _| set(state));
    });
}

/// Returns the most bytes of memory that the queue of a socket holds.
pub(crate) fn queue_bytes(socket: &BoundSocket) -> usize {
    locked(|key| {
        let bytes = |state: &mut SocketState| state.socket.max_bytes();
        socket.state.with(&mut key.ctx(), |state, _| bytes(state))
    })
}

/// Takes the error that an earlier datagram caused, if there is one.
pub(crate) fn take_error(socket: &BoundSocket) -> Option<io::Error> {
    locked(|key| {
        let error = |state: &mut SocketState| state.socket.take_error();
        socket.state.with(&mut key.ctx(), |state, _| error(state))
    })
    .map(io_error)
}

/// Takes the oldest datagram of a socket.
///
/// # Errors
/// An ICMP error about an earlier datagram, or the stack ended.
pub(crate) fn poll_recv(
    host: &Host,
    socket: &BoundSocket,
    wait: Wait<'_>,
) -> Poll<io::Result<Datagram>> {
    poll_socket(host, socket, wait, |state| {
        if let Some(error) = state.socket.take_error() {
            return Some(Err(io_error(error)));
        }
        state.socket.recv().map(Ok)
    })
}

/// Takes the oldest datagram of a socket, with those that the device handed over with it.
///
/// # Errors
/// As [`poll_recv`].
pub(crate) fn poll_recv_segments(
    host: &Host,
    socket: &BoundSocket,
    wait: Wait<'_>,
) -> Poll<io::Result<Segments>> {
    poll_socket(host, socket, wait, |state| {
        if let Some(error) = state.socket.take_error() {
            return Some(Err(io_error(error)));
        }
        state.socket.recv_segments().map(Ok)
    })
}

/// Forgets a task that no longer waits for a datagram.
pub(crate) fn forget(socket: &BoundSocket, ticket: Ticket) {
    locked(|key| {
        socket
            .state
            .with(&mut key.ctx(), |state, _| state.readers.forget(ticket));
    });
}
