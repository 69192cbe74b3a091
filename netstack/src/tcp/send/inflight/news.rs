//! The news of one acknowledgment: what arrived, piece by piece.

use super::Ack;
use crate::base::Instant;
use crate::tcp::send::record::Record;
use crate::tcp::seq::SeqNum;
use core::time::Duration;

/// The bytes that an acknowledgment newly reports as received.
#[derive(Debug)]
pub(super) struct News {
    pub(super) now: Instant,
    echoed_millis: Option<u64>,
    min_rtt: Duration,
    /// Bytes that are SACKed and end after this give a round-trip sample.
    timed_end: SeqNum,
    /// Bytes that arrived.
    pub(super) bytes: u32,
    /// The latest transmission among them, without retransmissions that could be confused with their originals.
    pub(super) newest: Option<Record>,
    /// Send time of the first bytes that were acknowledged cumulatively and sent once.
    pub(super) oldest_acked: Option<Instant>,
    /// Send time of the first of the bytes that were SACKed, sent once, and are due for a round-trip sample.
    pub(super) timed_sacked: Option<Instant>,
    /// Send time of the last bytes that were sent once.
    pub(super) newest_clean: Option<Instant>,
    /// Start of the first piece that was sent once.
    pub(super) first_original: Option<SeqNum>,
    /// Time at which the bytes at SND.UNA were sent again, if they were.
    pub(super) head_resent_at: Option<Instant>,
    /// Something that was sent once arrived after something that was sent later.
    pub(super) is_reordered: bool,
}

impl News {
    pub(super) fn new(input: &Ack<'_>, timed_end: SeqNum, now: Instant) -> Self {
        Self {
            now,
            timed_end,
            echoed_millis: input.echoed_millis,
            min_rtt: input.path.min_rtt.unwrap_or_default(),
            bytes: 0,
            newest: None,
            oldest_acked: None,
            timed_sacked: None,
            newest_clean: None,
            first_original: None,
            head_resent_at: None,
            is_reordered: false,
        }
    }

    /// Takes `from..to`, a part of `record` that was not known to have arrived. `fack` is the end of the
    /// highest that was. `cumulative`: by the acknowledgment number, not by SACK.
    pub(super) fn take(
        &mut self,
        record: &Record,
        from: SeqNum,
        to: SeqNum,
        fack: SeqNum,
        cumulative: bool,
    ) {
        if cumulative && self.bytes == 0 && record.resent {
            self.head_resent_at = Some(record.sent_at);
        }
        self.bytes += to - from;
        if record.resent {
            if self.is_ambiguous(record) {
                return;
            }
        } else {
            let at = record.sent_at;
            if cumulative {
                self.oldest_acked = Some(self.oldest_acked.map_or(at, |oldest| oldest.min(at)));
            } else if to.after(self.timed_end) {
                self.timed_sacked = Some(self.timed_sacked.map_or(at, |first| first.min(at)));
            }
            self.newest_clean = Some(self.newest_clean.map_or(at, |newest| newest.max(at)));
            self.first_original = Some(self.first_original.map_or(from, |first| first.min(from)));
            self.is_reordered |= to.before(fack);
        }
        let piece = Record { end: to, ..*record };
        let is_newer = match &self.newest {
            None => true,
            Some(newest) => is_sent_after((piece.serial, piece.end), (newest.serial, newest.end)),
        };
        if is_newer {
            self.newest = Some(piece);
        }
    }

    /// Returns true if the acknowledgment of a retransmission may be that of an earlier copy (RFC 8985
    /// section 6.2 step 2).
    fn is_ambiguous(&self, record: &Record) -> bool {
        let earlier = self
            .echoed_millis
            .is_some_and(|echoed| echoed < record.sent_at.as_millis());
        earlier || self.now.saturating_since(record.sent_at) < self.min_rtt
    }
}

/// Returns true if transmission `a` is later than `b`, by their numbers and ends: what was sent together
/// was sent in the order of its sequence numbers.
pub(super) fn is_sent_after(a: (u32, SeqNum), b: (u32, SeqNum)) -> bool {
    let (later, same) = (SeqNum(a.0).after(SeqNum(b.0)), a.0 == b.0);
    later || (same && a.1.after(b.1))
}
