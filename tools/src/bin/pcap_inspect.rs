//! `pcap-inspect`: lists the TCP sessions of a capture, the data of each side, and whether each session
//! can be replayed.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tools::capture::{Direction, Session, Stream, read, sessions};
use tools::output::exit_code;
use tools::replay::Plan;

/// Lists the TCP sessions of a capture (pcap or pcapng).
#[derive(Parser, Debug)]
#[command(version)]
struct Options {
    /// The capture file.
    file: PathBuf,
}

fn main() -> ExitCode {
    let result = inspect(&Options::parse(), &mut io::stdout().lock());
    exit_code("pcap-inspect", result, 1)
}

fn inspect(options: &Options, out: &mut impl Write) -> Result<ExitCode, Box<dyn Error>> {
    let (packets, _) = read(&options.file)?;
    let sessions = sessions(&packets);
    let tcp: usize = sessions.iter().map(|session| session.segments.len()).sum();
    writeln!(
        out,
        "{}: {} IP packets, {} TCP sessions, {} packets that are not TCP",
        options.file.display(),
        packets.len(),
        sessions.len(),
        packets.len() - tcp
    )?;
    for (number, session) in sessions.iter().enumerate() {
        writeln!(
            out,
            "\nsession {}: {} → {}",
            number + 1,
            session.client,
            session.server
        )?;
        let from_client = Some(&session.from_client);
        let from_server = session.from_server.as_ref();
        for (name, direction, stream) in [
            ("client", Direction::FromClient, from_client),
            ("server", Direction::FromServer, from_server),
        ] {
            writeln!(out, "  {name}: {}", side(session, direction, stream))?;
        }
        match Plan::of(session) {
            Ok(_) => writeln!(out, "  can be replayed")?,
            Err(error) => writeln!(out, "  cannot be replayed: {error}")?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Describes what one side of a session sent.
fn side(session: &Session, direction: Direction, stream: Option<&Stream>) -> String {
    let sent = || {
        session
            .segments
            .iter()
            .filter(move |segment| segment.direction == direction)
    };
    let payload: u64 = sent().map(|segment| segment.payload.len() as u64).sum();
    let distinct = stream.map_or(0, |stream| stream.bytes().len() as u64);
    let mut text = format!("{} packets, {distinct} bytes", sent().count());
    if session.headless {
        return text;
    }
    if payload > distinct {
        text += &format!(", {} sent again or out of order", payload - distinct);
    }
    if let Some(gap) = stream.and_then(Stream::first_gap) {
        text += &format!(", missing from offset {gap} on");
    }
    let conflicts = stream.map_or(0, Stream::conflicts);
    if conflicts > 0 {
        text += &format!(", {conflicts} bytes sent again with other contents");
    }
    let end = if sent().any(|segment| segment.rst) {
        "reset"
    } else if session.ended_by(direction) {
        "closed"
    } else {
        "not closed in the capture"
    };
    text + ", " + end
}
