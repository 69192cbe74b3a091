//! This project's stack on virtual time as the host of a script.

mod errors;
mod fast_open;
mod info;
mod options;
mod ready;
mod sockets;
mod streams;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use netstack::tcp::State;

use super::code::Names;
use super::host::{Called, Host, Op, Returned, SocketId};
use super::settings::{Settings, is_fast_open_mode, number};
use crate::virtual_stack::VirtualStack;
use fast_open::FastOpenSetting;
use sockets::{Blocked, Kind, Socket};

/// Settings of the system that a socket takes when it is made, so that they may change at any time.
const OF_NEW_SOCKETS: [&str; 6] = [
    "net.inet.tcp.keepidle",
    "net.inet.tcp.keepintvl",
    "net.inet.tcp.keepcnt",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
];

/// Most packets that wait to be compared.
const MAX_WAITING: usize = 100_000;

/// This project's stack on virtual time.
pub struct Ours {
    stack: VirtualStack,
    settings: Settings,
    now_micros: i64,
    sent: VecDeque<(i64, Vec<u8>)>,
    sockets: HashMap<SocketId, Socket>,
    next_id: SocketId,
    blocked: Option<Blocked>,
    finished: Option<(i64, Returned)>,
    /// The receive buffer that a socket has before it connects.
    recv_space: i64,
    fast_open: FastOpenSetting,
    failure: Option<String>,
}

impl Ours {
    /// Creates a stack with these settings. All its random numbers come from `seed`.
    ///
    /// # Errors
    /// The settings contradict each other.
    pub fn new(settings: &Settings, seed: u64) -> Result<Self, String> {
        let prefix = if settings.v6 { 64 } else { 16 };
        let config = settings.final_config();
        let initial = config.tcp.recv_buffer_initial;
        let recv_space = settings
            .recv_space
            .map_or_else(|| i64::try_from(initial).unwrap_or(i64::MAX), i64::from);
        let addresses = [(settings.local, prefix)];
        let stack = VirtualStack::new(config, &addresses, settings.mtu, seed)
            .map_err(|error| error.to_string())?;
        if let Some(key) = settings.fast_open_key {
            stack.stack().set_fast_open_keys(key, None);
        }
        Ok(Self {
            stack,
            settings: settings.clone(),
            now_micros: 0,
            sent: VecDeque::new(),
            sockets: HashMap::new(),
            next_id: 3,
            blocked: None,
            finished: None,
            recv_space,
            fast_open: FastOpenSetting(settings.fast_open),
            failure: None,
        })
    }

    fn time(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.now_micros).unwrap_or(0))
    }

    /// Lets the stack and the calls that block do what they can now. Returns the time of the next timer.
    fn settle(&mut self) -> Option<i64> {
        loop {
            let mut sent = Vec::new();
            let next = match self.stack.settle(self.time(), &mut sent) {
                Ok(next) => next,
                Err(error) => {
                    self.failure = Some(error.to_string());
                    None
                }
            };
            let now = self.now_micros;
            self.sent
                .extend(sent.into_iter().map(|packet| (now, packet)));
            self.sent.truncate(MAX_WAITING);
            if !self.poll_calls() {
                // Rounded up, so that the timer is due then.
                return next.map(|next| {
                    i64::try_from(next.as_nanos().div_ceil(1_000)).unwrap_or(i64::MAX)
                });
            }
        }
    }

    fn add(&mut self, socket: Socket) -> SocketId {
        let id = self.next_id;
        self.next_id += 1;
        self.sockets.insert(id, socket);
        id
    }
}

impl Host for Ours {
    fn now(&mut self) -> i64 {
        self.now_micros
    }

