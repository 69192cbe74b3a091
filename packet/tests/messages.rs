//! ICMP messages and quotes, the rules for UDP checksums and TCP options, and random bytes.

use std::net::{IpAddr, Ipv6Addr};

use packet::RxChecksum::{self, Unknown, Vouched};
use packet::icmp::{
    Extensions, IcmpParseError, Icmpv4, Icmpv4UnreachableCode, Icmpv4View, Icmpv6, Icmpv6View,
};
use packet::ip::{IpPacket, Ipv4, Ipv6, Outline};
use packet::tcp::{TcpParseError, TcpView};
use packet::udp::{UdpParseError, UdpView};
use packet::{IpProto, checksum};

const V6: Ipv6Addr = Ipv6Addr::LOCALHOST;

/// Returns the beginning of an IPv4/TCP packet: header, ports, sequence number.
fn original() -> Vec<u8> {
    let mut bytes = vec![0x45, 0, 0x05, 0xdc, 0, 1, 0x40, 0, 64, 6, 0, 0];
    bytes.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    bytes.extend([0x9c, 0x40, 0, 80, 1, 2, 3, 4]);
    bytes
}

fn v4_error(header: [u8; 8], body: &[u8]) -> Vec<u8> {
    let mut bytes = [&header[..], body].concat();
    let sum = checksum::of(&bytes);
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    bytes
}

#[test]
fn icmpv4_quotes() {
    let bytes = v4_error([3, 4, 0, 0, 0, 0, 0x05, 0x14], &original());
    let view = Icmpv4View::parse(&bytes, Unknown).expect("message");
    assert_eq!(
        view.message(),
        Icmpv4::DestinationUnreachable {
            code: Icmpv4UnreachableCode::FragmentationNeeded,
            next_hop_mtu: 1300,
        }
    );
    let quoted = view
        .quote()
        .and_then(|quote| quote.packet())
        .expect("packet");
    assert_eq!(quoted.src, IpAddr::from([10, 0, 0, 1]));
    assert_eq!(quoted.dst, IpAddr::from([10, 0, 0, 2]));
    assert_eq!((quoted.proto, quoted.total_len), (IpProto::TCP, 1500));
    assert_eq!(quoted.ports(), Some((40_000, 80)));
    assert_eq!(quoted.tcp_seq(), Some(0x0102_0304));

    // RFC 792 quotes only eight bytes of the payload. A shorter quote gives the fields that it holds.
    for (len, ports, seq) in [
        (28, true, true),
        (27, true, false),
        (24, true, false),
        (23, false, false),
    ] {
        let bytes = v4_error([11, 0, 0, 0, 0, 0, 0, 0], &original()[..len]);
        let view = Icmpv4View::parse(&bytes, Unknown).expect("message");
        let quoted = view
            .quote()
            .and_then(|quote| quote.packet())
            .expect("packet");
        assert_eq!(
            (quoted.ports().is_some(), quoted.tcp_seq().is_some()),
            (ports, seq)
        );
    }
    let bytes = v4_error([11, 0, 0, 0, 0, 0, 0, 0], &original()[..19]);
    let view = Icmpv4View::parse(&bytes, Unknown).expect("message");
    assert!(view.quote().expect("a quote").packet().is_none());

    // A later fragment has no ports.
    let mut fragment = original();
    fragment[7] = 3;
    let bytes = v4_error([11, 1, 0, 0, 0, 0, 0, 0], &fragment);
    let view = Icmpv4View::parse(&bytes, Unknown).expect("message");
    let quoted = view
        .quote()
        .and_then(|quote| quote.packet())
        .expect("packet");
    assert_eq!(quoted.fragment.map(|part| part.offset_bytes), Some(24));
    assert_eq!(quoted.ports(), None);
}

