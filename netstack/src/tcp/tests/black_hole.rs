//! Paths that drop large segments without a report (RFC 4821 section 7.7), on virtual time.

use core::time::Duration;

use super::link::{App, Impairment, Sim};
use super::rig::{ACK, Rig, plain, with_sack};
use crate::base::{MtuProbing, TcpConfig};
use crate::tcp::{Event, MssChange, PathLimits, Tcp};

/// The longest that data may take from the first byte sent to the first byte received.
const CARRIED_WITHIN: Duration = Duration::from_secs(3);

/// A path with this delay in each direction that carries segments of `largest` bytes.
fn hole(largest: usize, delay: Duration) -> Impairment {
    Impairment {
        delay,
        largest,
        whole_per_million: 0,
        ..Impairment::none()
    }
}

/// Starts a stream of `bytes` over a path whose way there has a hole.
fn stream(cfg: &TcpConfig, bytes: u64, there: Impairment) -> Sim {
    let mut quiet = App::bulk(0);
    quiet.close_last = true;
    let busy = App {
        write_max: 8_192,
        ..App::bulk(bytes)
    };
    let mut sim = Sim::new(11, cfg, [busy, quiet], there);
    for end in &mut sim.ends {
        end.buffers = packet::Buffers::new(4_096, 100_000, 100_000);
    }
    sim.impair[1] = Impairment {
        delay: there.delay,
        ..Impairment::none()
    };
    sim.connect(0);
    sim
}

fn sender(sim: &Sim) -> &Tcp {
    sim.ends[0].tcp.as_ref().expect("open")
}

/// Runs until `bytes` have arrived; returns the time since the first was sent.
fn run_until(sim: &mut Sim, bytes: u64) -> Duration {
    let mut began = None;
    while sim.ends[1].read < bytes {
        assert!(sim.step(), "stalled: {}", sim.describe());
        if sender(sim).info().in_flight > 0 {
            began.get_or_insert(sim.now);
        }
        let limit = Duration::from_secs(300);
        assert!(sim.now.saturating_since(began.unwrap_or(sim.now)) < limit);
    }
    sim.now.saturating_since(began.expect("sent"))
}

#[test]
fn rfc4821_7_7_a_black_hole_carries_data_within_three_seconds() {
    // A path that swallows packets of so many bytes and more.
    for swallowed in [1_500, 1_492, 1_280, 1_100, 600, 576] {
        for delay_millis in [0, 1, 10, 50, 100, 150, 200] {
            let delay = Duration::from_micros(50 + delay_millis * 1_000);
            let path = hole(swallowed - 1 - 40, delay);
            let mut sim = stream(&TcpConfig::default(), 50_000, path);
            let first = run_until(&mut sim, 1);
            assert!(
                first < CARRIED_WITHIN,
                "{swallowed} bytes, {delay_millis} ms each way: {first:?}"
            );
            sim.run(Duration::from_secs(300));
        }
    }
}

#[test]
fn without_probing_a_black_hole_carries_nothing() {
    let cfg = TcpConfig {
        mtu_probing: MtuProbing::Off,
        ..TcpConfig::default()
    };
    let mut sim = stream(&cfg, 50_000, hole(1_239, Duration::from_millis(1)));
    while sim.now.as_millis() < 60_000 {
        assert!(sim.step());
    }
    assert_eq!(sim.ends[1].read, 0);
}

#[test]
fn the_largest_size_that_arrives_is_found_with_segmentation_offload_and_without() {
    // Both windows are small: so is the time that a lost probe costs, and that of the test.
    let cfg = TcpConfig {
        send_buffer: 128 << 10,
        recv_buffer_initial: 32 << 10,
        recv_buffer_max: 32 << 10,
        ..TcpConfig::default()
    };
    for (largest, max_payload) in [
        (1_459, 65_000),
        (1_400, 1_448),
        (1_239, 65_000),
        (1_031, 1_448),
        (900, 65_000),
        (559, 1_448),
        (535, 65_000),
    ] {
        let path = hole(largest, Duration::from_millis(50));
        let mut sim = stream(&cfg, 400 << 20, path);
        sim.ends[0].max_payload = max_payload;
        let mut pass = |seconds| {
            let end = sim.now + Duration::from_secs(seconds);
            while sim.now < end {
                assert!(sim.step());
            }
            sender(&sim).info()
        };
        let found = pass(80);
        let mss = usize::from(found.mss) + 12;
        assert!(
            (largest - 7..=largest).contains(&mss),
            "{mss} of {largest}, super-segments of {max_payload}"
        );
        assert_eq!(found.recoveries, 0, "no probe was taken for congestion");
        // It has found the end: nothing is lost any more.
        assert_eq!(pass(20).retransmits, found.retransmits, "{largest}");
    }
}

/// Returns the sizes of the segments that are sent in `seconds`, each once, in order, on a path that carries nothing.
fn sizes_into_nothing(rig: &mut Rig, seconds: u64) -> Vec<usize> {
    let mut sizes: Vec<usize> = rig
        .pass(seconds * 1_000)
        .into_iter()
        .map(|sent| sent.len)
        .collect();
    sizes.dedup();
    sizes
}

