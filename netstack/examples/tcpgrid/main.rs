//! Prints the goodput of one TCP stream over a grid of paths, on virtual time, as a table in Markdown.
//!
//! The same seeds give the same numbers on every machine. Run it with
//! `cargo run --release -p netstack --example tcpgrid`. A first argument selects the sections whose title contains
//! it, a second one the algorithms, separated by commas, and a third one the number of seeds of each cell.

mod cell;
mod share;

use std::time::Duration;

use cell::{Bottleneck, Path};
use netstack::base::Config;
use netstack::tcp::Algorithm;

/// Seeds of each cell, unless an argument says otherwise.
const SEEDS: u64 = 3;
/// Seeds of two flows that share a path; the median counts.
const SHARED_SEEDS: u64 = 5;

fn micros(n: u64) -> Duration {
    Duration::from_micros(n)
}

/// The round trips of the grid, in microseconds.
const RTTS: [u64; 5] = [100, 1_000, 20_000, 100_000, 300_000];
const LOSSES: [u32; 5] = [0, 1_000, 10_000, 30_000, 100_000];

/// Returns paths on which a packet is overtaken by that many that follow it.
fn reordering_by_segments() -> Vec<(String, Path)> {
    let segment = micros(1_200);
    let mut rows = Vec::new();
    for reorder_ppm in [10_000, 100_000] {
        for segments in [1, 5, 20, 50] {
            let percent = reorder_ppm / 10_000;
            rows.push((
                format!("{percent} % by {segments} segments"),
                Path {
                    reorder_ppm,
                    reorder_by: segment * segments,
                    bottleneck: Some(Bottleneck {
                        bits_per_second: 10_000_000,
                        queue_tenths: 20,
                    }),
                    ..Path::clean(micros(40_000))
                },
            ));
        }
    }
    rows
}

/// Returns the paths that reorder of `tcppath`, which lets Linux meet them.
fn reordering_at_a_bottleneck() -> Vec<(String, Path)> {
    [(10_000, 5), (10_000, 20), (100_000, 5), (100_000, 20)]
        .map(|(reorder_ppm, millis)| {
            let path = Path {
                reorder_ppm,
                reorder_by: micros(1_000 * millis),
                bottleneck: Some(Bottleneck {
                    bits_per_second: 100_000_000,
                    queue_tenths: 10,
                }),
                ..Path::clean(micros(20_000))
            };
            (
                format!("{} % late by {millis} ms", reorder_ppm / 10_000),
                path,
            )
        })
        .into()
}

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
    sections.push(("Reordering by segments, 10 Mb/s", reordering_by_segments()));
    sections.push((
        "Reordering at a bottleneck of 100 Mb/s",
        reordering_at_a_bottleneck(),
    ));
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

/// Means over the seeds.
struct Mean {
    megabits_per_second: f64,
    timeouts: f64,
    resent: f64,
    undone: f64,
    longest_pause: Duration,
}

fn measure(path: &Path, algorithm: Algorithm, seeds: u64) -> Mean {
    let mut config = config();
    config.tcp.congestion = algorithm;
    let outcomes: Vec<_> = (1..=seeds)
        .map(|seed| cell::run(path, &config, seed, time(path), 32 << 20))
        .collect();
    let mean = |f: &dyn Fn(&cell::Outcome) -> f64| {
        outcomes.iter().map(f).sum::<f64>() / outcomes.len() as f64
    };
    Mean {
        megabits_per_second: mean(&|o| o.megabits_per_second),
        timeouts: mean(&|o| f64::from(o.info.timeouts)),
        resent: mean(&|o| f64::from(o.info.retransmits)),
        undone: mean(&|o| f64::from(o.info.undone)),
        longest_pause: outcomes
            .iter()
            .map(|o| o.longest_pause)
            .max()
            .unwrap_or_default(),
    }
}

/// Returns the limits of both stacks. A transfer is over before it would need a larger window than this.
fn config() -> Config {
    let mut config = Config::default();
    config.tcp.recv_buffer_max = 4 << 20;
    config
}

fn print_row(name: &str, path: &Path, algorithms: &[Algorithm], seeds: u64) {
    let config = config();
    let window = config.tcp.send_buffer.min(config.tcp.recv_buffer_max) as f64;
    let bound = path.bound(window);
    let loss = f64::from(path.loss_ppm) / 1e4;
    let burst = if path.burst_ppm > 0 { ", bursts" } else { "" };
    print!("| {:?} | {loss}{burst} | {name} | {bound:.1} |", path.rtt);
    for &algorithm in algorithms {
        let mean = measure(path, algorithm, seeds);
        print!(
            " {:.1} | {:.2} | {:.0}, {:.0}, {:.0}, {:.1?} |",
            mean.megabits_per_second,
            mean.megabits_per_second / bound,
            mean.timeouts,
            mean.resent,
            mean.undone,
            mean.longest_pause,
        );
    }
    println!();
}

/// Prints how two flows share a bottleneck: the ratio of their goodput in the second of two minutes.
fn print_fairness() {
    println!("\n### Two flows over one bottleneck, one BDP of queue unless said\n");
    println!("| rate | RTT | queue | flows | ratio | ratios |");
    println!("|--:|--:|--:|---|--:|---|");
    let pairs = [
        [Algorithm::CUBIC, Algorithm::CUBIC],
        [Algorithm::NEW_RENO, Algorithm::CUBIC],
        [Algorithm::BBR, Algorithm::CUBIC],
        [Algorithm::BBR, Algorithm::BBR],
    ];
    for (bits_per_second, millis, queue_tenths) in [
        (10_000_000, 20, 10),
        (10_000_000, 20, 40),
        (50_000_000, 20, 10),
        (50_000_000, 100, 10),
    ] {
        for pair in pairs {
            let path = Path {
                bottleneck: Some(Bottleneck {
                    bits_per_second,
                    queue_tenths,
                }),
                ..Path::clean(micros(millis * 1_000))
            };
            let mut ratios: Vec<f64> = (1..=SHARED_SEEDS)
                .map(|seed| share::share(&path, pair, seed, Duration::from_secs(120)))
                .map(|[one, other]| one / other)
                .collect();
            ratios.sort_by(f64::total_cmp);
            let all: Vec<_> = ratios.iter().map(|r| format!("{r:.2}")).collect();
            println!(
                "| {} Mb/s | {millis}ms | {:.1} | {}, {} | {:.2} | {} |",
                bits_per_second / 1_000_000,
                queue_tenths as f64 / 10.0,
                pair[0],
                pair[1],
                ratios[ratios.len() / 2],
                all.join(", "),
            );
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);

    let only = arguments.next().unwrap_or_default();
    let algorithms: Vec<Algorithm> = match arguments.next() {
        Some(names) => names
            .split(',')
            .map(|name| name.parse().expect("cubic, newreno or bbr"))
            .collect(),
        None => Algorithm::ALL.to_vec(),
    };
    let seeds = arguments
        .next()
        .map_or(SEEDS, |seeds| seeds.parse().expect("the number of seeds"));
    for (title, rows) in sections() {
        if !title.contains(&only) {
            continue;
        }
        println!("\n### {title}\n");
        print!("| RTT | loss % | path | bound |");
        for algorithm in &algorithms {
            print!(" {algorithm} | share | timeouts, resent, undone, longest pause |");
        }
        print!("\n|--:|--:|---|--:|");
        println!("{}", "--:|--:|--:|".repeat(algorithms.len()));
        for (name, path) in rows {
            print_row(&name, &path, &algorithms, seeds);
        }
    }
    if "Two flows".contains(&only) {
        print_fairness();
    }
}
