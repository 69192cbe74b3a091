//! Sockets of the stack in the states that the socket calls know, and the calls that change their state.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use netstack::net::{TcpListener, TcpSocket, TcpStream, UdpSocket, blocking};
use netstack::tcp::State;

use super::Ours;
use super::errors::{done, name, returned};
use super::fast_open::FAST_OPEN_PENDING;
use crate::pktscript::host::{Called, Events, Op, Returned, Shutdown, SocketId};

/// A stream that calls which block may share.
pub(super) type Stream = Arc<blocking::TcpStream>;

/// The attempt to connect.
pub(super) type Connecting = Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>;

/// The rest of a call that blocks.
pub(super) type Rest = Pin<Box<dyn Future<Output = Done>>>;

/// The end of a call that blocked.
pub(super) enum Done {
    Returned(Returned),
    /// A listener accepted.
    Accepted(TcpStream, bool),
}

/// A call that has not returned.
pub(super) enum Blocked {
    /// Its rest.
    Rest(Rest),
    /// `connect`, or data that connects; the socket has the attempt. What it returns when it succeeds.
    Connect(SocketId, i64),
    /// `poll`, until a time in microseconds.
    Poll {
        sockets: Vec<(SocketId, Events)>,
        until: Option<i64>,
    },
}

/// The kind of a socket.
pub(super) enum Kind {
    /// It has not begun.
    Fresh(Box<TcpSocket>),
    /// The first data connects it (`TCP_FASTOPEN_CONNECT`), to this address.
    Deferred(Box<TcpSocket>, SocketAddr),
    /// It connects.
    Connecting(Connecting),
    /// It was connected.
    Stream(Stream),
    /// It listens; connections that `poll` has found.
    Listener(Arc<TcpListener>, Vec<TcpStream>),
    /// A socket for datagrams.
    Udp(Arc<UdpSocket>),
    /// A socket for datagrams without an address.
    FreshUdp,
    /// The attempt to connect failed.
    Failed,
}

/// A socket as a script has it.
pub(super) struct Socket {
    pub(super) kind: Kind,
    pub(super) v6: bool,
    pub(super) nonblocking: bool,
    pub(super) read_shut: bool,
    pub(super) write_shut: bool,
    /// The error that has not been reported.
    pub(super) error: Option<&'static str>,
    /// The value of `TCP_KEEPIDLE`, in seconds.
    pub(super) keep_idle_secs: u64,
    pub(super) keepalive: bool,
    /// `connect` waits for data if there is a cookie (`TCP_FASTOPEN_CONNECT` of Linux).
    pub(super) defers_connect: bool,
    /// Data may connect it (`TCP_FASTOPEN` of FreeBSD).
    pub(super) data_connects: bool,
}

impl Socket {
    pub(super) fn new(kind: Kind, v6: bool, nonblocking: bool) -> Self {
        Self {
            kind,
            v6,
            nonblocking,
            read_shut: false,
            write_shut: false,
            error: None,
            keep_idle_secs: 7_200,
            keepalive: false,
            defers_connect: false,
            data_connects: false,
        }
    }

    /// Returns true if the socket has no connection, or one that is over.
    pub(super) fn is_closed(&self) -> bool {
        match &self.kind {
            Kind::Fresh(_) | Kind::Failed => true,
            Kind::Stream(stream) => stream.get_ref().info().state == State::Closed,
            _ => false,
        }
    }
}

/// Returns 0.
pub(super) fn zero() -> Called {
    Called::Returned(Returned::Value(0, Vec::new()))
}

/// Returns an error.
pub(super) fn error(name: &'static str) -> Called {
    Called::Returned(Returned::Error(name))
}

impl Ours {
    /// Polls everything that waits. Returns true if something went on.
    pub(super) fn poll_calls(&mut self) -> bool {
        let mut went_on = false;
        let cx = &mut Context::from_waker(Waker::noop());
        let ids: Vec<SocketId> = self.sockets.keys().copied().collect();
        for id in ids {
            went_on |= self.poll_connecting(id, cx);
        }
        let returned = match self.blocked.take() {
            Some(Blocked::Rest(mut rest)) => match rest.as_mut().poll(cx) {
                Poll::Ready(Done::Returned(returned)) => Some(returned),
                Poll::Ready(Done::Accepted(stream, nonblocking)) => {
                    Some(self.accepted(stream, nonblocking))
                }
                Poll::Pending => {
                    self.blocked = Some(Blocked::Rest(rest));
                    None
                }
            },
            Some(Blocked::Connect(id, value)) => {
                let result = self.connected(id, value);
                if result.is_none() {
                    self.blocked = Some(Blocked::Connect(id, value));
                }
                result
            }
            Some(Blocked::Poll { sockets, until }) => {
                let ready = self.ready_now(&sockets);
                let is_over = until.is_some_and(|until| self.now_micros >= until);
                if is_over || ready.iter().any(|events| !events.is_empty()) {
                    Some(Returned::Ready(ready))
                } else {
                    self.blocked = Some(Blocked::Poll { sockets, until });
                    None
                }
            }
            None => None,
        };
        if let Some(returned) = returned {
            self.finished = Some((self.now_micros, returned));
            went_on = true;
        }
        went_on
    }

