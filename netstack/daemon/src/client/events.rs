//! `netstackd events`: what happens to connections, as it happens.

use std::net::IpAddr;

use clap::Args;

use super::connection::{Connection, ControlArgs, strange};
use super::{json_line, print};
use crate::control::protocol::{EventRow, EventsRequest, Reply, Request};
use crate::failure::Failure;

/// Flags of `events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// Only connections with this address at either end.
    #[arg(long, value_name = "ADDR")]
    address: Option<IpAddr>,
    /// Only connections with this port at either end.
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Ends after so many events.
    #[arg(short, long, value_name = "N")]
    count: Option<u64>,
    /// One JSON object a line.
    #[arg(short, long)]
    json: bool,
}

/// Prints events until SIGINT.
///
/// # Errors
/// No daemon answers, or it refuses.
pub(crate) fn run(args: &EventsArgs) -> Result<(), Failure> {
    let mut connection = Connection::open(&args.control)?;
    connection.send(&Request::Events(EventsRequest {
        address: args.address,
        port: args.port,
        count: args.count,
        ..EventsRequest::default()
    }))?;
    connection.stop_at_signal()?;
    loop {
        match connection.reply()? {
            Reply::Event(event) if args.json => print(&json_line(&event)?)?,
            Reply::Event(event) => print(&text_of(&event))?,
            Reply::Lost { count } => eprintln!(
                "netstackd: {count} events were missed: read faster, or name an address or port"
            ),
            Reply::End(_) => return Ok(()),
            _ => return Err(strange("the control socket")),
        }
    }
}

fn text_of(event: &EventRow) -> String {
    let seconds = event.at_micros / 1_000_000;
    let clock = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let micros = event.at_micros % 1_000_000;
    let words = event.words();
    format!(
        "{:02}:{:02}:{:02}.{micros:06} {words}\n",
        clock.0, clock.1, clock.2
    )
}
