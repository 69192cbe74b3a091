//! Parse(build(x)) = x, for every type; sums against the definition.

#![allow(clippy::unwrap_used)] // A test that fails says so.

use std::net::IpAddr;

use packet::build::{self, Head, IpFields, TxChecksum};
use packet::checksum::{self, Checksum, RxChecksum};
use packet::icmp::{IcmpMessage, Icmpv4, Icmpv4View, Icmpv6, Icmpv6View};
use packet::ip::{
    AnyIpPacket, FragmentInfo, IpPacket, Ipv4, Ipv4Option, Ipv6, Ipv6Extension, Ipv6Option,
};
use packet::tcp::{
    SackBlocks, TcpFlags, TcpHeader, TcpOption, TcpOptionIter, TcpOptions, TcpView, Timestamps,
    write_option,
};
use packet::udp::{UdpHeader, UdpView};
use packet::{IpProto, Payload};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

const SEED: u64 = 0x7061_636b_6574;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 512,
        rng_seed: RngSeed::Fixed(SEED),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn addrs() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    prop_oneof![
        any::<([u8; 4], [u8; 4])>().prop_map(|(src, dst)| (src.into(), dst.into())),
        any::<([u8; 16], [u8; 16])>().prop_map(|(src, dst)| (src.into(), dst.into())),
    ]
}

prop_compose! {
    fn fields()((src, dst) in addrs(), proto: u8, ttl: u8, traffic_class: u8, ident: u16,
                dont_fragment: bool) -> IpFields {
        IpFields { src, dst, proto: IpProto(proto), ttl, traffic_class, ident, dont_fragment }
    }
}

prop_compose! {
    fn sack_blocks()(blocks in prop::collection::vec(any::<(u32, u32)>(), 0..=4)) -> SackBlocks {
        let mut sack = SackBlocks::new();
        for (left, right) in blocks {
            assert!(sack.push(left, right));
        }
        sack
    }
}

prop_compose! {
    fn options()(mss: Option<u16>, window_scale: Option<u8>, sack_permitted: bool,
                 stamps: Option<(u32, u32)>, sack in sack_blocks()) -> TcpOptions {
        let timestamps = stamps.map(|(val, ecr)| Timestamps { val, ecr });
        TcpOptions { mss, window_scale, sack_permitted, timestamps, sack }
    }
}

prop_compose! {
    fn tcp_header()((src_port, dst_port, seq, ack) in any::<(u16, u16, u32, u32)>(), flags: u8,
                    window: u16, urgent: u16, options in options()) -> TcpHeader {
        let flags = TcpFlags::from_bits_retain(flags);
        TcpHeader { src_port, dst_port, seq, ack, flags, window, urgent, options }
    }
}

/// A payload, and where to cut it into pieces.
fn pieces() -> impl Strategy<Value = (Vec<u8>, usize, usize)> {
    (
        prop::collection::vec(any::<u8>(), 0..600),
        any::<u16>(),
        any::<u16>(),
    )
        .prop_map(|(data, a, b)| {
            let first = usize::from(a) % (data.len() + 1);
            let second = first + usize::from(b) % (data.len() - first + 1);
            (data, first, second)
        })
}

fn cut((data, first, second): &(Vec<u8>, usize, usize)) -> [&[u8]; 3] {
    [&data[..*first], &data[*first..*second], &data[*second..]]
}

