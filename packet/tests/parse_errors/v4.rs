//! IPv4 headers that are discarded silently.

use packet::ip::{IpPacket, IpParseError, Ipv4, ParseError};

use super::{UNICAST4, fail4, fix_v4, v4};

#[test]
fn ipv4_faults_discarded_silently() {
    let good = v4(UNICAST4, &[]);
    assert!(IpPacket::<Ipv4>::parse(&good).is_ok());
    type Edit = fn(&mut Vec<u8>);
    let table: [(&str, ParseError, Edit); 11] = [
        ("no byte", ParseError::TooShort, |b| b.clear()),
        ("19 bytes", ParseError::TooShort, |b| b.truncate(19)),
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
        ("one byte missing", ParseError::Truncated, |b| {
            b.truncate(27)
        }),
        (
            "total length beyond the packet",
            ParseError::Truncated,
            |b| b[2] = 1,
        ),
        ("damaged", ParseError::Checksum, |b| b[12] ^= 1),
        (
            "empty fragment that is not the last",
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
    // A fragment may end at 65,535 bytes, header included, but not beyond.
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
