//! Builds packets back to front: first the transport header, then the IP header in front of it.
//!
//! Headers are written into a [`Headroom`]: the inline [`Head`], for a payload that stays elsewhere, or
//! a [`SliceHead`], for a payload in the same buffer. After each `prepend_*` function, every length and
//! checksum in the head is right for the bytes that follow it, and a device can send head and payload
//! as they are. A function that fails leaves the head unchanged.
//!
//! The parameter `payload_len` is the number of bytes that follow `head` as it is when the function is
//! called. The caller guarantees that this is the length of the payload; builds with debug assertions
//! check it where the payload is read.
//!
//! ```
//! use packet::build::{self, Head, IpFields, TxChecksum};
//! use packet::ip::{IpPacket, Ipv4};
//! use packet::udp::UdpHeader;
//! use packet::IpProto;
//!
//! let fields = IpFields {
//!     src: [10, 0, 0, 1].into(),
//!     dst: [10, 0, 0, 2].into(),
//!     proto: IpProto::UDP,
//!     ttl: 64,
//!     traffic_class: 0,
//!     ident: 0,
//!     dont_fragment: true,
//!     flow_label: 0,
//! };
//! let header = UdpHeader { src_port: 7, dst_port: 9, len: 0 };
//! let payload = b"hello";
//! let mut head = Head::new();
//! let pieces = [&payload[..]].into_iter();
//! build::prepend_udp(&mut head, &header, fields.src, fields.dst, pieces, 5, TxChecksum::Full).unwrap();
//! build::prepend_ip(&mut head, &fields, 5).unwrap();
//!
//! let packet = [head.as_slice(), payload].concat();
//! let parsed = IpPacket::<Ipv4>::parse(&packet).unwrap();
//! assert_eq!((parsed.proto(), parsed.payload().len()), (IpProto::UDP, 13));
//! ```

mod head;
mod headroom;
mod icmp;
mod ip;
mod transport;

pub use head::Head;
pub use headroom::{Headroom, SliceHead};
pub use icmp::{echo_reply, icmp_error, prepend_icmp};
pub use ip::{
    IpFields, prepend_fragment_header, prepend_ip, prepend_ip_fragment, prepend_ipv4_with_options,
    prepend_options_header,
};
pub use transport::{prepend_tcp, prepend_udp};

use crate::checksum::Checksum;

/// How a transport checksum is computed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TxChecksum {
    /// The builder computes the checksum and reads the payload to do so.
    Full,
    /// The device finishes the checksum. The builder writes only the sum of the pseudo-header and does
    /// not read the payload.
    Partial,
    /// The builder computes the checksum from this sum of the payload, for example from
    /// [`Checksum::copy_and_add`], and does not read the payload.
    Payload(Checksum),
}

/// The reason why a header cannot be built. The head is unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum BuildError {
    /// The head has no room for the header.
    #[error("the head has no room for the header")]
    NoRoom,
    /// The packet would be longer than a length field can express.
    #[error("the packet would be longer than its length field can express")]
    TooLong,
    /// Source and destination, or addresses and ICMP message, are of different IP versions.
    #[error("source, destination and message are not of one IP version")]
    MixedVersions,
    /// The fragment is impossible: its offset is not a multiple of 8, its identification is too wide for
    /// IPv4, or it is not the last one and its length is zero or not a multiple of 8.
    #[error("the fragment's offset, length or identification is impossible")]
    Fragment,
    /// The options are malformed or too long for the header.
    #[error("the options are malformed or too long for the header")]
    Options,
}
