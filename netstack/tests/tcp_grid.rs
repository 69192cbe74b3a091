//! A part of the grid of `examples/tcpgrid`, with what each cell must reach. Everything runs on virtual time, so
//! the numbers are the same on every machine.

#[path = "../examples/tcpgrid/cell.rs"]
mod cell;
#[path = "../examples/tcpgrid/share.rs"]
mod share;

use std::net::SocketAddr;
use std::time::Duration;

use cell::{Bottleneck, Outcome, Path, peer};
use netstack::base::{Config, Instant};
use netstack::device::memory;
use netstack::engine::sim::Simulation;
use netstack::net::{TcpListener, TcpStream};
use netstack::tcp::Algorithm;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

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
fn the_receive_buffer_has_room_for_what_waits_behind_gaps() {
    let path = Path {
        reorder_ppm: 100_000,
        reorder_by: Duration::from_millis(20),
        ..lossy(20_000, 0)
    };
    let rate = run(&path, 32 * MIB).megabits_per_second;
    assert!(rate > 280.0, "{rate:.1} Mb/s");
}

#[test]
fn reordering_costs_little_of_a_bottleneck() {
    for (reorder_ppm, late_millis) in [(10_000, 5), (10_000, 20), (100_000, 5), (100_000, 20)] {
        let path = Path {
            reorder_ppm,
            reorder_by: Duration::from_millis(late_millis),
            bottleneck: Some(Bottleneck {
                bits_per_second: 100_000_000,
                queue_tenths: 10,
            }),
            ..lossy(20_000, 0)
        };
        for seed in 1..=3 {
            let time = Duration::from_secs(3);
            let outcome = cell::run(&path, &Config::default(), seed, time, 256 * MIB);
            let rate = outcome.megabits_per_second;
            let cell = format!("{reorder_ppm} ppm late by {late_millis} ms, seed {seed}");
            assert!(rate > 85.0, "{cell}: {rate:.1} Mb/s");
            assert_eq!(outcome.info.timeouts, 0, "{cell}");
            let resent = outcome.info.retransmits;
            assert!(resent < 100, "{cell}: {resent} segments sent again");
        }
    }
}

