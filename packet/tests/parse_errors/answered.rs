//! Faults that an ICMP error can report, in packets that must not be answered.

use packet::ip::{IpParseError, IpParseErrorAction as Action, MAX_EXTENSION_HEADERS};

use super::{MULTICAST6, UNICAST4, UNICAST6, fail4, fail6, fix_v4, v4, v6};

/// Each packet has such a fault, and the rules decide if it is answered (RFC 1122 section 3.2.2, RFC 4443
/// section 2.4(e)).
#[test]
fn packets_that_must_not_be_answered() {
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
    // An ICMP error is recognised after any number of headers.
    let pad = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    let mut rest = pad(60).repeat(MAX_EXTENSION_HEADERS);
    rest.extend(pad(58));
    rest.extend([1, 4, 0, 0, 0, 0, 0, 0]);
    silent(
        "an error after nine headers",
        fail6(&v6(UNICAST6, 60, &rest)),
    );
    // A later fragment of ICMPv6, or of a header that may precede it, might be an error.
    for (next, answered) in [(17, true), (58, false), (60, false)] {
        let rest = [next, 0, 0xff, 0xf8, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0];
        let error = fail6(&v6(UNICAST6, 44, &rest));
        assert_eq!(error.should_send_icmp(), answered, "fragment of {next}");
    }
}
