//! IPv6 headers, unknown options, limits, and valid chains.

use packet::ip::{
    Icmpv6ParameterProblemCode as Code6, IpPacket, IpParseError, IpParseErrorAction as Action,
    Ipv6, MAX_EXTENSION_HEADERS, ParseError,
};

use super::v6_chains::{Problem, check6, recommended};
use super::{MULTICAST6, UNICAST6, fail6, v6};

#[test]
fn ipv6_faults_discarded_silently() {
    let good = v6(UNICAST6, 17, &[0; 8]);
    assert!(IpPacket::<Ipv6>::parse(&good).is_ok());
    let mut wrong_version = good.clone();
    wrong_version[0] = 0x50;
    for (bytes, error) in [
        (&good[..0], ParseError::TooShort),
        (&good[..39], ParseError::TooShort),
        (&good[..40], ParseError::Truncated),
        (&good[..47], ParseError::Truncated),
        (&wrong_version[..], ParseError::Version),
    ] {
        assert_eq!(fail6(bytes), IpParseError::Parse { error });
    }
}

/// Tries each option action in each kind of options header, at each position in the header and chain.
#[test]
fn ipv6_unknown_options() {
    for (kind, expected) in [
        (0x1e, None),
        (0x5e, Some((false, Action::DiscardPacket))),
        (0x9e, Some((true, Action::DiscardPacketSendIcmp))),
        (0xde, Some((true, Action::DiscardPacketSendIcmpNoMulticast))),
        // Jumbo payload (RFC 2675), which is not supported and therefore unknown.
        (0xc2, Some((true, Action::DiscardPacketSendIcmpNoMulticast))),
    ] {
        // Alone, after a one-byte pad, after a two-byte pad, after an option that is skipped.
        let bodies: [(&[u8], usize); 4] = [
            (&[kind, 4, 0, 0, 0, 0], 0),
            (&[0, kind, 3, 0, 0, 0], 1),
            (&[1, 0, kind, 2, 0, 0], 2),
            (&[0x1f, 1, 0, kind, 1, 0], 3),
        ];
        for (body, within) in bodies {
            // In hop-by-hop options, in destination options, and in the second and third header.
            let header = |next: u8| [&[next, 0], body].concat();
            let pad: [u8; 6] = [1, 4, 0, 0, 0, 0];
            let chains = [
                (0, [header(17), vec![0; 8]].concat(), 40),
                (60, [header(17), vec![0; 8]].concat(), 40),
                (0, [&[60, 0], &pad[..], &header(17), &[0; 8]].concat(), 48),
                (60, [&[60, 0], &pad[..], &header(17), &[0; 8]].concat(), 48),
                (
                    43,
                    [&[60, 0, 4, 0, 0, 0, 0, 0], &header(17)[..], &[0; 8]].concat(),
                    48,
                ),
                (
                    0,
                    [&[60, 0], &pad[..], &[60, 0], &pad[..], &header(17), &[0; 8]].concat(),
                    56,
                ),
            ];
            for (first, rest, at) in chains {
                let name = format!("option {kind:#x} at {within} of the header at {at}");
                match expected {
                    None => {
                        let bytes = v6(UNICAST6, first, &rest);
                        assert!(IpPacket::<Ipv6>::parse(&bytes).is_ok(), "{name}");
                    }
                    Some((must, action)) => {
                        let problem = Problem {
                            code: Code6::UnrecognizedOption,
                            pointer: (at + 2 + within) as u32,
                            must,
                            action,
                        };
                        check6(&name, first, &rest, &problem);
                    }
                }
            }
        }
    }
}

#[test]
fn ipv6_chain_limit() {
    let pad = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    for count in [1, MAX_EXTENSION_HEADERS - 1, MAX_EXTENSION_HEADERS] {
        let mut rest = Vec::new();
        for i in 1..=count {
            rest.extend(pad(if i == count { 17 } else { 60 }));
        }
        rest.extend([0; 8]);
        let bytes = v6(UNICAST6, 60, &rest);
        let packet = IpPacket::<Ipv6>::parse(&bytes).expect("within the limit");
        assert_eq!(packet.extensions().count(), count);
        assert_eq!(packet.payload().len(), 8);
    }
    let mut rest = Vec::new();
    for _ in 0..=MAX_EXTENSION_HEADERS {
        rest.extend(pad(60));
    }
    rest.extend([0; 8]);
    let at = 40 + 8 * MAX_EXTENSION_HEADERS;
    let expected = recommended(Code6::TooManyExtensionHeaders, at as u32);
    check6("nine headers", 60, &rest, &expected);

    // The limit also holds after a fragment header.
    let mut rest = vec![60, 0, 0, 1, 0, 0, 0, 1];
    for _ in 0..MAX_EXTENSION_HEADERS {
        rest.extend(pad(60));
    }
    check6("nine headers in a first fragment", 44, &rest, &expected);
}

#[test]
fn ipv6_unrecognized_next_header() {
    // First, and after two headers: the pointer is at the octet that names the protocol.
    let first = v6(UNICAST6, 200, &[0; 4]);
    let pad = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    let later = v6(MULTICAST6, 0, &[pad(60), pad(200)].concat());
    for (bytes, pointer, answered) in [(first, 6, true), (later, 48, false)] {
        let packet = IpPacket::<Ipv6>::parse(&bytes).expect("the parser accepts any protocol");
        assert_eq!(packet.proto().0, 200);
        let error = packet.unrecognized_next_header();
        let IpParseError::ParameterProblem {
            code,
            pointer: found,
            must_send_icmp,
            ..
        } = error
        else {
            panic!("a parameter problem");
        };
        assert_eq!(code, Code6::UnrecognizedNextHeader);
        assert_eq!((found, must_send_icmp), (pointer, false));
        assert_eq!(error.should_send_icmp(), answered);
    }
}

#[test]
fn valid_ipv6_chains() {
    let pad = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    let routed = |next: u8, kind: u8| [next, 0, kind, 0, 0, 0, 0, 0];
    let atomic = |next: u8| [next, 0xff, 0, 6, 0, 0, 0, 5];
    for (name, first, rest, proto, header_len) in [
        ("no next header", 59, vec![1, 2, 3], 59, 40),
        ("ESP", 50, vec![0; 8], 50, 40),
        ("AH", 51, vec![17, 0, 0, 0], 51, 40),
        (
            "type 0 with nothing left",
            43,
            routed(17, 0).to_vec(),
            17,
            48,
        ),
        (
            "unknown type with nothing left",
            43,
            routed(17, 99).to_vec(),
            17,
            48,
        ),
        ("atomic fragment", 44, atomic(17).to_vec(), 17, 48),
        (
            "atomic fragment between options",
            60,
            [pad(44), atomic(60), pad(6)].concat(),
            6,
            64,
        ),
        (
            "seven bytes of padding",
            60,
            [&[17, 1, 1, 5, 0, 0, 0, 0, 0, 0x1e, 3, 0, 0, 0, 0x1e, 0][..]].concat(),
            17,
            56,
        ),
    ] {
        let bytes = v6(UNICAST6, first, &rest);
        let packet = IpPacket::<Ipv6>::parse(&bytes).expect(name);
        assert_eq!(
            (packet.proto().0, packet.header_len()),
            (proto, header_len),
            "{name}"
        );
        assert_eq!(packet.fragment(), None, "{name}");
    }
}
