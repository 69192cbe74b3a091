//! The fixed headers in wire format, for reading and writing in place.

use core::net::{Ipv4Addr, Ipv6Addr};

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::IpAddress;
use crate::IpProto;

/// The fixed 20 bytes of an IPv4 header (RFC 791 section 3.1).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-------+-------+---------------+-------------------------------+
/// |version|  ihl  | traffic_class |           total_len           |
/// +-------+-------+---------------+-----+-------------------------+
/// |             ident             |flags|   offset, in 8 bytes    |
/// +---------------+---------------+-----+-------------------------+
/// |      ttl      |     proto     |           checksum            |
/// +---------------+---------------+-------------------------------+
/// |                              src                              |
/// +---------------------------------------------------------------+
/// |                              dst                              |
/// +---------------------------------------------------------------+
/// ```
#[derive(
    FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, PartialEq, Eq, Debug,
)]
#[repr(C)]
pub struct Ipv4Header {
    /// Version (4, high bits) and header length in units of 4 bytes (low bits).
    pub version_ihl: u8,
    /// Differentiated services (high 6 bits) and ECN (low 2).
    pub traffic_class: u8,
    /// Length of the packet, header included, in bytes.
    pub total_len: U16,
    /// Identification, common to the fragments of a packet.
    pub ident: U16,
    /// Flags (3 bits: reserved, don't fragment, more fragments) and offset in units of 8 bytes.
    pub flags_offset: U16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol number of the payload.
    pub proto: u8,
    /// Checksum of the header with its options.
    pub checksum: U16,
    /// Source address.
    pub src: [u8; 4],
    /// Destination address.
    pub dst: [u8; 4],
}

impl Ipv4Header {
    /// The flag in `flags_offset` that forbids fragmentation.
    pub const DONT_FRAGMENT: u16 = 0x4000;
    /// The flag in `flags_offset` of every fragment but the last.
    pub const MORE_FRAGMENTS: u16 = 0x2000;
    /// The bits of `flags_offset` that hold the offset in units of 8 bytes.
    pub const OFFSET_MASK: u16 = 0x1fff;

    /// Returns the value of the header length field in bytes: 0 to 60.
    pub const fn header_len(&self) -> usize {
        (self.version_ihl & 0x0f) as usize * 4
    }
}

/// The 40 bytes of the fixed IPv6 header (RFC 8200 section 3).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-------+---------------+---------------------------------------+
/// |version| traffic class |              flow label               |
/// +-------+---------------+-------+---------------+---------------+
/// |          payload_len          |  next_header  |   hop_limit   |
/// +-------------------------------+---------------+---------------+
/// |                        src, 16 bytes                          |
/// +---------------------------------------------------------------+
/// |                        dst, 16 bytes                          |
/// +---------------------------------------------------------------+
/// ```
#[derive(
    FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, PartialEq, Eq, Debug,
)]
#[repr(C)]
pub struct Ipv6Header {
    /// Version (4 bits), traffic class (8 bits), flow label (20 bits).
    pub version_class_flow: U32,
    /// Number of bytes after this header, extension headers included.
    pub payload_len: U16,
    /// Type of the header that follows.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub src: [u8; 16],
    /// Destination address.
    pub dst: [u8; 16],
}

impl Ipv6Header {
    /// The bits of `version_class_flow` that hold the flow label.
    pub const FLOW_LABEL_MASK: u32 = 0x000f_ffff;

    /// Returns the flow label, 20 bits (RFC 6437).
    pub fn flow_label(&self) -> u32 {
        self.version_class_flow.get() & Self::FLOW_LABEL_MASK
    }
}

/// The fragment header (RFC 8200 section 4.5): 8 bytes.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +---------------+---------------+-------------------------+---+-+
/// |  next_header  |   reserved    |   offset, in 8 bytes    | 0 |M|
/// +---------------+---------------+-------------------------+---+-+
/// |                             ident                             |
/// +---------------------------------------------------------------+
/// ```
#[derive(
    FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, PartialEq, Eq, Debug,
)]
#[repr(C)]
pub struct Ipv6FragmentHeader {
    /// Type of the first header in the fragmentable part.
    pub next_header: u8,
    /// Zero when sent, ignored when received.
    pub reserved: u8,
    /// Offset in units of 8 bytes (13 bits), 2 reserved bits, more-fragments flag.
    pub offset_more: U16,
    /// Identification, common to the fragments of a packet.
    pub ident: U32,
}

impl Ipv6FragmentHeader {
    /// The more-fragments flag.
    pub const MORE: u16 = 1;
    /// The bits of the offset. As they stand they count bytes.
    pub const OFFSET_MASK: u16 = !7;

    /// Returns `true` for a packet that is its only fragment, which is a whole packet (RFC 6946).
    #[inline]
    pub const fn is_atomic(&self) -> bool {
        self.offset_more.get() & (Self::OFFSET_MASK | Self::MORE) == 0
    }
}

/// The fields that both headers have. The trait cannot be named outside the crate.
pub trait HeaderFields {
    /// The header's addresses.
    type Addr: IpAddress;
    /// Returns the source address.
    fn src(&self) -> Self::Addr;
    /// Returns the destination address.
    fn dst(&self) -> Self::Addr;
    /// Returns the time to live, or hop limit.
    fn ttl(&self) -> u8;
    /// Returns the type of service, or traffic class; ECN is in the low 2 bits.
    fn traffic_class(&self) -> u8;
    /// Returns `true` if routers must not fragment the packet, which is always so in IPv6.
    fn dont_fragment(&self) -> bool;
    /// Returns the protocol that the fixed header names.
    fn first_proto(&self) -> IpProto;
}

impl HeaderFields for Ipv4Header {
    type Addr = Ipv4Addr;

    #[inline]
    fn src(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.src)
    }

    #[inline]
    fn dst(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.dst)
    }

    #[inline]
    fn ttl(&self) -> u8 {
        self.ttl
    }

    #[inline]
    fn traffic_class(&self) -> u8 {
        self.traffic_class
    }

    #[inline]
    fn dont_fragment(&self) -> bool {
        self.flags_offset.get() & Self::DONT_FRAGMENT != 0
    }

    #[inline]
    fn first_proto(&self) -> IpProto {
        IpProto(self.proto)
    }
}

impl HeaderFields for Ipv6Header {
    type Addr = Ipv6Addr;

    #[inline]
    fn src(&self) -> Ipv6Addr {
        Ipv6Addr::from(self.src)
    }

    #[inline]
    fn dst(&self) -> Ipv6Addr {
        Ipv6Addr::from(self.dst)
    }

    #[inline]
    fn ttl(&self) -> u8 {
        self.hop_limit
    }

    #[inline]
    fn traffic_class(&self) -> u8 {
        (self.version_class_flow.get() >> 20) as u8
    }

    #[inline]
    fn dont_fragment(&self) -> bool {
        true
    }

    #[inline]
    fn first_proto(&self) -> IpProto {
        IpProto(self.next_header)
    }
}
