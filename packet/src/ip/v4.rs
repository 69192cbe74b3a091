//! The IPv4 parser (RFC 791, RFC 1122 section 3.2.1).

use zerocopy::FromBytes;

use super::error::Problem;
use super::{
    FragmentInfo, Icmpv4ParameterProblemCode, Ip, IpPacket, IpParseError, IpParseErrorAction, Ipv4,
    Ipv4Header, ParseError, v4_options,
};
use crate::{IpProto, checksum};

/// Offset of the protocol field.
const PROTO_AT: u32 = 9;

/// Parses a packet. The common case, a packet that is not a fragment and has no options, is handled
/// here so that it can be inlined.
#[inline]
pub(super) fn parse(bytes: &[u8]) -> Result<IpPacket<'_, Ipv4>, IpParseError<Ipv4>> {
    let Ok((header, _)) = Ipv4Header::ref_from_prefix(bytes) else {
        return Err(ParseError::TooShort.into());
    };
    let total_len = usize::from(header.total_len.get());
    if header.version_ihl == 0x45
        && header.flags_offset.get() & (Ipv4Header::MORE_FRAGMENTS | Ipv4Header::OFFSET_MASK) == 0
        && total_len >= Ipv4::FIXED_HEADER_LEN
        && checksum::verify_ipv4_fixed(header)
        && let Some(packet) = bytes.get(..total_len)
        && let Some(payload) = packet.get(Ipv4::FIXED_HEADER_LEN..)
    {
        return Ok(IpPacket {
            header,
            bytes: packet,
            payload,
            next_header_at: PROTO_AT,
            fragment_link_at: 0,
            fragment: None,
            proto: IpProto(header.proto),
        });
    }
    parse_any(bytes, header)
}

/// Parses any packet, or finds its fault.
#[inline(never)]
fn parse_any<'a>(
    bytes: &'a [u8],
    header: &'a Ipv4Header,
) -> Result<IpPacket<'a, Ipv4>, IpParseError<Ipv4>> {
    if header.version_ihl >> 4 != 4 {
        return Err(ParseError::Version.into());
    }
    let header_len = header.header_len();
    let total_len = usize::from(header.total_len.get());
    if header_len < Ipv4::FIXED_HEADER_LEN || total_len < header_len {
        return Err(ParseError::HeaderLength.into());
    }
    let Some(packet) = bytes.get(..total_len) else {
        return Err(ParseError::Truncated.into());
    };
    let Some((headers, payload)) = packet.split_at_checked(header_len) else {
        return Err(ParseError::HeaderLength.into());
    };
    // The checksum comes first: a pointer into damaged options would be useless to the sender.
    if !checksum::verify(headers) {
        return Err(ParseError::Checksum.into());
    }
    v4_options::check(headers.get(Ipv4::FIXED_HEADER_LEN..).unwrap_or(&[]))
        .map_err(|at| bad_option(at, header_len).of(header, packet))?;
    Ok(IpPacket {
        header,
        bytes: packet,
        payload,
        next_header_at: PROTO_AT,
        fragment_link_at: 0,
        fragment: fragment(header, header_len, payload.len())?,
        proto: IpProto(header.proto),
    })
}

fn fragment(
    header: &Ipv4Header,
    header_len: usize,
    payload_len: usize,
) -> Result<Option<FragmentInfo>, ParseError> {
    let flags_offset = header.flags_offset.get();
    let more = flags_offset & Ipv4Header::MORE_FRAGMENTS != 0;
    let offset_bytes = (flags_offset & Ipv4Header::OFFSET_MASK) << 3;
    if !more && offset_bytes == 0 {
        return Ok(None);
    }
    let end = header_len + usize::from(offset_bytes) + payload_len;
    let ends_well = !more || (payload_len > 0 && payload_len.is_multiple_of(8));
    if end > usize::from(u16::MAX) || !ends_well {
        return Err(ParseError::Fragment);
    }
    Ok(Some(FragmentInfo {
        id: u32::from(header.ident.get()),
        offset_bytes,
        more,
    }))
}

/// Returns the problem for a fault at offset `at` of the options. RFC 792 defines the pointer to it, and
/// RFC 1122 section 3.2.2.5 recommends the message.
fn bad_option(at: usize, header_len: usize) -> Problem<Ipv4> {
    Problem {
        code: Icmpv4ParameterProblemCode::PointerIndicatesError,
        // At most 59: a header is at most 60 bytes long.
        pointer: (Ipv4::FIXED_HEADER_LEN + at) as u8,
        header_len,
        must_send_icmp: false,
        action: IpParseErrorAction::DiscardPacketSendIcmpNoMulticast,
    }
}

/// Changes a fragment's header with options into that of the whole packet: clears the fragment fields
/// and sets the length and the checksum. Returns `None` if `headers` is too short for a header.
pub(super) fn rewrite_as_whole(headers: &mut [u8], total_len: u16) -> Option<()> {
    let (header, _) = Ipv4Header::mut_from_prefix(headers).ok()?;
    header.total_len.set(total_len);
    let flags = header.flags_offset.get() & Ipv4Header::DONT_FRAGMENT;
    header.flags_offset.set(flags);
    header.checksum.set(0);
    let sum = checksum::of(headers);
    let (header, _) = Ipv4Header::mut_from_prefix(headers).ok()?;
    header.checksum.set(sum);
    Some(())
}
