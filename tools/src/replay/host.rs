//! What a replay needs of the stack under test: one connection of one listener, on virtual time.

use std::time::Duration;

/// What reading gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reading {
    /// Nothing more for now.
    Waiting,
    /// The client has ended its half.
    Ended,
    /// The connection failed.
    Failed,
}

/// A stack with a listener on the captured server's address and port.
///
/// Times are durations since the start of the replay and never go back.
pub trait Host {
    /// A packet of the client arrives; `gso_size` is 0, or the size of the segments that it is made of.
    fn deliver(&mut self, packet: Vec<u8>, gso_size: u16);

    /// Does everything that is to be done at `now`, appending the packets sent. Returns when it wants
    /// to be called next if nothing happens before.
    fn turn(&mut self, now: Duration, sent: &mut Vec<Vec<u8>>) -> Option<Duration>;

    /// Appends what the application can read now.
    fn read(&mut self, into: &mut Vec<u8>) -> Reading;

    /// The application writes; returns how many bytes were taken, 0 if it has to wait.
    fn write(&mut self, bytes: &[u8]) -> usize;

    /// The application ends its half.
    fn close(&mut self);

    /// The application resets the connection.
    fn abort(&mut self);

    /// Packets discarded so far, by reason.
    fn drops(&self) -> Vec<(&'static str, u64)>;
}
