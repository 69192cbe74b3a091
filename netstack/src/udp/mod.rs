//! One UDP socket (RFC 768, RFC 1122 section 4.1).
//!
//! Pure state: [`socket`] is the queue and the peer, [`error`] what it reports. Which datagram is
//! for which socket is [`crate::demux::UdpTable`]'s, sending is [`crate::ip::send::udp_packets`]'s.

pub mod error;
pub mod socket;

pub use error::{SendError, SocketError};
pub use socket::{Datagram, SegmentedDelivery, Socket};
