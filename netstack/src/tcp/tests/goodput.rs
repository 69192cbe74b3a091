//! The speed of a stream over links that lose, reorder and delay: on virtual time, so the numbers are
//! the algorithm's own and the same on every machine.

use core::time::Duration;

use super::link::{App, Impairment, Sim};
use crate::base::TcpConfig;
use crate::tcp::{Algorithm, Tcp};

struct Run {
    megabits_per_second: f64,
    timeouts: u32,
    recoveries: u32,
    retransmits: u32,
    undone: u32,
}

fn run(seed: u64, cfg: &TcpConfig, algorithm: Algorithm, bytes: u64, impair: Impairment) -> Run {
    let mut quiet = App::bulk(0);
    quiet.close_last = true;
    let mut sim = Sim::new(seed, cfg, [App::bulk(bytes), quiet], impair);
    // Wire segments, so small slabs; and never too few of them.
    for e in &mut sim.ends {
        e.buffers = packet::Buffers::new(4_096, 100_000, 100_000);
    }
    // Acknowledgments arrive: only what the sender does is measured.
    sim.impair[1] = Impairment {
        delay: impair.delay,
        ..Impairment::none()
    };
    sim.connect(0);
    if let Some(tcp) = &mut sim.ends[0].tcp {
        tcp.set_congestion(algorithm);
    }
    let start = sim.now;
    while sim.ends[1].read < bytes {
        assert!(
            sim.step() || sim.ends[1].read == bytes,
            "{}",
            sim.describe()
        );
        assert!(sim.now.saturating_since(start) < Duration::from_secs(3_600));
    }
    let seconds = sim.now.saturating_since(start).as_secs_f64();
    let info = sim.ends[0].tcp.as_ref().map(Tcp::info).expect("tcp");
    Run {
        megabits_per_second: bytes as f64 * 8.0 / 1e6 / seconds,
        timeouts: info.timeouts,
        recoveries: info.recoveries,
        retransmits: info.retransmits,
        undone: info.undone,
    }
}

fn lossy(loss_per_million: u32) -> Impairment {
    Impairment {
        loss_per_million,
        delay: Duration::from_millis(10),
        // Every wire segment has its own fate.
        whole_per_million: 0,
        ..Impairment::none()
    }
}

/// Goodput over a few seeds, and all timeouts.
fn mean(cfg: &TcpConfig, algorithm: Algorithm, bytes: u64, impair: Impairment) -> (f64, u32) {
    let runs: Vec<Run> = (1..=4)
        .map(|seed| run(seed, cfg, algorithm, bytes, impair))
        .collect();
    let sum: f64 = runs.iter().map(|r| r.megabits_per_second).sum();
    (
        sum / runs.len() as f64,
        runs.iter().map(|r| r.timeouts).sum(),
    )
}

/// Returns the best rate of AIMD (Mathis et al.): MSS / RTT · 1.22 / √p, in Mb/s.
fn mathis(loss_per_million: u32) -> f64 {
    let p = f64::from(loss_per_million) / 1e6;
    1_448.0 * 8.0 / 0.020 * 1.22 / p.sqrt() / 1e6
}

#[test]
fn loss_costs_no_more_than_it_must() {
    for algorithm in [Algorithm::CUBIC, Algorithm::NEW_RENO] {
        for loss in [1_000, 10_000, 30_000] {
            let (rate, timeouts) = mean(&TcpConfig::default(), algorithm, 3 << 20, lossy(loss));
            let best = mathis(loss);
            assert!(rate > best / 2.0, "{algorithm:?} {loss}: {rate} of {best}");
            assert!(timeouts <= 2, "{algorithm:?} {loss}: {timeouts} timeouts");
        }
    }
}

#[test]
fn loss_without_sack_still_moves() {
    let cfg = TcpConfig {
        sack: false,
        ..TcpConfig::default()
    };
    let (rate, timeouts) = mean(&cfg, Algorithm::NEW_RENO, 3 << 20, lossy(10_000));
    assert!(rate > mathis(10_000) / 3.0, "{rate}");
    assert!(timeouts <= 8, "{timeouts}");
}

#[test]
fn a_clean_path_is_filled_by_slow_start_alone() {
    let r = run(
        1,
        &TcpConfig::default(),
        Algorithm::CUBIC,
        20 << 20,
        lossy(0),
    );
    assert_eq!((r.timeouts, r.recoveries, r.retransmits), (0, 0, 0));
    // 2 MiB of send buffer in 20 ms.
    assert!(r.megabits_per_second > 250.0, "{}", r.megabits_per_second);
}

#[test]
fn reordering_is_not_taken_for_congestion() {
    let reordering = Impairment {
        reorder_per_million: 100_000,
        reorder_by: Duration::from_millis(3),
        ..lossy(0)
    };
    let cfg = TcpConfig::default();
    let (rate, timeouts) = mean(&cfg, Algorithm::CUBIC, 10 << 20, reordering);
    assert!(rate > 100.0, "{rate}");
    assert_eq!(timeouts, 0);
}

#[test]
#[ignore = "a table, run by hand"]
fn table() {
    for sack in [true, false] {
        for algorithm in [Algorithm::CUBIC, Algorithm::NEW_RENO] {
            for loss in [0, 100, 1_000, 10_000, 30_000, 100_000] {
                let cfg = TcpConfig {
                    sack,
                    ..TcpConfig::default()
                };
                let bytes = if loss < 10_000 { 20 << 20 } else { 4 << 20 };
                let r = run(7, &cfg, algorithm, bytes, lossy(loss));
                println!(
                    "sack {sack} {algorithm:?} loss {:.2} %: {:.1} Mb/s, {} timeouts, {} recoveries, {} resent",
                    f64::from(loss) / 10_000.0,
                    r.megabits_per_second,
                    r.timeouts,
                    r.recoveries,
                    r.retransmits
                );
            }
        }
    }
    for by in [1, 3, 10, 30] {
        let impair = Impairment {
            reorder_per_million: 100_000,
            reorder_by: Duration::from_millis(by),
            ..lossy(0)
        };
        let r = run(7, &TcpConfig::default(), Algorithm::CUBIC, 20 << 20, impair);
        println!(
            "reordering by up to {by} ms: {:.1} Mb/s, {} timeouts, {} recoveries, {} resent, {} undone",
            r.megabits_per_second, r.timeouts, r.recoveries, r.retransmits, r.undone
        );
    }
}
