//! Errors of the IP parsers, and the ICMP errors that answer them.

use core::fmt;

use super::header::HeaderFields;
use super::{Ip, IpAddress, Outline};

/// A fault in the IP header that no ICMP message reports.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum ParseError {
    /// The packet is shorter than the fixed header: 20 bytes for IPv4, 40 for IPv6.
    #[error("packet is shorter than the fixed IP header")]
    TooShort,
    /// The version field names another version.
    #[error("version field names another IP version")]
    Version,
    /// IPv4: the header length is below 20 bytes or beyond the total length.
    #[error("header length is below 20 bytes or beyond the total length")]
    HeaderLength,
    /// The length field is larger than the number of bytes received.
    #[error("packet is truncated: its length field exceeds the bytes received")]
    Truncated,
    /// IPv4: the header checksum is wrong.
    #[error("header checksum is wrong")]
    Checksum,
    /// IPv4: the fragment ends beyond 65,535 bytes, or it is not the last one and its length is zero or
    /// not a multiple of 8.
    #[error("fragment ends beyond 65,535 bytes or has an impossible length")]
    Fragment,
}

/// The action to take on a packet with a parameter problem.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IpParseErrorAction {
    /// Discard the packet silently.
    DiscardPacket,
    /// Discard the packet and send the ICMP error, even if the destination was multicast.
    DiscardPacketSendIcmp,
    /// Discard the packet and send the ICMP error unless the destination was multicast or IPv4
    /// broadcast.
    DiscardPacketSendIcmpNoMulticast,
}

impl IpParseErrorAction {
    /// Returns `true` if an ICMP error should be sent for a packet whose destination is `dst`.
    ///
    /// Directed broadcast addresses are not recognised. A caller that knows the subnets must check for
    /// them as well.
    pub fn should_send_icmp<A: IpAddress>(self, dst: A) -> bool {
        match self {
            Self::DiscardPacket => false,
            Self::DiscardPacketSendIcmp => true,
            Self::DiscardPacketSendIcmpNoMulticast => {
                !dst.is_multicast() && !dst.is_limited_broadcast()
            }
        }
    }

    /// Returns `true` if an ICMP error should be sent even for a multicast packet.
    pub fn should_send_icmp_to_multicast(self) -> bool {
        self == Self::DiscardPacketSendIcmp
    }
}

/// The reason why bytes are not a valid packet of version `I`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IpParseError<I: Ip> {
    /// A fault for which the packet is discarded silently.
    Parse {
        /// The fault.
        error: ParseError,
    },
    /// A fault that an ICMP Parameter Problem message can report (RFC 792, RFC 4443 section 3.4).
    ParameterProblem {
        /// Source of the packet, to which the ICMP error is sent.
        src_ip: I::Addr,
        /// Destination of the packet.
        dst_ip: I::Addr,
        /// Code of the ICMP error.
        code: I::ParameterProblemCode,
        /// Pointer of the ICMP error: the octet of the packet at which the problem was found, counted
        /// from the first octet of the IP header. It is 8 bits wide in IPv4, 32 in IPv6.
        pointer: I::ParameterProblemPointer,
        /// `true` if the RFCs require the ICMP error, `false` if they recommend or forbid it.
        must_send_icmp: bool,
        /// IPv4: length of the header with its options, in bytes. IPv6: `()`.
        header_len: I::HeaderLen,
        /// The action to take. It is [`IpParseErrorAction::DiscardPacket`] for every packet that must
        /// not be answered ([`Outline::may_be_answered`]).
        action: IpParseErrorAction,
    },
}

/// A fault that an ICMP message can report, and the RFCs' rules for it. Whether the packet itself may
/// be answered is not yet considered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Problem<I: Ip> {
    pub(super) code: I::ParameterProblemCode,
    pub(super) pointer: I::ParameterProblemPointer,
    pub(super) header_len: I::HeaderLen,
    pub(super) must_send_icmp: bool,
    pub(super) action: IpParseErrorAction,
}

impl<I: Ip> Problem<I> {
    /// Returns the error for `packet`, which begins with `header`. A packet that must not be answered,
    /// such as an ICMP error, is discarded silently whatever the fault.
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
    /// Returns `true` if the sender should receive an ICMP error, as far as the packet itself tells
    /// (RFC 1122 section 3.2.2, RFC 4443 section 2.4(e)).
    ///
    /// The caller must still check that source and destination are not directed broadcast addresses,
    /// and limit the rate of errors.
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
    /// The pointer names the wrong octet.
    PointerIndicatesError = 0,
    /// A required option is missing.
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
    /// Returns the code with this number, or `None` if there is none.
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
    /// A header field has an invalid value.
    ErroneousHeaderField = 0,
    /// The value of a next header field is unknown.
    UnrecognizedNextHeader = 1,
    /// An option is unknown and its type does not allow skipping it.
    UnrecognizedOption = 2,
    /// A first fragment does not contain the whole header chain (RFC 7112).
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
    /// Returns the code with this number, or `None` if there is none.
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
