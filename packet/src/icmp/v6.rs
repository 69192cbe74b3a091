//! ICMP for IPv6 (RFC 4443; the messages of RFC 4861 and RFC 2710 are recognised by their types).

use core::net::{IpAddr, Ipv6Addr};

use super::quote::Quote;
use super::v4::{TimeExceededCode, pair};
use super::{HEADER_LEN, IcmpParseError};
use crate::IpProto;
use crate::checksum::{self, RxChecksum};

/// Why a destination cannot be reached (type 1, RFC 4443 section 3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Icmpv6UnreachableCode {
    /// 0: no route to the destination.
    NoRoute,
    /// 1: forbidden by the administration.
    Prohibited,
    /// 2: beyond the scope of the source address.
    BeyondScope,
    /// 3: the address does not answer.
    Address,
    /// 4: nobody listens on the port.
    Port,
    /// 5: the source address failed a policy.
    SourcePolicy,
    /// 6: the route rejects the destination.
    RejectRoute,
    /// Any other code.
    Other(u8),
}

impl From<u8> for Icmpv6UnreachableCode {
    fn from(code: u8) -> Self {
        match code {
            0 => Self::NoRoute,
            1 => Self::Prohibited,
            2 => Self::BeyondScope,
            3 => Self::Address,
            4 => Self::Port,
            5 => Self::SourcePolicy,
            6 => Self::RejectRoute,
            other => Self::Other(other),
        }
    }
}

impl From<Icmpv6UnreachableCode> for u8 {
    fn from(code: Icmpv6UnreachableCode) -> u8 {
        match code {
            Icmpv6UnreachableCode::NoRoute => 0,
            Icmpv6UnreachableCode::Prohibited => 1,
            Icmpv6UnreachableCode::BeyondScope => 2,
            Icmpv6UnreachableCode::Address => 3,
            Icmpv6UnreachableCode::Port => 4,
            Icmpv6UnreachableCode::SourcePolicy => 5,
            Icmpv6UnreachableCode::RejectRoute => 6,
            Icmpv6UnreachableCode::Other(code) => code,
        }
    }
}

mod kind {
    pub(super) const UNREACHABLE: u8 = 1;
    pub(super) const PACKET_TOO_BIG: u8 = 2;
    pub(super) const TIME_EXCEEDED: u8 = 3;
    pub(super) const PARAMETER_PROBLEM: u8 = 4;
    pub(super) const ECHO_REQUEST: u8 = 128;
    pub(super) const ECHO_REPLY: u8 = 129;
    pub(super) const MULTICAST_QUERY: u8 = 130;
    pub(super) const MULTICAST_REPORT: u8 = 131;
    pub(super) const MULTICAST_DONE: u8 = 132;
    pub(super) const ROUTER_SOLICITATION: u8 = 133;
    pub(super) const ROUTER_ADVERTISEMENT: u8 = 134;
    pub(super) const NEIGHBOR_SOLICITATION: u8 = 135;
    pub(super) const NEIGHBOR_ADVERTISEMENT: u8 = 136;
    pub(super) const REDIRECT: u8 = 137;
    pub(super) const MULTICAST_REPORT_V2: u8 = 143;
}

/// The messages of neighbour discovery (RFC 4861) and multicast listener discovery (RFC 2710,
/// RFC 3810). A TUN device has no link layer, so a host sees them, but has nothing to answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Icmpv6Link {
    /// Type 130.
    MulticastQuery,
    /// Type 131.
    MulticastReport,
    /// Type 132.
    MulticastDone,
    /// Type 133.
    RouterSolicitation,
    /// Type 134.
    RouterAdvertisement,
    /// Type 135.
    NeighborSolicitation,
    /// Type 136.
    NeighborAdvertisement,
    /// Type 137.
    Redirect,
    /// Type 143.
    MulticastReportV2,
}

