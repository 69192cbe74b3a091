//! The bytes in flight, and the recovery of lost ones.
//!
//! One picture serves recovery by time and count (RFC 8985), NewReno (RFC 6582) and the time after a
//! timeout (RFC 5681): the records of what was sent, each with a fate (`send::record`).
//!
//! ```text
//!   una                                                          nxt
//!    | in flight again |  lost  | SACKed | lost | SACKed | in flight |
//! ```
//!
//! Lost bytes are sent again from left to right; then they are in flight again, with a new time. With SACK,
//! `rack` decides what is lost; without, it is one segment at a time (fast retransmit); after a timeout it
//! is everything that has been silent for long enough.
//!
//! * **Define.** The records cover `una..nxt`, and [`Inflight::pipe`] is the number of bytes in the network.
//! * **Enforce.** Fields are private; acknowledgments only advance.
//! * **Consume.** `output::select` sends while `pipe` is below the congestion window.
//!
//! The first record of a quiet flight is kept in place. Everything else, [`Busy`], is allocated when a
//! second one comes or something is lost, and freed when nothing is in flight: an idle connection has
//! none of it.
//!
//! The bytes themselves are in the queue, and the congestion window is in `cc`.

mod acknowledge;
mod busy;
mod mtu_probe;
mod news;
mod probe;
mod rack;
mod recovery;
mod sack;

use super::rate::Rate;
use super::record::{Fate, Record};
use crate::base::Instant;
use crate::base::congestion::Lost;
use crate::tcp::context::Context;
use crate::tcp::reorder::Reordering;
use crate::tcp::seq::SeqNum;
pub(crate) use acknowledge::{Ack, PathView, Progress};
use busy::Busy;
pub(crate) use mtu_probe::ProbeFate;
use probe::Probe;
use sack::Undo;

/// Largest distance over which a sequence number is kept for a comparison: a quarter of the space.
const MAX_BEHIND: u32 = 1 << 30;

/// The stage of loss recovery, which selects retransmissions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// No loss is known.
    Open,
    /// Fast recovery, until everything sent before it is acknowledged.
    Recovery,
    /// After a timeout, until everything sent before it is acknowledged.
    Loss,
}

/// The sending sequence space.
#[derive(Debug)]
pub(crate) struct Inflight {
    una: SeqNum,
    nxt: SeqNum,
    /// End of the sequence space of the current, or last, recovery (`recover` of RFC 6582).
    recover: SeqNum,
    /// An acknowledgment from here on gives a round-trip time: one sample for each round trip.
    timed_end: SeqNum,
    /// Number of the last transmission.
    serial: u32,
    /// The only record, unless there is `busy`.
    solo: Record,
    busy: Option<Box<Busy>>,
    rate: Rate,
    reorder: Reordering,
    undo: Undo,
    probe: Probe,
    sack: bool,
}

impl Inflight {
    /// Creates the state with nothing in flight, from `una` on. `sack`: both sides agreed on it.
    pub(crate) fn new(una: SeqNum, sack: bool) -> Self {
        let mut rate = Rate::default();
        Self {
            una,
            nxt: una,
            recover: una.back(1),
            timed_end: una,
            serial: 0,
            solo: rate.on_sent(una, 0, 0, Instant::ZERO, true),
            busy: None,
            rate,
            reorder: Reordering::default(),
            undo: Undo::none(una),
            probe: Probe::none(una),
            sack,
        }
    }

    /// Returns what was learnt about reordering on the path.
    pub(crate) fn reordering(&self) -> Reordering {
        self.reorder
    }

    /// Notes that an earlier connection saw reordering on this path.
    pub(crate) fn expect_reordering(&mut self) {
        self.reorder.expect();
    }

    /// Creates the state after a rest, with nothing in flight because the application had nothing to send.
    pub(crate) fn after_rest(una: SeqNum, sack: bool, reorder: Reordering) -> Self {
        let mut flight = Self {
            reorder,
            ..Self::new(una, sack)
        };
        flight.on_app_limited();
        flight
    }

    /// Creates the state after a checkpoint: what was in flight counts as sent at `now`, and gives no round trip.
    pub(crate) fn restored(
        (una, nxt): (SeqNum, SeqNum),
        sack: bool,
        reorder: Reordering,
        now: Instant,
    ) -> Self {
        let mut flight = Self {
            reorder,
            ..Self::new(una, sack)
        };
        if una != nxt {
            flight.on_sent(nxt - una, now);
            flight.solo.resent = true;
            flight.on_timed();
        }
        flight
    }

    /// Returns SND.UNA.
    pub(crate) fn una(&self) -> SeqNum {
        self.una
    }

