//! What a packet's headers say, read leniently: of a packet that was cut or found wanting.
//!
//! Nothing here is verified. An outline serves two questions that are about a packet rather than
//! for its receiver: whose connection an ICMP error concerns (of the packet that it quotes), and
//! whether a packet may be answered with an ICMP error at all.
//!
//! RFC 1122 section 3.2.2, RFC 4443 section 2.4(e), RFC 5927.
//!
//! ```
//! use packet::IpProto;
//! use packet::ip::Outline;
//!
//! // The first 28 octets of a packet of 1500, its checksums left out.
//! let mut quoted = [0; 28];
//! quoted[..4].copy_from_slice(&[0x45, 0, 0x05, 0xdc]);
//! quoted[9] = 6;
//! quoted[20..].copy_from_slice(&[0, 80, 4, 0, 0, 0, 0, 9]);
//! let outline = Outline::read(&quoted).unwrap();
//! assert_eq!((outline.proto, outline.total_len), (IpProto::TCP, 1500));
//! assert_eq!((outline.ports(), outline.tcp_seq()), (Some((80, 1024)), Some(9)));
//! // Nobody is `0.0.0.0`, so nobody is to be told.
//! assert!(!outline.may_be_answered());
//! ```

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::FromBytes;

use super::{
    FragmentInfo, Ip, IpAddress, IpVersion, Ipv4, Ipv4Header, Ipv6, Ipv6FragmentHeader, Ipv6Header,
};
use crate::IpProto;

/// Most extension headers that are walked past: far more than the parser takes, so that what it refuses
/// is still known for what it is, and few enough for who is sent them.
const MAX_WALK: usize = 64;

/// What a packet's headers say. Nothing of it was verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outline<'a> {
    /// Source of the packet.
    pub src: IpAddr,
    /// Destination of the packet.
    pub dst: IpAddr,
    /// Its upper layer; of a fragment that is not the first, what the fragment header names; of a chain
    /// that is cut, the extension header where it is.
    pub proto: IpProto,
    /// Where the fragment belongs, if the packet is one.
    pub fragment: Option<FragmentInfo>,
    /// Length of the packet as its header says, in octets.
    pub total_len: usize,
    /// The beginning of what follows its headers.
    pub transport: &'a [u8],
}

