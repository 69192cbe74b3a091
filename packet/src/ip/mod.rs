//! IPv4 and IPv6: addresses, headers, and packets whose headers were checked (RFC 791, RFC 1122
//! section 3.2, RFC 8200, RFC 7112, RFC 8504 section 5.3).
//!
//! * **Define.** An [`IpPacket`] is a packet whose IP header, options and extension headers were parsed
//!   completely: the lengths fit, the IPv4 checksum is right, and no option requires a discard.
//! * **Enforce.** [`IpPacket::parse`] is the only constructor.
//! * **Consume.** Higher layers use [`payload`](IpPacket::payload) without checking lengths again, and
//!   answer an [`IpParseError`] without parsing the packet again.
//!
//! The trait [`Ip`] holds the differences between the versions, so that code can be generic over both.
//!
//! The parsers do not decide whether a packet is for this host, and do not reassemble fragments.
//!
//! ```
//! use packet::ip::{Icmpv6ParameterProblemCode, IpPacket, IpParseError, Ipv6};
//!
//! // A fixed header, then destination options with an unknown option (type 0x9e).
//! let mut bytes = [0; 48];
//! bytes[0] = 0x60;
//! bytes[5] = 8;
//! bytes[6] = 60;
//! bytes[8..24].copy_from_slice(&[0xfd; 16]); // The source is a host that can be answered.
//! bytes[40..48].copy_from_slice(&[17, 0, 0x9e, 4, 0, 0, 0, 0]);
//! let error = IpPacket::<Ipv6>::parse(&bytes).unwrap_err();
//! assert!(error.should_send_icmp());
//! let IpParseError::ParameterProblem { code, pointer, must_send_icmp, .. } = error else {
//!     panic!("an ICMP error reports this fault");
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

/// Largest number of extension headers in one packet. One more is a Parameter Problem (RFC 8883 code 8).
pub const MAX_EXTENSION_HEADERS: usize = 8;

/// Largest number of options in one options header, padding not counted (RFC 8504 section 5.3).
pub const MAX_OPTIONS: usize = 8;

/// Largest number of consecutive padding bytes in an options header, Pad1 and PadN counted together. No
/// header needs more, because options are aligned to at most 8 bytes (RFC 8504 section 5.3).
pub const MAX_PADDING: usize = 7;

/// The version of an IP packet: the first four bits of its first byte.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum IpVersion {
    /// Version 4.
    V4,
    /// Version 6.
    V6,
}

impl IpVersion {
    /// Returns the version of `packet`, or `None` if it is empty or the version is neither 4 nor 6.
    pub fn of_packet(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Some(Self::V4),
            6 => Some(Self::V6),
            _ => None,
        }
    }

    /// Returns the version of `addr`.
    pub fn of_addr(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Returns the smallest MTU that a link may have: [`Ip::MIN_MTU`].
    pub const fn min_mtu(self) -> usize {
        match self {
            Self::V4 => Ipv4::MIN_MTU,
            Self::V6 => Ipv6::MIN_MTU,
        }
    }

    /// Returns the length of the fixed header, in bytes: [`Ip::FIXED_HEADER_LEN`].
    pub const fn fixed_header_len(self) -> usize {
        match self {
            Self::V4 => Ipv4::FIXED_HEADER_LEN,
            Self::V6 => Ipv6::FIXED_HEADER_LEN,
        }
    }
}

/// Returns `true` if the parser accepts `options` in an IPv4 header.
pub(crate) fn are_ipv4_options(options: &[u8]) -> bool {
    v4_options::check(options).is_ok()
}

/// Returns `true` if the parser accepts a hop-by-hop or destination options header with `options` and
/// `padding` bytes of padding after them.
pub(crate) fn are_ipv6_options(options: &[u8], padding: usize) -> bool {
    v6_ext::check_options_and_padding(options, 0)
        .is_ok_and(|trailing| trailing + padding <= MAX_PADDING)
}

mod private {
    /// Restricts [`Ip`](super::Ip) to the two versions and holds their parsers.
    pub trait Sealed: Sized {
        /// Parses all headers of a packet.
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

    /// Length in bytes of a packet that every node can receive, and the limit for an ICMP error:
    /// 576 (RFC 1122 section 3.3.2) or 1280 (RFC 8200 section 5).
    const MIN_MTU: usize;

    /// Length of the header without options or extensions, in bytes: 20 or 40.
    const FIXED_HEADER_LEN: usize;

    /// The protocol number of this version's ICMP.
    const ICMP: IpProto;

    /// The version's addresses.
    type Addr: IpAddress<Version = Self>;

    /// The version's fixed header in wire format.
    type Header: header::HeaderFields<Addr = Self::Addr> + Copy + Debug + Eq + 'static;

    /// The code of an ICMP Parameter Problem.
    type ParameterProblemCode: Copy + Eq + Hash + Debug + Into<u8>;

    /// The pointer of an ICMP Parameter Problem: `u8` (IPv4) or `u32` (IPv6).
    type ParameterProblemPointer: Copy + Eq + Hash + Debug + Into<u32>;

    /// The length of the header in an error: `usize` (IPv4) or `()` (IPv6).
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
