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

/// The share of a part's room for turns after which the next part begins as soon as no service has anything in hand: three
/// quarters.
const DUE: (u64, u64) = (3, 4);

/// Room that is kept for the end.
const END_BYTES: u64 = 512;

/// The reason why a turn is not part of the file.
pub(super) enum Refusal {
    /// There is no room for it.
    Full,
    /// The recording can take nothing more.
    Broken(String),
}

impl From<pcap_file::PcapError> for Refusal {
    fn from(error: pcap_file::PcapError) -> Self {
        Self::Broken(error.to_string())
    }
}

/// A recording that is being made, or a part of one.
pub(super) struct Tape {
    pub(super) notes: Receiver<Noted>,
    pub(super) blocks: Blocks,
    pub(super) writer: Writer,
    pub(super) is_recording: Arc<AtomicBool>,
    /// Most bytes of the file.
    pub(super) limit: u64,
    /// Bytes of the file so far.
    pub(super) bytes: u64,
    /// Bytes of its head, which are there before any turn.
    pub(super) head_bytes: u64,
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
    /// Takes the notes of a turn that the worker wanted at `wanted`.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub(super) fn end_turn(
        &mut self,
        progress: &Progress,
        wanted: Option<Instant>,
    ) -> Result<(), Refusal> {
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
                    self.blocks.decision(&Decision::Sent(sent))?;
                    packets.extend(self.blocks.take());
                    packets.extend(blocks);
                }
                Noted::Failed(error) => return Err(error.into()),
            }
        }
        let is_idle = is_idle(&turn, wanted) && sent_packets == 0;
        let is_same_mtu = self.mtu.replace(turn.mtu) == Some(turn.mtu);
        // A second turn in a row that finds nothing changes nothing.
        if std::mem::replace(&mut self.was_idle, is_idle) && is_idle && is_same_mtu {
            return Ok(());
        }
        let received = turn.packets.len() as u64;
        self.add(turn, packets)?;
        self.has_slept = false;
        self.sums.turns += 1;
        self.sums.packets_in += received;
        self.sums.packets_out += sent_packets;
        Ok(())
    }

    fn add(&mut self, turn: TurnRecord, packets: Vec<u8>) -> Result<(), Refusal> {
        self.blocks.decision(&Decision::Turn(turn))?;
        let block = self.blocks.take();
        let length = (block.len() + packets.len()) as u64;
        if self.bytes + length + END_BYTES > self.limit {
            return Err(Refusal::Full);
        }
        self.bytes += length;
        self.piece.extend(block);
        self.piece.extend(packets);
        if self.piece.len() >= PIECE_BYTES
            && let Some(why) = self.write()
        {
            return Err(Refusal::Broken(why));
        }
        Ok(())
    }

    /// Returns true if the part has reached the size from which the next one may begin.
    pub(super) fn is_due(&self) -> bool {
        let room = self.limit.saturating_sub(self.head_bytes);
        self.bytes.saturating_sub(self.head_bytes) >= room / DUE.1 * DUE.0
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

    /// Lets the device note nothing from here on.
    pub(super) fn stop_noting(&self) {
        self.is_recording.store(false, Ordering::Relaxed);
    }

    /// Ends the file. Nothing is noted from here on.
    pub(super) fn end(mut self, why: String) -> (Writer, End) {
        self.stop_noting();
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
