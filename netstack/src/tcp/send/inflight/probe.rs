//! Tail loss probes (TLP, RFC 8985 section 7): when acknowledgments cease, one segment more brings one that
//! shows what is lost.

use super::{Ack, Inflight, Mode};
use crate::base::Instant;
use crate::tcp::seq::SeqNum;

/// The kind of the last probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// There is none that waits for its acknowledgment.
    None,
    /// New bytes.
    Fresh,
    /// The last segment again.
    Resent,
}

/// The probe in flight (TLP.end_seq and TLP.is_retrans).
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    end: SeqNum,
    kind: Kind,
    /// A round trip was measured since the last probe.
    permitted: bool,
    /// Probes since something arrived.
    unanswered: u8,
}

/// Probes of a recovery in a row before the retransmission timer is waited for: the last wait is
/// 32 times the first one.
const MAX_UNANSWERED: u8 = 6;

impl Probe {
    pub(super) fn none(at: SeqNum) -> Self {
        Self {
            end: at,
            kind: Kind::None,
            permitted: true,
            unanswered: 0,
        }
    }

    /// Returns true if the probe sent again what ends at `end`.
    pub(super) fn is_resent_up_to(&self, end: SeqNum) -> bool {
        self.kind == Kind::Resent && self.end == end
    }

    /// Forgets the probe: a recovery begins.
    pub(super) fn reset(&mut self) {
        self.kind = Kind::None;
    }

    /// Notes that something arrived.
    pub(super) fn on_delivered(&mut self) {
        self.unanswered = 0;
    }

    /// Returns the state after another probe.
    fn next(self, end: SeqNum, kind: Kind) -> Self {
        Self {
            end,
            kind,
            permitted: false,
            unanswered: self.unanswered.saturating_add(1),
        }
    }
}

impl Inflight {
    /// Returns true if a probe may be sent when acknowledgments cease (RFC 8985 sections 7.2 and 7.3).
    ///
    /// During a recovery, too, which the RFC leaves to the retransmission timer: if the retransmission was the
    /// only segment in flight, and is lost, then nothing that was sent later can show it. `short`: the least value of
    /// that timer is many round trips. Then several probes of a recovery may follow each other, each after twice the time
    /// of the one before, as in RFC 9002 section 6.2.
    pub(crate) fn may_probe(&self, short: bool) -> bool {
        let first = self.probe.kind == Kind::None && self.probe.permitted;
        let may = match self.mode() {
            Mode::Open => first && self.sacked() == 0,
            Mode::Recovery | Mode::Loss if short => self.probe.unanswered < MAX_UNANSWERED,
            Mode::Recovery => first && self.lost() == 0,
            Mode::Loss => false,
        };
        self.sack && may && self.outstanding() > 0
    }

    /// Returns how often the time for a probe doubles.
    pub(crate) fn probe_backoff(&self) -> u8 {
        self.probe.unanswered
    }

    /// Returns the segment to send again as a probe: the last one, or the first one during a recovery.
    pub(crate) fn probe_range(&self, mss: u32) -> (SeqNum, SeqNum) {
        match &self.busy {
            Some(busy) if busy.mode != Mode::Open => {
                (self.una, busy.first_segment_end(self.una, mss))
            }
            _ => (self.nxt.back(mss.min(self.outstanding())), self.nxt),
        }
    }

    /// Notes that a round trip was measured.
    pub(crate) fn permit_probe(&mut self) {
        self.probe.permitted = true;
    }

    /// Notes that the segment that was just sent for the first time is a probe.
    pub(crate) fn on_probed(&mut self) {
        self.probe = self.probe.next(self.nxt, Kind::Fresh);
    }

    /// Notes that `len` bytes from `seq` on were sent again as a probe.
    pub(crate) fn on_probe_resent(&mut self, seq: SeqNum, len: u32, now: Instant) {
        let kind = if self.mode() == Mode::Open {
            Kind::Resent
        } else {
            // The window was reduced already, whatever the probe repairs.
            self.undo.on_resent(seq + len, len);
            Kind::Fresh
        };
        self.resend(seq, len, now);
        self.probe = self.probe.next(seq + len, kind);
    }

    /// Judges the probe by an acknowledgment (RFC 8985 section 7.4.2). `duplicated`: the acknowledgment
    /// reports a duplicate of it; `advanced`: it advanced SND.UNA. Returns true if it repaired a loss.
    pub(super) fn judge_probe(
        &mut self,
        input: &Ack<'_>,
        duplicated: bool,
        advanced: bool,
    ) -> bool {
        let Probe { end, kind, .. } = self.probe;
        if kind == Kind::None || input.ack.before(end) {
            return false;
        }
        let beyond = input.ack.after(end);
        let answered = kind == Kind::Fresh
            || duplicated
            || beyond
            || (input.bare && input.blocks.is_empty() && !advanced);
        if answered {
            self.probe.reset();
        }
        answered && kind == Kind::Resent && !duplicated && beyond
    }
}
