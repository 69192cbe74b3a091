//! UDP sockets as an application uses them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Poll, Waker};

use lockorder::{LockBefore, LockCtx};
use packet::Payload;

use super::super::foreign::{locked, releasable, wake_all as wake};
use super::super::host::Host;
use super::super::levels;
use super::super::waiters::{Ticket, Wait, Waiter};
use super::super::worklist;
use super::socket::{
    Binding, BoundSocket, Closed, OutDatagram, Protocol, SocketGroup, SocketState,
};
use super::table::SocketTable;
use crate::base::Rng;
use crate::base::counters::Counter;
use crate::demux::{BindError, Destinations};
use crate::ip::peer::PeerNet;
use crate::udp::{Datagram, Socket, SocketError, check_destination};

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

/// Binds `count` sockets to one address.
pub(crate) fn bind(
    host: &Host,
    protocol: Protocol,
    local: SocketAddr,
    count: usize,
) -> io::Result<Vec<Arc<BoundSocket>>> {
    host.ending.check_open()?;
    host.ip.addressing.get().check_bind("bind", &local)?;
    let table = table(host, protocol);
    locked(|key| {
        let mut local = local;
        if local.port() == 0 {
            let port = host.ports.pick_unconnected(&mut key.ctx(), |ctx, port| {
                table.is_port_used(ctx, local.is_ipv6(), port)
            })?;
            local.set_port(port);
        }
        let sockets = BoundSocket::group(protocol, local, count, &host.config);
        let group = SocketGroup::new(&sockets);
        match table.bind(&mut key.ctx(), local, group) {
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

/// Binds a socket to the destinations that no other socket takes.
pub(crate) fn bind_any(
    host: &Host,
    protocol: Protocol,
    destinations: Destinations,
) -> io::Result<Arc<BoundSocket>> {
    host.ending.check_open()?;
    destinations
        .check()
        .map_err(|why| invalid(format!("bind: {why}")))?;
    let local = SocketAddr::from(([0; 4], 0));
    let binding = Binding::Destinations(destinations.clone());
    let socket = BoundSocket::single(protocol, local, &binding, &host.config)
        .ok_or_else(|| io::Error::other("bind: no socket was made"))?;
    let group = SocketGroup::new(std::slice::from_ref(&socket));
    let table = table(host, protocol);
    locked(
        |key| match table.bind_any(&mut key.ctx(), destinations, group) {
            Ok(()) => Ok(socket),
            Err(BindError::Full(_)) => Err(io::Error::new(
                io::ErrorKind::OutOfMemory,
                "bind: too many sockets",
            )),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "bind: another socket of this stack has exactly these destinations",
            )),
        },
    )
}

/// Makes the socket of the flow that `first` began, with that datagram in its queue. If the flow has a
/// socket already, that one gets the datagram and the result is `None`. If there are as many flows as there may be,
/// one of the peer that has most makes room; if none must, the datagram is lost, and the result is `None`, too.
pub(crate) fn flow(host: &Host, first: Datagram) -> io::Result<Option<Arc<BoundSocket>>> {
    host.ending.check_open()?;
    let (local, remote) = (first.to, first.from);
    let socket = BoundSocket::single(Protocol::Udp, local, &Binding::Flow, &host.config)
        .ok_or_else(|| io::Error::other("accept: no socket was made"))?;
    let group = SocketGroup::new(std::slice::from_ref(&socket));
    let mut wakers = Vec::new();
    let made = locked(|key| {
        let (ctx, udp) = (&mut key.ctx(), &host.udp);
        let (enter, again) = (Arc::clone(&group), group);
        let entered = socket.state.with(ctx, |state, ctx| {
            socket.connect(state, local, remote);
            // Before the flow is entered: what follows it comes behind. A queue that has no room for it loses
            // it, as any other datagram.
            let _ = (state.socket).deliver(remote, local, first.payload.clone(), &host.buffers);
            udp.connect(ctx, None, local, remote, enter)
        });
        if entered {
            return Some(socket);
        }
        // Not the listener, which would give the datagram to the next call of `accept` for ever.
        if let Some(other) = udp.connection(&mut key.ctx(), local, remote) {
            let _ = other.state.with(&mut key.ctx(), |state, _| {
                state
                    .socket
                    .deliver(remote, local, first.payload.clone(), &host.buffers)
            });
            return None;
        }
        // There are as many as there may be.
        let displaced = udp.displace(
            &mut key.ctx(),
            PeerNet::of(remote.ip()),
            &mut draws(host, &first),
        );
        for ended in displaced?.sockets() {
            ended.state.with(&mut key.ctx(), |state, _| {
                state.socket.displace();
                state.readers.drain_into(&mut wakers);
            });
        }
        let worker = host.workers.current().unwrap_or(0);
        host.workers[worker]
            .counters
            .add(Counter::UdpFlowsDisplaced, 1);
        let entered = udp.connect(&mut key.ctx(), None, local, remote, again);
        entered.then_some(socket)
    });
    wake(wakers);
    Ok(made)
}

/// Returns a generator that draws a sample for one decision.
fn draws(host: &Host, first: &Datagram) -> Rng {
    let number = host.tcp.isn.isn(host.clock.now(), first.to, first.from);
    Rng::from_u64(number.0.into())
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// Closes a socket; its group's address is free when the last one is closed.
pub(crate) fn unbind(host: &Host, socket: &Arc<BoundSocket>) {
    let closed = socket.close();
    if closed == Closed::Before {
        return;
    }
    let table = table(host, socket.protocol());
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
        let is_last = closed == Closed::LastOfGroup && *socket.binding() == Binding::Address;
        let last = is_last.then(|| socket.local());
        table.remove(&mut key.ctx(), connected, last);
        if let Binding::Destinations(_) = socket.binding() {
            table.unbind_any(&mut key.ctx(), socket);
        }
    });
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

/// Connects a socket.
pub(crate) fn connect(
    host: &Host,
    socket: &Arc<BoundSocket>,
    remote: SocketAddr,
) -> io::Result<()> {
    host.ending.check_open()?;
    if *socket.binding() != Binding::Address {
        return Err(invalid(
            "connect: this socket has no address of its own: bind one for the connection"
                .to_owned(),
        ));
    }
    let wanted = Some(socket.local()).filter(|bound| !bound.ip().is_unspecified());
    let mut local = host.ip.addressing.get().choose_local(wanted, remote)?;
    local.set_port(socket.local().port());
    let group = SocketGroup::new(std::slice::from_ref(socket));
    let connected = locked(|key| {
        socket.state.with(&mut key.ctx(), |state, ctx| {
            let before = state.socket.remote().map(|old| (state.socket.local(), old));
            let connected = host.udp.connect(ctx, before, local, remote, group);
            if connected {
                socket.connect(state, local, remote);
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

/// Ready when a datagram is there, an error, or the end of the stack.
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

/// Copies the start of the oldest datagram of a socket without taking it; returns how much, and its sender.
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
    copy.ok_or_else(out_of_memory)
}

/// Counts memory that the application brings, until it has left.
pub(crate) fn own_payload(host: &Host, payload: Payload) -> io::Result<Payload> {
    host.buffers
        .count_own(releasable(payload), None)
        .map_err(|_| out_of_memory())
}

fn out_of_memory() -> io::Error {
    io::Error::new(
        io::ErrorKind::OutOfMemory,
        "send: the stack's memory is used up; try again later",
    )
}

/// Returns `source` with a port, where the socket's protocol has a sequence number in its place, which may be 0.
fn checked_port(socket: &BoundSocket, source: SocketAddr) -> SocketAddr {
    match socket.protocol() {
        Protocol::Udp => source,
        _ => SocketAddr::new(source.ip(), 1),
    }
}

/// Checks that a socket may send from `source`.
fn check_source(host: &Host, socket: &BoundSocket, source: SocketAddr) -> io::Result<()> {
    let bound = socket.local();
    let why = match socket.binding() {
        Binding::Destinations(destinations)
            if !destinations.contains(checked_port(socket, source)) =>
        {
            "not one of the destinations that it is bound to"
        }
        Binding::Address | Binding::Flow if source.port() != bound.port() => {
            "not at the port that it is bound to"
        }
        _ if source.ip().is_unspecified() => "not one address",
        _ if bound.ip() != source.ip() && !bound.ip().is_unspecified() => {
            "not the address that it is bound to"
        }
        _ if source.ip().is_loopback() => return Ok(()),
        _ if !host.ip.addressing.get().addresses.answers_for(source.ip()) => {
            "not an address that this stack answers for"
        }
        _ => return Ok(()),
    };
    Err(invalid(format!(
        "send: {source} cannot be the source of this socket: {why}"
    )))
}

/// The endpoints that a call gives a datagram.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ends {
    /// The source; the socket's own address if `None`.
    pub(crate) source: Option<SocketAddr>,
    /// The destination; the connected peer if `None`.
    pub(crate) to: Option<SocketAddr>,
    /// Bytes of payload in each of several datagrams; 0: there is one.
    pub(crate) segment: u16,
}

impl Ends {
    /// Sends to `remote`, from the socket's own address.
    pub(crate) fn to(remote: SocketAddr) -> Self {
        Self {
            to: Some(remote),
            ..Self::default()
        }
    }
}

/// Returns the worker that sends the datagrams of a flow for threads that are no workers.
fn sender_of(host: &Host, local: SocketAddr, remote: SocketAddr) -> usize {
    usize::from(remote.port() ^ local.port()) % host.workers.count()
}

/// Ready when a datagram can be sent: to the connected peer, or without one to any.
pub(crate) fn poll_writable(
    host: &Host,
    socket: &BoundSocket,
    waker: &Waker,
) -> Poll<io::Result<()>> {
    host.ending.check()?;
    if let Some(index) = host.workers.current() {
        let mailbox = &host.workers[index].mailbox;
        let room = worklist::with(mailbox.id(), |list| {
            list.datagrams.len() < DATAGRAMS_PER_TURN
        });
        if room == Some(false) {
            waker.wake_by_ref();
            return Poll::Pending;
        }
        return Poll::Ready(Ok(()));
    }
    let only = peer(socket).map(|peer| sender_of(host, socket.local(), peer));
    for index in 0..host.workers.count() {
        let mailbox = &host.workers[index].mailbox;
        if only.is_none_or(|only| only == index) && !mailbox.has_room() {
            mailbox.wake_when_drained(waker.clone());
            return Poll::Pending;
        }
    }
    Poll::Ready(Ok(()))
}

/// Queues a datagram with the worker on this thread, or else with the one that its flow belongs to.
pub(crate) fn poll_send(
    host: &Host,
    socket: &BoundSocket,
    wait: Wait<'_>,
    payload: &mut Payload,
    ends: Ends,
) -> Poll<io::Result<()>> {
    host.ending.check()?;
    if let Some(source) = ends.source {
        check_source(host, socket, source)?;
    }
    let (local, remote) = match addresses(socket, payload.len(), ends) {
        Ok(addresses) => addresses,
        Err(error) => return Poll::Ready(Err(error)),
    };
    check_permission(host, socket, remote.ip())?;
    let datagram = |payload: &mut Payload| OutDatagram {
        protocol: socket.protocol(),
        local,
        remote,
        ttl: socket.ttl(),
        traffic_class: socket.traffic_class(),
        segment: ends.segment,
        payload: std::mem::take(payload),
    };
    if let Some(index) = host.workers.current() {
        let mailbox = &host.workers[index].mailbox;
        let room = worklist::with(mailbox.id(), |list| {
            let room = list.datagrams.len() < DATAGRAMS_PER_TURN;
            if room {
                list.datagrams.push(datagram(payload));
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
    let index = sender_of(host, local, remote);
    let mailbox = &host.workers[index].mailbox;
    match mailbox.send_datagram(datagram(payload)) {
        Ok(()) => Poll::Ready(Ok(())),
        Err(back) => {
            *payload = back.payload;
            if let Some(waker) = wait.waker() {
                mailbox.wake_when_drained(waker.clone());
            }
            Poll::Pending
        }
    }
}

/// Returns the source and destination of a datagram, or the error that the socket has to report first.
fn addresses(socket: &BoundSocket, len: usize, ends: Ends) -> io::Result<(SocketAddr, SocketAddr)> {
    let protocol = socket.protocol();
    if !socket.was_connected() {
        let local = ends.source.unwrap_or(socket.local());
        return checked_addresses(protocol, local, ends.to, len);
    }
    locked(|key| {
        socket.state.with(&mut key.ctx(), |state, _| {
            if let Some(error) = state.socket.take_error() {
                return Err(io_error(error));
            }
            let local = ends.source.unwrap_or_else(|| state.socket.local());
            let to = ends.to.or(state.socket.remote());
            checked_addresses(protocol, local, to, len)
        })
    })
}

fn checked_addresses(
    protocol: Protocol,
    local: SocketAddr,
    to: Option<SocketAddr>,
    len: usize,
) -> io::Result<(SocketAddr, SocketAddr)> {
    let refused = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
    if protocol != Protocol::Udp {
        // A sequence number may be 0, which no port is.
        let host = to.map(|to| SocketAddr::new(to.ip(), 1));
        let checked = check_destination(local, host, len).map_err(refused)?;
        return Ok((local, to.unwrap_or(checked)));
    }
    if local.port() == 0 {
        return Err(invalid(
            "send: this socket has no address of its own: say which one to send from".to_owned(),
        ));
    }
    let remote = check_destination(local, to, len).map_err(refused)?;
    Ok((local, remote))
}

/// Checks that a socket may send to an address. Takes no lock for one that cannot be a broadcast address, nor for
/// the one that was checked last.
fn check_permission(host: &Host, socket: &BoundSocket, to: IpAddr) -> io::Result<()> {
    let from = socket.local().ip();
    if from.is_loopback() && !host.ip.addressing.get().addresses.is_here(to) {
        return Err(invalid(format!(
            "send: {from} is a loopback address, from which {to} cannot be reached"
        )));
    }
    let IpAddr::V4(v4) = to else {
        return Ok(());
    };
    // A subnet with a broadcast address leaves two bits at least to its hosts: all ones, or in the old form zeros.
    if matches!(v4.octets()[3] & 3, 1 | 2) || socket.broadcast() {
        return Ok(());
    }
    let checked = host.ip.addressing.version() << 32 | u64::from(u32::from(v4));
    if socket.is_permitted(checked) {
        return Ok(());
    }
    if host.ip.addressing.get().is_broadcast(to) {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("send: {to} is a broadcast address: call set_broadcast(true) first"),
        ));
    }
    socket.permit(checked);
    Ok(())
}