#[test]
fn slow_start_overflows_no_queue_of_one_bandwidth_delay_product() {
    for algorithm in [Algorithm::CUBIC, Algorithm::NEW_RENO] {
        let mut config = Config::default();
        config.tcp.congestion = algorithm;
        for (bits_per_second, rtt) in [(10, 20), (100, 20), (1_000, 20), (20, 100), (100, 100)] {
            let path = Path {
                bottleneck: Some(Bottleneck {
                    bits_per_second: bits_per_second * 1_000_000,
                    queue_tenths: 10,
                }),
                ..lossy(rtt * 1_000, 0)
            };
            let outcome = cell::run(&path, &config, 1, Duration::from_secs(2), 1 << 30);
            let resent = outcome.info.retransmits;
            let cell = format!("{algorithm:?} {bits_per_second} Mb/s {rtt} ms");
            assert!(resent < 20, "{cell}: {resent} segments sent again");
        }
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

/// Returns the median over five seeds of the goodput of a flow by that of a flow of CUBIC, with a long queue.
fn share_beside_cubic(algorithm: Algorithm) -> f64 {
    let path = Path {
        bottleneck: Some(Bottleneck {
            bits_per_second: 10_000_000,
            queue_tenths: 40,
        }),
        ..lossy(20_000, 0)
    };
    let algorithms = [algorithm, Algorithm::CUBIC];
    let mut ratios: Vec<f64> = (1..=5)
        .map(|seed| share::share(&path, algorithms, seed, Duration::from_secs(60)))
        .map(|[one, cubic]| one / cubic)
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios[2]
}

#[test]
fn flows_share_a_bottleneck_evenly_if_their_phases_do_not_decide() {
    for algorithm in [Algorithm::CUBIC, Algorithm::NEW_RENO] {
        let ratio = share_beside_cubic(algorithm);
        assert!((0.8..1.25).contains(&ratio), "{algorithm}: {ratio:.2}");
    }
}

fn run_with(algorithm: Algorithm, path: &Path, most_bytes: u64) -> Outcome {
    let mut config = Config::default();
    config.tcp.congestion = algorithm;
    cell::run(path, &config, 1, Duration::from_secs(30), most_bytes)
}

#[test]
fn bbr_is_ten_times_as_fast_as_cubic_on_a_long_path_that_loses() {
    let path = lossy(300_000, 10_000);
    let bbr = run_with(Algorithm::BBR, &path, 32 * MIB);
    let cubic = run_with(Algorithm::CUBIC, &path, 32 * MIB);
    let ratio = bbr.megabits_per_second / cubic.megabits_per_second;
    assert!(ratio >= 10.0, "{ratio:.1}");
}

#[test]
fn bbr_that_tolerates_more_losses_fills_a_path_that_loses_one_in_ten() {
    let path = Path {
        bottleneck: Some(Bottleneck {
            bits_per_second: 50_000_000,
            queue_tenths: 10,
        }),
        ..lossy(20_000, 100_000)
    };
    let rate = |percent| {
        let mut config = Config::default();
        config.tcp.congestion = Algorithm::BBR;
        config.tcp.bbr_loss_percent = percent;
        let time = Duration::from_secs(10);
        cell::run(&path, &config, 1, time, 64 * MIB).megabits_per_second
    };
    let (default, tolerant) = (rate(2), rate(50));
    assert!(tolerant > 3.0 * default, "{default:.1}, {tolerant:.1}");
}

#[test]
fn bbr_fills_a_bottleneck_and_undoes_nothing_where_nothing_is_reordered() {
    for queue_tenths in [5, 10, 40] {
        let path = Path {
            bottleneck: Some(Bottleneck {
                bits_per_second: 10_000_000,
                queue_tenths,
            }),
            ..lossy(20_000, 1_000)
        };
        let outcome = run_with(Algorithm::BBR, &path, 16 * MIB);
        let rate = outcome.megabits_per_second;
        assert!(rate > 9.0, "queue {queue_tenths}: {rate:.2}");
        assert_eq!(outcome.info.timeouts, 0);
    }
    let outcome = run_with(Algorithm::BBR, &lossy(20_000, 10_000), 16 * MIB);
    assert_eq!(outcome.info.undone, 0, "copies of an earlier recovery");
}

#[test]
fn pacing_costs_nothing_on_a_path_that_has_no_queue_of_its_own() {
    for tso in [false, true] {
        let path = Path {
            tso,
            ..lossy(100, 0)
        };
        let rate = |pacing| {
            let mut config = Config::default();
            config.tcp.pacing = pacing;
            let time = Duration::from_secs(30);
            cell::run(&path, &config, 1, time, 32 * MIB).megabits_per_second
        };
        assert_eq!(rate(true), rate(false), "tso {tso}");
        let bbr = run_with(Algorithm::BBR, &path, 32 * MIB).megabits_per_second;
        let share = bbr / rate(false);
        assert!(share > 0.95, "BBR, tso {tso}: {share:.2}");
    }
}

#[test]
fn paced_windows_fit_into_a_short_queue() {
    let path = Path {
        bottleneck: Some(Bottleneck {
            bits_per_second: 10_000_000,
            queue_tenths: 1,
        }),
        ..lossy(20_000, 0)
    };
    let rate = run_with(Algorithm::CUBIC, &path, 16 * MIB).megabits_per_second;
    assert!(rate > 6.0, "{rate:.2}");
}

#[test]
fn losses_on_a_short_path_are_repaired_without_the_retransmission_timer() {
    let path = lossy(1_000, 30_000);
    let outcome = run(&path, 8 * MIB);
    assert_eq!(outcome.info.timeouts, 0);
    let pause = outcome.longest_pause;
    assert!(pause < Duration::from_millis(60), "{pause:?}");
}

/// Sends over each of two connections that many bytes, one after the other; returns their slow start thresholds at
/// their ends.
fn thresholds_of_two(path: &Path, bytes: [usize; 2]) -> Vec<u32> {
    const PORT: u16 = 4_000;
    let (a, b) = memory::pair(&path.link(1));
    let mut sim = Simulation::new(Instant::from_millis(1_000));
    let config = Config::default();
    let a = peer(&mut sim, a, 1, &config);
    let b = peer(&mut sim, b, 2, &config);
    let to = SocketAddr::new(b.address, PORT);
    let listener = TcpListener::bind_now(&b.stack, to).expect("bind");
    sim.spawn(
        b.place,
        Box::pin(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut buffer = vec![0; 1 << 16];
                while let Ok(1..) = stream.read(&mut buffer).await {}
            }
        }),
    );
    let (report, thresholds) = std::sync::mpsc::channel();
    let stack = a.stack.clone();
    sim.spawn(
        a.place,
        Box::pin(async move {
            for bytes in bytes {
                let Ok(mut stream) = TcpStream::connect(&stack, to).await else {
                    return;
                };
                let data = vec![7; bytes];
                let _ = stream.write_all(&data).await;
                let _ = stream.shutdown().await;
                let _ = stream.read(&mut [0]).await;
                let _ = report.send(stream.info().ssthresh);
            }
        }),
    );
    let limit = sim.now() + Duration::from_secs(60);
    sim.run_until(limit, |_| false)
        .expect("the simulation goes on");
    thresholds.try_iter().collect()
}

#[test]
fn a_second_connection_begins_where_the_first_one_had_to_slow_down() {
    let path = Path {
        bottleneck: Some(Bottleneck {
            bits_per_second: 10_000_000,
            queue_tenths: 10,
        }),
        ..lossy(20_000, 0)
    };
    // The first one loses something; the second one sends too little for that.
    let thresholds = thresholds_of_two(&path, [4 << 20, 20_000]);
    assert_eq!(thresholds.len(), 2);
    assert!(thresholds.iter().all(|t| *t < 1 << 20), "{thresholds:?}");
}
