//! The list of a stack's sockets, for people and tools.

use std::fmt;
use std::net::SocketAddr;

use super::foreign::locked;
use super::host::Host;
use super::tcp::connection::{Connection, Listener};
use super::udp::app;
use super::udp::socket::{BoundSocket, Protocol};
use crate::base::Instant;
use crate::tcp::{State, TcpInfo};

/// One socket of a stack, as it was when the list was made. Prints itself as one line.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SocketInfo {
    /// The kind of the socket, and what is known of it.
    pub kind: SocketKind,
    /// The local address; of a socket for many addresses, the unspecified one.
    pub local: SocketAddr,
    /// The peer, if there is one.
    pub remote: Option<SocketAddr>,
    /// The worker that owns the connection.
    pub worker: Option<usize>,
}

/// The kind of a socket.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SocketKind {
    /// A listener.
    TcpListener {
        /// Connections that wait to be accepted.
        waiting: usize,
        /// Handshakes that are half open.
        half_open: usize,
    },
    /// A connection.
    Tcp(Box<TcpInfo>),
    /// A UDP socket.
    Udp(QueueInfo),
    /// A socket for ICMP echo messages.
    Echo(QueueInfo),
}

/// The receive queue of a socket for datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct QueueInfo {
    /// Datagrams that wait for the application.
    pub queued: usize,
    /// The memory that they hold, in bytes.
    pub queued_bytes: usize,
    /// Datagrams received since the socket was made.
    pub received: u64,
    /// Datagrams for this socket that were dropped since it was made.
    pub dropped: u64,
}

impl fmt::Display for SocketInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, state, received, sent) = match &self.kind {
            SocketKind::TcpListener { waiting, half_open } => {
                ("tcp", "LISTEN", *waiting, *half_open)
            }
            SocketKind::Tcp(info) => (
                "tcp",
                name_of(info.state),
                info.unread as usize,
                info.in_flight as usize + info.unsent as usize,
            ),
            SocketKind::Udp(queue) => ("udp", "", queue.queued_bytes, 0),
            SocketKind::Echo(queue) => ("icmp", "", queue.queued_bytes, 0),
        };
        write!(
            f,
            "{name:<5}{state:<12}{received:>8}{sent:>9}  {:<32}",
            self.local
        )?;
        match self.remote {
            Some(remote) => write!(f, " {remote:<32}")?,
            None => write!(f, " {:<32}", "*")?,
        }
        if let SocketKind::Tcp(info) = &self.kind {
            write!(
                f,
                " rtt:{:?} cwnd:{} retrans:{} in:{} out:{}",
                info.srtt, info.cwnd, info.retransmits, info.bytes_in, info.bytes_out
            )?;
        }
        Ok(())
    }
}

/// Returns the name of a state, as RFC 9293 writes it.
fn name_of(state: State) -> &'static str {
    match state {
        State::SynSent => "SYN-SENT",
        State::SynReceived => "SYN-RECEIVED",
        State::Established => "ESTABLISHED",
        State::FinWait1 => "FIN-WAIT-1",
        State::FinWait2 => "FIN-WAIT-2",
        State::CloseWait => "CLOSE-WAIT",
        State::Closing => "CLOSING",
        State::LastAck => "LAST-ACK",
        State::TimeWait => "TIME-WAIT",
        State::Closed => "CLOSED",
    }
}

/// Returns every socket: listeners, connections, then sockets for datagrams. Each is locked for a moment, one after
/// the other.
pub(crate) fn list(host: &Host) -> Vec<SocketInfo> {
    let listeners = locked(|key| host.tcp.listeners.snapshot(&mut key.ctx()));
    let connections = locked(|key| host.tcp.connections.snapshot(&mut key.ctx()));
    let mut sockets: Vec<SocketInfo> = listeners.iter().map(|one| of_listener(one)).collect();
    let now = host.clock.now();
    sockets.extend(connections.iter().map(|one| of_connection(one, now)));
    let mut bound = locked(|key| app::all(host, &mut key.ctx()));
    bound.retain(|socket| !socket.is_closed());
    bound.sort_by_key(|socket| (socket.protocol() != Protocol::Udp, socket.local()));
    sockets.extend(bound.iter().map(|one| of_bound(one)));
    sockets
}

fn of_listener(listener: &Listener) -> SocketInfo {
    SocketInfo {
        kind: SocketKind::TcpListener {
            waiting: listener.places_taken(),
            half_open: listener.half_open(),
        },
        local: listener.local,
        remote: None,
        worker: None,
    }
}

fn of_connection(connection: &Connection, now: Instant) -> SocketInfo {
    let info = connection.with_state(|state| state.tcp.info_at(now));
    SocketInfo {
        kind: SocketKind::Tcp(Box::new(info)),
        local: connection.flow.local(),
        remote: Some(connection.flow.remote()),
        worker: Some(usize::from(connection.owner)),
    }
}

fn of_bound(socket: &BoundSocket) -> SocketInfo {
    let (local, remote, queue) = locked(|key| {
        socket.state.with(&mut key.ctx(), |state, _| {
            let socket = &state.socket;
            let (received, dropped) = socket.totals();
            let queue = QueueInfo {
                queued: socket.queued(),
                queued_bytes: socket.queued_bytes(),
                received,
                dropped,
            };
            (socket.local(), socket.remote(), queue)
        })
    });
    SocketInfo {
        kind: match socket.protocol() {
            Protocol::Udp => SocketKind::Udp(queue),
            Protocol::Echo | Protocol::EchoAnswer => SocketKind::Echo(queue),
        },
        local,
        remote,
        worker: None,
    }
}
