//! Calls on sockets of the daemon.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::datagrams::Datagrams;
use super::sockets::Kind;
use super::{Daemon, UNREAD, info, zero};
use crate::live::control::Nc;
use crate::pktscript::host::{Called, Op, OptionValue, Returned, Shutdown, SocketId};
use crate::pktscript::run::errno;

impl Daemon {
    pub(super) fn connect(&mut self, id: SocketId, to: SocketAddr) -> Called {
        let control = self.process.control().to_owned();
        let Some(open) = self.sockets.get_mut(&id) else {
            return Called::Returned(Returned::Error("EBADF"));
        };
        let nonblocking = open.nonblocking;
        let again = match &open.kind {
            Kind::Fresh { udp: true, .. } | Kind::Datagrams(_) => {
                return Called::Returned(self.open_datagrams(id, None, Some(to)));
            }
            Kind::Fresh { local, .. } => match Nc::connect(&control, *local, to, &open.options) {
                Ok(nc) => {
                    open.kind = Kind::Connecting(nc);
                    "EINPROGRESS"
                }
                Err(why) => return Called::Returned(Returned::Unsupported(why)),
            },
            Kind::Connecting(_) => "EALREADY",
            Kind::Stream(_) => return Called::Returned(Returned::Error("EISCONN")),
            Kind::Listener { .. } => return Called::Returned(Returned::Error("EOPNOTSUPP")),
            Kind::Failed(_) => "EALREADY",
        };
        self.begin(Op::Connect(id, to), nonblocking, again)
    }

    /// Opens the socket for datagrams behind `id`, in the place of the one that it has: an `nc` is bound and connected
    /// once.
    fn open_datagrams(
        &mut self,
        id: SocketId,
        local: Option<SocketAddr>,
        remote: Option<SocketAddr>,
    ) -> Returned {
        let control = self.process.control().to_owned();
        let Some(open) = self.sockets.get_mut(&id) else {
            return Returned::Error("EBADF");
        };
        let kind = std::mem::replace(&mut open.kind, Kind::Failed(None));
        let local = match kind {
            Kind::Datagrams(before) => {
                let bound = before.local;
                if let failed @ Returned::Unsupported(_) = before.close() {
                    return failed;
                }
                Some(bound)
            }
            _ => local,
        };
        match Nc::datagrams(&control, local, remote, &open.options) {
            Ok((nc, local)) => {
                open.kind = Kind::Datagrams(Box::new(Datagrams::new(nc, local, remote)));
                zero()
            }
            Err(why) => Returned::Unsupported(why),
        }
    }

    fn bind(&mut self, id: SocketId, address: SocketAddr) -> Returned {
        match self.sockets.get_mut(&id).map(|open| &mut open.kind) {
            Some(Kind::Fresh { v6, udp: true, .. }) if *v6 == address.is_ipv6() => {
                self.open_datagrams(id, Some(address), None)
            }
            Some(Kind::Fresh { v6, local, .. }) if *v6 == address.is_ipv6() => {
                *local = Some(address);
                zero()
            }
            Some(_) => Returned::Error("EINVAL"),
            None => Returned::Error("EBADF"),
        }
    }

    fn listen(&mut self, id: SocketId) -> Returned {
        let options = self.sockets.get(&id).map(|open| open.options.clone());
        let local = match self.sockets.get(&id).map(|open| &open.kind) {
            Some(Kind::Fresh { udp: true, .. } | Kind::Datagrams(_)) => {
                return Returned::Error("EOPNOTSUPP");
            }
            Some(Kind::Fresh {
                local: Some(local), ..
            }) => *local,
            Some(Kind::Fresh { local: None, .. }) => {
                let what = "listen without bind, against the daemon";
                return Returned::Unsupported(what.to_owned());
            }
            Some(Kind::Listener { .. }) => return zero(),
            Some(_) => return Returned::Error("EINVAL"),
            None => return Returned::Error("EBADF"),
        };
        // The list of sockets would show the other one.
        let is_other =
            |kind: &Kind| matches!(kind, Kind::Listener { local: other, .. } if *other == local);
        if self.sockets.values().any(|open| is_other(&open.kind)) {
            return Returned::Error("EADDRINUSE");
        }
        let begun = self.begin_to_listen(local, &options.unwrap_or_default());
        match (begun, self.sockets.get_mut(&id)) {
            (Ok(waiting), Some(open)) => {
                open.kind = Kind::Listener {
                    local,
                    waiting: Some(waiting),
                    accepted: VecDeque::new(),
                };
                zero()
            }
            (Err(returned), _) => returned,
            (_, None) => Returned::Error("EBADF"),
        }
    }

