//! Reads captures: frames from a file, IP packets from the frames, TCP sessions from the packets.
//!
//! * [`Reader`] reads pcap and pcapng, plain or compressed, one frame after the other, in bounded memory.
//! * [`link`] finds the IP packet in a frame, by link type.
//! * [`packet`] finds addresses, ports and headers in the IP packet, inside of tunnels too.
//! * [`read`] and [`sessions`] hold all packets of a capture, for a replay.
//!
//! A bad file yields an error that says what is wrong, where, and what to do.

mod blocks;
pub(crate) mod checksum;
pub(crate) mod datagrams;
pub(crate) mod defragment;
mod error;
mod input;
pub mod link;
mod link_names;
pub mod packet;
mod reader;
mod records;
mod session;
mod stream;
mod whole;

pub use error::CaptureError;
pub use input::{Input, open, progress};
pub use reader::{Frame, Reader, Warnings};
pub use session::{Checksum, Direction, Segment, Session, sessions, tcp_segment};
pub use stream::Stream;
pub use whole::{Captured, read, read_from};
