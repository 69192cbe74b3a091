//! The parsers read what the builders write.

#![allow(clippy::unwrap_used)] // A test that fails says so.

use std::net::IpAddr;

use packet::build::{self, Head, IpFields, TxChecksum};
use packet::checksum::RxChecksum;
use packet::icmp::{Icmpv4, Icmpv4UnreachableCode, Icmpv4View};
use packet::ip::{AnyIpPacket, IpPacket, Ipv4, Ipv6};
use packet::tcp::{SackBlocks, TcpFlags, TcpHeader, TcpOptions, TcpView, Timestamps};
use packet::udp::{UdpHeader, UdpView};
use packet::{IpProto, Payload, TxPacket};

fn fields(src: &str, dst: &str, proto: IpProto) -> IpFields {
    IpFields {
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
        proto,
        ttl: 64,
        traffic_class: 2,
        ident: 77,
        dont_fragment: true,
        flow_label: 0,
    }
}

const PAIRS: [(&str, &str); 2] = [("10.0.0.1", "10.0.0.2"), ("fd77::1", "fd77::2")];

fn tcp_header() -> TcpHeader {
    let mut sack = SackBlocks::new();
    assert!(sack.push(10, 20) && sack.push(30, 40));
    TcpHeader {
        src_port: 1234,
        dst_port: 80,
        seq: 0xdead_beef,
        ack: 0x0bad_cafe,
        flags: TcpFlags::ACK | TcpFlags::PSH,
        window: 4096,
        urgent: 0,
        options: TcpOptions {
            timestamps: Some(Timestamps { val: 1, ecr: 2 }),
            sack,
            ..TcpOptions::default()
        },
    }
}

#[test]
fn timestamps_are_written_alike_alone_and_beside_others() {
    let stamped = |options: TcpOptions| {
        let header = TcpHeader {
            options: TcpOptions {
                timestamps: Some(Timestamps {
                    val: 0x0102_0304,
                    ecr: 0x0506_0708,
                }),
                ..options
            },
            ..tcp_header()
        };
        let mut out = [0; 60];
        let len = header.write(&mut out);
        assert_eq!(len, header.len());
        out[20..len].to_vec()
    };
    let alone = stamped(TcpOptions::default());
    assert_eq!(alone, [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
    let others = [
        tcp_header().options,
        TcpOptions {
            window_scale: Some(3),
            ..TcpOptions::default()
        },
        TcpOptions {
            authentication_len: 16,
            ..TcpOptions::default()
        },
    ];
    for options in others {
        let beside = stamped(options);
        assert!(beside.len() > alone.len() && beside.starts_with(&alone));
    }
}

#[test]
fn tcp_round_trip() {
    for (src, dst) in PAIRS {
        for len in [0usize, 1, 2, 3, 7, 64, 1461] {
            let fields = fields(src, dst, IpProto::TCP);
            let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let header = tcp_header();
            let mut head = Head::new();
            // The payload comes in two pieces; the length of the first may be odd.
            let (a, b) = payload.split_at(len / 3);
            let pieces = [a, b].into_iter();
            build::prepend_tcp(
                &mut head,
                &header,
                fields.src,
                fields.dst,
                pieces,
                len,
                TxChecksum::Full,
            )
            .unwrap();
            build::prepend_ip(&mut head, &fields, len).unwrap();
            let bytes = [head.as_slice(), &payload, &[0xee; 3]].concat();
            let packet = AnyIpPacket::parse(&bytes).unwrap();
            assert_eq!(packet.proto(), IpProto::TCP);
            assert_eq!((packet.src(), packet.dst()), (fields.src, fields.dst));
            let view = TcpView::parse(
                fields.src,
                fields.dst,
                packet.payload(),
                RxChecksum::Unknown,
            )
            .unwrap();
            assert_eq!(view.header(), header);
            assert_eq!(view.payload(), payload);
        }
    }
}

#[test]
fn udp_round_trip() {
    for (src, dst) in PAIRS {
        let fields = fields(src, dst, IpProto::UDP);
        let header = UdpHeader {
            src_port: 1,
            dst_port: 2,
            len: 13,
        };
        let mut head = Head::new();
        let pieces = [&b"hel"[..], b"lo"].into_iter();
        build::prepend_udp(
            &mut head,
            &header,
            fields.src,
            fields.dst,
            pieces,
            5,
            TxChecksum::Full,
        )
        .unwrap();
        build::prepend_ip(&mut head, &fields, 5).unwrap();
        let bytes = [head.as_slice(), b"hello"].concat();
        let packet = AnyIpPacket::parse(&bytes).unwrap();
        let view = UdpView::parse(
            fields.src,
            fields.dst,
            packet.payload(),
            RxChecksum::Unknown,
        )
        .unwrap();
        assert_eq!(view.header(), header);
        assert_eq!(view.payload(), b"hello");
    }
}

fn payload_of(packet: &TxPacket) -> Payload {
    Payload::from(bytes::Bytes::from(packet.to_vec()))
}

#[test]
fn icmp_error_quotes_what_fits() {
    let fields = fields("10.0.0.1", "10.0.0.2", IpProto::UDP);
    let mut head = Head::new();
    let data = vec![7; 1400];
    let header = UdpHeader {
        src_port: 5,
        dst_port: 6,
        len: 0,
    };
    build::prepend_udp(
        &mut head,
        &header,
        fields.src,
        fields.dst,
        [&data[..]].into_iter(),
        1400,
        TxChecksum::Full,
    )
    .unwrap();
    build::prepend_ip(&mut head, &fields, 1400).unwrap();
    let original = Payload::from(bytes::Bytes::from([head.as_slice(), &data].concat()));
    let message = Icmpv4::DestinationUnreachable {
        code: Icmpv4UnreachableCode::Port,
        next_hop_mtu: 0,
    };
    let back = IpFields {
        src: fields.dst,
        dst: fields.src,
        ..fields
    };
    let error = build::icmp_error(&back, message, &original).unwrap();
    assert_eq!(error.len(), 576);
    let bytes = payload_of(&error);
    let packet = IpPacket::<Ipv4>::parse(&bytes).unwrap();
    let view = Icmpv4View::parse(packet.payload(), RxChecksum::Unknown).unwrap();
    assert_eq!(view.message(), message);
    let quoted = view.quote().unwrap().packet().unwrap();
    assert_eq!((quoted.src, quoted.dst), (fields.src, fields.dst));
    assert_eq!(quoted.ports(), Some((5, 6)));
}

#[test]
fn zeros_and_ones_of_any_length_do_not_panic() {
    for len in 0..=200 {
        for fill in [0u8, 0x45, 0x60, 0xff] {
            let bytes = vec![fill; len];
            let _ = IpPacket::<Ipv4>::parse(&bytes);
            let _ = IpPacket::<Ipv6>::parse(&bytes);
            let addr: IpAddr = [127, 0, 0, 1].into();
            let _ = TcpView::parse(addr, addr, &bytes, RxChecksum::Vouched);
            let _ = UdpView::parse(addr, addr, &bytes, RxChecksum::Vouched);
            let _ = Icmpv4View::parse(&bytes, RxChecksum::Vouched);
        }
    }
}

#[test]
fn sizes_stay_small() {
    assert_eq!(size_of::<Payload>(), 24);
    assert!(size_of::<TxPacket>() <= 344, "{}", size_of::<TxPacket>());
}
