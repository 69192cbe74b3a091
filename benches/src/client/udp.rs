//! UDP: echoed datagrams per second with a window of datagrams in flight, and round trips of one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{UdpGroSegment, UdpGsoSegment};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::tcp::{Moved, is_timeout};
use super::{ANSWER_TIMEOUT, RoundTrips};
use crate::clock::Stopwatch;

/// Bytes of a datagram's payload.
pub const DATAGRAM_BYTES: usize = 64;

/// Bytes of a datagram's payload in the bulk echo, and how many of them the client hands to the kernel in one call.
const BULK_BYTES: usize = 1_400;
const BULK_COUNT: usize = 44;
/// Calls whose datagrams are in flight in the bulk echo.
const BULK_WINDOW: usize = 4;

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

/// Echoes datagrams of 1,400 bytes for `time`. The client lets the kernel cut and merge them (`UDP_SEGMENT`, `UDP_GRO`), so a
/// server behind a device with USO gets 44 of them at a time. Returns the bytes that came back.
pub fn bulk_echo(to: SocketAddr, time: Duration) -> Result<Moved> {
    let socket = connect(to)?;
    socket.set_read_timeout(Some(LOST_AFTER))?;
    setsockopt(&socket, UdpGsoSegment, &(BULK_BYTES as i32)).context("UDP_SEGMENT")?;
    setsockopt(&socket, UdpGroSegment, &true).context("UDP_GRO")?;
    let datagrams = vec![b'x'; BULK_BYTES * BULK_COUNT];
    let mut buffer = vec![0; 65_536];
    let (mut bytes, mut in_flight) = (0_u64, 0_usize);
    let clock = Stopwatch::start();
    while clock.elapsed() < time {
        while in_flight + datagrams.len() <= BULK_WINDOW * datagrams.len() {
            socket.send(&datagrams).context("send datagrams")?;
            in_flight += datagrams.len();
        }
        match socket.recv(&mut buffer) {
            Ok(len) => {
                ensure!(len > 0 && len % BULK_BYTES == 0, "{len} bytes came back");
                bytes += len as u64;
                in_flight = in_flight.saturating_sub(len);
            }
            Err(error) if is_timeout(&error) => in_flight = 0,
            Err(error) => return Err(error).context("receive datagrams"),
        }
    }
    let seconds = clock.seconds();
    ensure!(bytes > 0, "no datagram came back");
    Ok(Moved { bytes, seconds })
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
