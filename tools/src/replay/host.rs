//! The interface of the stack under test: one connection of one listener, on virtual time.

use std::time::Duration;

/// The state of the connection after a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reading {
    /// More data may follow.
    Waiting,
    /// The client has closed its half.
    Ended,
    /// The connection failed.
    Failed,
}

/// A stack with a listener on the captured server's address and port.
///
/// Times are durations since the start of the replay and never go back.
pub trait Host {
    /// Delivers a packet of the client. `gso_size` is 0, or the segment size of a GSO packet.
    fn deliver(&mut self, packet: Vec<u8>, gso_size: u16);

    /// Runs the stack at `now` and appends the packets sent to `sent`. Returns the time of the next
    /// timer.
    fn turn(&mut self, now: Duration, sent: &mut Vec<Vec<u8>>) -> Option<Duration>;

    /// Appends all data that the application can read now.
    fn read(&mut self, into: &mut Vec<u8>) -> Reading;

    /// Writes as the application. Returns the number of bytes accepted, 0 if it has to wait.
    fn write(&mut self, bytes: &[u8]) -> usize;

    /// Closes the application's half of the connection.
    fn close(&mut self);

    /// Resets the connection as the application.
    fn abort(&mut self);

    /// Returns the number of packets discarded so far, by reason.
    fn drops(&self) -> Vec<(&'static str, u64)>;
}
