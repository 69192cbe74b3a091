//! `replay`: runs a recording again on virtual time, and compares every packet that the stack sends with the recorded one.
//!
//! | file | |
//! |---|---|
//! | `player` | the device: gives what was recorded, shows what is sent |
//! | `engine` | turns the stack, and compares |
//! | `difference`, `show` | the first difference, as text and for programs |
//! | `watcher` | prints packets and events as they come, writes them to a file |

mod difference;
mod engine;
mod player;
mod show;
mod watcher;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;

pub use self::difference::{Difference, What};
use self::engine::{Replayer, Step, unreadable};
use self::watcher::Watcher;
use crate::failure::Failure;
use crate::file::reason;
use crate::probe::now;

/// The end of what `--help` says.
pub(crate) const EXAMPLES: &str = "\
Examples:
  netstackd run --tun t0 --addr 10.77.0.2/24 --record bug.pcapng
  netstackd replay bug.pcapng
  netstackd replay --trace --until 100 bug.pcapng | less
  netstackd replay -w again.pcapng bug.pcapng
  netstackd replay bug-*.pcapng

Exit codes:
  0  every packet and timer is as recorded, up to the end or to where the file was cut
  1  the replay differs from the recording; the first difference is shown
  2  a flag or its value is wrong
  10 the file is missing, damaged, of another version or no recording";

/// Flags of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Files that run --record made, replayed one after the other; - is stdin.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Ends each file after so many turns of the worker.
    #[arg(long, value_name = "TURNS")]
    until: Option<u64>,
    /// Prints every packet and every event of a connection.
    #[arg(long)]
    trace: bool,
    /// Prints for programs: one JSON object on each line.
    #[arg(long)]
    json: bool,
    /// Writes the packets of the replay of one file to this file, in pcapng, with a comment where they differ.
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// The result of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Turns that were as recorded.
    pub turns: u64,
    /// Packets that were read.
    pub packets_in: u64,
    /// Packets that were compared.
    pub packets_out: u64,
    /// The time that the recording covers, as far as it was replayed.
    pub covered: Duration,
    /// The first difference.
    pub difference: Option<Difference>,
    /// Why the recording ends, as it says itself; `None` if it does not, or the end was not reached.
    pub end: Option<String>,
    /// The file ends without saying so: it was cut.
    pub is_cut: bool,
    /// The version that recorded, if it is another one.
    pub other_version: Option<String>,
}

/// Replays the recording that `source` holds, to its end or its first difference.
///
/// # Errors
/// It holds none, or is damaged.
pub fn replay(source: impl Read) -> Result<Replayed, Failure> {
    let mut replayer = Replayer::open(source, "the recording", false)?;
    play(
        &mut replayer,
        "the recording",
        u64::MAX,
        &mut Watcher::default(),
    )
}

fn play<R: Read>(
    replayer: &mut Replayer<R>,
    name: &str,
    until: u64,
    watcher: &mut Watcher,
) -> Result<Replayed, Failure> {
    let (mut difference, mut end, mut is_cut) = (None, None, false);
    while replayer.sums.turns < until && !watcher.has_enough() {
        match replayer.step(watcher) {
            Ok(Step::Same) => watcher.progress(&replayer.sums),
            Ok(Step::Differs(found)) => {
                difference = Some(*found);
                break;
            }
            Ok(Step::End(said)) => {
                is_cut = said.is_none();
                end = said.map(|end| end.reason);
                break;
            }
            Err(error) => return Err(unreadable(name, &error)),
        }
    }
    let sums = replayer.sums;
    let version = &replayer.header.version;
    Ok(Replayed {
        turns: sums.turns,
        packets_in: sums.packets_in,
        packets_out: sums.packets_out,
        covered: sums.now - sums.start,
        difference,
        end,
        is_cut: is_cut || replayer.is_cut(),
        other_version: (version != env!("CARGO_PKG_VERSION")).then(|| version.clone()),
    })
}

