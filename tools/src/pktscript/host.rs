//! The host that a script runs against: something with sockets, packets and a time.

use std::net::SocketAddr;

use super::code::Names;

/// A socket of a host.
pub type SocketId = u32;

/// The way that a socket is shut down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shutdown {
    /// Nothing more is read.
    Read,
    /// Nothing more is written.
    Write,
    /// Both.
    Both,
}

/// The value of a socket option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OptionValue {
    /// A number.
    Int(i64),
    /// `struct linger`.
    Linger {
        /// It is on.
        on: bool,
        /// The time.
        seconds: i64,
    },
}

bitflags::bitflags! {
    /// Conditions of a socket, as `poll` has them.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Events: i64 {
        /// There is something to read.
        const IN = 1;
        /// Urgent data.
        const PRI = 2;
        /// There is room to write.
        const OUT = 4;
        /// An error.
        const ERR = 8;
        /// Both directions are closed.
        const HUP = 16;
        /// No such socket.
        const NVAL = 32;
        /// The peer closed its side.
        const RDHUP = 0x2000;
    }
}

/// A call of a script, with its arguments understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// Makes a socket.
    Socket {
        /// Of IPv6.
        v6: bool,
        /// For datagrams.
        udp: bool,
        /// That does not block.
        nonblocking: bool,
    },
    /// Binds a socket.
    Bind(SocketId, SocketAddr),
    /// Lets it listen.
    Listen(SocketId, i64),
    /// Accepts a connection.
    Accept {
        /// The listener.
        socket: SocketId,
        /// The new socket does not block.
        nonblocking: bool,
    },
    /// Connects.
    Connect(SocketId, SocketAddr),
    /// Receives.
    Receive {
        /// The socket.
        socket: SocketId,
        /// The room in the buffers.
        len: usize,
        /// The received data stays.
        peek: bool,
        /// This call does not block.
        dont_wait: bool,
        /// Waits for all of `len`.
        wait_all: bool,
    },
    /// Sends.
    Send {
        /// The socket.
        socket: SocketId,
        /// The data.
        data: Vec<u8>,
        /// The destination, for datagrams and for data that connects.
        to: Option<SocketAddr>,
        /// The data connects (`MSG_FASTOPEN`).
        fast_open: bool,
        /// This call does not block.
        dont_wait: bool,
    },
    /// Ends a direction.
    Shutdown(SocketId, Shutdown),
    /// Closes.
    Close(SocketId),
    /// Returns true as 1 if the socket does not block.
    IsNonblocking(SocketId),
    /// Lets the socket block or not.
    SetNonblocking(SocketId, bool),
    /// Sets an option, by its names of level and option.
    SetOption(SocketId, &'static str, String, OptionValue),
    /// Reads an option.
    GetOption(SocketId, &'static str, String),
    /// Waits until one of the sockets is ready.
    Poll {
        /// The sockets and what is asked.
        sockets: Vec<(SocketId, Events)>,
        /// The longest time, in milliseconds; negative: for ever.
        timeout_millis: i64,
    },
    /// Returns the bytes that can be read.
    Unread(SocketId),
    /// Returns the bytes that are not acknowledged or not sent.
    Unsent(SocketId),
}

/// The result of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Returned {
    /// A number; with what was received.
    Value(i64, Vec<u8>),
    /// The value of an option.
    Option(OptionValue),
    /// The readiness of each socket.
    Ready(Vec<Events>),
    /// An error, by its name.
    Error(&'static str),
    /// The host has no such call or option, by its name.
    Unsupported(String),
}

/// The outcome of the beginning of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Called {
    /// It returned.
    Returned(Returned),
    /// It blocks; [`Host::finished`] has its result later.
    Blocks,
}

/// The host that a script runs against. Times are microseconds since the script began.
pub trait Host {
    /// Returns the time.
    fn now(&mut self) -> i64;

    /// Waits until `until`, or until there is a packet if `or_packet`, or until the call that blocks has returned if
    /// `or_call`.
    ///
    /// # Errors
    /// The host itself failed.
    fn wait(&mut self, until: i64, or_packet: bool, or_call: bool) -> Result<(), String>;

    /// Returns the next packet that the host sent, with its time.
    fn packet(&mut self) -> Option<(i64, Vec<u8>)>;

    /// Delivers a packet.
    ///
    /// # Errors
    /// The host itself failed.
    fn deliver(&mut self, packet: &[u8]) -> Result<(), String>;

    /// Begins a call. At most one call blocks at a time.
    fn call(&mut self, op: Op) -> Called;

    /// Returns the result of the call that blocked, and when it returned.
    fn finished(&mut self) -> Option<(i64, Returned)>;

    /// Returns the values of `tcp_info` of a connection.
    ///
    /// # Errors
    /// The host cannot tell, or there is no connection.
    fn tcp_info(&mut self, local: SocketAddr, remote: SocketAddr) -> Result<Names, String>;

    /// Returns the number of sockets in a state, named as `TIME_WAIT` and `SYN_RCVD` are; `None` if the host
    /// cannot tell.
    fn count(&mut self, state: &str) -> Option<usize>;

    /// Changes a setting while the script runs. Returns false if the host cannot.
    fn set(&mut self, _name: &str, _value: &str) -> bool {
        false
    }

    /// Returns what the script has needed so far that this host does in another way. If the script fails, it may be for that
    /// reason.
    fn missing(&self) -> Option<String> {
        None
    }

    /// Returns the local address of a socket.
    fn local(&mut self, socket: SocketId) -> Option<SocketAddr>;
}