    fn close(&mut self, id: SocketId) -> Returned {
        let Some(open) = self.sockets.remove(&id) else {
            return Returned::Error("EBADF");
        };
        match open.kind {
            Kind::Fresh { .. } | Kind::Failed(_) => zero(),
            Kind::Datagrams(datagrams) => datagrams.close(),
            Kind::Stream(stream) if stream.unread() > 0 => Returned::Unsupported(UNREAD.to_owned()),
            Kind::Stream(stream) => {
                self.closing.push(stream.close());
                zero()
            }
            Kind::Listener { accepted, .. } if !accepted.is_empty() => {
                let what = "close of a listener with connections that nobody accepted";
                Returned::Unsupported(format!("{what}, against the daemon"))
            }
            Kind::Listener { waiting: None, .. } => zero(),
            Kind::Listener {
                waiting: Some(mut nc),
                ..
            }
            | Kind::Connecting(mut nc) => match nc.close_now() {
                Ok(()) => zero(),
                Err(why) => Returned::Unsupported(why),
            },
        }
    }

    fn shut_down(&mut self, id: SocketId, how: Shutdown) -> Returned {
        match self.sockets.get_mut(&id).map(|open| &mut open.kind) {
            Some(Kind::Stream(stream)) if how == Shutdown::Write => stream.shut_down(),
            Some(Kind::Stream(_)) => {
                Returned::Unsupported("shutdown of reading against the daemon".to_owned())
            }
            Some(_) => Returned::Error("ENOTCONN"),
            None => Returned::Error("EBADF"),
        }
    }

    fn send(&mut self, id: SocketId, data: &[u8], to: Option<SocketAddr>) -> Returned {
        self.await_end(id);
        let most = self.send_buffer;
        if let Some(to) = to {
            match self.sockets.get(&id).map(|open| &open.kind) {
                Some(Kind::Fresh { udp: true, .. }) => {
                    let opened = self.open_datagrams(id, None, Some(to));
                    if let Returned::Unsupported(_) = opened {
                        return opened;
                    }
                }
                Some(Kind::Datagrams(_)) => {}
                _ => {
                    let what = "data with an address against the daemon";
                    return Returned::Unsupported(what.to_owned());
                }
            }
        }
        match self.sockets.get_mut(&id).map(|open| &mut open.kind) {
            Some(Kind::Datagrams(datagrams)) => datagrams.send(data, to),
            Some(Kind::Fresh { udp: true, .. }) => Returned::Error("EDESTADDRREQ"),
            Some(Kind::Stream(stream)) => stream.write(data, most),
            Some(Kind::Failed(error)) => error.take().unwrap_or(Returned::Error("EPIPE")),
            Some(Kind::Connecting(_)) => {
                Returned::Unsupported("a write before the handshake is over".to_owned())
            }
            Some(_) => Returned::Error("EPIPE"),
            None => Returned::Error("EBADF"),
        }
    }

