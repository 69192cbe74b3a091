//! Binding, connecting and closing a socket.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::super::super::foreign::locked;
use super::super::super::host::Host;
use super::super::super::multicast;
use super::super::group::SocketGroup;
use super::super::socket::{Binding, BoundSocket, Closed, Protocol};
use super::error::invalid;
use super::sockets::table;
use crate::base::counters::DropReason;
use crate::demux::{BindError, Destinations};
use crate::ip::selection::source::SourcePreference;

/// Binds `count` sockets to one address.
pub(crate) fn bind(
    host: &Host,
    protocol: Protocol,
    local: SocketAddr,
    count: usize,
) -> io::Result<Vec<Arc<BoundSocket>>> {
    host.ending.check_open()?;
    if protocol != Protocol::Udp || !local.ip().is_multicast() {
        host.ip.addressing.get().check_bind("bind", &local)?;
    }
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

/// Binds one of several sockets that share an address.
pub(crate) fn bind_shared(host: &Host, local: SocketAddr) -> io::Result<Arc<BoundSocket>> {
    host.ending.check_open()?;
    if !local.ip().is_multicast() {
        host.ip.addressing.get().check_bind("bind", &local)?;
    }
    locked(|key| {
        let mut local = local;
        if local.port() == 0 {
            let port = host.ports.pick_unconnected(&mut key.ctx(), |ctx, port| {
                host.udp.is_port_used(ctx, local.is_ipv6(), port)
            })?;
            local.set_port(port);
        }
        let socket = BoundSocket::single(Protocol::Udp, local, &Binding::Shared, &host.config)
            .ok_or_else(|| io::Error::other("bind: no socket was made"))?;
        match host.udp.share(&mut key.ctx(), local, &socket) {
            Ok(()) => Ok(socket),
            Err(BindError::Full(_)) => Err(io::Error::new(
                io::ErrorKind::OutOfMemory,
                "bind: too many sockets",
            )),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!(
                    "bind: {local} is in use by a socket that does not share it, or by 256 that do"
                ),
            )),
        }
    })
}

/// Makes a socket that is connected to `remote` from the start, and receives nothing else: its port may be that of
/// other sockets.
pub(crate) fn connected(
    host: &Host,
    local: SocketAddr,
    remote: SocketAddr,
) -> io::Result<Arc<BoundSocket>> {
    host.ending.check_open()?;
    // A scope id says which link an address is on: there is one.
    let remote = SocketAddr::new(remote.ip(), remote.port());
    let addressing = host.ip.addressing.get();
    let mut local = addressing.choose_local(Some(local), remote, SourcePreference::Default)?;
    if local.port() == 0 {
        let picked = locked(|key| {
            host.ports.pick_unconnected(&mut key.ctx(), |ctx, port| {
                host.udp.is_port_used(ctx, local.is_ipv6(), port)
            })
        });
        local.set_port(picked?);
    }
    let socket = BoundSocket::single(Protocol::Udp, local, &Binding::Peer, &host.config)
        .ok_or_else(|| io::Error::other("connect: no socket was made"))?;
    enter(host, &socket, local, remote)?;
    Ok(socket)
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

/// Closes a socket; its group's address is free when the last one is closed.
pub(crate) fn unbind(host: &Host, socket: &Arc<BoundSocket>) {
    if *socket.binding() == Binding::Shared {
        // Before it is closed: its part of the flows goes to the others, and no peer is told that the port is closed.
        locked(|key| table(host, socket.protocol()).unshare(&mut key.ctx(), socket));
    }
    let closed = socket.close();
    if closed == Closed::Before {
        return;
    }
    multicast::app::leave_all(host, socket);
    let table = table(host, socket.protocol());
    locked(|key| {
        let (connected, unread, readers) = socket.state.with(&mut key.ctx(), |state, _| {
            let open = &mut state.socket;
            let connected = open.remote().map(|remote| (open.local(), remote));
            (connected, open.close(), std::mem::take(&mut state.readers))
        });
        drop(readers);
        count_unread(host, unread);
        let is_last = closed == Closed::LastOfGroup && *socket.binding() == Binding::Address;
        let last = is_last.then(|| socket.local());
        table.remove(&mut key.ctx(), socket, connected, last);
        match socket.binding() {
            Binding::Destinations(_) => table.unbind_any(&mut key.ctx(), socket),
            Binding::Address | Binding::Shared | Binding::Peer | Binding::Flow => {}
        }
    });
}

/// Counts datagrams that no call received from their socket.
fn count_unread(host: &Host, unread: usize) {
    for _ in 0..unread {
        let counters = host.workers.counters_here();
        counters.drop_packet(DropReason::UdpUnread);
    }
}

/// Connects a socket.
pub(crate) fn connect(
    host: &Host,
    socket: &Arc<BoundSocket>,
    remote: SocketAddr,
) -> io::Result<()> {
    host.ending.check_open()?;
    if !matches!(socket.binding(), Binding::Address | Binding::Shared) {
        return Err(invalid(
            "connect: this socket has no address of its own: bind one for the connection"
                .to_owned(),
        ));
    }
    // A scope id says which link an address is on: there is one.
    let remote = SocketAddr::new(remote.ip(), remote.port());
    let wanted = Some(socket.source()).filter(|bound| !bound.ip().is_unspecified());
    let addressing = host.ip.addressing.get();
    let mut local = if remote.ip().is_multicast() && remote.port() != 0 {
        addressing.choose_local_to_group(wanted, remote.ip())?
    } else {
        addressing.choose_local(wanted, remote, socket.source_preference())?
    };
    local.set_port(socket.local().port());
    enter(host, socket, local, remote)?;
    if *socket.binding() == Binding::Shared && !socket.local().ip().is_multicast() {
        // Its part of the flows goes to the others. One that is bound to a group still gets its own copies.
        locked(|key| host.udp.unshare(&mut key.ctx(), socket));
    }
    Ok(())
}

/// Enters a socket in the table as connected.
fn enter(
    host: &Host,
    socket: &Arc<BoundSocket>,
    local: SocketAddr,
    remote: SocketAddr,
) -> io::Result<()> {
    let group = SocketGroup::new(std::slice::from_ref(socket));
    let connected = locked(|key| {
        socket.state.with(&mut key.ctx(), |state, ctx| {
            let before = state.socket.remote().map(|old| (state.socket.local(), old));
            let connected = host.udp.connect(ctx, before, local, remote, group);
            connected.then(|| socket.connect(state, local, remote))
        })
    });
    if let Some(unread) = connected {
        count_unread(host, unread);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_of_a_shared_socket_go_to_the_others_before_it_is_closed() {
        let host = Host::example();
        let local: SocketAddr = "10.77.0.1:53".parse().expect("an address");
        let [first, second] = [(); 2].map(|()| bind_shared(&host, local).expect("bind"));
        std::thread::scope(|threads| {
            locked(|key| {
                first.state.with(&mut key.ctx(), |_, ctx| {
                    let mut has_flows = |socket: &Arc<BoundSocket>| {
                        (1..=64).any(|port| {
                            let remote = ([10, 77, 0, 2], port).into();
                            let found = host.udp.lookup(ctx, remote, local, 0, || true);
                            found.is_some_and(|found| Arc::ptr_eq(&found, socket))
                        })
                    };
                    assert!(has_flows(&first) && has_flows(&second));
                    // It comes to a stop at this lock, after the socket was closed.
                    threads.spawn(|| unbind(&host, &first));
                    while !first.is_closed() {
                        std::thread::yield_now();
                    }
                    assert!(has_flows(&second) && !has_flows(&first));
                });
            });
        });
        drop(second);
    }
}
