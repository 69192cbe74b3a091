//! The parsers and the reassembly read the packets that were built.

use super::*;
use crate::base::time::Duration;
use crate::base::{Instant, Rng};
use crate::ip::key::HashKey;
use crate::ip::reassembly::{FragmentStatus, Reassembly};
use crate::ip::receive::fragment_in;
use bytes::Bytes;
use packet::icmp::{Icmpv4, Icmpv4View, Icmpv6, Icmpv6View};
use packet::ip::{IpPacket, Ipv4, Ipv6};
use packet::tcp::{TcpFlags, TcpView};
use packet::udp::UdpView;
use packet::{Payload, RxChecksum};

const fn path(mtu: u16, dont_fragment: bool) -> Path {
    Path {
        dont_fragment,
        ..Path::unknown(mtu)
    }
}

const PLAIN: TxParams = TxParams {
    path: path(1500, true),
    ttl: 61,
    traffic_class: 0x2a,
    flow_label: 0,
    offload: OffloadCaps {
        tx_checksum: false,
        tso: false,
        uso: false,
    },
};

const OFFLOADING: TxParams = TxParams {
    offload: OffloadCaps {
        tx_checksum: true,
        tso: true,
        uso: true,
    },
    ..PLAIN
};

fn pair(ipv6: bool) -> (SocketAddr, SocketAddr) {
    if ipv6 {
        let src = "[fd77::2]:7".parse().expect("src");
        (src, "[fd77::1]:4000".parse().expect("dst"))
    } else {
        let src = "10.77.0.2:7".parse().expect("src");
        (src, "10.77.0.1:4000".parse().expect("dst"))
    }
}

/// `data` in up to `pieces` pieces.
fn chunks(data: &[u8], pieces: usize) -> Chunks {
    let mut chunks = Chunks::new();
    let each = data.len().div_ceil(pieces).max(1);
    for piece in data.chunks(each) {
        chunks
            .push(Payload::from(Bytes::copy_from_slice(piece)))
            .expect("room");
    }
    chunks
}

fn random(len: usize, rng: &mut Rng) -> Vec<u8> {
    let mut data = vec![0; len];
    rng.fill(&mut data);
    data
}

/// Source, destination, protocol and payload of a whole packet, with what its header must say.
fn read(bytes: &[u8], df: bool) -> (IpAddr, IpAddr, IpProto, Vec<u8>) {
    if bytes[0] >> 4 == 4 {
        let packet = IpPacket::<Ipv4>::parse(bytes).expect("v4");
        assert_eq!((packet.ttl(), packet.traffic_class()), (61, 0x2a));
        assert_eq!(packet.dont_fragment(), df);
        assert_eq!(packet.total_len(), bytes.len());
        (
            packet.src().into(),
            packet.dst().into(),
            packet.proto(),
            packet.payload().to_vec(),
        )
    } else {
        let packet = IpPacket::<Ipv6>::parse(bytes).expect("v6");
        assert_eq!((packet.ttl(), packet.traffic_class()), (61, 0x2a));
        assert_eq!(packet.total_len(), bytes.len());
        (
            packet.src().into(),
            packet.dst().into(),
            packet.proto(),
            packet.payload().to_vec(),
        )
    }
}

fn no_ident() -> u32 {
    panic!("asked for an identification that is not needed")
}

