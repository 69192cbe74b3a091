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
//! | `part` | the head of a file |
//! | `ring` | parts that follow each other: another stack goes on with each |
//! | `shared` | the device, which one stack after the other has |
//! | `device` | notes what a turn reads and sends |
//! | `tape` | puts the notes of turns behind each other |
//! | `writer` | writes them on a thread of its own |
//! | `thread` | turns the worker of a daemon that records |

pub(crate) mod begin;
mod device;
mod part;
pub(crate) mod ring;
mod shared;
mod tape;
pub(crate) mod thread;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use clap::Args;
use netstack::base::Instant;
use netstack::device::Device;
use netstack::engine::future::Turns;
use netstack::engine::worker::Progress;
use netstack::net::Stack;

use self::part::{Base, First};
use self::ring::{Begun, Ring};
use self::tape::{Refusal, Tape};
pub use self::writer::Out;
use self::writer::Writer;
use crate::current::Current;
use crate::failure::Failure;
use crate::recording::decisions::End;
use crate::session::{self, Start};
use crate::settings::Settings;
use crate::values::parse_memory;

/// Most bytes of a recording, unless a flag says otherwise.
pub const DEFAULT_LIMIT: u64 = 1 << 30;

/// Fewest bytes of a part.
const MIN_PART_BYTES: u64 = 256 << 10;

/// Flags of `run` about recording.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct RecordArgs {
    /// Records everything that the stack depends on to this file, for netstackd replay. The device gets one queue. The file
    /// holds what connections carry.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Keeps the newest so many parts of the recording, in files that are named after FILE: run-00001.pcapng and so on for
    /// run.pcapng. Each part can be replayed alone. Where one begins, all connections pause for a moment.
    #[arg(long, value_name = "PARTS", value_parser = clap::value_parser!(u16).range(2..))]
    record_ring: Option<u16>,
    /// Size at which the recording ends, or most bytes of all parts together, in bytes, or with K, M or G; the daemon goes
    /// on [default: 1G].
    #[arg(long, value_name = "BYTES", value_parser = parse_memory)]
    record_limit: Option<usize>,
}

impl RecordArgs {
    /// Returns how many parts are kept, if there are parts, and the most bytes of a file.
    ///
    /// # Errors
    /// They are given without a file, or a part would be too small.
    pub(crate) fn parts(&self) -> Result<(Option<u16>, u64), Failure> {
        let alone = |flag: &str, what: &str| {
            Err(Failure::Usage(format!(
                "{flag} is {what} of a recording: add --record FILE"
            )))
        };
        let limit = self
            .record_limit
            .map_or(DEFAULT_LIMIT, |limit| limit as u64);
        let bytes = limit / u64::from(self.record_ring.unwrap_or(1));
        match self {
            Self {
                record: None,
                record_limit: Some(_),
                ..
            } => alone("--record-limit", "the size"),
            Self {
                record: None,
                record_ring: Some(_),
                ..
            } => alone("--record-ring", "the number of parts"),
            Self {
                record_ring: Some(parts),
                ..
            } if bytes < MIN_PART_BYTES => Err(Failure::Usage(format!(
                "--record-ring {parts} divides {limit} bytes into parts of {bytes}, and each needs {MIN_PART_BYTES}: raise \
                     --record-limit, or keep fewer parts"
            ))),
            _ => Ok((self.record_ring, bytes)),
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
    /// Most bytes of the file, or of each part.
    pub limit: u64,
    /// The parts of the recording, if it has parts: the next one begins when there is no room in one.
    pub parts: Option<Parts>,
}

/// The parts of a recording.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// The number of the first one.
    pub first: u64,
    /// Draws the seed of the part of a number.
    pub seed: fn(u64) -> io::Result<[u8; 32]>,
}

/// A stack whose one worker is turned and recorded.
pub struct Recorder {
    turns: Turns,
    /// `None`: the recording has ended.
    tape: Option<Tape>,
    /// When the worker wanted to be turned.
    wanted: Option<Instant>,
    ended: Option<Ended>,
    base: Base,
    /// The parts that follow, if there are any.
    ring: Option<Ring>,
    /// The services of the stack, and whoever uses it. Dropped, they would close their ports.
    current: Option<Current>,
    /// The numbers of the parts before.
    before: Sums,
    begun: Option<Begun>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("turns", &self.turns)
            .field("current", &self.current)
            .field(
                "ended",
                &self.ended.as_ref().map(|ended| &ended.sums.reason),
            )
            .finish_non_exhaustive()
    }
}

