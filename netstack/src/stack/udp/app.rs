//! UDP sockets as an application uses them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Poll, Waker};

use packet::Payload;
use packet::buf::Account;

use super::super::foreign::locked;
use super::super::host::Host;
use super::super::waiters::{Ticket, Wait, Waiter};
use super::super::worklist;
use super::socket::{BoundSocket, Closed, OutDatagram, SocketGroup};
use crate::demux::{BindError, FlowKey};
use crate::udp::{Socket, SocketError};

/// Datagrams that the tasks of one turn may queue; then they wait for the next turn.
const DATAGRAMS_PER_TURN: usize = 512;

fn io_error(error: SocketError) -> io::Error {
    let kind = match error {
        SocketError::Refused => io::ErrorKind::ConnectionRefused,
        SocketError::HostUnreachable => io::ErrorKind::HostUnreachable,
        SocketError::NetUnreachable => io::ErrorKind::NetworkUnreachable,
        SocketError::Prohibited => io::ErrorKind::PermissionDenied,
        SocketError::TooBig { .. } => io::ErrorKind::InvalidInput,
        SocketError::Protocol => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// Binds `count` sockets to one address.
pub(crate) fn bind(
    host: &Host,
    local: SocketAddr,
    count: usize,
) -> io::Result<Vec<Arc<BoundSocket>>> {
    host.ending.check_open()?;
    host.ip.addressing.get().check_bind("bind", &local)?;
    locked(|key| {
        let mut local = local;
        if local.port() == 0 {
            let port = host.ports.pick_unconnected(&mut key.ctx(), |ctx, port| {
                host.udp.is_port_used(ctx, local.is_ipv6(), port)
            })?;
            local.set_port(port);
        }
        let sockets = BoundSocket::group(local, count, &host.config);
        let group = SocketGroup::new(&sockets);
        match host.udp.bind(&mut key.ctx(), local, group) {
            Ok(()) => Ok(sockets),
            Err(BindError::Full(_)) => Err(io::Error::new(
                io::ErrorKind::OutOfMemory,
                "bind: too many sockets",
            )),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("bind: {local} is in use by another socket of this stack"),
            )),
        }
    })
}

/// Closes a socket; its group's address is free when the last one is closed.
pub(crate) fn unbind(host: &Host, socket: &Arc<BoundSocket>) {
    let closed = socket.close();
    if closed == Closed::Before {
        return;
    }
    locked(|key| {
        // The queue is freed when its lock is released.
        let (queue, readers) = socket.state.with(&mut key.ctx(), |state, _| {
            let empty = Socket::new(socket.local(), 0, 0);
            (
                std::mem::replace(&mut state.socket, empty),
                std::mem::take(&mut state.readers),
            )
        });
        drop(readers);
        let connected = queue.remote().map(|remote| (queue.local(), remote));
        let last = (closed == Closed::LastOfGroup).then(|| socket.local());
        host.udp.remove(&mut key.ctx(), connected, last);
    });
}

/// Appends the tasks that wait for datagrams to `wakers`.
pub(crate) fn wake_all(host: &Host, wakers: &mut Vec<Waker>) {
    locked(|key| {
        for group in host.udp.snapshot(&mut key.ctx()) {
            for socket in group.sockets() {
                socket.state.with(&mut key.ctx(), |state, _| {
                    state.readers.drain_into(wakers);
                });
            }
        }
    });
}

/// Connects a socket.
pub(crate) fn connect(
    host: &Host,
    socket: &Arc<BoundSocket>,
    remote: SocketAddr,
) -> io::Result<()> {
    host.ending.check_open()?;
    let wanted = Some(socket.local()).filter(|bound| !bound.ip().is_unspecified());
    let mut local = host.ip.addressing.get().choose_local(wanted, remote)?;
    local.set_port(socket.local().port());
    let group = SocketGroup::new(std::slice::from_ref(socket));
    let connected = locked(|key| {
        socket.state.with(&mut key.ctx(), |state, ctx| {
            let before = state.socket.remote().map(|old| (state.socket.local(), old));
            let connected = host.udp.connect(ctx, before, local, remote, group);
            if connected {
                state.socket.connect(local, remote);
            }
            connected
        })
    });
    if connected {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::AddrInUse,
        format!("connect: {local} to {remote} is in use by another socket of this stack"),
    ))
}