    /// Returns the time at which a `poll` gives up.
    pub(super) fn poll_deadline(&self) -> Option<i64> {
        match self.blocked {
            Some(Blocked::Poll { until, .. }) => until,
            _ => None,
        }
    }

    pub(super) fn poll_connecting(&mut self, id: SocketId, cx: &mut Context<'_>) -> bool {
        let Some(socket) = self.sockets.get_mut(&id) else {
            return false;
        };
        let Kind::Connecting(attempt) = &mut socket.kind else {
            return false;
        };
        match attempt.as_mut().poll(cx) {
            Poll::Pending => false,
            Poll::Ready(Ok(stream)) => {
                let stream = blocking::TcpStream::from(stream);
                socket.kind = Kind::Stream(Arc::new(stream));
                true
            }
            Poll::Ready(Err(error)) => {
                socket.error = Some(name(&error).unwrap_or("ECONNABORTED"));
                socket.kind = Kind::Failed;
                true
            }
        }
    }

    /// Returns the result of a `connect`, if there is one: `value` if it succeeded.
    fn connected(&mut self, id: SocketId, value: i64) -> Option<Returned> {
        let socket = self.sockets.get_mut(&id)?;
        match &socket.kind {
            Kind::Connecting(_) => None,
            Kind::Failed => {
                let error = socket.error.take().unwrap_or("ECONNABORTED");
                Some(Returned::Error(error))
            }
            _ => Some(Returned::Value(value, Vec::new())),
        }
    }

    fn accepted(&mut self, stream: TcpStream, nonblocking: bool) -> Returned {
        let v6 = stream.local_addr().is_ok_and(|local| local.is_ipv6());
        let kind = Kind::Stream(Arc::new(blocking::TcpStream::from(stream)));
        let id = self.add(Socket::new(kind, v6, nonblocking));
        Returned::Value(id.into(), Vec::new())
    }

    /// Begins a call.
    pub(super) fn begin(&mut self, op: Op) -> Called {
        match op {
            Op::Socket {
                v6,
                udp,
                nonblocking,
            } => {
                let stack = self.stack.stack();
                let fresh = match (udp, v6) {
                    (true, _) => None,
                    (false, false) => Some(TcpSocket::new_v4(stack)),
                    (false, true) => Some(TcpSocket::new_v6(stack)),
                };
                let tcp = &self.settings.config.tcp;
                if let Some(fresh) = &fresh {
                    let set = fresh
                        .set_keepalive_interval(tcp.keepalive_interval)
                        .and_then(|()| fresh.set_keepalive_count(tcp.keepalive_probes.into()));
                    if let Err(failed) = set {
                        return Called::Returned(returned(&failed));
                    }
                }
                let kind = fresh.map_or(Kind::FreshUdp, |fresh| Kind::Fresh(Box::new(fresh)));
                let mut socket = Socket::new(kind, v6, nonblocking);
                socket.keep_idle_secs = self.settings.keep_idle_secs;
                let id = self.add(socket);
                Called::Returned(Returned::Value(id.into(), Vec::new()))
            }
            Op::Close(id) => {
                self.sockets.remove(&id);
                zero()
            }
            Op::Bind(id, address) => self.bind(id, address),
            Op::Listen(id, backlog) => self.listen(id, backlog),
            Op::Accept {
                socket,
                nonblocking,
            } => self.accept(socket, nonblocking),
            Op::Connect(id, to) => self.connect(id, to),
            Op::Shutdown(id, how) => self.shutdown(id, how),
            Op::IsNonblocking(id) => self.with(id, |socket| {
                let value = i64::from(socket.nonblocking);
                Called::Returned(Returned::Value(value, Vec::new()))
            }),
            Op::SetNonblocking(id, nonblocking) => self.with(id, |socket| {
                socket.nonblocking = nonblocking;
                zero()
            }),
            Op::SetOption(id, level, name, value) => self.set_option(id, level, &name, value),
            Op::GetOption(id, level, name) => self.get_option(id, level, &name),
            Op::Poll {
                sockets,
                timeout_millis,
            } => self.poll(sockets, timeout_millis),
            Op::Unread(id) => self.queued(id, true),
            Op::Unsent(id) => self.queued(id, false),
            Op::Receive {
                socket,
                len,
                peek,
                dont_wait,
                wait_all,
            } => self.receive(socket, len, peek, dont_wait, wait_all),
            Op::Send {
                socket,
                data,
                to,
                dont_wait,
                fast_open,
            } => {
                if self.connects(socket, to, fast_open) {
                    self.send_early(socket, &data, to, dont_wait)
                } else {
                    self.send(socket, data, to, dont_wait)
                }
            }
        }
    }

    /// Runs `f` on a socket.
    pub(super) fn with(&mut self, id: SocketId, f: impl FnOnce(&mut Socket) -> Called) -> Called {
        match self.sockets.get_mut(&id) {
            Some(socket) => f(socket),
            None => error("EBADF"),
        }
    }

