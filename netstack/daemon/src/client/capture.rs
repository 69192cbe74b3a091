//! `netstackd capture`: the daemon's packets as a pcapng file or stream.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use super::connection::{Connection, ControlArgs, strange};
use crate::control::packet_filter::PacketFilter;
use crate::control::protocol::{CaptureRequest, Reply, Request};
use crate::control::rows::NetId;
use crate::failure::Failure;
use crate::file::reason;

/// Flags of `capture`.
#[derive(Debug, Args)]
pub struct CaptureArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// File or pipe that the capture is written to, in pcapng; - is stdout.
    #[arg(short, long, value_name = "FILE")]
    write: PathBuf,
    /// Most bytes that are kept of each packet [default: all].
    #[arg(short, long, value_name = "BYTES")]
    snaplen: Option<u32>,
    /// Ends after so many packets.
    #[arg(short, long, value_name = "N")]
    count: Option<u64>,
    /// Only these packets: [tcp|udp|icmp] [host ADDRESS] [port PORT].
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
}

/// Reads the words of a filter.
fn parse_filter(words: &[String]) -> Result<PacketFilter, String> {
    let mut filter = PacketFilter::default();
    let mut words = words.iter().flat_map(|words| words.split_whitespace());
    while let Some(word) = words.next() {
        match word {
            "and" => {}
            "tcp" => filter.protocol = Some(NetId::Tcp),
            "udp" => filter.protocol = Some(NetId::Udp),
            "icmp" | "icmp6" => filter.protocol = Some(NetId::Icmp),
            "host" => {
                let text = words.next().unwrap_or_default();
                let host = text
                    .parse()
                    .map_err(|_| format!("host '{text}' is no address: write host 10.77.0.1"))?;
                filter.host = Some(host);
            }
            "port" => {
                let text = words.next().unwrap_or_default();
                let port = text
                    .parse()
                    .map_err(|_| format!("port '{text}' is no port: write port 80"))?;
                filter.port = Some(port);
            }
            _ => {
                return Err(format!(
                    "'{word}' is no word of a capture's filter: use [tcp|udp|icmp] [host ADDRESS] [port PORT]"
                ));
            }
        }
    }
    Ok(filter)
}

/// Writes packets until SIGINT, or until whoever reads has gone.
///
/// # Errors
/// The file cannot be written, no daemon answers, or it refuses.
pub(crate) fn run(args: &CaptureArgs) -> Result<(), Failure> {
    let filter = parse_filter(&args.filter).map_err(Failure::Usage)?;
    let shown = args.write.display().to_string();
    let unwritable = |error: io::Error| {
        Failure::Refused(format!(
            "{shown} cannot be written: {}: name a file in a directory that can be written to, on a disk with room",
            reason(&error)
        ))
    };
    let mut connection = Connection::open(&args.control)?;
    let mut out: Box<dyn Write> = match args.write.to_str() {
        Some("-") => Box::new(io::stdout()),
        _ => Box::new(File::create(&args.write).map_err(unwritable)?),
    };
    connection.send(&Request::Capture(CaptureRequest {
        filter,
        snaplen: args.snaplen,
        count: args.count,
    }))?;
    connection.stop_at_signal()?;
    loop {
        match connection.reply()? {
            Reply::Data { data } => {
                let bytes = STANDARD
                    .decode(data)
                    .map_err(|_| strange("the control socket"))?;
                match out.write_all(&bytes).and_then(|()| out.flush()) {
                    Ok(()) => {}
                    // The reader has seen enough.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                    Err(error) => return Err(unwritable(error)),
                }
            }
            // The sum is told at the end.
            Reply::Lost { .. } => {}
            Reply::End(end) => {
                let slow = match end.lost {
                    0 => String::new(),
                    _ => format!(
                        ": {shown} is too slow for them, keep less of each (--snaplen) or filter"
                    ),
                };
                eprintln!("{} packets captured, {} lost{slow}", end.count, end.lost);
                return Ok(());
            }
            _ => return Err(strange("the control socket")),
        }
    }
}