/// Runs the command.
///
/// # Errors
/// The file is no recording, is damaged, or what is asked for cannot be written.
pub(crate) fn run(args: &ReplayArgs) -> Result<ExitCode, Failure> {
    if args.files.len() > 1 && args.write.is_some() {
        return Err(Failure::Usage(
            "--write takes the packets of one replay: name one file".to_owned(),
        ));
    }
    let mut code = ExitCode::SUCCESS;
    let mut part_before = None;
    for path in &args.files {
        let (has_difference, part) = run_one(args, path)?;
        if has_difference {
            code = ExitCode::from(1);
        }
        if let (Some(before), Some(part)) = (part_before, part)
            && part != before + 1
        {
            let path = path.display();
            eprintln!("netstackd: {path} is part {part}, and the file before it was part {before}");
        }
        part_before = part;
    }
    Ok(code)
}

/// Replays a file. Returns whether there was a difference, and the number of the part that it is.
fn run_one(args: &ReplayArgs, path: &Path) -> Result<(bool, Option<u64>), Failure> {
    let name = path.display().to_string();
    let source: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(io::stdin()),
        _ => Box::new(File::open(path).map_err(|error| {
            Failure::Recording(format!(
                "{name} cannot be read: {}: name a file that run --record made",
                reason(&error)
            ))
        })?),
    };
    let mut replayer = Replayer::open(BufReader::new(source), &name, args.trace)?;
    let mut watcher = Watcher::new(args, &replayer.header)?;
    let begun = now();
    let until = args.until.unwrap_or(u64::MAX);
    let replayed = play(&mut replayer, &name, until, &mut watcher)?;
    watcher.finish()?;
    let took = now().saturating_sub(begun);
    report(args, &name, &replayed, took);
    let part = replayer.header.part.map(|part| part.number);
    Ok((replayed.difference.is_some(), part))
}

fn report(args: &ReplayArgs, name: &str, replayed: &Replayed, took: Duration) {
    if let Some(version) = &replayed.other_version {
        eprintln!(
            "netstackd: the recording is of version {version}, this is {}: what differs may differ on purpose",
            env!("CARGO_PKG_VERSION")
        );
    }
    if replayed.is_cut {
        eprintln!("netstackd: the recording was cut: it is replayed up to there");
    }
    let text = match args.json {
        true => json!({
            "file": name,
            "turns": replayed.turns,
            "packets_in": replayed.packets_in,
            "packets_out": replayed.packets_out,
            "covered_nanos": u64::try_from(replayed.covered.as_nanos()).unwrap_or(u64::MAX),
            "took_nanos": u64::try_from(took.as_nanos()).unwrap_or(u64::MAX),
            "end": replayed.end,
            "is_cut": replayed.is_cut,
            "recorded_by": replayed.other_version.as_deref().unwrap_or(env!("CARGO_PKG_VERSION")),
            "difference": replayed.difference.as_ref().map(Difference::json),
        })
        .to_string(),
        false if args.files.len() > 1 => format!("{name}: {}", text_of(replayed, took)),
        false => text_of(replayed, took),
    };
    crate::console::print_line(&text);
}

fn text_of(replayed: &Replayed, took: Duration) -> String {
    let mut text = String::new();
    if let Some(difference) = &replayed.difference {
        text += &format!("{difference}\n");
    }
    let verdict = match &replayed.difference {
        Some(_) => "then a difference",
        None => "every packet and timer as recorded",
    };
    text += &format!(
        "replayed turns={} packets-in={} packets-out={} covered={:.3}s took={:.3}s: {verdict}",
        replayed.turns,
        replayed.packets_in,
        replayed.packets_out,
        replayed.covered.as_secs_f64(),
        took.as_secs_f64(),
    );
    if let Some(end) = &replayed.end {
        text += &format!("; the recording ends because {end}");
    }
    text
}
