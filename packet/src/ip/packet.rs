//! A packet whose IP headers were checked.

use core::fmt;
use core::net::IpAddr;
use core::ops::Range;

use super::error::Problem;
use super::header::HeaderFields;
use super::v4_options::Ipv4Options;
use super::v6_ext::Ipv6Extensions;
use super::{
    Icmpv6ParameterProblemCode, Ip, IpParseError, IpVersion, Ipv4, Ipv6, Ipv6Header, ParseError,
};
use crate::IpProto;

/// Where a fragment belongs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FragmentInfo {
    /// Identification: 16 bits in IPv4, 32 in IPv6.
    pub id: u32,
    /// Offset of the fragment's payload in that of the whole packet: octets, a multiple of 8.
    pub offset_bytes: u16,
    /// Whether more fragments come behind this one.
    pub more: bool,
}

/// A packet whose headers were checked: a view over the bytes received.
#[derive(Clone, Copy)]
pub struct IpPacket<'a, I: Ip> {
    pub(super) header: &'a I::Header,
    /// The packet without trailing padding.
    pub(super) bytes: &'a [u8],
    /// The end of `bytes`.
    pub(super) payload: &'a [u8],
    /// Offset of the octet that says what the payload is.
    pub(super) next_header_at: u32,
    /// IPv6 fragments: offset of the octet that says that the fragment header follows.
    pub(super) fragment_link_at: u32,
    pub(super) fragment: Option<FragmentInfo>,
    pub(super) proto: IpProto,
}

impl<I: Ip> fmt::Debug for IpPacket<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IpPacket")
            .field("src", &self.src())
            .field("dst", &self.dst())
            .field("proto", &self.proto)
            .field("ttl", &self.ttl())
            .field("fragment", &self.fragment)
            .field("payload_len", &self.payload().len())
            .finish()
    }
}

impl<'a, I: Ip> IpPacket<'a, I> {
    /// Reads the headers of `bytes`, which begin with the first octet of the IP header and may be
    /// longer than the packet (padding is left out).
    ///
    /// # Errors
    /// What is wrong, and whether the sender is to be told: see [`IpParseError`].
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, IpParseError<I>> {
        I::parse(bytes)
    }

    /// Source address, as it is in the header.
    #[inline]
    pub fn src(&self) -> I::Addr {
        self.header.src()
    }

    /// Destination address, as it is in the header.
    #[inline]
    pub fn dst(&self) -> I::Addr {
        self.header.dst()
    }

    /// Time to live, or hop limit.
    #[inline]
    pub fn ttl(&self) -> u8 {
        self.header.ttl()
    }

    /// Type of service, or traffic class: DSCP in the high 6 bits, ECN in the low 2 (RFC 3168).
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        self.header.traffic_class()
    }

    /// What the payload is. Of a fragment: what the payload of the whole packet begins with.
    #[inline]
    pub fn proto(&self) -> IpProto {
        self.proto
    }

    /// Where the payload is in the bytes given to [`parse`](Self::parse), padding left out.
    #[inline]
    pub fn payload_range(&self) -> Range<usize> {
        self.header_len()..self.bytes.len()
    }

    /// What follows the headers; of a fragment, the fragment's part of it.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Where this fragment belongs; `None` for a packet that is whole, atomic fragments (RFC 6946)
    /// included.
    #[inline]
    pub fn fragment(&self) -> Option<FragmentInfo> {
        self.fragment
    }

    /// Length of the packet with its headers, in octets.
    #[inline]
    pub fn total_len(&self) -> usize {
        self.bytes.len()
    }

    /// Length of all headers in front of [`payload`](Self::payload), in octets.
    #[inline]
    pub fn header_len(&self) -> usize {
        self.bytes.len() - self.payload.len()
    }

    /// The packet with its headers, padding left out.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The fixed header.
    #[inline]
    pub fn header(&self) -> &'a I::Header {
        self.header
    }

    /// Whether routers must not fragment it: the DF bit in IPv4, always in IPv6.
    #[inline]
    pub fn dont_fragment(&self) -> bool {
        self.header.dont_fragment()
    }

    /// Offset of the octet that says what the payload is (the pointer of "unrecognized next header").
    #[inline]
    pub fn next_header_offset(&self) -> usize {
        self.next_header_at as usize
    }

    /// The headers of the whole packet that this fragment is a part of, as a receiver rebuilds them:
    /// fragment fields and fragment header gone, lengths and the IPv4 checksum set for a payload
    /// of `payload_len` octets. Written to the front of `out`; answers how many octets they take.
    ///
    /// To be asked of the fragment with offset 0 (RFC 815, RFC 8200 section 4.5). `None` if `out`
    /// is too short or the packet would be longer than 65,535 octets.
    pub fn write_whole_header(&self, payload_len: usize, out: &mut [u8]) -> Option<usize> {
        match I::VERSION {
            IpVersion::V4 => {
                let headers = self.bytes.get(..self.header_len())?;
                let out = out.get_mut(..headers.len())?;
                let total = u16::try_from(payload_len.saturating_add(headers.len())).ok()?;
                out.copy_from_slice(headers);
                super::v4::rewrite_as_whole(out, total)?;
                Some(headers.len())
            }
            IpVersion::V6 => {
                let end = match self.fragment {
                    Some(_) => self.next_header_at as usize,
                    None => self.header_len(),
                };
                let headers = self.bytes.get(..end)?;
                let out = out.get_mut(..end)?;
                let behind = payload_len.saturating_add(end.checked_sub(Ipv6::FIXED_HEADER_LEN)?);
                let behind = u16::try_from(behind).ok()?;
                out.copy_from_slice(headers);
                out.get_mut(4..6)?.copy_from_slice(&behind.to_be_bytes());
                if self.fragment.is_some() {
                    *out.get_mut(self.fragment_link_at as usize)? = self.proto.0;
                }
                Some(end)
            }
        }
    }
}

