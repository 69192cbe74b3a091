//! Tests of the meaning of each message, by table.

use super::super::testing::{PEER4, PEER6, US4, US6, addresses, icmp, ip, packet};
use super::*;
use crate::base::OffloadCaps;
use crate::ip::pmtu::Path;
use packet::build::{Head, TxChecksum, prepend_tcp};
use packet::icmp::{Icmpv4RedirectCode, TimeExceededCode};
use packet::ip::{FragmentInfo, Ipv4, Ipv6};
use packet::tcp::TcpHeader;

fn read(bytes: &[u8], cast: Cast, policy: EchoPolicy) -> Inbound {
    let addresses = addresses();
    let checksum = RxChecksum::Unknown;
    if bytes[0] >> 4 == 4 {
        let packet = IpPacket::<Ipv4>::parse(bytes).expect("v4");
        on_packet(&packet, cast, checksum, &addresses, policy)
    } else {
        let packet = IpPacket::<Ipv6>::parse(bytes).expect("v6");
        on_packet(&packet, cast, checksum, &addresses, policy)
    }
}

fn unicast(bytes: &[u8]) -> Inbound {
    read(bytes, Cast::Unicast, EchoPolicy::default())
}

/// Returns a TCP segment from `src` to `dst` with sequence number 0x01020304.
fn segment(src: &str, dst: &str) -> Payload {
    let header = TcpHeader {
        src_port: 5000,
        dst_port: 80,
        seq: 0x0102_0304,
        ..TcpHeader::default()
    };
    let mut head = Head::new();
    let none = [].into_iter();
    prepend_tcp(
        &mut head,
        &header,
        ip(src),
        ip(dst),
        none,
        0,
        TxChecksum::Full,
    )
    .expect("built");
    packet(src, dst, IpProto::TCP, head.as_slice(), None)
}

#[test]
fn errors_of_ipv4() {
    let unreachable = |code, next_hop_mtu| Icmpv4::DestinationUnreachable { code, next_hop_mtu };
    let cases = [
        (unreachable(V4::Network, 0), ErrorKind::NetUnreachable),
        (unreachable(V4::Host, 0), ErrorKind::HostUnreachable),
        (unreachable(V4::Protocol, 0), ErrorKind::ProtocolUnreachable),
        (unreachable(V4::Port, 0), ErrorKind::PortUnreachable),
        (
            unreachable(V4::FragmentationNeeded, 1400),
            ErrorKind::PacketTooBig { mtu: 1400 },
        ),
        (
            unreachable(V4::FragmentationNeeded, 0),
            ErrorKind::PacketTooBig { mtu: 0 },
        ),
        (
            unreachable(V4::SourceRouteFailed, 0),
            ErrorKind::HostUnreachable,
        ),
        (
            unreachable(V4::NetworkUnknown, 0),
            ErrorKind::NetUnreachable,
        ),
        (unreachable(V4::HostUnknown, 0), ErrorKind::HostUnreachable),
        (
            unreachable(V4::NetworkProhibited, 0),
            ErrorKind::AdminProhibited,
        ),
        (
            unreachable(V4::HostProhibited, 0),
            ErrorKind::AdminProhibited,
        ),
        (
            unreachable(V4::CommunicationProhibited, 0),
            ErrorKind::AdminProhibited,
        ),
        (
            Icmpv4::TimeExceeded {
                code: TimeExceededCode::InTransit,
            },
            ErrorKind::TimeExceeded,
        ),
        (
            Icmpv4::ParameterProblem {
                code: 0,
                pointer: 8,
            },
            ErrorKind::ParameterProblem,
        ),
    ];
    let quoted = segment(US4, PEER4);
    for (message, kind) in cases {
        for reporter in [PEER4, "192.0.2.1"] {
            let expected = TransportError {
                proto: IpProto::TCP,
                local: SocketAddr::new(ip(US4), 5000),
                remote: SocketAddr::new(ip(PEER4), 80),
                kind,
                tcp_seq: Some(0x0102_0304),
                quoted_len: 40,
                reporter: ip(reporter),
            };
            let bytes = icmp(reporter, US4, message, &quoted);
            assert_eq!(unicast(&bytes), Inbound::Error(expected), "{message:?}");
        }
    }
}

