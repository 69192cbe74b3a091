//! The IPv6 cases: a packet, its drop reason and its answer.

use tests::forge::*;
use tests::world::{V6, port};

use super::{ACK, Answer, Case, RST, SYN, case, with};

fn echo_v6() -> Vec<u8> {
    sealed(ipv6(V6, ICMPV6, &icmp(128, 0, [1, 2, 3, 4], b"hello")))
}

/// Returns every case.
pub(super) fn cases() -> Vec<Case> {
    use Answer::*;
    let udp_to = |to: u16| sealed(ipv6(V6, UDP, &udp(40_000, to, b"data")));
    let tcp_to = |to: u16, flags| sealed(ipv6(V6, TCP, &tcp(40_000, to, 1_000, 0, flags, b"")));
    // An extension header with one option of this type, then no next header.
    let option = |kind: u8| [59, 0, kind, 4, 0, 0, 0, 0];
    vec![
        case(
            "version 7",
            with(echo_v6(), |p| p[0] = 0x70),
            "ip_too_short_or_version",
            Nothing,
        ),
        case(
            "thirty bytes",
            with(echo_v6(), |p| p.truncate(30)),
            "ip_too_short_or_version",
            Nothing,
        ),
        case(
            "payload length beyond the packet",
            with(echo_v6(), |p| p[5] += 1),
            "ip_header_malformed",
            Nothing,
        ),
        case(
            "source is multicast",
            sealed(ipv6_from(
                "ff02::1".parse().expect("address"),
                V6,
                ICMPV6,
                &icmp(128, 0, [0; 4], b""),
            )),
            "ip_source_invalid",
            Nothing,
        ),
        case(
            "source is loopback",
            sealed(ipv6_from(
                "::1".parse().expect("address"),
                V6,
                ICMPV6,
                &icmp(128, 0, [0; 4], b""),
            )),
            "ip_source_invalid",
            Nothing,
        ),
        case(
            "source is ours (LAND)",
            sealed(ipv6_from(V6, V6, TCP, &tcp(7, 7, 1, 0, SYN, b""))),
            "ip_source_invalid",
            Nothing,
        ),
        case(
            "destination is not ours",
            sealed(ipv6(
                "fd77::77".parse().expect("address"),
                UDP,
                &udp(1_000, 7, b"x"),
            )),
            "ip_destination_not_ours",
            Nothing,
        ),
        // RFC 8200 section 4: code 1, the pointer at the next-header field.
        case(
            "unknown next header",
            ipv6(V6, 200, b"????????"),
            "ip_protocol_unknown",
            Pointer(4, 1, 6),
        ),
        case(
            "no next header",
            ipv6(V6, 59, b""),
            "ip_no_next_header",
            Nothing,
        ),
        // RFC 8200 section 4.2: the two highest bits say what to do with an unknown option.
        case(
            "unknown option: discard",
            ipv6(V6, 0, &option(0x5e)),
            "ip_parameter_problem",
            Nothing,
        ),
        case(
            "unknown option: report",
            ipv6(V6, 0, &option(0x9e)),
            "ip_parameter_problem",
            Pointer(4, 2, 42),
        ),
        case(
            "unknown destination option: report unless multicast",
            ipv6(V6, 60, &option(0xde)),
            "ip_parameter_problem",
            Pointer(4, 2, 42),
        ),
        // RFC 5095: routing type 0 with segments left.
        case(
            "routing header of type 0",
            ipv6(
                V6,
                43,
                &[
                    59, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                ],
            ),
            "ip_parameter_problem",
            Pointer(4, 0, 42),
        ),
        case(
            "hop-by-hop options that are not first",
            ipv6(V6, 60, &[0, 0, 1, 4, 0, 0, 0, 0, 59, 0, 1, 4, 0, 0, 0, 0]),
            "ip_parameter_problem",
            Pointer(4, 1, 40),
        ),
        case(
            "extension header cut off",
            ipv6(V6, 60, &[59, 4, 1, 4]),
            "ip_parameter_problem",
            Pointer(4, 0, 41),
        ),
        // RFC 2675 section 3: the answer of a host without support for jumbograms.
        case(
            "jumbogram",
            ipv6(V6, 0, &[]),
            "ip_parameter_problem",
            Pointer(4, 0, 4),
        ),
        // RFC 7112 section 5.
        case(
            "first fragment that ends in a header",
            ipv6(
                V6,
                44,
                &fragment_v6(60, 4, 0, true, &[6, 1, 1, 4, 0, 0, 0, 0]),
            ),
            "ip_parameter_problem",
            Pointer(4, 3, 0),
        ),
        case(
            "ICMPv6 of 4 bytes",
            ipv6(V6, ICMPV6, &[128, 0, 0, 0]),
            "icmp_malformed",
            Nothing,
        ),
        case(
            "ICMPv6 checksum",
            with(echo_v6(), |p| p[42] ^= 1),
            "icmp_checksum",
            Nothing,
        ),
        case(
            "ICMPv6 information of an unknown type",
            sealed(ipv6(V6, ICMPV6, &icmp(200, 0, [0; 4], b""))),
            "icmp_ignored",
            Nothing,
        ),
        case(
            "UDP of 6 bytes",
            ipv6(V6, UDP, &[0; 6]),
            "udp_malformed",
            Nothing,
        ),
        // RFC 8200 section 8.1: a checksum of zero must be discarded.
        case(
            "UDP without a checksum",
            ipv6(V6, UDP, &udp(40_000, 7, b"data")),
            "udp_checksum",
            Nothing,
        ),
        case(
            "UDP checksum",
            with(udp_to(7), |p| p[47] ^= 1),
            "udp_checksum",
            Nothing,
        ),
        case(
            "UDP to a closed port",
            udp_to(port::CLOSED),
            "udp_no_socket",
            Icmp(1, 4),
        ),
        case(
            "TCP data offset of 16 bytes",
            with(tcp_to(7, SYN), |p| {
                p[52] = 0x40;
                seal(p)
            }),
            "tcp_malformed",
            Nothing,
        ),
        case(
            "TCP checksum",
            with(tcp_to(7, SYN), |p| p[57] ^= 1),
            "tcp_checksum",
            Nothing,
        ),
        case(
            "SYN to a closed port",
            tcp_to(port::CLOSED, SYN),
            "tcp_no_listener",
            Tcp(RST | ACK),
        ),
        case(
            "RST to a closed port",
            tcp_to(port::CLOSED, RST),
            "tcp_no_listener",
            Nothing,
        ),
        // RFC 8200 section 4.5: the pointers are at the payload length, and at the fragment offset.
        case(
            "fragment in the middle of 7 bytes",
            ipv6(V6, 44, &fragment_v6(UDP, 1, 0, true, &[0; 7])),
            "ip_parameter_problem",
            Pointer(4, 0, 4),
        ),
        case(
            "fragment that ends beyond 65535",
            ipv6(V6, 44, &fragment_v6(UDP, 2, 65_528, false, &[0; 64])),
            "ip_parameter_problem",
            Pointer(4, 0, 42),
        ),
        Case {
            name: "fragments that overlap",
            packets: vec![
                ipv6(V6, 44, &fragment_v6(UDP, 3, 0, true, &[0; 16])),
                ipv6(V6, 44, &fragment_v6(UDP, 3, 8, true, &[0; 16])),
            ],
            reason: "fragment_overlap",
            // The earlier fragment is discarded, too (RFC 5722).
            times: 2,
            answer: Nothing,
        },
    ]
}
