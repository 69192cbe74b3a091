//! The packet that an error message quotes: read leniently, for it was cut, and sent by somebody else.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::FromBytes;

use super::HEADER_LEN;
use crate::IpProto;
use crate::ip::{
    FragmentInfo, Ip, IpVersion, Ipv4, Ipv4Header, Ipv6, Ipv6FragmentHeader, Ipv6Header,
    MAX_EXTENSION_HEADERS,
};

/// How much of a packet of `original_len` octets an error message quotes: as much as fits into a
/// packet that every node can receive, 576 octets (RFC 1812 section 4.3.2.3) or 1280 (RFC 4443
/// section 2.4 c), without IP options.
pub const fn quote_len(version: IpVersion, original_len: usize) -> usize {
    let room = version.min_mtu() - version.fixed_header_len() - HEADER_LEN;
    if original_len < room {
        original_len
    } else {
        room
    }
}

/// What follows the header of an error message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quote<'a> {
    /// The beginning of the packet that caused the error.
    pub original: &'a [u8],
    /// The extension structure behind it (RFC 4884 section 7), if there is one.
    pub extensions: Option<&'a [u8]>,
}

/// Least length of the quoted part when extensions follow it (RFC 4884 section 3).
const MIN_WITH_EXTENSIONS: usize = 128;

impl<'a> Quote<'a> {
    /// `quote_len` is what the message's length field says, in octets; 0 for none.
    pub(super) fn split(body: &'a [u8], quote_len: usize) -> Self {
        // A length that makes no sense is no length: the field was unused before RFC 4884.
        if quote_len >= MIN_WITH_EXTENSIONS
            && let Some((original, extensions)) = body.split_at_checked(quote_len)
        {
            return Self {
                original,
                extensions: (!extensions.is_empty()).then_some(extensions),
            };
        }
        Self {
            original: body,
            extensions: None,
        }
    }

    /// The quoted packet's addresses and the beginning of its upper layer; `None` if the quote is
    /// cut within its IP headers or is no IP packet.
    pub fn packet(&self) -> Option<QuotedPacket<'a>> {
        match IpVersion::of_packet(self.original)? {
            IpVersion::V4 => quoted_v4(self.original),
            IpVersion::V6 => quoted_v6(self.original),
        }
    }
}

/// What an error message quotes of a packet. Nothing of it was verified: its checksums, if they are
/// there at all, cover octets that are not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuotedPacket<'a> {
    /// Source of the packet: the receiver of the error, if it is genuine.
    pub src: IpAddr,
    /// Destination of the packet.
    pub dst: IpAddr,
    /// Its upper layer.
    pub proto: IpProto,
    /// Where the fragment belonged, if the packet was one.
    pub fragment: Option<FragmentInfo>,
    /// Length of the packet as its header says, in octets.
    pub total_len: usize,
    /// The beginning of what follows its headers.
    pub transport: &'a [u8],
}

impl QuotedPacket<'_> {
    /// Source and destination port of a TCP segment or UDP datagram that was not a later fragment.
    pub fn ports(&self) -> Option<(u16, u16)> {
        if !matches!(self.proto, IpProto::TCP | IpProto::UDP)
            || self.fragment.is_some_and(|part| part.offset_bytes != 0)
        {
            return None;
        }
        let (&[a, b, c, d], _) = self.transport.split_first_chunk()?;
        Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    }

    /// Sequence number of a TCP segment: what tells a genuine error from a guess (RFC 5927).
    pub fn tcp_seq(&self) -> Option<u32> {
        self.ports()?;
        if self.proto != IpProto::TCP {
            return None;
        }
        let (seq, _) = self.transport.get(4..)?.split_first_chunk()?;
        Some(u32::from_be_bytes(*seq))
    }
}

fn quoted_v4(bytes: &[u8]) -> Option<QuotedPacket<'_>> {
    let (header, _) = Ipv4Header::ref_from_prefix(bytes).ok()?;
    let header_len = header.header_len();
    if header_len < Ipv4::FIXED_HEADER_LEN {
        return None;
    }
    let flags_offset = header.flags_offset.get();
    let more = flags_offset & Ipv4Header::MORE_FRAGMENTS != 0;
    let offset_bytes = (flags_offset & Ipv4Header::OFFSET_MASK) << 3;
    Some(QuotedPacket {
        src: Ipv4Addr::from(header.src).into(),
        dst: Ipv4Addr::from(header.dst).into(),
        proto: IpProto(header.proto),
        fragment: (more || offset_bytes != 0).then(|| FragmentInfo {
            id: u32::from(header.ident.get()),
            offset_bytes,
            more,
        }),
        total_len: usize::from(header.total_len.get()),
        transport: bytes.get(header_len..)?,
    })
}

fn quoted_v6(bytes: &[u8]) -> Option<QuotedPacket<'_>> {
    let (header, mut rest) = Ipv6Header::ref_from_prefix(bytes).ok()?;
    let mut proto = IpProto(header.next_header);
    let mut fragment = None;
    for _ in 0..MAX_EXTENSION_HEADERS {
        if !proto.is_extension_header()
            || fragment.is_some_and(|part: FragmentInfo| part.offset_bytes != 0)
        {
            break;
        }
        let len = match proto {
            IpProto::FRAGMENT => {
                let (part, _) = Ipv6FragmentHeader::ref_from_prefix(rest).ok()?;
                let offset_more = part.offset_more.get();
                let (offset_bytes, more) = (offset_more & !7, offset_more & 1 != 0);
                fragment = (more || offset_bytes != 0).then(|| FragmentInfo {
                    id: part.ident.get(),
                    offset_bytes,
                    more,
                });
                size_of::<Ipv6FragmentHeader>()
            }
            _ => 8 + usize::from(*rest.get(1)?) * 8,
        };
        proto = IpProto(*rest.first()?);
        rest = rest.get(len..)?;
    }
    Some(QuotedPacket {
        src: Ipv6Addr::from(header.src).into(),
        dst: Ipv6Addr::from(header.dst).into(),
        proto,
        fragment,
        total_len: Ipv6::FIXED_HEADER_LEN + usize::from(header.payload_len.get()),
        transport: rest,
    })
}