impl Icmpv6Link {
    const fn kind(self) -> u8 {
        match self {
            Self::MulticastQuery => kind::MULTICAST_QUERY,
            Self::MulticastReport => kind::MULTICAST_REPORT,
            Self::MulticastDone => kind::MULTICAST_DONE,
            Self::RouterSolicitation => kind::ROUTER_SOLICITATION,
            Self::RouterAdvertisement => kind::ROUTER_ADVERTISEMENT,
            Self::NeighborSolicitation => kind::NEIGHBOR_SOLICITATION,
            Self::NeighborAdvertisement => kind::NEIGHBOR_ADVERTISEMENT,
            Self::Redirect => kind::REDIRECT,
            Self::MulticastReportV2 => kind::MULTICAST_REPORT_V2,
        }
    }

    const fn from_kind(kind: u8) -> Option<Self> {
        Some(match kind {
            kind::MULTICAST_QUERY => Self::MulticastQuery,
            kind::MULTICAST_REPORT => Self::MulticastReport,
            kind::MULTICAST_DONE => Self::MulticastDone,
            kind::ROUTER_SOLICITATION => Self::RouterSolicitation,
            kind::ROUTER_ADVERTISEMENT => Self::RouterAdvertisement,
            kind::NEIGHBOR_SOLICITATION => Self::NeighborSolicitation,
            kind::NEIGHBOR_ADVERTISEMENT => Self::NeighborAdvertisement,
            kind::REDIRECT => Self::Redirect,
            kind::MULTICAST_REPORT_V2 => Self::MulticastReportV2,
            _ => return None,
        })
    }
}

/// The first eight octets of a message. Fields that a sender must leave zero are not kept, but for
/// the RFC 4884 length, which [`Icmpv6View::quote`] reads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Icmpv6 {
    /// Type 1.
    DestinationUnreachable {
        /// Why.
        code: Icmpv6UnreachableCode,
    },
    /// Type 2.
    PacketTooBig {
        /// MTU of the next link, in octets.
        mtu: u32,
    },
    /// Type 3.
    TimeExceeded {
        /// Which time.
        code: TimeExceededCode,
    },
    /// Type 4.
    ParameterProblem {
        /// The code: see [`Icmpv6ParameterProblemCode`](crate::ip::Icmpv6ParameterProblemCode).
        code: u8,
        /// The octet of the packet that is wrong; may lie beyond the quote.
        pointer: u32,
    },
    /// Type 128.
    EchoRequest {
        /// Identifier, for the sender to tell its requests apart.
        ident: u16,
        /// Sequence number, likewise.
        seq: u16,
    },
    /// Type 129: the answer to an echo request, with its data.
    EchoReply {
        /// Identifier of the request.
        ident: u16,
        /// Sequence number of the request.
        seq: u16,
    },
    /// Types 130 to 137 and 143.
    Link {
        /// Which.
        message: Icmpv6Link,
        /// The four octets behind the checksum.
        rest: [u8; 4],
    },
    /// Any other type, or a type above with a code that it does not have.
    Other {
        /// Type; below 128 it is an error (RFC 4443 section 2.1).
        kind: u8,
        /// Code.
        code: u8,
        /// The four octets behind the checksum.
        rest: [u8; 4],
    },
}

impl Icmpv6 {
    /// Reads a message's first eight octets; the checksum field is not looked at.
    pub fn from_octets(octets: &[u8; HEADER_LEN]) -> Self {
        let [kind, code, _, _, a, b, c, d] = *octets;
        let (first, second) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let rest = [a, b, c, d];
        match (kind, code) {
            (kind::UNREACHABLE, _) => Self::DestinationUnreachable { code: code.into() },
            // The code is sent as zero and not looked at (RFC 4443 section 3.2).
            (kind::PACKET_TOO_BIG, _) => Self::PacketTooBig {
                mtu: u32::from_be_bytes(rest),
            },
            (kind::TIME_EXCEEDED, _) => Self::TimeExceeded { code: code.into() },
            (kind::PARAMETER_PROBLEM, _) => Self::ParameterProblem {
                code,
                pointer: u32::from_be_bytes(rest),
            },
            (kind::ECHO_REQUEST, 0) => Self::EchoRequest {
                ident: first,
                seq: second,
            },
            (kind::ECHO_REPLY, 0) => Self::EchoReply {
                ident: first,
                seq: second,
            },
            _ => match (Icmpv6Link::from_kind(kind), code) {
                (Some(message), 0) => Self::Link { message, rest },
                _ => Self::Other { kind, code, rest },
            },
        }
    }

