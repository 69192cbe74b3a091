//! Ordinary clients: every byte that they get is compared, and none of their connections may fail.

use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use netstack::base::Rng;
use netstackd::probe::ping::{PingError, Pinger};
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
    /// Datagrams, and pings.
    packets: [Answers; 2],
}

/// Counts of packets with and without an answer: a queue before the stack was full.
#[derive(Clone, Copy, Debug, Default)]
struct Answers {
    answered: u64,
    lost: u64,
}

/// So many packets in a row do not get lost by chance.
const MOST_LOST: u64 = 10;

impl Tally {
    /// Adds an exchange of so many bytes.
    fn add(&mut self, bytes: u64) {
        self.exchanges += 1;
        self.bytes += bytes;
    }

    fn lost(&self) -> u64 {
        self.packets.iter().map(|answers| answers.lost).sum()
    }

    /// Returns a fault for each kind of packet of which many were sent and none was answered.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = String> {
        let kinds = [Kind::Datagram, Kind::Ping].into_iter().zip(self.packets);
        kinds
            .filter(|(_, answers)| answers.answered == 0 && answers.lost >= MOST_LOST)
            .map(|(kind, answers)| format!("none of {} {kind:?}s was answered", answers.lost))
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.exchanges += other.exchanges;
        self.bytes += other.bytes;
        for (own, other) in self.packets.iter_mut().zip(other.packets) {
            own.answered += other.answered;
            own.lost += other.lost;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ordinary exchanges with {:.1} MB compared, {} datagrams or pings lost",
            self.exchanges,
            self.bytes as f64 / 1e6,
            self.lost()
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
            Ok(Done::Stream(bytes)) => tally.add(bytes),
            Ok(Done::Packet(kind, answer)) => {
                let answers = &mut tally.packets[kind as usize];
                match answer {
                    Some(bytes) => {
                        answers.answered += 1;
                        tally.add(bytes);
                    }
                    None => answers.lost += 1,
                }
            }
            Err(fault) => faults.push(format!("ordinary client of {address}: {fault}")),
        }
    }
    (tally, faults)
}

/// A kind of packet that a full queue may lose.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Datagram,
    Ping,
}

/// A thing that a client did.
enum Done {
    /// A stream of so many bytes, all compared.
    Stream(u64),
    /// A packet and its answer of so many bytes, all compared; `None` if there was no answer.
    Packet(Kind, Option<u64>),
}

/// Does one thing.
fn act(address: IpAddr, rng: &mut Rng) -> Result<Done, String> {
    let at = |port| SocketAddr::new(address, port);
    let size = 1 + rng.below(100_000) as usize;
    match rng.below(6) {
        0 => {
            let total = 1 << (16 + rng.below(7));
            let (sent, received, moved) = hashed_echo(at(port::ECHO), total)?;
            if sent != received {
                return Err("the echo of a stream differs".to_owned());
            }
            Ok(Done::Stream(moved.bytes))
        }
        1 => {
            let moved = stream::echo(at(port::ECHO), size as u64)?;
            Ok(Done::Stream(moved.bytes))
        }
        2 => exchanges(at(port::ECHO), size / 10 + 1, rng).map(Done::Stream),
        3 => {
            let moved = stream::download_bytes(at(port::CHARGEN), size as u64)?;
            Ok(Done::Stream(moved.bytes))
        }
        4 => {
            let answer = datagrams(at(port::ECHO), 1 + size / 50)?;
            Ok(Done::Packet(Kind::Datagram, answer))
        }
        _ => {
            let (mut pinger, len) = (Pinger::new(address, rng.u32() as u16)?, size % 1_400);
            let answer = match pinger.ping(len) {
                Ok(_) => Some(len as u64),
                Err(PingError::NoAnswer { .. }) => None,
                Err(error) => return Err(error.to_string()),
            };
            Ok(Done::Packet(Kind::Ping, answer))
        }
    }
}

/// Exchanges several messages over one connection; returns how many bytes were compared.
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

/// Sends a datagram and compares its echo; returns `None` if none comes.
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
