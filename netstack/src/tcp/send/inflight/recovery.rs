//! The stages of loss recovery: fast recovery, timeout, and the ends of both.

use super::news::News;
use super::{Inflight, Mode, PathView, Progress};
use crate::tcp::context::Context;
use crate::tcp::event::{Event, LossRule, Recovery};
use crate::tcp::send::record::Fate;

/// The step of F-RTO, which asks after a timeout if it was spurious (RFC 5682).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Frto {
    /// The question is settled, or was not asked.
    Off,
    /// The first segment was sent again, and an acknowledgment is awaited (step 2).
    First,
    /// It advanced: new segments are sent, and the next one decides (step 3).
    Second,
}

impl Inflight {
    /// Takes an advance of SND.UNA by `acked` bytes.
    pub(super) fn on_advance(&mut self, acked: u32, mss: u32, cx: &mut Context<'_>) {
        self.forget_old();
        let (sack, outstanding) = (self.sack, self.outstanding());
        let una = self.una;
        let Some(busy) = &mut self.busy else { return };
        match busy.mode {
            Mode::Open => {
                busy.dup_acks = 0;
                busy.dup_bytes = 0;
            }
            Mode::Recovery if !sack && outstanding > 0 && una.before(self.recover) => {
                // A partial acknowledgment: the next segment is lost, too (RFC 6582 section 3.2).
                // All of its bytes but one segment had been counted by duplicates; and however many
                // those were, the first segment in flight has not arrived.
                busy.dup_bytes = busy
                    .dup_bytes
                    .saturating_sub(acked.saturating_sub(mss))
                    .min(outstanding.saturating_sub(mss));
                // Unless it was sent again already.
                if busy.records.get(0).is_some_and(|first| !first.resent) {
                    busy.urgent = true;
                    if busy
                        .records
                        .get(0)
                        .is_some_and(|r| r.fate == Fate::InFlight)
                    {
                        let end = busy.first_segment_end(una, mss);
                        busy.records.split(end);
                        self.lose(0, LossRule::PartialAck, cx);
                    }
                }
            }
            Mode::Recovery | Mode::Loss => {}
        }
        let outstanding = self.outstanding();
        if let Some(busy) = &mut self.busy {
            busy.dup_bytes = busy.dup_bytes.min(outstanding);
        }
    }

    /// Begins a recovery of everything sent until now. `reduces`: it is a sign of congestion.
    pub(super) fn enter(
        &mut self,
        mode: Mode,
        kind: Recovery,
        reduces: bool,
        cx: &mut Context<'_>,
    ) {
        if self.mode() != mode {
            cx.emit(|| Event::RecoveryEntered { kind });
        }
        self.recover = self.nxt;
        self.undo.begin(self.una, reduces, mode == Mode::Recovery);
        self.probe.reset();
        self.doubt_mtu_probe();
        let busy = self.busy();
        busy.mode = mode;
        busy.urgent = true;
        busy.rescued = false;
        busy.frto = Frto::Off;
    }

    /// Ends the recovery.
    pub(super) fn reopen(&mut self, cx: &mut Context<'_>) {
        let Some(busy) = &mut self.busy else { return };
        if busy.mode != Mode::Open {
            cx.emit(|| Event::RecoveryLeft);
        }
        busy.mode = Mode::Open;
        busy.dup_acks = 0;
        busy.dup_bytes = 0;
        busy.urgent = false;
        busy.frto = Frto::Off;
    }

    /// Handles the retransmission timer: the first segment is lost, and what has been silent for as long
    /// (RFC 8985 section 6.3). `again`: it expired for the same byte before; then the peer may have
    /// reneged, and its SACKs are forgotten.
    pub(crate) fn on_timeout(&mut self, again: bool, path: &PathView, cx: &mut Context<'_>) {
        let una = self.una;
        let was_open = self.mode() == Mode::Open;
        if again {
            self.busy().forget_sacks(una);
        }
        self.reorder.on_timeout();
        let window = self.reorder.window(true, path.min_rtt, path.srtt);
        self.enter(Mode::Loss, Recovery::Timeout, true, cx);
        let timed = self.sack && path.rack && !again;
        let busy = self.busy();
        if was_open || again {
            busy.frto = Frto::First;
        }
        busy.dup_acks = 0;
        busy.dup_bytes = 0;
        let rtt = busy
            .newest
            .map_or_else(|| path.srtt.unwrap_or_default(), |_| busy.newest_rtt);
        let is_recent = |sent_at| sent_at + rtt + window > cx.now();
        if timed && busy.records.get(0).is_some_and(|r| is_recent(r.sent_at)) {
            let end = busy.first_segment_end(una, path.mss);
            busy.records.split(end);
        }
        let mut index = 0;
        while let Some(&record) = self.busy().records.get(index) {
            let recent = timed && record.sent_at + rtt + window > cx.now();
            if record.fate == Fate::InFlight && (index == 0 || !recent) {
                index = self.lose(index, LossRule::Timeout, cx);
            }
            index += 1;
        }
    }