#[test]
fn rfc4821_7_7_each_further_timeout_makes_segments_smaller_down_to_the_floor() {
    let mut rig = Rig::established(with_sack());
    rig.max_payload = 0;
    rig.send(1_000);
    assert_eq!(
        sizes_into_nothing(&mut rig, 120),
        [1_000, 512, 256, 128, 88]
    );
    assert_eq!(rig.tcp.take_path_news(rig.now), None, "not confirmed");
    let holes: Vec<u16> = rig
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::MssChanged {
                mss,
                reason: MssChange::BlackHole,
            } => Some(mss),
            _ => None,
        })
        .collect();
    assert_eq!(holes, [512, 256, 128, 88]);
}

#[test]
fn ipv6_stays_at_packets_of_1280_bytes() {
    let mut rig = Rig::established(with_sack());
    rig.max_payload = 0;
    rig.tcp.follow_path(
        &PathLimits {
            floor: 900,
            ..PathLimits::new(1_000, 1_000)
        },
        rig.now,
    );
    rig.send(1_000);
    assert_eq!(sizes_into_nothing(&mut rig, 120), [1_000, 900]);
}

#[test]
fn a_segment_that_is_not_full_may_be_too_large_as_well() {
    let mut rig = Rig::established(with_sack());
    rig.send(600);
    assert_eq!(sizes_into_nothing(&mut rig, 5), [600, 512]);
}

#[test]
fn small_segments_make_no_path_suspicious() {
    let mut rig = Rig::established(with_sack());
    rig.send(400);
    assert_eq!(sizes_into_nothing(&mut rig, 120), [400]);
    assert_eq!(rig.tcp.info().mss, 1_000);
}

#[test]
fn the_second_timeout_makes_a_path_suspicious_and_progress_confirms_it() {
    let mut rig = Rig::established(with_sack());
    rig.max_payload = 0;
    rig.send(3_000);
    let sent = rig.pass(300);
    assert_eq!(rig.tcp.info().timeouts, 1);
    assert!(sent.iter().all(|sent| sent.len == 1_000), "{sent:?}");
    let sent = rig.pass(400);
    assert_eq!(rig.tcp.info().timeouts, 2);
    assert_eq!(sent.last().map(|sent| sent.len), Some(512));
    assert_eq!(rig.tcp.take_path_news(rig.now), None);
    rig.recv(1, 513, ACK, b"");
    let news = rig.tcp.take_path_news(rig.now).expect("confirmed");
    assert_eq!((news.mss, news.ceiling), (512, None));
    let mut again = rig.payloads();
    for acked in [1_025, 1_537, 2_049, 2_561, 3_001] {
        rig.recv(1, acked, ACK, b"");
        again.extend(rig.payloads());
    }
    assert!(again.iter().all(|sent| sent.len <= 512), "{again:?}");
    assert_eq!(rig.tcp.unacked(), 0);
}

#[test]
fn segments_of_the_same_size_that_arrive_clear_the_path() {
    let mut rig = Rig::established(with_sack());
    rig.max_payload = 0;
    rig.send(5_000);
    rig.out();
    rig.now = rig.now + Duration::from_millis(10);
    rig.recv_sack(1, &[(2_001, 3_001)]);
    // The first segment never arrives, however often it is sent.
    rig.pass(2_000);
    assert!(rig.tcp.info().timeouts >= 2);
    assert_eq!(rig.tcp.info().mss, 1_000);
}

#[test]
fn a_spurious_suspicion_is_taken_back() {
    let cfg = TcpConfig {
        timestamps: true,
        ..with_sack()
    };
    let mut rig = Rig::established(cfg);
    rig.max_payload = 0;
    rig.send(4_000);
    let sent_at = rig.our_ts();
    rig.pass(700);
    let info = rig.tcp.info();
    assert_eq!((info.timeouts, info.mss), (2, 512 - 12));
    // The acknowledgment of what was sent first was only late.
    let mut late = rig.segment(1, 989, ACK, b"");
    late.options.timestamps = late.options.timestamps.map(|mut ts| {
        ts.ecr = sent_at;
        ts
    });
    rig.give(late);
    assert_eq!(rig.tcp.info().mss, 1_000 - 12);
    assert_eq!(rig.tcp.take_path_news(rig.now), None);
    let restored = Event::MssChanged {
        mss: 1_000 - 12,
        reason: MssChange::Spurious,
    };
    assert!(rig.events().contains(&restored));
}

#[test]
fn what_others_find_and_what_is_found_here_go_together() {
    let mut rig = Rig::established(plain());
    rig.max_payload = 0;
    rig.send(2_000);
    rig.pass(700);
    assert_eq!(rig.tcp.info().mss, 512);
    // The cache may forget it: this connection does not.
    let unknown = PathLimits::new(1_000, 1_000);
    rig.tcp.follow_path(&unknown, rig.now);
    assert_eq!(rig.tcp.info().mss, 512);
    rig.tcp.follow_path(&PathLimits::new(400, 1_000), rig.now);
    assert_eq!(rig.tcp.info().mss, 400);
}