impl<'a> Outline<'a> {
    /// Reads a packet: `bytes` begin with its IP header, and may be longer than it (padding is left out)
    /// or shorter. Where an IPv6 chain is cut, `proto` is the extension header that is not all there
    /// and `transport` is empty. `None` if there is no whole IPv4 header or fixed IPv6 header, or
    /// the chain is longer than anybody's (64 headers).
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        Self::of(bytes, true)
    }

    /// [`read`](Self::read) for the beginning of a packet that is no longer than what there is of it:
    /// nothing is taken for padding, whatever the length field says. Some senders quote packets with
    /// a length that their own code had changed.
    pub fn read_beginning(bytes: &'a [u8]) -> Option<Self> {
        Self::of(bytes, false)
    }

    fn of(bytes: &'a [u8], padded: bool) -> Option<Self> {
        match IpVersion::of_packet(bytes)? {
            IpVersion::V4 => v4(bytes, padded),
            IpVersion::V6 => v6(bytes, padded),
        }
    }

    /// Source and destination port of a TCP segment or UDP datagram that is not a later fragment.
    pub fn ports(&self) -> Option<(u16, u16)> {
        if !matches!(self.proto, IpProto::TCP | IpProto::UDP) || self.is_later_fragment() {
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

    /// Whether it is a fragment other than the first.
    pub fn is_later_fragment(&self) -> bool {
        self.fragment.is_some_and(|part| part.offset_bytes != 0)
    }

    /// Whether it is an ICMP error, or might be one: any ICMP message that is not known to be a query
    /// or an answer to one. Two hosts that answer each other's errors never stop.
    pub fn is_icmp_error(&self) -> bool {
        let kind = (!self.is_later_fragment())
            .then(|| self.transport.first())
            .flatten();
        match self.proto {
            // Echo and timestamp: RFC 1122 section 3.2.2 lists no other query that is still in use.
            IpProto::ICMP => !matches!(kind, Some(0 | 8 | 13 | 14)),
            // Informational messages, of which a redirect must not be answered either.
            IpProto::ICMPV6 => !matches!(kind, Some(128..=136 | 138..=255)),
            _ => false,
        }
    }

    /// Whether an ICMP error may be sent about the packet as far as it tells by itself: its source is
    /// one host on the network, it is no later fragment, and it is not and might not be an ICMP error
    /// (RFC 1122 section 3.2.2, RFC 4443 section 2.4(e)).
    ///
    /// IPv6 knows an error about later fragments; but only of what is known to be none itself.
    ///
    /// What is left to ask: whether the destination was one host (see
    /// [`IpParseErrorAction`](super::IpParseErrorAction)), and whether the source is a directed
    /// broadcast address, which takes knowing the subnets.
    pub fn may_be_answered(&self) -> bool {
        let from_one_host = match self.src {
            IpAddr::V4(src) => is_one_host(src),
            IpAddr::V6(src) => is_one_host(src),
        };
        let fragment_allows =
            !self.is_later_fragment() || (self.src.is_ipv6() && !self.proto.is_extension_header());
        from_one_host && fragment_allows && !self.is_icmp_error()
    }
}

/// Whether `addr` can be the source of a packet that came over a network.
fn is_one_host<A: IpAddress>(addr: A) -> bool {
    addr.is_unicast() && !addr.is_loopback()
}

/// `bytes` without what lies beyond `total_len`, if that makes any sense.
fn without_padding(bytes: &[u8], total_len: usize, header_len: usize) -> &[u8] {
    match bytes.get(..total_len) {
        Some(packet) if total_len >= header_len => packet,
        _ => bytes,
    }
}

fn v4(bytes: &[u8], padded: bool) -> Option<Outline<'_>> {
    let (header, _) = Ipv4Header::ref_from_prefix(bytes).ok()?;
    let header_len = header.header_len();
    if header_len < Ipv4::FIXED_HEADER_LEN {
        return None;
    }
    let flags_offset = header.flags_offset.get();
    let more = flags_offset & Ipv4Header::MORE_FRAGMENTS != 0;
    let offset_bytes = (flags_offset & Ipv4Header::OFFSET_MASK) << 3;
    let total_len = usize::from(header.total_len.get());
    let packet = if padded {
        without_padding(bytes, total_len, header_len)
    } else {
        bytes
    };
    Some(Outline {
        src: Ipv4Addr::from(header.src).into(),
        dst: Ipv4Addr::from(header.dst).into(),
        proto: IpProto(header.proto),
        fragment: (more || offset_bytes != 0).then(|| FragmentInfo {
            id: u32::from(header.ident.get()),
            offset_bytes,
            more,
        }),
        total_len,
        transport: packet.get(header_len..)?,
    })
}

fn v6(bytes: &[u8], padded: bool) -> Option<Outline<'_>> {
    let (header, _) = Ipv6Header::ref_from_prefix(bytes).ok()?;
    let total_len = Ipv6::FIXED_HEADER_LEN + usize::from(header.payload_len.get());
    let packet = if padded {
        without_padding(bytes, total_len, Ipv6::FIXED_HEADER_LEN)
    } else {
        bytes
    };
    let mut outline = Outline {
        src: Ipv6Addr::from(header.src).into(),
        dst: Ipv6Addr::from(header.dst).into(),
        proto: IpProto(header.next_header),
        fragment: None,
        total_len,
        transport: packet.get(Ipv6::FIXED_HEADER_LEN..)?,
    };
    for _ in 0..MAX_WALK {
        if !outline.proto.is_extension_header() || outline.is_later_fragment() {
            return Some(outline);
        }
        if pass(&mut outline).is_none() {
            outline.transport = &[];
            return Some(outline);
        }
    }
    None
}

/// Passes the extension header that `transport` begins with; `None` if it is not all there.
fn pass(outline: &mut Outline<'_>) -> Option<()> {
    let rest = outline.transport;
    let len = match outline.proto {
        IpProto::FRAGMENT => size_of::<Ipv6FragmentHeader>(),
        _ => 8 + usize::from(*rest.get(1)?) * 8,
    };
    let behind = rest.get(len..)?;
    if outline.proto == IpProto::FRAGMENT {
        let (part, _) = Ipv6FragmentHeader::ref_from_prefix(rest).ok()?;
        let offset_more = part.offset_more.get();
        let (offset_bytes, more) = (offset_more & !7, offset_more & 1 != 0);
        outline.fragment = (more || offset_bytes != 0).then(|| FragmentInfo {
            id: part.ident.get(),
            offset_bytes,
            more,
        });
    }
    outline.proto = IpProto(*rest.first()?);
    outline.transport = behind;
    Some(())
}
