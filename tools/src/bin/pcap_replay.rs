//! `pcap-replay`: replays the sessions of captures against the stack on virtual time, and reports what the stack does
//! otherwise than the captured host did.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use serde_json::json;
use tools::capture::{Captured, read};
use tools::live::daemon::usual_program;
use tools::output::{exit_code, print_man};
use tools::replay::{
    Found, Live, LiveOptions, Ours, Part, Record, Report, Which, prepare, run_all,
};

/// Most directories that lie in each other.
const MAX_DEPTH: usize = 16;

/// Replays the sessions of captures against the stack.
///
/// The stack takes the place of one host of each session: the packets of its peers are played as captured, and its
/// application reads, writes and closes as the captured one did. All sessions of a file are replayed at once, on
/// virtual time.
#[derive(Parser, Debug)]
#[command(name = "pcap-replay", version, after_help = EXAMPLES)]
struct Options {
    /// Captures, or directories of them; - reads stdin.
    #[arg(required_unless_present = "man")]
    files: Vec<PathBuf>,
    /// The host whose place the stack takes: server, client, or the address of a host.
    #[arg(long = "as", value_name = "HOST", default_value = "server")]
    host: Which,
    /// Replays only the TCP session with this number, as pcap-inspect numbers them.
    #[arg(long, value_name = "N")]
    session: Option<usize>,
    /// Seed of the stack's random numbers, such as its initial sequence numbers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Compares segment by segment: flags, numbers and lengths must be the captured ones.
    #[arg(long)]
    strict: bool,
    /// Writes the packets of the replay as pcapng, with a comment where it parts from the capture. One file only.
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Shows only sessions that differ, and the closing line.
    #[arg(short, long)]
    quiet: bool,
    /// Replays against this running host, in real time, instead of the stack on virtual time. Once for each IP version.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "daemon")]
    live: Vec<IpAddr>,
    /// The network namespace from which the host is reached, in which forwarding is switched on: a name of `ip netns`, the
    /// number of a process, or a path [default: this one, where forwarding must be on].
    #[arg(long, value_name = "NAMESPACE", requires = "live")]
    netns: Option<String>,
    /// The port at which the host serves [default: the captured one].
    #[arg(long, value_name = "PORT", requires = "live")]
    port: Option<u16>,
    /// The control socket of the netstackd that the host is: its applications are played, too.
    #[arg(long, value_name = "PATH", requires = "live")]
    control: Option<PathBuf>,
    /// Starts this netstackd in a network namespace of its own and replays against it, in real time [default program: the
    /// netstackd beside this program, or in the PATH].
    #[arg(long, value_name = "PROGRAM", num_args = 0..=1, require_equals = true)]
    daemon: Option<Option<PathBuf>>,
    /// Longest time that a peer waits for the host in real time, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    patience: u32,
    /// Prints one JSON object a line, the summary last.
    #[arg(long)]
    json: bool,
    /// Prints the manual page.
    #[arg(long, hide = true)]
    man: bool,
}

const EXAMPLES: &str = "\
Examples:
  pcap-replay capture.pcap                       the stack as the server of each session
  pcap-replay --as client capture.pcap           as the client of each session
  pcap-replay --as 10.0.0.5 capture.pcapng.gz    as that host, in both roles
  pcap-replay -w replay.pcapng capture.pcap      and what it sent, as a capture
  pcap-replay --quiet captures/                  all captures of a directory
  pcap-replay --daemon capture.pcap              against a netstackd that it starts, in real time
  pcap-replay --live 10.77.0.2 --netns lab echo.pcap
                                                 against the services of a running host
  pcap-replay --live 10.77.0.2 --netns lab --control /run/netstackd/t0-812.sock capture.pcap
                                                 against a running netstackd, its applications played, too

Exit code:
  0  every session that could be replayed was the same
  1  a session was different
  2  a capture cannot be read, nothing could be replayed, or the command line is wrong";

fn main() -> ExitCode {
    let options = Options::parse();
    if options.man {
        return print_man::<Options>();
    }
    // A network namespace belongs to a thread.
    let running = std::thread::spawn(move || {
        let mut out = BufWriter::new(io::stdout().lock());
        let result = replay(&options, &mut out).and_then(|code| {
            out.flush()?;
            Ok(code)
        });
        exit_code("pcap-replay", result, 2)
    });
    running.join().unwrap_or(ExitCode::from(101))
}

/// Returns the host in real time that is asked for, if one is.
fn live(options: &Options) -> Result<Option<Live>, String> {
    let patience = Duration::from_secs(options.patience.into());
    if let Some(program) = &options.daemon {
        let program = program.clone().unwrap_or_else(usual_program);
        return Live::start(&program, patience).map(Some);
    }
    if options.live.is_empty() {
        return Ok(None);
    }
    let reached = LiveOptions {
        addresses: options.live.clone(),
        port: options.port,
        control: options.control.clone(),
        patience,
    };
    Live::reach(reached, options.netns.as_deref()).map(Some)
}

/// Counts over all files.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
struct Summary {
    files: usize,
    same: usize,
    different: usize,
    not_replayed: usize,
    unreadable: usize,
}

impl Summary {
    fn text(&self) -> String {
        format!(
            "{} files: {} sessions same, {} different, {} not replayed, {} files unreadable",
            self.files, self.same, self.different, self.not_replayed, self.unreadable
        )
    }

    fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self { different, .. } if *different > 0 => 1,
            Self { unreadable, .. } if *unreadable > 0 => 2,
            Self { same: 0, .. } => 2,
            _ => 0,
        })
    }
}

