//! ICMP for IPv4 (RFC 792, RFC 1191, RFC 1256, RFC 4884, RFC 6633).

use core::net::Ipv4Addr;

use super::quote::Quote;
use super::{HEADER_LEN, IcmpParseError};
use crate::checksum::{self, RxChecksum};

/// The reason why a destination is unreachable (type 3; RFC 792, RFC 1122 section 3.2.2.1, RFC 1812).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Icmpv4UnreachableCode {
    /// 0: no route to the network.
    Network,
    /// 1: the host does not answer.
    Host,
    /// 2: the host does not support the protocol.
    Protocol,
    /// 3: no socket listens on the port.
    Port,
    /// 4: the packet exceeds the MTU of the next link and must not be fragmented (RFC 1191).
    FragmentationNeeded,
    /// 5: the source route failed.
    SourceRouteFailed,
    /// 6: the network is unknown.
    NetworkUnknown,
    /// 7: the host is unknown.
    HostUnknown,
    /// 8: the source host is isolated.
    SourceIsolated,
    /// 9: the network is administratively prohibited.
    NetworkProhibited,
    /// 10: the host is administratively prohibited.
    HostProhibited,
    /// 11: the network is unreachable with this type of service.
    NetworkTypeOfService,
    /// 12: the host is unreachable with this type of service.
    HostTypeOfService,
    /// 13: communication is administratively prohibited (RFC 1812).
    CommunicationProhibited,
    /// 14: the host does not permit the precedence (RFC 1812).
    HostPrecedenceViolation,
    /// 15: the network demands a higher precedence (RFC 1812).
    PrecedenceCutoff,
    /// Any other code.
    Other(u8),
}

impl From<u8> for Icmpv4UnreachableCode {
    fn from(code: u8) -> Self {
        match code {
            0 => Self::Network,
            1 => Self::Host,
            2 => Self::Protocol,
            3 => Self::Port,
            4 => Self::FragmentationNeeded,
            5 => Self::SourceRouteFailed,
            6 => Self::NetworkUnknown,
            7 => Self::HostUnknown,
            8 => Self::SourceIsolated,
            9 => Self::NetworkProhibited,
            10 => Self::HostProhibited,
            11 => Self::NetworkTypeOfService,
            12 => Self::HostTypeOfService,
            13 => Self::CommunicationProhibited,
            14 => Self::HostPrecedenceViolation,
            15 => Self::PrecedenceCutoff,
            other => Self::Other(other),
        }
    }
}

impl From<Icmpv4UnreachableCode> for u8 {
    fn from(code: Icmpv4UnreachableCode) -> u8 {
        match code {
            Icmpv4UnreachableCode::Network => 0,
            Icmpv4UnreachableCode::Host => 1,
            Icmpv4UnreachableCode::Protocol => 2,
            Icmpv4UnreachableCode::Port => 3,
            Icmpv4UnreachableCode::FragmentationNeeded => 4,
            Icmpv4UnreachableCode::SourceRouteFailed => 5,
            Icmpv4UnreachableCode::NetworkUnknown => 6,
            Icmpv4UnreachableCode::HostUnknown => 7,
            Icmpv4UnreachableCode::SourceIsolated => 8,
            Icmpv4UnreachableCode::NetworkProhibited => 9,
            Icmpv4UnreachableCode::HostProhibited => 10,
            Icmpv4UnreachableCode::NetworkTypeOfService => 11,
            Icmpv4UnreachableCode::HostTypeOfService => 12,
            Icmpv4UnreachableCode::CommunicationProhibited => 13,
            Icmpv4UnreachableCode::HostPrecedenceViolation => 14,
            Icmpv4UnreachableCode::PrecedenceCutoff => 15,
            Icmpv4UnreachableCode::Other(code) => code,
        }
    }
}

/// The scope of a redirect (type 5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Icmpv4RedirectCode {
    /// 0: the network.
    Network,
    /// 1: the host.
    Host,
    /// 2: the network with this type of service.
    NetworkTypeOfService,
    /// 3: the host with this type of service.
    HostTypeOfService,
    /// Any other code.
    Other(u8),
}

impl From<u8> for Icmpv4RedirectCode {
    fn from(code: u8) -> Self {
        match code {
            0 => Self::Network,
            1 => Self::Host,
            2 => Self::NetworkTypeOfService,
            3 => Self::HostTypeOfService,
            other => Self::Other(other),
        }
    }
}

impl From<Icmpv4RedirectCode> for u8 {
    fn from(code: Icmpv4RedirectCode) -> u8 {
        match code {
            Icmpv4RedirectCode::Network => 0,
            Icmpv4RedirectCode::Host => 1,
            Icmpv4RedirectCode::NetworkTypeOfService => 2,
            Icmpv4RedirectCode::HostTypeOfService => 3,
            Icmpv4RedirectCode::Other(code) => code,
        }
    }
}

/// The time that was exceeded. Both versions have the same codes (RFC 792, RFC 4443 section 3.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TimeExceededCode {
    /// 0: the time to live (hop limit) reached zero.
    InTransit,
    /// 1: not all fragments arrived in time.
    Reassembly,
    /// Any other code.
    Other(u8),
}