/// The definition: 16-bit words in network order, carries added back.
fn naive(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The options that find room when `options` are written.
fn as_written(mut options: TcpOptions) -> TcpOptions {
    let mut without = options;
    without.sack = SackBlocks::new();
    let room = 40 - without.encoded_len();
    let count = options.sack.len().min(room.saturating_sub(4) / 8);
    let mut sack = SackBlocks::new();
    for (left, right) in options.sack.as_slice().iter().take(count) {
        sack.push(*left, *right);
    }
    options.sack = sack;
    options
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn tcp(fields in fields(), header in tcp_header(), payload in pieces(), padding in 0usize..9) {
        let fields = IpFields { proto: IpProto::TCP, ..fields };
        let (src, dst, len) = (fields.src, fields.dst, payload.0.len());
        prop_assert!((20..=60).contains(&header.len()) && header.len() % 4 == 0);
        let mut head = Head::new();
        let parts = cut(&payload).into_iter();
        build::prepend_tcp(&mut head, &header, src, dst, parts, len, TxChecksum::Full).unwrap();
        let segment = [head.as_slice(), &payload.0].concat();
        build::prepend_ip(&mut head, &fields, len).unwrap();
        let bytes = [head.as_slice(), &payload.0, &vec![0xa5; padding]].concat();

        let packet = AnyIpPacket::parse(&bytes).unwrap();
        prop_assert_eq!(packet.payload(), &segment[..]);
        let view = TcpView::parse(src, dst, packet.payload(), RxChecksum::Unknown).unwrap();
        let options = as_written(header.options);
        prop_assert_eq!(view.header(), TcpHeader { options, ..header });
        prop_assert_eq!(view.payload(), &payload.0[..]);
        prop_assert_eq!(view.header_len(), header.len());
    }

    #[test]
    fn a_device_completes_partial_checksums((src, dst) in addrs(), header in tcp_header(),
                                            payload in pieces()) {
        let len = payload.0.len();
        let (mut full, mut partial) = (Head::new(), Head::new());
        let parts = cut(&payload).into_iter();
        build::prepend_tcp(&mut full, &header, src, dst, parts, len, TxChecksum::Full).unwrap();
        let none = std::iter::empty();
        build::prepend_tcp(&mut partial, &header, src, dst, none, len, TxChecksum::Partial).unwrap();
        // What a device does: sum from the transport header on, the field as it is.
        let sum = checksum::of(&[partial.as_slice(), &payload.0].concat());
        partial.as_mut_slice()[16..18].copy_from_slice(&sum.to_be_bytes());
        prop_assert_eq!(full, partial);
    }

    #[test]
    fn udp(fields in fields(), ports: (u16, u16), payload in pieces(), padding in 0usize..9) {
        let fields = IpFields { proto: IpProto::UDP, ..fields };
        let (src, dst, len) = (fields.src, fields.dst, payload.0.len());
        let header = UdpHeader { src_port: ports.0, dst_port: ports.1, len: len as u16 + 8 };
        let mut head = Head::new();
        let parts = cut(&payload).into_iter();
        build::prepend_udp(&mut head, &header, src, dst, parts, len, TxChecksum::Full).unwrap();
        build::prepend_ip(&mut head, &fields, len).unwrap();
        let bytes = [head.as_slice(), &payload.0, &vec![0xa5; padding]].concat();
        let packet = AnyIpPacket::parse(&bytes).unwrap();
        let view = UdpView::parse(src, dst, packet.payload(), RxChecksum::Unknown).unwrap();
        prop_assert!(!view.is_unchecked());
        prop_assert_eq!(view.header(), header);
        prop_assert_eq!(view.payload(), &payload.0[..]);
    }

    #[test]
    fn ip(fields in fields(), payload in prop::collection::vec(any::<u8>(), 0..200)) {
        // A protocol that is no extension header, so that IPv6 does not look for one.
        let proto = match fields.proto {
            proto if proto.is_extension_header() => IpProto(proto.0 | 0x80),
            proto => proto,
        };
        let fields = IpFields { proto, ..fields };
        let mut head = Head::new();
        build::prepend_ip(&mut head, &fields, payload.len()).unwrap();
        let bytes = [head.as_slice(), &payload].concat();
        let read = match AnyIpPacket::parse(&bytes).unwrap() {
            AnyIpPacket::V4(packet) => IpFields {
                src: packet.src().into(),
                dst: packet.dst().into(),
                proto: packet.proto(),
                ttl: packet.ttl(),
                traffic_class: packet.traffic_class(),
                ident: packet.identification(),
                dont_fragment: packet.dont_fragment(),
            },
            AnyIpPacket::V6(packet) => IpFields {
                src: packet.src().into(),
                dst: packet.dst().into(),
                proto: packet.proto(),
                ttl: packet.ttl(),
                traffic_class: packet.traffic_class(),
                // Not there in IPv6.
                ident: fields.ident,
                dont_fragment: fields.dont_fragment,
            },
        };
        prop_assert_eq!(read, fields);
        let labelled = build::set_flow_label(&mut head, 0xffff_ffff);
        prop_assert_eq!(labelled, fields.src.is_ipv6());
        if labelled {
            let bytes = [head.as_slice(), &payload].concat();
            let packet = IpPacket::<Ipv6>::parse(&bytes).unwrap();
            prop_assert_eq!(packet.flow_label(), 0xf_ffff);
            prop_assert_eq!(packet.traffic_class(), fields.traffic_class);
        }
    }

    #[test]
    fn ip_options(fields in fields(), data in prop::collection::vec(any::<u8>(), 0..5), alert: u16,
                  nops in 0usize..8, len in 0usize..50) {
        let fields = IpFields { proto: IpProto::UDP, ..fields };
        let [high, low] = alert.to_be_bytes();
        let payload = vec![9; len];
        let mut head = Head::new();
        if fields.src.is_ipv4() {
            let mut options = vec![1; nops];
            options.extend([148, 4, high, low, 99, data.len() as u8 + 2]);
            options.extend(&data);
            build::prepend_ipv4_with_options(&mut head, &fields, &options, len).unwrap();
            let bytes = [head.as_slice(), &payload].concat();
            let packet = IpPacket::<Ipv4>::parse(&bytes).unwrap();
            prop_assert_eq!(packet.payload(), &payload[..]);
            prop_assert_eq!(packet.identification(), fields.ident);
            let found: Vec<_> = packet.options().filter(|option| *option != Ipv4Option::Nop).collect();
            let expected = [Ipv4Option::RouterAlert(alert), Ipv4Option::Unknown { kind: 99, data: &data }];
            prop_assert_eq!(&found[..], &expected[..]);
        } else {
            let mut options = vec![5, 2, high, low, 0x1e, data.len() as u8];
            options.extend(&data);
            build::prepend_options_header(&mut head, IpProto::UDP, &options).unwrap();
            build::prepend_options_header(&mut head, IpProto::DEST_OPTS, &[]).unwrap();
            let fields = IpFields { proto: IpProto::HOP_BY_HOP, ..fields };
            build::prepend_ip(&mut head, &fields, len).unwrap();
            let bytes = [head.as_slice(), &payload].concat();
            let packet = IpPacket::<Ipv6>::parse(&bytes).unwrap();
            prop_assert_eq!((packet.proto(), packet.payload()), (IpProto::UDP, &payload[..]));
            let Some(Ipv6Extension::DestinationOptions(found)) = packet.extensions().nth(1) else {
                return Err(TestCaseError::fail("a second header"));
            };
            let found: Vec<_> = found
                .filter(|option| !matches!(option, Ipv6Option::Pad1 | Ipv6Option::PadN(_)))
                .collect();
            let expected = [Ipv6Option::RouterAlert(alert), Ipv6Option::Unknown { kind: 0x1e, data: &data }];
            prop_assert_eq!(&found[..], &expected[..]);
        }
    }

    #[test]
    fn fragments(fields in fields(), id: u32, units in 0u16..8000, more: bool, len in 0usize..60) {
        let v4 = fields.src.is_ipv4();
        let id = if v4 { id & 0xffff } else { id };
        let fragment = FragmentInfo { id, offset_bytes: units * 8, more };
        let fields = IpFields { proto: IpProto::UDP, ..fields };
        let payload = vec![7; len];
        let mut head = Head::new();
        let built = build::prepend_ip_fragment(&mut head, &fields, fragment, len);
        if more && len % 8 != 0 {
            prop_assert_eq!(built, Err(build::BuildError::Fragment));
            prop_assert!(head.is_empty());
        } else {
            built.unwrap();
            let bytes = [head.as_slice(), &payload].concat();
            let whole = units == 0 && !more;
            // A first fragment has to hold the UDP header (RFC 7112).
            if v4 || len >= 8 || units != 0 || whole {
                let packet = AnyIpPacket::parse(&bytes).unwrap();
                prop_assert_eq!(packet.fragment(), (!whole).then_some(fragment));
                prop_assert_eq!(packet.proto(), IpProto::UDP);
                prop_assert_eq!(packet.payload(), &payload[..]);
            } else {
                prop_assert!(AnyIpPacket::parse(&bytes).is_none());
            }
        }
    }

    #[test]
    fn icmp(addrs in any::<([u8; 4], [u8; 16])>(), octets: [u8; 8], payload in pieces()) {
        let len = payload.0.len();
        let (v4, v6) = (Icmpv4::from_octets(&octets), Icmpv6::from_octets(&octets));
        // Reading what was written gives the same message, for each that can be read at all.
        prop_assert_eq!(Icmpv4::from_octets(&v4.to_octets()), v4);
        prop_assert_eq!(Icmpv6::from_octets(&v6.to_octets()), v6);
        for message in [IcmpMessage::V4(v4), IcmpMessage::V6(v6)] {
            let mut head = Head::new();
            let parts = cut(&payload).into_iter();
            let addr: IpAddr = match message {
                IcmpMessage::V4(_) => addrs.0.into(),
                IcmpMessage::V6(_) => addrs.1.into(),
            };
            build::prepend_icmp(&mut head, message, addr, addr, parts, len).unwrap();
            let bytes = [head.as_slice(), &payload.0].concat();
            match message {
                IcmpMessage::V4(message) => {
                    let view = Icmpv4View::parse(&bytes, RxChecksum::Unknown).unwrap();
                    prop_assert_eq!(view.message(), message);
                    prop_assert_eq!(view.body(), &payload.0[..]);
                }
                IcmpMessage::V6(message) => {
                    let addr = addrs.1.into();
                    let view = Icmpv6View::parse(addr, addr, &bytes, RxChecksum::Unknown).unwrap();
                    prop_assert_eq!(view.message(), message);
                    prop_assert_eq!(view.body(), &payload.0[..]);
                }
            }
        }
    }

    #[test]
    fn icmp_answers(fields in fields(), ident: u16, seq: u16, len in 0usize..3000) {
        let data = Payload::from(bytes::Bytes::from(vec![0x55; len]));
        let reply = build::echo_reply(&fields, ident, seq, data.clone()).unwrap();
        let bytes = reply.to_vec();
        let packet = AnyIpPacket::parse(&bytes).unwrap();
        let expected: [u8; 4] = {
            let ([a, b], [c, d]) = (ident.to_be_bytes(), seq.to_be_bytes());
            [a, b, c, d]
        };
        prop_assert_eq!(&packet.payload()[4..8], &expected[..]);
        prop_assert_eq!(&packet.payload()[8..], &data[..]);

        let message: IcmpMessage = match fields.src {
            IpAddr::V4(_) => Icmpv4::ParameterProblem { code: 0, pointer: 20 }.into(),
            IpAddr::V6(_) => Icmpv6::PacketTooBig { mtu: 1280 }.into(),
        };
        let error = build::icmp_error(&fields, message, &data).unwrap();
        let limit = if fields.src.is_ipv4() { 576 } else { 1280 };
        let headers = if fields.src.is_ipv4() { 28 } else { 48 };
        prop_assert_eq!(error.len(), (headers + len).min(limit));
    }

    #[test]
    fn tcp_options(blocks in sack_blocks(), (mss, shift, val, ecr) in any::<(u16, u8, u32, u32)>(),
                   data in prop::collection::vec(any::<u8>(), 0..38), minutes: bool) {
        let cookie = &data[..(data.len() & !1).min(16)];
        let cookie = if cookie.len() < 4 { &[][..] } else { cookie };
        let mut all = vec![
            TcpOption::Nop,
            TcpOption::Mss(mss),
            TcpOption::WindowScale(shift),
            TcpOption::SackPermitted,
            TcpOption::Timestamps(Timestamps { val, ecr }),
            TcpOption::UserTimeout { minutes, value: mss & 0x7fff },
            TcpOption::FastOpen(cookie),
            TcpOption::Unknown { kind: 254, data: &data },
            TcpOption::Authentication { key_id: shift, next_key_id: 1, code: &data[..data.len().min(36)] },
        ];
        if data.len() >= 16 {
            all.push(TcpOption::Md5(&data[..16]));
        }
        if !blocks.is_empty() {
            all.push(TcpOption::Sack(blocks));
        }
        for option in all {
            let mut out = [0xee; 40];
            let len = write_option(option, &mut out).unwrap();
            let read: Vec<_> = TcpOptionIter::new(&out[..len]).collect();
            prop_assert_eq!(read, [option]);
            prop_assert!(out[len..].iter().all(|octet| *octet == 0xee));
            prop_assert_eq!(write_option(option, &mut out[..len - 1]), None);
        }
    }

    #[test]
    fn sums(data in prop::collection::vec(any::<u8>(), 0..5000), cuts in prop::collection::vec(any::<u16>(), 0..6)) {
        let expected = naive(&data);
        prop_assert_eq!(checksum::of(&data), expected);
        let mut sum = Checksum::new();
        let mut copied = Checksum::new();
        let mut copy = vec![0; data.len()];
        let mut at = 0;
        for cut in cuts.iter().map(|cut| usize::from(*cut)).chain([data.len()]) {
            let end = (at + cut).min(data.len());
            sum.add_bytes(&data[at..end]);
            prop_assert_eq!(copied.copy_and_add(&data[at..end], &mut copy[at..]), end - at);
            at = end;
        }
        sum.add_bytes(&data[at..]);
        copied.copy_and_add(&data[at..], &mut copy[at..]);
        prop_assert_eq!(sum.finish(), expected);
        prop_assert_eq!(copied.finish(), expected);
        prop_assert_eq!(copy, data);
    }

    #[test]
    fn updates(mut data in prop::collection::vec(any::<u8>(), 8..200), at: u16, new: u32) {
        let at = (usize::from(at) % (data.len() - 4)) & !1;
        let before = checksum::of(&data);
        let old: [u8; 4] = data[at..at + 4].try_into().unwrap();
        data[at..at + 4].copy_from_slice(&new.to_be_bytes());
        let after = checksum::of(&data);
        // All ones and zero are the same number.
        let same = |a: u16, b: u16| a == b || (a == 0 && b == 0xffff) || (a == 0xffff && b == 0);
        prop_assert!(same(checksum::update_u32(before, u32::from_be_bytes(old), new), after));
        prop_assert!(same(checksum::update_bytes(before, &old, &new.to_be_bytes()), after));
        let half = checksum::update_u16(before, u16::from_be_bytes([old[0], old[1]]), (new >> 16) as u16);
        let whole = checksum::update_u16(half, u16::from_be_bytes([old[2], old[3]]), new as u16);
        prop_assert!(same(whole, after));
    }

    #[test]
    fn a_flipped_bit_is_seen(header in tcp_header(), payload in pieces(), bit: u32) {
        let (src, dst) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let mut head = Head::new();
        let (parts, len) = (cut(&payload).into_iter(), payload.0.len());
        build::prepend_tcp(&mut head, &header, src, dst, parts, len, TxChecksum::Full).unwrap();
        let mut bytes = [head.as_slice(), &payload.0].concat();
        let bit = bit as usize % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(TcpView::parse(src, dst, &bytes, RxChecksum::Unknown).is_err());
        let mut head = Head::new();
        let fields = IpFields { src, dst, proto: IpProto::TCP, ttl: 1, traffic_class: 0, ident: 0, dont_fragment: false };
        build::prepend_ip(&mut head, &fields, 0).unwrap();
        let mut bytes = head.as_slice().to_vec();
        bytes[bit / 8 % 20] ^= 1 << (bit % 8);
        prop_assert!(IpPacket::<Ipv4>::parse(&bytes).is_err());
    }
}

#[test]
fn long_sums() {
    // Around the lengths at which the loops change over, and the longest; all ones carry most.
    for fill in [0u8, 0xff, 0x80, 0x01] {
        for len in (0..300).chain([1460, 4095, 4096, 4097, 65_535, 65_575, 300_001]) {
            let data = vec![fill; len];
            assert_eq!(checksum::of(&data), naive(&data), "{len} times {fill:#x}");
        }
    }
}

#[test]
fn a_udp_checksum_of_zero_is_sent_as_ones() {
    // The payload is chosen so that the sum comes out as all ones.
    let (src, dst) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let header = UdpHeader {
        src_port: 1,
        dst_port: 2,
        len: 0,
    };
    let build = |payload: &[u8; 2]| {
        let mut head = Head::new();
        let pieces = [&payload[..]].into_iter();
        build::prepend_udp(&mut head, &header, src, dst, pieces, 2, TxChecksum::Full).unwrap();
        [head.as_slice(), payload].concat()
    };
    let plain = build(&[0, 0]);
    let bytes = build(&[plain[6], plain[7]]);
    assert_eq!(bytes[6..8], [0xff, 0xff]);
    assert!(UdpView::parse(src, dst, &bytes, RxChecksum::Unknown).is_ok());
}

const FIELDS: IpFields = IpFields {
    src: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)),
    dst: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2)),
    proto: IpProto::UDP,
    ttl: 1,
    traffic_class: 0,
    ident: 0,
    dont_fragment: false,
};