#[test]
fn rfc_4884_lengths() {
    let mut quoted = original();
    quoted.resize(128, 0);
    let extension = [0x20, 0, 0, 0, 0, 8, 1, 1, 0, 1, 0x21, 0x40];
    let extensions = Extensions::parse(&extension);
    assert!(extensions.is_some());
    let body = [&quoted[..], &extension].concat();
    // The length is in the sixth byte in words of 4 bytes (IPv4), or in the fifth in words of 8 (IPv6).
    let v4 = v4_error([3, 1, 0, 0, 0, 32, 0, 0], &body);
    let v4 = Icmpv4View::parse(&v4, Unknown).expect("message");
    let quote = v4.quote().expect("quote");
    assert_eq!(
        (quote.original, quote.extensions),
        (&quoted[..], extensions)
    );
    let v6 = [&[1, 0, 0, 0, 16, 0, 0, 0][..], &body].concat();
    let v6 = Icmpv6View::parse(V6, V6, &v6, Vouched).expect("message");
    let quote = v6.quote().expect("quote");
    assert_eq!(
        (quote.original, quote.extensions),
        (&quoted[..], extensions)
    );
    // With an impossible length, or in types that have none, the whole body is the quote.
    for header in [
        [3, 1, 0, 0, 0, 31, 0, 0],  // below 128 bytes
        [3, 1, 0, 0, 0, 255, 0, 0], // beyond the end
        [5, 1, 0, 0, 0, 32, 0, 0],  // a redirect: the byte is part of the gateway's address
    ] {
        let bytes = v4_error(header, &body);
        let view = Icmpv4View::parse(&bytes, Unknown).expect("message");
        let quote = view.quote().expect("quote");
        assert_eq!((quote.original, quote.extensions), (&body[..], None));
    }
    let bytes = [&[2, 0, 0, 0, 16, 0, 5, 0][..], &body].concat();
    let view = Icmpv6View::parse(V6, V6, &bytes, Vouched).expect("message");
    assert_eq!(view.message(), Icmpv6::PacketTooBig { mtu: 0x1000_0500 });
    assert_eq!(view.quote().expect("quote").extensions, None);
}

#[test]
fn invalid_rfc_4884_structures_are_ignored() {
    let with_sum = |mut bytes: Vec<u8>| {
        let sum = checksum::of(&bytes);
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
        bytes
    };
    let two = [
        0x20, 0, 0, 0, 0, 4, 2, 9, 0, 8, 1, 1, 0xde, 0xad, 0xbe, 0xef,
    ];
    for good in [two.to_vec(), with_sum(two.to_vec())] {
        let extensions = Extensions::parse(&good).expect("valid");
        let objects: Vec<_> = extensions
            .objects()
            .map(|object| (object.class, object.kind, object.payload))
            .collect();
        assert_eq!(
            objects,
            [(2, 9, &[][..]), (1, 1, &[0xde, 0xad, 0xbe, 0xef][..])]
        );
        assert_eq!(extensions.bytes(), good);
    }
    let mut damaged = with_sum(two.to_vec());
    damaged[15] ^= 1;
    for bad in [
        &damaged[..],
        &[],
        &[0x20, 0, 0],
        &[0x20, 0, 0, 0],                            // no object
        &[0x10, 0, 0, 0, 0, 4, 1, 1],                // version 1
        &[0x20, 0, 0, 0, 0, 3, 1, 1],                // an object shorter than its header
        &[0x20, 0, 0, 0, 0, 8, 1, 1],                // longer than the structure
        &[0x20, 0, 0, 0, 0, 4, 1, 1, 0, 4, 1],       // bytes left that are not an object
        &[0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], // an object of length 0
    ] {
        assert_eq!(Extensions::parse(bad), None, "{bad:02x?}");
    }
    // Only the quote is left then, and its padding is not part of the quoted packet.
    let mut quoted = original()[..20].to_vec();
    quoted[2..4].copy_from_slice(&[0, 20]);
    quoted.resize(128, 0);
    let bytes = v4_error([11, 0, 0, 0, 0, 32, 0, 0], &[&quoted[..], &[0xff]].concat());
    let view = Icmpv4View::parse(&bytes, Unknown).expect("message");
    let quote = view.quote().expect("quote");
    assert_eq!((quote.original, quote.extensions), (&quoted[..], None));
    let packet = quote.packet().expect("packet");
    assert_eq!((packet.ports(), packet.tcp_seq()), (None, None));
    assert!(packet.transport.is_empty());
}

