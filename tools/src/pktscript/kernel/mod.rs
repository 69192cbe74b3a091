//! The Linux kernel in real time as the host of a script: its sockets, and a TUN device in a network namespace of
//! the script's own.
//!
//! A namespace belongs to a thread, so a script against the kernel runs on a thread that is made for it. The
//! namespace ends with the thread.

mod calls;
mod namespace;
mod options;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::code::Names;
use super::host::{Called, Host, Op, Returned, SocketId};
use super::settings::Settings;
use namespace::Namespace;
pub(crate) use namespace::ip;

/// Longest sleep between two looks at the device.
const LOOK: Duration = Duration::from_micros(200);

/// Most packets that wait to be compared.
const MAX_WAITING: usize = 100_000;

/// A socket of the kernel.
struct Open {
    socket: Socket,
    nonblocking: bool,
}

/// The Linux kernel.
pub struct Kernel {
    namespace: Namespace,
    start: Instant,
    sent: VecDeque<(i64, Vec<u8>)>,
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
        let namespace = Namespace::new(settings)?;
        Ok(Self {
            namespace,
            start: clock(),
            sent: VecDeque::new(),
            sockets: HashMap::new(),
            next_id: 3,
            blocked: None,
            finished: None,
        })
    }

    fn micros(&self, at: Instant) -> i64 {
        let since = at.saturating_duration_since(self.start);
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    /// Takes what the kernel has sent, and the result of the call that blocked.
    fn look(&mut self) {
        while let Some(packet) = self.namespace.receive() {
            let now = self.micros(clock());
            if self.sent.len() < MAX_WAITING {
                self.sent.push_back((now, packet));
            }
        }
        let result = self.blocked.as_ref().and_then(|call| call.try_recv().ok());
        if let Some((at, result)) = result {
            self.blocked = None;
            let at = self.micros(at);
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
}

/// Returns the time.
#[allow(clippy::disallowed_methods)] // The kernel runs in real time.
fn clock() -> Instant {
    Instant::now()
}

impl Host for Kernel {
    fn now(&mut self) -> i64 {
        self.micros(clock())
    }

    fn wait(&mut self, until: i64, or_packet: bool, or_call: bool) -> Result<(), String> {
        loop {
            self.look();
            let left = until - self.now();
            let is_done = (or_packet && !self.sent.is_empty())
                || (or_call && self.finished.is_some())
                || left <= 0;
            if is_done {
                return Ok(());
            }
            let left = Duration::from_micros(u64::try_from(left).unwrap_or(0));
            thread::sleep(left.min(LOOK));
        }
    }

    fn packet(&mut self) -> Option<(i64, Vec<u8>)> {
        self.look();
        self.sent.pop_front()
    }

    fn deliver(&mut self, packet: &[u8]) -> Result<(), String> {
        self.look();
        self.namespace.send(packet)
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
            Op::Poll { .. } => {
                let what = "poll against the kernel".to_owned();
                return Called::Returned(Returned::Unsupported(what));
            }
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
        // On a thread of its own, which is in the same namespace.
        let (sender, receiver) = channel();
        thread::spawn(move || {
            let result = calls::run(&op, socket.as_ref(), false);
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

    fn finished(&mut self) -> Option<(i64, Returned)> {
        self.look();
        self.finished.take()
    }

    fn tcp_info(&mut self, _local: SocketAddr, _remote: SocketAddr) -> Result<Names, String> {
        Err("tcp_info of the kernel".to_owned())
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
        namespace::set(name, value)
    }
}