    fn wait(&mut self, until: i64, or_packet: bool, or_call: bool) -> Result<(), String> {
        loop {
            let next = self.settle();
            if let Some(failure) = &self.failure {
                return Err(failure.clone());
            }
            let is_done = (or_packet && !self.sent.is_empty())
                || (or_call && self.finished.is_some())
                || self.now_micros >= until;
            if is_done {
                return Ok(());
            }
            let timers = [next, self.poll_deadline()];
            let next = timers.into_iter().flatten().min().unwrap_or(until);
            self.now_micros = next.clamp(self.now_micros + 1, until);
        }
    }

    fn packet(&mut self) -> Option<(i64, Vec<u8>)> {
        self.sent.pop_front()
    }

    fn deliver(&mut self, packet: &[u8]) -> Result<(), String> {
        self.stack.deliver(packet.to_vec(), 0);
        self.settle();
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn call(&mut self, op: Op) -> Called {
        // What was to happen before now has happened.
        self.settle();
        let called = self.begin(op);
        self.settle();
        match called {
            // The first poll may have been enough.
            Called::Blocks => match self.finished.take() {
                Some((_, returned)) => Called::Returned(returned),
                None => Called::Blocks,
            },
            returned @ Called::Returned(_) => returned,
        }
    }

    fn finished(&mut self) -> Option<(i64, Returned)> {
        self.finished.take()
    }

    fn tcp_info(&mut self, local: SocketAddr, remote: SocketAddr) -> Result<Names, String> {
        let of_socket = self.sockets.values().find_map(|socket| match &socket.kind {
            Kind::Stream(stream) => {
                let stream = stream.get_ref();
                let matches = stream.local_addr().ok() == Some(local)
                    && stream.peer_addr().ok() == Some(remote);
                matches.then(|| stream.info())
            }
            _ => None,
        });
        let of_stack = || {
            let all = self.stack.stack().tcp_info();
            all.into_iter()
                .find(|(near, far, _)| (*near, *far) == (local, remote))
                .map(|(_, _, info)| info)
        };
        if let Some(info) = of_socket.or_else(of_stack) {
            return Ok(info::names(&info));
        }
        let is_failed = |socket: &Socket| matches!(socket.kind, Kind::Failed);
        if self.sockets.values().any(is_failed) {
            return Ok(info::closed());
        }
        Err("tcp_info of a connection that is gone".to_owned())
    }

    fn count(&mut self, state: &str) -> Option<usize> {
        let stack = self.stack.stack();
        let in_state = |state: State| {
            let all = stack.tcp_info();
            all.iter()
                .filter(|(_, _, info)| info.state == state)
                .count()
        };
        Some(match state {
            "TIME_WAIT" => stack.time_waits(),
            "SYN_RCVD" => stack.half_open() + in_state(State::SynReceived),
            "SYN_SENT" => in_state(State::SynSent),
            "ESTABLISHED" => in_state(State::Established),
            "FIN_WAIT_1" => in_state(State::FinWait1),
            "FIN_WAIT_2" => in_state(State::FinWait2),
            "CLOSING" => in_state(State::Closing),
            "LAST_ACK" => in_state(State::LastAck),
            "CLOSE_WAIT" => in_state(State::CloseWait),
            "CLOSED" => self
                .sockets
                .values()
                .filter(|socket| socket.is_closed())
                .count(),
            _ => return None,
        })
    }

    fn set(&mut self, name: &str, value: &str) -> bool {
        match (name, number(value)) {
            ("net.ipv4.tcp_fastopen", Some(value)) if is_fast_open_mode(value) => {
                self.fast_open = FastOpenSetting(value);
                true
            }
            _ if OF_NEW_SOCKETS.contains(&name) => {
                let missing = self.settings.missing.len();
                self.settings.apply(name, value);
                self.settings.missing.len() == missing
            }
            _ => false,
        }
    }

    fn local(&mut self, socket: SocketId) -> Option<SocketAddr> {
        match &self.sockets.get(&socket)?.kind {
            Kind::Stream(stream) => stream.get_ref().local_addr().ok(),
            Kind::Udp(socket) => socket.local_addr().ok(),
            _ => None,
        }
    }
}