impl<'a> IpPacket<'a, Ipv4> {
    /// The identification field.
    pub fn identification(&self) -> u16 {
        self.header.ident.get()
    }

    /// The options behind the fixed header, checked already.
    pub fn options(&self) -> Ipv4Options<'a> {
        Ipv4Options::new(
            self.bytes
                .get(Ipv4::FIXED_HEADER_LEN..self.header_len())
                .unwrap_or(&[]),
        )
    }
}

impl<'a> IpPacket<'a, Ipv6> {
    /// The flow label: 20 bits.
    pub fn flow_label(&self) -> u32 {
        self.header.flow_label()
    }

    /// The extension headers in front of the payload, checked already, in order.
    pub fn extensions(&self) -> Ipv6Extensions<'a> {
        Ipv6Extensions::new(
            self.header.first_proto(),
            self.bytes
                .get(Ipv6::FIXED_HEADER_LEN..self.header_len())
                .unwrap_or(&[]),
        )
    }

    /// The error that answers this packet when nobody here knows its [`proto`](IpPacket::proto)
    /// (RFC 8200 section 4): code 1, pointer at the octet that named it.
    pub fn unrecognized_next_header(&self) -> IpParseError<Ipv6> {
        Problem::at(
            Icmpv6ParameterProblemCode::UnrecognizedNextHeader,
            self.next_header_at as usize,
        )
        .of(self.header, self.bytes)
    }
}

/// A packet of either version, for code that reads the version from the first octet.
#[derive(Clone, Copy, Debug)]
pub enum AnyIpPacket<'a> {
    /// Version 4.
    V4(IpPacket<'a, Ipv4>),
    /// Version 6.
    V6(IpPacket<'a, Ipv6>),
}

impl<'a> AnyIpPacket<'a> {
    /// Source address.
    pub fn src(&self) -> IpAddr {
        match self {
            Self::V4(packet) => packet.src().into(),
            Self::V6(packet) => packet.src().into(),
        }
    }

    /// Destination address.
    pub fn dst(&self) -> IpAddr {
        match self {
            Self::V4(packet) => packet.dst().into(),
            Self::V6(packet) => packet.dst().into(),
        }
    }

    /// What the payload is.
    pub fn proto(&self) -> IpProto {
        match self {
            Self::V4(packet) => packet.proto(),
            Self::V6(packet) => packet.proto(),
        }
    }

    /// What follows the headers.
    pub fn payload(&self) -> &'a [u8] {
        match self {
            Self::V4(packet) => packet.payload(),
            Self::V6(packet) => packet.payload(),
        }
    }

    /// Where this fragment belongs; `None` for a whole packet.
    pub fn fragment(&self) -> Option<FragmentInfo> {
        match self {
            Self::V4(packet) => packet.fragment(),
            Self::V6(packet) => packet.fragment(),
        }
    }

    /// Reads the headers of a packet of either version; `None` for no valid packet at all.
    ///
    /// For tools that only look: whoever has to answer parses by version and keeps the error.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        match IpVersion::of_packet(bytes)? {
            IpVersion::V4 => IpPacket::parse(bytes).ok().map(Self::V4),
            IpVersion::V6 => IpPacket::parse(bytes).ok().map(Self::V6),
        }
    }
}

/// The fixed IPv6 header at the front of `bytes`, without a look at anything else.
pub(super) fn ipv6_header(bytes: &[u8]) -> Result<&Ipv6Header, ParseError> {
    use zerocopy::FromBytes;
    match Ipv6Header::ref_from_prefix(bytes) {
        Ok((header, _)) => Ok(header),
        Err(_) => Err(ParseError::TooShort),
    }
}
