//! Puts the notes of each turn behind each other, as long as there is room.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;

use netstack::base::Instant;
use netstack::engine::worker::Progress;

use super::device::Noted;
use super::writer::{Refused, Writer};
use crate::file::reason;
use crate::recording::blocks::Blocks;
use crate::recording::decisions::{Decision, End, TurnRecord};

/// Bytes that are written at once.
const PIECE_BYTES: usize = 256 << 10;

/// Room that is kept for the end.
const END_BYTES: u64 = 512;

/// A recording that is being made.
pub(super) struct Tape {
    pub(super) notes: Receiver<Noted>,
    pub(super) blocks: Blocks,
    pub(super) writer: Writer,
    pub(super) is_recording: Arc<AtomicBool>,
    /// Most bytes of the file.
    pub(super) limit: u64,
    /// Bytes of the file so far.
    pub(super) bytes: u64,
    pub(super) sums: End,
    /// The MTU of the turn before.
    pub(super) mtu: Option<u16>,
    /// The turn before did nothing.
    pub(super) was_idle: bool,
    /// The worker has slept since the turn that was recorded last.
    pub(super) has_slept: bool,
    /// Written soon.
    pub(super) piece: Vec<u8>,
}

impl Tape {
    /// Takes the notes of a turn that the worker wanted at `wanted`. Returns the reason why the recording must end, if it
    /// must.
    pub(super) fn end_turn(
        &mut self,
        progress: &Progress,
        wanted: Option<Instant>,
    ) -> Option<String> {
        let mut turn = TurnRecord {
            number: self.sums.turns,
            has_slept: self.has_slept,
            is_busy: progress.busy,
            next_timer: progress.next_timer,
            ..TurnRecord::default()
        };
        let mut packets = Vec::new();
        let mut sent_packets = 0;
        while let Ok(noted) = self.notes.try_recv() {
            match noted {
                Noted::Read {
                    now,
                    packets: about,
                    memory,
                    mtu,
                    effects,
                    blocks,
                } => {
                    (turn.now, turn.mtu, turn.packets) = (now, mtu, about);
                    (turn.memory, turn.effects) = (memory, effects);
                    packets = blocks;
                }
                Noted::Sent { sent, blocks } => {
                    sent_packets += sent.packets.len() as u64;
                    if let Err(error) = self.blocks.decision(&Decision::Sent(sent)) {
                        return Some(error.to_string());
                    }
                    packets.extend(self.blocks.take());
                    packets.extend(blocks);
                }
                Noted::Failed(error) => return Some(error.to_string()),
            }
        }
        let is_idle = is_idle(&turn, wanted) && sent_packets == 0;
        let is_same_mtu = self.mtu.replace(turn.mtu) == Some(turn.mtu);
        // A second turn in a row that finds nothing changes nothing.
        if std::mem::replace(&mut self.was_idle, is_idle) && is_idle && is_same_mtu {
            return None;
        }
        let received = turn.packets.len() as u64;
        let refused = self.add(turn, packets);
        if refused.is_none() {
            self.has_slept = false;
            self.sums.turns += 1;
            self.sums.packets_in += received;
            self.sums.packets_out += sent_packets;
        }
        refused
    }

    fn add(&mut self, turn: TurnRecord, packets: Vec<u8>) -> Option<String> {
        if let Err(error) = self.blocks.decision(&Decision::Turn(turn)) {
            return Some(error.to_string());
        }
        let block = self.blocks.take();
        let length = (block.len() + packets.len()) as u64;
        if self.bytes + length + END_BYTES > self.limit {
            return Some(format!(
                "it has reached its limit of {} bytes: raise --record-limit",
                self.limit
            ));
        }
        self.bytes += length;
        self.piece.extend(block);
        self.piece.extend(packets);
        if self.piece.len() >= PIECE_BYTES {
            return self.write();
        }
        None
    }

    /// Writes what is there, before the worker sleeps. Returns the reason why the recording must end, if it must.
    pub(super) fn write(&mut self) -> Option<String> {
        if self.piece.is_empty() {
            return None;
        }
        let piece = std::mem::take(&mut self.piece);
        match self.writer.write(piece) {
            Ok(()) => None,
            Err(Refused::Slow) => Some(
                "its disk is slower than the traffic: use a faster one, or record less traffic"
                    .to_owned(),
            ),
            Err(Refused::Failed(error)) => Some(format!(
                "it cannot be written: {}: use a disk with room",
                reason(&error)
            )),
        }
    }

    /// Ends the recording. Nothing is noted from here on.
    pub(super) fn end(mut self, why: String) -> (Writer, End) {
        self.is_recording.store(false, Ordering::Relaxed);
        self.sums.reason = why;
        if self
            .blocks
            .decision(&Decision::End(self.sums.clone()))
            .is_ok()
        {
            self.piece = [std::mem::take(&mut self.piece), self.blocks.take()].concat();
            // What does not fit any more ends without its last block.
            let _ = self.write();
        }
        (self.writer, self.sums)
    }
}

/// Returns true if a turn found nothing to do.
fn is_idle(turn: &TurnRecord, wanted: Option<Instant>) -> bool {
    !turn.is_busy
        && turn.packets.is_empty()
        && turn.effects.is_none()
        && wanted.is_none_or(|wanted| wanted > turn.now)
}