    /// Returns SND.NXT.
    pub(crate) fn nxt(&self) -> SeqNum {
        self.nxt
    }

    /// Returns the number of bytes sent and not acknowledged.
    pub(crate) fn outstanding(&self) -> u32 {
        self.nxt - self.una
    }

    /// Returns the number of bytes that the peer SACKed.
    pub(crate) fn sacked(&self) -> u32 {
        self.busy.as_ref().map_or(0, |busy| busy.sacked)
    }

    /// Returns the number of bytes that are lost and not sent again.
    pub(crate) fn lost(&self) -> u32 {
        self.busy.as_ref().map_or(0, |busy| busy.lost)
    }

    /// Returns the number of bytes in flight that were sent again.
    pub(crate) fn resent(&self) -> u32 {
        match &self.busy {
            None if self.solo.resent => self.outstanding(),
            None => 0,
            Some(busy) => busy.resent(),
        }
    }

    /// Returns the number of bytes of the first run in flight that left together.
    pub(crate) fn head_len(&self) -> u32 {
        let first = self.busy.as_ref().and_then(|busy| busy.records.get(0));
        first.unwrap_or(&self.solo).end.since(self.una)
    }

    /// Returns true if the peer SACKed a run of `len` bytes.
    pub(crate) fn has_sacked_run(&self, len: u32) -> bool {
        self.busy.as_ref().is_some_and(|busy| busy.sacked_run(len))
    }

    /// Returns the stage of loss recovery.
    pub(crate) fn mode(&self) -> Mode {
        self.busy.as_ref().map_or(Mode::Open, |busy| busy.mode)
    }

    /// Returns the estimated number of bytes in the network (RFC 6675 section 4, SetPipe).
    pub(crate) fn pipe(&self) -> u32 {
        match &self.busy {
            None => self.outstanding(),
            Some(busy) => self
                .outstanding()
                .saturating_sub(busy.sacked)
                .saturating_sub(busy.lost)
                .saturating_sub(busy.dup_bytes),
        }
    }

    /// Notes that `len` bytes of sequence space were sent for the first time.
    pub(crate) fn on_sent(&mut self, len: u32, now: Instant) {
        self.send_first(len, now, false);
    }

    fn send_first(&mut self, len: u32, now: Instant, mtu_probe: bool) {
        let idle = self.una == self.nxt;
        let last = match &self.busy {
            Some(busy) => busy.records.last().copied(),
            None => (!idle).then_some(self.solo),
        };
        let joins = last.is_some_and(|last| {
            last.serial == self.serial
                && last.sent_at == now
                && last.fate == Fate::InFlight
                && !last.resent
        });
        if !joins {
            self.serial = self.serial.wrapping_add(1);
        }
        self.nxt += len;
        let in_flight = self.pipe();
        let sent = self
            .rate
            .on_sent(self.nxt, self.serial, in_flight, now, idle);
        let record = Record { mtu_probe, ..sent };
        if idle {
            self.solo = record;
            return;
        }
        if self.busy.is_none() && self.solo.continues(&record) {
            self.solo.end = record.end;
            self.solo.in_flight = record.in_flight;
            return;
        }
        self.busy().records.push(record);
    }

    /// Notes that the application has nothing more to send although it could.
    pub(crate) fn on_app_limited(&mut self) {
        let pipe = self.pipe();
        self.rate.on_app_limited(pipe);
    }

    /// Returns true if nothing limits what is sent but the application.
    pub(crate) fn is_app_limited(&self) -> bool {
        self.rate.is_app_limited()
    }

    /// Returns how many bytes were delivered since the connection began, modulo 2^32.
    pub(crate) fn delivered(&self) -> u32 {
        self.rate.delivered()
    }

    /// Returns the delivery rate of the last sample, in bytes per second.
    pub(crate) fn delivery_rate(&self) -> Option<u64> {
        self.rate.last()
    }

    /// Takes the runs of bytes that were found to be lost since the last call.
    pub(crate) fn take_lost_runs(&mut self) -> Vec<Lost> {
        self.busy
            .as_mut()
            .map(|busy| core::mem::take(&mut busy.lost_runs))
            .unwrap_or_default()
    }

    /// Gives the memory of those runs back, for the next ones.
    pub(crate) fn put_lost_runs(&mut self, runs: Vec<Lost>) {
        if let Some(busy) = &mut self.busy {
            busy.lost_runs = runs;
        }
    }

    /// Notes that a zero window probe, which did not count as sent, was acknowledged.
    pub(crate) fn on_probe_accepted(&mut self, now: Instant) {
        self.on_sent(1, now);
        if self.outstanding() == 1 {
            // It was sent before, perhaps several times.
            self.solo.resent = true;
        }
    }