/// The numbers of parts.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    parts: u64,
    turns: u64,
    packets_in: u64,
    packets_out: u64,
    bytes: u64,
}

impl Sums {
    /// Adds a part of `bytes`.
    fn add(&mut self, part: &End, bytes: u64) {
        self.parts += 1;
        self.turns += part.turns;
        self.packets_in += part.packets_in;
        self.packets_out += part.packets_out;
        self.bytes += bytes;
    }
}

/// A recording that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The numbers of all its parts.
    pub(crate) sums: End,
    pub(crate) bytes: u64,
    pub(crate) parts: u64,
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
        out: impl Out,
    ) -> Result<(Stack, Self), Failure> {
        let (stack, recorder) = Self::start(settings, device, beginning, out)?;
        let served = session::serve(&stack, settings, beginning.origin)?;
        let current = Some(Current::new(&stack, served.services));
        Ok((
            stack,
            Self {
                current,
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
        out: impl Out,
    ) -> Result<(Stack, Self), Failure> {
        let unusable = |error: &dyn std::fmt::Display| {
            Failure::Stack(format!(
                "the recording cannot be begun: {error}: record again"
            ))
        };
        let base = Base::new(settings, device, beginning)?;
        let first = First {
            seed: beginning.seed,
            now: beginning.start,
            number: beginning.parts.map(|parts| parts.first),
            state: &[],
        };
        let (device, head) = base.begin(&first).map_err(|error| unusable(&error))?;
        let start = Start {
            seed: first.seed,
            now: first.now,
            checkpoint: None,
        };
        let (stack, turns) = session::start(&base.settings, device, start)?;
        let writer = Writer::start(out).map_err(|error| unusable(&error))?;
        let recorder = Self {
            turns,
            tape: Some(head.tape(writer, base.limit)),
            wanted: None,
            ended: None,
            base,
            ring: beginning.parts.map(|parts| Ring {
                number: parts.first,
                seed: parts.seed,
            }),
            current: None,
            before: Sums::default(),
            begun: None,
        };
        Ok((stack, recorder))
    }

    /// Says who uses the stack, and its services.
    pub(crate) fn serves(&mut self, current: Current) {
        self.current = Some(current);
    }

    /// Turns the worker, as [`Turns::turn`] does, and records the turn. Where the next part begins, another stack goes on:
    /// turn it at once.
    ///
    /// # Errors
    /// The stack ended.
    pub fn turn(&mut self, now: Instant) -> io::Result<Progress> {
        let mut turned = self.turns.turn(now);
        let recorded = match (&turned, &mut self.tape) {
            (Ok(progress), Some(tape)) => tape.end_turn(progress, self.wanted),
            (Err(error), Some(_)) => Err(Refusal::Broken(error.to_string())),
            (_, None) => return turned,
        };
        self.wanted = turned.as_ref().ok().and_then(|turned| turned.next_timer);
        let is_full = matches!(recorded, Err(Refusal::Full));
        match recorded {
            Err(Refusal::Broken(why)) => self.end(why),
            Err(Refusal::Full) if !self.has_room_in_parts() => self.end(self.no_room()),
            _ if self.is_part_due(is_full) => {
                self.next_part(now);
                self.wanted = None;
                if let Ok(progress) = &mut turned {
                    progress.busy = true;
                }
            }
            _ => {}
        }
        turned
    }

    /// Returns true if a turn that has no room has some in the next part.
    fn has_room_in_parts(&self) -> bool {
        let has_turns = |tape: &Tape| tape.sums.turns > 0;
        self.ring.is_some() && self.tape.as_ref().is_some_and(has_turns)
    }

    fn no_room(&self) -> String {
        let limit = self.base.limit;
        match self.ring {
            None => format!("it has reached its limit of {limit} bytes: raise --record-limit"),
            Some(_) => format!(
                "a part of {limit} bytes has no room for one turn: raise --record-limit, or keep fewer parts"
            ),
        }
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
            let mut all = self.before;
            all.add(&tape.sums, tape.bytes);
            let (writer, sums) = tape.end(why);
            self.ended = Some(Ended {
                sums: End {
                    reason: sums.reason,
                    turns: all.turns,
                    packets_in: all.packets_in,
                    packets_out: all.packets_out,
                },
                bytes: all.bytes,
                parts: all.parts,
                written: writer.finish(),
            });
        }
    }

    /// Returns the part that has begun since the last call.
    pub(crate) fn take_begun(&mut self) -> Option<Begun> {
        self.begun.take()
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