#[test]
fn tcp_segments() {
    let seed = 3;
    let mut rng = Rng::from_u64(seed);
    let header = TcpHeader {
        src_port: 1,
        dst_port: 2,
        seq: 3,
        ack: 4,
        flags: TcpFlags::ACK,
        window: 5,
        ..TcpHeader::default()
    };
    for ipv6 in [false, true] {
        let (src, dst) = pair(ipv6);
        let header_len = if ipv6 { 60 } else { 40 };
        for len in [0, 1, 999, 1500 - header_len] {
            let data = random(len, &mut rng);
            let packet = tcp_packet(src, dst, &header, chunks(&data, 3), 1460, &PLAIN, no_ident)
                .expect("sent");
            assert_eq!(packet.offload, TxOffload::default());
            let (from, to, proto, payload) = read(&packet.to_vec(), true);
            assert_eq!((from, to, proto), (src.ip(), dst.ip(), IpProto::TCP));
            let view = TcpView::parse(from, to, &payload, RxChecksum::Unknown).expect("checksum");
            let ports = TcpHeader {
                src_port: 7,
                dst_port: 4000,
                ..header
            };
            assert_eq!(view.header(), ports);
            assert_eq!(view.payload(), data);
        }
        // One byte more than the path carries.
        let data = chunks(&[0; 1461], 1);
        let too_big = tcp_packet(src, dst, &header, data, 9000, &PLAIN, no_ident);
        assert!(matches!(too_big, Err(SendError::TooBig { mtu: 1500, .. })));
        // More than one segment without a device that cuts.
        let data = chunks(&[0; 2000], 1);
        let too_big = tcp_packet(src, dst, &header, data.clone(), 1000, &PLAIN, no_ident);
        assert!(matches!(too_big, Err(SendError::TooBig { .. })));
        let half = TxParams {
            offload: OffloadCaps {
                tso: true,
                ..OffloadCaps::default()
            },
            ..PLAIN
        };
        assert!(tcp_packet(src, dst, &header, data, 1000, &half, no_ident).is_err());
    }
}

#[test]
fn segments_for_the_device_to_cut() {
    let header = TcpHeader::default();
    for ipv6 in [false, true] {
        let (src, dst) = pair(ipv6);
        let ip_len = if ipv6 { 40u16 } else { 20 };
        let data = vec![7; 60_000];
        let packet = tcp_packet(
            src,
            dst,
            &header,
            chunks(&data, 6),
            1400,
            &OFFLOADING,
            no_ident,
        )
        .expect("sent");
        let checksum = ChecksumOffload {
            start: ip_len,
            offset: 16,
        };
        let segment = SegmentOffload {
            kind: if ipv6 {
                SegmentKind::Tcp6
            } else {
                SegmentKind::Tcp4
            },
            size: 1400,
            header_len: ip_len + 20,
        };
        assert_eq!(packet.offload.checksum, Some(checksum));
        assert_eq!(packet.offload.segment, Some(segment));
        let (_, _, _, payload) = read(&packet.to_vec(), true);
        assert_eq!(payload.len(), 20 + 60_000);
        // What the device finishes: the field holds the pseudo-header's sum.
        let mut sum = packet::checksum::Checksum::new();
        sum.add_bytes(&payload);
        let mut finished = payload.clone();
        finished[16..18].copy_from_slice(&sum.finish().to_be_bytes());
        assert!(TcpView::parse(src.ip(), dst.ip(), &finished, RxChecksum::Unknown).is_ok());
        // A single segment leaves only the checksum to the device.
        let one = tcp_packet(
            src,
            dst,
            &header,
            chunks(&data[..1400], 1),
            1400,
            &OFFLOADING,
            no_ident,
        )
        .expect("sent");
        assert_eq!(
            (one.offload.checksum, one.offload.segment),
            (Some(checksum), None)
        );
        // Each segment must fit the path, and the whole the length field.
        let params = TxParams {
            path: path(1300, true),
            ..OFFLOADING
        };
        assert!(tcp_packet(src, dst, &header, chunks(&data, 6), 1400, &params, no_ident).is_err());
        let data = vec![7; 65_516];
        assert!(matches!(
            tcp_packet(
                src,
                dst,
                &header,
                chunks(&data, 6),
                1400,
                &OFFLOADING,
                no_ident
            ),
            Err(SendError::Build(BuildError::TooLong))
        ));
    }
}

