//! Path MTU probes (RFC 4821 sections 7.5 and 7.6): one segment that is larger than the others, and what becomes of
//! it.
//!
//! If the probe is lost, and nothing else of its window is, then it was too large: its bytes are sent again, no recovery
//! begins, and the loss is no sign of congestion. [`Inflight::lose`] tells the two apart by the mark on the probe's
//! record. Any other loss before everything that was outstanding is acknowledged is congestion, as always, and says that
//! the probe may have been a victim of it, too.

use super::Inflight;
use super::Mode;
use crate::base::Instant;
use crate::tcp::context::Context;
use crate::tcp::event::{Event, LossRule};
use crate::tcp::send::record::Fate;
use crate::tcp::seq::SeqNum;

/// The end of a probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ProbeFate {
    /// It arrived.
    Arrived,
    /// It is lost, and nothing else of its window is.
    Lost,
    /// It is lost, as the retransmission timer says: nobody knows of what was sent after it.
    TimedOut,
    /// It is lost, or was not needed, together with others.
    Inconclusive,
}

/// The probe whose fate is not known, or not taken, yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct MtuProbe {
    start: SeqNum,
    end: SeqNum,
    loss: Option<Loss>,
    fate: Option<ProbeFate>,
}

/// The loss of the probe alone, so far.
#[derive(Clone, Copy, Debug)]
struct Loss {
    /// Nothing else that was sent up to there may be lost.
    until: SeqNum,
    /// The bytes of the probe were sent again.
    resent: bool,
}

impl Inflight {
    /// Notes that `len` bytes were sent for the first time in one segment, as a probe.
    pub(crate) fn on_mtu_probe_sent(&mut self, len: u32, now: Instant) {
        let start = self.nxt;
        self.send_first(len, now, true);
        let end = self.nxt;
        self.busy().mtu_probe = Some(MtuProbe {
            start,
            end,
            loss: None,
            fate: None,
        });
    }

    /// Returns true if there is a probe whose fate was not taken.
    pub(crate) fn has_mtu_probe(&self) -> bool {
        self.busy
            .as_ref()
            .is_some_and(|busy| busy.mtu_probe.is_some())
    }

    fn mtu_probe(&self) -> Option<MtuProbe> {
        let probe = self.busy.as_ref()?.mtu_probe;
        probe.filter(|probe| probe.fate.is_none())
    }

    /// Returns true if `seq` is a number of the probe in flight.
    pub(crate) fn is_mtu_probe(&self, seq: SeqNum) -> bool {
        self.mtu_probe()
            .is_some_and(|probe| probe.loss.is_none() && seq.within(probe.start, probe.end))
    }

    /// Takes the fate of the probe, if it is known.
    pub(crate) fn take_probe_fate(&mut self) -> Option<ProbeFate> {
        let slot = &mut self.busy.as_mut()?.mtu_probe;
        let fate = (*slot)?.fate;
        if fate.is_some() {
            *slot = None;
        }
        fate
    }

    /// Sends the bytes of the probe in flight again: a router said that its link does not carry it.
    pub(crate) fn on_probe_too_big(&mut self, cx: &mut Context<'_>) {
        let Some(probe) = self.mtu_probe() else {
            return;
        };
        let records = &self.busy().records;
        let index = records.index_of(probe.start);
        if records.get(index).is_some_and(|r| r.fate == Fate::InFlight) {
            self.lose(index, LossRule::PathMtu, cx);
        }
        // What its loss tells is known already, and better.
        self.busy().mtu_probe = None;
    }

    /// Judges the probe by what has arrived.
    pub(super) fn judge_mtu_probe(&mut self) {
        let Some(probe) = self.mtu_probe() else {
            return;
        };
        let was_resent = probe.loss.is_some_and(|loss| loss.resent);
        if !was_resent && (self.una.at_or_after(probe.end) || self.is_sacked(&probe)) {
            self.end_mtu_probe(ProbeFate::Arrived);
        } else if probe
            .loss
            .is_some_and(|loss| self.una.at_or_after(loss.until))
        {
            self.end_mtu_probe(ProbeFate::Lost);
        }
    }

    fn is_sacked(&self, probe: &MtuProbe) -> bool {
        let records = self.busy.as_ref().map(|busy| &busy.records);
        let record = records.and_then(|r| r.get(r.index_of(probe.start)));
        record.is_some_and(|r| r.fate == Fate::Sacked && r.end.at_or_after(probe.end))
    }

    /// Returns true if record number `index` is the probe, and nothing else is lost.
    pub(super) fn is_lone_probe(&self, index: usize) -> bool {
        self.mode() == Mode::Open && self.lost() == 0 && self.is_probe_record(index)
    }

    fn is_probe_record(&self, index: usize) -> bool {
        let (Some(probe), Some(busy)) = (self.mtu_probe(), &self.busy) else {
            return false;
        };
        let start = busy.records.start_of(index);
        let record = busy.records.get(index);
        probe.loss.is_none()
            && record.is_some_and(|r| r.mtu_probe && start == probe.start && r.end == probe.end)
    }

    /// Makes the probe, which is record number `index`, lost. Returns the number of its record then.
    pub(super) fn lose_probe(&mut self, index: usize, cx: &mut Context<'_>) -> usize {
        let until = self.nxt;
        let busy = self.busy();
        if let Some(probe) = &mut busy.mtu_probe {
            let (seq, len) = (probe.start, probe.end - probe.start);
            let rule = LossRule::PathMtu;
            cx.emit(|| Event::SegmentLost { seq, len, rule });
            probe.loss = Some(Loss {
                until,
                resent: false,
            });
        }
        busy.set_lost(index)
    }

    /// Notes that record number `index` is found to be lost together with others.
    pub(super) fn note_probe_loss(&mut self, index: usize, rule: LossRule) {
        if self.is_probe_record(index) {
            self.end_mtu_probe(match rule {
                LossRule::Timeout if index == 0 => ProbeFate::TimedOut,
                _ => ProbeFate::Inconclusive,
            });
        }
    }

    /// Notes that a recovery begins, or is undone: a probe that was lost may have been a victim of congestion.
    pub(super) fn doubt_mtu_probe(&mut self) {
        if self.mtu_probe().is_some_and(|probe| probe.loss.is_some()) {
            self.end_mtu_probe(ProbeFate::Inconclusive);
        }
    }

    /// Notes that `from..to` is sent again.
    pub(super) fn note_probe_resent(&mut self, from: SeqNum, to: SeqNum) {
        let probe = self.busy.as_mut().and_then(|busy| busy.mtu_probe.as_mut());
        let is_part = |probe: &&mut MtuProbe| {
            probe.fate.is_none() && from.before(probe.end) && to.after(probe.start)
        };
        match probe.filter(is_part).map(|probe| &mut probe.loss) {
            None => {}
            Some(Some(loss)) => loss.resent = true,
            Some(None) => self.end_mtu_probe(ProbeFate::Inconclusive),
        }
    }

    fn end_mtu_probe(&mut self, fate: ProbeFate) {
        let probe = self.busy.as_mut().and_then(|busy| busy.mtu_probe.as_mut());
        if let Some(probe) = probe {
            probe.fate = Some(fate);
        }
    }
}
