//! IPv4 options (RFC 791 section 3.1, RFC 1122 section 3.2.1.8), with the pointer of RFC 792.

use packet::ip::{
    Icmpv4ParameterProblemCode as Code4, IpPacket, IpParseError, IpParseErrorAction as Action, Ipv4,
};

use super::{BROADCAST4, MULTICAST4, UNICAST4, fail4, v4};

#[test]
fn malformed_ipv4_options() {
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
            "record route, room of 3 bytes",
            &[7, 7, 5, 0, 0, 0, 0, 0],
            22,
        ),
        (
            "record route, room of 1 byte",
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
        ("router alert of 3 bytes", &[148, 3, 0, 0], 21),
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
fn valid_ipv4_options() {
    let table: &[(&str, &[u8])] = &[
        ("end", &[0, 0, 0, 0]),
        ("anything after the end", &[0, 7, 0, 0]),
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
        ("forty bytes", &[1; 40]),
    ];
    for (name, options) in table {
        let bytes = v4(UNICAST4, options);
        let packet = IpPacket::<Ipv4>::parse(&bytes).expect(name);
        assert_eq!(packet.payload_range(), 20 + options.len()..bytes.len());
    }
}
