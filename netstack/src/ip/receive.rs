//! The decision about a received packet whose IP headers were parsed.
//!
//! * **Define.** A packet that is delivered to an upper layer is whole, was sent to this host, and has a
//!   valid source.
//! * **Enforce.** [`classify`] alone returns [`Delivery::Upper`].
//! * **Consume.** The upper layers do not check addresses again.
//!
//! The ICMP messages that it returns are proposals; `icmp::error` has the rules that permit them. Sections:
//! RFC 1122 sections 3.2.1.3, 3.2.2.1 and 4.2.3.10, RFC 8200 sections 4 and 4.7, RFC 6946.

use core::net::{IpAddr, Ipv4Addr};

use packet::IpProto;
use packet::icmp::{IcmpMessage, Icmpv4, Icmpv4UnreachableCode, Icmpv6};
use packet::ip::{
    Icmpv6ParameterProblemCode, Ip, IpPacket, IpParseError, IpVersion, Ipv4Option, Ipv4Options,
    ParseError,
};

use super::addresses::{AddressTable, Destination, is_node_local};
use super::reassembly::FragmentIn;
use crate::base::DropReason;

/// An upper-layer protocol of this host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Upper {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP (IPv4) or ICMPv6 (IPv6).
    Icmp,
    /// IGMP (IPv4).
    Igmp,
}

/// The kind of a packet's destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cast {
    /// One of the host's addresses.
    Unicast,
    /// A broadcast address.
    Broadcast,
    /// A multicast group that the host is a member of.
    Multicast,
}

/// The origin of a packet. A reassembled packet must not be a fragment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Received from the device.
    Received,
    /// Received by another worker, which classified it before.
    HandedOver,
    /// Sent by this host to itself.
    Looped,
    /// Completed by [`super::reassembly::Reassembly`].
    Reassembled,
}

/// The decision about a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// Deliver [`IpPacket::payload`] to this protocol.
    Upper(Upper, Cast),
    /// Pass the result of [`fragment_in`] to the reassembly.
    Fragment,
    /// Discard and count it.
    Drop(DropReason),
    /// Discard and count it, and send this error if `icmp::error` permits it.
    Answer(DropReason, IcmpMessage),
}

/// Decides about a packet whose headers were parsed.
#[inline]
pub fn classify<I: Ip>(
    packet: &IpPacket<'_, I>,
    addresses: &AddressTable,
    origin: Origin,
) -> Delivery {
    let (src, dst): (IpAddr, IpAddr) = (packet.src().into(), packet.dst().into());
    let cast = match addresses.classify(dst) {
        Destination::Local => Cast::Unicast,
        Destination::Broadcast(_) => Cast::Broadcast,
        // A group of this scope never appears on a link (RFC 4291 section 2.7).
        Destination::Multicast(_) if origin == Origin::Received && is_node_local(dst) => {
            return Delivery::Drop(DropReason::IpDestinationNotOurs);
        }
        Destination::Multicast(_) => Cast::Multicast,
        // A loopback address never appears on a link (RFC 1122 section 3.2.1.3(g), RFC 4291 section 2.5.3).
        Destination::NotOurs if origin != Origin::Received && dst.is_loopback() => Cast::Unicast,
        Destination::NotOurs => return Delivery::Drop(DropReason::IpDestinationNotOurs),
    };
    // What came from the host itself has one of its addresses at both ends. Whatever came from the device passed
    // this check as it came: each fragment of a datagram, too.
    if origin == Origin::Received {
        if let Err(reason) = addresses.check_source(src)
            && !is_snooping_switch(packet, cast)
        {
            return Delivery::Drop(reason);
        }
        // The LAND attack, at an address that the host answers for without owning it.
        if src == dst {
            return Delivery::Drop(DropReason::IpSourceInvalid);
        }
    }
    if packet.header_len() > I::FIXED_HEADER_LEN && is_source_routed(packet) {
        return Delivery::Drop(DropReason::IpSourceRouted);
    }
    if packet.fragment().is_some() {
        return match origin {
            Origin::Received | Origin::HandedOver | Origin::Looped => Delivery::Fragment,
            Origin::Reassembled => Delivery::Drop(DropReason::FragmentInvalid),
        };
    }
    match packet.proto() {
        // A TCP segment to a broadcast or multicast address is not valid (RFC 1122 section 4.2.3.10).
        IpProto::TCP if cast != Cast::Unicast => Delivery::Drop(DropReason::IpDestinationNotOurs),
        IpProto::TCP => Delivery::Upper(Upper::Tcp, cast),
        IpProto::UDP => Delivery::Upper(Upper::Udp, cast),
        proto if proto == I::ICMP => Delivery::Upper(Upper::Icmp, cast),
        IpProto::IGMP if I::VERSION == IpVersion::V4 => Delivery::Upper(Upper::Igmp, cast),
        IpProto::NO_NEXT if I::VERSION == IpVersion::V6 => {
            Delivery::Drop(DropReason::IpNoNextHeader)
        }
        _ => Delivery::Answer(
            DropReason::IpProtocolUnknown,
            protocol_unknown(I::VERSION, packet.next_header_offset()),
        ),
    }
}

/// Returns `true` for a message of IGMP to a group from 0.0.0.0, which hosts and switches without an address send: a
/// switch that listens may ask so for a router (RFC 9776 section 4.2.14, RFC 4541 section 2.1.1).
#[cold]
fn is_snooping_switch<I: Ip>(packet: &IpPacket<'_, I>, cast: Cast) -> bool {
    let src: IpAddr = packet.src().into();
    src == IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        && packet.proto() == IpProto::IGMP
        && cast == Cast::Multicast
}

/// Returns `true` if the packet has an IPv4 source route option. With such an option, an attacker with a
/// forged source would receive the answers, because they take the sender's route back; no host needs one
/// (RFC 7126 sections 4.3.5 and 4.4.5). IPv6 routing headers with segments left do not parse (RFC 5095).
#[cold]
fn is_source_routed<I: Ip>(packet: &IpPacket<'_, I>) -> bool {
    I::VERSION == IpVersion::V4
        && packet
            .bytes()
            .get(I::FIXED_HEADER_LEN..packet.header_len())
            .is_some_and(|options| {
                Ipv4Options::new(options).any(|option| {
                    matches!(
                        option,
                        Ipv4Option::LooseSourceRoute(_) | Ipv4Option::StrictSourceRoute(_)
                    )
                })
            })
}

/// Converts a fragment for the reassembly. Returns `None` if the packet is not a fragment.
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

/// Returns the drop reason of a packet whose headers could not be parsed, and the error to send if
/// `icmp::error` permits it.
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

/// Returns a Parameter Problem message whose pointer is the offset of an octet in the packet.
pub fn parameter_problem(version: IpVersion, code: u8, pointer: u32) -> IcmpMessage {
    match version {
        // An IPv4 header has at most 60 bytes.
        IpVersion::V4 => Icmpv4::ParameterProblem {
            code,
            pointer: u8::try_from(pointer).unwrap_or(0),
        }
        .into(),
        IpVersion::V6 => Icmpv6::ParameterProblem { code, pointer }.into(),
    }
}

/// Returns the error about an unsupported protocol: Protocol Unreachable (RFC 1122 section 3.2.2.1) or
/// Parameter Problem at the next header field (RFC 8200 section 4).
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

#[cfg(test)]
#[path = "receive_tests.rs"]
mod tests;
