//! The part of the sending state that exists while several records, or losses, are in flight.

use core::time::Duration;

use super::mtu_probe::MtuProbe;
use super::news::News;
use super::recovery::Frto;
use super::{MAX_BEHIND, Mode};
use crate::base::Instant;
use crate::base::congestion::Lost;
use crate::tcp::send::record::{Fate, Record, Records};
use crate::tcp::seq::SeqNum;

/// Runs of lost bytes that are kept apart until the congestion control takes them.
const MAX_LOST_RUNS: usize = 64;

/// The segments in flight, and the stage of their recovery.
#[derive(Debug)]
pub(super) struct Busy {
    pub(super) records: Records,
    /// Bytes that the peer SACKed.
    pub(super) sacked: u32,
    /// Bytes that are lost and not sent again.
    pub(super) lost: u32,
    /// Bytes that have arrived according to duplicate ACKs of a peer without SACK.
    pub(super) dup_bytes: u32,
    pub(super) dup_acks: u16,
    pub(super) mode: Mode,
    /// The first retransmission of a recovery does not wait for the congestion window.
    pub(super) urgent: bool,
    pub(super) rescued: bool,
    pub(super) frto: Frto,
    /// Number and end of the last transmission that arrived, and its round trip (RACK.segment).
    pub(super) newest: Option<(u32, SeqNum)>,
    pub(super) newest_rtt: Duration,
    /// End of the highest that arrived (RACK.fack).
    pub(super) fack: SeqNum,
    /// End of the bytes that are lost by count, if they were sent only once.
    pub(super) counted_edge: SeqNum,
    /// No lost record begins below.
    lost_from: SeqNum,
    /// End of the highest that was sent again.
    pub(super) resent_to: SeqNum,
    /// Bytes that are SACKed above this give a round-trip sample: one for each round trip.
    pub(super) timed_end: SeqNum,
    /// Start of what was sent again lately: duplicates of it can still be reported.
    resent_from: SeqNum,
    /// Once this is acknowledged, a duplicate of the last retransmission has been reported.
    reported_by: SeqNum,
    /// Runs of bytes that were found to be lost, for the congestion control.
    pub(super) lost_runs: Vec<Lost>,
    /// Time at which the reordering window of all that was overtaken is over.
    pub(super) reorder_at: Instant,
    /// The path MTU probe whose fate is not known yet.
    pub(super) mtu_probe: Option<MtuProbe>,
}

impl Busy {
    pub(super) fn new(una: SeqNum, first: Record) -> Self {
        let resent_to = if first.resent { first.end } else { una };
        Self {
            records: Records::new(una, first),
            sacked: 0,
            lost: 0,
            dup_bytes: 0,
            dup_acks: 0,
            mode: Mode::Open,
            urgent: false,
            rescued: false,
            frto: Frto::Off,
            newest: None,
            newest_rtt: Duration::ZERO,
            fack: una,
            counted_edge: una,
            lost_from: una,
            resent_to,
            timed_end: una,
            resent_from: una,
            reported_by: una,
            lost_runs: Vec::new(),
            reorder_at: Instant::FAR_FUTURE,
            mtu_probe: None,
        }
    }

    /// Takes the cumulative acknowledgment, which advances.
    pub(super) fn acknowledge(&mut self, ack: SeqNum, news: &mut News) {
        while let Some((start, record)) = self.records.pop_acked(ack) {
            self.on_acked(&record, start, record.end, news);
        }
        if let Some((start, record)) = self.records.trim_front(ack) {
            self.on_acked(&record, start, ack, news);
        }
        self.fack = self.fack.max(ack);
        self.counted_edge = self.counted_edge.max(ack);
        self.lost_from = self.lost_from.max(ack);
        self.resent_to = self.resent_to.max(ack);
        self.resent_from = self.resent_from.max(ack.back(MAX_BEHIND));
        self.reported_by = self.reported_by.max(ack);
        self.timed_end = self.timed_end.max(ack);
        if self.records.get(0).is_some_and(|r| r.fate == Fate::Sacked) {
            // The peer dropped what it had SACKed (RFC 2018 section 8).
            self.forget_sacks(ack);
        }
    }

    fn on_acked(&mut self, record: &Record, from: SeqNum, to: SeqNum, news: &mut News) {
        match record.fate {
            Fate::Sacked => {
                self.sacked -= to - from;
                return;
            }
            Fate::Lost => self.lost -= to - from,
            Fate::InFlight => {}
        }
        news.take(record, from, to, self.fack, true);
    }

    /// Returns the end of the first segment in flight, of at most `mss` bytes unless it is a path MTU probe.
    pub(super) fn first_segment_end(&self, una: SeqNum, mss: u32) -> SeqNum {
        let end = una + mss;
        match self.records.get(0) {
            Some(first) if first.mtu_probe => first.end,
            Some(first) => end.min(first.end),
            None => end,
        }
    }

    /// Returns true if the peer SACKed a run of `len` bytes.
    pub(super) fn sacked_run(&self, len: u32) -> bool {
        let mut records = (0..self.records.len()).filter_map(|index| {
            let record = self.records.get(index)?;
            (record.fate == Fate::Sacked).then(|| record.end - self.records.start_of(index))
        });
        self.sacked >= len && records.any(|run| run >= len)
    }

    /// Returns the number of bytes in flight that were sent again.
    pub(super) fn resent(&self) -> u32 {
        let lens = (0..self.records.len()).filter_map(|index| {
            let record = self.records.get(index)?;
            let counts = record.resent && record.fate == Fate::InFlight;
            counts.then(|| record.end - self.records.start_of(index))
        });
        lens.sum()
    }

