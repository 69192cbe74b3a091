//! `pcap-replay`: replays the client of captured TCP sessions against the stack on virtual time, and
//! reports whether both ends received the same bytes.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tools::capture::{read, sessions};
use tools::output::exit_code;
use tools::replay::{Ours, Plan, run};

/// Replays captured TCP sessions (pcap or pcapng) with the stack as the server.
///
/// Exit code 0: both ends of every session received the same bytes. 1: they did not. 2: no session
/// could be replayed.
#[derive(Parser, Debug)]
#[command(version)]
struct Options {
    /// The capture file.
    file: PathBuf,
    /// Replays only this session, as pcap-inspect numbers them [default: all complete sessions].
    #[arg(long, value_name = "N")]
    session: Option<usize>,
    /// Seed of the stack's random numbers, such as its initial sequence number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let result = replay(&Options::parse(), &mut io::stdout().lock());
    exit_code("pcap-replay", result, 2)
}

fn replay(options: &Options, out: &mut impl Write) -> Result<ExitCode, Box<dyn Error>> {
    let name = options.file.display();
    let (packets, _) = read(&options.file)?;
    let sessions = sessions(&packets);
    if sessions.is_empty() {
        return Err(format!(
            "{name}: {} IP packets, but no TCP session: capture with the filter \"tcp\"",
            packets.len()
        )
        .into());
    }
    if let Some(number) = options.session
        && !(1..=sessions.len()).contains(&number)
    {
        return Err(format!(
            "{name}: there is no session {number}: use --session 1 to {}, pcap-inspect lists them",
            sessions.len()
        )
        .into());
    }
    let (mut replayed, mut same) = (0, true);
    for (number, session) in (1..).zip(&sessions) {
        if options.session.is_some_and(|only| only != number) {
            continue;
        }
        writeln!(
            out,
            "session {number}: {} → {}",
            session.client, session.server
        )?;
        let plan = match Plan::of(session) {
            Ok(plan) => plan,
            Err(error) => {
                writeln!(out, "  not replayed: {error}")?;
                continue;
            }
        };
        let mut host = Ours::new(plan.server, options.seed)?;
        let report = run(&plan, &mut host);
        writeln!(out, "{report}")?;
        if let Some(failure) = host.failure() {
            writeln!(out, "  the stack failed: {failure}")?;
        }
        replayed += 1;
        same &= report.is_same() && host.failure().is_none();
    }
    if replayed == 0 {
        return Err(format!(
            "{name}: none of its sessions can be replayed: capture from before the first SYN on"
        )
        .into());
    }
    Ok(ExitCode::from(u8::from(!same)))
}
