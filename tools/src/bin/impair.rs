//! `impair`: joins two TUN devices by a link with rate, delay, loss and more, on any kernel.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use clap::Parser;
use impair::{Impairment, Wire};
use tools::impair::control::{Answer, COMMANDS, Link};
use tools::impair::direction::Direction;
use tools::impair::endpoint::Endpoint;
use tools::impair::inputs::{self, Event};
use tools::impair::now;
use tools::impair::port::Port;
use tools::output::exit_code;

/// Longest single wait.
const LONG: Duration = Duration::from_secs(3600);

/// Joins two TUN devices, each in a network namespace, by a link that is as bad as you like.
///
/// An end is written NAME[@NAMESPACE][=ADDRESS/PREFIX,…]. The namespace is a name of `ip netns`, the number of a process or
/// a path. Both devices are made, get their addresses, and go when the program ends. The link needs nothing of the
/// kernel but TUN, in particular no netem. Super-packets of up to 64 KiB pass, and every rule holds for each packet in them.
#[derive(Parser, Debug)]
#[command(version, after_help = after_help())]
struct Options {
    /// The end A, for example t0@left=10.9.0.1/24.
    a: Endpoint,
    /// The end B, for example t0@right=10.9.0.2/24.
    b: Endpoint,
    /// Impairment of packets from A to B
    #[arg(long, value_name = "KEY=VALUE,…", default_value = "none")]
    a_to_b: Impairment,
    /// Impairment of packets from B to A
    #[arg(long, value_name = "KEY=VALUE,…", default_value = "none")]
    b_to_a: Impairment,
    /// Impairment of packets in both directions, in addition
    #[arg(long, value_name = "KEY=VALUE,…", default_value = "")]
    both: String,
    /// MTU of both devices, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 1500, value_parser = clap::value_parser!(u16).range(68..))]
    mtu: u16,
    /// Seed of all random decisions.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Takes commands at this Unix socket, too.
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Prints what has happened every so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    interval: Option<u64>,
    /// Ends by itself after so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    seconds: Option<u64>,
    /// Prints JSON, one object a line.
    #[arg(long)]
    json: bool,
    /// Without super-packets: the kernel cuts them and completes checksums.
    #[arg(long)]
    no_offload: bool,
}

fn after_help() -> String {
    format!(
        "\
Keys:
{}

Commands, a line each, at standard input or the control socket:
{COMMANDS}

Examples:
  ip netns add left; ip netns add right
  impair t0@left=10.9.0.1/24 t0@right=10.9.0.2/24 --both delay=20ms --a-to-b rate=10mbit,queue=50ms,loss=1%
  ip netns exec left iperf3 -c 10.9.0.2          (with iperf3 -s in right)
  echo 'both loss=5%' | nc -NU /run/impair.sock  (with --control /run/impair.sock)

Exit code:
  0  ended by quit, a signal or --seconds
  1  a device is gone
  2  a device cannot be made, or the command line is wrong",
        impair::settings::HELP
    )
}

fn main() -> ExitCode {
    exit_code("impair", run(Options::parse()), 2)
}

fn run(mut options: Options) -> Result<ExitCode, Box<dyn Error>> {
    for side in [&mut options.a_to_b, &mut options.b_to_a] {
        side.change(&options.both)
            .map_err(|error| format!("--both: {error}"))?;
    }
    let (sender, events) = channel();
    inputs::signals(sender.clone())?;
    let a = options.a.open(options.mtu, !options.no_offload)?;
    let b = options.b.open(options.mtu, !options.no_offload)?;
    let start = |name: &str, from: &Port, to: &Port, settings: &Impairment, seed: u64| {
        let (ended, name_of) = (sender.clone(), name.to_owned());
        let tell = move |error: io::Error| {
            // The receiver is gone only when the program ends.
            let _ = ended.send(Event::Ended(format!("{name_of}: {error}")));
        };
        let wire = Wire::new(settings.clone(), seed);
        Direction::start(name, from.try_clone()?, to.try_clone()?, wire, tell)
    };
    let forth = start("a-to-b", &a, &b, &options.a_to_b, options.seed)?;
    let back = start("b-to-a", &b, &a, &options.b_to_a, !options.seed)?;
    let mut link = Link::new((options.a_to_b, forth), (options.b_to_a, back));
    let _socket = match &options.control {
        Some(path) => Some(inputs::socket(path, sender.clone()).map_err(|error| {
            format!(
                "the control socket {} cannot be made ({error}): name a path in a directory that can be written to",
                path.display()
            )
        })?),
        None => None,
    };
    inputs::stdin(sender.clone())?;
    say(&format!(
        "ready {} to {}, seed {}",
        options.a, options.b, options.seed
    ))?;
    let end = options
        .seconds
        .map(|seconds| now() + Duration::from_secs(seconds));
    let interval = options.interval.map(Duration::from_secs);
    let mut next_report = interval.map(|interval| now() + interval);
    let ended = loop {
        let wake = [end, next_report].into_iter().flatten().min();
        let wait = wake.map_or(LONG, |at| at.saturating_sub(now()));
        match events.recv_timeout(wait) {
            Ok(Event::Command(line, answer)) => match link.obey(&line) {
                // Whoever asked may have gone.
                Answer::Text(text) => drop(answer.send(text)),
                Answer::Quit => break None,
            },
            Ok(Event::Signal) | Err(RecvTimeoutError::Disconnected) => break None,
            Ok(Event::Ended(why)) => break Some(why),
            Err(RecvTimeoutError::Timeout) => {
                if end.is_some_and(|end| end <= now()) {
                    break None;
                }
                if next_report.is_some_and(|at| at <= now()) {
                    say(&report(&link, options.json))?;
                    next_report = interval.map(|interval| now() + interval);
                }
            }
        }
    };
    say(&report(&link, options.json))?;
    Ok(match ended {
        None => ExitCode::SUCCESS,
        Some(why) => {
            eprintln!("impair: a device is gone ({why}): look who removed it, then start again");
            ExitCode::FAILURE
        }
    })
}

fn report(link: &Link, json: bool) -> String {
    if json { link.json() } else { link.summary() }
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}
