//! `run --record`: writes down everything that the stack depends on, so that `replay` repeats it to the last bit.
//!
//! * **Define.** A recording is that of one worker, whose programs are the services on it. What reaches the stack from
//!   other threads is not recorded.
//! * **Enforce.** A [`Recorder`] is the only one that turns the worker. The device has one queue. The stack has no other
//!   clock than its turns. Before anything else reaches the stack, the recording is ended.
//! * **Consume.** [`crate::replay`] makes the same stack from the header, and turns it with what was recorded.
//!
//! | file | |
//! |---|---|
//! | `begin` | the file, the device and the seed of a daemon that records |
//! | `device` | notes what a turn reads and sends |
//! | `tape` | puts the notes of turns behind each other |
//! | `writer` | writes them on a thread of its own |
//! | `thread` | turns the worker of a daemon that records |

pub(crate) mod begin;
mod device;
mod tape;
pub(crate) mod thread;
mod writer;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use clap::Args;
use netstack::base::Instant;
use netstack::device::Device;
use netstack::engine::future::Turns;
use netstack::engine::worker::Progress;
use netstack::net::Stack;

use self::device::Recorded;
use self::tape::Tape;
use self::writer::Writer;
use crate::failure::Failure;
use crate::recording::blocks::Blocks;
use crate::recording::decisions::{Decision, End, Header};
use crate::recording::{FORMAT, of_settings};
use crate::services::{self, Running};
use crate::session;
use crate::settings::Settings;
use crate::values::parse_memory;

/// Most bytes of a recording, unless a flag says otherwise.
pub const DEFAULT_LIMIT: u64 = 1 << 30;

/// Flags of `run` about recording.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct RecordArgs {
    /// Records everything that the stack depends on to this file, for netstackd replay. The device gets one queue. The file
    /// holds what connections carry.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Size at which the recording ends, in bytes, or with K, M or G; the daemon goes on [default: 1G].
    #[arg(long, value_name = "BYTES", value_parser = parse_memory)]
    record_limit: Option<usize>,
}

impl RecordArgs {
    /// Returns the most bytes of the file.
    ///
    /// # Errors
    /// A limit is given, but no file.
    pub(crate) fn limit(&self) -> Result<u64, Failure> {
        match (&self.record, self.record_limit) {
            (None, Some(_)) => Err(Failure::Usage(
                "--record-limit is the size of a recording: add --record FILE".to_owned(),
            )),
            (_, limit) => Ok(limit.map_or(DEFAULT_LIMIT, |limit| limit as u64)),
        }
    }
}

/// The beginning of a recording, which a stack is made from, now and later.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// The seed of all randomness.
    pub seed: [u8; 32],
    /// Unix time of the stack's time zero.
    pub origin: Duration,
    /// The time on the stack's clock.
    pub start: Instant,
    /// Most bytes of the file.
    pub limit: u64,
}

/// A stack whose one worker is turned and recorded.
pub struct Recorder {
    turns: Turns,
    /// `None`: the recording has ended.
    tape: Option<Tape>,
    /// When the worker wanted to be turned.
    wanted: Option<Instant>,
    ended: Option<Ended>,
    /// Dropped, they would close their ports.
    services: Option<Running>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("turns", &self.turns)
            .field("services", &self.services)
            .field(
                "ended",
                &self.ended.as_ref().map(|ended| &ended.sums.reason),
            )
            .finish_non_exhaustive()
    }
}

/// A recording that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) sums: End,
    pub(crate) bytes: u64,
    /// Sends one message, when all of it is written.
    pub(crate) written: Receiver<io::Result<()>>,
}

impl Recorder {
    /// Starts a stack with its services on `device`, and records it to `out`. Returns the stack, whose sockets nobody may
    /// use while it is recorded, and the recorder, which turns it.
    ///
    /// # Errors
    /// The stack cannot be started, or the configuration cannot be recorded.
    pub fn with_services(
        settings: &Settings,
        device: Box<dyn Device>,
        beginning: &Beginning,
        out: impl Write + Send + 'static,
    ) -> Result<(Stack, Self), Failure> {
        let (stack, recorder) = Self::start(settings, device, beginning, out)?;
        let wall = services::Wall::of_stack(&stack, beginning.origin);
        let opened = services::open(settings)?;
        let prepared = services::prepare(&stack, settings, opened, &wall)?;
        let services = Some(services::start(&stack, settings, prepared, wall)?);
        Ok((
            stack,
            Self {
                services,
                ..recorder
            },
        ))
    }

