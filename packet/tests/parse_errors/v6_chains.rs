//! Malformed IPv6 header chains: each row is a fault, sent to unicast and to multicast destinations.

use packet::ip::{
    Icmpv6ParameterProblemCode as Code6, IpPacket, IpParseError, IpParseErrorAction as Action, Ipv6,
};

use super::{MULTICAST6, UNICAST6, fail6, v6};

/// The error that a row of the IPv6 tables expects.
pub(super) struct Problem {
    pub(super) code: Code6,
    pub(super) pointer: u32,
    pub(super) must: bool,
    pub(super) action: Action,
}

pub(super) const fn recommended(code: Code6, pointer: u32) -> Problem {
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

pub(super) fn check6(name: &str, first: u8, rest: &[u8], expected: &Problem) {
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
fn malformed_ipv6_chains() {
    use Code6::*;
    let fragment = |offset_more: u16| {
        let [high, low] = offset_more.to_be_bytes();
        [6, 0, high, low, 0, 0, 0, 9]
    };
    let table: &[(&str, u8, Vec<u8>, Problem)] = &[
        (
            // RFC 2675 section 3, for a node that does not support jumbograms.
            "jumbogram",
            0,
            vec![],
            recommended(ErroneousHeaderField, 4),
        ),
        (
            "destination options with no byte",
            60,
            vec![],
            recommended(ErroneousHeaderField, 6),
        ),
        (
            "hop-by-hop header of one byte",
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
            "header of seven bytes",
            60,
            vec![17, 0, 1, 3, 0, 0, 0],
            recommended(ErroneousHeaderField, 41),
        ),
        (
            "fragment header of seven bytes",
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
            "router alert of one byte",
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
            "hop-by-hop header after an atomic fragment header",
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
            "fragment beyond 65,535 bytes",
            44,
            [&fragment(0xfff8)[..], &[0; 8]].concat(),
            recommended(ErroneousHeaderField, 42),
        ),
        (
            "fragment beyond 65,535 bytes, in second position",
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
            "first fragment with no byte of SCTP",
            44,
            [&[132][..], &fragment(1)[1..]].concat(),
            recommended(IncompleteHeaderChain, 0),
        ),
        (
            "first fragment with eight bytes of SCTP",
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
            "first fragment with eight bytes of DCCP",
            44,
            [&[33][..], &fragment(1)[1..], &[0; 8]].concat(),
            recommended(IncompleteHeaderChain, 0),
        ),
        (
            "first fragment with eight bytes of AH",
            44,
            [&[51][..], &fragment(1)[1..], &[0; 8]].concat(),
            recommended(IncompleteHeaderChain, 0),
        ),
        (
            "first fragment with sixteen bytes of IPv4",
            44,
            [&[4][..], &fragment(1)[1..], &[0; 16]].concat(),
            recommended(IncompleteHeaderChain, 0),
        ),
        (
            "first fragment with no next header but more fragments",
            44,
            [&[59][..], &fragment(1)[1..]].concat(),
            silent(ErroneousHeaderField, 4),
        ),
        (
            "first fragment with no byte of an unknown protocol",
            44,
            [&[253][..], &fragment(1)[1..]].concat(),
            recommended(IncompleteHeaderChain, 0),
        ),
        (
            "empty later fragment that is not the last",
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
            "eight bytes of padding in one option",
            60,
            [
                &[17, 1, 1, 6, 0, 0, 0, 0, 0, 0, 0x1e, 2, 0, 0, 0, 0][..],
                &[0; 8],
            ]
            .concat(),
            silent(OptionTooBig, 42),
        ),
        (
            "eight bytes of padding in a row",
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

/// A first fragment must contain the header of each upper layer (RFC 7112 section 5).
#[test]
fn first_fragments_hold_the_upper_header() {
    for (name, proto, least) in [
        ("TCP", 6, 20),
        ("UDP", 17, 8),
        ("ICMPv6", 58, 4),
        ("IPv4", 4, 20),
        ("DCCP", 33, 12),
        ("IPv6", 41, 40),
        ("GRE", 47, 4),
        ("ESP", 50, 8),
        ("AH", 51, 12),
        ("SCTP", 132, 12),
        ("UDP-Lite", 136, 8),
        ("unknown", 253, 1),
    ] {
        // The length of a fragment that is not the last is a multiple of 8 bytes.
        for len in (0..=48).step_by(8) {
            let rest = [&[proto, 0, 0, 1, 0, 0, 0, 9][..], &vec![0; len]].concat();
            if len < least {
                // An ICMPv6 message without its type might be an error, which must not be answered.
                let expected = match proto {
                    58 => silent(Code6::IncompleteHeaderChain, 0),
                    _ => recommended(Code6::IncompleteHeaderChain, 0),
                };
                check6(&format!("{name}, {len} bytes"), 44, &rest, &expected);
            } else {
                let bytes = v6(UNICAST6, 44, &rest);
                let packet = IpPacket::<Ipv6>::parse(&bytes).expect(name);
                assert!(packet.fragment().is_some(), "{name}, {len} bytes");
            }
        }
    }
}
