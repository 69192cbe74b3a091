//! Property tests: parse(build(x)) = x, for every type.

#![allow(clippy::unwrap_used)] // A test that fails says so.

mod strategies;

use std::net::IpAddr;

use packet::build::{self, Head, IpFields, TxChecksum};
use packet::checksum::{self, Checksum, RxChecksum};
use packet::icmp::{IcmpMessage, Icmpv4, Icmpv4View, Icmpv6, Icmpv6View};
use packet::ip::{
    AnyIpPacket, FragmentInfo, IpPacket, Ipv4, Ipv4Option, Ipv6, Ipv6Extension, Ipv6Option,
};
use packet::tcp::{
    FastOpen, SackBlocks, TcpHeader, TcpOption, TcpOptionIter, TcpOptions, TcpView, Timestamps,
    UserTimeout, write_option,
};
use packet::udp::{UdpHeader, UdpView};
use packet::{IpProto, Payload};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use strategies::{addrs, as_written, cut, fields, option_bytes, pieces, sack_blocks, tcp_header};

const SEED: u64 = 0x7061_636b_6574;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 512,
        rng_seed: RngSeed::Fixed(SEED),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
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
        // A device sums from the start of the transport header, checksum field included.
        let sum = checksum::of(&[partial.as_slice(), &payload.0].concat());
        partial.as_mut_slice()[16..18].copy_from_slice(&sum.to_be_bytes());
        prop_assert_eq!(&full, &partial);
        let (mut sum, mut copy, mut known) = (Checksum::new(), vec![0; len], Head::new());
        let mut at = 0;
        for piece in cut(&payload) {
            at += sum.copy_and_add(piece, &mut copy[at..]);
        }
        let none = std::iter::empty();
        build::prepend_tcp(&mut known, &header, src, dst, none, len, TxChecksum::Payload(sum)).unwrap();
        prop_assert_eq!((full, copy), (known, payload.0.clone()));

        let header = UdpHeader { src_port: header.src_port, dst_port: header.dst_port, len: 0 };
        let (mut full, mut partial) = (Head::new(), Head::new());
        let parts = cut(&payload).into_iter();
        build::prepend_udp(&mut full, &header, src, dst, parts, len, TxChecksum::Full).unwrap();
        let none = std::iter::empty();
        build::prepend_udp(&mut partial, &header, src, dst, none, len, TxChecksum::Partial).unwrap();
        let sum = match checksum::of(&[partial.as_slice(), &payload.0].concat()) {
            0 => 0xffff,
            sum => sum,
        };
        partial.as_mut_slice()[6..8].copy_from_slice(&sum.to_be_bytes());
        prop_assert_eq!(&full, &partial);
        let (mut sum, mut known) = (Checksum::new(), Head::new());
        sum.add_bytes(&payload.0);
        let none = std::iter::empty();
        build::prepend_udp(&mut known, &header, src, dst, none, len, TxChecksum::Payload(sum)).unwrap();
        prop_assert_eq!(full, known);
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
        // Avoids the protocols of extension headers, which the IPv6 parser would look for.
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
                // IPv4 has no such field.
                flow_label: fields.flow_label,
            },
            AnyIpPacket::V6(packet) => IpFields {
                src: packet.src().into(),
                dst: packet.dst().into(),
                proto: packet.proto(),
                ttl: packet.ttl(),
                traffic_class: packet.traffic_class(),
                // IPv6 has no such field.
                ident: fields.ident,
                dont_fragment: fields.dont_fragment,
                flow_label: packet.flow_label(),
            },
        };
        prop_assert_eq!(read, fields);
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
    fn fragments(fields in fields(), id: u32, (units, unaligned) in (0u16..8192, 0u16..16), more: bool,
                 len in 0usize..80) {
        // Half of the offsets are aligned, and half of the lengths are valid for a fragment that is not
        // the last.
        let offset_bytes = units * 8 + unaligned.saturating_sub(8);
        let len = if len % 2 == 0 { len * 4 } else { len };
        let v4 = fields.src.is_ipv4();
        let id = if v4 && id % 4 != 0 { id & 0xffff } else { id };
        let fragment = FragmentInfo { id, offset_bytes, more };
        let fields = IpFields { proto: IpProto::UDP, ..fields };
        let payload = vec![7; len];
        let mut head = Head::new();
        let built = build::prepend_ip_fragment(&mut head, &fields, fragment, len);
        let end = usize::from(offset_bytes) + len + if v4 { 20 } else { 0 };
        let impossible = offset_bytes % 8 != 0
            || (more && (len == 0 || len % 8 != 0))
            || end > 65_535
            || (v4 && id > 0xffff);
        prop_assert_eq!(built.is_err(), impossible, "{:?}", built);
        if impossible {
            prop_assert!(head.is_empty());
        } else {
            let bytes = [head.as_slice(), &payload].concat();
            let whole = units == 0 && !more;
            // A first fragment must contain the UDP header (RFC 7112).
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
    fn icmp(addrs in any::<([u8; 4], [u8; 16])>(), bytes: [u8; 8], payload in pieces()) {
        let len = payload.0.len();
        let (v4, v6) = (Icmpv4::from_bytes(&bytes), Icmpv6::from_bytes(&bytes));
        // Every message that can be read is read back from what it writes.
        prop_assert_eq!(Icmpv4::from_bytes(&v4.to_bytes()), v4);
        prop_assert_eq!(Icmpv6::from_bytes(&v6.to_bytes()), v6);
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
    fn icmp_replies_and_errors(fields in fields(), ident: u16, seq: u16, len in 0usize..3000, padding in 0usize..9) {
        let (src, dst) = (fields.src, fields.dst);
        let v4 = src.is_ipv4();
        // Parses a whole packet, verifies its checksum and returns the message and its body.
        let read = |bytes: &[u8]| -> Option<(IpAddr, IpAddr, IcmpMessage, Vec<u8>)> {
            let packet = AnyIpPacket::parse(bytes)?;
            let unknown = RxChecksum::Unknown;
            let (message, body) = match (packet.src(), packet.dst()) {
                (IpAddr::V6(src), IpAddr::V6(dst)) => {
                    let view = Icmpv6View::parse(src, dst, packet.payload(), unknown).ok()?;
                    (IcmpMessage::V6(view.message()), view.body())
                }
                _ => {
                    let view = Icmpv4View::parse(packet.payload(), unknown).ok()?;
                    (IcmpMessage::V4(view.message()), view.body())
                }
            };
            Some((packet.src(), packet.dst(), message, body.to_vec()))
        };
        let data = Payload::from(bytes::Bytes::from(vec![0x55; len]));
        let reply = build::echo_reply(&fields, ident, seq, data.clone()).unwrap();
        let message: IcmpMessage = match v4 {
            true => Icmpv4::EchoReply { ident, seq }.into(),
            false => Icmpv6::EchoReply { ident, seq }.into(),
        };
        prop_assert_eq!(read(&reply.to_vec()), Some((src, dst, message, data.to_vec())));

        // A packet of `len` bytes, followed by padding that is not quoted.
        let mut head = Head::new();
        let headers = if v4 { 20 } else { 40 };
        let original = len.max(headers);
        build::prepend_ip(&mut head, &IpFields { proto: IpProto::ESP, ..fields }, original - headers).unwrap();
        let mut original = [head.as_slice(), &vec![0x66; original - headers]].concat();
        let packet_len = original.len();
        original.resize(packet_len + padding, 0xee);
        let message: IcmpMessage = match v4 {
            true => Icmpv4::ParameterProblem { code: 0, pointer: 20 }.into(),
            false => Icmpv6::PacketTooBig { mtu: 1280 }.into(),
        };
        let quoted = packet_len.min(if v4 { 576 - 28 } else { 1280 - 48 });
        let error = build::icmp_error(&fields, message, &Payload::from(bytes::Bytes::from(original.clone()))).unwrap();
        prop_assert_eq!(read(&error.to_vec()), Some((src, dst, message, original[..quoted].to_vec())));
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
            prop_assert!(out[len..].iter().all(|byte| *byte == 0xee));
            prop_assert_eq!(write_option(option, &mut out[..len - 1]), None);
        }
    }

    /// `TcpOptions::parse` finds the same options as `TcpOptionIter`.
    #[test]
    fn both_option_parsers_agree(parts in prop::collection::vec(option_bytes(), 0..8)) {
        let mut bytes = parts.concat();
        bytes.truncate(40);
        let mut expected = TcpOptions::default();
        let mut iter = TcpOptionIter::new(&bytes);
        let error = loop {
            match iter.try_next() {
                Ok(Some(TcpOption::Mss(mss))) => expected.mss = Some(mss),
                Ok(Some(TcpOption::WindowScale(shift))) => expected.window_scale = Some(shift),
                Ok(Some(TcpOption::SackPermitted)) => expected.sack_permitted = true,
                Ok(Some(TcpOption::Timestamps(stamps))) => expected.timestamps = Some(stamps),
                Ok(Some(TcpOption::Sack(sack))) => expected.sack = sack,
                Ok(Some(TcpOption::UserTimeout { minutes, value })) => {
                    expected.user_timeout = Some(UserTimeout { minutes, value });
                }
                Ok(Some(TcpOption::AccEcn(counters))) => expected.acc_ecn = Some(counters),
                Ok(Some(TcpOption::Authentication { code, .. })) => {
                    expected.authentication_len = 4 + code.len() as u8;
                }
                // It has the place of the SACK blocks.
                Ok(Some(TcpOption::FastOpen(cookie))) if expected.sack.is_empty() => {
                    expected.set_fast_open(FastOpen::new(cookie));
                }
                Ok(Some(TcpOption::FastOpenExperimental(cookie))) if expected.sack.is_empty() => {
                    let option = FastOpen::new(cookie);
                    expected.set_fast_open(option.map(|option| option.with_experimental(true)));
                }
                Ok(Some(_)) => {}
                Ok(None) => break None,
                Err(at) => break Some(at),
            }
        };
        prop_assert_eq!(TcpOptions::parse(&bytes), error.map_or(Ok(expected), Err));
    }

    #[test]
    fn unreadable_options_are_not_written(len in 0usize..40, value in 0x8000u16.., kind: u8) {
        let data = [7; 40];
        let read_back = |option| {
            let mut out = [0; 40];
            let written = write_option(option, &mut out);
            prop_assert!(written.is_some() || out == [0; 40]);
            if let Some(len) = written {
                let all: Vec<_> = TcpOptionIter::new(&out[..len]).collect();
                prop_assert_eq!(all, [option]);
            }
            Ok(())
        };
        read_back(TcpOption::FastOpen(&data[..len]))?;
        read_back(TcpOption::Md5(&data[..len]))?;
        read_back(TcpOption::Unknown { kind: 99, data: &data[..len] })?;
        read_back(TcpOption::Unknown { kind, data: &data[..len] })?;
        read_back(TcpOption::Unknown { kind: kind % 40, data: &data[..len % 20] })?;
        read_back(TcpOption::Sack(SackBlocks::new()))?;
        read_back(TcpOption::UserTimeout { minutes: true, value })?;
        read_back(TcpOption::UserTimeout { minutes: true, value: value & 0x7fff })?;
    }

    #[test]
    fn a_flipped_bit_is_detected(header in tcp_header(), payload in pieces(), bit: u32) {
        let (src, dst) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let mut head = Head::new();
        let (parts, len) = (cut(&payload).into_iter(), payload.0.len());
        build::prepend_tcp(&mut head, &header, src, dst, parts, len, TxChecksum::Full).unwrap();
        let mut bytes = [head.as_slice(), &payload.0].concat();
        let bit = bit as usize % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(TcpView::parse(src, dst, &bytes, RxChecksum::Unknown).is_err());
        let mut head = Head::new();
        let fields = IpFields { src, dst, proto: IpProto::TCP, ttl: 1, traffic_class: 0, ident: 0, dont_fragment: false, flow_label: 0 };
        build::prepend_ip(&mut head, &fields, 0).unwrap();
        let mut bytes = head.as_slice().to_vec();
        bytes[bit / 8 % 20] ^= 1 << (bit % 8);
        prop_assert!(IpPacket::<Ipv4>::parse(&bytes).is_err());
    }
}

#[test]
fn a_udp_checksum_of_zero_is_sent_as_ones() {
    // The payload makes the sum all ones, so the checksum is zero.
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
