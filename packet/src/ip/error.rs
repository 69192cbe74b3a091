//! What is wrong with a packet, and what its sender is to be told.

use core::fmt;

use super::header::HeaderFields;
use super::{Ip, IpAddress, Outline};

/// A fault of the IP header that no ICMP message answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum ParseError {
    /// Shorter than the fixed header: 20 octets for IPv4, 40 for IPv6.
    #[error("shorter than the fixed header")]
    TooShort,
    /// The version field is not this version's.
    #[error("wrong version")]
    Version,
    /// IPv4: header length below 20 octets, or beyond the total length.
    #[error("bad header length")]
    HeaderLength,
    /// The packet says that it is longer than the bytes received.
    #[error("truncated")]
    Truncated,
    /// IPv4: the header checksum is wrong.
    #[error("bad header checksum")]
    Checksum,
    /// IPv4: a fragment that ends beyond 65,535 octets, or one that is not the last and whose
    /// length is zero or no multiple of 8.
    #[error("impossible fragment")]
    Fragment,
}

/// What becomes of a packet with a parameter problem.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IpParseErrorAction {
    /// Discard, say nothing.
    DiscardPacket,
    /// Discard and send the ICMP error, whatever the destination was.
    DiscardPacketSendIcmp,
    /// Discard and send the ICMP error unless the destination was multicast (or IPv4 broadcast).
    DiscardPacketSendIcmpNoMulticast,
}

impl IpParseErrorAction {
    /// Whether an ICMP error is to be sent for a packet that was sent to `dst`.
    ///
    /// A directed broadcast cannot be seen here: who knows the subnets checks that as well.
    pub fn should_send_icmp<A: IpAddress>(self, dst: A) -> bool {
        match self {
            Self::DiscardPacket => false,
            Self::DiscardPacketSendIcmp => true,
            Self::DiscardPacketSendIcmpNoMulticast => {
                !dst.is_multicast() && !dst.is_limited_broadcast()
            }
        }
    }

    /// Whether an ICMP error is to be sent even for a packet that was sent to a multicast address.
    pub fn should_send_icmp_to_multicast(self) -> bool {
        self == Self::DiscardPacketSendIcmp
    }
}

/// Why a packet is no valid packet of version `I`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IpParseError<I: Ip> {
    /// Discard silently.
    Parse {
        /// What is wrong.
        error: ParseError,
    },
    /// A field that has an ICMP Parameter Problem message to answer it (RFC 792, RFC 4443 section 3.4).
    ParameterProblem {
        /// Source of the packet: where the ICMP error goes.
        src_ip: I::Addr,
        /// Destination of the packet.
        dst_ip: I::Addr,
        /// The ICMP code.
        code: I::ParameterProblemCode,
        /// Octet of the packet at which the problem was found, counted from the first octet of the
        /// IP header: 8 bits wide in IPv4, 32 in IPv6.
        pointer: I::ParameterProblemPointer,
        /// Whether the RFCs demand the ICMP error, rather than recommend it. They never do where
        /// they forbid it.
        must_send_icmp: bool,
        /// IPv4: length of the header with its options, in octets. IPv6: nothing.
        header_len: I::HeaderLen,
        /// Whether to answer: [`IpParseErrorAction::DiscardPacket`] also where the packet must not be
        /// answered for what it is ([`Outline::may_be_answered`]).
        action: IpParseErrorAction,
    },
}

/// A fault that has an ICMP message to answer it, and what the RFCs say of that message, the packet
/// itself not yet asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Problem<I: Ip> {
    pub(super) code: I::ParameterProblemCode,
    pub(super) pointer: I::ParameterProblemPointer,
    pub(super) header_len: I::HeaderLen,
    pub(super) must_send_icmp: bool,
    pub(super) action: IpParseErrorAction,
}

impl<I: Ip> Problem<I> {
    /// The error: of `packet`, which begins with `header`. A packet that must not be answered for what
    /// it is (an ICMP error, say) is discarded in silence, whatever the fault.
    #[cold]
    pub(super) fn of(self, header: &I::Header, packet: &[u8]) -> IpParseError<I> {
        let (src_ip, dst_ip) = (header.src(), header.dst());
        let may_answer = Outline::read(packet).is_some_and(|outline| outline.may_be_answered());
        IpParseError::ParameterProblem {
            src_ip,
            dst_ip,
            code: self.code,
            pointer: self.pointer,
            must_send_icmp: self.must_send_icmp && may_answer,
            header_len: self.header_len,
            action: if may_answer {
                self.action
            } else {
                IpParseErrorAction::DiscardPacket
            },
        }
    }
}