#[test]
fn datagrams_of_every_length_arrive() {
    let seed = 4;
    let mut rng = Rng::from_u64(seed);
    let lens = [
        0, 1, 8, 1444, 1445, 1452, 1453, 1472, 1473, 2952, 9_000, 65_507, 65_527,
    ];
    for ipv6 in [false, true] {
        let (src, dst) = pair(ipv6);
        let most = if ipv6 { 65_527 } else { 65_507 };
        for params in [
            PLAIN,
            OFFLOADING,
            TxParams {
                path: path(1280, true),
                ..PLAIN
            },
            TxParams {
                path: path(65_535, true),
                ..PLAIN
            },
        ] {
            for len in lens {
                let label = format!("seed {seed} ipv6 {ipv6} len {len} mtu {}", params.path.mtu);
                let data = random(len, &mut rng);
                let sent = udp_packets(src, dst, chunks(&data, 1 + len % 6), &params, || {
                    0xabcd_1234
                });
                if len > most {
                    let refused = matches!(
                        sent,
                        Err(SendError::Fragment(FragmentError::TooLong(_))
                            | SendError::Build(BuildError::TooLong))
                    );
                    assert!(refused, "{label}: {sent:?}");
                    continue;
                }
                let sent = sent.unwrap_or_else(|e| panic!("{label}: {e}"));
                let payload = match put_together(sent, &params, &label) {
                    (payload, false) => payload,
                    (mut payload, true) => {
                        let mut sum = packet::checksum::Checksum::new();
                        sum.add_bytes(&payload);
                        payload[6..8].copy_from_slice(&sum.finish().to_be_bytes());
                        payload
                    }
                };
                let view = UdpView::parse(src.ip(), dst.ip(), &payload, RxChecksum::Unknown)
                    .unwrap_or_else(|e| panic!("{label}: {e}"));
                assert_eq!((view.src_port(), view.dst_port()), (7, 4000));
                assert!(view.payload() == data, "{label}");
            }
        }
    }
}

/// Returns the IP payload that arrives, and whether its checksum is still to be finished.
fn put_together(sent: Packets, params: &TxParams, label: &str) -> (Vec<u8>, bool) {
    let count = sent.remaining();
    let fragmented = sent.is_fragmented();
    assert_eq!(fragmented, count > 1, "{label}");
    let key = HashKey::random(&mut Rng::from_u64(1));
    let mut reassembly = Reassembly::new(4, 1 << 20, Duration::from_secs(60), key);
    let mut whole = None;
    let mut partial = false;
    for (n, packet) in sent.enumerate() {
        assert!(
            packet.len() <= usize::from(params.path.mtu),
            "{label}: {}",
            packet.len()
        );
        let bytes = packet.to_vec();
        if !fragmented {
            partial = packet.offload.checksum.is_some();
            assert_eq!(partial, params.offload.tx_checksum, "{label}");
            whole = Some(bytes);
            continue;
        }
        assert_eq!(packet.offload, TxOffload::default(), "{label}");
        let input = if bytes[0] >> 4 == 4 {
            let parsed = IpPacket::<Ipv4>::parse(&bytes).expect("v4");
            assert!(!parsed.dont_fragment(), "{label}: no DF on fragments");
            fragment_in(&parsed)
        } else {
            fragment_in(&IpPacket::<Ipv6>::parse(&bytes).expect("v6"))
        };
        let input = input.expect("a fragment");
        assert_eq!(
            input.id,
            if bytes[0] >> 4 == 4 {
                0x1234
            } else {
                0xabcd_1234
            }
        );
        match reassembly.on_fragment(Instant::ZERO, &input).status {
            FragmentStatus::Pending => assert!(n + 1 < count, "{label}"),
            FragmentStatus::Complete(packet) => {
                assert_eq!(n + 1, count, "{label}");
                whole = Some(packet.to_vec());
            }
            other => panic!("{label}: {other:?}"),
        }
    }
    let whole = whole.unwrap_or_else(|| panic!("{label}: incomplete"));
    let (_, _, _, payload) = read(&whole, !fragmented);
    (payload, partial)
}

#[test]
fn identification_only_where_somebody_may_fragment() {
    let (src, dst) = pair(false);
    let may = TxParams {
        path: path(1500, false),
        ..PLAIN
    };
    let ident_of = |params: &TxParams| {
        let packet = udp_packets(src, dst, Chunks::new(), params, || 0x1_beef)
            .expect("sent")
            .next()
            .expect("one");
        let bytes = packet.to_vec();
        let packet = IpPacket::<Ipv4>::parse(&bytes).expect("v4");
        (packet.identification(), packet.dont_fragment())
    };
    assert_eq!(ident_of(&may), (0xbeef, false));
    assert_eq!(ident_of(&PLAIN), (0, true));
    let (src, dst) = pair(true);
    udp_packets(src, dst, Chunks::new(), &may, no_ident).expect("IPv6 needs none");
}

