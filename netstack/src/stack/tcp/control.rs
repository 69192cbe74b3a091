//! Listening, choosing addresses and ports, and ending: what happens rarely.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

use lockorder::Key;

use crate::demux::{BindError, FlowKey};
use crate::stack::host::{Shared, locked};
use crate::stack::ip::addressing::Addressing;
use crate::stack::levels::StackLocks;
use crate::stack::local;
use crate::stack::tcp::connection::ConnCell;
use crate::stack::tcp::listener::{Listener, Service};
use crate::tcp::{Open, State, TcpInfo};

impl Shared {
    /// The current addressing.
    pub(crate) fn addressing(&self, key: &mut Key<StackLocks>) -> Arc<Addressing> {
        self.addressing
            .with_read(&mut key.ctx(), |addressing, _| Arc::clone(addressing))
    }

    /// Opens a listening port.
    pub(crate) fn tcp_listen(&self, local: SocketAddr) -> io::Result<Arc<Listener>> {
        locked(|key| {
            self.check_bind("listen", key, &local)?;
            let mut local = local;
            if local.port() == 0 {
                let any_peer = SocketAddr::new(unspecified_like(local.ip()), 0);
                let port = self.ports.with(&mut key.ctx(), |ports, ctx| {
                    ports.pick(local.ip(), any_peer, |port| {
                        self.listeners.with_read(ctx, |listeners, _| {
                            listeners.is_port_used(local.is_ipv6(), port)
                        })
                    })
                });
                local.set_port(port.map_err(no_port)?);
            }
            let listener = Listener::new(local, self.config.tcp.backlog);
            let bound = self.listeners.with_write(&mut key.ctx(), |listeners, _| {
                listeners.bind(local, Arc::clone(&listener))
            });
            match bound {
                Ok(()) => Ok(listener),
                Err(BindError::Full(_)) => Err(io::Error::new(
                    io::ErrorKind::OutOfMemory,
                    "listen: too many listeners",
                )),
                Err(_) => Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    format!("listen: {local} is in use by another listener of this stack"),
                )),
            }
        })
    }

    /// Hands the listener's connections to `service` from now on.
    pub(crate) fn tcp_serve(&self, listener: &Arc<Listener>, service: Service) -> io::Result<()> {
        if listener.set_service(service) {
            // Those that were accepted before the service came have no worker's turn to start them.
            let waiting = locked(|key| {
                listener
                    .queue
                    .with(&mut key.ctx(), |queue, _| std::mem::take(&mut queue.ready))
            });
            for cell in waiting {
                listener.release();
                let mailbox = &self.workers[usize::from(cell.owner)].mailbox;
                if let Some(task) = listener.serve(cell) {
                    mailbox.send(crate::stack::mailbox::Message::Spawn(task));
                }
            }
            Ok(())
        } else {
            Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "serve: this listener has a service already",
            ))
        }
    }

    /// The next connection that the listener has ready.
    pub(crate) fn tcp_poll_accept(
        &self,
        listener: &Arc<Listener>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Arc<ConnCell>>> {
        let next = locked(|key| {
            listener.queue.with(&mut key.ctx(), |queue, _| {
                let next = queue.ready.pop_front();
                if next.is_none() && !queue.acceptors.iter().any(|w| w.will_wake(cx.waker())) {
                    queue.acceptors.push(cx.waker().clone());
                }
                next
            })
        });
        match next {
            Some(cell) => {
                listener.release();
                Poll::Ready(Ok(cell))
            }
            None if listener.is_closed() => Poll::Ready(Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "accept: the listener was closed",
            ))),
            None => Poll::Pending,
        }
    }

    /// Closes a listening port and resets what was not accepted.
    pub(crate) fn tcp_unlisten(&self, listener: &Arc<Listener>) {
        listener.close();
        let (waiting, acceptors) = locked(|key| {
            self.listeners.with_write(&mut key.ctx(), |listeners, _| {
                if listeners
                    .get(listener.local)
                    .is_some_and(|bound| Arc::ptr_eq(bound, listener))
                {
                    listeners.unbind(listener.local);
                }
            });
            listener.queue.with(&mut key.ctx(), |queue, _| {
                (
                    std::mem::take(&mut queue.ready),
                    std::mem::take(&mut queue.acceptors),
                )
            })
        });
        for cell in waiting {
            listener.release();
            self.tcp_abort(&cell);
        }
        for waker in acceptors {
            waker.wake();
        }
    }

    /// Resets a connection.
    pub(crate) fn tcp_abort(&self, cell: &Arc<ConnCell>) {
        let now = self.now();
        self.on_conn(cell, |conn| conn.tcp.abort(now));
        self.schedule(cell);
    }

    /// Which local address a connection to `remote` has; the port may be left open (0).
    pub(crate) fn choose_local(
        &self,
        key: &mut Key<StackLocks>,
        wanted: Option<SocketAddr>,
        remote: SocketAddr,
    ) -> io::Result<SocketAddr> {
        let addressing = self.addressing(key);
        if remote.port() == 0 || !crate::ip::addresses::is_single_host(remote.ip()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("connect: {remote} is not the address of one host and port"),
            ));
        }
        if addressing.addresses.is_local(remote.ip()) {
            return Err(io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                format!("connect: {remote} is this stack itself; it has no loopback"),
            ));
        }
        let port = wanted.map_or(0, |wanted| wanted.port());
        if let Some(wanted) = wanted.filter(|wanted| !wanted.ip().is_unspecified()) {
            self.check_bind("connect", key, &wanted)?;
            if wanted.is_ipv4() != remote.is_ipv4() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("connect: {wanted} and {remote} are of different families"),
                ));
            }
            return Ok(wanted);
        }
        let source = addressing
            .routes
            .lookup(remote.ip())
            .ok()
            .and_then(|_| addressing.addresses.select_source(remote.ip()));
        source.map(|ip| SocketAddr::new(ip, port)).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NetworkUnreachable,
                format!("connect: no route or no address of ours towards {remote}"),
            )
        })
    }

    /// An ephemeral port for a connection (RFC 6056).
    pub(crate) fn choose_port(
        &self,
        key: &mut Key<StackLocks>,
        local: IpAddr,
        remote: SocketAddr,
    ) -> io::Result<FlowKey> {
        let flow = |port| FlowKey::of(local, port, remote.ip(), remote.port());
        self.ports
            .with(&mut key.ctx(), |ports, ctx| {
                ports.pick(local, remote, |port| self.flows.contains(ctx, &flow(port)))
            })
            .map(flow)
            .map_err(no_port)
    }

    /// The worker that a new connection of ours belongs to: the one we run on, else by its address.
    pub(crate) fn choose_owner(&self, local: &SocketAddr, remote: &SocketAddr) -> u16 {
        if let Some(id) = local::current_mailbox()
            && let Some(index) = self.workers.iter().position(|w| w.mailbox.id() == id)
        {
            return index as u16;
        }
        let spread = u32::from(local.port()).wrapping_mul(31) ^ u32::from(remote.port());
        (spread as usize % self.workers.len()) as u16
    }

    /// Sequence number, timestamp offset and MSS for a new connection.
    pub(crate) fn open_parameters(&self, key: &mut Key<StackLocks>, flow: &FlowKey) -> Open {
        let (local, remote) = (flow.local(), flow.remote());
        let now = self.now();
        let mtu = self.path(key, remote.ip(), now).mtu;
        Open {
            isn: self.isn.isn(now, local, remote),
            ts_offset: self.isn.ts_offset(local, remote),
            mss: mss_for(mtu, remote.is_ipv4()),
        }
    }

    pub(crate) fn check_bind(
        &self,
        what: &str,
        key: &mut Key<StackLocks>,
        local: &SocketAddr,
    ) -> io::Result<()> {
        if self.addressing(key).can_bind(local) {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            format!("{what}: {} is not an address of this stack", local.ip()),
        ))
    }

    /// Closes every listener and every connection, politely.
    pub fn close_all(&self) {
        let listeners: Vec<_> = locked(|key| {
            self.listeners
                .with_read(&mut key.ctx(), |l, _| l.values().cloned().collect())
        });
        for listener in &listeners {
            self.tcp_unlisten(listener);
        }
        let now = self.now();
        for cell in locked(|key| self.flows.snapshot(&mut key.ctx())) {
            self.on_conn(&cell, |conn| conn.tcp.close(now));
            self.schedule(&cell);
        }
    }

    /// Resets every connection.
    pub fn abort_all(&self) {
        for cell in locked(|key| self.flows.snapshot(&mut key.ctx())) {
            self.tcp_abort(&cell);
        }
    }

    /// Connections that are not merely in TIME-WAIT.
    pub fn open_connections(&self) -> usize {
        let cells = locked(|key| self.flows.snapshot(&mut key.ctx()));
        let open = |cell: &&Arc<ConnCell>| {
            let state = self.on_conn(cell, |conn| conn.tcp.state());
            !matches!(state, State::TimeWait | State::Closed)
        };
        cells.iter().filter(open).count()
    }

    /// What TCP knows of each connection.
    pub fn tcp_info(&self) -> Vec<(SocketAddr, SocketAddr, TcpInfo)> {
        let cells = locked(|key| self.flows.snapshot(&mut key.ctx()));
        let info = |cell: &Arc<ConnCell>| {
            let info = self.on_conn(cell, |conn| conn.tcp.info());
            (cell.flow.local(), cell.flow.remote(), info)
        };
        cells.iter().map(info).collect()
    }
}

/// Payload of a full segment without options on a path of that MTU (RFC 9293 section 3.7.1).
pub(crate) fn mss_for(mtu: u16, ipv4: bool) -> u16 {
    mtu.saturating_sub(if ipv4 { 40 } else { 60 })
}

fn unspecified_like(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => IpAddr::from([0; 4]),
        IpAddr::V6(_) => IpAddr::from([0; 16]),
    }
}

pub(crate) fn no_port(error: crate::demux::NoPort) -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, error)
}
