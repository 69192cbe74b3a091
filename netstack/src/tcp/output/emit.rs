//! The headers of outgoing segments: options, acknowledgment and window are the same for all of
//! them.
//!
//! Every segment carries the newest acknowledgment, so each one satisfies a delayed ACK.

use packet::tcp::{MAX_OPTIONS_LEN, SackBlocks, TcpFlags, TcpOptions, Timestamps};

use crate::base::Instant;
use crate::tcp::segment::SegmentOut;
use crate::tcp::seq::SeqNum;
use crate::tcp::tcb::{Flags, Tcb};

/// Returns how many SACK blocks fit beside so many bytes of other options (RFC 2018 section 3).
fn blocks_beside(used: usize) -> usize {
    MAX_OPTIONS_LEN.saturating_sub(used + 4) / 8
}

/// The place of a segment in the stream, and what it says beside the state that all segments show.
#[derive(Clone, Copy)]
pub(super) struct Content {
    pub(super) seq: SeqNum,
    /// Flags beside ACK and those of ECN.
    pub(super) flags: TcpFlags,
    /// Bytes of payload.
    pub(super) len: u32,
    /// Payload bytes of each wire segment.
    pub(super) mss: u32,
    /// The payload leaves for the first time.
    pub(super) fresh: bool,
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

    /// Builds a segment in `out`, for the caller to add its payload; the owed ACK, if any, is sent with it.
    #[inline]
    pub(super) fn emit(&mut self, content: Content, options: TcpOptions, out: &mut SegmentOut) {
        let Content {
            seq,
            flags,
            len,
            mss,
            fresh,
        } = content;
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
        out.seq = seq;
        out.ack = self.window.nxt;
        out.flags = flags | TcpFlags::ACK | self.ecn.flags_out(is_alone, fresh);
        out.window = window;
        out.options = options;
        out.mss = u16::try_from(mss).unwrap_or(u16::MAX);
        out.ecn = if fresh && self.cc.answers_marks() {
            self.ecn.codepoint()
        } else {
            0
        };
    }

    /// Builds a segment without payload in `out`.
    pub(super) fn emit_bare(
        &mut self,
        seq: SeqNum,
        flags: TcpFlags,
        now: Instant,
        out: &mut SegmentOut,
    ) {
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
        let content = Content {
            seq,
            flags,
            len: 0,
            mss,
            fresh: false,
        };
        self.emit(content, options, out);
    }
}