    /// Notes that `len` bytes from `seq` on were sent again.
    pub(crate) fn on_resent(&mut self, seq: SeqNum, len: u32, now: Instant) {
        self.undo.on_resent(seq + len, len);
        self.resend(seq, len, now);
    }

    /// Notes that the rescue retransmission was sent (RFC 6675 section 4, NextSeg rule 4).
    pub(crate) fn on_rescued(&mut self, seq: SeqNum, len: u32, now: Instant) {
        self.on_resent(seq, len, now);
        self.busy().rescued = true;
    }

    fn resend(&mut self, seq: SeqNum, len: u32, now: Instant) {
        // What was being timed may be what is sent again: the next acknowledgment gives a sample, if it can.
        self.timed_end = self.una;
        let end = seq + len;
        self.note_probe_resent(seq, end);
        let serial = self.serial;
        let busy = self.busy();
        let before = busy.records.index_of(seq).checked_sub(1);
        let joins = before
            .and_then(|before| busy.records.get(before))
            .is_some_and(|before| {
                before.serial == serial && before.sent_at == now && before.resent
            });
        if !joins {
            self.serial = serial.wrapping_add(1);
        }
        let in_flight = self.pipe() + len;
        let sent = self.rate.on_sent(end, self.serial, in_flight, now, false);
        let record = Record {
            resent: true,
            ..sent
        };
        // Its duplicate is reported with what is sent now, and a window later if that is late.
        let reported_by = self.nxt + self.outstanding();
        self.busy().on_resent(seq, record, reported_by);
    }

    /// Returns true if a retransmission must be sent even though the congestion window is full.
    pub(crate) fn is_urgent(&self) -> bool {
        self.busy.as_ref().is_some_and(|busy| busy.urgent)
    }

    /// Returns the next lost range that was not sent again yet.
    pub(crate) fn next_lost(&self) -> Option<(SeqNum, SeqNum)> {
        self.busy.as_ref().and_then(|busy| busy.next_lost())
    }

    /// Returns the last segment in flight, once per recovery: its retransmission brings an
    /// acknowledgment if no other segment does (RFC 6675 section 4, NextSeg rule 4).
    pub(crate) fn rescue(&self, mss: u32) -> Option<(SeqNum, SeqNum)> {
        let busy = self.busy.as_ref()?;
        if busy.mode != Mode::Recovery || busy.rescued || busy.sacked == 0 {
            return None;
        }
        let start = self
            .nxt
            .back(mss.min(self.outstanding()))
            .max(busy.fack)
            .max(busy.resent_to);
        start.before(self.nxt).then_some((start, self.nxt))
    }

    /// Returns the part that only a busy connection has, and makes it if there is none.
    fn busy(&mut self) -> &mut Busy {
        let (una, solo) = (self.una, self.solo);
        self.busy
            .get_or_insert_with(|| Box::new(Busy::new(una, solo)))
    }

    /// Returns the number of records.
    #[cfg(test)]
    pub(crate) fn records(&self) -> usize {
        self.busy.as_ref().map_or(1, |busy| busy.records.len())
    }

    /// Returns the number of lost runs that the congestion control has not taken.
    #[cfg(test)]
    pub(crate) fn kept_lost_runs(&self) -> usize {
        self.busy.as_ref().map_or(0, |busy| busy.lost_runs.len())
    }

    /// Returns true if there is nothing beside the connection's own record.
    #[cfg(test)]
    pub(crate) fn is_compact(&self) -> bool {
        self.busy.is_none()
    }

    /// Frees the memory that a closed connection does not need.
    pub(crate) fn release(&mut self, cx: &mut Context<'_>) {
        self.reopen(cx);
        self.busy = None;
        self.solo.end = self.nxt;
        self.solo.fate = Fate::InFlight;
    }

    /// Checks what must hold whatever the peer sends.
    #[cfg(any(test, feature = "invariants"))]
    pub(crate) fn check(&self) {
        assert!(self.una.at_or_before(self.nxt));
        assert!(!self.undo.is_inverted());
        let Some(busy) = &self.busy else {
            let end = if self.una == self.nxt {
                self.nxt
            } else {
                self.solo.end
            };
            assert_eq!(end, self.nxt, "the record covers what is in flight");
            return;
        };
        assert!(self.outstanding() > 0, "an idle connection has no records");
        assert!(self.sack || busy.sacked == 0, "SACK was not agreed on");
        busy.check(self.una, self.nxt);
        if busy.mode != Mode::Open {
            assert!(self.una.before(self.recover) && self.recover.at_or_before(self.nxt));
        }
    }
}