impl From<u8> for TimeExceededCode {
    fn from(code: u8) -> Self {
        match code {
            0 => Self::InTransit,
            1 => Self::Reassembly,
            other => Self::Other(other),
        }
    }
}

impl From<TimeExceededCode> for u8 {
    fn from(code: TimeExceededCode) -> u8 {
        match code {
            TimeExceededCode::InTransit => 0,
            TimeExceededCode::Reassembly => 1,
            TimeExceededCode::Other(code) => code,
        }
    }
}

mod kind {
    pub(super) const ECHO_REPLY: u8 = 0;
    pub(super) const UNREACHABLE: u8 = 3;
    pub(super) const SOURCE_QUENCH: u8 = 4;
    pub(super) const REDIRECT: u8 = 5;
    pub(super) const ECHO_REQUEST: u8 = 8;
    pub(super) const ROUTER_ADVERTISEMENT: u8 = 9;
    pub(super) const ROUTER_SOLICITATION: u8 = 10;
    pub(super) const TIME_EXCEEDED: u8 = 11;
    pub(super) const PARAMETER_PROBLEM: u8 = 12;
    pub(super) const TIMESTAMP: u8 = 13;
    pub(super) const TIMESTAMP_REPLY: u8 = 14;
}

/// The first eight bytes of a message. Fields that a sender must set to zero are not kept; one of them
/// is the length of RFC 4884, which [`Icmpv4View::quote`] reads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Icmpv4 {
    /// Type 0: the answer to an echo request.
    EchoReply {
        /// Identifier of the request.
        ident: u16,
        /// Sequence number of the request.
        seq: u16,
    },
    /// Type 3.
    DestinationUnreachable {
        /// The reason.
        code: Icmpv4UnreachableCode,
        /// With [`Icmpv4UnreachableCode::FragmentationNeeded`], the MTU of the next link in bytes, or 0
        /// from a router that does not report it (RFC 1191 section 4). Otherwise 0.
        next_hop_mtu: u16,
    },
    /// Type 4: deprecated; receivers ignore it (RFC 6633).
    SourceQuench,
    /// Type 5.
    Redirect {
        /// The scope.
        code: Icmpv4RedirectCode,
        /// The router to use.
        gateway: Ipv4Addr,
    },
    /// Type 8.
    EchoRequest {
        /// Identifier, by which the sender matches the reply.
        ident: u16,
        /// Sequence number, by which the sender matches the reply.
        seq: u16,
    },
    /// Type 9 (RFC 1256): a list of router addresses, each with its preference, follows.
    RouterAdvertisement {
        /// Number of addresses.
        count: u8,
        /// Length of an address with its preference, in words of 4 bytes.
        entry_words: u8,
        /// Time for which the addresses are valid, in seconds.
        lifetime_secs: u16,
    },
    /// Type 10 (RFC 1256).
    RouterSolicitation,
    /// Type 11.
    TimeExceeded {
        /// The time that was exceeded.
        code: TimeExceededCode,
    },
    /// Type 12.
    ParameterProblem {
        /// The code: see [`Icmpv4ParameterProblemCode`](crate::ip::Icmpv4ParameterProblemCode).
        code: u8,
        /// The octet of the packet that is wrong.
        pointer: u8,
    },
    /// Type 13: three timestamps of 4 bytes each follow.
    Timestamp {
        /// Identifier.
        ident: u16,
        /// Sequence number.
        seq: u16,
    },
    /// Type 14.
    TimestampReply {
        /// Identifier of the request.
        ident: u16,
        /// Sequence number of the request.
        seq: u16,
    },
    /// Any other type, or a type above with a code that it does not have.
    Other {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// The four bytes after the checksum.
        rest: [u8; 4],
    },
}

impl Icmpv4 {
    /// Reads the first eight bytes of a message. It ignores the checksum.
    pub fn from_bytes(bytes: &[u8; HEADER_LEN]) -> Self {
        let [kind, code, _, _, a, b, c, d] = *bytes;
        let (first, second) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        match (kind, code) {
            (kind::ECHO_REPLY, 0) => Self::EchoReply {
                ident: first,
                seq: second,
            },
            (kind::ECHO_REQUEST, 0) => Self::EchoRequest {
                ident: first,
                seq: second,
            },
            (kind::ROUTER_ADVERTISEMENT, 0) => Self::RouterAdvertisement {
                count: a,
                entry_words: b,
                lifetime_secs: second,
            },
            (kind::ROUTER_SOLICITATION, 0) => Self::RouterSolicitation,
            (kind::TIMESTAMP, 0) => Self::Timestamp {
                ident: first,
                seq: second,
            },
            (kind::TIMESTAMP_REPLY, 0) => Self::TimestampReply {
                ident: first,
                seq: second,
            },
            (kind::UNREACHABLE, _) => {
                let code = Icmpv4UnreachableCode::from(code);
                Self::DestinationUnreachable {
                    code,
                    next_hop_mtu: match code {
                        Icmpv4UnreachableCode::FragmentationNeeded => second,
                        _ => 0,
                    },
                }
            }
            (kind::SOURCE_QUENCH, 0) => Self::SourceQuench,
            (kind::REDIRECT, _) => Self::Redirect {
                code: code.into(),
                gateway: Ipv4Addr::from([a, b, c, d]),
            },
            (kind::TIME_EXCEEDED, _) => Self::TimeExceeded { code: code.into() },
            (kind::PARAMETER_PROBLEM, _) => Self::ParameterProblem { code, pointer: a },
            _ => Self::Other {
                kind,
                code,
                rest: [a, b, c, d],
            },
        }
    }

