//! Sending, and waiting for room to send.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Poll, Waker};

use packet::Payload;

use super::super::super::foreign::{locked, releasable};
use super::super::super::host::Host;
use super::super::super::ip::local::no_route;
use super::super::super::waiters::Wait;
use super::super::super::worklist;
use super::super::socket::{Binding, BoundSocket, OutDatagram, Protocol};
use super::bind::peer;
use super::error::{invalid, io_error};
use super::path::check_size;
use crate::icmp::error::Unreachable;
use crate::udp::check_destination;

/// The payload of a datagram that a call sends.
pub(crate) enum Content<'a> {
    /// Bytes of the application, copied once there is room for the datagram.
    Copied(&'a [u8]),
    /// Memory that was counted, taken once there is room for the datagram.
    Owned(&'a mut Payload),
}

impl Content<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Copied(data) => data.len(),
            Self::Owned(payload) => payload.len(),
        }
    }

    /// Makes the payload.
    ///
    /// # Errors
    /// There is no memory for the copy.
    #[inline]
    fn take(&mut self, host: &Host) -> io::Result<Payload> {
        match self {
            Self::Copied([]) => Ok(Payload::default()),
            Self::Copied(data) => {
                // In memory of its own length if it is larger than a slab of this device, or no slab is free.
                let buffers = &host.buffers;
                let copy = buffers.copy(data).or_else(|| buffers.copy_exact(data));
                copy.ok_or_else(out_of_memory)
            }
            Self::Owned(payload) => Ok(std::mem::take(payload)),
        }
    }

    /// Takes back a payload that was not sent.
    fn put_back(&mut self, unsent: Payload) {
        if let Self::Owned(payload) = self {
            **payload = unsent;
        }
    }
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
    let bound = socket.source();
    let why = match socket.binding() {
        Binding::Destinations(destinations)
            if !destinations.contains(checked_port(socket, source)) =>
        {
            "not one of the destinations that it is bound to"
        }
        Binding::Address | Binding::Shared | Binding::Peer | Binding::Flow
            if source.port() != bound.port() =>
        {
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
    /// The content is what the destination sent to the source, and is answered with an ICMP error.
    pub(crate) refused: Option<Unreachable>,
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

/// Returns the worker that sends a flow's datagrams for threads that are not workers.
fn sender_of(host: &Host, local: SocketAddr, remote: SocketAddr) -> usize {
    usize::from(remote.port() ^ local.port()) % host.workers.count()
}

/// Polls for room to send a datagram: to the connected peer, or to any if there is none.
pub(crate) fn poll_writable(
    host: &Host,
    socket: &BoundSocket,
    waker: &Waker,
) -> Poll<io::Result<()>> {
    host.ending.check()?;
    if let Some(index) = host.workers.current() {
        let mailbox = &host.workers[index].mailbox;
        let room = worklist::with(mailbox.id(), |list| list.datagrams.has_room());
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
    mut content: Content<'_>,
    ends: Ends,
) -> Poll<io::Result<()>> {
    host.ending.check()?;
    if let Some(source) = ends.source {
        check_source(host, socket, source)?;
    }
    let (local, remote) = addresses(socket, content.len(), ends)?;
    check_permission(host, socket, remote.ip())?;
    let addressing = &host.ip.addressing;
    addressing
        .check_route(remote.ip())
        .map_err(|error| no_route("send", error))?;
    let len = match ends.segment {
        0 => content.len(),
        segment => content.len().min(segment.into()),
    };
    if ends.refused.is_none() {
        check_size(host, socket, remote.ip(), len)?;
    }
    let is_to_group = remote.ip().is_multicast();
    socket.note_active(|| host.clock.now());
    let datagram = |payload| OutDatagram {
        protocol: socket.protocol(),
        local,
        remote,
        ttl: if is_to_group {
            socket.multicast_ttl()
        } else {
            socket.ttl()
        },
        traffic_class: socket.traffic_class(),
        source_preference: socket.source_preference(),
        is_to_group,
        loops: is_to_group && socket.multicast_loop(),
        discovery: socket.mtu_discovery(),
        segment: ends.segment,
        refused: ends.refused,
        payload,
    };
    if let Some(index) = host.workers.current() {
        let id = host.workers[index].mailbox.id();
        let queued = worklist::with(id, |list| {
            list.datagrams.has_room().then(|| {
                let payload = content.take(host)?;
                list.datagrams.push(datagram(payload));
                Ok(())
            })
        });
        if let Some(result) = queued.flatten() {
            return Poll::Ready(result);
        }
        // The turn ends, sends what it has, and polls this task again.
        if let Some(waker) = wait.waker() {
            waker.wake_by_ref();
        }
        return Poll::Pending;
    }
    let mailbox = &host.workers[sender_of(host, local, remote)].mailbox;
    if mailbox.has_room() {
        match mailbox.send_datagram(datagram(content.take(host)?)) {
            Ok(()) => return Poll::Ready(Ok(())),
            // Another thread took the room.
            Err(back) => content.put_back(back.payload),
        }
    }
    if let Some(waker) = wait.waker() {
        mailbox.wake_when_drained(waker.clone());
    }
    Poll::Pending
}

/// Returns the source and destination of a datagram, or the error that the socket has to report first.
fn addresses(socket: &BoundSocket, len: usize, ends: Ends) -> io::Result<(SocketAddr, SocketAddr)> {
    let protocol = socket.protocol();
    if !socket.was_connected() {
        let local = ends.source.unwrap_or(socket.source());
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

/// Checks that a socket may send to an address. Takes no lock if the address cannot be a broadcast address, or is the
/// one that was checked last.
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