fn replay(options: &Options, out: &mut dyn Write) -> Result<ExitCode, Box<dyn Error>> {
    let mut files = Vec::new();
    for file in &options.files {
        files.extend(captures(file, 0)?);
    }
    if options.write.is_some() && files.len() != 1 {
        return Err(format!("-w takes one capture, not {}", files.len()).into());
    }
    let mut summary = Summary::default();
    let mut live = live(options)?;
    for file in &files {
        summary.files += 1;
        if let Err(error) = one_file(options, live.as_mut(), file, &mut summary, out) {
            let error = match error.downcast::<io::Error>() {
                Ok(error) => return Err(error),
                Err(error) => error,
            };
            summary.unreadable += 1;
            out.flush()?;
            eprintln!("pcap-replay: {error}");
        }
    }
    if options.json {
        writeln!(out, "{}", json!({ "type": "summary", "summary": summary }))?;
    } else {
        writeln!(out, "{}", summary.text())?;
    }
    Ok(summary.exit_code())
}

/// Returns the captures that a name stands for, in order: those in a directory, or itself.
fn captures(file: &Path, depth: usize) -> io::Result<Vec<PathBuf>> {
    if !file.is_dir() || depth > MAX_DEPTH {
        return Ok(vec![file.to_owned()]);
    }
    let mut entries: Vec<PathBuf> = std::fs::read_dir(file)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        let extension = entry.extension().and_then(|extension| extension.to_str());
        if entry.is_dir() {
            found.extend(captures(&entry, depth + 1)?);
        } else if matches!(extension, Some("pcap" | "pcapng" | "cap" | "gz" | "zst")) {
            found.push(entry);
        }
    }
    Ok(found)
}

fn one_file(
    options: &Options,
    live: Option<&mut Live>,
    file: &Path,
    summary: &mut Summary,
    out: &mut dyn Write,
) -> Result<(), Box<dyn Error>> {
    let name = file.display().to_string();
    let (packets, warnings) = read(file)?;
    for sentence in warnings.sentences(&name) {
        eprintln!("pcap-replay: warning: {sentence}");
    }
    let mut found = prepare(&packets, options.host);
    if let Some(number) = options.session {
        found.retain(|found| found.number == number && found.name.starts_with("TCP"));
    }
    if found.is_empty() {
        return Err(format!(
            "{name}: {} IP packets, but no session that can be replayed as {:?}: pcap-inspect lists them",
            packets.len(),
            options.host
        )
        .into());
    }
    let (mut parts, mut names) = (Vec::new(), Vec::new());
    for Found {
        name: session,
        part,
        ..
    } in found
    {
        let part = part.map_err(|error| error.to_string());
        let refused = |part: Part| match live.as_ref().and_then(|live| live.refuses(&part)) {
            Some(why) => Err(why),
            None => Ok(part),
        };
        match part.and_then(refused) {
            Ok(part) => {
                parts.push(part);
                names.push(session);
            }
            Err(error) => {
                summary.not_replayed += 1;
                if options.json {
                    let object = json!({ "type": "session", "file": name, "session": session,
                        "verdict": "not replayed", "reason": error });
                    writeln!(out, "{object}")?;
                } else if !options.quiet {
                    writeln!(out, "{name}: {session}\n  not replayed: {error}")?;
                }
            }
        }
    }
    if parts.is_empty() {
        return Ok(());
    }
    for (session, report) in names.iter().zip(&play(options, live, parts, &packets)?) {
        if report.is_same() {
            summary.same += 1;
        } else {
            summary.different += 1;
        }
        show(options, (&name, session), report, out)?;
    }
    Ok(())
}

fn play(
    options: &Options,
    live: Option<&mut Live>,
    parts: Vec<Part>,
    packets: &[Captured],
) -> Result<Vec<Report>, Box<dyn Error>> {
    let windows = parts.iter().map(|part| match part {
        Part::Tcp(plan) => plan.largest_window(),
        Part::Datagrams(_) => 0,
    });
    let window = windows.max().unwrap_or(0);
    let base = packets.first().map_or(Duration::ZERO, |packet| packet.time);
    let mut record = match &options.write {
        Some(path) => {
            let failed = |error| format!("{}: {error}", path.display());
            let file = File::create(path).map_err(failed)?;
            Some(Record::new(BufWriter::new(file), base)?)
        }
        None => None,
    };
    let reports = match live {
        Some(live) if live.plays_one_at_a_time() => {
            let mut reports = Vec::new();
            for part in parts {
                live.begin_again(part.start());
                reports.extend(run_all(vec![part], live, options.strict, record.as_mut())?);
            }
            reports
        }
        Some(live) => {
            live.begin_again(Duration::ZERO);
            run_all(parts, live, options.strict, record.as_mut())?
        }
        None => {
            let mut host = Ours::new(options.seed, window)?;
            run_all(parts, &mut host, options.strict, record.as_mut())?
        }
    };
    if let Some(record) = record {
        record.finish()?;
    }
    Ok(reports)
}

fn show(
    options: &Options,
    (file, session): (&str, &str),
    report: &Report,
    out: &mut dyn Write,
) -> Result<(), Box<dyn Error>> {
    let verdict = if report.is_same() {
        "same"
    } else {
        "different"
    };
    if options.json {
        let object = json!({ "type": "session", "file": file, "session": session,
            "verdict": verdict, "report": report });
        writeln!(out, "{object}")?;
    } else if !options.quiet || !report.is_same() {
        writeln!(out, "{file}: {session}\n{report}")?;
    }
    Ok(())
}
