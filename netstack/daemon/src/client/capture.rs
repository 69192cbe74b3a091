//! `netstackd capture`: the daemon's packets as a pcapng file or stream.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use super::connection::{Connection, ControlArgs, strange};
use super::files::{Division, Out};
use crate::control::packet_filter::PacketFilter;
use crate::control::protocol::{CaptureRequest, Reply, Request};
use crate::control::rows::NetId;
use crate::failure::Failure;
use crate::file::reason;
use crate::probe::now;
use crate::values::parse_memory;

/// Time between two lines about lost packets.
const LOST_LINES: Duration = Duration::from_secs(1);

/// Flags of `capture`.
#[derive(Debug, Args)]
pub struct CaptureArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// File or pipe that the capture is written to, in pcapng; - is stdout.
    #[arg(short, long, value_name = "FILE")]
    write: PathBuf,
    /// Begins another file before one grows beyond so many bytes, or with K, M or G: run.pcapng becomes run-00001.pcapng,
    /// run-00002.pcapng, and so on.
    #[arg(short = 'C', long, value_name = "BYTES", value_parser = parse_memory)]
    file_size: Option<usize>,
    /// Keeps the newest N of these files, and removes the oldest, those of earlier runs first.
    #[arg(short = 'W', long, value_name = "N", requires = "file_size", value_parser = clap::value_parser!(u32).range(1..))]
    ring_files: Option<u32>,
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

impl CaptureArgs {
    fn division(&self) -> Result<Option<Division>, Failure> {
        if self.file_size.is_some() && self.write.as_os_str() == "-" {
            return Err(Failure::Usage(
                "--file-size divides a capture into files, and --write - is a pipe: name a file"
                    .to_owned(),
            ));
        }
        Ok(self.file_size.map(|bytes| Division {
            file_bytes: bytes as u64,
            files: self.ring_files.map(|files| files as usize),
        }))
    }
}

fn unwritable(shown: &str, error: &io::Error) -> Failure {
    Failure::Refused(format!(
        "{shown} cannot be written: {}: name a file in a directory that can be written to, on a disk with room",
        reason(error)
    ))
}

/// Writes packets until SIGINT, or until whoever reads has gone.
///
/// # Errors
/// The file cannot be written, no daemon answers, or it refuses.
pub(crate) fn run(args: &CaptureArgs) -> Result<(), Failure> {
    let filter = parse_filter(&args.filter).map_err(Failure::Usage)?;
    let division = args.division()?;
    let mut connection = Connection::open(&args.control)?;
    let mut out = Out::open(&args.write, division)
        .map_err(|error| unwritable(&args.write.display().to_string(), &error))?;
    connection.send(&Request::Capture(CaptureRequest {
        filter,
        snaplen: args.snaplen,
        count: args.count,
    }))?;
    connection.stop_at_signal()?;
    let mut told: Option<Duration> = None;
    let slow =
        "whoever writes or reads is too slow for them, keep less of each (--snaplen) or filter";
    loop {
        match connection.reply()? {
            Reply::Data { data } => {
                let bytes = STANDARD
                    .decode(data)
                    .map_err(|_| strange("the control socket"))?;
                match out.write(&bytes) {
                    Ok(()) => {}
                    // The reader has seen enough.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                    Err(error) => return Err(unwritable(&out.shown(), &error)),
                }
            }
            // The sum is told at the end.
            Reply::Lost { count } => {
                let now = now();
                if told.is_none_or(|told| now - told >= LOST_LINES) {
                    told = Some(now);
                    eprintln!("{count} packets lost: {slow}");
                }
            }
            Reply::End(end) => {
                let why = match end.lost {
                    0 => String::new(),
                    _ => format!(": {slow}"),
                };
                eprintln!("{} packets captured, {} lost{why}", end.count, end.lost);
                return Ok(());
            }
            _ => return Err(strange("the control socket")),
        }
    }
}
