//! The messages of the control socket: one JSON object a line, in both directions. docs/CONTROL.md documents them for
//! people who write clients of their own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::packet_filter::PacketFilter;
use super::rows::{SocketFilter, SocketRow};
use super::socket_options::SocketOptions;

/// The version of the protocol. A request names the version that it was written for.
pub(crate) const PROTOCOL: u64 = 1;

/// Longest line of a client, in bytes: the largest datagram in base64, and some more.
pub(crate) const MAX_LINE_BYTES: usize = 96 << 10;

/// A line of a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Lists sockets.
    Ss(SocketFilter),
    /// Reads every counter.
    Stats {},
    /// Shows the events of connections as they happen.
    Events(EventsRequest),
    /// Sends ICMP echo requests.
    Ping(PingRequest),
    /// Opens a connection, or waits for one, and carries its bytes.
    Nc(NcRequest),
    /// Captures packets.
    Capture(CaptureRequest),
    /// Bytes for the connection of an `nc`.
    Data { data: String },
    /// The end of the bytes for it.
    Eof {},
    /// Sets options of the socket of an `nc`.
    Options(SocketOptions),
    /// Ends `events`, `ping`, `nc` or `capture`.
    Stop {},
    /// Takes the place of the daemon.
    TakeOver(TakeOverRequest),
    /// Asks for the descriptors of the device, or of the flows.
    Descriptors {},
    /// Asks for the state.
    Ready {},
    /// Says that the state is restored. The new daemon's control socket has this path.
    Taken { control: Option<PathBuf> },
}

/// The version of a program that takes over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TakeOverRequest {
    /// The format of the state that it reads.
    pub(crate) format: u32,
    pub(crate) version: String,
    /// The job of the new process: its flows go over.
    #[serde(default = "run")]
    pub(crate) job: String,
}

fn run() -> String {
    "run".to_owned()
}

/// The connections whose events are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct EventsRequest {
    /// Only of connections with this address at either end.
    pub(crate) address: Option<IpAddr>,
    /// Only of connections with this port at either end.
    pub(crate) port: Option<u16>,
    /// Only of the connection with this local address and this peer.
    pub(crate) flow: Option<(SocketAddr, SocketAddr)>,
    /// Without the growth of windows, which nearly every acknowledgment brings.
    pub(crate) is_brief: bool,
    /// Ends after so many.
    pub(crate) count: Option<u64>,
}

/// The parameters of a ping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PingRequest {
    /// The host that is asked.
    pub(crate) address: IpAddr,
    /// The source, an address of the daemon.
    pub(crate) source: Option<IpAddr>,
    /// How many; without it until stopped.
    pub(crate) count: Option<u64>,
    /// Time between two.
    pub(crate) interval_millis: u64,
    /// Time that the last one has to be answered.
    pub(crate) timeout_millis: u64,
    /// Bytes of each.
    pub(crate) size: u16,
    /// Time to live, or hop limit.
    pub(crate) ttl: Option<u8>,
}

/// A connection or a socket for datagrams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NcRequest {
    /// Datagrams instead of a connection.
    #[serde(default)]
    pub(crate) udp: bool,
    /// Waits for the first peer instead of going to one.
    #[serde(default)]
    pub(crate) listen: bool,
    /// The peer; none if it waits for one.
    pub(crate) remote: Option<SocketAddr>,
    /// The source; with `listen` the address and port to wait at.
    pub(crate) local: Option<SocketAddr>,
    /// Gives up a connection that is not open after this time.
    pub(crate) timeout_millis: Option<u64>,
    /// Options of its socket, from the first packet on.
    #[serde(default)]
    pub(crate) options: SocketOptions,
}

/// The packets to capture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CaptureRequest {
    /// Which packets.
    pub(crate) filter: PacketFilter,
    /// Most bytes that are kept of each packet.
    pub(crate) snaplen: Option<u32>,
    /// Ends after so many packets.
    pub(crate) count: Option<u64>,
}