#[test]
fn builders_that_cannot_leave_nothing_behind() {
    let (src, dst): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let v6: IpAddr = [0; 16].into();
    let header = TcpHeader::default();
    let none = || std::iter::empty::<&[u8]>();
    let mut head = Head::new();
    let mode = TxChecksum::Partial;
    use build::BuildError::{MixedVersions, NoRoom, TooLong};
    assert_eq!(
        build::prepend_tcp(&mut head, &header, src, v6, none(), 0, mode),
        Err(MixedVersions)
    );
    assert_eq!(
        build::prepend_tcp(&mut head, &header, src, dst, none(), 65_516, mode),
        Err(TooLong)
    );
    assert_eq!(
        build::prepend_icmp(&mut head, Icmpv4::SourceQuench, v6, v6, none(), 0),
        Err(MixedVersions)
    );
    let fields6 = IpFields {
        src: v6,
        dst: v6,
        ..FIELDS
    };
    for len in [65_536, usize::MAX] {
        assert_eq!(build::prepend_ip(&mut head, &FIELDS, len), Err(TooLong));
        assert_eq!(build::prepend_ip(&mut head, &fields6, len), Err(TooLong));
        let tcp = build::prepend_tcp(&mut head, &header, src, dst, none(), len, mode);
        assert_eq!(tcp, Err(TooLong));
        let udp = UdpHeader::default();
        assert_eq!(
            build::prepend_udp(&mut head, &udp, src, dst, none(), len, mode),
            Err(TooLong)
        );
        let icmp = build::prepend_icmp(&mut head, Icmpv4::SourceQuench, src, dst, none(), len);
        assert_eq!(icmp, Err(TooLong));
        let fragment = FragmentInfo {
            id: 1,
            offset_bytes: 8,
            more: false,
        };
        let built = build::prepend_ip_fragment(&mut head, &FIELDS, fragment, len);
        assert_eq!(built, Err(TooLong));
        let built = build::prepend_ipv4_with_options(&mut head, &FIELDS, &[1], len);
        assert_eq!(built, Err(TooLong));
    }
    for bad in [&[7, 1][..], &[1; 41], &[148, 4, 0]] {
        let built = build::prepend_ipv4_with_options(&mut head, &FIELDS, bad, 0);
        assert_eq!(built, Err(build::BuildError::Options));
    }
    for bad in [
        &[0xc2, 0][..],
        &[5, 1, 0],
        &[0; 8],
        &[1, 5, 0, 0, 0, 0, 0],
        &[0; 3000],
    ] {
        let built = build::prepend_options_header(&mut head, IpProto::UDP, bad);
        assert_eq!(built, Err(build::BuildError::Options));
    }
    assert!(head.is_empty());
    head.prepend(150).unwrap().fill(1);
    let full = head.clone();
    let udp = UdpHeader::default();
    assert_eq!(
        build::prepend_tcp(&mut head, &header, src, dst, none(), 0, mode),
        Err(NoRoom)
    );
    assert!(build::prepend_udp(&mut head, &udp, src, dst, none(), 0, mode).is_ok());
    let fields = FIELDS;
    head = full.clone();
    assert_eq!(build::prepend_ip(&mut head, &fields, 0), Err(NoRoom));
    let fragment = FragmentInfo {
        id: 1,
        offset_bytes: 8,
        more: false,
    };
    let fields6 = IpFields {
        src: v6,
        dst: v6,
        ..fields
    };
    assert_eq!(
        build::prepend_ip_fragment(&mut head, &fields6, fragment, 0),
        Err(NoRoom)
    );
    assert_eq!(build::prepend_ip(&mut head, &fields, 65_536), Err(TooLong));
    assert_eq!(head, full);
}