/// Returns the peer that a socket is connected to.
pub(crate) fn peer(socket: &BoundSocket) -> Option<SocketAddr> {
    locked(|key| {
        socket
            .state
            .with(&mut key.ctx(), |state, _| state.socket.remote())
    })
}

/// Takes the oldest datagram of a socket, with its sender.
///
/// # Errors
/// An ICMP error about an earlier datagram, or the stack ended.
pub(crate) fn poll_recv(
    host: &Host,
    socket: &BoundSocket,
    wait: Wait<'_>,
) -> Poll<io::Result<(Payload, SocketAddr)>> {
    Waiter::poll(wait, |waiter| {
        locked(|key| {
            socket.state.with(&mut key.ctx(), |state, _| {
                state.readers.resume(waiter);
                // Under the lock under which the end of the stack takes the wakers.
                host.ending.check()?;
                if let Some(error) = state.socket.take_error() {
                    return Poll::Ready(Err(io_error(error)));
                }
                if let Some(datagram) = state.socket.recv() {
                    return Poll::Ready(Ok((datagram.payload, datagram.from)));
                }
                state.readers.register(waiter);
                Poll::Pending
            })
        })
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

/// Copies application bytes into a payload.
pub(crate) fn payload_of(host: &Host, data: &[u8]) -> io::Result<Payload> {
    if data.is_empty() {
        return Ok(Payload::default());
    }
    if data.len() > usize::from(u16::MAX) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("send: {} bytes do not fit in a datagram", data.len()),
        ));
    }
    // In memory of its own length if it is larger than a slab of this device, or no slab is free.
    let buffers = &host.buffers;
    let copy = buffers.copy(data).or_else(|| buffers.copy_exact(data));
    copy.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::OutOfMemory,
            "send: the stack's memory is used up; try again later",
        )
    })
}

/// Queues a datagram with the worker on this thread, or else with the one that its flow belongs to.
pub(crate) fn poll_send(
    host: &Host,
    socket: &BoundSocket,
    wait: Wait<'_>,
    payload: &mut Payload,
    to: Option<SocketAddr>,
) -> Poll<io::Result<()>> {
    host.ending.check()?;
    let flow = match address(socket, payload.len(), to) {
        Ok(flow) => flow,
        Err(error) => return Poll::Ready(Err(error)),
    };
    let datagram = |payload: &mut Payload, account: &Account| {
        let payload = account.hold(std::mem::take(payload)).ok()?;
        Some(OutDatagram {
            flow,
            ttl: socket.ttl(),
            payload,
        })
    };
    if let Some(index) = host.workers.current() {
        let mailbox = &host.workers[index].mailbox;
        let room = worklist::with(mailbox.id(), |list| {
            let room = list.datagrams.len() < DATAGRAMS_PER_TURN;
            if room {
                list.datagrams.extend(datagram(payload, mailbox.account()));
            }
            room
        });
        if room == Some(true) {
            return Poll::Ready(Ok(()));
        }
        // The turn ends, sends what it has, and polls this task again.
        if let Some(waker) = wait.waker() {
            waker.wake_by_ref();
        }
        return Poll::Pending;
    }
    let index = usize::from(flow.remote().port() ^ flow.local().port()) % host.workers.count();
    let mailbox = &host.workers[index].mailbox;
    let Some(datagram) = datagram(payload, mailbox.account()) else {
        // Memory that is lent for a turn reaches no application.
        return Poll::Ready(Ok(()));
    };
    match mailbox.send_datagram(datagram) {
        Ok(()) => Poll::Ready(Ok(())),
        Err(back) => {
            *payload = back.payload.into_payload();
            if let Some(waker) = wait.waker() {
                mailbox.wake_when_drained(waker.clone());
            }
            Poll::Pending
        }
    }
}

/// Returns the addresses of a datagram, or the error that the socket has to report first.
fn address(socket: &BoundSocket, len: usize, to: Option<SocketAddr>) -> io::Result<FlowKey> {
    locked(|key| {
        socket.state.with(&mut key.ctx(), |state, _| {
            if let Some(error) = state.socket.take_error() {
                return Err(io_error(error));
            }
            let remote = state
                .socket
                .destination(to, len)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
            Ok(FlowKey::new(state.socket.local(), remote))
        })
    })
}
