//! ICMP for both versions (RFC 792, RFC 1122 section 3.2.2, RFC 4443, RFC 4884).
//!
//! [`Icmpv4`] and [`Icmpv6`] represent the first eight bytes of a message. Fields that a sender must set
//! to zero are not kept. The rest of the message (echo data, or the packet that an error quotes, with
//! RFC 4884 [`Extensions`]) is a separate slice.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+-------------------------------+
//! |     type      |     code      |           checksum            |
//! +---------------+---------------+-------------------------------+
//! |        depends on the type (identifier, MTU, pointer)         |
//! +---------------------------------------------------------------+
//! ```
//!
//! * **Define.** [`Icmpv4View`] and [`Icmpv6View`] are messages whose checksum was verified.
//! * **Enforce.** Their `parse` is the only constructor.
//! * **Consume.** Only a view gives access to echo data and quoted packets.
//!
//! The stack decides which messages to answer and which to believe.
//!
//! ```
//! use packet::checksum::RxChecksum;
//! use packet::icmp::{Icmpv4, Icmpv4View};
//!
//! let bytes = [8, 0, 0xf7, 0xf6, 0, 7, 0, 2];
//! let view = Icmpv4View::parse(&bytes, RxChecksum::Unknown).unwrap();
//! assert_eq!(view.message(), Icmpv4::EchoRequest { ident: 7, seq: 2 });
//! ```

mod extensions;
mod quote;
mod v4;
mod v6;

use crate::IpProto;
use crate::ip::IpVersion;

pub use extensions::{ExtensionObject, Extensions};
pub use quote::{Quote, quote_len};
pub use v4::{Icmpv4, Icmpv4RedirectCode, Icmpv4UnreachableCode, Icmpv4View, TimeExceededCode};
pub use v6::{Icmpv6, Icmpv6Link, Icmpv6UnreachableCode, Icmpv6View, Mld};

/// Length of the header that every message has, in bytes: type, code, checksum and four bytes whose
/// meaning depends on the type.
pub const HEADER_LEN: usize = 8;

/// The reason to discard an ICMP message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum IcmpParseError {
    /// The message is shorter than its header of eight bytes.
    #[error("ICMP message is shorter than its header of 8 bytes")]
    TooShort,
    /// The checksum is wrong.
    #[error("ICMP checksum is wrong")]
    Checksum,
}

/// An ICMP message of either version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IcmpMessage {
    /// For IPv4.
    V4(Icmpv4),
    /// For IPv6.
    V6(Icmpv6),
}

impl IcmpMessage {
    /// Returns the IP version of the message.
    pub fn version(&self) -> IpVersion {
        match self {
            Self::V4(_) => IpVersion::V4,
            Self::V6(_) => IpVersion::V6,
        }
    }

    /// Returns the protocol number of ICMP in that version.
    pub fn proto(&self) -> IpProto {
        match self {
            Self::V4(_) => IpProto::ICMP,
            Self::V6(_) => IpProto::ICMPV6,
        }
    }

    /// Returns the first eight bytes of the message, with a zero checksum.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        match self {
            Self::V4(message) => message.to_bytes(),
            Self::V6(message) => message.to_bytes(),
        }
    }
}

impl From<Icmpv4> for IcmpMessage {
    fn from(message: Icmpv4) -> Self {
        Self::V4(message)
    }
}

impl From<Icmpv6> for IcmpMessage {
    fn from(message: Icmpv6) -> Self {
        Self::V6(message)
    }
}
