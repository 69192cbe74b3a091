//! The headers of outgoing segments: options, acknowledgment and window are the same for all of
//! them.
//!
//! Every segment carries the newest acknowledgment, so each one satisfies a delayed ACK.

use packet::frame::Chunks;
use packet::tcp::{SackBlocks, TcpFlags, TcpOptions, Timestamps};

use crate::base::Instant;
use crate::tcp::segment::SegmentOut;
use crate::tcp::seq::SeqNum;
use crate::tcp::tcb::{Flags, Tcb};

/// SACK blocks that fit into a header with timestamps, and without (RFC 2018 section 3).
const BLOCKS_WITH_TIMESTAMPS: usize = 3;
const BLOCKS_ALONE: usize = 4;

impl Tcb {
    /// Returns the options of a segment that leaves now.
    pub(super) fn options_out(&self, now: Instant) -> TcpOptions {
        let timestamps = self.agreed.timestamps.then(|| Timestamps {
            val: self.ts_now(now),
            ecr: self.ts_recent,
        });
        let mut sack = SackBlocks::default();
        if self.agreed.sack && (self.dsack.is_some() || self.assembler.is_some()) {
            let mut room = if timestamps.is_some() {
                BLOCKS_WITH_TIMESTAMPS
            } else {
                BLOCKS_ALONE
            };
            if let Some((left, right)) = self.dsack {
                sack.push(left.0, right.0);
                room -= 1;
            }
            if let Some(board) = &self.assembler {
                // The first block contains the segment that this ACK answers (RFC 2018 section 4).
                let later = u32::from(self.ack.duplicates().saturating_sub(1));
                board.recent(room, later, |left, right| {
                    sack.push(left.0, right.0);
                });
            }
        }
        TcpOptions {
            timestamps,
            sack,
            ..TcpOptions::default()
        }
    }

    /// Builds a segment with this payload; the owed ACK, if any, is sent with it.
    pub(super) fn emit(
        &mut self,
        seq: SeqNum,
        flags: TcpFlags,
        payload: Chunks,
        options: TcpOptions,
        mss: u32,
    ) -> SegmentOut {
        let unread = if self.flags.contains(Flags::RST_QUEUED) {
            // The peer's data is not taken any more: its window does not open.
            self.window.capacity() as usize
        } else {
            self.ring.len()
        };
        let window = self.window.announce(unread, u32::from(self.agreed.mss));
        self.last_ack_sent = self.window.nxt;
        self.ack.on_sent();
        self.dsack = None;
        self.timers.delayed_ack = Instant::FAR_FUTURE;
        SegmentOut {
            seq,
            ack: self.window.nxt,
            flags: flags | TcpFlags::ACK,
            window,
            options,
            payload,
            mss: u16::try_from(mss).unwrap_or(u16::MAX),
        }
    }

    /// Builds a segment without payload.
    pub(super) fn emit_bare(&mut self, seq: SeqNum, flags: TcpFlags, now: Instant) -> SegmentOut {
        let options = self.options_out(now);
        let mss = u32::from(self.agreed.mss);
        self.emit(seq, flags, Chunks::new(), options, mss)
    }
}