    /// Returns the first eight bytes of the message, with a zero checksum.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let (kind, code, rest) = match *self {
            Self::EchoReply { ident, seq } => (kind::ECHO_REPLY, 0, pair(ident, seq)),
            Self::EchoRequest { ident, seq } => (kind::ECHO_REQUEST, 0, pair(ident, seq)),
            Self::Timestamp { ident, seq } => (kind::TIMESTAMP, 0, pair(ident, seq)),
            Self::TimestampReply { ident, seq } => (kind::TIMESTAMP_REPLY, 0, pair(ident, seq)),
            Self::DestinationUnreachable { code, next_hop_mtu } => {
                let next_hop_mtu = match code {
                    Icmpv4UnreachableCode::FragmentationNeeded => next_hop_mtu,
                    _ => 0,
                };
                (kind::UNREACHABLE, code.into(), pair(0, next_hop_mtu))
            }
            Self::RouterAdvertisement {
                count,
                entry_words,
                lifetime_secs,
            } => {
                let [c, d] = lifetime_secs.to_be_bytes();
                (kind::ROUTER_ADVERTISEMENT, 0, [count, entry_words, c, d])
            }
            Self::RouterSolicitation => (kind::ROUTER_SOLICITATION, 0, [0; 4]),
            Self::SourceQuench => (kind::SOURCE_QUENCH, 0, [0; 4]),
            Self::Redirect { code, gateway } => (kind::REDIRECT, code.into(), gateway.octets()),
            Self::TimeExceeded { code } => (kind::TIME_EXCEEDED, code.into(), [0; 4]),
            Self::ParameterProblem { code, pointer } => {
                (kind::PARAMETER_PROBLEM, code, [pointer, 0, 0, 0])
            }
            Self::Other { kind, code, rest } => (kind, code, rest),
        };
        let [a, b, c, d] = rest;
        [kind, code, 0, 0, a, b, c, d]
    }

    /// Returns `true` if the message reports an error, and so quotes a packet (RFC 1122 section 3.2.2).
    ///
    /// Returns `false` for unknown types, although they may be errors. Before answering a packet with an
    /// ICMP error, use [`Outline::may_be_answered`](crate::ip::Outline::may_be_answered), which treats
    /// unknown types as errors.
    pub fn is_error(&self) -> bool {
        matches!(
            self,
            Self::DestinationUnreachable { .. }
                | Self::SourceQuench
                | Self::Redirect { .. }
                | Self::TimeExceeded { .. }
                | Self::ParameterProblem { .. }
                | Self::Other {
                    kind: kind::SOURCE_QUENCH,
                    ..
                }
        )
    }

    /// Returns `true` if messages of this type may have the length field of RFC 4884.
    fn has_quote_len(&self) -> bool {
        matches!(
            self,
            Self::DestinationUnreachable { .. }
                | Self::TimeExceeded { .. }
                | Self::ParameterProblem { .. }
        )
    }
}

pub(super) fn pair(first: u16, second: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (first.to_be_bytes(), second.to_be_bytes());
    [a, b, c, d]
}

/// A message whose checksum was verified or vouched for by the device.
#[derive(Clone, Copy, Debug)]
pub struct Icmpv4View<'a> {
    header: &'a [u8; HEADER_LEN],
    body: &'a [u8],
}

impl<'a> Icmpv4View<'a> {
    /// Parses `bytes`, a whole IP payload.
    ///
    /// # Errors
    /// Returns the first fault found: length, then checksum.
    pub fn parse(bytes: &'a [u8], checksum: RxChecksum) -> Result<Self, IcmpParseError> {
        let Some((header, body)) = bytes.split_first_chunk() else {
            return Err(IcmpParseError::TooShort);
        };
        if checksum == RxChecksum::Unknown && !checksum::verify(bytes) {
            return Err(IcmpParseError::Checksum);
        }
        Ok(Self { header, body })
    }

    /// Returns the message in the first eight bytes.
    pub fn message(&self) -> Icmpv4 {
        Icmpv4::from_bytes(self.header)
    }

    /// Returns the bytes after the first eight: echo data, or the quoted packet and its extensions.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Returns the packet that an error message quotes, or `None` for other messages.
    pub fn quote(&self) -> Option<Quote<'a>> {
        let message = self.message();
        if !message.is_error() {
            return None;
        }
        let [.., length, _, _] = *self.header;
        let words = if message.has_quote_len() { length } else { 0 };
        Some(Quote::split(self.body, usize::from(words) * 4))
    }
}