    /// Asks if the timeout was spurious (RFC 5682 section 3.1, and section 2.1 without SACK): then what was
    /// sent once before it arrives.
    pub(super) fn judge_timeout(&mut self, news: &News, bare: bool, progress: &mut Progress) {
        let (sack, recover) = (self.sack, self.recover);
        let Some(busy) = &mut self.busy else { return };
        if busy.mode != Mode::Loss || busy.frto == Frto::Off {
            return;
        }
        let original = news.first_original.is_some_and(|seq| seq.before(recover));
        let is_proof = original && (sack || busy.frto == Frto::Second);
        if is_proof {
            busy.frto = Frto::Off;
            progress.spurious_timeout = true;
        } else if busy.frto == Frto::First && progress.acked > 0 && self.una.before(recover) {
            busy.frto = Frto::Second;
        } else {
            // A duplicate ACK, or one of the new segments: the timeout was genuine.
            let decides = progress.delivered > 0 || bare;
            if decides && (busy.frto == Frto::Second || !sack) {
                // A duplicate without SACK is that of a new segment, which left the network.
                busy.urgent |= !sack && bare;
                busy.frto = Frto::Off;
            }
        }
    }

    /// Returns true if new segments are sent before lost ones, to find out if the timeout was spurious
    /// (RFC 5682 section 3.1 step 2b).
    pub(crate) fn tests_timeout(&self) -> bool {
        self.busy
            .as_ref()
            .is_some_and(|busy| busy.frto == Frto::Second)
    }

    /// Notes that there is nothing new to send: the timeout is taken for genuine. Returns false if
    /// something new was sent, whose acknowledgment decides.
    pub(crate) fn end_timeout_test(&mut self) -> bool {
        if self.nxt != self.recover {
            return false;
        }
        if let Some(busy) = &mut self.busy {
            busy.frto = Frto::Off;
        }
        true
    }

    /// Undoes a spurious recovery or timeout.
    pub(crate) fn undo(&mut self, cx: &mut Context<'_>) {
        if self.undo.shows_reordering() {
            // A segment that is always sent again before it arrives shows it in no other way.
            self.reorder.on_reordered();
            if !self.undo.is_reported() {
                self.reorder.on_spurious_retransmit();
            }
        }
        self.doubt_mtu_probe();
        if let Some(busy) = &mut self.busy {
            busy.unmark_lost();
        }
        self.undo.settle();
        self.reopen(cx);
    }

    /// Notes that the last reduction of the window was undone, or cannot be any more.
    pub(crate) fn settle_undo(&mut self) {
        self.undo.settle();
    }

    /// Marks everything in flight for retransmission in smaller segments, since the path cannot
    /// carry the present size. This is no sign of congestion.
    pub(crate) fn on_path_mtu(&mut self, cx: &mut Context<'_>) {
        if self.outstanding() == 0 {
            return;
        }
        let mode = self.mode();
        let (entered, reduces) = match mode {
            Mode::Open => (Mode::Recovery, false),
            other => (other, true),
        };
        self.enter(entered, Recovery::PathMtu, reduces, cx);
        let busy = self.busy();
        if mode == Mode::Open {
            busy.rescued = true;
        }
        busy.dup_bytes = 0;
        let mut index = 0;
        while let Some(&record) = self.busy().records.get(index) {
            if record.fate == Fate::InFlight {
                index = self.lose(index, LossRule::PathMtu, cx);
            }
            index += 1;
        }
    }
}
