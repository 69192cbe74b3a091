//! The commands that ask a running daemon through its control socket.
//!
//! | module | |
//! |---|---|
//! | [`connection`] | finds the daemon, sends requests, reads replies |
//! | [`ss`], [`filter`] | its sockets |
//! | [`stats`] | its counters, with rates |
//! | [`events`], [`capture`] | what happens, as it happens |
//! | [`nc`], [`ping`] | its addresses put to use |

pub(crate) mod capture;
pub(crate) mod connection;
pub(crate) mod events;
mod files;
mod filter;
pub(crate) mod nc;
pub(crate) mod ping;
pub(crate) mod ss;
pub(crate) mod stats;

use std::io::{self, Write as _};

use clap::Subcommand;

use crate::failure::{EXIT_CODES, Failure};
use crate::watch::WatchArgs;

/// A command that asks a running daemon.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Lists the sockets of a running daemon, as ss does.
    #[command(after_help = EXIT_CODES)]
    Ss(ss::SsArgs),
    /// Prints the counters of a running daemon, as nstat does, at once or again and again with rates.
    #[command(after_help = EXIT_CODES)]
    Stats(stats::StatsArgs),
    /// Prints what happens to the connections of a running daemon: states, losses, windows, ends.
    #[command(after_help = EXIT_CODES)]
    Events(events::EventsArgs),
    /// Captures the packets of a running daemon to a file or pipe.
    #[command(after_help = EXIT_CODES)]
    Capture(capture::CaptureArgs),
    /// Shows a running daemon as a dashboard: throughput, flows, losses, drops, workers, memory.
    #[command(after_help = EXIT_CODES)]
    Watch(WatchArgs),
    /// Connects from an address of a running daemon, or waits for a peer: stdin to the peer, what it sends to stdout.
    #[command(after_help = EXIT_CODES)]
    Nc(nc::NcArgs),
    /// Pings from an address of a running daemon.
    #[command(after_help = EXIT_CODES)]
    Ping(ping::PingArgs),
}

/// Runs a command.
///
/// # Errors
/// A flag is wrong, no daemon answers, or it refuses.
pub(crate) fn run(command: &ClientCommand) -> Result<(), Failure> {
    match command {
        ClientCommand::Ss(args) => ss::run(args),
        ClientCommand::Stats(args) => stats::run(args),
        ClientCommand::Events(args) => events::run(args),
        ClientCommand::Capture(args) => capture::run(args),
        ClientCommand::Watch(args) => crate::watch::run(args),
        ClientCommand::Nc(args) => nc::run(args),
        ClientCommand::Ping(args) => ping::run(args),
    }
}

/// Writes to stdout. A closed stdout ends the command, and is no failure: `| head` does that.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(unwritable(&error)),
    }
}

fn unwritable(error: &io::Error) -> Failure {
    Failure::Refused(format!(
        "stdout cannot be written: {}: check whether the disk is full",
        crate::file::reason(error)
    ))
}

/// Returns a value as one line of JSON.
fn json_line(value: &impl serde::Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string(value)
        .map_err(|error| Failure::Refused(format!("a reply cannot be printed: {error}")))?;
    Ok(text + "\n")
}
