//! The headers of outgoing segments: options, acknowledgment and window are the same for all of
//! them.
//!
//! Every segment carries the newest acknowledgment, so each one satisfies a delayed ACK.

use packet::frame::Chunks;
use packet::tcp::{MAX_OPTIONS_LEN, SackBlocks, TcpFlags, TcpOptions, Timestamps};

use crate::base::Instant;
use crate::tcp::segment::SegmentOut;
use crate::tcp::seq::SeqNum;
use crate::tcp::tcb::{Flags, Tcb};

/// Returns how many SACK blocks fit beside so many bytes of other options (RFC 2018 section 3).
fn blocks_beside(used: usize) -> usize {
    MAX_OPTIONS_LEN.saturating_sub(used + 4) / 8
}

impl Tcb {
    /// Returns the options of a segment that leaves now.
    pub(super) fn options_out(&self, now: Instant) -> TcpOptions {
        let timestamps = self.agreed.timestamps.then(|| Timestamps {
            val: self.ts_now(now),
            ecr: self.ts_recent,
        });
        let mut sack = SackBlocks::default();
        if self.agreed.sack && (!self.duplicates.is_empty() || self.assembler.is_some()) {
            let stamps = if timestamps.is_some() { 12 } else { 0 };
            let authentication = usize::from(self.settings.authentication_len);
            let mut room = blocks_beside(stamps + authentication);
            if let Some((left, right)) = self.duplicates.first() {
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
        // Where it takes the room of the only block, the next segment tells it.
        let has_room = sack.is_empty() || self.settings.authentication_len == 0;
        let tells = self.flags.contains(Flags::USER_TIMEOUT_DUE) && has_room;
        TcpOptions {
            timestamps,
            sack,
            user_timeout: self.settings.user_timeout_option().filter(|_| tells),
            authentication_len: self.settings.authentication_len,
            ..TcpOptions::default()
        }
    }

    /// Builds a segment, for the caller to add its payload of `len` bytes; the owed ACK, if any, is sent with it.
    /// `fresh`: the payload leaves for the first time.
    #[inline]
    pub(super) fn emit(
        &mut self,
        seq: SeqNum,
        flags: TcpFlags,
        options: TcpOptions,
        mss: u32,
        len: u32,
        fresh: bool,
    ) -> SegmentOut {
        let is_alone = len == 0 && flags.is_empty();
        self.segments.on_sent(len, mss);
        let unread = if self.flags.contains(Flags::RST_QUEUED) {
            // The peer's data is not taken any more: its window does not open.
            self.window.capacity() as usize
        } else {
            self.ring.len()
        };
        let window = self.window.announce(unread, u32::from(self.agreed.mss));
        self.last_ack_sent = self.window.nxt;
        self.ack.on_sent();
        self.duplicates.on_reported();
        if !self.duplicates.is_empty() {
            // Each report has a segment of its own.
            self.ack.set_due();
        }
        self.timers.delayed_ack = Instant::FAR_FUTURE;
        SegmentOut {
            seq,
            ack: self.window.nxt,
            flags: flags | TcpFlags::ACK | self.ecn.flags_out(is_alone, fresh),
            window,
            options,
            payload: Chunks::new(),
            mss: u16::try_from(mss).unwrap_or(u16::MAX),
            ecn: if fresh && self.cc.answers_marks() {
                self.ecn.codepoint()
            } else {
                0
            },
        }
    }

    /// Builds a segment without payload.
    pub(super) fn emit_bare(&mut self, seq: SeqNum, flags: TcpFlags, now: Instant) -> SegmentOut {
        let mut options = self.options_out(now);
        if let Some(counters) = self.ecn.option_out(options.sack.len()) {
            let without = options.encoded_len();
            options.acc_ecn = Some(counters);
            if options.encoded_len() > without {
                self.ecn.on_option_sent();
            } else {
                // A user timeout takes the room: the next ACK tells the counters.
                options.acc_ecn = None;
            }
        }
        if options.user_timeout.is_some() || options.sack.is_empty() {
            self.flags.remove(Flags::USER_TIMEOUT_DUE);
        }
        let mss = u32::from(self.agreed.mss);
        self.emit(seq, flags, options, mss, 0, false)
    }
}
