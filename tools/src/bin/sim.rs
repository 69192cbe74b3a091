//! Runs simulations of many stacks on virtual time, each from one seed.

use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use clap::Parser;
use netstack::engine::clock::Clock;
use tools::seeds::parse_range;
use tools::sim::{Failure, Options, Report, Scenario, run};

/// Runs simulations: several stacks, bad links, disturbances, all decided by a seed
#[derive(Debug, Parser)]
#[command(
    name = "sim",
    after_help = "Examples:\n  sim --seeds 0..20000          twenty thousand scenarios\n  sim --seed 4711 --trace       one of them, packet by packet\n  sim --seed 4711 --describe    what it stands for\n\nBuild with --features invariants to check the stacks after each call.\n\nExit codes: 0 nothing was wrong, 1 a seed failed, 2 a flag is wrong."
)]
struct Args {
    /// Seeds to run, FIRST..END
    #[arg(long, value_name = "A..B", value_parser = parse_range, conflicts_with = "seed", required_unless_present = "seed")]
    seeds: Option<Range<u64>>,
    /// One seed to run
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Prints each packet and event
    #[arg(long, conflicts_with = "seeds")]
    trace: bool,
    /// Prints what the seed stands for, and runs nothing
    #[arg(long, conflicts_with = "seeds")]
    describe: bool,
    /// Runs each seed twice, and fails if the two differ
    #[arg(long)]
    twice: bool,
    /// Goes on after a seed that fails
    #[arg(long)]
    keep_going: bool,
    /// Threads
    #[arg(long, value_name = "N", default_value_t = default_jobs())]
    jobs: usize,
    /// Prints one JSON object for each seed
    #[arg(long)]
    json: bool,
}

fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

fn main() -> ExitCode {
    let args = Args::parse();
    let seeds = match (args.seed, args.seeds.clone()) {
        (Some(seed), _) => seed..seed.saturating_add(1),
        (None, Some(seeds)) => seeds,
        (None, None) => return ExitCode::from(2),
    };
    if args.describe {
        print!("{}", Scenario::of(seeds.start));
        return ExitCode::SUCCESS;
    }
    // What a panic says is part of the verdict.
    std::panic::set_hook(Box::new(|_| {}));
    let totals = run_all(&args, &seeds);
    let (ran, failed) = (totals.ran, totals.failed);
    println!(
        "{ran} seeds, {failed} failed, {} packets, {:.0} s of virtual time in {:.1} s{}",
        totals.packets,
        totals.virtual_secs,
        totals.secs,
        if cfg!(feature = "invariants") {
            ""
        } else {
            "; without invariants"
        },
    );
    if failed > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

#[derive(Default)]
struct Totals {
    ran: u64,
    failed: u64,
    packets: u64,
    virtual_secs: f64,
    secs: f64,
}

fn run_all(args: &Args, seeds: &Range<u64>) -> Totals {
    let next = AtomicU64::new(seeds.start);
    let (sender, results) = mpsc::channel();
    let (clock, mut totals) = (Clock::start(), Totals::default());
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || sender.send(run_one(seed, args)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for result in results {
            report(&result, args, &mut totals);
            if result.is_err() && !args.keep_going {
                next.store(seeds.end, Ordering::Relaxed);
            }
        }
    });
    totals.secs = clock.now().as_nanos() as f64 / 1e9;
    totals
}

fn run_one(seed: u64, args: &Args) -> Result<Report, Failure> {
    let first = run(
        seed,
        Options {
            print: args.trace,
            ..Options::default()
        },
    )?;
    if args.twice {
        let second = run(seed, Options::default())?;
        if first != second {
            return Err(Failure {
                seed,
                what: format!("two runs differ: {first:?} and {second:?}"),
                trace: Vec::new(),
            });
        }
    }
    Ok(first)
}

fn report(result: &Result<Report, Failure>, args: &Args, totals: &mut Totals) {
    totals.ran += 1;
    match result {
        Ok(report) => {
            totals.packets += report.packets;
            totals.virtual_secs += report.took.as_secs_f64();
            if args.json {
                let line = serde_json::json!({
                    "seed": report.seed, "ok": true, "packets": report.packets,
                    "virtual_seconds": report.took.as_secs_f64(), "digest": format!("{:016x}", report.digest),
                });
                println!("{line}");
            }
        }
        Err(failure) => {
            totals.failed += 1;
            if args.json {
                println!(
                    "{}",
                    serde_json::json!({"seed": failure.seed, "ok": false, "what": failure.what})
                );
                return;
            }
            println!("seed {}: {}", failure.seed, failure.what);
            if !args.keep_going && !args.trace {
                print!("{}", Scenario::of(failure.seed));
                println!("the last lines of its trace:");
                for line in &failure.trace {
                    println!("{line}");
                }
            }
            println!("to see all of it: sim --seed {} --trace", failure.seed);
        }
    }
}
