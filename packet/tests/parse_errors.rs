//! One row per cause: what is wrong with a packet, which octet is named, and who is told.

use packet::checksum;
use packet::ip::{
    Icmpv4ParameterProblemCode as Code4, Icmpv6ParameterProblemCode as Code6, IpPacket,
    IpParseError, IpParseErrorAction as Action, Ipv4, Ipv6, MAX_EXTENSION_HEADERS, ParseError,
};

const UNICAST4: [u8; 4] = [10, 0, 0, 2];
const MULTICAST4: [u8; 4] = [224, 0, 0, 1];
const BROADCAST4: [u8; 4] = [255; 4];
const UNICAST6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
const MULTICAST6: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// A header with `options` (a multiple of 4 octets) and a right checksum, and eight octets behind.
fn v4(dst: [u8; 4], options: &[u8]) -> Vec<u8> {
    assert_eq!(options.len() % 4, 0);
    let header_len = 20 + options.len();
    let mut bytes = vec![0x40 | (header_len / 4) as u8, 0, 0, (header_len + 8) as u8];
    bytes.extend([0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1]);
    bytes.extend(dst);
    bytes.extend(options);
    let sum = checksum::of(&bytes);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes.extend([0; 8]);
    bytes
}

fn fix_v4(bytes: &mut [u8]) {
    bytes[10..12].copy_from_slice(&[0, 0]);
    let len = usize::from(bytes[0] & 15) * 4;
    let sum = checksum::of(&bytes[..len.min(bytes.len())]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// A header whose chain begins with `first`; `rest` is all that follows the fixed 40 octets.
fn v6(dst: [u8; 16], first: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend((rest.len() as u16).to_be_bytes());
    bytes.extend([first, 64]);
    bytes.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    bytes.extend(dst);
    bytes.extend(rest);
    bytes
}

// A failed parse leaves the buffer as it was: it reads a slice that is shared while it does, and keeps
// nothing, so it fails the same way again.

fn fail4(bytes: &[u8]) -> IpParseError<Ipv4> {
    let error = IpPacket::<Ipv4>::parse(bytes).expect_err("malformed");
    assert_eq!(IpPacket::<Ipv4>::parse(bytes).err(), Some(error));
    error
}

fn fail6(bytes: &[u8]) -> IpParseError<Ipv6> {
    let error = IpPacket::<Ipv6>::parse(bytes).expect_err("malformed");
    assert_eq!(IpPacket::<Ipv6>::parse(bytes).err(), Some(error));
    error
}

#[test]
fn ipv4_faults_that_are_discarded_in_silence() {
    let good = v4(UNICAST4, &[]);
    assert!(IpPacket::<Ipv4>::parse(&good).is_ok());
    type Edit = fn(&mut Vec<u8>);
    let table: [(&str, ParseError, Edit); 11] = [
        ("no octet", ParseError::TooShort, |b| b.clear()),
        ("19 octets", ParseError::TooShort, |b| b.truncate(19)),
        ("version 5", ParseError::Version, |b| b[0] = 0x55),
        ("header length 16", ParseError::HeaderLength, |b| {
            b[0] = 0x44
        }),
        (
            "header beyond the total length",
            ParseError::HeaderLength,
            |b| b[0] = 0x48,
        ),
        (
            "total length below the header's",
            ParseError::HeaderLength,
            |b| b[3] = 19,
        ),
        ("one octet missing", ParseError::Truncated, |b| {
            b.truncate(27)
        }),
        (
            "total length beyond the packet",
            ParseError::Truncated,
            |b| b[2] = 1,
        ),
        ("damaged", ParseError::Checksum, |b| b[12] ^= 1),
        (
            "fragment that holds nothing and is not the last",
            ParseError::Fragment,
            |b| {
                b[6] = 0x20;
                b[3] = 20;
                fix_v4(b);
            },
        ),
        (
            "fragment length no multiple of 8",
            ParseError::Fragment,
            |b| {
                b[6] = 0x20;
                b[3] = 27;
                fix_v4(b);
            },
        ),
    ];
    for (name, error, edit) in table {
        let mut bytes = good.clone();
        edit(&mut bytes);
        assert_eq!(fail4(&bytes), IpParseError::Parse { error }, "{name}");
    }
    // A fragment may end at 65,535 octets, header included, and not one beyond.
    // 65,504 + 20 + 11 is 65,535.
    for (total, ok) in [(31u8, true), (32, false)] {
        let mut bytes = v4(UNICAST4, &[]);
        bytes[6..8].copy_from_slice(&(65_504u16 / 8).to_be_bytes());
        bytes[3] = total;
        bytes.resize(usize::from(total), 0);
        fix_v4(&mut bytes);
        assert_eq!(IpPacket::<Ipv4>::parse(&bytes).is_ok(), ok);
    }
}

#[test]
fn ipv4_options_that_are_wrong() {
    // Name, options, octet of the header that the pointer names.
    let table: &[(&str, &[u8], u8)] = &[
        ("kind at the end, no length", &[1, 1, 1, 7], 23),
        ("length 0", &[7, 0, 4, 0], 21),
        ("length 1", &[7, 1, 4, 0], 21),
        ("unknown option, length 1", &[1, 99, 1, 0], 22),
        ("length beyond the header", &[7, 8, 4, 0], 21),
        ("length beyond the header, later", &[1, 1, 99, 3], 23),
        ("record route without a pointer", &[7, 2, 1, 1], 21),
        (
            "record route, pointer below 4",
            &[7, 7, 3, 0, 0, 0, 0, 0],
            22,
        ),
        (
            "record route, room of 3 octets",
            &[7, 7, 5, 0, 0, 0, 0, 0],
            22,
        ),
        (
            "record route, room of 1 octet",
            &[7, 8, 8, 0, 0, 0, 0, 0],
            22,
        ),
        (
            "loose source route, pointer 0",
            &[131, 7, 0, 0, 0, 0, 0, 0],
            22,
        ),
        (
            "strict source route, room of 2",
            &[1, 137, 7, 6, 0, 0, 0, 0],
            23,
        ),
        ("two record routes", &[7, 3, 4, 7, 3, 4, 0, 0], 23),
        (
            "loose and strict source route",
            &[131, 3, 4, 137, 3, 4, 0, 0],
            23,
        ),
        ("timestamp without its fields", &[68, 3, 5, 0], 21),
        ("timestamp, pointer below 5", &[68, 8, 4, 0, 0, 0, 0, 0], 22),
        ("timestamp, room of 3", &[68, 8, 6, 0, 0, 0, 0, 0], 22),
        (
            "timestamp with address, room of 4",
            &[68, 8, 5, 1, 0, 0, 0, 0],
            22,
        ),
        ("timestamp, unknown flag", &[68, 8, 5, 2, 0, 0, 0, 0], 23),
        ("two timestamps", &[68, 4, 5, 0, 68, 4, 5, 0], 24),
        ("router alert of 3 octets", &[148, 3, 0, 0], 21),
    ];
    for (name, options, pointer) in table {
        for (dst, answered) in [(UNICAST4, true), (MULTICAST4, false), (BROADCAST4, false)] {
            let error = fail4(&v4(dst, options));
            assert_eq!(
                error,
                IpParseError::ParameterProblem {
                    src_ip: [10, 0, 0, 1].into(),
                    dst_ip: dst.into(),
                    code: Code4::PointerIndicatesError,
                    pointer: *pointer,
                    must_send_icmp: false,
                    header_len: 20 + options.len(),
                    action: Action::DiscardPacketSendIcmpNoMulticast,
                },
                "{name}"
            );
            assert_eq!(error.should_send_icmp(), answered, "{name}");
        }
    }
}

#[test]
fn ipv4_options_that_are_right() {
    let table: &[(&str, &[u8])] = &[
        ("end", &[0, 0, 0, 0]),
        ("anything behind the end", &[0, 7, 0, 0]),
        ("no operations", &[1, 1, 1, 1]),
        ("record route, empty", &[7, 7, 4, 0, 0, 0, 0, 0]),
        ("record route, full", &[7, 7, 8, 1, 2, 3, 4, 0]),
        ("record route without room", &[7, 3, 4, 0]),
        ("source route, used up", &[131, 7, 8, 1, 2, 3, 4, 0]),
        ("timestamp", &[68, 8, 5, 0, 0, 0, 0, 0]),
        (
            "timestamp with address",
            &[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        ),
        ("timestamp, full", &[68, 8, 9, 0x10, 0, 0, 0, 0]),
        ("router alert", &[148, 4, 0, 0]),
        ("unknown, twice", &[99, 2, 99, 2]),
        ("forty octets", &[1; 40]),
    ];
    for (name, options) in table {
        let bytes = v4(UNICAST4, options);
        let packet = IpPacket::<Ipv4>::parse(&bytes).expect(name);
        assert_eq!(packet.payload_range(), 20 + options.len()..bytes.len());
    }
}

/// What a row of the IPv6 tables expects.
struct Problem {
    code: Code6,
    pointer: u32,
    must: bool,
    action: Action,
}

const fn recommended(code: Code6, pointer: u32) -> Problem {
    Problem {
        code,
        pointer,
        must: false,
        action: Action::DiscardPacketSendIcmpNoMulticast,
    }
}

const fn demanded(code: Code6, pointer: u32) -> Problem {
    Problem {
        must: true,
        ..recommended(code, pointer)
    }
}

const fn silent(code: Code6, pointer: u32) -> Problem {
    Problem {
        action: Action::DiscardPacket,
        ..recommended(code, pointer)
    }
}

fn check6(name: &str, first: u8, rest: &[u8], expected: &Problem) {
    for dst in [UNICAST6, MULTICAST6] {
        let error = fail6(&v6(dst, first, rest));
        assert_eq!(
            error,
            IpParseError::ParameterProblem {
                src_ip: [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1].into(),
                dst_ip: dst.into(),
                code: expected.code,
                pointer: expected.pointer,
                must_send_icmp: expected.must,
                header_len: (),
                action: expected.action,
            },
            "{name}"
        );
        let answered = match expected.action {
            Action::DiscardPacket => false,
            Action::DiscardPacketSendIcmp => true,
            Action::DiscardPacketSendIcmpNoMulticast => dst == UNICAST6,
        };
        assert_eq!(error.should_send_icmp(), answered, "{name}");
    }
}

#[test]
fn ipv6_faults_that_are_discarded_in_silence() {
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

/// Each option action, in each sort of options header, at each position within it and the chain.
#[test]
fn ipv6_unknown_options() {
    for (kind, expected) in [
        (0x1e, None),
        (0x5e, Some((false, Action::DiscardPacket))),
        (0x9e, Some((true, Action::DiscardPacketSendIcmp))),
        (0xde, Some((true, Action::DiscardPacketSendIcmpNoMulticast))),
        // Jumbo payload (RFC 2675): not used on links this small, so unknown.
        (0xc2, Some((true, Action::DiscardPacketSendIcmpNoMulticast))),
    ] {
        // Alone, behind a one-octet pad, behind a two-octet pad, behind an option to be skipped.
        let bodies: [(&[u8], usize); 4] = [
            (&[kind, 4, 0, 0, 0, 0], 0),
            (&[0, kind, 3, 0, 0, 0], 1),
            (&[1, 0, kind, 2, 0, 0], 2),
            (&[0x1f, 1, 0, kind, 1, 0], 3),
        ];
        for (body, within) in bodies {
            // As hop-by-hop, as destination options in front, and as second and third header.
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
fn ipv6_chains_that_are_wrong() {
    use Code6::*;
    let fragment = |offset_more: u16| {
        let [high, low] = offset_more.to_be_bytes();
        [6, 0, high, low, 0, 0, 0, 9]
    };
    let table: &[(&str, u8, Vec<u8>, Problem)] = &[
        (
            // RFC 2675 section 3, of a node that knows no jumbograms.
            "jumbogram",
            0,
            vec![],
            recommended(ErroneousHeaderField, 4),
        ),
        (
            "destination options with no octet",
            60,
            vec![],
            recommended(ErroneousHeaderField, 6),
        ),
        (
            "hop-by-hop header of one octet",
            0,
            vec![17],
            recommended(ErroneousHeaderField, 6),
        ),
        (
            "second header missing",
            60,
            vec![43, 0, 1, 4, 0, 0, 0, 0],
            recommended(ErroneousHeaderField, 40),
        ),
        (
            "header length beyond the packet",
            60,
            vec![17, 1, 1, 4, 0, 0, 0, 0],
            recommended(ErroneousHeaderField, 41),
        ),
        (
            "header of seven octets",
            60,
            vec![17, 0, 1, 3, 0, 0, 0],
            recommended(ErroneousHeaderField, 41),
        ),
        (
            "fragment header of seven octets",
            44,
            vec![17, 0, 0, 1, 0, 0, 0],
            recommended(ErroneousHeaderField, 6),
        ),
        (
            "option length beyond its header",
            60,
            vec![17, 0, 0x1e, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            recommended(ErroneousHeaderField, 43),
        ),
        (
            "option type at the end, no length",
            0,
            vec![17, 0, 1, 3, 0, 0, 0, 0x1e],
            recommended(ErroneousHeaderField, 47),
        ),
        (
            "router alert of one octet",
            0,
            vec![17, 0, 5, 1, 0, 1, 1, 0],
            recommended(ErroneousHeaderField, 43),
        ),
        (
            "hop-by-hop header in second position",
            60,
            vec![0, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0],
            recommended(UnrecognizedNextHeader, 40),
        ),
        (
            "hop-by-hop header behind an atomic fragment header",
            44,
            vec![0, 0, 0, 0, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0],
            recommended(UnrecognizedNextHeader, 40),
        ),
        (
            "two hop-by-hop headers",
            0,
            vec![0, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0],
            recommended(UnrecognizedNextHeader, 40),
        ),
        (
            "source route, type 0",
            43,
            vec![17, 0, 0, 1, 0, 0, 0, 0],
            demanded(ErroneousHeaderField, 42),
        ),
        (
            "RPL source route",
            43,
            vec![17, 0, 3, 1, 0, 0, 0, 0],
            demanded(ErroneousHeaderField, 42),
        ),
        (
            "unknown routing type in second position",
            0,
            vec![43, 0, 1, 4, 0, 0, 0, 0, 17, 0, 77, 255, 0, 0, 0, 0],
            demanded(ErroneousHeaderField, 50),
        ),
        (
            "fragment length no multiple of 8",
            44,
            [&fragment(1)[..], &[0; 21]].concat(),
            recommended(ErroneousHeaderField, 4),
        ),
        (
            "fragment length no multiple of 8, in second position",
            60,
            [&[44, 0, 1, 4, 0, 0, 0, 0], &fragment(9)[..], &[0; 9]].concat(),
            recommended(ErroneousHeaderField, 4),
        ),
        (
            "fragment beyond 65,535 octets",
            44,
            [&fragment(0xfff8)[..], &[0; 8]].concat(),
            recommended(ErroneousHeaderField, 42),
        ),
        (
            "fragment beyond 65,535 octets, in second position",
            0,
            [&[44, 0, 1, 4, 0, 0, 0, 0], &fragment(0xfff8)[..], &[]].concat(),
            recommended(ErroneousHeaderField, 50),
        ),
        (
            "first fragment without the whole TCP header",
            44,
            [&fragment(1)[..], &[0; 16]].concat(),
            recommended(IncompleteHeaderChain, 0),
        ),
        (
            "first fragment without the TCP options",
            44,
            [&fragment(1)[..], &[0; 12], &[0x70, 0, 0, 0], &[0; 8]].concat(),
            recommended(IncompleteHeaderChain, 0),
        ),
        (
            "first fragment that ends in an options header",
            44,
            [&[60][..], &fragment(1)[1..], &[6, 1, 1, 4, 0, 0, 0, 0]].concat(),
            recommended(IncompleteHeaderChain, 0),
        ),
        (
            "first fragment that ends before the options header",
            44,
            [&[60][..], &fragment(1)[1..]].concat(),
            recommended(IncompleteHeaderChain, 0),
        ),
        (
            "first fragment with no octet of SCTP",
            44,
            [&[132][..], &fragment(1)[1..]].concat(),
            recommended(IncompleteHeaderChain, 0),
        ),
        (
            "first fragment with eight octets of SCTP",
            44,
            [&[132][..], &fragment(1)[1..], &[0; 8]].concat(),
            recommended(IncompleteHeaderChain, 0),
        ),
        (
            "first fragment without the whole header of a tunnelled packet",
            44,
            [&[41][..], &fragment(1)[1..], &[0; 32]].concat(),
            recommended(IncompleteHeaderChain, 0),
        ),
        (
            "first fragment with eight octets of DCCP",
            44,
            [&[33][..], &fragment(1)[1..], &[0; 8]].concat(),
            recommended(IncompleteHeaderChain, 0),
        ),
        (
            "first fragment with eight octets of AH",
            44,
            [&[51][..], &fragment(1)[1..], &[0; 8]].concat(),
            recommended(IncompleteHeaderChain, 0),
        ),
        (
            "first fragment with sixteen octets of IPv4",
            44,
            [&[4][..], &fragment(1)[1..], &[0; 16]].concat(),
            recommended(IncompleteHeaderChain, 0),
        ),
        (
            "first fragment that says that nothing follows, and more is to come",
            44,
            [&[59][..], &fragment(1)[1..]].concat(),
            silent(ErroneousHeaderField, 4),
        ),
        (
            "first fragment with no octet of a protocol that nobody knows",
            44,
            [&[253][..], &fragment(1)[1..]].concat(),
            recommended(IncompleteHeaderChain, 0),
        ),
        (
            "later fragment that holds nothing and is not the last",
            44,
            fragment(9).to_vec(),
            silent(ErroneousHeaderField, 4),
        ),
        (
            "nine options",
            60,
            [&[17, 2], &[0x1e, 0].repeat(9)[..], &[1, 2, 0, 0], &[0; 8]].concat(),
            silent(TooManyOptions, 58),
        ),
        (
            "eight octets of padding in one option",
            60,
            [
                &[17, 1, 1, 6, 0, 0, 0, 0, 0, 0, 0x1e, 2, 0, 0, 0, 0][..],
                &[0; 8],
            ]
            .concat(),
            silent(OptionTooBig, 42),
        ),
        (
            "eight octets of padding in a row",
            60,
            [
                &[17, 1, 0, 0, 1, 3, 0, 0, 0, 0, 0x1e, 2, 0, 0, 0, 0][..],
                &[0; 8],
            ]
            .concat(),
            silent(OptionTooBig, 49),
        ),
    ];
    for (name, first, rest, problem) in table {
        check6(name, *first, rest, problem);
    }
}

/// Faults that have an answer, in packets that must have none (RFC 1122 section 3.2.2, RFC 4443
/// section 2.4(e)).
#[test]
fn what_must_not_be_answered() {
    fn silent<I: packet::ip::Ip>(name: &str, error: IpParseError<I>) {
        assert!(!error.should_send_icmp(), "{name}");
        let IpParseError::ParameterProblem {
            must_send_icmp,
            action,
            ..
        } = error
        else {
            panic!("{name}: a parameter problem");
        };
        assert_eq!(
            (must_send_icmp, action),
            (false, Action::DiscardPacket),
            "{name}"
        );
    }
    let bad = v4(UNICAST4, &[7, 1, 4, 0]);
    assert!(fail4(&bad).should_send_icmp());
    let mut later = bad.clone();
    later[7] = 1;
    fix_v4(&mut later);
    silent("a later fragment", fail4(&later));
    for src in [
        [0; 4],
        [0, 1, 2, 3],
        [127, 0, 0, 1],
        [224, 0, 0, 1],
        [240, 0, 0, 1],
        [255; 4],
    ] {
        let mut bytes = bad.clone();
        bytes[12..16].copy_from_slice(&src);
        fix_v4(&mut bytes);
        silent(&format!("source {src:?}"), fail4(&bytes));
    }
    for (kind, answered) in [
        (0, true),
        (3, false),
        (4, false),
        (5, false),
        (8, true),
        (11, false),
        (12, false),
        (13, true),
        (14, true),
        (99, false),
    ] {
        let mut bytes = bad.clone();
        bytes[9] = 1;
        bytes[24] = kind;
        fix_v4(&mut bytes);
        let error = fail4(&bytes);
        assert_eq!(error.should_send_icmp(), answered, "ICMP type {kind}");
        if !answered {
            silent("an ICMP error", error);
        }
    }

    let option = |next: u8| [next, 0, 0x9e, 4, 0, 0, 0, 0];
    let udp = [&option(17)[..], &[0; 8]].concat();
    assert!(fail6(&v6(UNICAST6, 60, &udp)).should_send_icmp());
    let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1];
    let mut one = [0; 16];
    one[15] = 1;
    for src in [[0; 16], one, mapped, MULTICAST6] {
        for dst in [UNICAST6, MULTICAST6] {
            let mut bytes = v6(dst, 60, &udp);
            bytes[8..24].copy_from_slice(&src);
            silent(&format!("source {src:?}"), fail6(&bytes));
        }
    }
    for (kind, answered) in [
        (1, false),
        (127, false),
        (128, true),
        (137, false),
        (200, true),
    ] {
        let rest = [&option(58)[..], &[kind, 0, 0, 0, 0, 0, 0, 0]].concat();
        let error = fail6(&v6(UNICAST6, 60, &rest));
        assert_eq!(error.should_send_icmp(), answered, "ICMPv6 type {kind}");
    }
    // However long the chain in front of the error is.
    let pad = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    let mut rest = pad(60).repeat(MAX_EXTENSION_HEADERS);
    rest.extend(pad(58));
    rest.extend([1, 4, 0, 0, 0, 0, 0, 0]);
    silent(
        "an error behind nine headers",
        fail6(&v6(UNICAST6, 60, &rest)),
    );
    // A later fragment of ICMPv6, or of what may hold it, might be an error.
    for (next, answered) in [(17, true), (58, false), (60, false)] {
        let rest = [next, 0, 0xff, 0xf8, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0];
        let error = fail6(&v6(UNICAST6, 44, &rest));
        assert_eq!(error.should_send_icmp(), answered, "fragment of {next}");
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

    // The limit holds behind a fragment header, too.
    let mut rest = vec![60, 0, 0, 1, 0, 0, 0, 1];
    for _ in 0..MAX_EXTENSION_HEADERS {
        rest.extend(pad(60));
    }
    check6("nine headers in a first fragment", 44, &rest, &expected);
}

#[test]
fn ipv6_unrecognized_next_header() {
    // In first position, and behind two headers: the pointer is at the octet that named it.
    let first = v6(UNICAST6, 200, &[0; 4]);
    let pad = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    let later = v6(MULTICAST6, 0, &[pad(60), pad(200)].concat());
    for (bytes, pointer, answered) in [(first, 6, true), (later, 48, false)] {
        let packet = IpPacket::<Ipv6>::parse(&bytes).expect("not for the parser to judge");
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
fn ipv6_chains_that_are_right() {
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
            "seven octets of padding",
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

#[test]
fn fragments_say_where_they_belong() {
    let mut bytes = v4(UNICAST4, &[1, 1, 1, 0]);
    bytes[4..8].copy_from_slice(&[0x12, 0x34, 0x20, 0x03]);
    fix_v4(&mut bytes);
    let packet = IpPacket::<Ipv4>::parse(&bytes).expect("fragment");
    let fragment = packet.fragment().expect("fragment");
    assert_eq!(
        (fragment.id, fragment.offset_bytes, fragment.more),
        (0x1234, 24, true)
    );

    // Behind options; the second fragment's own next header is what the first began with.
    let rest = [
        &[44, 0, 1, 4, 0, 0, 0, 0][..],
        &[6, 0, 0, 0x11, 1, 2, 3, 4],
        &[7; 16],
    ]
    .concat();
    let bytes = v6(UNICAST6, 60, &rest);
    let packet = IpPacket::<Ipv6>::parse(&bytes).expect("fragment");
    let fragment = packet.fragment().expect("fragment");
    assert_eq!(
        (fragment.id, fragment.offset_bytes, fragment.more),
        (0x0102_0304, 16, true)
    );
    assert_eq!((packet.proto().0, packet.payload()), (6, &[7; 16][..]));

    // The headers of the whole packet: the fragment header is gone, the link to it mended.
    let mut out = [0; 64];
    let len = packet.write_whole_header(100, &mut out).expect("room");
    let whole = [&out[..len], &[0; 100]].concat();
    let packet = IpPacket::<Ipv6>::parse(&whole).expect("whole");
    assert_eq!(packet.fragment(), None);
    assert_eq!((packet.proto().0, packet.payload().len()), (6, 100));
    assert_eq!(packet.header_len(), 48);
}
