//! UDP sockets as the stack holds them, and what an application does with one.
//!
//! A socket may be one of a group, one for each worker, bound to the same address: a datagram goes to
//! the one of the worker that received it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use lockorder::Mutex;
use packet::Payload;

use crate::demux::{BindError, FlowKey};
use crate::stack::host::{Shared, locked};
use crate::stack::levels;
use crate::stack::local;
use crate::stack::tcp::control::no_port;
use crate::udp::{Socket, SocketError};

/// Datagrams that the tasks of one turn may queue; then they wait for the next turn.
const LOCAL_DATAGRAMS: usize = 512;

/// Sockets of one address, by worker.
pub(crate) struct UdpGroup {
    pub(crate) cells: Box<[Arc<UdpCell>]>,
}

impl UdpGroup {
    /// The socket for what worker `index` received.
    pub(crate) fn of_worker(&self, index: usize) -> Option<&Arc<UdpCell>> {
        self.cells.get(index % self.cells.len().max(1))
    }
}

/// One UDP socket.
pub struct UdpCell {
    bound: SocketAddr,
    ttl: AtomicU8,
    closed: AtomicBool,
    /// Open sockets of the group.
    open: Arc<AtomicUsize>,
    pub(crate) state: Mutex<levels::UdpSock, UdpState>,
}

/// What the lock protects.
pub(crate) struct UdpState {
    pub(crate) socket: Socket,
    pub(crate) readers: Vec<Waker>,
}

/// A datagram to be built and sent by a worker.
#[derive(Debug)]
pub struct OutDatagram {
    pub(crate) flow: FlowKey,
    pub(crate) ttl: u8,
    pub(crate) payload: Payload,
}

impl fmt::Debug for UdpCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UdpCell({})", self.bound)
    }
}

impl UdpCell {
    /// The address it was bound to.
    pub fn local(&self) -> SocketAddr {
        self.bound
    }

    /// Sets the time to live of what it sends.
    pub fn set_ttl(&self, ttl: u8) {
        self.ttl.store(ttl, Ordering::Relaxed);
    }

