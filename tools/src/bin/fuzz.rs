//! Runs the fuzz harnesses on a stable compiler, with seeded changes of their corpora.

use std::cell::RefCell;
use std::error::Error;
use std::fs;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use netstack::base::Rng;
use netstack::engine::clock::Clock;
use tools::fuzz::dictionary::words;
use tools::fuzz::differential;
use tools::fuzz::guided::Guided;
use tools::fuzz::mutation::{minimised, mutated};
use tools::fuzz::{Target, targets};
use tools::output::exit_code;
use tools::seeds::parse_range;

/// Inputs of one target in a row.
const ROUND: u64 = 50;

/// Runs the fuzz targets: the inputs of their corpora, then changed ones, until the time is over
#[derive(Debug, Parser)]
#[command(
    name = "fuzz",
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  fuzz                                every target, a minute in all\n  fuzz stack offload --seconds 600    two of them, ten minutes\n  fuzz stack --input crash-1f3a       one input again\n  fuzz --list                         the targets\n  fuzz differential --seeds 0..1000   this stack and the kernel, a thousand cases\n\nBuild with --release --features invariants. An input that fails is made as small as possible and written to\nthe directory that --out names: put it into the corpus when the fault is mended, and the tests run it.\n\nExit codes: 0 nothing failed, 1 an input failed, 2 a flag or a file is wrong."
)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Targets, all by default
    targets: Vec<String>,
    /// Time for all of them together
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Seed of the changes
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Directory with a corpus for each target
    #[arg(long, value_name = "DIR", default_value = "tools/fuzz/corpus")]
    corpus: PathBuf,
    /// Directory with the dictionaries
    #[arg(long, value_name = "DIR", default_value = "tools/fuzz/dictionaries")]
    dictionaries: PathBuf,
    /// Runs the targets under cargo-fuzz on the nightly compiler, one after the other
    #[arg(long, conflicts_with_all = ["input", "list"])]
    libfuzzer: bool,
    /// Directory for the inputs that cargo-fuzz keeps, because they reach new code
    #[arg(long, value_name = "DIR", default_value = "tools/fuzz/grown")]
    grown: PathBuf,
    /// Sanitizer that cargo-fuzz builds in, `none` for none
    #[arg(long, value_name = "NAME", default_value = "address")]
    sanitizer: String,
    /// Directory for inputs that fail
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Runs this input alone
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Prints the names of the targets
    #[arg(long)]
    list: bool,
}

/// The other work of the program.
#[derive(Debug, Subcommand)]
enum Command {
    /// Sends the same packets and socket calls to the Linux kernel and to this stack, and compares what they do
    ///
    /// Needs the rights to make a network namespace and a TUN device, and the command `ip`. What differs and is not in
    /// the list of known differences fails, and is printed with the packets of both sides.
    Differential {
        /// Seeds to run, FIRST..END: even ones over IPv4, odd ones over IPv6
        #[arg(long, value_name = "A..B", value_parser = parse_range, default_value = "0..200")]
        seeds: Range<u64>,
        /// A list of known differences, instead of tools/src/fuzz/differential/known.toml
        #[arg(long, value_name = "FILE")]
        known: Option<PathBuf>,
        /// Prints each known difference that was met, with the answers of both sides, and the names of those that were not
        #[arg(long)]
        each: bool,
    },
}

fn main() -> ExitCode {
    exit_code("fuzz", run(&Args::parse()), 2)
}

fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    if let Some(Command::Differential { seeds, known, each }) = &args.command {
        return Ok(compare(seeds.clone(), known.as_deref(), *each)?);
    }
    let all = targets();
    if args.list {
        for target in &all {
            println!("{}", target.name);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = choose(&all, &args.targets)?;
    if let Some(path) = &args.input {
        keep_panics();
        let data = read(path)?;
        let failed = chosen.iter().filter_map(|target| failure(target, &data));
        let failed: Vec<_> = failed.collect();
        for what in &failed {
            println!("{}: {what}", path.display());
        }
        println!("{} targets, {} failed", chosen.len(), failed.len());
        return Ok(if failed.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    // Now, not when something was found after hours.
    let made = fs::create_dir_all(&args.out);
    made.map_err(|error| format!("{}: {error}", args.out.display()))?;
    if args.libfuzzer {
        return Ok(guided(args, &chosen)?);
    }
    keep_panics();
    let mut runs = Vec::new();
    for target in chosen {
        runs.push(Run {
            corpus: corpus(&args.corpus.join(target.name))?,
            dictionary: dictionary(args, &target)?,
            rng: Rng::from_u64(args.seed),
            target,
            inputs: 0,
        });
    }
    fuzz(args, &mut runs)
}

/// Compares this stack with the kernel.
fn compare(seeds: Range<u64>, known: Option<&Path>, each: bool) -> Result<ExitCode, String> {
    let known = known.map(read).transpose()?;
    let known = known.as_deref().map(String::from_utf8_lossy);
    let summary = differential::run(seeds, known.as_deref())?;
    if each {
        for met in &summary.met {
            println!("{met}");
        }
        for name in &summary.unmet {
            println!("not met: {name}");
        }
    }
    for text in summary.failures.values() {
        println!("{text}");
    }
    for (name, (count, why)) in &summary.known {
        println!("{count} times {name}: {why}");
    }
    println!("{summary}");
    Ok(if summary.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn choose(all: &[Target], names: &[String]) -> Result<Vec<Target>, String> {
    if names.is_empty() {
        return Ok(all.to_vec());
    }
    let find = |name: &String| {
        let found = all.iter().find(|target| target.name == name);
        found.copied().ok_or_else(|| {
            let known: Vec<_> = all.iter().map(|target| target.name).collect();
            format!("there is no target '{name}': use {}", known.join(", "))
        })
    };
    names.iter().map(find).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Returns the inputs of a directory in the order of their names; none if there is no such directory.
fn corpus(directory: &Path) -> Result<Vec<Vec<u8>>, String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Ok(Vec::new());
    };
    let mut paths: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn dictionary(args: &Args, target: &Target) -> Result<Vec<Vec<u8>>, String> {
    let name = format!("{}.dict", target.dictionary);
    let path = args.dictionaries.join(name);
    let text = read(&path)?;
    words(&String::from_utf8_lossy(&text)).map_err(|error| format!("{}: {error}", path.display()))
}

/// Runs the targets under cargo-fuzz, each for its part of the time.
fn guided(args: &Args, chosen: &[Target]) -> Result<ExitCode, String> {
    let time = Duration::from_secs((args.seconds / chosen.len() as u64).max(1));
    let cargo = std::env::var_os("FUZZ_CARGO").unwrap_or_else(|| "cargo".into());
    let guided = Guided {
        cargo: &cargo,
        corpus: &args.corpus,
        dictionaries: &args.dictionaries,
        grown: &args.grown,
        out: &args.out,
        sanitizer: &args.sanitizer,
        seed: args.seed,
    };
    keep_panics();
    let mut failed = 0;
    for target in chosen {
        let inputs = guided.run(target, time)?;
        println!("{}: {} inputs failed", target.name, inputs.len());
        failed += u32::from(!inputs.is_empty());
        for path in inputs {
            let data = read(&path)?;
            // One that takes too long, or too much memory, stays as it is.
            let is_crash = path.to_string_lossy().contains("/crash-");
            match is_crash.then(|| failure(target, &data)).flatten() {
                Some(what) => drop(report(target, &data, &what, &args.out)?),
                None => println!("{} does not fail here", path.display()),
            }
        }
    }
    println!("{} targets, {failed} failed", chosen.len());
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

struct Run {
    target: Target,
    corpus: Vec<Vec<u8>>,
    dictionary: Vec<Vec<u8>>,
    rng: Rng,
    inputs: u64,
}

fn fuzz(args: &Args, runs: &mut [Run]) -> Result<ExitCode, Box<dyn Error>> {
    let clock = Clock::start();
    let end = clock.now() + Duration::from_secs(args.seconds);
    for run in runs.iter() {
        for data in &run.corpus {
            if let Some(what) = failure(&run.target, data) {
                return Ok(report(&run.target, data, &what, &args.out)?);
            }
        }
    }
    while clock.now() < end {
        for run in runs.iter_mut() {
            for _ in 0..ROUND {
                let data = mutated(
                    &mut run.rng,
                    &run.corpus,
                    &run.dictionary,
                    run.target.longest,
                );
                run.inputs += 1;
                if let Some(what) = failure(&run.target, &data) {
                    return Ok(report(&run.target, &data, &what, &args.out)?);
                }
            }
        }
    }
    for run in runs.iter() {
        println!(
            "{}: {} inputs, {} in the corpus",
            run.target.name,
            run.inputs,
            run.corpus.len()
        );
    }
    let inputs: u64 = runs.iter().map(|run| run.inputs).sum();
    println!(
        "{} targets, {inputs} inputs, 0 failed, seed {}",
        runs.len(),
        args.seed
    );
    Ok(ExitCode::SUCCESS)
}

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps what a panic says instead of printing it.
fn keep_panics() {
    std::panic::set_hook(Box::new(|info| {
        LAST_PANIC.with_borrow_mut(|last| *last = info.to_string().replace('\n', " "));
    }));
}

/// Returns what is wrong with an input, if it fails.
fn failure(target: &Target, data: &[u8]) -> Option<String> {
    catch_unwind(AssertUnwindSafe(|| (target.harness)(data)))
        .is_err()
        .then(|| LAST_PANIC.with_borrow(Clone::clone))
}

/// Returns the place of a panic, which tells one fault from another.
fn place(what: &str) -> &str {
    what.split(": ").next().unwrap_or(what)
}

fn report(target: &Target, data: &[u8], what: &str, out: &Path) -> Result<ExitCode, String> {
    println!("{}: {what}", target.name);
    let is_same =
        |data: &[u8]| failure(target, data).is_some_and(|other| place(&other) == place(what));
    let small = minimised(data, is_same);
    let hash = small.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let path = out.join(format!("crash-{}-{hash:016x}", target.name));
    fs::write(&path, &small).map_err(|error| format!("{}: {error}", path.display()))?;
    println!(
        "{} of {} bytes are enough: {}",
        small.len(),
        data.len(),
        path.display()
    );
    println!(
        "to run it again: fuzz {} --input {}",
        target.name,
        path.display()
    );
    Ok(ExitCode::FAILURE)
}
