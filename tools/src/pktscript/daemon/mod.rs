//! A `netstackd` in real time as the host of a script: a process in a network namespace of the script's own. The script's
//! packets reach it through the kernel, which is a router between two TUN devices there.
//!
//! The daemon has no socket calls for others. Its control socket has `nc`, which carries one connection, or the datagrams of
//! one peer: that is enough to listen, accept, connect, read, write, set some options, wait, end and close. All other calls
//! are not supported, by name. `nc` reads at once, so data never stays unread in the daemon; a script in which some does is told
//! about it.

mod calls;
mod config;
mod datagrams;
mod info;
mod options;
mod ready;
mod sockets;
mod streams;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;

use super::code::Names;
use super::host::{Called, Host, Op, Returned, SocketId};
use super::kernel::DEVICE;
use super::real_time::RealTime;
use super::settings::Settings;
use crate::live;
use crate::live::control::{Nc, News, SocketOptions, Sockets};
use crate::live::namespace::enter_new;
use crate::live::router::Router;
use sockets::{Kind, Open};
use streams::failed;

/// Names the lack of a script in which data stays unread.
const UNREAD: &str = "data that stays unread (the daemon's nc reads at once)";

/// Longest time that a call which does not block waits for news of the daemon, in microseconds.
const GRACE_MICROS: i64 = 200_000;

/// A daemon that runs.
pub struct Daemon {
    router: Router,
    process: live::Daemon,
    list: Sockets,
    time: RealTime,
    grace_micros: i64,
    /// Bytes that a socket takes without waiting for the peer.
    send_buffer: usize,
    sockets: HashMap<SocketId, Open>,
    closing: Vec<Nc>,
    next_id: SocketId,
    blocked: Option<Op>,
    /// The time at which the `poll` that blocks gives up, in microseconds; none: never.
    poll_ends: Option<i64>,
    finished: Option<(i64, Returned)>,
    had_unread: bool,
    failure: Option<String>,
}

impl Daemon {
    /// Moves this thread to a network namespace of its own and starts `program` there with the settings. Those that it
    /// does not have are left in [`Settings::missing`].
    ///
    /// # Errors
    /// The process may not make a namespace or a device, or the daemon does not start.
    pub fn new(settings: &mut Settings, program: &Path) -> Result<Self, String> {
        enter_new()?;
        let config = settings.final_config();
        config::note_missing(settings);
        let keys = config::keys(&config);
        let process = live::Daemon::start(program, &[settings.local], settings.mtu, &keys)?;
        let router = Router::open(DEVICE, settings.mtu, &[], settings.v6)?;
        let list = Sockets::open(process.control())?;
        Ok(Self {
            router,
            process,
            list,
            time: RealTime::new(),
            grace_micros: (settings.tolerance_micros / 2).min(GRACE_MICROS),
            send_buffer: config.tcp.send_buffer_initial.min(config.tcp.send_buffer),
            sockets: HashMap::new(),
            closing: Vec::new(),
            next_id: 3,
            blocked: None,
            poll_ends: None,
            finished: None,
            had_unread: false,
            failure: None,
        })
    }

    /// Takes what the daemon has sent, what became of its sockets, and the result of the call that blocks.
    fn look(&mut self) {
        self.time.take(|| self.router.receive());
        let mut taken = Vec::new();
        for open in self.sockets.values_mut() {
            taken.extend(open.kind.look());
        }
        for local in taken {
            self.listen_again(local);
        }
        self.closing
            .retain_mut(|nc| !matches!(nc.news(), Some(News::Ended | News::Failed(_))));
        if let Some(op) = self.blocked.take() {
            match self.attempt(&op) {
                Some(returned) => self.finished = Some((self.time.now(), returned)),
                None => self.blocked = Some(op),
            }
        }
    }

    /// Listens for the next connection: an `nc` takes only one.
    fn listen_again(&mut self, local: SocketAddr) {
        let is_this = |open: &&Open| matches!(&open.kind, Kind::Listener { local: of_this, .. } if *of_this == local);
        let options = self.sockets.values().find(is_this);
        let options = options.map(|open| open.options.clone()).unwrap_or_default();
        let begun = self.begin_to_listen(local, &options);
        for open in self.sockets.values_mut() {
            if let Kind::Listener {
                local: of_this,
                waiting,
                ..
            } = &mut open.kind
                && *of_this == local
            {
                match begun {
                    Ok(nc) => *waiting = Some(nc),
                    Err(returned) => self.failure = Some(format!("listen: {returned:?}")),
                }
                return;
            }
        }
    }

    fn begin_to_listen(
        &mut self,
        local: SocketAddr,
        options: &SocketOptions,
    ) -> Result<Nc, Returned> {
        let unsupported = |why: String| Returned::Unsupported(why);
        let mut nc = Nc::listen(self.process.control(), local, options).map_err(unsupported)?;
        if let Err(why) = self.list.await_listener(local) {
            return Err(match nc.news() {
                Some(News::Failed(sentence)) => failed(&sentence),
                _ => Returned::Unsupported(why),
            });
        }
        Ok(nc)
    }

    fn add(&mut self, kind: Kind, nonblocking: bool) -> Returned {
        let id = self.next_id;
        self.next_id += 1;
        self.sockets.insert(id, Open::new(kind, nonblocking));
        Returned::Value(id.into(), Vec::new())
    }

