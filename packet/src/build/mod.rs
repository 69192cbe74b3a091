//! Building packets back to front: payload first, then transport, then IP.
//!
//! * **Define.** A [`Head`], or any other [`Headroom`], holds headers of which every length and
//!   checksum is already right for what lies behind it.
//! * **Enforce.** Each `prepend_*` knows what it needs before it writes, and leaves the head as it was
//!   when it fails; padding is zero. That `payload_len` is the length of the pieces is the
//!   caller's word: builds with assertions check it where the pieces are read.
//! * **Consume.** A device sends `head` and payload as they are.
//!
//! `payload_len` always means the octets that will follow `head` as it is when the function is called.
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

/// Who computes a transport checksum.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TxChecksum {
    /// It is computed here, over the payload.
    Full,
    /// The device finishes it: the field holds the pseudo-header's sum only, and the payload is not
    /// looked at.
    Partial,
    /// It is computed here, out of the payload's sum, which is known from copying it
    /// ([`Checksum::copy_and_add`]), say: the payload is not looked at.
    Payload(Checksum),
}

/// Why a packet cannot be built. Nothing was written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum BuildError {
    /// The head has no room for the header.
    #[error("no room for the header")]
    NoRoom,
    /// A length field cannot say how long the packet would be.
    #[error("packet too long")]
    TooLong,
    /// Source and destination, or address and message, are not of one version.
    #[error("mixed IP versions")]
    MixedVersions,
    /// A fragment's offset is no multiple of 8, its identification too wide, or its length, not being
    /// the last, zero or no multiple of 8.
    #[error("impossible fragment")]
    Fragment,
    /// Options that the header cannot hold or the parser would refuse.
    #[error("options malformed or too long")]
    Options,
}
