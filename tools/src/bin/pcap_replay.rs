//! `pcap-replay`: plays the client of a captured TCP session against the stack on virtual time, and
//! says whether the same bytes came out on both ends.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tools::capture::{read, sessions};
use tools::replay::{Ours, Plan, run};

/// Replays captured TCP sessions (pcap or pcapng) against the stack, in which the stack is the server.
///
/// Exit code 0: the same bytes came out of every session. 1: they did not. 2: nothing could be replayed.
#[derive(Parser, Debug)]
#[command(version)]
struct Options {
    /// The capture.
    file: PathBuf,
    /// Only this session, as pcap-inspect numbers them [default: all that are whole].
    #[arg(long, value_name = "N")]
    session: Option<usize>,
    /// Seed of what the stack decides by chance (its initial sequence number, for one).
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match replay(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("pcap-replay: {error}");
            ExitCode::from(2)
        }
    }
}

fn replay(options: &Options) -> Result<bool, Box<dyn std::error::Error>> {
    let name = options.file.display();
    let packets = read(&options.file)?;
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
            "{name}: --session {number}: there are {}; pcap-inspect lists them",
            sessions.len()
        )
        .into());
    }
    let (mut replayed, mut same) = (0, true);
    for (number, session) in (1..).zip(&sessions) {
        if options.session.is_some_and(|only| only != number) {
            continue;
        }
        println!("session {number}: {} → {}", session.client, session.server);
        let plan = match Plan::of(session) {
            Ok(plan) => plan,
            Err(error) => {
                println!("  not replayed: {error}");
                continue;
            }
        };
        let mut host = Ours::new(plan.server, options.seed)?;
        let report = run(&plan, &mut host);
        println!("{report}");
        if let Some(failure) = host.failure() {
            println!("  the stack failed: {failure}");
        }
        replayed += 1;
        same &= report.is_same() && host.failure().is_none();
    }
    if replayed == 0 {
        return Err(format!("{name}: no session of it could be replayed").into());
    }
    Ok(same)
}
