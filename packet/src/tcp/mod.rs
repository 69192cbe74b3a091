//! TCP headers (RFC 9293 section 3.1) and segments whose checksum was verified.
//!
//! * **Define.** A [`TcpView`] is a segment whose header and options were parsed completely and whose
//!   checksum was verified here or vouched for by the device.
//! * **Enforce.** [`TcpView::parse`] and [`TcpUnverified::verify`] are the only constructors. A
//!   [`TcpUnverified`] has ports and sequence numbers, but no payload.
//! * **Consume.** The demultiplexer and the state machine take payload from a `TcpView` only.
//!
//! This module keeps no state of connections.
//!
//! ```
//! use packet::checksum::RxChecksum;
//! use packet::tcp::{TcpFlags, TcpHeader, TcpOptions, TcpView};
//!
//! let header = TcpHeader {
//!     src_port: 4000,
//!     dst_port: 80,
//!     seq: 1,
//!     ack: 0,
//!     flags: TcpFlags::SYN,
//!     window: 65535,
//!     urgent: 0,
//!     options: TcpOptions { mss: Some(1460), ..TcpOptions::default() },
//! };
//! let mut bytes = [0; 60];
//! let len = header.write(&mut bytes);
//! assert_eq!(len, 24);
//! let (src, dst) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
//! // The checksum is still zero, so the segment is valid only if the device vouches for it.
//! assert!(TcpView::parse(src, dst, &bytes[..len], RxChecksum::Unknown).is_err());
//! let view = TcpView::parse(src, dst, &bytes[..len], RxChecksum::Vouched).unwrap();
//! assert_eq!(view.header(), header);
//! ```

mod fast_open;
mod header;
mod options;
mod rare;
mod raw;
mod view;

pub use fast_open::FastOpen;
pub use header::{TcpFlags, TcpHeader};
pub use options::{SackBlocks, TcpOptions, Timestamps};
pub use rare::{AccEcn, UserTimeout};
pub use raw::{TcpOption, TcpOptionIter, write_option};
pub use view::{TcpParseError, TcpUnverified, TcpView, WireHeader};

/// Length of the header without options, in bytes.
pub const MIN_HEADER_LEN: usize = 20;

/// Length of the longest header, in bytes.
pub const MAX_HEADER_LEN: usize = 60;

/// Largest length of the options in a header, in bytes.
pub const MAX_OPTIONS_LEN: usize = MAX_HEADER_LEN - MIN_HEADER_LEN;