    /// Returns true if something is lost beside a path MTU probe.
    pub(super) fn has_lost_data(&self) -> bool {
        self.lost > 0
            && (0..self.records.len())
                .filter_map(|index| self.records.get(index))
                .any(|record| record.fate == Fate::Lost && !record.mtu_probe)
    }

    /// Treats what the peer SACKed as in flight.
    pub(super) fn forget_sacks(&mut self, una: SeqNum) {
        let mut index = 0;
        while let Some(record) = self.records.get(index) {
            if record.fate == Fate::Sacked {
                // Its history is forgotten: no sample comes from it.
                self.resent_to = self.resent_to.max(record.end);
                self.records.mark_resent(index);
                index = self.records.set_fate(index, Fate::InFlight);
            }
            index += 1;
        }
        self.sacked = 0;
        self.fack = una;
        self.newest = None;
    }

    /// Notes the last transmission that arrived with an acknowledgment.
    pub(super) fn on_newest(&mut self, newest: &Record, now: Instant) {
        self.newest_rtt = now.saturating_since(newest.sent_at);
        let arrived = (newest.serial, newest.end);
        if self
            .newest
            .is_none_or(|known| super::news::is_sent_after(arrived, known))
        {
            self.newest = Some(arrived);
        }
    }

    /// Returns true if what begins at `seq` was sent again, no longer than about two round trips ago.
    pub(super) fn was_resent_lately(&self, seq: SeqNum) -> bool {
        self.records.start_of(0).before(self.reported_by)
            && seq.within(self.resent_from, self.resent_to)
    }

    /// Notes that `from..record.end` was sent again. A duplicate of it is reported before `reported_by` is
    /// acknowledged.
    pub(super) fn on_resent(&mut self, from: SeqNum, record: Record, reported_by: SeqNum) {
        if self.records.start_of(0).at_or_after(self.reported_by) {
            self.resent_from = from;
        }
        self.resent_from = self.resent_from.min(from);
        self.reported_by = reported_by;
        let to = record.end;
        let mut index = self.records.index_of(from);
        while let Some(part) = self.records.get(index) {
            let start = self.records.start_of(index);
            if !start.before(to) {
                break;
            }
            let len = part.end.min(to) - start.max(from);
            match part.fate {
                Fate::Lost => self.lost -= len,
                Fate::Sacked => self.sacked -= len,
                Fate::InFlight => {}
            }
            index += 1;
        }
        self.records.replace(from, to, record);
        if self.lost_from.within(from, to) {
            self.lost_from = to;
        }
        self.resent_to = self.resent_to.max(to);
        self.urgent = false;
    }

    /// Makes record number `index`, which is in flight, lost. Returns the number of the record that it
    /// is part of then.
    pub(super) fn set_lost(&mut self, index: usize) -> usize {
        let start = self.records.start_of(index);
        let Some(record) = self.records.get(index) else {
            return index;
        };
        if self.lost == 0 || start.before(self.lost_from) {
            self.lost_from = start;
        }
        self.lost += record.end - start;
        self.records.set_fate(index, Fate::Lost)
    }

    /// Keeps the description of a run of lost bytes until the congestion control takes it. When there are
    /// [`MAX_LOST_RUNS`], the last two become one.
    pub(super) fn note_lost(&mut self, lost: Lost) {
        let full = self.lost_runs.len() >= MAX_LOST_RUNS;
        match self.lost_runs.last_mut() {
            Some(last) if full => {
                *last = Lost {
                    bytes: last.bytes.saturating_add(lost.bytes),
                    ..lost
                };
            }
            _ => self.lost_runs.push(lost),
        }
    }

    /// Takes everything lost as in flight: it was not lost.
    pub(super) fn unmark_lost(&mut self) {
        let mut index = 0;
        while self.lost > 0
            && let Some(record) = self.records.get(index)
        {
            if record.fate == Fate::Lost {
                index = self.records.set_fate(index, Fate::InFlight);
            }
            index += 1;
            if index >= self.records.len() {
                self.lost = 0;
            }
        }
    }

    /// Returns the first lost range.
    pub(super) fn next_lost(&self) -> Option<(SeqNum, SeqNum)> {
        if self.lost == 0 {
            return None;
        }
        let from = self.records.index_of(self.lost_from);
        (from..self.records.len())
            .filter_map(|index| Some((index, self.records.get(index)?)))
            .find(|(_, record)| record.fate == Fate::Lost)
            .map(|(index, record)| (self.records.start_of(index), record.end))
    }

    /// Checks what must hold whatever the peer sends.
    #[cfg(any(test, feature = "invariants"))]
    pub(super) fn check(&self, una: SeqNum, nxt: SeqNum) {
        if !crate::tcp::invariants::walk_is_due(self.records.len()) {
            return;
        }
        self.records.check(una, nxt);
        assert_eq!(self.sacked, self.records.count(Fate::Sacked));
        assert_eq!(self.lost, self.records.count(Fate::Lost));
        assert!(self.dup_bytes <= nxt - una);
        assert!(self.fack.at_or_after(una) && self.fack.at_or_before(nxt));
        assert!(
            self.mode != Mode::Open || !self.has_lost_data(),
            "a loss without a recovery"
        );
        let first = self.records.iter().find(|(_, r)| r.fate == Fate::Lost);
        let first = first.map(|(start, record)| (start, record.end));
        assert_eq!(self.next_lost(), first, "the first loss is found");
        if let Some((_, record)) = self.records.iter().find(|(_, r)| r.resent) {
            assert!(record.end.at_or_before(self.resent_to) || record.fate == Fate::Sacked);
        }
    }
}
