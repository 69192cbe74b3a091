//! A TCP connection as an application uses it: read, write, close (RFC 9293 sections 3.10.2 to 3.10.5).
//!
//! Each call takes the connection's lock once, changes the pure state, and tells the owning worker if
//! that may have something to send. Copies of application data are made outside the lock where the
//! state allows it: reading takes a whole chunk out and copies afterwards.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::Poll;

use packet::Payload;

use super::super::host::Host;
use super::super::waiters::{Ticket, Wait, Waiter, WakerSlot};
use super::connection::{Connection, ConnectionState};
use super::entry::{enter, time_of_call};
use crate::tcp::{State, TcpError, Unreachable};

/// Returns the I/O error that an application sees for a connection's end.
pub(crate) fn io_error(error: TcpError) -> io::Error {
    let kind = match error {
        TcpError::Refused => io::ErrorKind::ConnectionRefused,
        TcpError::Reset => io::ErrorKind::ConnectionReset,
        TcpError::TimedOut => io::ErrorKind::TimedOut,
        TcpError::Aborted | TcpError::Displaced => io::ErrorKind::ConnectionAborted,
        TcpError::OutOfMemory => io::ErrorKind::OutOfMemory,
        TcpError::Unreachable(Unreachable::Port) => io::ErrorKind::ConnectionRefused,
        TcpError::Unreachable(Unreachable::Network) => io::ErrorKind::NetworkUnreachable,
        TcpError::Unreachable(Unreachable::Prohibited) => io::ErrorKind::PermissionDenied,
        TcpError::Unreachable(_) => io::ErrorKind::HostUnreachable,
    };
    io::Error::new(kind, error)
}

/// Ready once the handshake succeeded or failed.
pub(crate) fn poll_connect(
    host: &Host,
    connection: &Arc<Connection>,
    cx: Wait<'_>,
) -> Poll<io::Result<()>> {
    poll_state(connection, cx, Side::Writer, |state, waiter| {
        if let Some(error) = state.tcp.take_error() {
            return Poll::Ready(Err(host.ending.explain(io_error(error))));
        }
        match state.tcp.state() {
            State::SynSent | State::SynReceived => {
                state.writer.register(waiter);
                Poll::Pending
            }
            State::Closed => Poll::Ready(Err(host.ending.explain(io_error(TcpError::Aborted)))),
            _ => Poll::Ready(Ok(())),
        }
    })
}

/// Takes the next chunk of the stream; `None` at its end.
pub(crate) fn poll_recv(
    host: &Host,
    connection: &Arc<Connection>,
    cx: Wait<'_>,
) -> Poll<io::Result<Option<Payload>>> {
    host.freeze.check_call()?;
    let now = time_of_call(host, connection);
    let mut drive = false;
    let poll = poll_state(connection, cx, Side::Reader, |state, waiter| {
        if let Some(chunk) = state.tcp.recv_pop(now) {
            drive = state.tcp.wants_transmit();
            return Poll::Ready(Ok(Some(chunk)));
        }
        if let Some(end) = end_of_stream(state) {
            return Poll::Ready(end.map(|()| None));
        }
        state.reader.register(waiter);
        Poll::Pending
    });
    if drive {
        host.workers.drive(connection);
    }
    poll
}

/// Copies up to `out.len()` bytes of the stream without taking them. As with the kernel, an error that
/// this reports is not reported again.
pub(crate) fn poll_peek(
    connection: &Arc<Connection>,
    cx: Wait<'_>,
    out: &mut [u8],
) -> Poll<io::Result<usize>> {
    poll_state(connection, cx, Side::Reader, |state, waiter| {
        if state.tcp.recv_len() > 0 {
            return Poll::Ready(Ok(state.tcp.recv_peek(out)));
        }
        if let Some(end) = end_of_stream(state) {
            return Poll::Ready(end.map(|()| 0));
        }
        state.reader.register(waiter);
        Poll::Pending
    })
}

/// Queues a prefix of `pieces`, one after the other; returns how many bytes were taken.
pub(crate) fn poll_write(
    host: &Host,
    connection: &Arc<Connection>,
    cx: Wait<'_>,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if pieces.iter().all(|piece| piece.is_empty()) {
        return Poll::Ready(Ok(0));
    }
    host.freeze.check_call()?;
    let mut starved = false;
    let poll = poll_state(connection, cx, Side::Writer, |state, waiter| {
        if let Some(error) = write_error(state) {
            return Poll::Ready(Err(host.ending.explain(error)));
        }
        let mut taken = 0;
        for piece in pieces {
            let count = state.tcp.send(piece, &host.buffers);
            taken += count;
            if count < piece.len() {
                break;
            }
        }
        if taken == 0 {
            starved = state.starve();
            state.wait_for_room(waiter);
            return Poll::Pending;
        }
        Poll::Ready(Ok(taken))
    });
    if starved || matches!(poll, Poll::Ready(Ok(_))) {
        host.workers.drive(connection);
    }
    poll
}

/// Copies what was received to `out` and takes it; returns how much, and 0 at the end of the stream.
///
/// # Errors
/// `WouldBlock` if nothing is there; the error that the connection ended in.
pub(crate) fn try_read(
    host: &Host,
    connection: &Arc<Connection>,
    out: &mut [u8],
) -> io::Result<usize> {
    let now = time_of_call(host, connection);
    let (result, drive) = connection.with_state(|state| {
        if state.tcp.recv_len() > 0 {
            let count = state.tcp.recv_peek(out);
            state.tcp.recv_consume(count, now);
            return (Ok(count), state.tcp.wants_transmit());
        }
        let end = end_of_stream(state).unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()));
        (end.map(|()| 0), false)
    });
    if drive {
        host.workers.drive(connection);
    }
    result
}

