//! Prints the goodput of one TCP stream over a grid of paths, on virtual time, as a table in Markdown.
//!
//! The same seeds give the same numbers on every machine. Run it with
//! `cargo run --release -p netstack --example tcpgrid`. An argument selects the sections whose title contains
//! it.

mod cell;

use std::time::Duration;

use cell::{Bottleneck, Path};
use netstack::base::Config;

const SEEDS: u64 = 3;

fn micros(n: u64) -> Duration {
    Duration::from_micros(n)
}

/// The round trips of the grid, in microseconds.
const RTTS: [u64; 5] = [100, 1_000, 20_000, 100_000, 300_000];
const LOSSES: [u32; 5] = [0, 1_000, 10_000, 30_000, 100_000];

fn sections() -> Vec<(&'static str, Vec<(String, Path)>)> {
    let named = |path: Path| (String::new(), path);
    let mut sections = Vec::new();
    for tso in [false, true] {
        let mut rows = Vec::new();
        for rtt in RTTS {
            for loss_ppm in LOSSES {
                rows.push(named(Path {
                    loss_ppm,
                    tso,
                    ..Path::clean(micros(rtt))
                }));
            }
        }
        let title = if tso {
            "Random loss of super-segments, no rate limit"
        } else {
            "Random loss, no rate limit"
        };
        sections.push((title, rows));
    }
    let mut rows = Vec::new();
    for rtt in [1_000, 20_000, 100_000] {
        for loss_ppm in [500, 5_000] {
            rows.push(named(Path {
                loss_ppm,
                burst_ppm: 500_000,
                ..Path::clean(micros(rtt))
            }));
        }
    }
    sections.push(("Losses in bursts, no rate limit", rows));
    let mut rows = Vec::new();
    for rtt in [1_000, 20_000, 100_000] {
        for reorder_ppm in [10_000, 100_000] {
            for quarters in [1, 4] {
                rows.push((
                    format!(
                        "{} % {} of the round trip late",
                        reorder_ppm / 10_000,
                        ["a quarter", "all"][quarters as usize / 4]
                    ),
                    Path {
                        reorder_ppm,
                        reorder_by: micros(rtt * quarters / 4),
                        ..Path::clean(micros(rtt))
                    },
                ));
            }
        }
    }
    sections.push(("Reordering, no rate limit", rows));
    for (title, bits_per_second) in [
        ("A bottleneck of 10 Mb/s", 10_000_000),
        ("A bottleneck of 1 Gb/s", 1_000_000_000),
    ] {
        let mut rows = Vec::new();
        for rtt in [1_000, 20_000, 100_000] {
            for queue_tenths in [1, 5, 10, 40] {
                for loss_ppm in [0, 1_000] {
                    rows.push((
                        format!("queue {:.1} BDP", queue_tenths as f64 / 10.0),
                        Path {
                            bottleneck: Some(Bottleneck {
                                bits_per_second,
                                queue_tenths,
                            }),
                            loss_ppm,
                            ..Path::clean(micros(rtt))
                        },
                    ));
                }
            }
        }
        sections.push((title, rows));
    }
    sections
}

/// Virtual time of a cell: many round trips, and long enough for a window to be found.
fn time(path: &Path) -> Duration {
    (path.rtt * 400).clamp(Duration::from_secs(10), Duration::from_secs(60))
}

fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    let config = Config::default();
    let window = config.tcp.send_buffer.min(config.tcp.recv_buffer_max) as f64;
    for (title, rows) in sections() {
        if !title.contains(&only) {
            continue;
        }
        println!("\n### {title}\n");
        println!(
            "| RTT | loss % | path | Mb/s | bound | share | timeouts | recoveries | resent | undone | longest pause |"
        );
        println!("|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|");
        for (name, path) in rows {
            let outcomes: Vec<_> = (1..=SEEDS)
                .map(|seed| cell::run(&path, &config, seed, time(&path), 32 << 20))
                .collect();
            let mean = |f: &dyn Fn(&cell::Outcome) -> f64| {
                outcomes.iter().map(f).sum::<f64>() / outcomes.len() as f64
            };
            let rate = mean(&|o| o.megabits_per_second);
            let bound = path.bound(window);
            let pause = outcomes
                .iter()
                .map(|o| o.longest_pause)
                .max()
                .unwrap_or_default();
            let loss = f64::from(path.loss_ppm) / 1e4;
            let burst = if path.burst_ppm > 0 { ", bursts" } else { "" };
            let (share, bound) = if bound.is_finite() {
                (format!("{:.2}", rate / bound), format!("{bound:.1}"))
            } else {
                ("–".into(), "–".into())
            };
            println!(
                "| {:?} | {loss}{burst} | {name} | {rate:.1} | {bound} | {share} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1?} |",
                path.rtt,
                mean(&|o| f64::from(o.info.timeouts)),
                mean(&|o| f64::from(o.info.recoveries)),
                mean(&|o| f64::from(o.info.retransmits)),
                mean(&|o| f64::from(o.info.undone)),
                pause,
            );
        }
    }
}