    fn bind(&mut self, id: SocketId, address: SocketAddr) -> Called {
        let stack = self.stack.stack().clone();
        self.with(id, |socket| match &socket.kind {
            Kind::Fresh(fresh) => Called::Returned(done(fresh.bind(address))),
            Kind::FreshUdp => match UdpSocket::bind_now(&stack, address) {
                Ok(bound) => {
                    socket.kind = Kind::Udp(Arc::new(bound));
                    zero()
                }
                Err(error) => Called::Returned(returned(&error)),
            },
            _ => error("EINVAL"),
        })
    }

    fn listen(&mut self, id: SocketId, backlog: i64) -> Called {
        let pending = self.fast_open.listens().then_some(FAST_OPEN_PENDING);
        self.with(id, |socket| {
            let Kind::Fresh(_) = &socket.kind else {
                return error("EINVAL");
            };
            let Kind::Fresh(fresh) = std::mem::replace(&mut socket.kind, Kind::Failed) else {
                return error("EINVAL");
            };
            if let Some(pending) = pending {
                let _ = fresh.set_fast_open(pending);
            }
            let backlog = u32::try_from(backlog.max(1)).unwrap_or(u32::MAX);
            match fresh.listen(backlog) {
                Ok(listener) => {
                    socket.kind = Kind::Listener(Arc::new(listener), Vec::new());
                    zero()
                }
                Err(error) => Called::Returned(returned(&error)),
            }
        })
    }

    fn accept(&mut self, id: SocketId, nonblocking: bool) -> Called {
        let Some(socket) = self.sockets.get_mut(&id) else {
            return error("EBADF");
        };
        let Kind::Listener(listener, found) = &mut socket.kind else {
            return error("EINVAL");
        };
        if !found.is_empty() {
            let stream = found.remove(0);
            return Called::Returned(self.accepted(stream, nonblocking));
        }
        let cx = &mut Context::from_waker(Waker::noop());
        match listener.poll_accept(cx) {
            Poll::Ready(Ok((stream, _))) => Called::Returned(self.accepted(stream, nonblocking)),
            Poll::Ready(Err(error)) => Called::Returned(returned(&error)),
            Poll::Pending if socket.nonblocking => error("EAGAIN"),
            Poll::Pending => {
                let listener = Arc::clone(listener);
                self.blocked = Some(Blocked::Rest(Box::pin(async move {
                    match std::future::poll_fn(|cx| listener.poll_accept(cx)).await {
                        Ok((stream, _)) => Done::Accepted(stream, nonblocking),
                        Err(error) => Done::Returned(returned(&error)),
                    }
                })));
                Called::Blocks
            }
        }
    }

    fn connect(&mut self, id: SocketId, to: SocketAddr) -> Called {
        let Some(socket) = self.sockets.get_mut(&id) else {
            return error("EBADF");
        };
        match &socket.kind {
            Kind::Fresh(fresh) if socket.defers_connect => {
                if fresh.fast_open_room(to).is_ok_and(|room| room > 0) {
                    if let Kind::Fresh(fresh) = std::mem::replace(&mut socket.kind, Kind::Failed) {
                        socket.kind = Kind::Deferred(fresh, to);
                    }
                    return zero();
                }
                let nonblocking = socket.nonblocking;
                return self.begin_early(id, to, Vec::new(), nonblocking, 0);
            }
            Kind::Fresh(_) => {}
            Kind::Connecting(_) => return error("EALREADY"),
            Kind::Stream(_) | Kind::Deferred(..) => return error("EISCONN"),
            Kind::Failed => {
                let name = socket.error.take().unwrap_or("ECONNABORTED");
                return error(name);
            }
            Kind::Udp(_) | Kind::FreshUdp => return self.connect_udp(id, to),
            Kind::Listener(..) => return error("EISCONN"),
        }
        if let Kind::Fresh(fresh) = std::mem::replace(&mut socket.kind, Kind::Failed) {
            socket.kind = Kind::Connecting(Box::pin(fresh.connect(to)));
        }
        let nonblocking = socket.nonblocking;
        let cx = &mut Context::from_waker(Waker::noop());
        self.poll_connecting(id, cx);
        match self.connected(id, 0) {
            Some(returned) => Called::Returned(returned),
            None if nonblocking => error("EINPROGRESS"),
            None => {
                self.blocked = Some(Blocked::Connect(id, 0));
                Called::Blocks
            }
        }
    }

    fn shutdown(&mut self, id: SocketId, how: Shutdown) -> Called {
        self.with(id, |socket| {
            let stream = match &socket.kind {
                Kind::Stream(stream) => Arc::clone(stream),
                Kind::Connecting(_) | Kind::Listener(..) => {
                    let what = "shutdown of a socket that is not connected";
                    return Called::Returned(Returned::Unsupported(what.to_owned()));
                }
                _ => return error("ENOTCONN"),
            };
            socket.read_shut |= how != Shutdown::Write;
            if how == Shutdown::Read {
                return zero();
            }
            socket.write_shut = true;
            Called::Returned(done(stream.shutdown_write()))
        })
    }
}
