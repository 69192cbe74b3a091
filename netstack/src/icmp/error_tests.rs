//! Tests of the rules that suppress an error, and of the errors that are sent.

use super::super::testing::{PEER4, PEER6, US4, US6, addresses, icmp, ip, packet};
use super::*;
use packet::RxChecksum;
use packet::icmp::{Icmpv4View, Icmpv6View};
use packet::ip::{FragmentInfo, IpPacket, Ipv4, Ipv6};

/// Every error that this stack originates.
fn messages(version: IpVersion) -> Vec<IcmpMessage> {
    let mut all = vec![port_unreachable(version), reassembly_time_exceeded(version)];
    match version {
        IpVersion::V4 => all.extend::<[IcmpMessage; 2]>([
            Icmpv4::DestinationUnreachable {
                code: Icmpv4UnreachableCode::Protocol,
                next_hop_mtu: 0,
            }
            .into(),
            Icmpv4::ParameterProblem {
                code: 0,
                pointer: 20,
            }
            .into(),
        ]),
        IpVersion::V6 => all.extend::<[IcmpMessage; 3]>(
            [0, 1, 3].map(|code| Icmpv6::ParameterProblem { code, pointer: 40 }.into()),
        ),
    }
    all
}

fn may(message: IcmpMessage, offending: &Payload) -> Result<(), Suppressed> {
    permit(&addresses(), message, offending).map(|_| ())
}

#[test]
fn never_about_packets_to_many_or_to_others() {
    let v4 = [
        "10.77.0.255",
        "10.77.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "239.0.0.1",
        "10.77.0.3",
    ];
    let v6 = ["ff02::1", "ff02::1:ff00:2", "ff0e::1", "fd77::3", "::1"];
    for (src, dsts, version) in [
        (PEER4, &v4[..], IpVersion::V4),
        (PEER6, &v6[..], IpVersion::V6),
    ] {
        for dst in dsts {
            let offending = packet(src, dst, IpProto::UDP, &[0; 8], None);
            for message in messages(version) {
                let answer = may(message, &offending);
                assert_eq!(answer, Err(Suppressed::Destination), "{dst} {message:?}");
            }
        }
    }
}

#[test]
fn multicast_has_two_exceptions_in_ipv6() {
    let option = Icmpv6::ParameterProblem {
        code: 2,
        pointer: 42,
    };
    for message in [option, Icmpv6::PacketTooBig { mtu: 1280 }] {
        for (dst, allowed) in [("ff02::1", true), ("ff0e::77", false), ("fd77::3", false)] {
            let offending = packet(PEER6, dst, IpProto::UDP, &[0; 8], None);
            assert_eq!(
                may(message.into(), &offending).is_ok(),
                allowed,
                "{dst} {message:?}"
            );
        }
        // The answer comes from an address of ours, not from the group.
        let offending = packet(PEER6, "ff02::1", IpProto::UDP, &[0; 8], None);
        let sent = permit(&addresses(), message.into(), &offending)
            .expect("allowed")
            .build(64)
            .expect("built")
            .to_vec();
        let sent = IpPacket::<Ipv6>::parse(&sent).expect("v6");
        assert_eq!(IpAddr::from(sent.src()), ip(US6));
    }
}

#[test]
fn never_about_sources_that_are_not_one_host() {
    let v4 = [
        "0.0.0.0",
        "127.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "10.77.0.255",
        US4,
    ];
    let v6 = ["::", "::1", "ff02::1", "::ffff:1.2.3.4", US6];
    for (dst, srcs, version) in [(US4, &v4[..], IpVersion::V4), (US6, &v6[..], IpVersion::V6)] {
        for src in srcs {
            let offending = packet(src, dst, IpProto::UDP, &[0; 8], None);
            for message in messages(version) {
                let answer = may(message, &offending);
                assert_eq!(answer, Err(Suppressed::Source), "{src} {message:?}");
            }
        }
    }
}

#[test]
fn never_about_later_fragments() {
    for (src, dst, version) in [(PEER4, US4, IpVersion::V4), (PEER6, US6, IpVersion::V6)] {
        for (offset_bytes, allowed) in [(0, true), (8, false), (65_000, false)] {
            let info = FragmentInfo {
                id: 1,
                offset_bytes,
                more: true,
            };
            let offending = packet(src, dst, IpProto::UDP, &[0; 8], Some(info));
            for message in messages(version) {
                let about_it = matches!(message, IcmpMessage::V6(Icmpv6::ParameterProblem { .. }));
                let expected = if allowed || about_it {
                    Ok(())
                } else {
                    Err(Suppressed::LaterFragment)
                };
                assert_eq!(may(message, &offending), expected, "{offset_bytes}");
            }
        }
    }
}

