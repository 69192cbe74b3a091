//! Captures: from a file to IP packets with times, and from those to TCP sessions.
//!
//! Owns the reading only; it judges nothing and sends nothing. Files are input like any other: a bad
//! one yields an error that says what is wrong, at which packet, and what to do.

mod file;
mod link;
mod session;
mod stream;

pub use file::{Captured, read, read_from};
pub use link::LinkType;
pub use session::{Direction, Segment, Session, sessions, take_apart};
pub use stream::Stream;

/// Why a capture cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file cannot be opened or read.
    #[error("{path}: {source}: name a readable capture file")]
    Open {
        /// The file.
        path: String,
        /// What the system said.
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
        /// What the reader met.
        what: String,
    },
    /// A link type that we do not take apart.
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