#[test]
fn unknown_errors_have_quotes_whatever_the_code() {
    let quoted = original();
    // Errors of unknown types are passed to the upper layer, too (RFC 4443 section 2.4 a).
    let bytes = [&[100, 7, 0, 0, 0, 0, 0, 0][..], &quoted].concat();
    let view = Icmpv6View::parse(V6, V6, &bytes, Vouched).expect("message");
    assert!(view.message().is_error());
    assert_eq!(view.quote().expect("quote").original, quoted);
    for (header, error) in [
        ([137, 1, 0, 0, 0, 0, 0, 0], true),
        ([137, 0, 0, 0, 0, 0, 0, 0], true),
        ([127, 9, 0, 0, 0, 0, 0, 0], true),
        ([200, 0, 0, 0, 0, 0, 0, 0], false),
    ] {
        assert_eq!(Icmpv6::from_bytes(&header).is_error(), error, "{header:?}");
    }
    for kind in 0..=255 {
        for code in [0, 1, 99] {
            let message = Icmpv4::from_bytes(&[kind, code, 0, 0, 1, 2, 3, 4]);
            let error = matches!(kind, 3 | 4 | 5 | 11 | 12);
            assert_eq!(message.is_error(), error, "{kind} {code}");
        }
    }
}

#[test]
fn the_icmp_of_the_other_family_is_no_icmp_error() {
    let mut v6 = vec![0x60, 0, 0, 0, 0, 8, 1, 64];
    v6.extend(V6.octets());
    v6.extend(V6.octets());
    v6.extend([3, 3, 0, 0, 0, 0, 0, 0]);
    let mut v4 = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 58, 0, 0];
    v4.extend([192, 0, 2, 1, 192, 0, 2, 2, 1, 4, 0, 0, 0, 0, 0, 0]);
    for packet in [v4, v6] {
        let outline = Outline::read(&packet).expect("readable");
        assert!(!outline.is_icmp_error(), "{outline:?}");
    }
}

#[test]
fn outlines_walk_chains_of_any_length() {
    let mut bytes = vec![0x60, 0, 0, 0, 0, 0, 60, 64];
    bytes.extend(V6.octets());
    bytes.extend(V6.octets());
    for at in 0..40 {
        bytes.extend([if at == 39 { 58 } else { 60 }, 0, 1, 4, 0, 0, 0, 0]);
    }
    bytes.extend([1, 4, 0, 0, 0, 0, 0, 0]);
    let len = bytes.len() as u16 - 40;
    bytes[4..6].copy_from_slice(&len.to_be_bytes());
    let outline = Outline::read(&bytes).expect("readable");
    assert_eq!(
        (outline.proto, outline.transport.len()),
        (IpProto::ICMPV6, 8)
    );
    assert!(outline.is_icmp_error());
    // A truncated chain, and a chain beyond the limit.
    let cut = Outline::read(&bytes[..300]).expect("readable");
    assert_eq!((cut.proto, cut.transport), (IpProto::DEST_OPTS, &[][..]));
    assert_eq!((cut.ports(), cut.is_icmp_error()), (None, false));
    let mut long = bytes[..40].to_vec();
    for _ in 0..70 {
        long.extend([60, 0, 1, 4, 0, 0, 0, 0]);
    }
    long[4..6].copy_from_slice(&560u16.to_be_bytes());
    assert_eq!(Outline::read(&long), None);
}

/// Some senders change the length field before they quote the packet. The quote is read nevertheless.
#[test]
fn quotes_with_a_wrong_length() {
    for total_len in [0u16, 8, 20, 24, 60, 0xffff] {
        let mut quoted = original();
        quoted[2..4].copy_from_slice(&total_len.to_be_bytes());
        let bytes = v4_error([3, 3, 0, 0, 0, 0, 0, 0], &quoted);
        let view = Icmpv4View::parse(&bytes, Unknown).expect("message");
        let packet = view.quote().and_then(|quote| quote.packet());
        let packet = packet.expect("readable");
        assert_eq!(packet.ports(), Some((40_000, 80)), "{total_len}");
        assert_eq!(packet.tcp_seq(), Some(0x0102_0304), "{total_len}");
    }
}