#[test]
fn never_about_icmp_errors_or_what_might_be_one() {
    // IPv4: only what is known to be a query may be answered with an error.
    for kind in 0..=255u8 {
        let offending = packet(
            PEER4,
            US4,
            IpProto::ICMP,
            &[kind, 0, 0, 0, 0, 0, 0, 0],
            None,
        );
        let query = matches!(kind, 0 | 8 | 13 | 14);
        for message in messages(IpVersion::V4) {
            assert_eq!(may(message, &offending).is_ok(), query, "type {kind}");
        }
    }
    // IPv6: errors are the types below 128, and redirects.
    for kind in 0..=255u8 {
        let octets = [kind, 0, 0, 0, 0, 0, 0, 0];
        let offending = packet(PEER6, US6, IpProto::ICMPV6, &octets, None);
        let allowed = kind >= 128 && kind != 137;
        for message in messages(IpVersion::V6) {
            assert_eq!(may(message, &offending).is_ok(), allowed, "type {kind}");
        }
    }
    // Too short to tell.
    for (src, dst, proto, version) in [
        (PEER4, US4, IpProto::ICMP, IpVersion::V4),
        (PEER6, US6, IpProto::ICMPV6, IpVersion::V6),
    ] {
        let offending = packet(src, dst, proto, &[], None);
        for message in messages(version) {
            assert_eq!(may(message, &offending), Err(Suppressed::IcmpError));
        }
    }
}

#[test]
fn unreadable_packets_and_wrong_versions() {
    let v6 = messages(IpVersion::V6)[0];
    let v4 = messages(IpVersion::V4)[0];
    for bytes in [&[][..], &[0x45][..], &[0x60; 39][..], &[0; 60][..]] {
        let offending = Payload::from(bytes::Bytes::copy_from_slice(bytes));
        assert_eq!(may(v4, &offending), Err(Suppressed::Unreadable));
    }
    let offending = packet(PEER4, US4, IpProto::UDP, &[0; 8], None);
    assert_eq!(may(v6, &offending), Err(Suppressed::Version));
    let offending = packet(PEER6, US6, IpProto::UDP, &[0; 8], None);
    assert_eq!(may(v4, &offending), Err(Suppressed::Version));
}

#[test]
fn the_error_quotes_what_was_received() {
    for len in [0, 8, 520, 1_200, 9_000] {
        let data = vec![0xa5; len];
        let offending = packet(PEER4, US4, IpProto::UDP, &data, None);
        let permit =
            permit(&addresses(), port_unreachable(IpVersion::V4), &offending).expect("allowed");
        assert_eq!(permit.to(), ip(PEER4));
        let sent = permit.build(33).expect("built");
        assert!(sent.len() <= 576);
        let bytes = sent.to_vec();
        let packet = IpPacket::<Ipv4>::parse(&bytes).expect("v4");
        assert_eq!((packet.ttl(), packet.traffic_class()), (33, 0));
        assert_eq!(IpAddr::from(packet.src()), ip(US4));
        let view = Icmpv4View::parse(packet.payload(), RxChecksum::Unknown).expect("checksum");
        assert_eq!(view.body(), &offending[..offending.len().min(548)]);

        let offending = super::super::testing::packet(PEER6, US6, IpProto::UDP, &data, None);
        let sent = super::permit(&addresses(), port_unreachable(IpVersion::V6), &offending)
            .expect("allowed")
            .build(33)
            .expect("built");
        assert!(sent.len() <= 1280);
        let bytes = sent.to_vec();
        let packet = IpPacket::<Ipv6>::parse(&bytes).expect("v6");
        let (src, dst) = (packet.src(), packet.dst());
        let view =
            Icmpv6View::parse(src, dst, packet.payload(), RxChecksum::Unknown).expect("checksum");
        assert_eq!(view.body(), &offending[..offending.len().min(1232)]);
    }
}

#[test]
fn an_error_about_an_error_about_us_ends_there() {
    // What we send is never answered by what we send.
    let offending = packet(PEER4, US4, IpProto::UDP, &[0; 8], None);
    let quoted = icmp(PEER4, US4, port_unreachable(IpVersion::V4), &offending[..]);
    for message in messages(IpVersion::V4) {
        assert_eq!(may(message, &quoted), Err(Suppressed::IcmpError));
    }
}
