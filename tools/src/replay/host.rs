//! The interface of the stack under test: sockets with numbers, on virtual time.

use std::net::SocketAddr;
use std::time::Duration;

use super::places::Place;

/// Virtual time that the peer waits for data which the captured peer had: longer than any sequence
/// of retransmissions that succeeds.
const STUCK_TIMEOUT: Duration = Duration::from_secs(300);

/// The state of a connection after a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reading {
    /// More data may follow.
    Waiting,
    /// The peer has closed its half.
    Ended,
    /// The connection failed.
    Failed,
}

/// The host's application at the start of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opening {
    /// It listens, and accepts the connection.
    Listens,
    /// It connects.
    Connects,
    /// It does nothing: nobody listens on the port.
    Nothing,
    /// It has a UDP socket.
    Datagrams,
}

/// A stack with one address of each family.
///
/// Times are durations since the start of the replay and never go back. A session's number names its socket.
pub trait Host {
    /// Returns the ends of session `number` in the replay. Its captured ends are `ours` and `peer`.
    fn place(&self, number: usize, ours: SocketAddr, peer: SocketAddr) -> Place {
        Place::of(number, ours, peer)
    }

    /// Lets time pass until `until`, or until something happens before. Returns the time. Virtual time passes at once.
    fn wait(&mut self, until: Duration) -> Duration {
        until
    }

    /// Returns how long a peer waits for what the captured peer had.
    fn patience(&self) -> Duration {
        STUCK_TIMEOUT
    }

    /// Returns true if the application is played, too. Otherwise the host has one of its own, of which only the packets are
    /// seen.
    fn has_application(&self) -> bool {
        true
    }

    /// Begins a session between `ours` and `peer`. A listener, and a UDP socket, is shared by all sessions of
    /// its port.
    fn open(&mut self, session: usize, opening: Opening, ours: SocketAddr, peer: SocketAddr);

    /// Delivers a packet. `gso_size` is 0, or the segment size of a GSO packet.
    fn deliver(&mut self, packet: Vec<u8>, gso_size: u16);

    /// Runs the stack at `now` and appends the packets sent to `sent`. Returns the time of the next
    /// timer.
    fn turn(&mut self, now: Duration, sent: &mut Vec<Vec<u8>>) -> Option<Duration>;

    /// Appends all data that the application can read now.
    fn read(&mut self, session: usize, into: &mut Vec<u8>) -> Reading;

    /// Returns the next datagram that came from the session's peer.
    fn receive(&mut self, session: usize) -> Option<Vec<u8>>;

    /// Writes as the application. Returns the number of bytes accepted, 0 if it has to wait. A datagram is
    /// accepted whole.
    fn write(&mut self, session: usize, bytes: &[u8]) -> usize;

    /// Closes the application's half of the connection.
    fn shut_down(&mut self, session: usize);

    /// Closes the connection, so that data which arrives later is refused.
    fn close(&mut self, session: usize);

    /// Resets the connection as the application.
    fn abort(&mut self, session: usize);

    /// Returns the number of packets discarded so far, by reason.
    fn drops(&self) -> Vec<(&'static str, u64)>;

    /// Returns the error of the stack itself, if it had one.
    fn failure(&self) -> Option<&str>;
}