    /// Returns an option; only the pending error is one that can be told.
    fn option(&mut self, id: SocketId, name: &str) -> Returned {
        if name != "SO_ERROR" {
            return Returned::Unsupported(format!("{name} against the daemon"));
        }
        self.await_end(id);
        let pending = match self.sockets.get_mut(&id).map(|open| &mut open.kind) {
            Some(Kind::Failed(error)) => error.take(),
            Some(Kind::Stream(stream)) => stream.take_error(),
            Some(Kind::Datagrams(datagrams)) => datagrams.take_error(),
            Some(_) => None,
            None => return Returned::Error("EBADF"),
        };
        match pending {
            Some(Returned::Error(name)) => {
                Returned::Option(OptionValue::Int(errno(name).unwrap_or(0)))
            }
            Some(other) => other,
            None => Returned::Option(OptionValue::Int(0)),
        }
    }

    /// Waits a little for the end of a connection that the daemon does not list any more, and for that of an attempt to
    /// connect: it takes a moment until the daemon tells it.
    fn await_end(&mut self, id: SocketId) {
        let mut is_waiting = match self.sockets.get(&id).map(|open| &open.kind) {
            Some(Kind::Connecting(_)) => true,
            Some(Kind::Stream(stream)) if !stream.is_over() => {
                let (local, remote) = (stream.local, stream.remote);
                info::row(&mut self.list, local, remote).is_err()
            }
            _ => false,
        };
        let end = self.time.now() + self.grace_micros;
        while is_waiting && self.time.sleep(end) {
            self.look();
            is_waiting = match self.sockets.get(&id).map(|open| &open.kind) {
                Some(Kind::Connecting(_)) => true,
                Some(Kind::Stream(stream)) => !stream.is_over(),
                _ => false,
            };
        }
    }

    /// Makes a call that returns at once.
    pub(super) fn at_once(&mut self, op: &Op) -> Returned {
        match op {
            Op::Socket {
                v6,
                udp,
                nonblocking,
            } => self.add(
                Kind::Fresh {
                    v6: *v6,
                    udp: *udp,
                    local: None,
                },
                *nonblocking,
            ),
            Op::Bind(id, address) => self.bind(*id, *address),
            Op::Listen(id, _) => self.listen(*id),
            Op::Shutdown(id, how) => self.shut_down(*id, *how),
            Op::Close(id) => self.close(*id),
            Op::Send {
                socket, data, to, ..
            } => self.send(*socket, data, *to),
            Op::IsNonblocking(id) => match self.sockets.get(id) {
                Some(open) => Returned::Value(open.nonblocking.into(), Vec::new()),
                None => Returned::Error("EBADF"),
            },
            Op::SetNonblocking(id, nonblocking) => match self.sockets.get_mut(id) {
                Some(open) => {
                    open.nonblocking = *nonblocking;
                    zero()
                }
                None => Returned::Error("EBADF"),
            },
            Op::SetOption(id, level, name, value) => self.set_option(*id, level, name, *value),
            Op::GetOption(id, _, name) => self.option(*id, name),
            Op::Unread(id) => match self.sockets.get(id).map(|open| &open.kind) {
                Some(Kind::Stream(stream)) => Returned::Value(stream.unread() as i64, Vec::new()),
                _ => Returned::Error("EINVAL"),
            },
            Op::Unsent(id) => self.unsent(*id),
            Op::Accept { .. } | Op::Connect(..) | Op::Receive { .. } | Op::Poll { .. } => {
                Returned::Unsupported("this call against the daemon".to_owned())
            }
        }
    }

    fn unsent(&mut self, id: SocketId) -> Returned {
        let ends = match self.sockets.get(&id).map(|open| &open.kind) {
            Some(Kind::Stream(stream)) => (stream.local, stream.remote),
            _ => return Returned::Error("EINVAL"),
        };
        match info::row(&mut self.list, ends.0, ends.1) {
            Ok(row) => Returned::Value(row["send_q"].as_i64().unwrap_or(0), Vec::new()),
            Err(why) => Returned::Unsupported(why),
        }
    }

    pub(super) fn is_nonblocking(&self, id: SocketId) -> bool {
        self.sockets.get(&id).is_some_and(|open| open.nonblocking)
    }
}
