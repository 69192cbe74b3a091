//! Paths that lose so much that they look like black holes (RFC 4821 section 7.7), and the way back from a suspicion.

use core::time::Duration;

use super::link::{App, Impairment, Sim};
use super::rig::{ACK, Rig, plain, with_sack};
use crate::base::TcpConfig;
use crate::tcp::{PathLimits, Tcp, TcpInfo};

const MSS: u16 = 1_448;

/// Runs a stream over 20 ms, whose sender has more to send than it can; returns what TCP knows after each of `steps` seconds.
fn stream(sack: bool, seed: u64, there: Impairment, steps: u64) -> Vec<TcpInfo> {
    stream_over(sack, seed, &[(0, there)], steps)
}

/// The same over a path that changes after so many seconds each.
fn stream_over(sack: bool, seed: u64, paths: &[(u64, Impairment)], steps: u64) -> Vec<TcpInfo> {
    let there = paths.first().map_or(lossy(0), |(_, there)| *there);
    // Little is in flight, so that minutes are short.
    let cfg = TcpConfig {
        sack,
        send_buffer: 16 << 10,
        ..TcpConfig::default()
    };
    let mut quiet = App::bulk(0);
    quiet.close_last = true;
    let mut sim = Sim::new(seed, &cfg, [App::bulk(1 << 40), quiet], there);
    for end in &mut sim.ends {
        end.buffers = packet::Buffers::new(4_096, 100_000, 100_000);
    }
    sim.impair[1] = Impairment {
        delay: there.delay,
        ..Impairment::none()
    };
    sim.connect(0);
    let mut infos = Vec::new();
    let start = sim.now;
    for second in 1..=steps {
        if let Some((_, there)) = paths.iter().find(|(at, _)| at + 1 == second) {
            sim.impair[0] = *there;
        }
        while sim.now.saturating_since(start) < Duration::from_secs(second) {
            assert!(sim.step(), "stalled: {}", sim.describe());
        }
        infos.push(sim.ends[0].tcp.as_ref().map(Tcp::info).expect("open"));
    }
    infos
}

fn lossy(loss_per_million: u32) -> Impairment {
    Impairment {
        loss_per_million,
        delay: Duration::from_millis(10),
        whole_per_million: 0,
        ..Impairment::none()
    }
}

#[test]
fn loss_alone_leaves_no_small_segments_behind() {
    for sack in [false, true] {
        for seed in 1..=2 {
            let infos = stream(sack, seed, lossy(100_000), 30);
            let small = infos.iter().filter(|info| info.mss < MSS).count();
            assert!(small <= 8, "sack {sack}, seed {seed}: {small} of 30 s");
            let goodput = infos.last().map_or(0, |info| info.bytes_out) * 8 / 30;
            assert!(goodput > 400_000, "sack {sack}, seed {seed}: {goodput} b/s");
        }
    }
}

#[test]
fn a_size_that_has_arrived_is_suspected_after_four_timeouts() {
    for (proven, timeouts) in [(false, 2), (true, 4)] {
        let mut rig = Rig::established(with_sack());
        rig.max_payload = 0;
        let mut una = 1;
        if proven {
            rig.send(1_000);
            rig.out();
            rig.now = rig.now + Duration::from_millis(10);
            una = 1_001;
            rig.recv(1, una, ACK, b"");
        }
        rig.send(3_000);
        for _ in 0..1_000 {
            if rig.tcp.info().mss == 1_000 {
                rig.pass(10);
            }
        }
        assert_eq!(rig.tcp.info().mss, 512, "proven {proven}");
        assert_eq!(rig.tcp.info().timeouts, timeouts, "proven {proven}");
        rig.recv(1, una + 512, ACK, b"");
        // What may be loss is told to nobody.
        assert_eq!(rig.tcp.take_path_news(rig.now).is_some(), !proven);
    }
}

/// No probe can leave without SACK, so the former size is tried: in vain here, and less and less often.
#[test]
fn a_black_hole_without_sack_costs_few_tries() {
    let hole = Impairment {
        largest: 1_000,
        ..lossy(0)
    };
    let infos = stream(false, 1, hole, 70);
    let last = infos.last().expect("the last second");
    assert!(last.mss < 1_000, "{last:?}");
    let first = infos.first().map_or(0, |info| info.timeouts);
    // After 2, 6, 14, 30 and 62 seconds.
    let tries = last.timeouts - first;
    assert!((4..=6).contains(&tries), "{tries}");
    let small = infos.iter().filter(|info| info.mss < 1_000).count();
    assert!(small >= 65, "{small}");
}

#[test]
fn the_former_size_comes_back_without_sack_when_the_path_carries_it() {
    let hole = Impairment {
        largest: 1_000,
        ..lossy(0)
    };
    let infos = stream_over(false, 1, &[(0, hole), (5, lossy(0))], 20);
    let sizes: Vec<u16> = infos.iter().map(|info| info.mss).collect();
    assert!(
        sizes.iter().take(5).skip(1).all(|size| *size < 1_000),
        "{sizes:?}"
    );
    assert_eq!(sizes.last(), Some(&MSS), "{sizes:?}");
}

/// A try of the former size is a guess. A router knows.
#[test]
fn news_of_the_path_end_a_try() {
    let mut rig = Rig::established(plain());
    rig.max_payload = 0;
    rig.send(3_000);
    for _ in 0..1_000 {
        if rig.tcp.info().mss == 1_000 {
            rig.pass(10);
        }
    }
    assert_eq!(rig.tcp.info().mss, 512);
    let unknown = PathLimits::new(1_000, 1_000);
    rig.recv(1, 3_001, ACK, b"");
    rig.tcp.take_path_news(rig.now);
    rig.tcp.follow_path(&unknown, rig.now);
    assert_eq!(rig.tcp.info().mss, 512, "nothing is tried yet");
    rig.pass(2_100);
    rig.send(512);
    rig.out();
    rig.recv(1, 3_513, ACK, b"");
    assert_eq!(rig.tcp.info().mss, 1_000, "a try");
    rig.tcp.follow_path(&unknown, rig.now);
    assert_eq!(rig.tcp.info().mss, 1_000, "no news");
    rig.tcp.follow_path(&PathLimits::new(700, 1_000), rig.now);
    assert_eq!(rig.tcp.info().mss, 700);
    // A timeout is one of that size, and no end of a try.
    rig.send(2_000);
    rig.out();
    let before = rig.tcp.info().timeouts;
    for _ in 0..1_000 {
        if rig.tcp.info().timeouts == before {
            rig.pass(10);
        }
    }
    assert_eq!(rig.tcp.info().mss, 700);
}