    /// The time to live of what it sends.
    pub fn ttl(&self) -> u8 {
        self.ttl.load(Ordering::Relaxed)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

fn udp_error(error: SocketError) -> io::Error {
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

impl Shared {
    /// Binds `count` sockets to one address.
    pub(crate) fn udp_bind(
        &self,
        local: SocketAddr,
        count: usize,
    ) -> io::Result<Vec<Arc<UdpCell>>> {
        locked(|key| {
            self.check_bind("bind", key, &local)?;
            let mut local = local;
            if local.port() == 0 {
                let nobody = SocketAddr::new(local.ip(), 0);
                let port = self.ports.with(&mut key.ctx(), |ports, ctx| {
                    ports.pick(local.ip(), nobody, |port| {
                        self.udp
                            .with_read(ctx, |udp, _| udp.is_port_used(local.is_ipv6(), port))
                    })
                });
                local.set_port(port.map_err(no_port)?);
            }
            let open = Arc::new(AtomicUsize::new(count));
            let cell = |_| {
                Arc::new(UdpCell {
                    bound: local,
                    ttl: AtomicU8::new(self.config.ttl),
                    closed: AtomicBool::new(false),
                    open: Arc::clone(&open),
                    state: Mutex::new(UdpState {
                        socket: Socket::new(
                            local,
                            self.config.udp_queue_datagrams,
                            self.config.udp_queue_bytes,
                        ),
                        readers: Vec::new(),
                    }),
                })
            };
            let cells: Vec<_> = (0..count).map(cell).collect();
            let group = Arc::new(UdpGroup {
                cells: cells.clone().into_boxed_slice(),
            });
            let bound = self
                .udp
                .with_write(&mut key.ctx(), |udp, _| udp.bind(local, group));
            match bound {
                Ok(()) => Ok(cells),
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

    /// Ends a socket; its group's address is free when the last one ended.
    pub(crate) fn udp_unbind(&self, cell: &Arc<UdpCell>) {
        if cell.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        let last = cell.open.fetch_sub(1, Ordering::AcqRel) == 1;
        let dropped = locked(|key| {
            // The queue and the wakers are dropped after the locks.
            let (socket, readers) = cell.state.with(&mut key.ctx(), |state, _| {
                let empty = Socket::new(cell.bound, 0, 0);
                (
                    std::mem::replace(&mut state.socket, empty),
                    std::mem::take(&mut state.readers),
                )
            });
            let groups = self.udp.with_write(&mut key.ctx(), |udp, _| {
                let connected = socket
                    .remote()
                    .and_then(|remote| udp.disconnect(socket.local(), remote));
                let bound = last.then(|| udp.unbind(cell.bound)).flatten();
                (connected, bound)
            });
            (socket, readers, groups)
        });
        drop(dropped);
    }

    /// Connects a socket.
    pub(crate) fn udp_connect(&self, cell: &Arc<UdpCell>, remote: SocketAddr) -> io::Result<()> {
        locked(|key| {
            let wanted = Some(cell.bound).filter(|bound| !bound.ip().is_unspecified());
            let mut local = self.choose_local(key, wanted, remote)?;
            local.set_port(cell.bound.port());
            let group = Arc::new(UdpGroup {
                cells: Box::new([Arc::clone(cell)]),
            });
            let before = cell.state.with(&mut key.ctx(), |state, ctx| {
                let before = state.socket.remote().map(|old| (state.socket.local(), old));
                let connected = self.udp.with_write(ctx, |udp, _| {
                    if let Some((local, old)) = before {
                        udp.disconnect(local, old);
                    }
                    udp.connect(local, remote, group).is_ok()
                });
                if connected {
                    state.socket.connect(local, remote);
                }
                connected
            });
            if before {
                Ok(())
            } else {
                Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    format!(
                        "connect: {local} to {remote} is in use by another socket of this stack"
                    ),
                ))
            }
        })
    }

    /// Whom a socket is connected to.
    pub(crate) fn udp_peer(&self, cell: &UdpCell) -> Option<SocketAddr> {
        locked(|key| {
            cell.state
                .with(&mut key.ctx(), |state, _| state.socket.remote())
        })
    }

    /// The oldest datagram of a socket and who sent it.
    pub(crate) fn udp_poll_recv(
        &self,
        cell: &UdpCell,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Payload, SocketAddr)>> {
        locked(|key| {
            cell.state.with(&mut key.ctx(), |state, _| {
                if let Some(error) = state.socket.take_error() {
                    return Poll::Ready(Err(udp_error(error)));
                }
                if let Some(datagram) = state.socket.recv() {
                    return Poll::Ready(Ok((datagram.payload, datagram.from)));
                }
                if !state.readers.iter().any(|w| w.will_wake(cx.waker())) {
                    state.readers.push(cx.waker().clone());
                }
                Poll::Pending
            })
        })
    }

    /// Application bytes as a payload.
    pub(crate) fn udp_payload(&self, data: &[u8]) -> io::Result<Payload> {
        if data.is_empty() {
            return Ok(Payload::default());
        }
        if let Some(copy) = self.buffers.copy(data) {
            return Ok(copy);
        }
        if data.len() > usize::from(u16::MAX) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("send: {} bytes do not fit in a datagram", data.len()),
            ));
        }
        // Larger than a slab of this device, or no slab left: bounded by what is in flight.
        Ok(Payload::from(Bytes::copy_from_slice(data)))
    }

    /// Queues a datagram with the worker that runs here, or with the one that its flow belongs to.
    pub(crate) fn udp_poll_send(
        &self,
        cell: &UdpCell,
        cx: &mut Context<'_>,
        payload: &mut Payload,
        to: Option<SocketAddr>,
    ) -> Poll<io::Result<()>> {
        let addressed = locked(|key| {
            cell.state.with(&mut key.ctx(), |state, _| {
                if let Some(error) = state.socket.take_error() {
                    return Err(udp_error(error));
                }
                let remote = state
                    .socket
                    .destination(to, payload.len())
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
                Ok(FlowKey::new(state.socket.local(), remote))
            })
        });
        let flow = match addressed {
            Ok(flow) => flow,
            Err(error) => return Poll::Ready(Err(error)),
        };
        let datagram = |payload: &mut Payload| OutDatagram {
            flow,
            ttl: cell.ttl(),
            payload: std::mem::take(payload),
        };
        if let Some(id) = local::current_mailbox()
            && self.workers.iter().any(|w| w.mailbox.id() == id)
        {
            let room = local::with(id, |local| {
                let room = local.datagrams.len() < LOCAL_DATAGRAMS;
                if room {
                    local.datagrams.push(datagram(payload));
                }
                room
            });
            if room == Some(true) {
                return Poll::Ready(Ok(()));
            }
            // The turn ends, sends what it has, and polls this task again.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let worker = usize::from(flow.remote().port() ^ flow.local().port()) % self.workers.len();
        let mailbox = &self.workers[worker].mailbox;
        match mailbox.send_datagram(datagram(payload)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(back) => {
                *payload = back.payload;
                mailbox.wake_when_drained(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
