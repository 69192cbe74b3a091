//! Transmission records: what is known about each run of bytes in flight.
//!
//! A run is a segment, a super-segment, or neighbours of them with the same history. A record has its
//! end only; it begins where the one before it ends:
//!
//! ```text
//!   start     r0.end          r1.end        r2.end
//!     |-- r0 ---|----- r1 ------|---- r2 ----|
//!      in flight      SACKed         lost
//! ```
//!
//! A SACK block cuts records at its edges, and so does the retransmission of a part. Neighbours whose
//! difference no longer matters become one again: SACKed bytes always, lost bytes if they were sent equally
//! often, bytes in flight if they left together. So a quiet flight is a few records, and one with losses
//! has about as many as it has holes.

use std::collections::VecDeque;

use crate::base::Instant;
use crate::tcp::seq::SeqNum;

/// The state of a run of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// In the network, as far as is known.
    InFlight,
    /// The peer has it, and reported it by SACK.
    Sacked,
    /// Lost, and not sent again yet.
    Lost,
}

/// One run of bytes with the same history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    /// Sequence number after the last byte.
    pub(crate) end: SeqNum,
    /// Number of the transmission: a later one has a higher number, even at the same time.
    pub(crate) serial: u32,
    /// Time of the last transmission.
    pub(crate) sent_at: Instant,
    /// Bytes delivered in all when it was sent.
    pub(crate) delivered: u32,
    /// Microseconds between the last delivery and the transmission.
    pub(crate) since_delivery_micros: u32,
    /// Microseconds over which what was in flight before it had been sent, up to its transmission.
    pub(crate) send_elapsed_micros: u32,
    /// Bytes lost in all when it was sent.
    pub(crate) lost: u32,
    /// Bytes in the network when it was sent, itself included.
    pub(crate) in_flight: u32,
    pub(crate) fate: Fate,
    /// It was sent more than once.
    pub(crate) resent: bool,
    /// The application had nothing more to send.
    pub(crate) app_limited: bool,
    /// It is a segment of its own, larger than others, to find out if the path carries it.
    pub(crate) mtu_probe: bool,
}

impl Record {
    /// Returns true if `next`, which follows it, can share its record.
    pub(crate) fn continues(&self, next: &Self) -> bool {
        self.fate == next.fate
            && match self.fate {
                Fate::Sacked => true,
                Fate::Lost => self.resent == next.resent && self.mtu_probe == next.mtu_probe,
                Fate::InFlight => {
                    self.serial == next.serial
                        && self.resent == next.resent
                        && self.app_limited == next.app_limited
                        && self.mtu_probe == next.mtu_probe
                }
            }
    }
}

/// The records of everything between SND.UNA and SND.NXT.
#[derive(Debug)]
pub(crate) struct Records {
    /// Sequence number of the first byte, SND.UNA.
    start: SeqNum,
    ring: VecDeque<Record>,
}

/// Records from which on what is sent shares the last one: a bound on memory for a sender of tiny segments.
const MAX_RECORDS: usize = 8_192;

/// Slots of a new ring.
const FIRST_SLOTS: usize = 8;

impl Records {
    /// Creates the records of a flight that begins at `start` with `first`.
    pub(crate) fn new(start: SeqNum, first: Record) -> Self {
        let mut ring = VecDeque::with_capacity(FIRST_SLOTS);
        ring.push_back(first);
        Self { start, ring }
    }

    /// Returns the number of records.
    pub(crate) fn len(&self) -> usize {
        self.ring.len()
    }

    /// Returns record number `index`.
    pub(crate) fn get(&self, index: usize) -> Option<&Record> {
        self.ring.get(index)
    }

    /// Returns the sequence number at which record number `index` begins.
    pub(crate) fn start_of(&self, index: usize) -> SeqNum {
        match index
            .checked_sub(1)
            .and_then(|before| self.ring.get(before))
        {
            Some(before) => before.end,
            None => self.start,
        }
    }

    /// Returns the number of the record with `seq` in it; that after the last one if there is none.
    pub(crate) fn index_of(&self, seq: SeqNum) -> usize {
        self.ring.partition_point(|r| r.end.at_or_before(seq))
    }

    /// Adds what was sent for the first time. When there are [`MAX_RECORDS`], the last two become one, with
    /// the later time.
    pub(crate) fn push(&mut self, record: Record) {
        let full = self.ring.len() >= MAX_RECORDS;
        if let Some(last) = self.ring.back_mut() {
            if last.continues(&record) {
                last.end = record.end;
                last.in_flight = record.in_flight;
                return;
            }
            if full && last.fate == Fate::InFlight {
                *last = Record {
                    resent: last.resent,
                    mtu_probe: false,
                    ..record
                };
                return;
            }
        }
        self.ring.push_back(record);
    }

    /// Returns the last record.
    pub(crate) fn last(&self) -> Option<&Record> {
        self.ring.back()
    }

