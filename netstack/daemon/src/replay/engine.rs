//! Turns a stack with what was recorded, and compares what it does.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use netstack::base::Instant;
use netstack::device::observe::Direction;
use netstack::engine::future::Turns;
use netstack::net::{Checkpoint, ConnectionEvent, Stack};
use packet::frame::TxOffload;

use super::difference::{Difference, What};
use super::player::{Input, Output, Player};
use crate::failure::Failure;
use crate::recording::decisions::{Decision, End, Header, TurnRecord};
use crate::recording::effects::{Effects, Kept};
use crate::recording::packets::Received;
use crate::recording::reader::{Part, ReadError, Reader, RecordedPacket};
use crate::recording::settings_of;
use crate::services::Running;
use crate::session::{self, Start};

/// Most packets that a turn reads: far more than any stack takes in at once.
const MOST_PACKETS: usize = 1_024;

/// Longest time that a recording may cover: each day of it costs the timers some steps.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3_600);

/// Most memory for packets that a recording may ask for.
const MOST_MEMORY: usize = 16 << 30;

/// Sees what a replay does, as it does it.
pub(super) trait Watch {
    /// A packet was read or sent in turn `turn`. `comment`: where it parts from the recording.
    fn packet(
        &mut self,
        turn: u64,
        at: Instant,
        direction: Direction,
        bytes: &[u8],
        comment: Option<&str>,
    );

    /// An event of a connection happened.
    fn event(&mut self, turn: u64, event: &ConnectionEvent);
}

/// The outcome of a step.
#[derive(Debug)]
pub(super) enum Step {
    /// A turn was as it was recorded.
    Same,
    Differs(Box<Difference>),
    /// The recording ends. `None`: without saying so, since it was cut.
    End(Option<End>),
}

/// The numbers of a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) turns: u64,
    pub(super) packets_in: u64,
    pub(super) packets_out: u64,
    /// The time of the last turn, and that of the first.
    pub(super) now: Instant,
    pub(super) start: Instant,
}

/// A replay.
pub(super) struct Replayer<R> {
    reader: Reader<R>,
    /// A part that was read too early.
    ahead: Option<Part>,
    turns: Turns,
    _stack: Stack,
    _services: Running,
    inputs: Sender<Input>,
    outputs: Receiver<Output>,
    events: Receiver<ConnectionEvent>,
    /// The effects of the device on what was sent, which it repeats in the next turn.
    effects: Vec<Effects>,
    /// The work that was left to the device on the packets of the batch.
    offloads: VecDeque<TxOffload>,
    pub(super) sums: Sums,
    pub(super) header: Header,
}

impl<R: Read> Replayer<R> {
    /// Makes the stack of the recording that `source` holds.
    ///
    /// # Errors
    /// It holds none, or one that no stack can be made from. `name` is its file's.
    pub(super) fn open(source: R, name: &str, wants_events: bool) -> Result<Self, Failure> {
        let (mut reader, header) =
            Reader::open(source).map_err(|error| unreadable(name, &error))?;
        let state = reader.read_state(&header);
        let checkpoint = state
            .map_err(|error| unreadable(name, &error))?
            .map(|state| restorable(name, &header, &state))
            .transpose()?;
        let settings = settings_of(&header.config)?;
        let memory = settings.stack.memory_bytes;
        if memory.is_none_or(|memory| memory > MOST_MEMORY) {
            return Err(Failure::Recording(format!(
                "{name} asks for more memory than {MOST_MEMORY} bytes, or for none: record with a smaller --memory"
            )));
        }
        let ((inputs, input), (output, outputs)) = (channel(), channel());
        let player = Player {
            caps: header.link.into(),
            inputs: input,
            outputs: output,
            kept: Kept::default(),
        };
        let start = Start {
            seed: header.seed,
            now: Instant::from_nanos(header.start_nanos),
            checkpoint,
        };
        let (now, has_state) = (start.now, start.checkpoint.is_some());
        let made = session::start(&settings, Box::new(player), start);
        let (stack, turns) = made.map_err(|failure| match has_state {
            true => not_restored(name, &failure),
            false => failure,
        })?;
        let origin = Duration::from_nanos(header.origin_nanos);
        let served = session::serve(&stack, &settings, origin)?;
        let (happened, events) = channel();
        if wants_events {
            let happened = Arc::new(happened);
            let subscriber = move |event: &ConnectionEvent| {
                // Whoever looks goes with the stack.
                let _ = happened.send(*event);
            };
            let subscribed = stack.subscribe(subscriber);
            subscribed.map_err(|error| Failure::Stack(error.to_string()))?;
        }
        if let Some(begin) = served.begin {
            begin.begin();
        }
        Ok(Self {
            reader,
            ahead: None,
            turns,
            _stack: stack,
            _services: served.services,
            inputs,
            outputs,
            events,
            effects: Vec::new(),
            offloads: VecDeque::new(),
            sums: Sums {
                now,
                start: now,
                ..Sums::default()
            },
            header,
        })
    }

