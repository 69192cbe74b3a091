//! One UDP socket (RFC 768, RFC 1122 section 4.1).
//!
//! Pure state: [`socket`] has the queue and the peer, [`datagram`] what is received, [`destination`] the check of what is sent, [`discovery`] what becomes of
//! large datagrams, [`error`] the errors.
//! [`UdpTable`](crate::demux::UdpTable) finds the socket of a datagram, and
//! [`udp_packets`](crate::ip::send::udp_packets) builds the packets to send.

pub mod datagram;
pub mod destination;
pub mod discovery;
pub mod error;
pub mod socket;

pub use datagram::{Datagram, SEGMENTS_MAX, SegmentedDelivery, Segments};
pub use destination::check_destination;
pub use discovery::MtuDiscovery;
pub use error::{SendError, SocketError};
pub use socket::Socket;
