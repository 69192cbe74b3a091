//! Prints what a replay does, and writes its packets to a file.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::time::Duration;

use netstack::base::Instant;
use netstack::device::observe::Direction;
use netstack::net::ConnectionEvent;
use serde_json::json;

use super::ReplayArgs;
use super::engine::{Sums, Watch};
use super::show;
use crate::control::events;
use crate::failure::Failure;
use crate::file::reason;
use crate::probe::now;
use crate::recording::blocks::Blocks;
use crate::recording::decisions::Header;

/// Time between two looks at how far a replay has come.
const PROGRESS: Duration = Duration::from_secs(1);

/// Bytes of a file that are written at once.
const PIECE_BYTES: usize = 256 << 10;

/// Turns between two looks at the clock.
const TURNS: u64 = 1_024;

/// Where a replay is shown. By default nowhere.
#[derive(Default)]
pub(super) struct Watcher {
    trace: Option<Trace>,
    file: Option<Copy>,
    /// When the progress was shown last; `None` if it is not shown.
    told: Option<Duration>,
}

struct Trace {
    out: BufWriter<io::Stdout>,
    is_json: bool,
    /// The reader of stdout has gone.
    is_over: bool,
}

struct Copy {
    name: String,
    file: File,
    blocks: Blocks,
    waiting: Vec<u8>,
    /// The first error, after which nothing is written.
    error: Option<io::Error>,
}

impl Watcher {
    /// Shows what the flags ask for.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(super) fn new(args: &ReplayArgs, header: &Header) -> Result<Self, Failure> {
        let file = args.write.as_ref().map(|path| {
            let name = path.display().to_string();
            let origin = Duration::from_nanos(header.origin_nanos);
            let blocks = Blocks::begin("replay", origin).map_err(io::Error::other);
            let begun = blocks.and_then(|blocks| Ok((blocks, File::create(path)?)));
            let (mut blocks, file) = begun.map_err(|error| unwritable(&name, &error))?;
            let waiting = blocks.take();
            Ok(Copy {
                name,
                file,
                blocks,
                waiting,
                error: None,
            })
        });
        let trace = args.trace.then(|| Trace {
            out: BufWriter::new(io::stdout()),
            is_json: args.json,
            is_over: false,
        });
        Ok(Self {
            told: (trace.is_none() && io::stderr().is_terminal()).then(now),
            trace,
            file: file.transpose()?,
        })
    }

    /// Returns true if nobody looks any more.
    pub(super) fn has_enough(&self) -> bool {
        self.trace.as_ref().is_some_and(|trace| trace.is_over)
    }

    /// Tells from time to time how far the replay has come.
    pub(super) fn progress(&mut self, sums: &Sums) {
        let Some(told) = &mut self.told else {
            return;
        };
        if sums.turns.is_multiple_of(TURNS) && now().saturating_sub(*told) >= PROGRESS {
            *told = now();
            let covered = (sums.now - sums.start).as_secs_f64();
            eprintln!(
                "netstackd: {} turns, {} packets, {covered:.1}s of the recording",
                sums.turns,
                sums.packets_in + sums.packets_out
            );
        }
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        if let Some(trace) = &mut self.trace {
            // Whoever reads may have gone.
            let _ = trace.out.flush();
        }
        let Some(mut copy) = self.file.take() else {
            return Ok(());
        };
        copy.write();
        match copy.error {
            Some(error) => Err(unwritable(&copy.name, &error)),
            None => Ok(()),
        }
    }
}

impl Watch for Watcher {
    fn packet(
        &mut self,
        turn: u64,
        at: Instant,
        direction: Direction,
        bytes: &[u8],
        comment: Option<&str>,
    ) {
        if let Some(copy) = &mut self.file {
            copy.add(at, direction, bytes, comment);
        }
        let Some(trace) = &mut self.trace else {
            return;
        };
        let way = match direction {
            Direction::In => "in",
            Direction::Out => "out",
        };
        let line = show::line(bytes);
        trace.print(&match trace.is_json {
            true => json!({ "turn": turn, "at_nanos": at.as_nanos(), way: line }).to_string(),
            false => format!("{turn} {at:?} {way:<3} {line}"),
        });
    }

    fn event(&mut self, turn: u64, event: &ConnectionEvent) {
        let Some(trace) = &mut self.trace else {
            return;
        };
        let row = events::row(Duration::ZERO, event);
        let at = event.at;
        trace.print(&match trace.is_json {
            true => json!({ "turn": turn, "at_nanos": at.as_nanos(), "event": row }).to_string(),
            false => format!("{turn} {at:?} --- {}", row.words()),
        });
    }
}

impl Trace {
    fn print(&mut self, line: &str) {
        self.is_over |= writeln!(self.out, "{line}").is_err();
    }
}

impl Copy {
    fn add(&mut self, at: Instant, direction: Direction, bytes: &[u8], comment: Option<&str>) {
        if let Err(error) = self.blocks.packet(direction, at, bytes, comment) {
            self.error = self.error.take().or(Some(io::Error::other(error)));
        }
        self.waiting.extend(self.blocks.take());
        if self.waiting.len() >= PIECE_BYTES {
            self.write();
        }
    }

    fn write(&mut self) {
        if self.error.is_none() {
            self.error = self.file.write_all(&self.waiting).err();
        }
        self.waiting.clear();
    }
}

fn unwritable(name: &str, error: &io::Error) -> Failure {
    Failure::Usage(format!(
        "--write {name} cannot be written: {}: name a file in a directory that can be written to, on a disk with room",
        reason(error)
    ))
}