    /// Returns true if the file was cut off in the middle of a block.
    pub(super) fn is_cut(&self) -> bool {
        self.reader.is_cut()
    }

    fn next(&mut self) -> Result<Option<Part>, ReadError> {
        match self.ahead.take() {
            Some(part) => Ok(Some(part)),
            None => self.reader.next(),
        }
    }

    /// Does what was recorded of one turn.
    ///
    /// # Errors
    /// The recording is damaged.
    pub(super) fn step(&mut self, watch: &mut dyn Watch) -> Result<Step, ReadError> {
        let turn = match self.next()? {
            None => return Ok(Step::End(None)),
            Some(Part::Decision(Decision::End(end))) => return Ok(Step::End(Some(end))),
            Some(Part::Decision(Decision::Turn(turn))) => turn,
            Some(_) => return Err(disorder("something else than a turn begins")),
        };
        self.check(&turn)?;
        let Some(packets) = self.read_packets(&turn, watch)? else {
            return Ok(Step::End(None));
        };
        let mut effects = std::mem::take(&mut self.effects);
        effects.push(turn.effects);
        // The device is there as long as its stack is.
        let _ = self.inputs.send(Input {
            packets,
            memory: turn.memory,
            mtu: turn.mtu,
            effects,
        });
        let slept = match turn.has_slept {
            true => self.turns.park(self.sums.now, Some(self.sums.now)),
            false => Ok(()),
        };
        let turned = slept.and_then(|()| self.turns.turn(turn.now));
        self.sums.now = turn.now;
        while let Ok(event) = self.events.try_recv() {
            watch.event(turn.number, &event);
        }
        let what = match self.compare(&turn, watch)? {
            Compared::Same => None,
            Compared::Cut => return Ok(Step::End(None)),
            Compared::Differs(what) => Some(what),
        };
        let what = what.or_else(|| match turned {
            Ok(progress) if progress.next_timer != turn.next_timer => Some(What::Timer {
                recorded: turn.next_timer,
                replayed: progress.next_timer,
            }),
            Ok(progress) if progress.busy != turn.is_busy => Some(What::Fault(format!(
                "the turn found something to do: {} instead of {}",
                progress.busy, turn.is_busy
            ))),
            Ok(_) => None,
            Err(error) => Some(What::Fault(format!("the stack ended: {error}"))),
        });
        if let Some(what) = what {
            return Ok(Step::Differs(Box::new(Difference {
                turn: turn.number,
                at: turn.now,
                packet: self.sums.packets_out,
                what,
            })));
        }
        self.sums.turns += 1;
        Ok(Step::Same)
    }

    /// Checks what a file may say in a turn.
    fn check(&self, turn: &TurnRecord) -> Result<(), ReadError> {
        if turn.number != self.sums.turns {
            return Err(disorder("turns are missing"));
        }
        if turn.now < self.sums.now || turn.now - self.sums.start > LONGEST {
            return Err(disorder("the time goes back, or years on"));
        }
        if turn.packets.len() > MOST_PACKETS {
            return Err(disorder("a turn reads more packets than any stack does"));
        }
        Ok(())
    }

