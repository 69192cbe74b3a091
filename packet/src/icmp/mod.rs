//! ICMP for both versions (RFC 792, RFC 1122 section 3.2.2, RFC 4443, RFC 4884).
//!
//! A message is an [`Icmpv4`] or [`Icmpv6`]: what its first eight octets say, as an enum that reads
//! back as it was written. Octets that a sender must leave zero are not kept. What follows (echo
//! data, or the packet quoted by an error, with RFC 4884 [`Extensions`]) is a slice beside it.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+-------------------------------+
//! |     type      |     code      |           checksum            |
//! +---------------+---------------+-------------------------------+
//! |            what the type says (identifier, MTU, ...)          |
//! +---------------------------------------------------------------+
//! ```
//!
//! * **Define.** [`Icmpv4View`] and [`Icmpv6View`] are messages whose checksum was verified.
//! * **Enforce.** Their `parse` is the only constructor.
//! * **Consume.** Echo data and quoted packets come out of a view only.
//!
//! It never decides whether a message is to be answered or believed: that is the stack's.
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
pub use v6::{Icmpv6, Icmpv6Link, Icmpv6UnreachableCode, Icmpv6View};

/// Length of the part that every message has, in octets: type, code, checksum and four octets whose
/// meaning the type gives.
pub const HEADER_LEN: usize = 8;

/// Why an ICMP message is discarded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum IcmpParseError {
    /// Shorter than eight octets.
    #[error("shorter than the header")]
    TooShort,
    /// The checksum is wrong.
    #[error("bad checksum")]
    Checksum,
}

/// A message of either version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IcmpMessage {
    /// For IPv4.
    V4(Icmpv4),
    /// For IPv6.
    V6(Icmpv6),
}

impl IcmpMessage {
    /// Which version's ICMP it is.
    pub fn version(&self) -> IpVersion {
        match self {
            Self::V4(_) => IpVersion::V4,
            Self::V6(_) => IpVersion::V6,
        }
    }

    /// The protocol number of that ICMP.
    pub fn proto(&self) -> IpProto {
        match self {
            Self::V4(_) => IpProto::ICMP,
            Self::V6(_) => IpProto::ICMPV6,
        }
    }

    /// The first eight octets, with a checksum field of zero.
    pub fn to_octets(&self) -> [u8; HEADER_LEN] {
        match self {
            Self::V4(message) => message.to_octets(),
            Self::V6(message) => message.to_octets(),
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
