//! UDP: echoed datagrams per second with a window of datagrams in flight, and round trips of one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::tcp::is_timeout;
use super::{ANSWER_TIMEOUT, RoundTrips};
use crate::clock::Stopwatch;

/// Bytes of a datagram's payload.
pub const DATAGRAM_BYTES: usize = 64;

/// Time without an answer after which all datagrams in flight count as lost.
const LOST_AFTER: Duration = Duration::from_millis(50);

fn connect(to: SocketAddr) -> Result<UdpSocket> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket
        .connect(to)
        .with_context(|| format!("UDP connect to {to}"))?;
    Ok(socket)
}

/// The result of an echo measurement.
#[derive(Clone, Copy, Debug)]
pub struct Echoed {
    /// Datagrams that came back, per second.
    pub per_second: f64,
    /// Datagrams that did not come back, per thousand sent.
    pub lost_per_mille: f64,
}

/// Echoes datagrams for `time`, with `window` of them in flight.
pub fn echo(to: SocketAddr, window: usize, time: Duration) -> Result<Echoed> {
    let socket = connect(to)?;
    socket.set_read_timeout(Some(LOST_AFTER))?;
    let datagram = [b'x'; DATAGRAM_BYTES];
    let mut buffer = [0; DATAGRAM_BYTES + 1];
    let (mut sent, mut received, mut in_flight) = (0_u64, 0_u64, 0_usize);
    let clock = Stopwatch::start();
    while clock.elapsed() < time {
        while in_flight < window {
            socket.send(&datagram).context("send a datagram")?;
            sent += 1;
            in_flight += 1;
        }
        // One blocking receive, then up to half a window without blocking: sending and receiving
        // alternate in batches, as in a client with many requests in flight.
        match socket.recv(&mut buffer) {
            Ok(len) => ensure!(len == DATAGRAM_BYTES, "{len} bytes came back"),
            Err(error) if is_timeout(&error) => {
                in_flight = 0;
                continue;
            }
            Err(error) => return Err(error).context("receive a datagram"),
        }
        let mut batch = 1;
        while batch < window / 2 {
            match recv(&socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((len, _)) => ensure!(len == DATAGRAM_BYTES, "{len} bytes came back"),
                Err(Errno::WOULDBLOCK) => break,
                Err(error) => return Err(error).context("receive a datagram"),
            }
            batch += 1;
        }
        received += batch as u64;
        in_flight = in_flight.saturating_sub(batch);
    }
    let seconds = clock.seconds();
    ensure!(received > 0, "no datagram of {sent} came back");
    let missing = sent.saturating_sub(received + in_flight as u64);
    Ok(Echoed {
        per_second: received as f64 / seconds,
        lost_per_mille: missing as f64 * 1_000.0 / sent as f64,
    })
}

/// Measures round trips of one datagram for `time`.
pub fn round_trips(to: SocketAddr, time: Duration) -> Result<RoundTrips> {
    let socket = connect(to)?;
    socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let mut buffer = [0; DATAGRAM_BYTES];
    let clock = Stopwatch::start();
    let mut nanos = Vec::new();
    while clock.elapsed() < time {
        let trip = Stopwatch::start();
        socket.send(b"x").context("send a datagram")?;
        let len = socket.recv(&mut buffer).context("receive a datagram")?;
        ensure!(len == 1, "{len} bytes came back for one");
        nanos.push(trip.elapsed().as_nanos() as u64);
    }
    RoundTrips::of(nanos).context("no round trip")
}
