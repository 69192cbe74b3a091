//! The parts of a ring: where one begins, the daemon restores itself from a checkpoint, in its own process.
//!
//! * **Define.** A part begins with the bytes of a checkpoint, the configuration and a seed. The stack that goes on is made
//!   from exactly these.
//! * **Enforce.** The stack that was there rests, and ends without a packet once the other one is there. If that cannot be
//!   made, it goes on, and the recording ends.
//! * **Consume.** A replay makes its stack from the same bytes, by the same function ([`session::serve`]): whatever a
//!   checkpoint leaves out, both lack.

use std::io;

use netstack::base::Instant;
use netstack::engine::future::Turns;
use netstack::net::{Checkpoint, Frozen, Stack};

use super::Recorder;
use super::part::{First, Head};
use crate::current::Current;
use crate::recording::MAX_STATE_BYTES;
use crate::services::resume::Kept;
use crate::session::{self, Served, Start};

/// The reason for which a part ends that is followed by another one.
const NEXT: &str = "the next part begins";

/// The largest share of a part that its state may take: three quarters. With more, hardly a turn has room behind it.
const STATE_SHARE: (u64, u64) = (3, 4);

/// The number of a part, and the seeds of those that follow.
pub(super) struct Ring {
    /// The number of the part that is written.
    pub(super) number: u64,
    /// Draws the seed of the part of a number.
    pub(super) seed: fn(u64) -> io::Result<[u8; 32]>,
}

/// A part that has begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    pub(crate) number: u64,
    /// Bytes of the state that it begins with.
    pub(crate) state_bytes: usize,
    /// Connections that went on.
    pub(crate) connections: usize,
    /// Connections that could not be handed over, and have ended.
    pub(crate) cut_off: usize,
}

/// The stack that goes on.
struct Next {
    stack: Stack,
    turns: Turns,
    served: Served,
    head: Head,
    begun: Begun,
}

impl Recorder {
    /// Returns true if the next part is to begin now. `is_full`: there is no room for the last turn.
    pub(super) fn is_part_due(&self, is_full: bool) -> bool {
        let (Some(tape), Some(_), Some(current)) = (&self.tape, &self.ring, &self.current) else {
            return false;
        };
        is_full || (tape.is_due() && current.with_services(|services| services.unfinished() == 0))
    }

    /// Ends the part and begins the next one, or ends the recording.
    pub(super) fn next_part(&mut self, now: Instant) {
        if let Some(tape) = &mut self.tape {
            tape.stop_noting();
        }
        match self.go_over(now) {
            Ok(head) => {
                if let Some(tape) = self.tape.take() {
                    self.before.add(&tape.sums, tape.bytes);
                    let (writer, _) = tape.end(NEXT.to_owned());
                    writer.begin_part();
                    self.tape = Some(head.tape(writer, self.base.limit));
                }
            }
            Err(why) => self.end(why),
        }
    }

    /// Lets another stack take the place of the one that runs. Returns the head of its part.
    ///
    /// # Errors
    /// Says why that cannot be: the one that runs goes on.
    fn go_over(&mut self, now: Instant) -> Result<Head, String> {
        let current = self.current.clone();
        let current = current.ok_or_else(|| "nothing serves on the stack".to_owned())?;
        let stack = current.stack();
        let unfinished = current.with_services(|services| services.unfinished());
        stack.recall();
        let turns = &mut self.turns;
        let frozen = stack.freeze_turning(|| turns.turn(now).map(drop));
        let kept = current.with_services(|services| services.take_recalled());
        let next = frozen
            .map_err(|error| error.to_string())
            .and_then(|frozen| Ok((self.restore(&frozen, &kept)?, frozen)));
        match next {
            Ok((next, frozen)) => {
                let mut begun = next.begun;
                // Some of these close their connection while the stack comes to rest.
                begun.cut_off = begun.cut_off.max(unfinished);
                self.begun = Some(begun);
                Ok(self.take_place(&current, next, (frozen, kept)))
            }
            Err(why) => {
                // A rest that has ended lets calls go on, too.
                stack.end_recall();
                current.with_services(|services| services.go_on(&stack, kept));
                Err(format!("the next part cannot be begun: {why}"))
            }
        }
    }

    /// Makes the stack that goes on, from the state of the one at rest.
    fn restore(&mut self, frozen: &Frozen, kept: &[Kept]) -> Result<Next, String> {
        let ring = self.ring.as_mut().ok_or("the recording has no parts")?;
        let notes = kept.iter().map(|kept| (&kept.stream, kept.state.note()));
        let state = frozen.checkpoint(notes).to_bytes();
        let state = state.map_err(|error| error.to_string())?;
        let most = (self.base.limit / STATE_SHARE.1 * STATE_SHARE.0).min(MAX_STATE_BYTES);
        if state.len() as u64 > most {
            return Err(format!(
                "the state of the stack has {} bytes, and at most {most} are kept with a part: raise --record-limit, or lower \
                 memory_bytes",
                state.len()
            ));
        }
        // What a replay will read, not what was written.
        let checkpoint = Checkpoint::from_bytes(&state).map_err(|error| error.to_string())?;
        let number = ring.number + 1;
        let first = First {
            seed: (ring.seed)(number).map_err(|error| crate::file::reason(&error))?,
            now: checkpoint.now(),
            number: Some(number),
            state: &state,
        };
        let begun = self.base.begin(&first);
        let (device, head) = begun.map_err(|error| error.to_string())?;
        let start = Start {
            seed: first.seed,
            now: first.now,
            checkpoint: Some(checkpoint),
        };
        let settings = &self.base.settings;
        let made = session::start(settings, device, start);
        let (stack, turns) = made.map_err(|failure| failure.to_string())?;
        let served = session::serve(&stack, settings, self.base.origin);
        let served = served.map_err(|failure| failure.to_string())?;
        ring.number = number;
        let begun = Begun {
            number,
            state_bytes: state.len(),
            connections: served.resumed,
            cut_off: served.cut_off,
        };
        Ok(Next {
            stack,
            turns,
            served,
            head,
            begun,
        })
    }

    /// Puts the next stack in the place of the one at rest, which ends, and lets it begin.
    fn take_place(
        &mut self,
        current: &Current,
        next: Next,
        (frozen, kept): (Frozen, Vec<Kept>),
    ) -> Head {
        // Whoever sees that the stack before ends finds the next one.
        let before = current.replace(&next.stack, next.served.services);
        frozen.leave();
        drop((before, kept));
        self.turns = next.turns;
        if let Some(begin) = next.served.begin {
            begin.begin();
        }
        next.head
    }
}