    /// Tries a call that may block; `None` if it would.
    fn attempt(&mut self, op: &Op) -> Option<Returned> {
        match op {
            Op::Accept {
                socket,
                nonblocking,
            } => {
                let Some(open) = self.sockets.get_mut(socket) else {
                    return Some(Returned::Error("EBADF"));
                };
                let Kind::Listener { accepted, .. } = &mut open.kind else {
                    return Some(Returned::Error("EINVAL"));
                };
                let stream = accepted.pop_front()?;
                Some(self.add(Kind::Stream(Box::new(stream)), *nonblocking))
            }
            Op::Connect(id, _) => match &mut self.sockets.get_mut(id)?.kind {
                Kind::Stream(_) => Some(zero()),
                Kind::Failed(error) => {
                    Some(error.take().unwrap_or(Returned::Error("ECONNABORTED")))
                }
                _ => None,
            },
            Op::Receive {
                socket,
                len,
                peek,
                wait_all,
                ..
            } => match &mut self.sockets.get_mut(socket)?.kind {
                Kind::Stream(stream) => stream.read(*len, *peek, *wait_all),
                Kind::Datagrams(datagrams) => datagrams.receive(*len, *peek),
                Kind::Failed(error) => Some(error.take().unwrap_or_else(zero)),
                Kind::Connecting(_) => None,
                _ => Some(Returned::Error("ENOTCONN")),
            },
            Op::Poll { sockets, .. } => self.poll(sockets),
            _ => Some(Returned::Unsupported(
                "this call against the daemon".to_owned(),
            )),
        }
    }

    /// Makes a call that may block. One that must not waits a little all the same, because news of the daemon takes a moment;
    /// then it returns `or_else`.
    fn begin(&mut self, op: Op, nonblocking: bool, or_else: &'static str) -> Called {
        let end = self.time.now()
            + if nonblocking {
                self.grace_micros
            } else {
                2_000
            };
        loop {
            self.look();
            if let Some(returned) = self.attempt(&op) {
                return Called::Returned(returned);
            }
            if !self.time.sleep(end) {
                break;
            }
        }
        if nonblocking {
            return Called::Returned(match op {
                Op::Poll { sockets, .. } => Returned::Ready(self.ready_now(&sockets)),
                _ => Returned::Error(or_else),
            });
        }
        self.blocked = Some(op);
        Called::Blocks
    }
}

fn zero() -> Returned {
    Returned::Value(0, Vec::new())
}

impl Host for Daemon {
    fn now(&mut self) -> i64 {
        self.time.now()
    }

    fn wait(&mut self, until: i64, or_packet: bool, or_call: bool) -> Result<(), String> {
        loop {
            self.look();
            if let Some(failure) = &self.failure {
                return Err(failure.clone());
            }
            let is_done = (or_packet && self.time.has_packet())
                || (or_call && self.finished.is_some())
                || !self.time.sleep(until);
            if is_done {
                return Ok(());
            }
        }
    }

    fn packet(&mut self) -> Option<(i64, Vec<u8>)> {
        self.look();
        self.time.packet()
    }

    fn deliver(&mut self, packet: &[u8]) -> Result<(), String> {
        self.look();
        self.had_unread |= self
            .sockets
            .values()
            .any(|open| matches!(&open.kind, Kind::Stream(stream) if stream.unread() > 0));
        self.router.send(packet)
    }

    fn call(&mut self, op: Op) -> Called {
        self.look();
        match op {
            Op::Connect(id, to) => self.connect(id, to),
            Op::Accept { socket, .. } => {
                let nonblocking = self.is_nonblocking(socket);
                self.begin(op, nonblocking, "EAGAIN")
            }
            Op::Receive {
                socket, dont_wait, ..
            } => {
                let nonblocking = dont_wait || self.is_nonblocking(socket);
                self.begin(op, nonblocking, "EAGAIN")
            }
            Op::Poll { timeout_millis, .. } => {
                self.poll_ends = u64::try_from(timeout_millis).ok().map(|millis| {
                    let wait = i64::try_from(millis.saturating_mul(1_000)).unwrap_or(i64::MAX);
                    self.time.now().saturating_add(wait.max(self.grace_micros))
                });
                self.begin(op, timeout_millis == 0, "EAGAIN")
            }
            _ => Called::Returned(self.at_once(&op)),
        }
    }

    fn finished(&mut self) -> Option<(i64, Returned)> {
        self.look();
        self.finished.take()
    }

    fn tcp_info(&mut self, local: SocketAddr, remote: SocketAddr) -> Result<Names, String> {
        info::row(&mut self.list, local, remote).map(|row| info::names(&row))
    }

    fn count(&mut self, state: &str) -> Option<usize> {
        info::count(&mut self.list, state)
    }

    fn local(&mut self, socket: SocketId) -> Option<SocketAddr> {
        match &self.sockets.get(&socket)?.kind {
            Kind::Stream(stream) => Some(stream.local),
            Kind::Datagrams(datagrams) => Some(datagrams.local),
            _ => None,
        }
    }

    fn missing(&self) -> Option<String> {
        self.had_unread.then(|| UNREAD.to_owned())
    }
}
