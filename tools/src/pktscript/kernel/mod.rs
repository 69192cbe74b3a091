//! The Linux kernel in real time as the host of a script: its sockets, and a TUN device in a network namespace of
//! the script's own.
//!
//! A namespace belongs to a thread, so a script against the kernel runs on a thread that is made for it. The
//! namespace ends with the thread.

mod calls;
mod info;
mod namespace;
mod options;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use socket2::Socket;

use super::code::Names;
use super::host::{Called, Events, Host, Op, Returned, SocketId};
use super::real_time::RealTime;
use super::settings::Settings;
use crate::live::clock;
use crate::live::namespace::{Tun, set};

pub(super) use namespace::DEVICE;

/// A socket of the kernel.
struct Open {
    socket: Socket,
    nonblocking: bool,
}

/// The Linux kernel.
pub struct Kernel {
    tun: Tun,
    time: RealTime,
    sockets: HashMap<SocketId, Open>,
    next_id: SocketId,
    /// Where the call that blocks sends its result.
    blocked: Option<Receiver<(Instant, calls::Result)>>,
    finished: Option<(i64, Returned)>,
}

impl Kernel {
    /// Moves this thread to a network namespace of its own with a TUN device, and applies the settings. Those that the
    /// kernel does not have are left in [`Settings::missing`].
    ///
    /// # Errors
    /// The process may not make a namespace or a device.
    pub fn new(settings: &mut Settings) -> Result<Self, String> {
        let tun = namespace::new(settings)?;
        Ok(Self {
            tun,
            time: RealTime::new(),
            sockets: HashMap::new(),
            next_id: 3,
            blocked: None,
            finished: None,
        })
    }

    /// Takes what the kernel has sent, and the result of the call that blocked.
    fn look(&mut self) {
        self.time.take(|| self.tun.receive());
        let result = self.blocked.as_ref().and_then(|call| call.try_recv().ok());
        if let Some((at, result)) = result {
            self.blocked = None;
            let at = self.time.micros(at);
            let returned = self.note(result);
            self.finished = Some((at, returned));
        }
    }

    /// Turns the result of a call into what the script sees; a new socket gets a number.
    fn note(&mut self, result: calls::Result) -> Returned {
        match result {
            calls::Result::Returned(returned) => returned,
            calls::Result::Made(socket, nonblocking) => {
                let id = self.next_id;
                self.next_id += 1;
                let open = Open {
                    socket,
                    nonblocking,
                };
                self.sockets.insert(id, open);
                Returned::Value(id.into(), Vec::new())
            }
        }
    }

    /// Runs a call that may block, on a thread of its own, which is in the same namespace.
    fn wait_for(&mut self, call: impl FnOnce() -> calls::Result + Send + 'static) -> Called {
        let (sender, receiver) = channel();
        thread::spawn(move || {
            let result = call();
            let _ = sender.send((clock(), result));
        });
        self.blocked = Some(receiver);
        // One that does not block after all has returned soon.
        let soon = self.now() + 2_000;
        let _ = self.wait(soon, false, true);
        match self.finished.take() {
            Some((_, returned)) => Called::Returned(returned),
            None => Called::Blocks,
        }
    }

    fn poll(&mut self, sockets: &[(SocketId, Events)], timeout_millis: i64) -> Called {
        let mut asked = Vec::new();
        for (id, events) in sockets {
            let socket = self.sockets.get(id).map(|open| open.socket.try_clone());
            match socket.transpose() {
                Ok(socket) => asked.push((socket, *events)),
                Err(error) => return Called::Returned(calls::failed(&error)),
            }
        }
        if timeout_millis == 0 {
            let returned = calls::poll(&asked, 0);
            self.look();
            return Called::Returned(returned);
        }
        self.wait_for(move || calls::Result::Returned(calls::poll(&asked, timeout_millis)))
    }
}

impl Host for Kernel {
    fn now(&mut self) -> i64 {
        self.time.now()
    }

    fn wait(&mut self, until: i64, or_packet: bool, or_call: bool) -> Result<(), String> {
        loop {
            self.look();
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
        self.tun.send(packet)
    }

    fn call(&mut self, op: Op) -> Called {
        self.look();
        match op {
            Op::Close(id) => {
                self.sockets.remove(&id);
                return Called::Returned(Returned::Value(0, Vec::new()));
            }
            Op::SetNonblocking(id, nonblocking) => {
                if let Some(open) = self.sockets.get_mut(&id) {
                    open.nonblocking = nonblocking;
                }
            }
            Op::Poll {
                sockets,
                timeout_millis,
            } => return self.poll(&sockets, timeout_millis),
            _ => {}
        }
        let id = calls::socket_of(&op);
        let (socket, nonblocking) = match id.map(|id| self.sockets.get(&id)) {
            Some(Some(open)) => match open.socket.try_clone() {
                Ok(socket) => (Some(socket), open.nonblocking),
                Err(error) => return Called::Returned(calls::failed(&error)),
            },
            Some(None) => return Called::Returned(Returned::Error("EBADF")),
            None => (None, false),
        };
        if nonblocking || !calls::may_block(&op) {
            let result = calls::run(&op, socket.as_ref(), nonblocking);
            let returned = self.note(result);
            self.look();
            return Called::Returned(returned);
        }
        self.wait_for(move || calls::run(&op, socket.as_ref(), false))
    }

    fn finished(&mut self) -> Option<(i64, Returned)> {
        self.look();
        self.finished.take()
    }

    fn tcp_info(&mut self, local: SocketAddr, remote: SocketAddr) -> Result<Names, String> {
        info::of(local, remote)
    }

    fn count(&mut self, state: &str) -> Option<usize> {
        namespace::count(state)
    }

    fn local(&mut self, socket: SocketId) -> Option<SocketAddr> {
        self.sockets
            .get(&socket)?
            .socket
            .local_addr()
            .ok()?
            .as_socket()
    }

    fn set(&mut self, name: &str, value: &str) -> bool {
        set(name, value)
    }
}