#[test]
fn errors_of_ipv6() {
    let unreachable = |code| Icmpv6::DestinationUnreachable { code };
    let cases = [
        (unreachable(V6::NoRoute), ErrorKind::NetUnreachable),
        (unreachable(V6::Prohibited), ErrorKind::AdminProhibited),
        (unreachable(V6::BeyondScope), ErrorKind::HostUnreachable),
        (unreachable(V6::Address), ErrorKind::HostUnreachable),
        (unreachable(V6::Port), ErrorKind::PortUnreachable),
        (unreachable(V6::SourcePolicy), ErrorKind::AdminProhibited),
        (unreachable(V6::RejectRoute), ErrorKind::NetUnreachable),
        (
            unreachable(V6::Other(77)),
            ErrorKind::Unknown { kind: 1, code: 77 },
        ),
        (
            Icmpv6::PacketTooBig { mtu: 1300 },
            ErrorKind::PacketTooBig { mtu: 1300 },
        ),
        (
            Icmpv6::TimeExceeded {
                code: TimeExceededCode::Reassembly,
            },
            ErrorKind::TimeExceeded,
        ),
        (
            Icmpv6::ParameterProblem {
                code: 0,
                pointer: 6,
            },
            ErrorKind::ParameterProblem,
        ),
        (
            Icmpv6::ParameterProblem {
                code: 1,
                pointer: 6,
            },
            ErrorKind::ProtocolUnreachable,
        ),
        // Errors of types unknown here reach the transport all the same (RFC 4443 section 2.4 a).
        (
            Icmpv6::Other {
                kind: 100,
                code: 3,
                rest: [0; 4],
            },
            ErrorKind::Unknown { kind: 100, code: 3 },
        ),
    ];
    let quoted = segment(US6, PEER6);
    for (message, kind) in cases {
        let bytes = icmp(PEER6, US6, message, &quoted);
        let Inbound::Error(error) = unicast(&bytes) else {
            panic!("{message:?}");
        };
        assert_eq!(error.kind, kind, "{message:?}");
        assert_eq!(error.local, SocketAddr::new(ip(US6), 5000));
        assert_eq!(error.remote, SocketAddr::new(ip(PEER6), 80));
        assert_eq!((error.tcp_seq, error.quoted_len), (Some(0x0102_0304), 60));
    }
}

#[test]
fn errors_that_are_not_about_us() {
    let port = Icmpv4::DestinationUnreachable {
        code: V4::Port,
        next_hop_mtu: 0,
    };
    let unmatched = Inbound::Drop(DropReason::IcmpUnmatched);
    // The quoted source must be the address that the error was sent to.
    for src in [PEER4, "10.77.0.3", "192.0.2.9"] {
        let bytes = icmp(PEER4, US4, port, &segment(src, PEER4));
        assert_eq!(unicast(&bytes), unmatched, "{src}");
    }
    // Neither ports in a later fragment nor in other protocols.
    let later = FragmentInfo {
        id: 1,
        offset_bytes: 800,
        more: true,
    };
    let quotes = [
        packet(US4, PEER4, IpProto::UDP, &[1; 8], Some(later)),
        packet(US4, PEER4, IpProto::ICMP, &[8, 0, 0, 0, 0, 0, 0, 0], None),
        packet(US4, PEER4, IpProto(132), &[1; 8], None),
        packet(US4, PEER4, IpProto::UDP, &[1; 3], None),
        packet(US6, PEER6, IpProto::UDP, &[1; 8], None),
    ];
    for quote in quotes {
        assert_eq!(unicast(&icmp(PEER4, US4, port, &quote)), unmatched);
    }
    // Quotes that are no packets.
    for quote in [&[][..], &[0x45; 19][..], &[0x12; 40][..], &[0x4f; 40][..]] {
        let bytes = icmp(PEER4, US4, port, quote);
        assert_eq!(
            unicast(&bytes),
            Inbound::Drop(DropReason::IcmpMalformed),
            "{quote:02x?}"
        );
    }
    // A quote of the ports alone is enough to find the flow, but there is no sequence number.
    let quoted = segment(US4, PEER4);
    let bytes = icmp(PEER4, US4, port, &quoted[..24]);
    let Inbound::Error(error) = unicast(&bytes) else {
        panic!("ports are there");
    };
    assert_eq!(error.tcp_seq, None);
}

#[test]
fn what_is_ignored() {
    let ignored = Inbound::Drop(DropReason::IcmpIgnored);
    let quoted = segment(US4, PEER4);
    let other = |kind| Icmpv4::Other {
        kind,
        code: 0,
        rest: [0; 4],
    };
    let messages = [
        Icmpv4::SourceQuench,
        Icmpv4::Redirect {
            code: Icmpv4RedirectCode::Host,
            gateway: [10, 77, 0, 9].into(),
        },
        Icmpv4::DestinationUnreachable {
            code: V4::Other(99),
            next_hop_mtu: 0,
        },
        Icmpv4::Timestamp { ident: 1, seq: 1 },
        other(15),
        other(17),
        other(9),
        other(10),
        other(255),
    ];
    for message in messages {
        assert_eq!(
            unicast(&icmp(PEER4, US4, message, &quoted)),
            ignored,
            "{message:?}"
        );
    }
    // ICMPv6: everything informational that is no echo.
    for kind in 130..=255u8 {
        let message = Icmpv6::from_bytes(&[kind, 0, 0, 0, 0, 0, 0, 0]);
        let bytes = icmp(PEER6, US6, message, &[0; 24]);
        assert_eq!(unicast(&bytes), ignored, "type {kind}");
    }
}