    /// Reads the packets that a turn reads; `None` if the file is cut.
    fn read_packets(
        &mut self,
        turn: &TurnRecord,
        watch: &mut dyn Watch,
    ) -> Result<Option<Vec<(RecordedPacket, Received)>>, ReadError> {
        let mut packets = Vec::new();
        for received in &turn.packets {
            let Some(part) = self.next()? else {
                return Ok(None);
            };
            let Part::Packet(packet) = part else {
                return Err(disorder("a packet that a turn reads is missing"));
            };
            if packet.direction != Direction::In {
                return Err(disorder("a packet that a turn reads was sent"));
            }
            watch.packet(turn.number, packet.at, Direction::In, &packet.bytes, None);
            self.sums.packets_in += 1;
            packets.push((packet, *received));
        }
        Ok(Some(packets))
    }

    /// Compares what the stack has sent with what was recorded.
    fn compare(&mut self, turn: &TurnRecord, watch: &mut dyn Watch) -> Result<Compared, ReadError> {
        let mut what = None;
        while let Ok(output) = self.outputs.try_recv() {
            let (bytes, offload) = match output {
                Output::Packet { bytes, offload } => (bytes, offload),
                Output::Fault(why) => {
                    what = what.or(Some(What::Fault(why)));
                    continue;
                }
            };
            if what.is_some() {
                // Only the first difference means something.
                continue;
            }
            let expected = match self.expected()? {
                Expected::Packet(packet) => Some(packet),
                Expected::Nothing => None,
                Expected::Cut => return Ok(Compared::Cut),
            };
            self.sums.packets_out += 1;
            what = match expected {
                None => Some(What::Extra(bytes.clone())),
                Some(packet) if packet.bytes != bytes => Some(What::Packet {
                    recorded: packet.bytes,
                    replayed: bytes.clone(),
                }),
                Some(packet) => match self.offloads.pop_front().unwrap_or_default() {
                    recorded if recorded == offload => None,
                    recorded => Some(What::Offload {
                        packet: packet.bytes,
                        recorded,
                        replayed: offload,
                    }),
                },
            };
            let comment = what
                .as_ref()
                .map(|_| "here the replay parts from the recording");
            watch.packet(turn.number, turn.now, Direction::Out, &bytes, comment);
        }
        if what.is_none() {
            what = match self.expected()? {
                Expected::Packet(packet) => {
                    self.sums.packets_out += 1;
                    Some(What::Missing(packet.bytes))
                }
                // A cut behind the last packet shows at the next turn.
                Expected::Nothing | Expected::Cut => None,
            };
        }
        Ok(what.map_or(Compared::Same, Compared::Differs))
    }

    /// Returns the next packet that was sent in this turn.
    fn expected(&mut self) -> Result<Expected, ReadError> {
        loop {
            return Ok(match self.next()? {
                None => Expected::Cut,
                Some(Part::Packet(packet)) if packet.direction == Direction::Out => {
                    Expected::Packet(packet)
                }
                Some(Part::Decision(Decision::Sent(sent))) => {
                    self.effects.push(sent.effects);
                    self.offloads = sent.packets.into();
                    if self.effects.len() > MOST_PACKETS {
                        return Err(disorder("a turn sends more batches than any stack does"));
                    }
                    continue;
                }
                other => {
                    self.ahead = other;
                    Expected::Nothing
                }
            });
        }
    }
}

enum Compared {
    Same,
    Differs(What),
    /// The file was cut within this turn.
    Cut,
}

enum Expected {
    Packet(RecordedPacket),
    Nothing,
    Cut,
}

/// Reads the checkpoint with which a part begins.
fn restorable(name: &str, header: &Header, state: &[u8]) -> Result<Checkpoint, Failure> {
    let checkpoint = Checkpoint::from_bytes(state);
    let checkpoint = checkpoint.map_err(|error| not_restored(name, &error))?;
    match checkpoint.now().as_nanos() == header.start_nanos {
        true => Ok(checkpoint),
        false => Err(not_restored(name, &"it is of another time")),
    }
}

fn not_restored(name: &str, why: &dyn std::fmt::Display) -> Failure {
    unreadable(name, &ReadError::State(why.to_string()))
}

fn disorder(what: &str) -> ReadError {
    ReadError::Disorder(what.to_owned())
}

/// Returns the failure for a file that is no recording, or cannot be read.
pub(super) fn unreadable(name: &str, error: &ReadError) -> Failure {
    Failure::Recording(format!("{name} {error}"))
}
