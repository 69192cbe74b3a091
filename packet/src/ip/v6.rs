//! The IPv6 parser: the fixed header and the chain of extension headers (RFC 8200 section 4).

use super::error::Problem;
use super::header::HeaderFields;
use super::packet::ipv6_header;
use super::v6_ext::{self, RoutingHeader};
use super::{
    FragmentInfo, Icmpv6ParameterProblemCode as Code, Ip, IpPacket, IpParseError,
    IpParseErrorAction, Ipv4, Ipv6, Ipv6FragmentHeader, Ipv6Header, MAX_EXTENSION_HEADERS,
    ParseError,
};
use crate::IpProto;

/// Offset of the payload length field.
const PAYLOAD_LEN_AT: usize = 4;
/// Offset of the next header field.
const NEXT_HEADER_AT: usize = 6;

impl Problem<Ipv6> {
    /// Returns a problem at octet `at` of the packet that the RFCs recommend to answer unless the
    /// destination was multicast.
    pub(super) fn at(code: Code, at: usize) -> Self {
        Self {
            code,
            // At most 65,575, the length of the longest packet.
            pointer: at as u32,
            header_len: (),
            must_send_icmp: false,
            action: IpParseErrorAction::DiscardPacketSendIcmpNoMulticast,
        }
    }

    /// Returns a problem that the RFCs require to answer.
    pub(super) fn demanded(code: Code, at: usize) -> Self {
        Self {
            must_send_icmp: true,
            ..Self::at(code, at)
        }
    }

    /// Returns a problem for which RFC 8504 section 5.3 discards the packet silently.
    pub(super) fn silent(code: Code, at: usize) -> Self {
        Self {
            action: IpParseErrorAction::DiscardPacket,
            ..Self::at(code, at)
        }
    }
}

#[inline]
pub(super) fn parse(bytes: &[u8]) -> Result<IpPacket<'_, Ipv6>, IpParseError<Ipv6>> {
    let header = ipv6_header(bytes)?;
    if bytes.first().is_none_or(|first| first >> 4 != 6) {
        return Err(ParseError::Version.into());
    }
    let total_len = Ipv6::FIXED_HEADER_LEN + usize::from(header.payload_len.get());
    let Some((packet, payload)) = bytes
        .get(..total_len)
        .and_then(|packet| Some((packet, packet.get(Ipv6::FIXED_HEADER_LEN..)?)))
    else {
        return Err(ParseError::Truncated.into());
    };
    let proto = header.first_proto();
    if proto.is_extension_header() {
        return parse_chain(packet, header);
    }
    Ok(IpPacket {
        header,
        bytes: packet,
        payload,
        next_header_at: NEXT_HEADER_AT as u32,
        fragment_link_at: 0,
        fragment: None,
        proto,
    })
}

/// Parses a packet with extension headers.
#[inline(never)]
fn parse_chain<'a>(
    packet: &'a [u8],
    header: &'a Ipv6Header,
) -> Result<IpPacket<'a, Ipv6>, IpParseError<Ipv6>> {
    let end = match walk(packet, header.first_proto()) {
        Ok(end) => end,
        Err(problem) => return Err(problem.of(header, packet)),
    };
    Ok(IpPacket {
        header,
        bytes: packet,
        payload: end.payload,
        next_header_at: end.next_header_at as u32,
        fragment_link_at: end.fragment_link_at as u32,
        fragment: end.fragment,
        proto: end.proto,
    })
}

/// The end of the header chain.
struct End<'a> {
    /// Protocol of `payload`.
    proto: IpProto,
    /// Offset of the field that names this protocol.
    next_header_at: usize,
    /// The bytes behind the headers.
    payload: &'a [u8],
    /// For a fragment that is not atomic: offset of the field that names the fragment header.
    fragment_link_at: usize,
    fragment: Option<FragmentInfo>,
}

/// Checks the extension headers up to the upper-layer header, or to the payload of a fragment.
#[inline]
fn walk(packet: &[u8], first: IpProto) -> Result<End<'_>, Problem<Ipv6>> {
    let mut end = End {
        proto: first,
        next_header_at: NEXT_HEADER_AT,
        payload: packet.get(Ipv6::FIXED_HEADER_LEN..).unwrap_or(&[]),
        fragment_link_at: 0,
        fragment: None,
    };
    for count in 0.. {
        if !end.proto.is_extension_header() {
            break;
        }
        let at = packet.len() - end.payload.len();
        if end.proto == IpProto::HOP_BY_HOP {
            check_hop_by_hop(packet, end.next_header_at, at)?;
        }
        if count == MAX_EXTENSION_HEADERS {
            return Err(Problem::at(Code::TooManyExtensionHeaders, at));
        }
        // The shortest header has 8 bytes, and so have nearly all.
        let Some((start, behind)) = end.payload.split_first_chunk::<8>() else {
            return Err(cut_off(&end, at));
        };
        let &[next, units, ..] = start;
        let next = IpProto(next);
        if end.proto == IpProto::FRAGMENT {
            let header: &Ipv6FragmentHeader = zerocopy::transmute_ref!(start);
            if !header.is_atomic() {
                return Ok(End {
                    proto: next,
                    next_header_at: at,
                    payload: behind,
                    fragment_link_at: end.next_header_at,
                    fragment: Some(fragment(packet, header, at, count)?),
                });
            }
            end.payload = behind;
        } else {
            let len = 8 + usize::from(units) * 8;
            let Some((header, behind)) = end.payload.split_at_checked(len) else {
                return Err(cut_off(&end, at));
            };
            match end.proto {
                IpProto::ROUTING => check_routing(header, at)?,
                _ => v6_ext::check_options(header, at)?,
            }
            end.payload = behind;
        }
        (end.proto, end.next_header_at) = (next, at);
    }
    Ok(end)
}