/// Reads and writes every type and code of both versions.
#[test]
fn every_type_round_trips() {
    for kind in 0..=255u8 {
        for code in 0..=20u8 {
            let header = [kind, code, 0xab, 0xcd, 1, 2, 3, 4];
            // The builder sets the checksum; fields that a sender must set to zero are not kept.
            let v4 = match (kind, code) {
                (3, 4) => [0, 0, 3, 4],
                (3 | 11, _) | (4 | 10, 0) => [0; 4],
                (12, _) => [1, 0, 0, 0],
                _ => [1, 2, 3, 4],
            };
            let [a, b, c, d] = v4;
            let written = Icmpv4::from_bytes(&header).to_bytes();
            assert_eq!(written, [kind, code, 0, 0, a, b, c, d]);
            let v6 = match kind {
                1 | 3 => [0; 4],
                _ => [1, 2, 3, 4],
            };
            let [a, b, c, d] = v6;
            let code = if kind == 2 { 0 } else { code };
            let written = Icmpv6::from_bytes(&header).to_bytes();
            assert_eq!(written, [kind, code, 0, 0, a, b, c, d]);
        }
    }
    assert_eq!(
        Icmpv4::from_bytes(&[9, 0, 0, 0, 1, 2, 3, 4]),
        Icmpv4::RouterAdvertisement {
            count: 1,
            entry_words: 2,
            lifetime_secs: 0x0304
        }
    );
    assert_eq!(
        Icmpv4::from_bytes(&[10, 0, 0, 0, 0, 0, 0, 0]),
        Icmpv4::RouterSolicitation
    );
}

#[test]
fn icmpv6_quotes_walk_the_chain() {
    let mut packet = vec![0x60, 0, 0, 0, 0, 200, 0, 64];
    packet.extend(V6.octets());
    packet.extend(V6.octets());
    packet.extend([44, 0, 1, 4, 0, 0, 0, 0]);
    packet.extend([17, 0, 0, 1, 0, 0, 0, 9]);
    packet.extend([0, 7, 0, 9]);
    let bytes = [&[3, 1, 0, 0, 0, 0, 0, 0][..], &packet].concat();
    let view = Icmpv6View::parse(V6, V6, &bytes, Vouched).expect("message");
    let quoted = view
        .quote()
        .and_then(|quote| quote.packet())
        .expect("packet");
    assert_eq!((quoted.proto, quoted.ports()), (IpProto::UDP, Some((7, 9))));
    assert_eq!(
        quoted.fragment.map(|part| (part.id, part.more)),
        Some((9, true))
    );
    assert_eq!(quoted.tcp_seq(), None);
    // Truncated messages must not panic.
    for len in 0..bytes.len() {
        if let Ok(view) = Icmpv6View::parse(V6, V6, &bytes[..len], Vouched) {
            let _ = view
                .quote()
                .and_then(|quote| quote.packet())
                .map(|quoted| quoted.ports());
        }
    }
}

