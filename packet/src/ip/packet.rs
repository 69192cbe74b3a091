//! Packets whose IP headers were checked.

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

/// The position of a fragment in its packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FragmentInfo {
    /// Identification: 16 bits in IPv4, 32 in IPv6.
    pub id: u32,
    /// Offset of the fragment's payload in the payload of the whole packet, in bytes; a multiple of 8.
    pub offset_bytes: u16,
    /// `true` for every fragment but the last.
    pub more: bool,
}

/// A view of a packet whose IP headers were checked.
#[derive(Clone, Copy)]
pub struct IpPacket<'a, I: Ip> {
    pub(super) header: &'a I::Header,
    /// The packet without trailing padding.
    pub(super) bytes: &'a [u8],
    /// The part of `bytes` after the headers.
    pub(super) payload: &'a [u8],
    /// Offset of the field that names the payload's protocol.
    pub(super) next_header_at: u32,
    /// IPv6 fragments: offset of the field that names the fragment header.
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
    /// Parses all IP headers of the packet at the front of `bytes`. Bytes beyond the packet are ignored
    /// as padding.
    ///
    /// # Errors
    /// Returns the fault and the ICMP error that answers it: see [`IpParseError`].
    ///
    /// # Examples
    /// ```
    /// use packet::ip::{IpPacket, IpParseError, Ipv4, ParseError};
    ///
    /// let mut bytes = [0; 20];
    /// bytes[0] = 0x45; // Version 4, a header of 5 words.
    /// bytes[3] = 40; // A total length of 40 bytes, of which 20 are missing.
    /// let error = IpPacket::<Ipv4>::parse(&bytes).unwrap_err();
    /// assert_eq!(error, IpParseError::Parse { error: ParseError::Truncated });
    /// assert!(!error.should_send_icmp());
    /// ```
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, IpParseError<I>> {
        I::parse(bytes)
    }

    /// Returns the source address.
    #[inline]
    pub fn src(&self) -> I::Addr {
        self.header.src()
    }

    /// Returns the destination address.
    #[inline]
    pub fn dst(&self) -> I::Addr {
        self.header.dst()
    }

    /// Returns the time to live, or hop limit.
    #[inline]
    pub fn ttl(&self) -> u8 {
        self.header.ttl()
    }

    /// Returns the type of service, or traffic class: DSCP in the high 6 bits, ECN in the low 2
    /// (RFC 3168).
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        self.header.traffic_class()
    }

    /// Returns the protocol of the payload. For a fragment, it is the protocol at the beginning of the
    /// whole packet's payload.
    #[inline]
    pub fn proto(&self) -> IpProto {
        self.proto
    }

    /// Returns the range of the payload in the bytes given to [`parse`](Self::parse).
    #[inline]
    pub fn payload_range(&self) -> Range<usize> {
        self.header_len()..self.bytes.len()
    }

    /// Returns the payload. For a fragment, it is the fragment's part of the payload.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Returns the position of this fragment, or `None` for a whole packet. An atomic fragment (RFC 6946)
    /// is a whole packet.
    #[inline]
    pub fn fragment(&self) -> Option<FragmentInfo> {
        self.fragment
    }

    /// Returns the length of the packet with its headers, in bytes.
    #[inline]
    pub fn total_len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the length of all headers in front of [`payload`](Self::payload), in bytes.
    #[inline]
    pub fn header_len(&self) -> usize {
        self.bytes.len() - self.payload.len()
    }

    /// Returns the packet with its headers, without padding.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the fixed header.
    #[inline]
    pub fn header(&self) -> &'a I::Header {
        self.header
    }

    /// Returns `true` if routers must not fragment the packet: the DF bit in IPv4, always in IPv6.
    #[inline]
    pub fn dont_fragment(&self) -> bool {
        self.header.dont_fragment()
    }

    /// Returns the offset of the octet that names the payload's protocol: the pointer of an
    /// "unrecognized next header" error.
    #[inline]
    pub fn next_header_offset(&self) -> usize {
        self.next_header_at as usize
    }

    /// Writes the headers of the reassembled packet to the front of `out` and returns their length.
    ///
    /// The headers are those of this fragment, which must be the one with offset 0 (RFC 815, RFC 8200
    /// section 4.5), without the fragment fields or fragment header. Their lengths and the IPv4
    /// checksum are set for a payload of `payload_len` bytes.
    ///
    /// Returns `None` if `out` is too short or the packet would be longer than 65,535 bytes.
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
    /// Returns the identification field.
    pub fn identification(&self) -> u16 {
        self.header.ident.get()
    }

    /// Iterates over the options, which were checked.
    pub fn options(&self) -> Ipv4Options<'a> {
        Ipv4Options::new(
            self.bytes
                .get(Ipv4::FIXED_HEADER_LEN..self.header_len())
                .unwrap_or(&[]),
        )
    }
}