/// Queues `payload` without a copy; the part that was queued is taken off its front.
pub(crate) fn poll_write_payload(
    host: &Host,
    connection: &Arc<Connection>,
    cx: Wait<'_>,
    payload: &mut Payload,
) -> Poll<io::Result<()>> {
    host.freeze.check_call()?;
    let (mut queued, mut starved) = (false, false);
    let poll = poll_state(connection, cx, Side::Writer, |state, waiter| {
        while !payload.is_empty() {
            if let Some(error) = write_error(state) {
                return Poll::Ready(Err(host.ending.explain(error)));
            }
            let room = if payload.is_pooled() {
                state.tcp.send_room()
            } else {
                state.tcp.own_memory_room(&host.buffers)
            };
            if room == 0 {
                state.wait_for_room(waiter);
                return Poll::Pending;
            }
            let more = (room < payload.len()).then(|| payload.clone());
            let part = payload.split_to(room);
            if let Err(part) = state.tcp.send_payload(part, &host.buffers) {
                // Nothing is lost: it waits for the next call.
                *payload = more.unwrap_or(part);
                starved = state.starve();
                state.wait_for_room(waiter);
                return Poll::Pending;
            }
            queued = true;
        }
        Poll::Ready(Ok(()))
    });
    if queued || starved {
        host.workers.drive(connection);
    }
    poll
}

/// Ready when there is something to read, the end, or an error.
pub(crate) fn poll_readable(connection: &Arc<Connection>, cx: Wait<'_>) -> Poll<()> {
    poll_state(connection, cx, Side::Reader, |state, waiter| {
        if state.tcp.recv_len() > 0
            || state.tcp.is_recv_finished()
            || state.tcp.error().is_some()
            || state.tcp.state() == State::Closed
        {
            return Poll::Ready(());
        }
        state.reader.register(waiter);
        Poll::Pending
    })
}

/// Forgets a task that no longer waits to read.
pub(crate) fn forget_reader(connection: &Connection, ticket: Ticket) {
    connection.with_state(|state| state.reader.forget(ticket));
}

/// Forgets a task that no longer waits to write.
pub(crate) fn forget_writer(connection: &Connection, ticket: Ticket) {
    connection.with_state(|state| state.writer.forget(ticket));
}

/// Ready when there is room to write, or an error.
pub(crate) fn poll_writable(connection: &Arc<Connection>, cx: Wait<'_>) -> Poll<()> {
    poll_state(connection, cx, Side::Writer, |state, waiter| {
        if state.has_room() || state.tcp.error().is_some() || state.tcp.state() == State::Closed {
            return Poll::Ready(());
        }
        state.wait_for_room(waiter);
        Poll::Pending
    })
}

/// Closes the sending side: a FIN follows the queued data.
pub(crate) fn shutdown_write(host: &Host, connection: &Arc<Connection>) -> io::Result<()> {
    enter(host, connection, |state, cx| state.tcp.close(cx));
    host.workers.drive(connection);
    Ok(())
}

/// Lets go of the connection. What was written is still sent; data that the application did not read
/// makes the end of it a reset, as with the kernel (RFC 2525 section 2.17).
pub(crate) fn release(host: &Host, connection: &Arc<Connection>) {
    enter(host, connection, |state, cx| {
        state.reader = WakerSlot::default();
        state.writer = WakerSlot::default();
        if connection.reset_on_close() {
            state.tcp.abort(cx);
        } else {
            state.tcp.close_both(cx);
        }
    });
    host.workers.drive(connection);
}

/// The tasks that a call may have to wait among.
#[derive(Clone, Copy)]
enum Side {
    Reader,
    Writer,
}

/// Runs `attempt` on the connection's state, for the task of `cx`.
fn poll_state<R>(
    connection: &Connection,
    cx: Wait<'_>,
    side: Side,
    mut attempt: impl FnMut(&mut ConnectionState, &mut Waiter<'_>) -> Poll<R>,
) -> Poll<R> {
    Waiter::poll(cx, |waiter| {
        connection.with_state(|state| {
            match side {
                Side::Reader => state.reader.resume(waiter),
                Side::Writer => state.writer.resume(waiter),
            }
            attempt(state, waiter)
        })
    })
}

/// Returns the end of the stream for a call that found no data to read: `Ok` where the peer closed it, the error that
/// it ended in otherwise. `None` while data may come.
fn end_of_stream(state: &mut ConnectionState) -> Option<io::Result<()>> {
    if state.tcp.is_recv_finished() {
        return Some(Ok(()));
    }
    if let Some(error) = state.tcp.take_error() {
        return Some(Err(io_error(error)));
    }
    (state.tcp.state() == State::Closed).then_some(Ok(()))
}

/// Returns the reason why the application may not write, if there is one.
fn write_error(state: &mut ConnectionState) -> Option<io::Error> {
    if let Some(error) = state.tcp.take_error() {
        return Some(io_error(error));
    }
    if !state.tcp.may_send() {
        return Some(io::Error::new(
            io::ErrorKind::BrokenPipe,
            "write: this side of the connection is closed",
        ));
    }
    None
}
