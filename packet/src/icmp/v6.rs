//! ICMP for IPv6 (RFC 4443). Messages of RFC 4861, RFC 2710 and RFC 9777 are recognised by their types.

use core::net::{IpAddr, Ipv6Addr};

use super::quote::Quote;
use super::v4::{TimeExceededCode, pair};
use super::{HEADER_LEN, IcmpParseError};
use crate::IpProto;
use crate::checksum::{self, RxChecksum};

/// The reason why a destination is unreachable (type 1, RFC 4443 section 3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Icmpv6UnreachableCode {
    /// 0: no route to the destination.
    NoRoute,
    /// 1: communication is administratively prohibited.
    Prohibited,
    /// 2: the destination is beyond the scope of the source address.
    BeyondScope,
    /// 3: the address is unreachable.
    Address,
    /// 4: no socket listens on the port.
    Port,
    /// 5: a policy rejects the source address.
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

/// A message of multicast listener discovery (RFC 2710, RFC 9777).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mld {
    /// Type 130.
    Query,
    /// Type 131.
    Report,
    /// Type 132.
    Done,
    /// Type 143.
    ReportV2,
}

/// The messages of neighbour discovery (RFC 4861) and multicast listener discovery (RFC 2710,
/// RFC 9777). On a TUN device, which has no link layer, a host answers none of the former.
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

/// The first eight bytes of a message. Fields that a sender must set to zero are not kept; one of them
/// is the length of RFC 4884, which [`Icmpv6View::quote`] reads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Icmpv6 {
    /// Type 1.
    DestinationUnreachable {
        /// The reason.
        code: Icmpv6UnreachableCode,
    },
    /// Type 2.
    PacketTooBig {
        /// MTU of the next link, in bytes.
        mtu: u32,
    },
    /// Type 3.
    TimeExceeded {
        /// The time that was exceeded.
        code: TimeExceededCode,
    },
    /// Type 4.
    ParameterProblem {
        /// The code: see [`Icmpv6ParameterProblemCode`](crate::ip::Icmpv6ParameterProblemCode).
        code: u8,
        /// The octet of the packet that is wrong. It may lie beyond the end of the quote.
        pointer: u32,
    },
    /// Type 128.
    EchoRequest {
        /// Identifier, by which the sender matches the reply.
        ident: u16,
        /// Sequence number, by which the sender matches the reply.
        seq: u16,
    },
    /// Type 129: the answer to an echo request.
    EchoReply {
        /// Identifier of the request.
        ident: u16,
        /// Sequence number of the request.
        seq: u16,
    },
    /// Types 130 to 137 and 143.
    Link {
        /// The message.
        message: Icmpv6Link,
        /// The four bytes after the checksum.
        rest: [u8; 4],
    },
    /// Any other type, or a type above with a code that it does not have.
    Other {
        /// Type. Types below 128 are errors (RFC 4443 section 2.1).
        kind: u8,
        /// Code.
        code: u8,
        /// The four bytes after the checksum.
        rest: [u8; 4],
    },
}

impl Icmpv6 {
    /// Reads the first eight bytes of a message. It ignores the checksum.
    pub fn from_bytes(bytes: &[u8; HEADER_LEN]) -> Self {
        let [kind, code, _, _, a, b, c, d] = *bytes;
        let (first, second) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let rest = [a, b, c, d];
        match (kind, code) {
            (kind::UNREACHABLE, _) => Self::DestinationUnreachable { code: code.into() },
            // Receivers ignore the code, which is sent as zero (RFC 4443 section 3.2).
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

    /// Returns the first eight bytes of the message, with a zero checksum.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
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

    /// Returns `true` if the message reports an error, which must not be answered with an ICMP error
    /// (RFC 4443 section 2.4): all types below 128, unknown ones included, and redirects.
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

/// A message whose checksum was verified or vouched for by the device.
#[derive(Clone, Copy, Debug)]
pub struct Icmpv6View<'a> {
    header: &'a [u8; HEADER_LEN],
    body: &'a [u8],
}

impl<'a> Icmpv6View<'a> {
    /// Parses `bytes`, a whole IP payload that was sent from `src` to `dst`.
    ///
    /// # Errors
    /// Returns the first fault found: length, then checksum.
    pub fn parse(
        src: Ipv6Addr,
        dst: Ipv6Addr,
        bytes: &'a [u8],
        checksum: RxChecksum,
    ) -> Result<Self, IcmpParseError> {
        let Some((header, body)) = bytes.split_first_chunk() else {
            return Err(IcmpParseError::TooShort);
        };
        let (src, dst) = (IpAddr::V6(src), IpAddr::V6(dst));
        if checksum == RxChecksum::Unknown
            && !checksum::verify_transport(src, dst, IpProto::ICMPV6, bytes)
        {
            return Err(IcmpParseError::Checksum);
        }
        Ok(Self { header, body })
    }

    /// Returns the message in the first eight bytes.
    pub fn message(&self) -> Icmpv6 {
        Icmpv6::from_bytes(self.header)
    }

    /// Returns the bytes after the first eight: echo data, or the quoted packet and its extensions.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Returns the kind of a message of multicast listener discovery, and the four bytes behind its checksum;
    /// `None` for any other message. Receivers ignore the code (RFC 9777 section 5.1.1).
    pub fn mld(&self) -> Option<(Mld, [u8; 4])> {
        let [kind, _, _, _, rest @ ..] = *self.header;
        let mld = match kind {
            kind::MULTICAST_QUERY => Mld::Query,
            kind::MULTICAST_REPORT => Mld::Report,
            kind::MULTICAST_DONE => Mld::Done,
            kind::MULTICAST_REPORT_V2 => Mld::ReportV2,
            _ => return None,
        };
        Some((mld, rest))
    }

    /// Returns the packet that an error message quotes, also for errors of an unknown type (RFC 4443
    /// section 2.4 a). Returns `None` for other messages, and for redirects, which quote the packet in
    /// an option.
    pub fn quote(&self) -> Option<Quote<'a>> {
        let quote_len = match self.message() {
            Icmpv6::DestinationUnreachable { .. } | Icmpv6::TimeExceeded { .. } => {
                let [.., length, _, _, _] = *self.header;
                usize::from(length) * 8
            }
            Icmpv6::PacketTooBig { .. } | Icmpv6::ParameterProblem { .. } => 0,
            Icmpv6::Other { kind, .. } if kind < 128 => 0,
            _ => return None,
        };
        Some(Quote::split(self.body, quote_len))
    }
}
