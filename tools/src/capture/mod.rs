//! Reads captures: IP packets with times from a file, and TCP sessions from the packets.
//!
//! A bad file yields an error that says what is wrong, at which packet, and what to do.

mod file;
mod link;
mod session;
mod stream;

pub use file::{Captured, read, read_from};
pub use link::LinkType;
pub use session::{Direction, Segment, Session, sessions, tcp_segment};
pub use stream::Stream;

/// The reason why a capture cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file cannot be opened or read.
    #[error("{path}: {source}: name a readable capture file")]
    Open {
        /// The file.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is neither pcap nor pcapng.
    #[error(
        "{path}: starts with {magic:02x?}, neither pcap nor pcapng: \
         make the capture with tcpdump -w or dumpcap -w"
    )]
    NotACapture {
        /// The file.
        path: String,
        /// Its first bytes.
        magic: Vec<u8>,
    },
    /// The file ends early or contradicts itself.
    #[error("{path}: packet {number}: {what}: the file is damaged or cut, capture again")]
    Damaged {
        /// The file.
        path: String,
        /// The packet that could not be read, counted from 1.
        number: usize,
        /// The fault that the reader found.
        what: String,
    },
    /// The link type is not supported.
    #[error(
        "{path}: link type {link}: capture on an Ethernet, TUN or \"any\" interface \
         (link types RAW, ETHERNET, LINUX_SLL, LINUX_SLL2)"
    )]
    LinkType {
        /// The file.
        path: String,
        /// The link type, as the file names it.
        link: String,
    },
    /// The capture kept only the first bytes of a packet.
    #[error(
        "{path}: packet {number}: only {kept} of {length} bytes were kept: \
         capture whole packets (tcpdump -s 0)"
    )]
    Cut {
        /// The file.
        path: String,
        /// The packet, counted from 1.
        number: usize,
        /// Bytes in the file.
        kept: usize,
        /// Bytes on the wire.
        length: usize,
    },
}
