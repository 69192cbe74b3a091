//! `pktscript`: runs scripts of packets and socket calls, and says whether a stack answers as they say.

use std::error::Error;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tools::output::{exit_code, print_man};
use tools::pktscript::parser::MAX_SCRIPT_BYTES;
use tools::pktscript::report::{Against, Options, Report, Summary, report};

/// Most directories that lie in each other.
const MAX_DEPTH: usize = 16;

/// Runs scripts in the language of packetdrill: packets that arrive, packets that a stack must send, socket
/// calls and their results, with times.
#[derive(Parser, Debug)]
#[command(name = "pktscript", version, after_help = EXAMPLES)]
struct Command {
    #[command(subcommand)]
    command: What,
}

const EXAMPLES: &str = "\
Examples:
  pktscript run tests/scripts                  all scripts of a directory
  pktscript run --verbose handshake.pkt        with each packet and call
  pktscript run --json tests/scripts | jq .    one object a line, the summary last
  pktscript run --against kernel FILE…         with the sockets of Linux, in a namespace of its own
  pktscript run --against daemon FILE…         with a netstackd, in a namespace of its own
  echo '0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3' | pktscript run -
  pktscript check *.pkt                        only the syntax

Exit code:
  0  every script passed
  1  a script failed
  2  a file cannot be read, or the command line is wrong
  3  a script needs something that is not supported; none failed";

#[derive(Subcommand, Debug)]
enum What {
    /// Runs scripts.
    Run(RunArgs),
    /// Parses scripts.
    Check(Files),
}

#[derive(Args, Debug)]
struct RunArgs {
    #[command(flatten)]
    files: Files,
    /// The stack that the scripts run against.
    #[arg(long, value_enum, default_value_t = Against::Ours)]
    against: Against,
    /// Seed of the stack's random numbers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The program to start with --against daemon [default: the netstackd beside this program, or in the PATH].
    #[arg(long, value_name = "PROGRAM")]
    daemon: Option<PathBuf>,
    /// Least tolerance of times with --against kernel and --against daemon, in milliseconds [default: 30].
    #[arg(long, value_name = "MILLIS")]
    tolerance: Option<u32>,
    /// Shows each packet and call.
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Args, Debug)]
struct Files {
    /// Scripts, directories with scripts (*.pkt), or - for stdin.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Lets a symbol stand for a value, and counts as defined for #ifdef.
    #[arg(short = 'D', long = "define", value_name = "NAME[=VALUE]")]
    define: Vec<String>,
    /// Prints one JSON object a line.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    // Not among the options: it needs no command.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == "--man")
    {
        return print_man::<Command>();
    }
    let command = Command::parse();
    let result = all(&command, &mut io::stdout().lock());
    exit_code("pktscript", result, 2)
}

fn all(command: &Command, out: &mut impl Write) -> Result<ExitCode, Box<dyn Error>> {
    let (files, run) = match &command.command {
        What::Run(args) => (&args.files, Some(args)),
        What::Check(files) => (files, None),
    };
    let verbose = run.is_some_and(|run| run.verbose);
    let symbols = files
        .define
        .iter()
        .map(|definition| match definition.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (definition.clone(), String::new()),
        })
        .collect();
    let options = Options {
        against: run.map_or_else(Against::default, |run| run.against),
        symbols,
        seed: run.map_or(1, |run| run.seed),
        parse_only: run.is_none(),
        daemon: run.and_then(|run| run.daemon.clone()),
        tolerance_millis: run.and_then(|run| run.tolerance),
    };
    let mut summary = Summary::default();
    for file in &files.files {
        for script in scripts(file, 0)? {
            let name = script.display().to_string();
            let one = match read(&script) {
                Ok(text) => report(&name, &text, &options),
                Err(error) => Report::error(&name, error),
            };
            summary.add(&one);
            if files.json {
                writeln!(out, "{}", serde_json::to_string(&one)?)?;
            } else {
                writeln!(out, "{}", one.text(verbose))?;
            }
        }
    }
    if files.json {
        writeln!(out, "{}", serde_json::json!({ "summary": summary }))?;
    } else {
        writeln!(out, "{}", summary.text())?;
    }
    Ok(ExitCode::from(summary.exit_code()))
}

/// Returns the scripts that a name stands for, in order: those in a directory, or itself.
fn scripts(file: &Path, depth: usize) -> io::Result<Vec<PathBuf>> {
    if !file.is_dir() || depth > MAX_DEPTH {
        return Ok(vec![file.to_owned()]);
    }
    let mut entries: Vec<PathBuf> = fs::read_dir(file)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        if entry.is_dir() {
            found.extend(scripts(&entry, depth + 1)?);
        } else if entry
            .extension()
            .is_some_and(|extension| extension == "pkt")
        {
            found.push(entry);
        }
    }
    Ok(found)
}

/// Reads a file, or stdin for `-`, but not more than a script may be long.
fn read(file: &Path) -> Result<String, String> {
    let limit = MAX_SCRIPT_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    let result = if file == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        fs::File::open(file).and_then(|open| open.take(limit).read_to_end(&mut bytes))
    };
    result.map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|_| "this is no text, so it is no script".to_owned())
}
