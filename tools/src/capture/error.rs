//! The reasons why a capture cannot be used.

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
    /// The file contradicts itself.
    #[error(
        "{path}: after packet {number}: {what}: the file is damaged there, \
         what comes after it cannot be read"
    )]
    Damaged {
        /// The file.
        path: String,
        /// The last packet that could be read, counted from 1; 0 before the first.
        number: u64,
        /// The fault that the reader found.
        what: String,
    },
    /// No packet has a link type that is supported.
    #[error(
        "{path}: all {count} packets have link type {link}: capture on an Ethernet, PPP, TUN or \
         \"any\" interface"
    )]
    LinkType {
        /// The file.
        path: String,
        /// The packets.
        count: u64,
        /// The link type, as the file names it.
        link: String,
    },
    /// The capture holds more than a replay can keep in memory.
    #[error(
        "{path}: more than {limit} bytes of packets: a replay holds all of them, so take out the \
         sessions of interest first, for example with tcpdump -r {path} -w part.pcap host 10.0.0.1"
    )]
    TooLarge {
        /// The file.
        path: String,
        /// The limit.
        limit: u64,
    },
}
