//! One UDP socket.

pub mod socket;

pub use socket::{Datagram, Socket, SocketError};
