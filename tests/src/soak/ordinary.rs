//! Ordinary clients: every byte that they get is compared, and none of their connections may fail.

use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use netstack::base::Rng;
use netstackd::probe::ping::Pinger;
use netstackd::probe::{datagram, noise, stream};

use crate::transfer::hashed_echo;
use crate::world::{BOTH, port};

/// Counts of what ordinary clients did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Exchanges that were compared and right.
    pub(super) exchanges: u64,
    /// Bytes that were compared.
    bytes: u64,
    /// Datagrams and pings without an answer: a queue before the stack was full.
    lost: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.exchanges += other.exchanges;
        self.bytes += other.bytes;
        self.lost += other.lost;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ordinary exchanges with {:.1} MB compared, {} datagrams or pings lost",
            self.exchanges,
            self.bytes as f64 / 1e6,
            self.lost
        )
    }
}

/// Most faults of one client before it stops.
const MOST_FAULTS: usize = 5;

/// Exchanges with the daemon until `stop`; returns what was done, and what was wrong.
pub(super) fn run(seed: u64, stop: &AtomicBool) -> (Tally, Vec<String>) {
    let mut rng = Rng::from_u64(seed);
    let (mut tally, mut faults) = (Tally::default(), Vec::new());
    while !stop.load(Ordering::Relaxed) && faults.len() < MOST_FAULTS {
        let address = BOTH[rng.below(2) as usize];
        match act(address, &mut rng) {
            Ok(Some(bytes)) => {
                tally.exchanges += 1;
                tally.bytes += bytes;
            }
            Ok(None) => tally.lost += 1,
            Err(fault) => faults.push(format!("ordinary client of {address}: {fault}")),
        }
    }
    (tally, faults)
}

/// Does one thing; returns how many bytes were compared, or `None` if a datagram was lost.
fn act(address: IpAddr, rng: &mut Rng) -> Result<Option<u64>, String> {
    let at = |port| SocketAddr::new(address, port);
    let size = 1 + rng.below(100_000) as usize;
    match rng.below(6) {
        0 => {
            let total = 1 << (16 + rng.below(7));
            let (sent, received, moved) = hashed_echo(at(port::ECHO), total)?;
            if sent != received {
                return Err("the echo of a stream differs".to_owned());
            }
            Ok(Some(moved.bytes))
        }
        1 => {
            let moved = stream::echo(at(port::ECHO), size as u64)?;
            Ok(Some(moved.bytes))
        }
        2 => exchanges(at(port::ECHO), size / 10 + 1, rng).map(Some),
        3 => {
            let moved = stream::download_bytes(at(port::CHARGEN), size as u64)?;
            Ok(Some(moved.bytes))
        }
        4 => datagrams(at(port::ECHO), 1 + size / 50),
        _ => {
            let mut pinger = Pinger::new(address, rng.u32() as u16)?;
            Ok(pinger.ping(size % 1_400).ok().map(|_| 1))
        }
    }
}

/// Several exchanges over one connection.
fn exchanges(target: SocketAddr, size: usize, rng: &mut Rng) -> Result<u64, String> {
    let failed = |e: std::io::Error| format!("exchange with {target}: {e}");
    let mut stream = stream::connect(target).map_err(failed)?;
    let count = 1 + rng.below(20);
    for _ in 0..count {
        let message = noise(rng.u64(), size);
        stream::exchange(&mut stream, &message, &mut vec![0; size]).map_err(failed)?;
    }
    Ok(u64::from(count) * size as u64)
}

/// A datagram and its echo.
fn datagrams(target: SocketAddr, size: usize) -> Result<Option<u64>, String> {
    let failed = |e: std::io::Error| format!("UDP with {target}: {e}");
    let socket = datagram::connect(target)?;
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .map_err(failed)?;
    let message = noise(size as u64, size);
    let mut answer = vec![0; size + 1];
    socket.send(&message).map_err(failed)?;
    match socket.recv(&mut answer) {
        Ok(len) if answer[..len] == message => Ok(Some(len as u64)),
        Ok(len) => Err(format!(
            "UDP with {target}: {len} other bytes than the {size} sent"
        )),
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
        Err(e) => Err(failed(e)),
    }
}