#[test]
fn segmented_datagrams() {
    for ipv6 in [false, true] {
        let (src, dst) = pair(ipv6);
        let ip_len = if ipv6 { 40u16 } else { 20 };
        let data = vec![1; 10_000];
        let packet =
            udp_gso_packet(src, dst, chunks(&data, 2), 1200, &OFFLOADING, no_ident).expect("sent");
        let segment = packet.offload.segment.expect("cut");
        assert_eq!(
            (segment.kind, segment.size, segment.header_len),
            (SegmentKind::Udp, 1200, ip_len + 8)
        );
        let single = udp_gso_packet(
            src,
            dst,
            chunks(&data[..1200], 2),
            1200,
            &OFFLOADING,
            no_ident,
        )
        .expect("sent");
        assert_eq!(single.offload.segment, None);
        for (size, params) in [(0, OFFLOADING), (1500, OFFLOADING), (1200, PLAIN)] {
            assert!(udp_gso_packet(src, dst, chunks(&data, 2), size, &params, no_ident).is_err());
        }
    }
}

#[test]
fn echo_replies_of_any_size() {
    let mut rng = Rng::from_u64(8);
    for ipv6 in [false, true] {
        let (src, dst) = pair(ipv6);
        for len in [0, 56, 1_472, 4_000, 65_507, 65_527] {
            if !ipv6 && len > 65_507 {
                continue;
            }
            let data = random(len, &mut rng);
            let message: IcmpMessage = if ipv6 {
                Icmpv6::EchoReply { ident: 1, seq: 2 }.into()
            } else {
                Icmpv4::EchoReply { ident: 1, seq: 2 }.into()
            };
            let sent = icmp_packets(
                src.ip(),
                dst.ip(),
                message,
                chunks(&data, 1),
                &PLAIN,
                || 0xabcd_1234,
            )
            .expect("sent");
            let (payload, _) = put_together(sent, &PLAIN, &format!("ipv6 {ipv6} len {len}"));
            let body = match (src.ip(), dst.ip()) {
                (IpAddr::V6(s), IpAddr::V6(d)) => {
                    Icmpv6View::parse(s, d, &payload, RxChecksum::Unknown)
                        .map(|v| v.body().to_vec())
                }
                _ => Icmpv4View::parse(&payload, RxChecksum::Unknown).map(|v| v.body().to_vec()),
            };
            assert!(body.expect("checksum") == data);
        }
    }
}

#[test]
fn mixed_families_and_hopeless_paths_are_refused() {
    let (v4, _) = pair(false);
    let (_, v6) = pair(true);
    assert!(udp_packets(v4, v6, Chunks::new(), &PLAIN, no_ident).is_err());
    assert!(
        tcp_packet(
            v4,
            v6,
            &TcpHeader::default(),
            Chunks::new(),
            1,
            &PLAIN,
            no_ident
        )
        .is_err()
    );
    let (src, dst) = pair(false);
    let tiny = TxParams {
        path: path(27, true),
        ..PLAIN
    };
    assert!(matches!(
        udp_packets(src, dst, chunks(&[0; 100], 1), &tiny, || 1),
        Err(SendError::Fragment(FragmentError::MtuTooSmall(27)))
    ));
}

#[test]
fn flow_labels() {
    let params = TxParams {
        flow_label: 0x12345,
        ..PLAIN
    };
    let label = |len: usize| -> Vec<u32> {
        let (src, dst) = pair(true);
        udp_packets(src, dst, chunks(&vec![0; len], 1), &params, || 1)
            .expect("sent")
            .map(|p| {
                IpPacket::<Ipv6>::parse(&p.to_vec())
                    .expect("v6")
                    .flow_label()
            })
            .collect()
    };
    assert_eq!(label(10), [0x12345]);
    assert_eq!(
        label(2_000),
        [0x12345; 2],
        "of one datagram all have the same"
    );
    let (src, dst) = pair(false);
    assert!(udp_packets(src, dst, chunks(&[0; 9], 1), &params, no_ident).is_ok());
}
