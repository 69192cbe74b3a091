//! The IPv4 cases: a packet, its drop reason and its answer.

use tests::forge::*;
use tests::world::{V4, port};

use super::{ACK, Answer, Case, RST, SYN, case, with};

fn echo_v4() -> Vec<u8> {
    sealed(ipv4(V4, ICMP, &icmp(8, 0, [1, 2, 3, 4], b"hello")))
}

/// Returns every case.
pub(super) fn cases() -> Vec<Case> {
    use Answer::*;
    let udp_to = |to: u16| sealed(ipv4(V4, UDP, &udp(40_000, to, b"data")));
    let tcp_to = |to: u16, flags| sealed(ipv4(V4, TCP, &tcp(40_000, to, 1_000, 0, flags, b"")));
    vec![
        case(
            "version 5",
            with(echo_v4(), |p| p[0] = 0x55),
            "ip_too_short_or_version",
            Nothing,
        ),
        case(
            "ten bytes",
            with(echo_v4(), |p| p.truncate(10)),
            "ip_too_short_or_version",
            Nothing,
        ),
        case(
            "header of 16 bytes",
            with(echo_v4(), |p| {
                p[0] = 0x44;
                seal_v4(p)
            }),
            "ip_header_malformed",
            Nothing,
        ),
        case(
            "header longer than the packet",
            with(echo_v4(), |p| {
                p[0] = 0x4f;
                seal_v4(p)
            }),
            "ip_header_malformed",
            Nothing,
        ),
        case(
            "total length beyond the packet",
            with(echo_v4(), |p| {
                p[3] += 1;
                seal_v4(p)
            }),
            "ip_header_malformed",
            Nothing,
        ),
        case(
            "total length within the header",
            with(echo_v4(), |p| {
                p[3] = 19;
                seal_v4(p)
            }),
            "ip_header_malformed",
            Nothing,
        ),
        case(
            "header checksum",
            with(echo_v4(), |p| p[11] ^= 1),
            "ip_header_checksum",
            Nothing,
        ),
        // RFC 1122 section 3.2.1.8: an option whose length is wrong; RFC 792: the pointer names it.
        case(
            "option of length 0",
            ipv4_with(FROM_V4, V4, ICMP, &[7, 0, 0, 0], &[0; 8]),
            "ip_parameter_problem",
            Pointer(12, 0, 21),
        ),
        case(
            "source is multicast",
            sealed(ipv4_with(
                [224, 0, 0, 1].into(),
                V4,
                ICMP,
                &[],
                &icmp(8, 0, [0; 4], b""),
            )),
            "ip_source_invalid",
            Nothing,
        ),
        case(
            "source is broadcast",
            sealed(ipv4_with(
                [255; 4].into(),
                V4,
                UDP,
                &[],
                &udp(1_000, 1, b""),
            )),
            "ip_source_invalid",
            Nothing,
        ),
        case(
            "source is loopback",
            sealed(ipv4_with(
                [127, 0, 0, 1].into(),
                V4,
                ICMP,
                &[],
                &icmp(8, 0, [0; 4], b""),
            )),
            "ip_source_invalid",
            Nothing,
        ),
        case(
            "source is ours (LAND)",
            sealed(ipv4_with(V4, V4, TCP, &[], &tcp(7, 7, 1, 0, SYN, b""))),
            "ip_source_invalid",
            Nothing,
        ),
        case(
            "destination is not ours",
            sealed(ipv4([10, 77, 0, 77].into(), UDP, &udp(1_000, 7, b"x"))),
            "ip_destination_not_ours",
            Nothing,
        ),
        case(
            "unknown protocol",
            ipv4(V4, 200, b"????????"),
            "ip_protocol_unknown",
            Icmp(3, 2),
        ),
        case(
            "ICMP of 4 bytes",
            ipv4(V4, ICMP, &[8, 0, 0, 0]),
            "icmp_malformed",
            Nothing,
        ),
        case(
            "ICMP checksum",
            with(echo_v4(), |p| p[22] ^= 1),
            "icmp_checksum",
            Nothing,
        ),
        case(
            "ICMP of an unknown type",
            sealed(ipv4(V4, ICMP, &icmp(99, 0, [0; 4], b""))),
            "icmp_ignored",
            Nothing,
        ),
        case(
            "echo reply without a request",
            sealed(ipv4(V4, ICMP, &icmp(0, 0, [0; 4], b""))),
            "icmp_unmatched",
            Nothing,
        ),
        case(
            "ICMP error about no flow",
            sealed(ipv4(
                V4,
                ICMP,
                &icmp(
                    3,
                    3,
                    [0; 4],
                    &ipv4_with(V4, FROM_V4, UDP, &[], &udp(5_000, 6_000, b"")),
                ),
            )),
            "icmp_unmatched",
            Nothing,
        ),
        case(
            "UDP of 6 bytes",
            ipv4(V4, UDP, &[0; 6]),
            "udp_malformed",
            Nothing,
        ),
        case(
            "UDP length beyond the packet",
            with(udp_to(7), |p| {
                p[25] += 1;
                seal(p)
            }),
            "udp_malformed",
            Nothing,
        ),
        case(
            "UDP length below 8",
            with(udp_to(7), |p| {
                p[25] = 7;
                seal(p)
            }),
            "udp_malformed",
            Nothing,
        ),
        case(
            "UDP checksum",
            with(udp_to(7), |p| p[27] ^= 1),
            "udp_checksum",
            Nothing,
        ),
        case(
            "UDP to a closed port",
            udp_to(port::CLOSED),
            "udp_no_socket",
            Icmp(3, 3),
        ),
        case(
            "TCP of 10 bytes",
            ipv4(V4, TCP, &[0; 10]),
            "tcp_malformed",
            Nothing,
        ),
        case(
            "TCP data offset of 16 bytes",
            with(tcp_to(7, SYN), |p| {
                p[32] = 0x40;
                seal(p)
            }),
            "tcp_malformed",
            Nothing,
        ),
        case(
            "TCP data offset beyond the segment",
            with(tcp_to(7, SYN), |p| {
                p[32] = 0x60;
                seal(p)
            }),
            "tcp_malformed",
            Nothing,
        ),
        case(
            "TCP checksum",
            with(tcp_to(7, SYN), |p| p[37] ^= 1),
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
            "ACK to a listener",
            tcp_to(port::ECHO, ACK),
            "tcp_no_listener",
            Tcp(RST),
        ),
        case(
            "RST to a closed port",
            tcp_to(port::CLOSED, RST),
            "tcp_no_listener",
            Nothing,
        ),
        // RFC 1122 section 3.2.2: no error about a broadcast, nor about an ICMP error.
        case(
            "UDP to the subnet's broadcast address, closed port",
            sealed(ipv4([10, 77, 0, 255].into(), UDP, &udp(1_000, 1, b""))),
            "udp_no_socket",
            Nothing,
        ),
        case(
            "fragment that ends beyond 65535",
            ipv4_fragment(V4, UDP, 1, 65_528, false, &[0; 64]),
            "fragment_invalid",
            Nothing,
        ),
        case(
            "fragment in the middle of 7 bytes",
            ipv4_fragment(V4, UDP, 2, 0, true, &[0; 7]),
            "fragment_invalid",
            Nothing,
        ),
        Case {
            name: "fragments that overlap",
            packets: vec![
                ipv4_fragment(V4, UDP, 3, 0, true, &[0; 16]),
                ipv4_fragment(V4, UDP, 3, 8, true, &[0; 16]),
            ],
            reason: "fragment_overlap",
            // The earlier fragment is discarded, too (RFC 5722).
            times: 2,
            answer: Nothing,
        },
    ]
}
