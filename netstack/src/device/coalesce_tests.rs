use std::net::IpAddr;

use bytes::Bytes;
use packet::RxChecksum;
use packet::ip::{IpPacket, Ipv4, Ipv6};
use packet::tcp::TcpView;

use super::*;
use crate::base::DropReason;

/// Returns a packet with `payload_len` bytes that begin at `seq`, each of which is its offset in the stream.
fn packet(
    ipv6: bool,
    seq: u32,
    payload_len: usize,
    flags: TcpFlags,
    change: impl FnOnce(&mut [u8]),
) -> Bytes {
    let tcp_at = if ipv6 { IPV6_LEN } else { IPV4_LEN };
    let mut bytes = vec![0_u8; tcp_at + 32 + payload_len];
    let len = bytes.len() as u16;
    let (src, dst): (IpAddr, IpAddr) = if ipv6 {
        bytes[0] = 0x60;
        bytes[4..6].copy_from_slice(&(len - 40).to_be_bytes());
        (bytes[6], bytes[7]) = (6, 64);
        bytes[8..24].copy_from_slice(&[1; 16]);
        bytes[24..40].copy_from_slice(&[2; 16]);
        ([1; 16].into(), [2; 16].into())
    } else {
        bytes[0] = 0x45;
        bytes[2..4].copy_from_slice(&len.to_be_bytes());
        (bytes[8], bytes[9]) = (64, 6);
        bytes[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        ([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
    };
    let tcp = &mut bytes[tcp_at..];
    tcp[..4].copy_from_slice(&[0x10, 1, 0x20, 2]);
    tcp[4..8].copy_from_slice(&seq.to_be_bytes());
    (tcp[12], tcp[13]) = (0x80, flags.bits() as u8);
    tcp[14..16].copy_from_slice(&[1, 0]);
    tcp[20..24].copy_from_slice(&[1, 1, 8, 10]);
    for (at, byte) in tcp[32..].iter_mut().enumerate() {
        *byte = seq.wrapping_add(at as u32) as u8;
    }
    change(&mut bytes);
    if !ipv6 {
        bytes[10..12].copy_from_slice(&[0, 0]);
        let sum = checksum::of(&bytes[..20]).to_be_bytes();
        bytes[10..12].copy_from_slice(&sum);
    }
    let tcp = &mut bytes[tcp_at..];
    tcp[16..18].copy_from_slice(&[0, 0]);
    let mut sum = checksum::pseudo_header(src, dst, IpProto::TCP, tcp.len() as u32);
    sum.add_bytes(tcp);
    let sum = sum.finish().to_be_bytes();
    tcp[16..18].copy_from_slice(&sum);
    Bytes::from(bytes)
}

fn plain(ipv6: bool, seq: u32, payload_len: usize) -> Bytes {
    packet(ipv6, seq, payload_len, TcpFlags::ACK, |_| ())
}

fn begin(first: Bytes) -> Train<Bytes> {
    let mut train = Train::default();
    assert!(train.push(first).is_ok(), "an empty train takes any packet");
    train
}

/// Ends a train; returns its packets.
fn all(mut train: Train<Bytes>, buffers: &Buffers) -> Vec<Merged> {
    let mut all = Vec::new();
    let keep = |packet: Bytes| buffers.copy_received(&packet);
    train.finish(buffers, &Counters::new(), keep, |merged| all.push(merged));
    assert!(train.segments.is_empty());
    all
}

/// Ends a train that is one packet.
fn finish(train: Train<Bytes>) -> Merged {
    let mut all = all(train, &Buffers::new(9_000, 64, 64));
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// Returns the flags and the payload of a packet that the stack would accept.
fn accepted(merged: &Merged) -> (TcpFlags, Vec<u8>) {
    let bytes = &merged.data[..];
    let (src, dst, tcp) = match bytes[0] >> 4 {
        4 => {
            let ip = IpPacket::<Ipv4>::parse(bytes).expect("IPv4");
            (ip.src().into(), ip.dst().into(), ip.payload())
        }
        _ => {
            let ip = IpPacket::<Ipv6>::parse(bytes).expect("IPv6");
            (ip.src().into(), ip.dst().into(), ip.payload())
        }
    };
    let view = TcpView::parse(src, dst, tcp, merged.checksum).expect("TCP");
    (view.header().flags, view.payload().to_vec())
}

#[test]
fn segments_that_continue_each_other_become_one() {
    for ipv6 in [false, true] {
        let start = u32::MAX - 1_500;
        let mut train = begin(plain(ipv6, start, 1_000));
        assert!(
            train
                .push(plain(ipv6, start.wrapping_add(1_000), 1_000))
                .is_ok()
        );
        let last = packet(
            ipv6,
            start.wrapping_add(2_000),
            300,
            TcpFlags::ACK | TcpFlags::PSH,
            |_| (),
        );
        assert!(train.push(last).is_ok());
        let after = plain(ipv6, start.wrapping_add(2_300), 100);
        assert!(train.push(after).is_err(), "behind PSH and a short one");
        let merged = finish(train);
        assert_eq!(
            (merged.gso_size, merged.checksum),
            (1_000, RxChecksum::Vouched)
        );
        let (flags, payload) = accepted(&merged);
        assert_eq!(flags, TcpFlags::ACK | TcpFlags::PSH);
        let expected: Vec<u8> = (0..2_300).map(|at| start.wrapping_add(at) as u8).collect();
        assert_eq!(payload, expected);
    }
}

#[test]
fn a_packet_alone_stays_as_it_was() {
    for bytes in [
        plain(false, 1, 100),
        Bytes::from_static(b""),
        Bytes::from_static(&[0x45; 7]),
        Bytes::from_static(&[0x60; 47]),
        packet(false, 1, 0, TcpFlags::ACK, |_| ()),
    ] {
        let merged = finish(begin(bytes.clone()));
        assert_eq!((&merged.data[..], merged.gso_size), (&bytes[..], 0));
        assert_eq!(merged.checksum, RxChecksum::Unknown);
    }
}

#[test]
fn what_differs_in_more_than_its_place_is_not_merged() {
    type Change = fn(&mut [u8]);
    let ack = TcpFlags::ACK;
    let changes: [(&str, Change); 8] = [
        ("another type of service", |bytes| bytes[1] = 3),
        ("another hop limit", |bytes| bytes[8] = 63),
        ("another sender", |bytes| bytes[15] = 9),
        ("another port", |bytes| bytes[23] = 9),
        ("another acknowledgment", |bytes| bytes[31] = 9),
        ("another window", |bytes| bytes[35] = 9),
        ("another timestamp", |bytes| bytes[47] = 9),
        ("a fragment", |bytes| bytes[6] = 0x20),
    ];
    for (what, change) in changes {
        let mut train = begin(plain(false, 5, 1_000));
        let mut next = packet(false, 1_005, 1_000, ack, change).to_vec();
        if what == "another sender" {
            // Its pseudo-header has changed with it.
            let mut sum = checksum::pseudo_header(
                [10, 0, 0, 9].into(),
                [10, 0, 0, 2].into(),
                IpProto::TCP,
                1_032,
            );
            next[36..38].copy_from_slice(&[0, 0]);
            sum.add_bytes(&next[20..]);
            next[36..38].copy_from_slice(&sum.finish().to_be_bytes());
        }
        assert!(train.push(Bytes::from(next)).is_err(), "{what}");
        assert_eq!(finish(train).gso_size, 0);
    }
    for (what, seq, len, flags) in [
        ("a gap", 1_006, 1_000, ack),
        ("an overlap", 1_004, 1_000, ack),
        ("a longer one", 1_005, 1_001, ack),
        ("a FIN", 1_005, 1_000, ack | TcpFlags::FIN),
        ("a reset", 1_005, 1_000, ack | TcpFlags::RST),
        ("CWR", 1_005, 1_000, ack | TcpFlags::CWR),
        ("no ACK", 1_005, 1_000, TcpFlags::PSH),
        ("no data", 1_005, 0, ack),
    ] {
        let mut train = begin(plain(false, 5, 1_000));
        let next = packet(false, seq, len, flags, |_| ());
        assert!(train.push(next).is_err(), "{what}");
    }
}

#[test]
fn a_segment_with_a_wrong_checksum_is_left_to_the_stack() {
    for at in [1_010, 12] {
        let mut bad = plain(false, 1_005, 1_000).to_vec();
        bad[at] ^= 1;
        let mut train = begin(plain(false, 5, 1_000));
        assert!(train.push(Bytes::from(bad.clone())).is_err());
        // As the first one it is not merged with a good one, either.
        let mut train = begin(Bytes::from(bad));
        assert!(train.push(plain(false, 2_005, 1_000)).is_err());
        let alone = finish(train);
        assert_eq!((alone.checksum, alone.gso_size), (RxChecksum::Unknown, 0));
    }
}

#[test]
fn a_train_is_no_longer_than_a_packet_can_be() {
    for ipv6 in [false, true] {
        let mut train = begin(plain(ipv6, 0, 1_000));
        let mut seq = 1_000;
        while train.push(plain(ipv6, seq, 1_000)).is_ok() {
            seq += 1_000;
        }
        let merged = finish(train);
        assert!(merged.data.len() <= 65_535 && merged.data.len() > 64_000);
        assert_eq!(accepted(&merged).1.len(), seq as usize);
    }
}

#[test]
fn any_bytes_are_taken_without_a_panic() {
    let mut state = 7_u64;
    for _ in 0..20_000 {
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize
        };
        let mut one = plain(next() % 2 == 0, 5, 1 + next() % 90).to_vec();
        let len = next() % (one.len() + 1);
        one.truncate(len);
        for _ in 0..next() % 4 {
            if !one.is_empty() {
                let at = next() % one.len();
                one[at] = next() as u8;
            }
        }
        let mut train = begin(Bytes::from(one.clone()));
        let alone = train.push(Bytes::from(one)).is_err();
        assert_eq!(all(train, &Buffers::new(9_000, 64, 64)).len(), 1, "{alone}");
    }
}

#[test]
fn what_is_merged_counts_against_the_memory_of_the_stack() {
    let buffers = Buffers::with_limit(2_000, 1 << 20, 4);
    let mut train = begin(plain(false, 0, 1_000));
    for seq in [1_000, 2_000, 3_000] {
        assert!(train.push(plain(false, seq, 1_000)).is_ok());
    }
    let before = buffers.memory_use().used;
    let merged = all(train, &buffers);
    assert!(buffers.memory_use().used >= before + 4_000);
    drop(merged);
    assert_eq!(buffers.memory_use().used, before);
}

#[test]
fn without_memory_to_merge_in_segments_come_one_by_one_and_those_without_any_are_counted() {
    let mut train = begin(plain(false, 0, 1_000));
    for seq in [1_000, 2_000] {
        assert!(train.push(plain(false, seq, 1_000)).is_ok());
    }
    let few = Buffers::with_limit(2_000, 2 * 2_128, 2);
    let counters = Counters::new();
    let mut seqs = Vec::new();
    let keep = |packet: Bytes| few.copy_received(&packet);
    train.finish(&few, &counters, keep, |merged| {
        assert_eq!(merged.checksum, RxChecksum::Unknown);
        seqs.push(merged.data);
    });
    assert_eq!(seqs.len(), 2, "the reserve has two slabs");
    assert_eq!(counters.dropped(DropReason::NoReceiveBuffer), 1);
}

#[test]
fn segments_with_an_authentication_code_are_not_merged() {
    let signed = |seq| {
        packet(false, seq, 100, TcpFlags::ACK, |bytes| {
            let tcp = IPV4_LEN;
            // 16 bytes of options: the payload is 4 bytes shorter.
            bytes[tcp + 12] = 0x90;
            bytes[tcp + 20..tcp + 24].copy_from_slice(&[29, 16, 1, 1]);
            bytes[tcp + 24..tcp + 36].fill(0xaa);
        })
    };
    let mut train = begin(signed(1));
    assert!(
        train.push(signed(97)).is_err(),
        "with the same code as the first"
    );
    assert_eq!(finish(train).gso_size, 0);
}