impl<'a> IpPacket<'a, Ipv6> {
    /// Returns the flow label, 20 bits.
    pub fn flow_label(&self) -> u32 {
        self.header.flow_label()
    }

    /// Iterates over the extension headers, which were checked, in order.
    pub fn extensions(&self) -> Ipv6Extensions<'a> {
        Ipv6Extensions::new(
            self.header.first_proto(),
            self.bytes
                .get(Ipv6::FIXED_HEADER_LEN..self.header_len())
                .unwrap_or(&[]),
        )
    }

    /// Returns the error that answers this packet if its [`proto`](IpPacket::proto) is not supported
    /// (RFC 8200 section 4): code 1, with the pointer at the octet that names the protocol.
    pub fn unrecognized_next_header(&self) -> IpParseError<Ipv6> {
        Problem::at(
            Icmpv6ParameterProblemCode::UnrecognizedNextHeader,
            self.next_header_at as usize,
        )
        .of(self.header, self.bytes)
    }
}

/// A packet of either IP version.
#[derive(Clone, Copy, Debug)]
pub enum AnyIpPacket<'a> {
    /// Version 4.
    V4(IpPacket<'a, Ipv4>),
    /// Version 6.
    V6(IpPacket<'a, Ipv6>),
}

impl<'a> AnyIpPacket<'a> {
    /// Returns the source address.
    pub fn src(&self) -> IpAddr {
        match self {
            Self::V4(packet) => packet.src().into(),
            Self::V6(packet) => packet.src().into(),
        }
    }

    /// Returns the destination address.
    pub fn dst(&self) -> IpAddr {
        match self {
            Self::V4(packet) => packet.dst().into(),
            Self::V6(packet) => packet.dst().into(),
        }
    }

    /// Returns the protocol of the payload.
    pub fn proto(&self) -> IpProto {
        match self {
            Self::V4(packet) => packet.proto(),
            Self::V6(packet) => packet.proto(),
        }
    }

    /// Returns the payload.
    pub fn payload(&self) -> &'a [u8] {
        match self {
            Self::V4(packet) => packet.payload(),
            Self::V6(packet) => packet.payload(),
        }
    }

    /// Returns the position of this fragment, or `None` for a whole packet.
    pub fn fragment(&self) -> Option<FragmentInfo> {
        match self {
            Self::V4(packet) => packet.fragment(),
            Self::V6(packet) => packet.fragment(),
        }
    }

    /// Parses the IP headers of a packet of either version. Returns `None` if it is not valid.
    ///
    /// This is for tools that only inspect packets. A node that answers errors uses
    /// [`IpPacket::parse`], which returns them.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        match IpVersion::of_packet(bytes)? {
            IpVersion::V4 => IpPacket::parse(bytes).ok().map(Self::V4),
            IpVersion::V6 => IpPacket::parse(bytes).ok().map(Self::V6),
        }
    }
}

/// Returns the fixed IPv6 header at the front of `bytes` without checking it.
pub(super) fn ipv6_header(bytes: &[u8]) -> Result<&Ipv6Header, ParseError> {
    use zerocopy::FromBytes;
    match Ipv6Header::ref_from_prefix(bytes) {
        Ok((header, _)) => Ok(header),
        Err(_) => Err(ParseError::TooShort),
    }
}