    /// Removes the first record if it ends at or before `una`.
    pub(crate) fn pop_acked(&mut self, una: SeqNum) -> Option<(SeqNum, Record)> {
        let first = *self.ring.front()?;
        if first.end.after(una) {
            return None;
        }
        let start = self.start;
        self.ring.pop_front();
        self.start = first.end;
        Some((start, first))
    }

    /// Removes the bytes of the first record below `una`, which lies within it. Returns where they began.
    pub(crate) fn trim_front(&mut self, una: SeqNum) -> Option<(SeqNum, Record)> {
        let first = *self.ring.front()?;
        let start = self.start;
        if !start.before(una) || !first.end.after(una) {
            return None;
        }
        self.start = una;
        Some((start, first))
    }

    /// Cuts the record with `seq` in it there. Returns the number of the record that begins at `seq`.
    pub(crate) fn split(&mut self, seq: SeqNum) -> usize {
        let index = self.index_of(seq);
        if let Some(&whole) = self.ring.get(index)
            && self.start_of(index).before(seq)
        {
            self.ring.insert(index, Record { end: seq, ..whole });
            return index + 1;
        }
        index
    }

    /// Makes record number `index` SACKed from `from` to `to`, which are within it, and joins it with SACKed
    /// neighbours. Returns false if that takes a cut and there are `limit` records already.
    pub(crate) fn sack(&mut self, index: usize, from: SeqNum, to: SeqNum, limit: usize) -> bool {
        let start = self.start_of(index);
        let Some(&whole) = self.ring.get(index) else {
            return false;
        };
        let is_sacked = |record: Option<&Record>| record.is_some_and(|r| r.fate == Fate::Sacked);
        let joins_left = start == from && index > 0 && is_sacked(self.ring.get(index - 1));
        let joins_right = whole.end == to && is_sacked(self.ring.get(index + 1));
        match (joins_left, joins_right) {
            (true, true) => {
                // The record on the right begins where the one on the left does.
                self.ring.drain(index - 1..=index);
            }
            (true, false) => {
                if let Some(left) = self.ring.get_mut(index - 1) {
                    left.end = to;
                }
                if whole.end == to {
                    self.ring.remove(index);
                }
            }
            (false, true) => {
                if start == from {
                    self.ring.remove(index);
                } else if let Some(record) = self.ring.get_mut(index) {
                    record.end = from;
                }
            }
            (false, false) => {
                let cuts = usize::from(start != from) + usize::from(whole.end != to);
                if cuts > 0 && self.ring.len() >= limit {
                    return false;
                }
                self.split(to);
                let index = self.split(from);
                if let Some(record) = self.ring.get_mut(index) {
                    record.fate = Fate::Sacked;
                }
            }
        }
        true
    }

    /// Changes the fate of record number `index`, and joins it with the record before it if both are
    /// alike now. Returns the number of the record with these bytes.
    pub(crate) fn set_fate(&mut self, index: usize, fate: Fate) -> usize {
        if let Some(record) = self.ring.get_mut(index) {
            record.fate = fate;
        }
        self.join_left(index)
    }

    /// Notes that the history of record number `index` is not that of its bytes: no sample comes from it.
    pub(crate) fn mark_resent(&mut self, index: usize) {
        if let Some(record) = self.ring.get_mut(index) {
            record.resent = true;
        }
    }

    /// Makes everything from `from` to `to` one record with this history: it was sent again.
    pub(crate) fn replace(&mut self, from: SeqNum, to: SeqNum, record: Record) {
        self.split(from);
        let last = self.split(to);
        let first = self.index_of(from);
        if first >= last {
            return;
        }
        self.ring.drain(first..last - 1);
        if let Some(slot) = self.ring.get_mut(first) {
            *slot = Record { end: to, ..record };
        }
        self.join_left(first);
    }

    fn join_left(&mut self, index: usize) -> usize {
        let Some(before) = index.checked_sub(1) else {
            return index;
        };
        match (self.ring.get(before), self.ring.get(index)) {
            (Some(left), Some(right)) if left.continues(right) => {
                // Without the one on the left, this one begins where that did.
                self.ring.remove(before);
                before
            }
            _ => index,
        }
    }