/// Checks the place of a hop-by-hop options header: the first, in a packet that is not a jumbogram.
#[inline]
fn check_hop_by_hop(packet: &[u8], next_header_at: usize, at: usize) -> Result<(), Problem<Ipv6>> {
    if at != Ipv6::FIXED_HEADER_LEN {
        return Err(Problem::at(Code::UnrecognizedNextHeader, next_header_at));
    }
    if packet.len() == Ipv6::FIXED_HEADER_LEN {
        // A jumbogram, which the supported MTUs do not allow (RFC 2675 section 3).
        return Err(Problem::at(Code::ErroneousHeaderField, PAYLOAD_LEN_AT));
    }
    Ok(())
}

/// Returns the problem of the extension header at `at`, the end of what was read: it is longer than the rest of the
/// packet.
///
/// If the packet ends before the length field, the pointer names the field that announced the header;
/// if it ends later, the pointer names the length field. The fragment header has a reserved byte in its place.
#[cold]
fn cut_off(end: &End<'_>, at: usize) -> Problem<Ipv6> {
    let wrong_at = if end.payload.len() < 2 || end.proto == IpProto::FRAGMENT {
        end.next_header_at
    } else {
        at + 1
    };
    Problem::at(Code::ErroneousHeaderField, wrong_at)
}

/// Accepts a routing header with no segments left. Others ask this host to forward the packet, which it
/// does not (RFC 8200 section 4.4, RFC 5095, RFC 6554 section 4.2).
fn check_routing(header: &[u8], at: usize) -> Result<(), Problem<Ipv6>> {
    match RoutingHeader::new(header) {
        Some(routing) if routing.segments_left == 0 => Ok(()),
        _ => Err(Problem::demanded(Code::ErroneousHeaderField, at + 2)),
    }
}

/// Checks the fragment header at `at`, which is not that of an atomic fragment and has `count` extension headers in
/// front of it.
#[inline(never)]
fn fragment(
    packet: &[u8],
    header: &Ipv6FragmentHeader,
    at: usize,
    count: usize,
) -> Result<FragmentInfo, Problem<Ipv6>> {
    let offset_more = header.offset_more.get();
    let more = offset_more & Ipv6FragmentHeader::MORE != 0;
    let offset_bytes = offset_more & Ipv6FragmentHeader::OFFSET_MASK;
    let behind = at + size_of::<Ipv6FragmentHeader>();
    let len = packet.len().saturating_sub(behind);
    if more && !len.is_multiple_of(8) {
        return Err(Problem::at(Code::ErroneousHeaderField, PAYLOAD_LEN_AT));
    }
    // The payload length of the whole packet counts the headers in front of the fragment header, and
    // the payload up to the end of this fragment.
    let unfragmentable = at.saturating_sub(Ipv6::FIXED_HEADER_LEN);
    if unfragmentable + usize::from(offset_bytes) + len > usize::from(u16::MAX) {
        return Err(Problem::at(Code::ErroneousHeaderField, at + 2));
    }
    if offset_bytes == 0 {
        check_first_fragment(packet, IpProto(header.next_header), behind, count + 1)?;
    }
    if more && len == 0 {
        return Err(Problem::silent(Code::ErroneousHeaderField, PAYLOAD_LEN_AT));
    }
    Ok(FragmentInfo {
        id: header.ident.get(),
        offset_bytes,
        more,
    })
}

/// Checks that a first fragment contains all headers, that of the upper layer included (RFC 7112
/// section 5). This checks lengths only: options are checked when the packet is reassembled.
fn check_first_fragment(
    packet: &[u8],
    mut proto: IpProto,
    mut at: usize,
    mut count: usize,
) -> Result<(), Problem<Ipv6>> {
    let incomplete = Problem::at(Code::IncompleteHeaderChain, 0);
    loop {
        let rest = packet.get(at..).unwrap_or(&[]);
        let len = match proto {
            IpProto::HOP_BY_HOP | IpProto::DEST_OPTS | IpProto::ROUTING => {
                let &units = rest.get(1).ok_or(incomplete)?;
                8 + usize::from(units) * 8
            }
            IpProto::FRAGMENT => 8,
            _ => {
                return match rest.len() >= upper_header_len(proto, rest) {
                    true => Ok(()),
                    false => Err(incomplete),
                };
            }
        };
        let header = rest.get(..len).ok_or(incomplete)?;
        if count == MAX_EXTENSION_HEADERS {
            return Err(Problem::at(Code::TooManyExtensionHeaders, at));
        }
        count += 1;
        proto = IpProto(header.first().copied().unwrap_or(IpProto::NO_NEXT.0));
        at += len;
    }
}

/// Returns the length of the upper layer's header, or the smallest possible length if its beginning does
/// not tell. An unknown protocol has at least one byte.
fn upper_header_len(proto: IpProto, rest: &[u8]) -> usize {
    match proto {
        IpProto::TCP => {
            let offset = rest.get(12).map_or(0, |byte| usize::from(byte >> 4) * 4);
            offset.max(20)
        }
        IpProto::UDP | IpProto::ESP => 8,
        IpProto::ICMPV6 => 4,
        IpProto::AH => 12,
        IpProto::NO_NEXT => 0,
        IpProto::IPV4 => Ipv4::FIXED_HEADER_LEN,
        IpProto::IPV6 => Ipv6::FIXED_HEADER_LEN,
        IpProto::GRE => 4,
        IpProto::SCTP | IpProto::DCCP => 12,
        IpProto::UDP_LITE => 8,
        _ => 1,
    }
}
