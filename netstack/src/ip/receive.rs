//! What becomes of a packet whose IP headers were read.
//!
//! * **Define.** A packet that is delivered to an upper layer is whole, was sent to us, and claims
//!   a source that may have sent it.
//! * **Enforce.** [`classify`] is the only place that says [`Delivery::Upper`].
//! * **Consume.** The upper layers look at ports and payload only.
//!
//! Decides only: it never answers. The messages it proposes are subject to the rules of
//! `icmp::error`. Written once for both versions. Sections: RFC 1122 sections 3.2.1.3, 3.2.2.1 and
//! 4.2.3.10, RFC 8200 sections 4 and 4.7, RFC 6946.

use packet::IpProto;
use packet::icmp::{IcmpMessage, Icmpv4, Icmpv4UnreachableCode, Icmpv6};
use packet::ip::{Icmpv6ParameterProblemCode, Ip, IpPacket, IpParseError, IpVersion, ParseError};

use super::addresses::{AddressTable, Destination};
use super::reassembly::FragmentIn;
use crate::base::DropReason;

/// An upper layer of this host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Upper {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP over IPv4, ICMPv6 over IPv6.
    Icmp,
}

/// How a packet was addressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cast {
    /// To one of our addresses.
    Unicast,
    /// To a broadcast address.
    Broadcast,
    /// To a multicast group that we are in.
    Multicast,
}

/// Where the packet came from: a packet that was put together must not be a fragment again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// From the device.
    Received,
    /// From [`super::reassembly::Reassembly`].
    Reassembled,
}

/// What is to be done with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// Hand [`IpPacket::payload`] to this layer.
    Upper(Upper, Cast),
    /// Give [`fragment_in`] to the reassembly.
    Fragment,
    /// Discard, count, say nothing.
    Drop(DropReason),
    /// Discard, count, and send this error if `icmp::error` permits it.
    Answer(DropReason, IcmpMessage),
}

/// Decides about a packet whose headers were read.
#[inline]
pub fn classify<I: Ip>(
    packet: &IpPacket<'_, I>,
    addresses: &AddressTable,
    origin: Origin,
) -> Delivery {
    let (src, dst) = (packet.src().into(), packet.dst().into());
    let cast = match addresses.classify(dst) {
        Destination::Local => Cast::Unicast,
        Destination::Broadcast(_) => Cast::Broadcast,
        Destination::Multicast(_) => Cast::Multicast,
        Destination::NotOurs => return Delivery::Drop(DropReason::IpDestinationNotOurs),
    };
    if let Err(reason) = addresses.check_source(src) {
        return Delivery::Drop(reason);
    }
    if packet.fragment().is_some() {
        return match origin {
            Origin::Received => Delivery::Fragment,
            Origin::Reassembled => Delivery::Drop(DropReason::FragmentInvalid),
        };
    }
    match packet.proto() {
        // Connections have two ends: a segment to many is none (RFC 1122 section 4.2.3.10).
        IpProto::TCP if cast != Cast::Unicast => Delivery::Drop(DropReason::IpDestinationNotOurs),
        IpProto::TCP => Delivery::Upper(Upper::Tcp, cast),
        IpProto::UDP => Delivery::Upper(Upper::Udp, cast),
        proto if proto == I::ICMP => Delivery::Upper(Upper::Icmp, cast),
        IpProto::NO_NEXT if I::VERSION == IpVersion::V6 => {
            Delivery::Drop(DropReason::IpNoNextHeader)
        }
        _ => Delivery::Answer(
            DropReason::IpProtocolUnknown,
            protocol_unknown(I::VERSION, packet.next_header_offset()),
        ),
    }
}

/// A packet as the reassembly takes it; `None` if it is no fragment.
#[inline]
pub fn fragment_in<'a, I: Ip>(packet: &IpPacket<'a, I>) -> Option<FragmentIn<'a>> {
    let fragment = packet.fragment()?;
    Some(FragmentIn {
        src: packet.src().into(),
        dst: packet.dst().into(),
        proto: packet.proto().0,
        id: fragment.id,
        offset: fragment.offset_bytes,
        more: fragment.more,
        packet: packet.bytes(),
        payload: packet.payload_range(),
    })
}

/// How a packet whose headers could not be read is counted, and the error that its sender is to be
/// told if `icmp::error` permits it.
pub fn on_parse_error<I: Ip>(error: &IpParseError<I>) -> (DropReason, Option<IcmpMessage>) {
    match error {
        IpParseError::Parse { error } => {
            let reason = match error {
                ParseError::TooShort | ParseError::Version => DropReason::IpTooShortOrVersion,
                ParseError::HeaderLength | ParseError::Truncated => DropReason::IpHeaderMalformed,
                ParseError::Checksum => DropReason::IpHeaderChecksum,
                ParseError::Fragment => DropReason::FragmentInvalid,
            };
            (reason, None)
        }
        IpParseError::ParameterProblem { code, pointer, .. } => {
            let message = error
                .should_send_icmp()
                .then(|| parameter_problem(I::VERSION, (*code).into(), (*pointer).into()));
            (DropReason::IpParameterProblem, message)
        }
    }
}

/// A Parameter Problem that points at an octet of the packet.
pub fn parameter_problem(version: IpVersion, code: u8, pointer: u32) -> IcmpMessage {
    match version {
        // An IPv4 header is at most 60 octets long.
        IpVersion::V4 => Icmpv4::ParameterProblem {
            code,
            pointer: u8::try_from(pointer).unwrap_or(0),
        }
        .into(),
        IpVersion::V6 => Icmpv6::ParameterProblem { code, pointer }.into(),
    }
}

/// Nobody here knows the protocol: Protocol Unreachable (RFC 1122 section 3.2.2.1) or Parameter
/// Problem at the next header field (RFC 8200 section 4).
fn protocol_unknown(version: IpVersion, next_header_at: usize) -> IcmpMessage {
    match version {
        IpVersion::V4 => Icmpv4::DestinationUnreachable {
            code: Icmpv4UnreachableCode::Protocol,
            next_hop_mtu: 0,
        }
        .into(),
        IpVersion::V6 => Icmpv6::ParameterProblem {
            code: Icmpv6ParameterProblemCode::UnrecognizedNextHeader.into(),
            // Within the packet.
            pointer: next_header_at as u32,
        }
        .into(),
    }
}
