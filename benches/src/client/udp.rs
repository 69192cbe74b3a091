//! UDP: echoed datagrams a second with a window of them under way, and round trips of one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::tcp::is_timeout;
use super::{PATIENCE, RoundTrips};
use crate::clock::Stopwatch;

/// Bytes of a datagram's payload.
pub const DATAGRAM_BYTES: usize = 64;

/// Silence after which what is under way counts as lost.
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

/// What a run of echoed datagrams gave.
#[derive(Clone, Copy, Debug)]
pub struct Echoed {
    /// Datagrams that came back, a second.
    pub per_second: f64,
    /// Datagrams that did not come back, of a thousand sent.
    pub lost_per_mille: f64,
}

/// Keeps `window` datagrams under way for `time`.
pub fn echo(to: SocketAddr, window: usize, time: Duration) -> Result<Echoed> {
    let socket = connect(to)?;
    socket.set_read_timeout(Some(LOST_AFTER))?;
    let datagram = [b'x'; DATAGRAM_BYTES];
    let mut buffer = [0; DATAGRAM_BYTES + 1];
    let (mut sent, mut received, mut under_way) = (0_u64, 0_u64, 0_usize);
    let clock = Stopwatch::start();
    while clock.elapsed() < time {
        while under_way < window {
            socket.send(&datagram).context("send a datagram")?;
            sent += 1;
            under_way += 1;
        }
        // One blocking receive, then half a window of them as far as they are there: sending and
        // receiving alternate in batches, as a client with many requests under way does.
        match socket.recv(&mut buffer) {
            Ok(len) => ensure!(len == DATAGRAM_BYTES, "{len} bytes came back"),
            Err(error) if is_timeout(&error) => {
                under_way = 0;
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
        under_way = under_way.saturating_sub(batch);
    }
    let seconds = clock.seconds();
    ensure!(received > 0, "no datagram of {sent} came back");
    let missing = sent.saturating_sub(received + under_way as u64);
    Ok(Echoed {
        per_second: received as f64 / seconds,
        lost_per_mille: missing as f64 * 1_000.0 / sent as f64,
    })
}

/// One datagram there and back, again and again for `time`.
pub fn round_trips(to: SocketAddr, time: Duration) -> Result<RoundTrips> {
    let socket = connect(to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
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
