//! IPv4 and IPv6: addresses, headers, and packets whose headers were checked.
//!
//! * **Define.** An [`IpPacket`] is a packet whose IP header, options and extension headers were
//!   read to their end: lengths fit, the IPv4 checksum is right, and no option demands a discard.
//! * **Enforce.** [`IpPacket::parse`] is the only constructor; it reads, and never writes.
//! * **Consume.** Code above slices [`payload`](IpPacket::payload) by ranges that cannot miss, and
//!   answers an [`IpParseError`] without looking at the packet again.
//!
//! What differs between the versions is in the trait [`Ip`]; code above is written once over it.
//!
//! It never decides whether a packet is for this host, and never puts fragments together.
//! RFC 791, RFC 1122 section 3.2, RFC 8200, RFC 7112, RFC 8504 section 5.3.
//!
//! ```
//! use packet::ip::{Icmpv6ParameterProblemCode, IpPacket, IpParseError, Ipv6};
//!
//! // Fixed header, then destination options with one that is not known (type 0x9e).
//! let mut bytes = [0; 48];
//! bytes[0] = 0x60;
//! bytes[5] = 8;
//! bytes[6] = 60;
//! bytes[8..24].copy_from_slice(&[0xfd; 16]); // From one host, which can be told.
//! bytes[40..48].copy_from_slice(&[17, 0, 0x9e, 4, 0, 0, 0, 0]);
//! let error = IpPacket::<Ipv6>::parse(&bytes).unwrap_err();
//! assert!(error.should_send_icmp());
//! let IpParseError::ParameterProblem { code, pointer, must_send_icmp, .. } = error else {
//!     panic!("it has an answer");
//! };
//! assert_eq!(code, Icmpv6ParameterProblemCode::UnrecognizedOption);
//! assert_eq!((pointer, must_send_icmp), (42, true));
//!
//! bytes[42] = 0x1e; // An option that may be skipped.
//! let packet = IpPacket::<Ipv6>::parse(&bytes).unwrap();
//! assert_eq!((packet.proto().0, packet.payload_range()), (17, 48..48));
//! ```

mod addr;
mod error;
mod header;
mod outline;
mod packet;
mod subnet;
mod v4;
mod v4_options;
mod v6;
mod v6_ext;

use core::fmt::Debug;
use core::hash::Hash;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::IpProto;

pub use addr::{IpAddress, MulticastScope, Specified, Unicast};
pub use error::{
    Icmpv4ParameterProblemCode, Icmpv6ParameterProblemCode, IpParseError, IpParseErrorAction,
    ParseError,
};
pub use header::{Ipv4Header, Ipv6FragmentHeader, Ipv6Header};
pub use outline::Outline;
pub use packet::{AnyIpPacket, FragmentInfo, IpPacket};
pub use subnet::{Subnet, SubnetError};
pub use v4_options::{Ipv4Option, Ipv4Options};
pub use v6_ext::{
    Ipv6Extension, Ipv6Extensions, Ipv6Option, Ipv6OptionAction, Ipv6Options, RoutingHeader,
};

/// Most extension headers in one packet; one more is a Parameter Problem (RFC 8883 code 8).
pub const MAX_EXTENSION_HEADERS: usize = 8;

/// Most options, padding not counted, in one options header (RFC 8504 section 5.3).
pub const MAX_OPTIONS: usize = 8;

/// Most padding octets in a row in an options header, one-octet and longer padding counted together:
/// none needs more, since nothing is aligned to more than 8 octets (RFC 8504 section 5.3).
pub const MAX_PADDING: usize = 7;

/// The version of an IP packet: the first four bits of its first octet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum IpVersion {
    /// Version 4.
    V4,
    /// Version 6.
    V6,
}

impl IpVersion {
    /// The version of `packet`: `None` for an empty one and for any other number.
    pub fn of_packet(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Some(Self::V4),
            6 => Some(Self::V6),
            _ => None,
        }
    }

    /// The version of `addr`.
    pub fn of_addr(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The smallest MTU that a link may have: [`Ip::MIN_MTU`].
    pub const fn min_mtu(self) -> usize {
        match self {
            Self::V4 => Ipv4::MIN_MTU,
            Self::V6 => Ipv6::MIN_MTU,
        }
    }

    /// Length of the fixed header, in octets: [`Ip::FIXED_HEADER_LEN`].
    pub const fn fixed_header_len(self) -> usize {
        match self {
            Self::V4 => Ipv4::FIXED_HEADER_LEN,
            Self::V6 => Ipv6::FIXED_HEADER_LEN,
        }
    }
}

