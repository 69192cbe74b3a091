//! Compares the stack with Linux over the same emulated path: goodput of one TCP stream from Linux to Linux, from the
//! stack to Linux, and from Linux to the stack, with the same congestion control, in one run.
//!
//! A relay carries the packets, delays them, limits their rate and loses some. Two of its ends are kernels, each in a
//! network namespace behind a TUN device; two are stacks in this process behind packet channels. Every run uses the same
//! relay, so what it costs is the same for all.
//!
//! ```text
//!   Linux 10.9.0.1 ──┐             ┌── Linux 10.9.0.2
//!                    ├──> relay ──>┤        data
//!   stack 10.9.0.3 ──┘             └── stack 10.9.0.4
//! ```
//!
//! Run it as root, or as root of a user namespace: `cargo run --release -p benches --bin tcppath`.

mod relay;
mod runs;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use clap::Parser;

use relay::PathSpec;
use runs::{Algorithm, Host, Settings, World};

/// Compares the stack with Linux over emulated paths.
#[derive(Parser)]
struct Options {
    /// Seconds of each run.
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// Seeds of each cell; the median of the runs counts.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Only paths whose description contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Only these algorithms.
    #[arg(long, value_delimiter = ',', default_value = "cubic,bbr")]
    algorithms: Vec<Algorithm>,
    /// Runs this many seeds of a cell at once, each over a path of its own. Paths that are slow leave the processor idle:
    /// compare with 1 before you believe a fast one.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    at_once: u64,
    /// Neither end offers SACK.
    #[arg(long)]
    no_sack: bool,
    /// Losses in a round trip, in percent, from which BBR of the stack takes them for a full path.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=50))]
    bbr_loss_percent: u8,
    /// Share a bottleneck between the stack and Linux instead.
    #[arg(long)]
    fairness: bool,
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Returns the paths: the part of the grid that a relay can carry in real time.
fn paths() -> Vec<PathSpec> {
    let mut paths = Vec::new();
    let rates = [10_000_000, 100_000_000];
    for bits_per_second in rates {
        for rtt in [millis(2), millis(20), millis(100)] {
            for loss_ppm in [0, 1_000, 10_000, 30_000, 100_000] {
                paths.push(PathSpec {
                    rtt,
                    bits_per_second,
                    loss_ppm,
                    ..PathSpec::default()
                });
            }
        }
    }
    for queue_tenths in [1, 5, 40] {
        paths.push(PathSpec {
            bits_per_second: 10_000_000,
            queue_tenths,
            ..PathSpec::default()
        });
    }
    for (reorder_ppm, quarters) in [(10_000, 1), (10_000, 4), (100_000, 1), (100_000, 4)] {
        paths.push(PathSpec {
            bits_per_second: 100_000_000,
            reorder_ppm,
            reorder_by: millis(20) * quarters / 4,
            ..PathSpec::default()
        });
    }
    paths.push(PathSpec {
        rtt: millis(300),
        bits_per_second: 50_000_000,
        loss_ppm: 10_000,
        ..PathSpec::default()
    });
    paths
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Runs `run` with each seed from 1 on, in as many worlds at once as there are; returns the results in order of the seeds.
fn each_seed<T: Send>(
    worlds: &[World],
    seeds: u64,
    run: impl Fn(&World, u64) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let next = AtomicU64::new(1);
    let in_one = |world| {
        let mut results = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > seeds {
                return Ok(results);
            }
            results.push((seed, run(world, seed)?));
        }
    };
    let mut all = thread::scope(|scope| -> Result<Vec<(u64, T)>> {
        let threads: Vec<_> = worlds
            .iter()
            .map(|world| scope.spawn(|| in_one(world)))
            .collect();
        let mut all = Vec::new();
        for thread in threads {
            let results: Result<Vec<_>> = thread
                .join()
                .map_err(|_| anyhow!("a run panicked, as said above"))?;
            all.extend(results?);
        }
        Ok(all)
    })?;
    all.sort_by_key(|(seed, _)| *seed);
    Ok(all.into_iter().map(|(_, result)| result).collect())
}

fn compare(worlds: &[World], options: &Options) -> Result<()> {
    let time = Duration::from_secs_f64(options.seconds);
    println!("| path | algorithm | Linux, Mb/s | we send | ratio | we receive | ratio |");
    println!("|---|---|--:|--:|--:|--:|--:|");
    for path in paths() {
        if !path.to_string().contains(&options.only) {
            continue;
        }
        for &algorithm in &options.algorithms {
            let goodput = |from, to| -> Result<f64> {
                let runs = each_seed(worlds, options.seeds, |world, seed| {
                    world.stream(&path, seed, from, to, algorithm, time)
                })?;
                Ok(median(runs))
            };
            let linux = goodput(Host::Linux, Host::Linux)?;
            ensure!(
                linux > 0.0,
                "{path}, {algorithm}: nothing arrived from Linux to Linux"
            );
            let sent = goodput(Host::Stack, Host::Linux)?;
            let received = goodput(Host::Linux, Host::Stack)?;
            println!(
                "| {path} | {algorithm} | {linux:.2} | {sent:.2} | {:.2} | {received:.2} | {:.2} |",
                sent / linux,
                received / linux
            );
        }
    }
    Ok(())
}

/// Acknowledgments of flows that share a bottleneck are late by up to so many packets: each one stands for two, and two
/// senders take turns. With less, it is their phases that share the bottleneck.
const SHARED_JITTER_PACKETS: u32 = 4;

fn compare_shares(worlds: &[World], options: &Options) -> Result<()> {
    let time = Duration::from_secs_f64(options.seconds);
    println!("| path | ours, Linux's | ours, Mb/s | Linux's, Mb/s | ratio | ratios |");
    println!("|---|---|--:|--:|--:|---|");
    for (bits_per_second, rtt, queue_tenths) in [
        (10_000_000, millis(20), 10),
        (10_000_000, millis(20), 40),
        (50_000_000, millis(20), 10),
        (20_000_000, millis(100), 10),
    ] {
        let path = PathSpec {
            rtt,
            bits_per_second,
            queue_tenths,
            jitter_packets: SHARED_JITTER_PACKETS,
            ..PathSpec::default()
        };
        if !path.to_string().contains(&options.only) {
            continue;
        }
        for &algorithm in &options.algorithms {
            let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
            let algorithms = [algorithm, Algorithm::Cubic];
            let shares = each_seed(worlds, options.seeds, |world, seed| {
                world.share(&path, seed, algorithms, time)
            })?;
            for [a, b] in shares {
                ours.push(a);
                theirs.push(b);
                ratios.push(a / b);
            }
            ratios.sort_by(f64::total_cmp);
            let all: Vec<_> = ratios.iter().map(|r| format!("{r:.2}")).collect();
            let (ours, theirs) = (median(ours), median(theirs));
            println!(
                "| {path} | {algorithm}, cubic | {ours:.2} | {theirs:.2} | {:.2} | {} |",
                median(ratios),
                all.join(", ")
            );
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    let options = Options::parse();
    let settings = Settings {
        sack: !options.no_sack,
        bbr_loss_percent: options.bbr_loss_percent,
    };
    let worlds = (0..options.at_once.min(options.seeds.max(1)))
        .map(|_| World::new(settings))
        .collect::<Result<Vec<_>>>()?;
    if options.fairness {
        compare_shares(&worlds, &options)
    } else {
        compare(&worlds, &options)
    }
}
