//! `pcap-inspect`: the TCP sessions of a capture, what each side sent, and whether they can be
//! replayed.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tools::capture::{CaptureError, Direction, Session, Stream, read, sessions};
use tools::replay::Plan;

/// Lists the TCP sessions of a capture (pcap or pcapng).
#[derive(Parser, Debug)]
#[command(version)]
struct Options {
    /// The capture.
    file: PathBuf,
}

fn main() -> ExitCode {
    match inspect(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pcap-inspect: {error}");
            ExitCode::FAILURE
        }
    }
}

fn inspect(options: &Options) -> Result<(), CaptureError> {
    let packets = read(&options.file)?;
    let sessions = sessions(&packets);
    let tcp: usize = sessions.iter().map(|session| session.segments.len()).sum();
    println!(
        "{}: {} IP packets, {} TCP sessions, {} packets that are not TCP",
        options.file.display(),
        packets.len(),
        sessions.len(),
        packets.len() - tcp
    );
    for (number, session) in sessions.iter().enumerate() {
        println!(
            "\nsession {}: {} → {}",
            number + 1,
            session.client,
            session.server
        );
        side(
            "client",
            session,
            Direction::FromClient,
            Some(&session.from_client),
        );
        side(
            "server",
            session,
            Direction::FromServer,
            session.from_server.as_ref(),
        );
        match Plan::of(session) {
            Ok(_) => println!("  can be replayed"),
            Err(error) => println!("  cannot be replayed: {error}"),
        }
    }
    Ok(())
}

fn side(name: &str, session: &Session, direction: Direction, stream: Option<&Stream>) {
    let sent = || {
        session
            .segments
            .iter()
            .filter(move |segment| segment.direction == direction)
    };
    let payload: u64 = sent().map(|segment| segment.payload.len() as u64).sum();
    let distinct = stream.map_or(0, |stream| stream.bytes().len() as u64);
    print!("  {name}: {} packets, {distinct} bytes", sent().count());
    if session.headless {
        println!();
        return;
    }
    if payload > distinct {
        print!(", {} sent again or out of order", payload - distinct);
    }
    if let Some(gap) = stream.and_then(Stream::first_gap) {
        print!(", missing from offset {gap} on");
    }
    let conflicts = stream.map_or(0, Stream::conflicts);
    if conflicts > 0 {
        print!(", {conflicts} bytes sent again with other contents");
    }
    let end = if sent().any(|segment| segment.rst) {
        "reset"
    } else if session.ended_by(direction) {
        "closed"
    } else {
        "not closed in the capture"
    };
    println!(", {end}");
}