/// Whether the parser would pass `options` in an IPv4 header.
pub(crate) fn are_ipv4_options(options: &[u8]) -> bool {
    v4_options::check(options).is_ok()
}

/// Whether the parser would pass a hop-by-hop or destination options header with `options` and
/// `padding` octets of padding behind them.
pub(crate) fn are_ipv6_options(options: &[u8], padding: usize) -> bool {
    v6_ext::check_octets(options, 0).is_ok_and(|trailing| trailing + padding <= MAX_PADDING)
}

mod private {
    /// What only this crate may do with a version.
    pub trait Sealed: Sized {
        /// Reads a packet's headers to their end.
        fn parse(bytes: &[u8]) -> Result<super::IpPacket<'_, Self>, super::IpParseError<Self>>
        where
            Self: super::Ip;
    }
}

/// One version of the internet protocol, as a type: [`Ipv4`] or [`Ipv6`].
pub trait Ip:
    private::Sealed + Copy + Debug + Eq + Ord + Hash + Default + Send + Sync + 'static
{
    /// The version as a value.
    const VERSION: IpVersion;

    /// Every node can receive, and every ICMP error fits into, a packet of this many octets:
    /// 576 (RFC 1122 section 3.3.2) or 1280 (RFC 8200 section 5).
    const MIN_MTU: usize;

    /// Length of the header without options or extensions, in octets: 20 or 40.
    const FIXED_HEADER_LEN: usize;

    /// The protocol number of this version's ICMP.
    const ICMP: IpProto;

    /// The version's addresses.
    type Addr: IpAddress<Version = Self>;

    /// The version's fixed header as it is on the wire.
    type Header: header::HeaderFields<Addr = Self::Addr> + Copy + Debug + Eq + 'static;

    /// Codes of its ICMP Parameter Problem.
    type ParameterProblemCode: Copy + Eq + Hash + Debug + Into<u8>;

    /// Width of the pointer of its ICMP Parameter Problem: `u8` or `u32`.
    type ParameterProblemPointer: Copy + Eq + Hash + Debug + Into<u32>;

    /// What is known of the header's length when its parsing fails: `usize` (IPv4) or `()`.
    type HeaderLen: Copy + Eq + Hash + Debug;
}

/// Version 4 of the internet protocol, as a type (RFC 791).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Ipv4;

/// Version 6 of the internet protocol, as a type (RFC 8200).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Ipv6;

impl private::Sealed for Ipv4 {
    #[inline]
    fn parse(bytes: &[u8]) -> Result<IpPacket<'_, Self>, IpParseError<Self>> {
        v4::parse(bytes)
    }
}

impl private::Sealed for Ipv6 {
    #[inline]
    fn parse(bytes: &[u8]) -> Result<IpPacket<'_, Self>, IpParseError<Self>> {
        v6::parse(bytes)
    }
}

impl Ip for Ipv4 {
    const VERSION: IpVersion = IpVersion::V4;
    const MIN_MTU: usize = 576;
    const FIXED_HEADER_LEN: usize = 20;
    const ICMP: IpProto = IpProto::ICMP;
    type Addr = Ipv4Addr;
    type Header = Ipv4Header;
    type ParameterProblemCode = Icmpv4ParameterProblemCode;
    type ParameterProblemPointer = u8;
    type HeaderLen = usize;
}

impl Ip for Ipv6 {
    const VERSION: IpVersion = IpVersion::V6;
    const MIN_MTU: usize = 1280;
    const FIXED_HEADER_LEN: usize = 40;
    const ICMP: IpProto = IpProto::ICMPV6;
    type Addr = Ipv6Addr;
    type Header = Ipv6Header;
    type ParameterProblemCode = Icmpv6ParameterProblemCode;
    type ParameterProblemPointer = u32;
    type HeaderLen = ();
}