#[test]
fn damaged_messages_are_counted() {
    for (src, dst, echo) in [
        (
            PEER4,
            US4,
            IcmpMessage::from(Icmpv4::EchoRequest { ident: 1, seq: 2 }),
        ),
        (
            PEER6,
            US6,
            IcmpMessage::from(Icmpv6::EchoRequest { ident: 1, seq: 2 }),
        ),
    ] {
        let good = icmp(src, dst, echo, b"data").to_vec();
        let mut bad = good.clone();
        let last = bad.len() - 1;
        bad[last] ^= 1;
        assert_eq!(unicast(&bad), Inbound::Drop(DropReason::IcmpChecksum));
        let short = packet(src, dst, echo.proto(), &[8; 7], None);
        assert_eq!(unicast(&short), Inbound::Drop(DropReason::IcmpMalformed));
    }
}

/// RFC 1122 section 3.2.2.6, RFC 4443 section 4.2.
#[test]
fn the_policy_says_which_pings_to_many_are_answered() {
    let v4 = Icmpv4::EchoRequest { ident: 1, seq: 2 };
    let v6 = Icmpv6::EchoRequest { ident: 1, seq: 2 };
    let none = EchoPolicy {
        broadcast: false,
        multicast_v4: false,
        multicast_v6: false,
    };
    let broadcast = EchoPolicy {
        broadcast: true,
        ..none
    };
    let multicast_v4 = EchoPolicy {
        multicast_v4: true,
        ..none
    };
    let multicast_v6 = EchoPolicy {
        multicast_v6: true,
        ..none
    };
    assert_eq!(EchoPolicy::default(), multicast_v6);
    let (many, groups) = (Cast::Broadcast, Cast::Multicast);
    let cases = [
        (icmp(PEER4, "10.77.0.255", v4, b""), many, US4, broadcast),
        (
            icmp(PEER4, "255.255.255.255", v4, b""),
            many,
            US4,
            broadcast,
        ),
        (icmp(PEER4, "224.0.0.1", v4, b""), groups, US4, multicast_v4),
        (icmp(PEER6, "ff02::1", v6, b""), groups, US6, multicast_v6),
    ];
    for (bytes, cast, us, answering) in cases {
        for policy in [none, broadcast, multicast_v4, multicast_v6] {
            match read(&bytes, cast, policy) {
                Inbound::EchoRequest(request) => {
                    assert_eq!(policy, answering);
                    assert_eq!(request.local, ip(us), "never from the group's address");
                }
                other => {
                    assert_ne!(policy, answering);
                    assert_eq!(other, Inbound::Drop(DropReason::IcmpIgnored));
                }
            }
        }
    }
}

#[test]
fn a_ping_comes_back_as_it_went() {
    let params = TxParams {
        path: Path::unknown(1_500),
        ttl: 64,
        traffic_class: 0x2b,
        flow_label: 0,
        offload: OffloadCaps::default(),
    };
    let data: Vec<u8> = (0..3_000u32).map(|n| n as u8).collect();
    for len in [0, 1, 56, 1_452, 3_000] {
        let data = &data[..len];
        for (peer, us, echo) in [
            (
                PEER4,
                US4,
                IcmpMessage::from(Icmpv4::EchoRequest { ident: 7, seq: 9 }),
            ),
            (
                PEER6,
                US6,
                IcmpMessage::from(Icmpv6::EchoRequest { ident: 7, seq: 9 }),
            ),
        ] {
            let bytes = icmp(peer, us, echo, data);
            let Inbound::EchoRequest(request) = unicast(&bytes) else {
                panic!("a ping");
            };
            let replies = request.reply(&bytes, &params, || 1).expect("sent");
            assert_eq!(replies.is_fragmented(), len == 3_000);
            if replies.is_fragmented() {
                continue; // put together in the tests of ip::send
            }
            let reply = replies.map(|p| p.to_vec()).next().expect("one");
            // The peer parses the reply with the same code.
            let addresses = addresses();
            let answer = if us == US4 {
                let packet = IpPacket::<Ipv4>::parse(&reply).expect("v4");
                assert_eq!(packet.traffic_class(), 0x28, "no congestion marks");
                on_packet(
                    &packet,
                    Cast::Unicast,
                    RxChecksum::Unknown,
                    &addresses,
                    EchoPolicy::default(),
                )
            } else {
                let packet = IpPacket::<Ipv6>::parse(&reply).expect("v6");
                assert_eq!(packet.traffic_class(), 0x28, "no congestion marks");
                on_packet(
                    &packet,
                    Cast::Unicast,
                    RxChecksum::Unknown,
                    &addresses,
                    EchoPolicy::default(),
                )
            };
            let Inbound::EchoReply {
                from,
                ident: 7,
                seq: 9,
                payload: range,
            } = answer
            else {
                panic!("{answer:?}");
            };
            assert_eq!(from, ip(us));
            assert_eq!(&reply[range], data);
        }
    }
}

#[test]
fn hard_and_soft() {
    for kind in [
        ErrorKind::PortUnreachable,
        ErrorKind::ProtocolUnreachable,
        ErrorKind::AdminProhibited,
    ] {
        assert!(!kind.is_soft());
    }
    for kind in [
        ErrorKind::HostUnreachable,
        ErrorKind::NetUnreachable,
        ErrorKind::PacketTooBig { mtu: 1280 },
        ErrorKind::TimeExceeded,
        ErrorKind::ParameterProblem,
    ] {
        assert!(kind.is_soft());
    }
}
