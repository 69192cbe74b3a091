//! The link applies its impairments, reproducibly, and counts them.

use std::time::Duration;

use bytes::Bytes;
use packet::checksum::{self, RxChecksum};
use packet::frame::{ChecksumOffload, SegmentKind, SegmentOffload};
use packet::{Buffers, Payload};

use super::*;
use crate::base::counters::Counter;
use crate::device::Device;

const SEED: u64 = 42;

struct Bench {
    link: Link,
    buffers: Buffers,
    counters: Counters,
}

impl Bench {
    fn new(config: LinkConfig) -> Self {
        println!("seed {}", config.seed);
        Self {
            link: Link::new(config),
            buffers: Buffers::new(70_000, 64, 64),
            counters: Counters::new(),
        }
    }

    fn harmed(a_to_b: Impairment) -> Self {
        Self::new(LinkConfig {
            a_to_b,
            seed: SEED,
            ..LinkConfig::default()
        })
    }

    /// Sends packets numbered from zero, `gap` apart, and returns what arrives when.
    fn run(&mut self, count: u32, len: usize, gap: Duration) -> Vec<(Instant, Vec<u8>)> {
        let mut arrived = Vec::new();
        let mut now = Instant::ZERO;
        for number in 0..count {
            self.drain(now, &mut arrived);
            self.link
                .send(End::A, &numbered(number, len), now, &self.counters);
            now = now + gap;
        }
        self.drain(Instant::FAR_FUTURE, &mut arrived);
        arrived
    }

    fn drain(&mut self, until: Instant, arrived: &mut Vec<(Instant, Vec<u8>)>) {
        while let Some(at) = self.link.next_delivery_at(End::B).filter(|at| *at <= until) {
            let packet = self
                .link
                .recv(End::B, at, &self.buffers, &self.counters)
                .expect("what is due is there");
            assert_eq!(packet.arrived_nanos, at.as_nanos());
            arrived.push((at, packet.data.to_vec()));
        }
    }
}

fn packet_of(bytes: Vec<u8>) -> TxPacket {
    TxPacket {
        payload: Payload::from(Bytes::from(bytes)).into(),
        ..TxPacket::default()
    }
}

fn numbered(number: u32, len: usize) -> TxPacket {
    let mut bytes = vec![0; len.max(4)];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    packet_of(bytes)
}

fn numbers(arrived: &[(Instant, Vec<u8>)]) -> Vec<u32> {
    let number = |bytes: &Vec<u8>| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    arrived.iter().map(|(_, bytes)| number(bytes)).collect()
}

#[test]
fn a_perfect_link_delivers_at_once_and_in_order() {
    let mut bench = Bench::harmed(Impairment::default());
    let arrived = bench.run(1000, 100, Duration::ZERO);
    assert_eq!(numbers(&arrived), (0..1000).collect::<Vec<_>>());
    assert!(arrived.iter().all(|(at, _)| *at == Instant::ZERO));
    assert_eq!(bench.link.next_delivery(), None);
    assert_eq!(bench.counters.count(Counter::PacketsOut), 1000);
    assert_eq!(bench.counters.count(Counter::PacketsIn), 1000);
    assert_eq!(bench.counters.count(Counter::BytesIn), 100_000);
}

#[test]
fn the_same_seed_gives_the_same_packets_at_the_same_times() {
    let harm = Impairment {
        loss_ppm: 100_000,
        duplicate_ppm: 50_000,
        reorder_ppm: 100_000,
        reorder_by: Duration::from_millis(3),
        corrupt_ppm: 50_000,
        delay: Duration::from_millis(10),
        jitter: Duration::from_millis(5),
        bytes_per_second: Some(1_000_000),
        queue_bytes: Some(20_000),
        ..Impairment::default()
    };
    let run = |seed| {
        let mut bench = Bench::new(LinkConfig {
            a_to_b: harm.clone(),
            seed,
            ..LinkConfig::default()
        });
        let arrived = bench.run(500, 500, Duration::from_micros(300));
        (arrived, bench.link.stats(End::A))
    };
    let (first, second, other) = (run(SEED), run(SEED), run(SEED + 1));
    assert!(first == second);
    assert!(first != other);
    let stats = first.1;
    for count in [
        stats.lost,
        stats.duplicated,
        stats.reordered,
        stats.corrupted,
        stats.tail_dropped,
    ] {
        assert!(count > 0, "{stats:?}");
    }
    let gone = stats.lost + stats.tail_dropped;
    assert_eq!(stats.delivered, stats.sent - gone + stats.duplicated);
}