impl<I: Ip> IpParseError<I> {
    /// Whether the sender is to be told, by all that the packet says (RFC 1122 section 3.2.2,
    /// RFC 4443 section 2.4(e)). What only the subnets tell, whether source or destination is a
    /// directed broadcast address, and how often to answer, are questions for who knows.
    pub fn should_send_icmp(&self) -> bool {
        match self {
            Self::Parse { .. } => false,
            Self::ParameterProblem { dst_ip, action, .. } => action.should_send_icmp(*dst_ip),
        }
    }
}

impl<I: Ip> From<ParseError> for IpParseError<I> {
    fn from(error: ParseError) -> Self {
        Self::Parse { error }
    }
}

impl<I: Ip> fmt::Display for IpParseError<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parse { error } => write!(f, "{:?}: {error}", I::VERSION),
            Self::ParameterProblem { code, pointer, .. } => {
                let pointer: u32 = (*pointer).into();
                write!(f, "{:?}: {code:?} at octet {pointer}", I::VERSION)
            }
        }
    }
}

impl<I: Ip> core::error::Error for IpParseError<I> {}

/// Codes of the ICMP Parameter Problem message (type 12, RFC 792 and RFC 1122 section 3.2.2.5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Icmpv4ParameterProblemCode {
    /// The pointer says where the error is.
    PointerIndicatesError = 0,
    /// An option is missing that is required.
    MissingRequiredOption = 1,
    /// A length is wrong.
    BadLength = 2,
}

impl From<Icmpv4ParameterProblemCode> for u8 {
    fn from(code: Icmpv4ParameterProblemCode) -> u8 {
        code as u8
    }
}

impl Icmpv4ParameterProblemCode {
    /// The code, if it is one of these.
    pub const fn from_u8(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::PointerIndicatesError,
            1 => Self::MissingRequiredOption,
            2 => Self::BadLength,
            _ => return None,
        })
    }
}

/// Codes of the ICMPv6 Parameter Problem message (type 4, RFC 4443 section 3.4, RFC 7112, RFC 8883).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Icmpv6ParameterProblemCode {
    /// A header field has a value that it must not have.
    ErroneousHeaderField = 0,
    /// The value of a next header field is not known here.
    UnrecognizedNextHeader = 1,
    /// An option is not known whose type forbids to skip it.
    UnrecognizedOption = 2,
    /// A first fragment does not hold the whole chain of headers (RFC 7112).
    IncompleteHeaderChain = 3,
    /// The segment routing upper-layer header is wrong (RFC 8754).
    SrUpperLayerHeader = 4,
    /// An intermediate node does not know a next header value (RFC 8883).
    UnrecognizedNextHeaderByIntermediate = 5,
    /// An extension header is longer than the limit (RFC 8883).
    ExtensionHeaderTooBig = 6,
    /// The chain of extension headers is longer than the limit (RFC 8883).
    ChainTooLong = 7,
    /// There are more extension headers than the limit (RFC 8883).
    TooManyExtensionHeaders = 8,
    /// An extension header has more options than the limit (RFC 8883).
    TooManyOptions = 9,
    /// An option is longer than the limit (RFC 8883).
    OptionTooBig = 10,
}

impl From<Icmpv6ParameterProblemCode> for u8 {
    fn from(code: Icmpv6ParameterProblemCode) -> u8 {
        code as u8
    }
}

impl Icmpv6ParameterProblemCode {
    /// The code, if it is one of these.
    pub const fn from_u8(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::ErroneousHeaderField,
            1 => Self::UnrecognizedNextHeader,
            2 => Self::UnrecognizedOption,
            3 => Self::IncompleteHeaderChain,
            4 => Self::SrUpperLayerHeader,
            5 => Self::UnrecognizedNextHeaderByIntermediate,
            6 => Self::ExtensionHeaderTooBig,
            7 => Self::ChainTooLong,
            8 => Self::TooManyExtensionHeaders,
            9 => Self::TooManyOptions,
            10 => Self::OptionTooBig,
            _ => return None,
        })
    }
}
