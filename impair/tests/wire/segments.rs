//! Super-packets segment by segment, and packets that are too big.

use std::time::Duration;

use impair::{Checksum, Frame, QUANTUM};
use packet::checksum::{RxChecksum, verify, verify_transport};
use packet::ip::{IpPacket, Ipv4, Ipv6, Outline};
use packet::tcp::TcpView;

use crate::frames::*;

#[test]
fn each_rule_holds_for_each_segment_of_a_super_packet() {
    for ipv6 in [false, true] {
        let whole = super_packet(ipv6, 60_000, 1_000);
        assert_eq!(
            (whole.segments(), whole.wire_bytes()),
            (
                60,
                whole.bytes().len() as u64 + 59 * whole.segment_len(0) as u64 - 59_000
            )
        );
        // 60 packets of which 10 % are lost: never all or none.
        let mut lossy = wire("loss=10%");
        for _ in 0..100 {
            lossy.push(whole.clone(), ms(0));
        }
        let stats = lossy.stats();
        assert_eq!(stats.sent, 6_000);
        assert!((500..700).contains(&stats.lost), "{stats:?}, seed {SEED}");
        let runs = drain(&mut lossy);
        assert!(runs.len() > 300, "{} runs", runs.len());
        for (_, run) in &runs {
            check_run(run, &whole);
        }
        // A queue of 7 packets takes 7 segments, which leave one after the other.
        let mut slow = wire("rate=8mbit,queue=7p");
        slow.push(whole.clone(), ms(0));
        assert_eq!(slow.stats().dropped, 53);
        let arrived = drain(&mut slow);
        let len = whole.segment_len(0) as u64;
        let expected: Vec<Duration> = (1..=7).map(|n| us(n * len)).collect();
        assert_eq!(
            arrived.iter().map(|(at, _)| *at).collect::<Vec<_>>(),
            expected
        );
        assert!(arrived.iter().all(|(_, frame)| frame.segments() == 1));
        // A fast line keeps them together as long as a run takes no longer than a quantum.
        let mut fast = wire("rate=10gbit");
        fast.push(whole.clone(), ms(0));
        let arrived = drain(&mut fast);
        assert!(arrived.len() < 4, "{} runs", arrived.len());
        let all: u64 = arrived.iter().map(|(_, frame)| frame.wire_bytes()).sum();
        assert_eq!(all, whole.wire_bytes());
        let time = arrived.last().expect("runs").0;
        assert!(time.abs_diff(us(all * 8 / 10_000)) < QUANTUM, "{time:?}");
    }
}

/// Checks a run of segments against the super-packet that it was cut from: after each is finished, its checksums are right
/// and its payload is where its sequence number says.
fn check_run(run: &Frame, whole: &Frame) {
    for index in 0..run.segments() {
        let mut segment = run.run(index..index + 1);
        segment.finish();
        let bytes = segment.bytes();
        let (src, dst, tcp) = if bytes[0] >> 4 == 4 {
            let ip = IpPacket::<Ipv4>::parse(bytes).expect("IPv4");
            (ip.src().into(), ip.dst().into(), ip.payload())
        } else {
            let ip = IpPacket::<Ipv6>::parse(bytes).expect("IPv6");
            (ip.src().into(), ip.dst().into(), ip.payload())
        };
        let view = TcpView::parse(src, dst, tcp, RxChecksum::Unknown).expect("TCP");
        let header = view.header();
        let offset = header.seq.wrapping_sub(0xffff_f000) as usize;
        let payload = &whole.bytes()[whole.segment_len(0) - 1_000..];
        assert_eq!(view.payload(), &payload[offset..offset + 1_000]);
        assert_eq!(
            bytes[bytes.len() - tcp.len() + 13] & 0x80 != 0,
            offset == 0,
            "CWR"
        );
        assert_eq!(
            bytes[bytes.len() - tcp.len() + 13] & 9 != 0,
            offset == 59_000,
            "FIN"
        );
    }
}

#[test]
fn a_corrupted_segment_differs_in_one_bit_and_its_checksum_tells() {
    let whole = super_packet(false, 20_000, 1_000);
    let mut wire = wire("corrupt=20%");
    for _ in 0..50 {
        wire.push(whole.clone(), ms(0));
    }
    let mut wrong = 0;
    for (_, run) in drain(&mut wire) {
        for index in 0..run.segments() {
            let mut segment = run.run(index..index + 1);
            segment.finish();
            let bytes = segment.bytes();
            let transport = &bytes[20..];
            let outline = Outline::read(bytes);
            let is_right = verify(&bytes[..20])
                && outline.is_some_and(|o| verify_transport(o.src, o.dst, o.proto, transport));
            wrong += u64::from(!is_right);
        }
    }
    // A bit of the fields that say how long the packet is may make it unreadable; then it counts as wrong, too.
    assert_eq!(wrong, wire.stats().corrupted);
    assert!((150..250).contains(&wrong), "{wrong}, seed {SEED}");
}