/// A line of the daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub(crate) enum Reply {
    /// The first line of each connection.
    Hello(Hello),
    /// A socket, as `ss` asked for.
    Socket(Box<SocketRow>),
    /// Every counter.
    Stats(Box<Stats>),
    /// An event of a connection.
    Event(EventRow),
    /// Events or packets that this client was too slow for, since the last such line.
    Lost { count: u64 },
    /// An `nc` is connected, or its socket bound.
    Connected {
        local: SocketAddr,
        remote: Option<SocketAddr>,
    },
    /// Bytes of a connection, a datagram, or a piece of a pcapng file, in base64.
    Data { data: String },
    /// The peer of a connection sends no more.
    Eof {},
    /// The options of a socket are set.
    Options {},
    /// An answer to a ping.
    Pong(Pong),
    /// The request is done.
    End(End),
    /// The queues of the device, and its MTU; the names of the ports of the machine whose descriptors follow those of the queues.
    Queues {
        count: usize,
        mtu: u16,
        #[serde(default)]
        listening: Vec<String>,
    },
    /// So many bytes of state follow behind this line, the last of which are those of the flows, whose descriptors can be asked
    /// for then.
    State {
        #[serde(default)]
        carried: u64,
        #[serde(default)]
        descriptors: usize,
        bytes: u64,
    },
    /// The device is the new process's.
    Yours {},
    /// The request is refused, or has failed. The connection stays usable unless it is closed.
    Error { message: String },
}

/// The daemon that answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) protocol: u64,
    pub(crate) version: String,
    pub(crate) tun: String,
    pub(crate) pid: u32,
    pub(crate) addresses: Vec<String>,
    /// True if this client may do everything; else it may only look.
    pub(crate) may_change: bool,
}

/// Every counter and gauge of the stack at one moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Stats {
    /// Time since the daemon was started.
    pub(crate) uptime_millis: u64,
    /// Objects of the MIBs, by their names in `nstat`.
    pub(crate) mib: BTreeMap<String, u64>,
    /// The stack's own counters.
    pub(crate) counters: BTreeMap<String, u64>,
    /// Discarded packets by reason.
    pub(crate) drops: BTreeMap<String, u64>,
    /// Values that go up and down.
    pub(crate) gauges: BTreeMap<String, u64>,
    /// The work of each worker.
    #[serde(default)]
    pub(crate) workers: Vec<WorkerRow>,
}

/// The work of one worker: counts since the start, and what waits now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkerRow {
    pub(crate) packets_in: u64,
    pub(crate) packets_out: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Packets that it received and gave to the worker that owns their flow.
    pub(crate) handed_over: u64,
    /// Packets that it discarded.
    pub(crate) dropped: u64,
    pub(crate) busy_turns: u64,
    pub(crate) busy_micros: u64,
    /// Messages, packets and datagrams of other threads that wait for it now.
    pub(crate) queue: u64,
    /// Timers of connections that are armed now.
    pub(crate) timers: u64,
}

impl WorkerRow {
    /// Returns the names and values of what adds up.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 8] {
        [
            ("packets_in", self.packets_in),
            ("packets_out", self.packets_out),
            ("bytes_in", self.bytes_in),
            ("bytes_out", self.bytes_out),
            ("handed_over", self.handed_over),
            ("dropped", self.dropped),
            ("busy_turns", self.busy_turns),
            ("busy_micros", self.busy_micros),
        ]
    }

    /// Returns the names and values of what goes up and down.
    pub(crate) fn gauges(&self) -> [(&'static str, u64); 2] {
        [("queue", self.queue), ("timers", self.timers)]
    }
}

/// One event of one connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EventRow {
    /// Unix time, in microseconds.
    pub(crate) at_micros: u64,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// The kind, such as `state-changed`.
    pub(crate) event: String,
    /// Its properties, by name.
    pub(crate) fields: BTreeMap<String, serde_json::Value>,
}

impl EventRow {
    /// Returns everything but the time, in one line.
    pub(crate) fn words(&self) -> String {
        let mut text = format!("{} {} {}", self.local, self.remote, self.event);
        for (name, value) in &self.fields {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            // Writing to a String does not fail.
            let _ = write!(text, " {name}={value}");
        }
        text
    }
}

/// An answer to a ping.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Pong {
    pub(crate) from: IpAddr,
    pub(crate) seq: u16,
    pub(crate) bytes: usize,
    pub(crate) rtt_micros: u64,
    /// The same answer came before.
    pub(crate) is_duplicate: bool,
}

/// The sums of a request that is done; only those that it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    /// Rows, events, packets or pings.
    pub(crate) count: u64,
    /// Answers to pings.
    pub(crate) answered: u64,
    /// Events or packets that the client was too slow for.
    pub(crate) lost: u64,
    /// Half-open connections, and those in TIME-WAIT, that were too many for one answer.
    #[serde(default)]
    pub(crate) omitted: u64,
}
