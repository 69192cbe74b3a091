//! Lenient reading of packets that may be truncated or malformed (RFC 1122 section 3.2.2, RFC 4443
//! section 2.4(e), RFC 5927).
//!
//! An [`Outline`] is not verified. It serves two purposes: to find the connection that an ICMP error
//! concerns, from the packet that it quotes, and to decide whether a packet may be answered with an
//! ICMP error at all.
//!
//! ```
//! use packet::IpProto;
//! use packet::ip::Outline;
//!
//! // The first 28 bytes of a packet of 1500 bytes, without checksums.
//! let mut quoted = [0; 28];
//! quoted[..4].copy_from_slice(&[0x45, 0, 0x05, 0xdc]);
//! quoted[9] = 6;
//! quoted[20..].copy_from_slice(&[0, 80, 4, 0, 0, 0, 0, 9]);
//! let outline = Outline::read(&quoted).unwrap();
//! assert_eq!((outline.proto, outline.total_len), (IpProto::TCP, 1500));
//! assert_eq!((outline.ports(), outline.tcp_seq()), (Some((80, 1024)), Some(9)));
//! // The source is `0.0.0.0`, to which no error may be sent.
//! assert!(!outline.may_be_answered());
//! ```

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::FromBytes;

use super::{
    FragmentInfo, Ip, IpAddress, IpVersion, Ipv4, Ipv4Header, Ipv6, Ipv6FragmentHeader, Ipv6Header,
};
use crate::IpProto;

/// Largest number of extension headers that are read. It is far above the parser's limit, so that the
/// upper layer of a packet that the parser refuses can still be found, and it bounds the work that a
/// peer can cause.
const MAX_WALK: usize = 64;

/// The contents of a packet's headers, not verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outline<'a> {
    /// Source of the packet.
    pub src: IpAddr,
    /// Destination of the packet.
    pub dst: IpAddr,
    /// Protocol of the upper layer. For a fragment other than the first it is the protocol that the
    /// fragment header names; for a truncated header chain, the extension header at which it ends.
    pub proto: IpProto,
    /// Position of the fragment, if the packet is one.
    pub fragment: Option<FragmentInfo>,
    /// Length of the packet according to its header, in bytes.
    pub total_len: usize,
    /// The bytes after the headers, as far as they are present.
    pub transport: &'a [u8],
}

impl<'a> Outline<'a> {
    /// Reads the packet at the front of `bytes`, which may be longer than the packet (the rest is
    /// ignored as padding) or shorter.
    ///
    /// If an IPv6 header chain is truncated, `proto` is the incomplete extension header and `transport`
    /// is empty. Returns `None` if the IPv4 header or the fixed IPv6 header is incomplete, or if the
    /// chain has more than 64 headers.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        Self::of(bytes, true)
    }

    /// Reads the beginning of a packet like [`read`](Self::read), but takes none of `bytes` for padding,
    /// whatever the length field says. Some senders quote packets after they changed the length field.
    pub fn read_beginning(bytes: &'a [u8]) -> Option<Self> {
        Self::of(bytes, false)
    }

    fn of(bytes: &'a [u8], padded: bool) -> Option<Self> {
        match IpVersion::of_packet(bytes)? {
            IpVersion::V4 => v4(bytes, padded),
            IpVersion::V6 => v6(bytes, padded),
        }
    }

    /// Returns the source and destination port of a TCP segment or UDP datagram. Returns `None` for other
    /// protocols and for fragments other than the first.
    pub fn ports(&self) -> Option<(u16, u16)> {
        if !matches!(self.proto, IpProto::TCP | IpProto::UDP) || self.is_later_fragment() {
            return None;
        }
        let (&[a, b, c, d], _) = self.transport.split_first_chunk()?;
        Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    }

    /// Returns the sequence number of a TCP segment, which tells a genuine ICMP error from a forged one
    /// (RFC 5927).
    pub fn tcp_seq(&self) -> Option<u32> {
        self.ports()?;
        if self.proto != IpProto::TCP {
            return None;
        }
        let (seq, _) = self.transport.get(4..)?.split_first_chunk()?;
        Some(u32::from_be_bytes(*seq))
    }

    /// Returns `true` if the packet is a fragment other than the first.
    pub fn is_later_fragment(&self) -> bool {
        self.fragment.is_some_and(|part| part.offset_bytes != 0)
    }

    /// Returns `true` if the packet is or might be an ICMP error: any ICMP message that is not known to
    /// be a query or the answer to one. Hosts that answered each other's errors would never stop.
    pub fn is_icmp_error(&self) -> bool {
        let kind = (!self.is_later_fragment())
            .then(|| self.transport.first())
            .flatten();
        match (self.src, self.proto) {
            // Echo and timestamp: RFC 1122 section 3.2.2 lists no other query that is still in use.
            (IpAddr::V4(_), IpProto::ICMP) => !matches!(kind, Some(0 | 8 | 13 | 14)),
            // Informational messages but the redirect (137), which must not be answered either.
            (IpAddr::V6(_), IpProto::ICMPV6) => !matches!(kind, Some(128..=136 | 138..=255)),
            // The ICMP of the other family is an unknown protocol like any other.
            _ => false,
        }
    }

    /// Returns `true` if an ICMP error may be sent about the packet, as far as the packet itself tells:
    /// its source is a single host, it is not a later fragment, and it cannot be an ICMP error
    /// (RFC 1122 section 3.2.2, RFC 4443 section 2.4(e)). A later fragment in IPv6 may be answered if
    /// its upper layer is known.
    ///
    /// The caller must still check that the destination was a single host (see
    /// [`IpParseErrorAction`](super::IpParseErrorAction)), and that the source is not a directed
    /// broadcast address of its subnets.
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

/// Returns `true` if `addr` can be the source of a packet that came from a network.
fn is_one_host<A: IpAddress>(addr: A) -> bool {
    addr.is_unicast() && !addr.is_loopback()
}

/// Returns `bytes` up to `total_len`, or all of them if the packet is shorter or `total_len` is below
/// `header_len`.
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
        if skip_extension(&mut outline).is_none() {
            outline.transport = &[];
            return Some(outline);
        }
    }
    None
}

/// Advances past the extension header at the front of `transport`. Returns `None` if it is incomplete.
fn skip_extension(outline: &mut Outline<'_>) -> Option<()> {
    let rest = outline.transport;
    let len = match outline.proto {
        IpProto::FRAGMENT => size_of::<Ipv6FragmentHeader>(),
        _ => 8 + usize::from(*rest.get(1)?) * 8,
    };
    let behind = rest.get(len..)?;
    if outline.proto == IpProto::FRAGMENT {
        let (part, _) = Ipv6FragmentHeader::ref_from_prefix(rest).ok()?;
        let offset_more = part.offset_more.get();
        let (offset_bytes, more) = (
            offset_more & Ipv6FragmentHeader::OFFSET_MASK,
            offset_more & Ipv6FragmentHeader::MORE != 0,
        );
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
