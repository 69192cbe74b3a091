//! All IP packets of a capture at once, as a replay needs them.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use super::{CaptureError, Input, Reader, Warnings, open, packet, progress};

/// Most bytes of packets that are held.
const MAX_HELD_BYTES: u64 = 1 << 30;
/// Memory of a packet beside its bytes.
const OVERHEAD_BYTES: u64 = 128;
/// The latest time that a packet can have: beyond the year 2500. Only a damaged file is later.
const LATEST: Duration = Duration::from_secs(1 << 34);

/// One captured IP packet, taken out of all tunnels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Captured {
    /// Number of the packet in the file, from 1, as capture viewers show it.
    pub number: u64,
    /// Time of the capture, since the epoch.
    pub time: Duration,
    /// The packet from its IP header on, without link padding.
    pub ip: Vec<u8>,
    /// True if only its first bytes were captured.
    pub cut: bool,
}

/// Reads every IP packet of the capture at `path`, in file order, and skips other packets.
pub fn read(path: &Path) -> Result<(Vec<Captured>, Warnings), CaptureError> {
    let bar = progress(None);
    let reader = Reader::new(open(path, &bar)?)?;
    let packets = collect(reader);
    bar.finish_and_clear();
    packets
}

/// As [`read`], from any reader; `name` is for messages.
pub fn read_from(
    source: impl Read + 'static,
    name: &str,
) -> Result<(Vec<Captured>, Warnings), CaptureError> {
    collect(Reader::new(Input::new(name, source)?)?)
}

fn collect(mut reader: Reader) -> Result<(Vec<Captured>, Warnings), CaptureError> {
    let mut packets = Vec::new();
    let mut held = 0;
    while let Some(frame) = reader.next_frame()? {
        let Some(found) = packet::of_frame(&frame) else {
            continue;
        };
        let found = found.innermost();
        held += found.ip.len() as u64 + OVERHEAD_BYTES;
        if held > MAX_HELD_BYTES {
            return Err(CaptureError::TooLarge {
                path: reader.name().to_owned(),
                limit: MAX_HELD_BYTES,
            });
        }
        packets.push(Captured {
            number: frame.number,
            time: since_epoch(frame.time_nanos),
            ip: found.ip.to_vec(),
            cut: found.ip.len() < found.payload_at + found.payload_len as usize,
        });
    }
    reader.check_supported()?;
    Ok((packets, reader.warnings().clone()))
}

/// Returns a time as a duration: a time before the epoch is the epoch, and none is later than [`LATEST`].
fn since_epoch(nanos: Option<i128>) -> Duration {
    let latest = LATEST.as_nanos() as i128;
    let nanos = nanos.unwrap_or(0).clamp(0, latest);
    Duration::from_secs((nanos / 1_000_000_000) as u64)
        + Duration::from_nanos((nanos % 1_000_000_000) as u64)
}