    /// Returns all records with the sequence numbers at which they begin.
    #[cfg(any(test, feature = "invariants"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SeqNum, &Record)> {
        self.ring.iter().scan(self.start, |at, record| {
            let start = *at;
            *at = record.end;
            Some((start, record))
        })
    }

    /// Returns the number of bytes with this fate, counted one by one.
    #[cfg(any(test, feature = "invariants"))]
    pub(crate) fn count(&self, fate: Fate) -> u32 {
        self.iter()
            .filter(|(_, record)| record.fate == fate)
            .map(|(start, record)| record.end - start)
            .sum()
    }

    /// Checks that the records cover `una..nxt`, each with something in it.
    #[cfg(any(test, feature = "invariants"))]
    pub(crate) fn check(&self, una: SeqNum, nxt: SeqNum) {
        assert_eq!(self.start, una, "the records begin at SND.UNA");
        assert_eq!(self.ring.back().map(|r| r.end), Some(nxt));
        for (start, record) in self.iter() {
            assert!(start.before(record.end), "an empty record");
        }
        for (left, right) in self.ring.iter().zip(self.ring.iter().skip(1)) {
            let sacked = left.fate == Fate::Sacked && right.fate == Fate::Sacked;
            assert!(!sacked, "SACKed neighbours are one record");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    fn sent(end: SeqNum, serial: u32) -> Record {
        Record {
            end,
            serial,
            sent_at: Instant::from_millis(u64::from(serial)),
            delivered: 0,
            since_delivery_micros: 0,
            send_elapsed_micros: 0,
            lost: 0,
            in_flight: 0,
            fate: Fate::InFlight,
            resent: false,
            app_limited: false,
            mtu_probe: false,
        }
    }

    /// Returns the fates and serials of a flight, byte by byte.
    fn bytes(records: &Records) -> Vec<(Fate, u32)> {
        records
            .iter()
            .flat_map(|(start, r)| {
                // A SACKed byte has no history any more.
                let serial = if r.fate == Fate::Sacked { 0 } else { r.serial };
                (0..r.end - start).map(move |_| (r.fate, serial))
            })
            .collect()
    }

    #[test]
    fn what_left_together_is_one_record() {
        let base = SeqNum(u32::MAX - 5);
        let mut records = Records::new(base, sent(base + 10, 1));
        records.push(sent(base + 20, 1));
        records.push(sent(base + 30, 2));
        assert_eq!(records.len(), 2);
        records.check(base, base + 30);
        // A block cuts the first, the next one joins it.
        assert!(records.sack(0, base + 5, base + 8, 9));
        assert_eq!(records.len(), 4);
        assert!(records.sack(2, base + 8, base + 20, 9));
        assert_eq!(records.len(), 3);
        assert!(records.sack(2, base + 20, base + 30, 9));
        assert_eq!(records.len(), 2);
        records.check(base, base + 30);
        assert!(!records.sack(0, base + 1, base + 2, 2), "no more cuts");
    }

    #[test]
    fn agrees_with_a_list_of_bytes() {
        const LEN: u32 = 300;
        for seed in 0..300 {
            let mut rng = Rng::from_u64(seed);
            let base = SeqNum(rng.u32());
            let mut model = Vec::new();
            let mut at = 1 + rng.below(40);
            let mut records = Records::new(base, sent(base + at, 1));
            model.extend((0..at).map(|_| (Fate::InFlight, 1)));
            for serial in 2.. {
                let len = (1 + rng.below(40)).min(LEN - at);
                if len == 0 {
                    break;
                }
                at += len;
                records.push(sent(base + at, serial));
                model.extend((0..len).map(|_| (Fate::InFlight, serial)));
            }
            for serial in 100..160 {
                let from = rng.below(LEN - 1);
                let to = (from + 1 + rng.below(30)).min(LEN);
                match rng.below(3) {
                    0 => {
                        let index = records.index_of(base + from);
                        let to = (records.get(index).expect("inside").end - base).min(to);
                        if records.get(index).expect("inside").fate == Fate::Sacked {
                            continue;
                        }
                        assert!(records.sack(index, base + from, base + to, usize::MAX));
                        model[from as usize..to as usize].fill((Fate::Sacked, 0));
                    }
                    1 => {
                        let record = Record {
                            resent: true,
                            ..sent(base + to, serial)
                        };
                        records.replace(base + from, base + to, record);
                        model[from as usize..to as usize].fill((Fate::InFlight, serial));
                    }
                    _ => {
                        let index = records.index_of(base + from);
                        if records.get(index).expect("inside").fate != Fate::InFlight {
                            continue;
                        }
                        let (l, r) = (
                            records.start_of(index),
                            records.get(index).expect("one").end,
                        );
                        records.set_fate(index, Fate::Lost);
                        for byte in &mut model[(l - base) as usize..(r - base) as usize] {
                            byte.0 = Fate::Lost;
                        }
                    }
                }
                let seen = bytes(&records);
                // Of lost bytes only the fate counts.
                for (seen, want) in seen.iter().zip(&model) {
                    assert_eq!(seen.0, want.0, "seed {seed}");
                    assert!(want.0 != Fate::InFlight || seen.1 == want.1, "seed {seed}");
                }
                assert_eq!(seen.len(), LEN as usize, "seed {seed}");
            }
            let una = base + rng.below(LEN);
            while records.pop_acked(una).is_some() {}
            records.trim_front(una);
            assert_eq!(records.start_of(0), una);
            assert_eq!(bytes(&records).len(), (base + LEN - una) as usize);
        }
    }
}