#[test]
fn losses_and_duplicates_are_as_frequent_as_asked_for() {
    let mut bench = Bench::harmed(Impairment {
        loss_ppm: 200_000,
        duplicate_ppm: 100_000,
        ..Impairment::default()
    });
    let arrived = bench.run(10_000, 4, Duration::ZERO);
    let stats = bench.link.stats(End::A);
    assert!((1_800..2_200).contains(&stats.lost), "{stats:?}");
    assert!((700..900).contains(&stats.duplicated), "{stats:?}");
    assert_eq!(arrived.len() as u64, 10_000 - stats.lost + stats.duplicated);
    assert!(numbers(&arrived).is_sorted(), "neither reorders");
}

#[test]
fn losses_come_in_bursts_when_asked_for() {
    let harm = |burst| Impairment {
        loss_ppm: 20_000,
        loss_burst_ppm: burst,
        ..Impairment::default()
    };
    let lost = |burst| {
        let mut bench = Bench::harmed(harm(burst));
        bench.run(10_000, 4, Duration::ZERO);
        bench.link.stats(End::A).lost
    };
    // One in fifty starts a burst of five on average.
    let (single, bursts) = (lost(0), lost(800_000));
    assert!((150..260).contains(&single), "{single}");
    assert!((700..1300).contains(&bursts), "{bursts}");
}

#[test]
fn jitter_delays_without_reordering_and_reordering_reorders() {
    let delay = Duration::from_millis(20);
    let jitter = Duration::from_millis(10);
    let gap = Duration::from_micros(100);
    let mut bench = Bench::harmed(Impairment {
        delay,
        jitter,
        ..Impairment::default()
    });
    let arrived = bench.run(1000, 100, gap);
    assert_eq!(numbers(&arrived), (0..1000).collect::<Vec<_>>());
    for ((at, _), number) in arrived.iter().zip(0_u32..) {
        let took = at.saturating_since(Instant::ZERO + gap * number);
        assert!(took >= delay && took <= delay + jitter, "{took:?}");
    }

    let mut bench = Bench::harmed(Impairment {
        delay,
        reorder_ppm: 100_000,
        reorder_by: Duration::from_millis(1),
        ..Impairment::default()
    });
    let mut order = numbers(&bench.run(1000, 100, gap));
    assert!(!order.is_sorted());
    order.sort_unstable();
    assert_eq!(order, (0..1000).collect::<Vec<_>>(), "nothing is lost");
}

#[test]
fn the_rate_spaces_packets_and_the_queue_has_an_end() {
    let mut bench = Bench::harmed(Impairment {
        bytes_per_second: Some(1_000_000),
        queue_bytes: Some(10_000),
        ..Impairment::default()
    });
    // A thousand bytes take a millisecond; ten packets wait, one is on the wire as soon as it comes.
    let arrived = bench.run(50, 1000, Duration::ZERO);
    assert_eq!(numbers(&arrived), (0..10).collect::<Vec<_>>());
    for ((at, _), number) in arrived.iter().zip(1..) {
        assert_eq!(*at, Instant::from_millis(number));
    }
    assert_eq!(bench.link.stats(End::A).tail_dropped, 40);
}