#[test]
fn icmp_errors_are_told_from_queries() {
    for kind in 0..=255u8 {
        let v4 = Icmpv4::from_bytes(&[kind, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            v4.is_error(),
            [3, 4, 5, 11, 12].contains(&kind),
            "type {kind}"
        );
        let v6 = Icmpv6::from_bytes(&[kind, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(v6.is_error(), kind < 128 || kind == 137, "type {kind}");
    }
    assert_eq!(
        Icmpv4View::parse(&[8, 0, 0, 0, 0, 0, 0], Unknown).err(),
        Some(IcmpParseError::TooShort)
    );
    assert_eq!(
        Icmpv4View::parse(&[8, 0, 0, 0, 0, 0, 0, 0], Unknown).err(),
        Some(IcmpParseError::Checksum)
    );
}

#[test]
fn udp_checksums_by_family() {
    let v4: IpAddr = [10, 0, 0, 1].into();
    let v6 = IpAddr::V6(V6);
    let none = [0, 7, 0, 9, 0, 9, 0, 0, b'x'];
    let wrong = [0, 7, 0, 9, 0, 9, 0, 1, b'x'];
    for (addr, bytes, checksum, expected) in [
        (v4, none, Unknown, None),
        (v4, none, Vouched, None),
        (v6, none, Unknown, Some(UdpParseError::MissingChecksum)),
        // Where a device vouches, the field holds a partial sum, which is never zero.
        (v6, none, Vouched, Some(UdpParseError::MissingChecksum)),
        (v4, wrong, Unknown, Some(UdpParseError::Checksum)),
        (v4, wrong, Vouched, None),
        (v6, wrong, Unknown, Some(UdpParseError::Checksum)),
        (v6, wrong, Vouched, None),
    ] {
        assert_eq!(UdpView::parse(addr, addr, &bytes, checksum).err(), expected);
    }
    for (len, expected) in [
        (0, Some(UdpParseError::Length)),
        (7, Some(UdpParseError::Length)),
        (8, None),
        (9, None),
        (10, Some(UdpParseError::Length)),
    ] {
        let bytes = [0, 7, 0, 9, 0, len, 0, 0, b'x'];
        assert_eq!(UdpView::parse(v4, v4, &bytes, Unknown).err(), expected);
    }
    assert_eq!(
        UdpView::parse(v4, v4, &none[..7], Unknown).err(),
        Some(UdpParseError::TooShort)
    );
}

#[test]
fn malformed_tcp_options() {
    let addr: IpAddr = [10, 0, 0, 1].into();
    let segment = |options: &[u8]| {
        let mut bytes = vec![0; 20];
        bytes[12] = ((5 + options.len() / 4) << 4) as u8;
        bytes.extend(options);
        TcpView::parse(addr, addr, &bytes, Vouched).map(|view| view.header().options)
    };
    for options in [
        [2, 0, 5, 180], // length 0, which must not loop for ever
        [2, 1, 5, 180], // length 1
        [2, 3, 5, 0],   // an MSS of one byte
        [2, 5, 5, 180], // beyond the header
        [1, 1, 1, 2],   // no length at all
        [3, 2, 0, 0],   // a window scale without a value
        [4, 3, 0, 0],   // SACK permitted with data
        [5, 2, 0, 0],   // SACK without blocks
        [99, 1, 0, 0],  // unknown, length 1
    ] {
        assert_eq!(
            segment(&options).err(),
            Some(TcpParseError::Options),
            "{options:?}"
        );
    }
    // Bytes after the end of the options are ignored. Options that connections do not use are ignored
    // whatever they hold (RFC 9293 section 3.1, MUST-6): unknown ones, a cookie of one byte, a user
    // timeout of one, a signature of two, an authentication without its keys.
    for options in [
        [0, 2, 0, 0],
        [1, 1, 1, 1],
        [99, 4, 0, 0],
        [34, 3, 7, 0],
        [28, 3, 0, 1],
        [19, 4, 0, 0],
        [29, 3, 0, 1],
    ] {
        assert_eq!(segment(&options), Ok(Default::default()), "{options:?}");
    }
    let twice = segment(&[3, 3, 1, 3, 3, 2, 0, 0]).expect("options");
    assert_eq!(twice.window_scale, Some(2), "the last one counts");
    for (offset, expected) in [
        (0x40, TcpParseError::DataOffset),
        (0x60, TcpParseError::DataOffset),
    ] {
        let mut bytes = [0; 20];
        bytes[12] = offset;
        assert_eq!(
            TcpView::parse(addr, addr, &bytes, Vouched).err(),
            Some(expected)
        );
    }
}

#[test]
fn random_bytes_of_every_length() {
    const SEED: u64 = 0x006e_6f69_7365;
    println!("seed {SEED:#x}");
    let mut state = SEED;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let v4: IpAddr = [10, 0, 0, 1].into();
    for len in 0..=200 {
        for round in 0..50 {
            let mut bytes: Vec<u8> = (0..len).map(|_| next()).collect();
            if let Some(first) = bytes.first_mut() {
                *first = [0x45, 0x4f, 0x60, *first][round % 4];
            }
            let mut read = 0;
            if let Ok(packet) = IpPacket::<Ipv4>::parse(&bytes) {
                read += packet.options().count() + packet.payload().len();
            }
            if let Ok(packet) = IpPacket::<Ipv6>::parse(&bytes) {
                read += packet.extensions().count() + packet.payload().len();
            }
            for (addr, checksum) in [(v4, Vouched), (IpAddr::V6(V6), RxChecksum::Unknown)] {
                if let Ok(view) = TcpView::parse(addr, addr, &bytes, checksum) {
                    read += view.all_options().count() + view.payload().len();
                }
                if let Ok(view) = UdpView::parse(addr, addr, &bytes, checksum) {
                    read += view.payload().len();
                }
            }
            if let Ok(view) = Icmpv4View::parse(&bytes, Vouched) {
                read += view
                    .quote()
                    .and_then(|quote| quote.packet())
                    .map_or(0, |_| 1);
            }
            if let Ok(view) = Icmpv6View::parse(V6, V6, &bytes, Vouched) {
                read += view
                    .quote()
                    .and_then(|quote| quote.packet())
                    .map_or(0, |_| 1);
            }
            assert!(read <= 8 * len + 8);
        }
    }
}
