//! `netstackd capture`: the daemon's packets as a pcapng file or stream.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use super::connection::{Connection, ControlArgs, strange};
use crate::control::protocol::{CaptureRequest, Reply, Request};
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
}

/// Writes packets until SIGINT, or until whoever reads has gone.
///
/// # Errors
/// The file cannot be written, no daemon answers, or it refuses.
pub(crate) fn run(args: &CaptureArgs) -> Result<(), Failure> {
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
                eprintln!(
                    "{} packets captured, {} lost because {shown} is slow",
                    end.count, end.lost
                );
                return Ok(());
            }
            _ => return Err(strange("the control socket")),
        }
    }
}