#[test]
fn udp_super_packets_are_cut_with_lengths_and_checksums_of_their_own() {
    let mut bytes = vec![0; 28 + 5_000];
    bytes[0] = 0x45;
    bytes[2..4].copy_from_slice(&5_028_u16.to_be_bytes());
    (bytes[6], bytes[8], bytes[9]) = (0x40, 64, 17);
    bytes[12..20].copy_from_slice(&[10, 77, 0, 1, 10, 77, 0, 2]);
    bytes[20..26].copy_from_slice(&[0, 9, 0, 7, (5_008_u16 >> 8) as u8, 5_008_u16 as u8]);
    let checksum = Checksum::Partial {
        start: 20,
        offset: 6,
    };
    let whole = Frame::new(bytes, checksum, 1_200);
    assert_eq!(whole.segments(), 5);
    for (index, len) in [1_200, 1_200, 1_200, 1_200, 200].into_iter().enumerate() {
        let mut segment = whole.run(index..index + 1);
        segment.finish();
        let bytes = segment.bytes();
        assert_eq!((bytes.len(), segment.gso_size()), (28 + len, 0));
        assert_eq!(u16::from_be_bytes([bytes[24], bytes[25]]) as usize, 8 + len);
        let outline = Outline::read(bytes).expect("a packet");
        assert!(verify(&bytes[..20]));
        assert!(verify_transport(
            outline.src,
            outline.dst,
            outline.proto,
            &bytes[20..]
        ));
    }
}

#[test]
fn a_packet_that_is_too_big_is_answered_as_a_router_does() {
    let mut link = wire("mtu=1280");
    let answer = link
        .push(super_packet(false, 5_000, 1_448), ms(0))
        .expect("an answer");
    let ip = IpPacket::<Ipv4>::parse(answer.bytes()).expect("IPv4");
    assert_eq!(
        (ip.src().octets(), ip.dst().octets()),
        ([10, 77, 0, 2], [10, 77, 0, 1])
    );
    // Fragmentation needed, next-hop MTU 1280; it quotes the first segment.
    assert_eq!(ip.payload()[..2], [3, 4]);
    assert_eq!(ip.payload()[6..8], 1_280_u16.to_be_bytes());
    assert_eq!(ip.payload()[8..12], [0x45, 0, 5, 220]);
    assert!(verify(ip.payload()));

    let answer = link
        .push(super_packet(true, 5_000, 1_448), ms(0))
        .expect("an answer");
    let ip = IpPacket::<Ipv6>::parse(answer.bytes()).expect("IPv6");
    assert_eq!(ip.payload()[..2], [2, 0]);
    assert_eq!(ip.payload()[4..8], 1_280_u32.to_be_bytes());
    assert!(answer.bytes().len() <= 1_280);
    assert_eq!((link.stats().too_big, link.stats().delivered), (8, 0));

    let mut hole = wire("mtu=1280,too-big=silent");
    assert!(hole.push(packet(1_281, 0), ms(0)).is_none());
    assert!(hole.push(packet(1_280, 0), ms(0)).is_none());
    assert_eq!((hole.stats().too_big, drain(&mut hole).len()), (1, 1));
}

#[test]
fn an_ipv4_packet_that_may_be_cut_is() {
    let mut bytes = packet(4_000, 0).into_bytes();
    bytes[6] = 0;
    for (at, byte) in bytes[20..].iter_mut().enumerate() {
        *byte = at as u8;
    }
    let mut wire = wire("mtu=1000");
    assert!(wire.push(Frame::bare(bytes.clone()), ms(0)).is_none());
    let mut whole = Vec::new();
    let fragments = drain(&mut wire);
    for (index, (_, fragment)) in fragments.iter().enumerate() {
        let part = fragment.bytes();
        assert!(part.len() <= 1_000 && verify(&part[..20]));
        let field = u16::from_be_bytes([part[6], part[7]]);
        assert_eq!(usize::from(field & 0x1fff) * 8, whole.len());
        assert_eq!(field & 0x2000 != 0, index + 1 < fragments.len());
        whole.extend_from_slice(&part[20..]);
    }
    assert_eq!(whole, bytes[20..]);
    assert_eq!(wire.stats().fragmented, 1);
}

#[test]
fn errors_and_groups_are_not_answered() {
    let mut wire = wire("mtu=100");
    let mut error = packet(500, 0).into_bytes();
    // An ICMP error.
    (error[9], error[20]) = (1, 3);
    assert!(wire.push(Frame::bare(error), ms(0)).is_none());
    let mut group = packet(500, 0).into_bytes();
    group[16] = 224;
    assert!(wire.push(Frame::bare(group), ms(0)).is_none());
    assert_eq!(wire.stats().too_big, 2);
}