#[test]
fn a_corrupted_packet_differs_in_one_bit() {
    let mut bench = Bench::harmed(Impairment {
        corrupt_ppm: 1_000_000,
        ..Impairment::default()
    });
    bench.link.send(
        End::A,
        &packet_of(vec![0; 64]),
        Instant::ZERO,
        &bench.counters,
    );
    let packet = bench
        .link
        .recv(End::B, Instant::ZERO, &bench.buffers, &bench.counters)
        .expect("arrives");
    let flipped: u32 = packet.data.iter().map(|byte| byte.count_ones()).sum();
    assert_eq!(flipped, 1);
}

#[test]
fn super_segments_pass_whole_with_a_checksum_that_holds() {
    for (vouch, expected) in [(true, RxChecksum::Vouched), (false, RxChecksum::Unknown)] {
        let mut bench = Bench::new(LinkConfig {
            tso: true,
            tx_checksum: true,
            vouch,
            ..LinkConfig::default()
        });
        let mut bytes: Vec<u8> = (0..60_000_u32).map(|i| i as u8).collect();
        bytes[36..38].fill(0);
        let mut packet = packet_of(bytes);
        packet.offload.checksum = Some(ChecksumOffload {
            start: 20,
            offset: 16,
        });
        packet.offload.segment = Some(SegmentOffload {
            kind: SegmentKind::Tcp4,
            size: 1448,
            header_len: 52,
        });
        bench
            .link
            .send(End::B, &packet, Instant::ZERO, &bench.counters);
        let got = bench
            .link
            .recv(End::A, Instant::ZERO, &bench.buffers, &bench.counters)
            .expect("arrives");
        assert_eq!((got.data.len(), got.gso_size), (60_000, 1448));
        assert_eq!(got.checksum, expected);
        assert!(checksum::verify(&got.data[20..]));

        // Segments, and packets that are none, must fit the link.
        let mut long = packet_of(vec![0; 1501]);
        bench
            .link
            .send(End::B, &long, Instant::ZERO, &bench.counters);
        assert_eq!(bench.counters.dropped(DropReason::TooBig), 1);
        packet.offload.segment.as_mut().expect("is one").size = 1449;
        bench
            .link
            .send(End::B, &packet, Instant::ZERO, &bench.counters);
        assert_eq!(bench.counters.dropped(DropReason::TooBig), 2);
        long.offload.checksum = Some(ChecksumOffload {
            start: 2000,
            offset: 0,
        });
        long.payload = Payload::from(Bytes::from_static(b"short")).into();
        bench
            .link
            .send(End::B, &long, Instant::ZERO, &bench.counters);
        assert_eq!(bench.counters.dropped(DropReason::TransmitFailed), 1);
        assert_eq!(bench.link.next_delivery(), None);
    }
}

#[test]
fn a_receiver_without_buffers_loses_packets_and_counts_them() {
    let mut bench = Bench::harmed(Impairment::default());
    bench.buffers = Buffers::new(2048, 0, 2);
    for number in 0..5 {
        bench.link.send(
            End::A,
            &numbered(number, 10),
            Instant::ZERO,
            &bench.counters,
        );
    }
    let held: Vec<_> = std::iter::from_fn(|| {
        bench
            .link
            .recv(End::B, Instant::ZERO, &bench.buffers, &bench.counters)
    })
    .collect();
    assert_eq!(held.len(), 2);
    assert_eq!(bench.counters.dropped(DropReason::NoReceiveBuffer), 3);
}

#[test]
fn impairments_change_on_the_way() {
    let mut bench = Bench::harmed(Impairment::default());
    assert_eq!(bench.run(10, 10, Duration::ZERO).len(), 10);
    let black_hole = Impairment {
        loss_ppm: 1_000_000,
        ..Impairment::default()
    };
    bench.link.set_impairment(End::A, black_hole);
    assert_eq!(bench.run(10, 10, Duration::ZERO).len(), 0);
    assert_eq!(bench.link.stats(End::A).lost, 10);
    assert_eq!(bench.link.stats(End::B), WireStats::default());
}