    /// As [`with_services`](Self::with_services), for a daemon that starts its services itself, the same ones.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn start(
        settings: &Settings,
        device: Box<dyn Device>,
        beginning: &Beginning,
        out: impl Write + Send + 'static,
    ) -> Result<(Stack, Self), Failure> {
        let mut settings = settings.clone();
        let memory = settings.stack.memory_bytes;
        settings.stack.memory_bytes = Some(memory.unwrap_or_else(Stack::default_memory));
        let header = header(&settings, &*device, beginning)?;
        let begin = || Blocks::begin(settings.tun.as_str(), beginning.origin);
        let unusable = |error: &dyn std::fmt::Display| {
            Failure::Stack(format!(
                "the recording cannot be begun: {error}: record again"
            ))
        };
        let mut blocks = begin().map_err(|error| unusable(&error))?;
        let written = blocks.decision(&Decision::Header(Box::new(header)));
        written.map_err(|error| unusable(&error))?;
        let first = blocks.take();
        let mut of_packets = begin().map_err(|error| unusable(&error))?;
        drop(of_packets.take());
        let (notes, noted) = channel();
        let is_recording = Arc::new(AtomicBool::new(true));
        let device = Recorded {
            device,
            blocks: of_packets,
            notes,
            is_recording: Arc::clone(&is_recording),
            now: beginning.start,
        };
        let (stack, turns) =
            session::start(&settings, Box::new(device), beginning.seed, beginning.start)?;
        let writer = Writer::start(out).map_err(|error| unusable(&error))?;
        let tape = Tape {
            notes: noted,
            blocks,
            writer,
            is_recording,
            limit: beginning.limit,
            bytes: first.len() as u64,
            sums: End::default(),
            mtu: None,
            was_idle: false,
            has_slept: false,
            piece: first,
        };
        let recorder = Self {
            turns,
            tape: Some(tape),
            wanted: None,
            ended: None,
            services: None,
        };
        Ok((stack, recorder))
    }

    /// Turns the worker, as [`Turns::turn`] does, and records the turn.
    ///
    /// # Errors
    /// The stack ended.
    pub fn turn(&mut self, now: Instant) -> io::Result<Progress> {
        let turned = self.turns.turn(now);
        let why = match (&turned, &mut self.tape) {
            (Ok(progress), Some(tape)) => tape.end_turn(progress, self.wanted),
            (Err(error), Some(_)) => Some(error.to_string()),
            (_, None) => None,
        };
        if let Some(why) = why {
            self.end(why);
        }
        self.wanted = turned.as_ref().ok().and_then(|turned| turned.next_timer);
        turned
    }

    /// Sleeps, as [`Turns::park`] does.
    ///
    /// # Errors
    /// The stack ended, or the device cannot wait.
    pub fn park(&mut self, now: Instant, until: Option<Instant>) -> io::Result<()> {
        if let Some(tape) = &mut self.tape {
            tape.has_slept = true;
            if let Some(why) = tape.write() {
                self.end(why);
            }
        }
        self.turns.park(now, until)
    }

    /// Ends the recording. The stack goes on.
    pub fn end(&mut self, why: String) {
        if let Some(tape) = self.tape.take() {
            let bytes = tape.bytes;
            let (writer, sums) = tape.end(why);
            self.ended = Some(Ended {
                sums,
                bytes,
                written: writer.finish(),
            });
        }
    }

    /// Returns the recording once, when it has ended.
    pub(crate) fn take_ended(&mut self) -> Option<Ended> {
        self.ended.take()
    }

    /// Ends the recording, if it has not ended, and waits until its file is written. Returns the reason of its end.
    ///
    /// # Errors
    /// It could not be written.
    pub fn finish(mut self) -> io::Result<String> {
        self.end("it was asked to end".to_owned());
        let Some(ended) = self.ended else {
            return Ok(String::new());
        };
        let gone = || io::Error::other("the thread that writes the recording is gone");
        ended.written.recv().map_err(|_| gone())??;
        Ok(ended.sums.reason)
    }
}

fn header(
    settings: &Settings,
    device: &dyn Device,
    beginning: &Beginning,
) -> Result<Header, Failure> {
    let nanos = u64::try_from(beginning.origin.as_nanos()).unwrap_or(u64::MAX);
    Ok(Header {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        config: of_settings(settings)?,
        seed: beginning.seed,
        origin_nanos: nanos,
        start_nanos: beginning.start.as_nanos(),
        link: device.caps().into(),
    })
}