    /// The message's first eight octets, with a checksum field of zero.
    pub fn to_octets(&self) -> [u8; HEADER_LEN] {
        let (kind, code, rest) = match *self {
            Self::DestinationUnreachable { code } => (kind::UNREACHABLE, code.into(), [0; 4]),
            Self::PacketTooBig { mtu } => (kind::PACKET_TOO_BIG, 0, mtu.to_be_bytes()),
            Self::TimeExceeded { code } => (kind::TIME_EXCEEDED, code.into(), [0; 4]),
            Self::ParameterProblem { code, pointer } => {
                (kind::PARAMETER_PROBLEM, code, pointer.to_be_bytes())
            }
            Self::EchoRequest { ident, seq } => (kind::ECHO_REQUEST, 0, pair(ident, seq)),
            Self::EchoReply { ident, seq } => (kind::ECHO_REPLY, 0, pair(ident, seq)),
            Self::Link { message, rest } => (message.kind(), 0, rest),
            Self::Other { kind, code, rest } => (kind, code, rest),
        };
        let [a, b, c, d] = rest;
        [kind, code, 0, 0, a, b, c, d]
    }

    /// Whether it reports an error, and so quotes a packet and is never answered by an error
    /// (RFC 4443 section 2.4): all types below 128, the unknown included, and redirects.
    pub fn is_error(&self) -> bool {
        match self {
            Self::DestinationUnreachable { .. }
            | Self::PacketTooBig { .. }
            | Self::TimeExceeded { .. }
            | Self::ParameterProblem { .. } => true,
            Self::Link { message, .. } => *message == Icmpv6Link::Redirect,
            Self::Other { kind, .. } => *kind < 128 || *kind == kind::REDIRECT,
            Self::EchoRequest { .. } | Self::EchoReply { .. } => false,
        }
    }
}

/// A message whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub struct Icmpv6View<'a> {
    octets: &'a [u8; HEADER_LEN],
    body: &'a [u8],
}

impl<'a> Icmpv6View<'a> {
    /// Reads `bytes`, an IP payload from its first octet to its last, that came from `src` for `dst`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(
        src: Ipv6Addr,
        dst: Ipv6Addr,
        bytes: &'a [u8],
        checksum: RxChecksum,
    ) -> Result<Self, IcmpParseError> {
        let Some((octets, body)) = bytes.split_first_chunk() else {
            return Err(IcmpParseError::TooShort);
        };
        let (src, dst) = (IpAddr::V6(src), IpAddr::V6(dst));
        if checksum == RxChecksum::Unknown
            && !checksum::verify_transport(src, dst, IpProto::ICMPV6, bytes)
        {
            return Err(IcmpParseError::Checksum);
        }
        Ok(Self { octets, body })
    }

    /// The first eight octets.
    pub fn message(&self) -> Icmpv6 {
        Icmpv6::from_octets(self.octets)
    }

    /// What follows them: echo data, or the quoted packet with what RFC 4884 may put behind it.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The packet that an error message quotes, of an unknown type too (RFC 4443 section 2.4 a);
    /// `None` for other messages and for redirects, which quote inside an option.
    pub fn quote(&self) -> Option<Quote<'a>> {
        let quote_len = match self.message() {
            Icmpv6::DestinationUnreachable { .. } | Icmpv6::TimeExceeded { .. } => {
                let [.., length, _, _, _] = *self.octets;
                usize::from(length) * 8
            }
            Icmpv6::PacketTooBig { .. } | Icmpv6::ParameterProblem { .. } => 0,
            Icmpv6::Other { kind, .. } if kind < 128 => 0,
            _ => return None,
        };
        Some(Quote::split(self.body, quote_len))
    }
}