#[test]
fn two_threads_play_ping_pong_over_a_pair() {
    const ROUNDS: u32 = 2_000;
    let (a, b) = pair(&LinkConfig::default());
    // Each answers with the number it got, plus one; the first to see the last number ends.
    fn play(mut device: super::LinkDevice, serve: bool) -> u32 {
        let buffers = Buffers::new(2048, 16, 16);
        let counters = Counters::new();
        let send = |device: &mut super::LinkDevice, number| {
            let mut batch = vec![numbered(number, 60)];
            device.send_batch(&mut batch, &counters).expect("send");
            assert!(batch.is_empty());
        };
        if serve {
            send(&mut device, 0);
        }
        let mut received = Vec::new();
        loop {
            device
                .recv_batch(&mut received, 16, &buffers, Instant::ZERO, &counters)
                .expect("receive");
            for packet in received.drain(..) {
                let number = u32::from_be_bytes([
                    packet.data[0],
                    packet.data[1],
                    packet.data[2],
                    packet.data[3],
                ]);
                send(&mut device, number + 1);
                if number + 2 >= ROUNDS {
                    return number;
                }
            }
            device.park(Some(Duration::from_secs(60))).expect("park");
        }
    }
    let other = std::thread::spawn(move || play(b, false));
    let last = play(a, true).max(other.join().expect("the other side"));
    assert_eq!(last, ROUNDS - 1);
}

#[test]
fn a_pair_delays_by_the_receivers_clock() {
    let (mut a, mut b) = pair(&LinkConfig {
        a_to_b: Impairment {
            delay: Duration::from_millis(5),
            ..Impairment::default()
        },
        ..LinkConfig::default()
    });
    let buffers = Buffers::new(2048, 16, 16);
    let counters = Counters::new();
    let mut out = Vec::new();
    a.send_batch(&mut vec![numbered(0, 10)], &counters)
        .expect("send");
    assert_eq!(b.next_delivery(), Some(Instant::ZERO));
    let start = Instant::from_millis(100);
    for (at, count) in [
        (start, 0),
        (Instant::from_millis(104), 0),
        (Instant::from_millis(105), 1),
    ] {
        let got = b
            .recv_batch(&mut out, 16, &buffers, at, &counters)
            .expect("receive");
        assert_eq!(got, count, "{at:?}");
    }
    assert_eq!(out[0].arrived_nanos, Instant::from_millis(105).as_nanos());
    assert_eq!(b.next_delivery(), None);
    assert_eq!(b.stats().delivered, 1);
}

#[test]
fn whatever_the_link_is_like_every_packet_is_accounted_for() {
    for seed in 0..300 {
        println!("seed {seed}");
        let mut rng = Rng::from_u64(seed);
        let mut ppm = || {
            if rng.chance(500_000) {
                0
            } else {
                rng.below(300_000)
            }
        };
        let mut harm = Impairment {
            loss_ppm: ppm(),
            loss_burst_ppm: ppm(),
            duplicate_ppm: ppm(),
            reorder_ppm: ppm(),
            corrupt_ppm: ppm(),
            ..Impairment::default()
        };
        harm.delay = Duration::from_micros(rng.below(50_000).into());
        harm.jitter = Duration::from_micros(rng.below(50_000).into());
        harm.reorder_by = Duration::from_micros(rng.below(50_000).into());
        harm.bytes_per_second = rng.chance(500_000).then(|| rng.below(10_000_000).into());
        harm.queue_bytes = rng.chance(500_000).then(|| rng.below(100_000).into());
        let mut bench = Bench::new(LinkConfig {
            a_to_b: harm.clone(),
            seed,
            ..LinkConfig::default()
        });
        let arrived = bench.run(200, 300, Duration::from_micros(rng.below(2_000).into()));
        let stats = bench.link.stats(End::A);
        assert_eq!(stats.sent, 200);
        assert_eq!(stats.delivered, arrived.len() as u64);
        let gone = stats.lost + stats.tail_dropped;
        assert_eq!(
            stats.delivered,
            200 - gone + stats.duplicated,
            "{harm:?} {stats:?}"
        );
        assert!(arrived.is_sorted_by_key(|(at, _)| *at), "time runs forward");
        assert_eq!(bench.link.next_delivery(), None);
    }
}
