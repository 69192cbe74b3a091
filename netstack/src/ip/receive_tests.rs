//! Tests of the decision about each kind of packet.

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
        // A switch that listens has no address, and asks for group memberships only.
        ("0.0.0.0", "224.0.0.1", 2, To(Upper::Igmp, Multicast)),
        ("0.0.0.0", "224.0.0.1", 17, Drop(IpSourceInvalid)),
        ("0.0.0.0", "10.77.0.255", 2, Drop(IpSourceInvalid)),
        ("0.0.0.0", us4, 2, Drop(IpSourceInvalid)),
        ("0.0.0.1", "224.0.0.1", 2, Drop(IpSourceInvalid)),
        // A scope that no link has.
        (peer6, "ff01::1", 17, Drop(IpDestinationNotOurs)),
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
    let looped = build(us6, "ff01::1", 17, None);
    assert_eq!(decide(&looped, Origin::Looped), To(Upper::Udp, Multicast));
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
fn a_hop_limit_of_zero_is_no_reason_to_discard() {
    for (src, dst, at) in [("10.77.0.1", "10.77.0.2", 8), ("fd77::1", "fd77::2", 7)] {
        for hop_limit in [0, 1] {
            let mut bytes = build(src, dst, 17, None);
            bytes[at] = hop_limit;
            if dst.contains('.') {
                bytes[10..12].fill(0);
                let sum = packet::checksum::of(&bytes[..20]).to_be_bytes();
                bytes[10..12].copy_from_slice(&sum);
            }
            let delivered = Delivery::Upper(Upper::Udp, Cast::Unicast);
            assert_eq!(
                decide(&bytes, Origin::Received),
                delivered,
                "{dst} {hop_limit}"
            );
        }
    }
}

#[test]
fn identifications_of_whole_datagrams_mean_nothing() {
    for ident in [0u16, 1, 0xffff, 1] {
        for flags in [0x4000u16, 0] {
            let mut bytes = build("10.77.0.1", "10.77.0.2", 17, None);
            bytes[4..6].copy_from_slice(&ident.to_be_bytes());
            bytes[6..8].copy_from_slice(&flags.to_be_bytes());
            bytes[10..12].fill(0);
            let sum = packet::checksum::of(&bytes[..20]).to_be_bytes();
            bytes[10..12].copy_from_slice(&sum);
            let delivered = Delivery::Upper(Upper::Udp, Cast::Unicast);
            assert_eq!(
                decide(&bytes, Origin::Received),
                delivered,
                "{ident} {flags:#x}"
            );
        }
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
