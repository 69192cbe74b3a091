//! The measurements, and their metrics.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use crate::client::{hostile, tcp, udp};
use crate::host;
use crate::peer::{Family, Peer};
use crate::server::{CHARGEN, DISCARD, ECHO};

/// One row of the report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metric {
    /// Stable key, for JSON.
    pub key: &'static str,
    /// Text for the table.
    pub label: &'static str,
    /// The target for the ratio to the kernel behind veth.
    pub target: Target,
}

/// A target for the ratio to the kernel behind veth in the same run.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Target {
    /// The ratio is at least this.
    AtLeast(f64),
    /// The ratio is at most this.
    AtMost(f64),
    /// No target: for information.
    None,
}

impl Eq for Target {}

const fn metric(key: &'static str, label: &'static str, target: Target) -> Metric {
    Metric { key, label, target }
}

/// Rate of TCP to the server, one flow.
pub const TCP_IN_1: Metric = metric("tcp_in_1", "TCP in, 1 flow, Gb/s", Target::AtLeast(0.5));
/// TCP to the server, four flows.
pub const TCP_IN_4: Metric = metric("tcp_in_4", "TCP in, 4 flows, Gb/s", Target::None);
/// TCP from the server, one flow.
pub const TCP_OUT_1: Metric = metric("tcp_out_1", "TCP out, 1 flow, Gb/s", Target::AtLeast(0.5));
/// TCP from the server, four flows.
pub const TCP_OUT_4: Metric = metric("tcp_out_4", "TCP out, 4 flows, Gb/s", Target::None);
/// TCP through the echo service.
pub const TCP_ECHO: Metric = metric("tcp_echo", "TCP echo, 1 flow, Gb/s", Target::None);
/// Connect, echo, close.
pub const CONNECTIONS: Metric = metric(
    "connections",
    "connect + echo + close, 4 threads, thousand/s",
    Target::AtLeast(1.0),
);
/// Connect, echo, close, one connection after the other.
pub const CONNECTIONS_1: Metric = metric(
    "connections_1",
    "connect + echo + close, 1 thread, thousand/s",
    Target::None,
);
/// UDP echo rate.
pub const UDP_ECHO: Metric = metric(
    "udp_echo",
    "UDP 64 B echo, window 128, thousand/s",
    Target::AtLeast(1.0),
);
/// UDP echo in bulk.
pub const UDP_BULK: Metric = metric("udp_bulk", "UDP 44 × 1,400 B echo, Gb/s", Target::None);
/// UDP echo loss.
pub const UDP_LOST: Metric = metric("udp_lost", "  of these lost, per mille", Target::None);
/// TCP round trip.
pub const TCP_P50: Metric = metric("tcp_rtt_p50", "TCP round trip p50, µs", Target::AtMost(1.1));
/// TCP round trip, tail.
pub const TCP_P99: Metric = metric("tcp_rtt_p99", "TCP round trip p99, µs", Target::None);
/// UDP round trip.
pub const UDP_P50: Metric = metric("udp_rtt_p50", "UDP round trip p50, µs", Target::AtMost(1.1));
/// UDP round trip, tail.
pub const UDP_P99: Metric = metric("udp_rtt_p99", "UDP round trip p99, µs", Target::None);
/// CPU of the server's process for TCP in.
pub const CPU_IN: Metric = metric("cpu_in", "server CPU s/GB, in, 1 flow", Target::None);
/// CPU of the machine for TCP in.
pub const CPU_IN_ALL: Metric = metric("cpu_in_all", "machine CPU s/GB, in, 1 flow", Target::None);
/// CPU of the server's process for TCP out.
pub const CPU_OUT: Metric = metric("cpu_out", "server CPU s/GB, out, 1 flow", Target::None);
/// CPU of the machine for TCP out.
pub const CPU_OUT_ALL: Metric =
    metric("cpu_out_all", "machine CPU s/GB, out, 1 flow", Target::None);

/// CPU of the server's process for a datagram that it echoes.
pub const CPU_UDP: Metric = metric("cpu_udp", "server CPU µs per 64 B UDP echo", Target::None);
/// CPU of the server's process for a connection, one at a time: with the time in which it looks for the next packet.
pub const CPU_CONNECTION: Metric = metric(
    "cpu_connection",
    "server CPU µs per connect + echo + close",
    Target::None,
);
/// CPU of the server's process for a connection, under the load of four client threads.
pub const CPU_CONNECTION_4: Metric = metric(
    "cpu_connection4",
    "server CPU µs per connect + echo + close, 4 threads",
    Target::None,
);
/// Connections beside hostile clients.
pub const HOSTILE_CONNECTIONS: Metric = metric(
    "hostile_connections",
    "connect + echo + close beside 1,000 clients that never read, thousand/s",
    Target::None,
);
/// TCP round trip beside hostile clients.
pub const HOSTILE_P50: Metric = metric(
    "hostile_rtt_p50",
    "TCP round trip p50 beside them, µs",
    Target::None,
);
/// TCP round trip beside hostile clients, tail.
pub const HOSTILE_P99: Metric = metric(
    "hostile_rtt_p99",
    "TCP round trip p99 beside them, µs",
    Target::None,
);

/// Every metric, in the order of the report.
pub const METRICS: [Metric; 24] = [
    TCP_IN_1,
    TCP_IN_4,
    TCP_OUT_1,
    TCP_OUT_4,
    TCP_ECHO,
    CONNECTIONS,
    CONNECTIONS_1,
    UDP_ECHO,
    UDP_LOST,
    UDP_BULK,
    TCP_P50,
    TCP_P99,
    UDP_P50,
    UDP_P99,
    CPU_IN,
    CPU_IN_ALL,
    CPU_OUT,
    CPU_OUT_ALL,
    CPU_UDP,
    CPU_CONNECTION,
    CPU_CONNECTION_4,
    HOSTILE_CONNECTIONS,
    HOSTILE_P50,
    HOSTILE_P99,
];

