//! The decision about a received packet whose IP headers were parsed.
//!
//! * **Define.** A packet that is delivered to an upper layer is whole, was sent to this host, and has a
//!   valid source.
//! * **Enforce.** [`classify`] alone returns [`Delivery::Upper`].
//! * **Consume.** The upper layers do not check addresses again.
//!
//! The ICMP messages that it returns are proposals; `icmp::error` has the rules that permit them. Sections:
//! RFC 1122 sections 3.2.1.3, 3.2.2.1 and 4.2.3.10, RFC 8200 sections 4 and 4.7, RFC 6946.

use packet::IpProto;
use packet::icmp::{IcmpMessage, Icmpv4, Icmpv4UnreachableCode, Icmpv6};
use packet::ip::{
    Icmpv6ParameterProblemCode, Ip, IpPacket, IpParseError, IpVersion, Ipv4Option, Ipv4Options,
    ParseError,
};

use super::addresses::{AddressTable, Destination};
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
    if packet.header_len() > I::FIXED_HEADER_LEN && is_source_routed(packet) {
        return Delivery::Drop(DropReason::IpSourceRouted);
    }
    if packet.fragment().is_some() {
        return match origin {
            Origin::Received => Delivery::Fragment,
            Origin::Reassembled => Delivery::Drop(DropReason::FragmentInvalid),
        };
    }
    match packet.proto() {
        // A TCP segment to a broadcast or multicast address is not valid (RFC 1122 section 4.2.3.10).
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
mod tests {
    use super::*;
    use core::net::IpAddr;
    use packet::build::{Head, IpFields, prepend_ip, prepend_ip_fragment};
    use packet::ip::{FragmentInfo, Ipv4, Ipv6};

    fn addresses() -> AddressTable {
        let mut table = AddressTable::new();
        for prefix in ["10.77.0.2/24", "fd77::2/64"] {
            table.add(prefix.parse().expect(prefix)).expect(prefix);
        }
        table
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    fn build(src: &str, dst: &str, proto: u8, fragment: Option<FragmentInfo>) -> Vec<u8> {
        let fields = IpFields {
            src: ip(src),
            dst: ip(dst),
            proto: IpProto(proto),
            ttl: 1,
            traffic_class: 0,
            ident: 0,
            dont_fragment: false,
            flow_label: 0,
        };
        let mut head = Head::new();
        head.prepend(24).expect("room");
        match fragment {
            Some(info) => prepend_ip_fragment(&mut head, &fields, info, 0),
            None => prepend_ip(&mut head, &fields, 0),
        }
        .expect("built");
        head.as_slice().to_vec()
    }

    fn decide(bytes: &[u8], origin: Origin) -> Delivery {
        let addresses = addresses();
        match bytes[0] >> 4 {
            4 => classify(
                &IpPacket::<Ipv4>::parse(bytes).expect("v4"),
                &addresses,
                origin,
            ),
            _ => classify(
                &IpPacket::<Ipv6>::parse(bytes).expect("v6"),
                &addresses,
                origin,
            ),
        }
    }

    #[test]
    fn deliveries() {
        use Cast::{Broadcast, Multicast, Unicast};
        use Delivery::{Drop, Upper as To};
        use DropReason::{IpDestinationNotOurs, IpNoNextHeader, IpSourceInvalid};
        let (us4, us6, peer4, peer6) = ("10.77.0.2", "fd77::2", "10.77.0.1", "fd77::1");
        let cases = [
            (peer4, us4, 6, To(Upper::Tcp, Unicast)),
            (peer4, us4, 17, To(Upper::Udp, Unicast)),
            (peer4, us4, 1, To(Upper::Icmp, Unicast)),
            (peer6, us6, 6, To(Upper::Tcp, Unicast)),
            (peer6, us6, 17, To(Upper::Udp, Unicast)),
            (peer6, us6, 58, To(Upper::Icmp, Unicast)),
            (peer4, "10.77.0.255", 17, To(Upper::Udp, Broadcast)),
            (peer4, "255.255.255.255", 17, To(Upper::Udp, Broadcast)),
            (peer4, "224.0.0.1", 1, To(Upper::Icmp, Multicast)),
            (peer6, "ff02::1", 58, To(Upper::Icmp, Multicast)),
            (peer6, "ff02::1:ff00:2", 17, To(Upper::Udp, Multicast)),
            // TCP has two ends.
            (peer4, "10.77.0.255", 6, Drop(IpDestinationNotOurs)),
            (peer4, "224.0.0.1", 6, Drop(IpDestinationNotOurs)),
            (peer6, "ff02::1", 6, Drop(IpDestinationNotOurs)),
            // Not for us: we do not forward.
            (peer4, "10.77.0.3", 6, Drop(IpDestinationNotOurs)),
            (peer6, "fd77::3", 17, Drop(IpDestinationNotOurs)),
            (peer4, "224.0.0.5", 17, Drop(IpDestinationNotOurs)),
            (peer4, "127.0.0.1", 17, Drop(IpDestinationNotOurs)),
            (peer6, "::1", 17, Drop(IpDestinationNotOurs)),
            // Invalid sources, the LAND attack first.
            (us4, us4, 6, Drop(IpSourceInvalid)),
            (us6, us6, 6, Drop(IpSourceInvalid)),
            ("127.0.0.1", us4, 17, Drop(IpSourceInvalid)),
            ("0.0.0.0", us4, 17, Drop(IpSourceInvalid)),
            ("10.77.0.255", us4, 1, Drop(IpSourceInvalid)),
            ("224.0.0.1", us4, 1, Drop(IpSourceInvalid)),
            ("::", us6, 58, Drop(IpSourceInvalid)),
            ("::1", us6, 58, Drop(IpSourceInvalid)),
            ("ff02::1", us6, 58, Drop(IpSourceInvalid)),
            ("::ffff:10.77.0.1", us6, 6, Drop(IpSourceInvalid)),
            (peer6, us6, 59, Drop(IpNoNextHeader)),
        ];
        for (src, dst, proto, expected) in cases {
            let bytes = build(src, dst, proto, None);
            assert_eq!(
                decide(&bytes, Origin::Received),
                expected,
                "{src} {dst} {proto}"
            );
        }
        // Unknown protocols, and the other version's ICMP, are answered.
        for (src, dst, proto) in [(peer4, us4, 58), (peer4, us4, 132), (peer4, us4, 59)] {
            let message = Icmpv4::DestinationUnreachable {
                code: Icmpv4UnreachableCode::Protocol,
                next_hop_mtu: 0,
            };
            assert_eq!(
                decide(&build(src, dst, proto, None), Origin::Received),
                Delivery::Answer(DropReason::IpProtocolUnknown, message.into()),
                "{proto}"
            );
        }
        for proto in [1, 132, 50] {
            let message = Icmpv6::ParameterProblem {
                code: 1,
                pointer: 6,
            };
            assert_eq!(
                decide(&build(peer6, us6, proto, None), Origin::Received),
                Delivery::Answer(DropReason::IpProtocolUnknown, message.into()),
                "{proto}"
            );
        }
    }

    #[test]
    fn options_pass_but_for_source_routes() {
        let options: [(&[u8], Option<DropReason>); 6] = [
            // Security, stream identifier, router alert and an unknown option are ignored.
            (&[130, 4, 0, 0], None),
            (&[136, 4, 0, 0], None),
            (&[148, 4, 0, 0], None),
            (&[0x9e, 4, 0, 0], None),
            (
                &[131, 7, 8, 10, 0, 0, 9, 0],
                Some(DropReason::IpSourceRouted),
            ),
            (
                &[1, 137, 7, 4, 10, 0, 0, 9],
                Some(DropReason::IpSourceRouted),
            ),
        ];
        for (options, expected) in options {
            let mut bytes = build("10.77.0.1", "10.77.0.2", 17, None);
            bytes.splice(20..20, options.iter().copied());
            bytes[0] = 0x45 + (options.len() / 4) as u8;
            let total = bytes.len() as u16;
            bytes[2..4].copy_from_slice(&total.to_be_bytes());
            bytes[10..12].copy_from_slice(&[0, 0]);
            let checksum = packet::checksum::of(&bytes[..20 + options.len()]);
            bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
            let expected = match expected {
                Some(reason) => Delivery::Drop(reason),
                None => Delivery::Upper(Upper::Udp, Cast::Unicast),
            };
            assert_eq!(decide(&bytes, Origin::Received), expected, "{options:?}");
        }
    }

    #[test]
    fn fragments() {
        let part = FragmentInfo {
            id: 0x1234,
            offset_bytes: 64,
            more: true,
        };
        for (src, dst, own) in [
            ("10.77.0.1", "10.77.0.2", "10.77.0.2"),
            ("fd77::1", "fd77::2", "fd77::2"),
        ] {
            let bytes = build(src, dst, 17, Some(part));
            assert_eq!(decide(&bytes, Origin::Received), Delivery::Fragment);
            assert_eq!(
                decide(&bytes, Origin::Reassembled),
                Delivery::Drop(DropReason::FragmentInvalid),
                "a fragment within fragments"
            );
            let input = match bytes[0] >> 4 {
                4 => fragment_in(&IpPacket::<Ipv4>::parse(&bytes).expect("v4")),
                _ => fragment_in(&IpPacket::<Ipv6>::parse(&bytes).expect("v6")),
            }
            .expect("a fragment");
            assert_eq!((input.src, input.dst, input.proto), (ip(src), ip(dst), 17));
            assert_eq!((input.id, input.offset, input.more), (0x1234, 64, true));
            assert_eq!(input.payload.len(), 24);
            // A fragment with a forged source never reaches the reassembly.
            let forged = build(own, dst, 17, Some(part));
            assert_eq!(
                decide(&forged, Origin::Received),
                Delivery::Drop(DropReason::IpSourceInvalid)
            );
        }
        // An atomic fragment is a whole packet (RFC 6946).
        let mut atomic = build(
            "fd77::1",
            "fd77::2",
            17,
            Some(FragmentInfo {
                more: false,
                ..part
            }),
        );
        atomic[42..44].copy_from_slice(&[0, 0]);
        assert_eq!(
            decide(&atomic, Origin::Received),
            Delivery::Upper(Upper::Udp, Cast::Unicast)
        );
        let whole = build("10.77.0.1", "10.77.0.2", 17, None);
        assert!(fragment_in(&IpPacket::<Ipv4>::parse(&whole).expect("v4")).is_none());
    }

    #[test]
    fn what_cannot_be_read_is_counted_once_and_answered_rarely() {
        let good4 = build("10.77.0.1", "10.77.0.2", 17, None);
        let good6 = build("fd77::1", "fd77::2", 17, None);
        let with = |from: &[u8], at: usize, value: u8| {
            let mut bytes = from.to_vec();
            bytes[at] = value;
            bytes
        };
        let reason4 = |bytes: &[u8]| {
            let error = IpPacket::<Ipv4>::parse(bytes).expect_err("bad");
            on_parse_error(&error)
        };
        let reason6 = |bytes: &[u8]| {
            let error = IpPacket::<Ipv6>::parse(bytes).expect_err("bad");
            on_parse_error(&error)
        };
        let silent = |reason| (reason, None);
        assert_eq!(reason4(&[]), silent(DropReason::IpTooShortOrVersion));
        assert_eq!(
            reason4(&good4[..19]),
            silent(DropReason::IpTooShortOrVersion)
        );
        assert_eq!(
            reason4(&with(&good4, 0, 0x65)),
            silent(DropReason::IpTooShortOrVersion)
        );
        assert_eq!(
            reason4(&with(&good4, 0, 0x44)),
            silent(DropReason::IpHeaderMalformed)
        );
        assert_eq!(reason4(&good4[..30]), silent(DropReason::IpHeaderMalformed));
        assert_eq!(
            reason4(&with(&good4, 8, 99)),
            silent(DropReason::IpHeaderChecksum)
        );
        assert_eq!(
            reason6(&good6[..39]),
            silent(DropReason::IpTooShortOrVersion)
        );
        assert_eq!(reason6(&good6[..41]), silent(DropReason::IpHeaderMalformed));
        // Hop-by-hop options with an option whose type demands an answer (10xxxxxx).
        let mut options = build("fd77::1", "fd77::2", 0, None);
        options[40..48].copy_from_slice(&[17, 0, 0x80, 4, 0, 0, 0, 0]);
        let (reason, message) = reason6(&options);
        assert_eq!(reason, DropReason::IpParameterProblem);
        let expected = Icmpv6::ParameterProblem {
            code: 2,
            pointer: 42,
        };
        assert_eq!(message, Some(expected.into()));
        // And with one whose type asks for a silent discard (01xxxxxx).
        options[42] = 0x40;
        assert_eq!(reason6(&options), silent(DropReason::IpParameterProblem));
    }
}
