//! A part of the grid of `examples/tcpgrid`, with what each cell must reach. Everything runs on virtual time, so
//! the numbers are the same on every machine.

#[path = "../examples/tcpgrid/cell.rs"]
mod cell;

use std::time::Duration;

use cell::{Bottleneck, Outcome, Path};
use netstack::base::Config;

const MIB: u64 = 1 << 20;

fn run(path: &Path, most_bytes: u64) -> Outcome {
    let time = Duration::from_secs(30);
    cell::run(path, &Config::default(), 1, time, most_bytes)
}

fn lossy(micros: u64, loss_ppm: u32) -> Path {
    Path {
        loss_ppm,
        ..Path::clean(Duration::from_micros(micros))
    }
}

/// Returns the goodput as a share of what the loss leaves to CUBIC.
fn share(path: &Path, outcome: &Outcome) -> f64 {
    outcome.megabits_per_second / path.bound(2.0 * MIB as f64)
}

#[test]
fn the_same_seed_gives_the_same_numbers() {
    let path = lossy(20_000, 10_000);
    let (first, second) = (run(&path, MIB), run(&path, MIB));
    assert_eq!(first.megabits_per_second, second.megabits_per_second);
    assert_eq!(first.info, second.info);
}

#[test]
fn a_lossy_path_gives_what_congestion_control_leaves() {
    for micros in [100, 1_000, 20_000, 100_000] {
        for (loss_ppm, least) in [(1_000, 0.8), (10_000, 0.8), (30_000, 0.4)] {
            let path = lossy(micros, loss_ppm);
            let outcome = run(&path, 8 * MIB);
            let share = share(&path, &outcome);
            assert!(share > least, "{micros} µs, {loss_ppm} ppm: {share:.2}");
            let timeouts = outcome.info.timeouts;
            assert!(
                timeouts <= loss_ppm / 10_000,
                "{micros} µs, {loss_ppm} ppm: {timeouts}"
            );
        }
    }
}

#[test]
fn lost_super_segments_on_a_short_path_need_no_timeout() {
    let path = Path {
        tso: true,
        ..lossy(100, 10_000)
    };
    let outcome = run(&path, 32 * MIB);
    assert_eq!(outcome.info.timeouts, 0);
    let pause = outcome.longest_pause;
    assert!(pause < Duration::from_millis(10), "{pause:?}");
    assert!(outcome.megabits_per_second > 1_000.0);
}

#[test]
fn reordering_by_a_quarter_of_the_round_trip_costs_little() {
    for micros in [1_000, 20_000] {
        let path = Path {
            reorder_ppm: 10_000,
            reorder_by: Duration::from_micros(micros / 4),
            ..lossy(micros, 0)
        };
        let clean = run(&lossy(micros, 0), 32 * MIB);
        let outcome = run(&path, 32 * MIB);
        let share = outcome.megabits_per_second / clean.megabits_per_second;
        assert!(share > 0.5, "{micros} µs: {share:.2} of a clean path");
        assert_eq!(outcome.info.timeouts, 0);
    }
}

#[test]
fn a_bottleneck_is_filled() {
    for (bits_per_second, queue_tenths) in [(10_000_000, 10), (10_000_000, 40), (100_000_000, 10)] {
        let path = Path {
            bottleneck: Some(Bottleneck {
                bits_per_second,
                queue_tenths,
            }),
            ..lossy(20_000, 0)
        };
        let outcome = run(&path, 16 * MIB);
        let share = share(&path, &outcome);
        assert!(
            share > 0.85,
            "{bits_per_second} b/s, queue {queue_tenths}: {share:.2}"
        );
        assert_eq!(outcome.info.timeouts, 0);
    }
}