/// One measurement. A run takes the measurements of all peers in turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Measurement {
    /// Bulk to discard, one flow.
    TcpIn,
    /// Bulk to discard, four flows.
    TcpIn4,
    /// Bulk from chargen, one flow.
    TcpOut,
    /// Bulk from chargen, four flows.
    TcpOut4,
    /// Bulk through echo.
    TcpEcho,
    /// Connections per second, four client threads.
    Connections,
    /// Connections per second, one client thread.
    Connections1,
    /// Echoed datagrams per second.
    UdpEcho,
    /// Echoed datagrams of 1,400 bytes, handed over 44 at a time.
    UdpBulk,
    /// Round trips of one byte over TCP.
    TcpRtt,
    /// Round trips of one byte over UDP.
    UdpRtt,
    /// Connections and round trips beside a thousand clients that never read.
    Hostile,
}

/// Datagrams in flight during the measurement of the echo rate.
const UDP_WINDOW: usize = 128;
/// Clients that never read.
const HOSTILE_CLIENTS: usize = 1_000;

impl Measurement {
    /// Measures `peer` for about `time` and returns each value with its metric.
    pub fn take(
        self,
        peer: &Peer<'_>,
        family: Family,
        time: Duration,
    ) -> Result<Vec<(Metric, f64)>> {
        let echo = peer.service(family, ECHO);
        peer.as_client(|| {
            Ok(match self {
                Self::TcpIn => bulk(peer, [TCP_IN_1, CPU_IN, CPU_IN_ALL], || {
                    tcp::bulk_in(peer.service(family, DISCARD), 1, time)
                })?,
                Self::TcpOut => bulk(peer, [TCP_OUT_1, CPU_OUT, CPU_OUT_ALL], || {
                    tcp::bulk_out(peer.service(family, CHARGEN), 1, time)
                })?,
                Self::TcpIn4 => {
                    let moved = tcp::bulk_in(peer.service(family, DISCARD), 4, time)?;
                    vec![(TCP_IN_4, moved.gbps())]
                }
                Self::TcpOut4 => {
                    let moved = tcp::bulk_out(peer.service(family, CHARGEN), 4, time)?;
                    vec![(TCP_OUT_4, moved.gbps())]
                }
                Self::TcpEcho => vec![(TCP_ECHO, tcp::echo(echo, time)?.gbps())],
                Self::Connections => {
                    connections(peer, 4, [CONNECTIONS, CPU_CONNECTION_4], echo, time)?
                }
                Self::Connections1 => {
                    connections(peer, 1, [CONNECTIONS_1, CPU_CONNECTION], echo, time)?
                }
                Self::UdpEcho => {
                    let run = || udp::echo(echo, UDP_WINDOW, time);
                    let (echoed, seconds) = with_cpu(peer, run)?;
                    let all = echoed.per_second * time.as_secs_f64();
                    vec![
                        (UDP_ECHO, echoed.per_second / 1e3),
                        (CPU_UDP, seconds * 1e6 / all),
                        (UDP_LOST, echoed.lost_per_mille),
                    ]
                }
                Self::UdpBulk => vec![(UDP_BULK, udp::bulk_echo(echo, time)?.gbps())],
                Self::TcpRtt => {
                    let trips = tcp::round_trips(echo, time)?;
                    vec![(TCP_P50, trips.p50), (TCP_P99, trips.p99)]
                }
                Self::UdpRtt => {
                    let trips = udp::round_trips(echo, time)?;
                    vec![(UDP_P50, trips.p50), (UDP_P99, trips.p99)]
                }
                Self::Hostile => {
                    let held = hostile::open(echo, HOSTILE_CLIENTS)?;
                    let connections = tcp::connections(echo, 1, time)?;
                    let trips = tcp::round_trips(echo, time)?;
                    drop(held);
                    vec![
                        (HOSTILE_CONNECTIONS, connections / 1e3),
                        (HOSTILE_P50, trips.p50),
                        (HOSTILE_P99, trips.p99),
                    ]
                }
            })
        })
    }
}

/// Runs `run`, and returns with its result the processor time of the server meanwhile, in seconds.
fn with_cpu<T>(peer: &Peer<'_>, run: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let before = host::cpu_seconds(peer.pid())?;
    let result = run()?;
    Ok((result, host::cpu_seconds(peer.pid())? - before))
}

/// Opens connections in `threads` threads.
fn connections(
    peer: &Peer<'_>,
    threads: usize,
    [rate, server]: [Metric; 2],
    echo: SocketAddr,
    time: Duration,
) -> Result<Vec<(Metric, f64)>> {
    let run = || tcp::connections(echo, threads, time);
    let (per_second, seconds) = with_cpu(peer, run)?;
    let all = per_second * time.as_secs_f64();
    Ok(vec![
        (rate, per_second / 1e3),
        (server, seconds * 1e6 / all),
    ])
}

fn bulk(
    peer: &Peer<'_>,
    [rate, server, machine]: [Metric; 3],
    run: impl FnOnce() -> Result<tcp::Moved>,
) -> Result<Vec<(Metric, f64)>> {
    let before = (host::cpu_seconds(peer.pid())?, host::machine_cpu_seconds()?);
    let moved = run()?;
    let after = (host::cpu_seconds(peer.pid())?, host::machine_cpu_seconds()?);
    let gigabytes = moved.bytes as f64 / 1e9;
    Ok(vec![
        (rate, moved.gbps()),
        (server, (after.0 - before.0) / gigabytes),
        (machine, (after.1 - before.1) / gigabytes),
    ])
}
