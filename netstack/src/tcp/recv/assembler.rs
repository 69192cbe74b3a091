//! The out-of-order queue: bytes that arrived ahead of a gap (RFC 9293 section 3.10.7.4, SHLD-31).
//!
//! * **Define.** An [`Assembler`] is a sorted list of disjoint ranges above RCV.NXT, each with its
//!   bytes.
//! * **Enforce.** The first copy of a byte wins. The number of ranges and the memory pinned are
//!   bounded; the work per segment is at most linear in the number of ranges.
//! * **Consume.** A closed gap hands whole runs to the application; the SACK option reports the
//!   ranges.
//!
//! A peer that sends every second byte gets at most the allowed number of ranges (CVE-2018-5390).

use std::collections::VecDeque;

use bytes::Bytes;
use packet::Payload;
use packet::buf::{Held, Memory};

use super::compact;
use crate::tcp::concat::concat;
use crate::tcp::seq::SeqNum;

#[derive(Debug)]
struct Range {
    start: SeqNum,
    end: SeqNum,
    /// Value of the insertion counter when the range last grew.
    touched: u32,
    /// Memory that the range pins, in bytes.
    pinned: usize,
    data: VecDeque<Held>,
}

/// Bytes that may arrive while something waits, before the value of TS.Recent from before the gap is of no use: a segment of the
/// sequence numbers before, 4 GiB ago, must be older than it, whatever the window.
const TS_BEFORE_BYTES: u32 = 1 << 30;

/// Insertions whose sequence numbers are kept. Of one that more of the same turn follow, only the last change of its range tells.
const KEPT: u32 = 64;

/// Most ranges that fit into a SACK option (RFC 2018 section 3).
const MAX_BLOCKS: usize = 4;

/// The out-of-order queue.
#[derive(Debug)]
pub(crate) struct Assembler {
    ranges: Vec<Range>,
    /// Insertions so far.
    clock: u32,
    /// Where the last insertions began; the one at which `clock` became `n` is at `n % KEPT`.
    began: [SeqNum; KEPT as usize],
    /// The value of TS.Recent before the gap (RFC 7323), and RCV.NXT then.
    ts_before: u32,
    opened_at: SeqNum,
}

/// Limits of one assembler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Maximum number of ranges.
    pub(crate) ranges: usize,
    /// Pinned memory, in bytes, at which no more is kept.
    pub(crate) pinned: usize,
}

impl Assembler {
    /// Creates an empty queue; `ts_before` is TS.Recent, and `nxt` RCV.NXT.
    pub(crate) fn new(ts_before: u32, nxt: SeqNum) -> Self {
        Self {
            ranges: Vec::new(),
            clock: 0,
            began: [nxt; KEPT as usize],
            ts_before,
            opened_at: nxt,
        }
    }

    /// Returns the value that TS.Recent had before there was a gap, or a later one if much has arrived since.
    pub(crate) fn ts_before(&self) -> u32 {
        self.ts_before
    }

    /// Notes that RCV.NXT has come to `nxt` and there is still a gap. It advances by a window at most, which is 1 GiB.
    pub(crate) fn on_advanced(&mut self, nxt: SeqNum, ts_recent: u32) {
        if nxt.since(self.opened_at) >= TS_BEFORE_BYTES {
            (self.ts_before, self.opened_at) = (ts_recent, nxt);
        }
    }

    /// Returns true if nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Returns the number of bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.ranges.iter().map(|r| (r.end - r.start) as usize).sum()
    }

    /// Returns the end of the last range.
    pub(crate) fn end(&self) -> Option<SeqNum> {
        self.ranges.last().map(|range| range.end)
    }

    /// Returns the first part of `left..right` that waits.
    pub(crate) fn first_overlap(&self, left: SeqNum, right: SeqNum) -> Option<(SeqNum, SeqNum)> {
        let first = self
            .ranges
            .partition_point(|range| range.end.at_or_before(left));
        let range = self.ranges.get(first)?;
        let (start, end) = (range.start.max(left), range.end.min(right));
        start.before(end).then_some((start, end))
    }

    /// Adds `data`, which begins at `seq`, above RCV.NXT and within the window. Returns how many
    /// bytes were new and kept.
    pub(crate) fn insert(
        &mut self,
        seq: SeqNum,
        data: &Payload,
        limits: Limits,
        memory: Memory<'_>,
    ) -> usize {
        self.clock = self.clock.wrapping_add(1);
        self.began[(self.clock % KEPT) as usize] = seq;
        let end = seq + data.len() as u32;
        let mut kept = 0;
        let mut at = seq;
        // The first range that ends after the new data begins.
        let mut i = self.ranges.partition_point(|r| r.end.at_or_before(seq));
        while at.before(end) {
            // The gap before range `i`, as far as the new data reaches.
            let (gap_end, next) = match self.ranges.get(i) {
                Some(range) if range.start.before(end) => (range.start, Some(range.end)),
                _ => (end, None),
            };
            if at.before(gap_end) {
                let from = (at - seq) as usize;
                let piece = data.slice(from..from + (gap_end - at) as usize);
                let count = piece.len();
                let placed = self.place(&mut i, at, piece, limits, memory);
                kept += placed;
                if placed < count {
                    break;
                }
            }
            match next {
                Some(range_end) => {
                    at = at.max(range_end);
                    if let Some(range) = self.ranges.get_mut(i) {
                        range.touched = self.clock;
                    }
                    i += 1;
                }
                None => break,
            }
        }
        kept
    }

    /// Puts `piece` into the gap before range `i` and joins the ranges that have become adjacent.
    /// Sets `i` to the range after the gap. Returns how many bytes were kept: all, unless a limit or a want
    /// of memory forbids it.
    fn place(
        &mut self,
        i: &mut usize,
        at: SeqNum,
        piece: Payload,
        limits: Limits,
        memory: Memory<'_>,
    ) -> usize {
        let count = piece.len();
        let before = i
            .checked_sub(1)
            .filter(|p| self.ranges.get(*p).is_some_and(|r| r.end == at));
        let after = self
            .ranges
            .get(*i)
            .is_some_and(|r| r.start == at + count as u32);
        if before.is_none() && !after && self.ranges.len() >= limits.ranges {
            return 0;
        }
        if self.ranges.iter().map(|r| r.pinned).sum::<usize>() >= limits.pinned {
            return 0;
        }
        let mut run = match before.and_then(|p| self.ranges.get_mut(p)) {
            Some(range) => core::mem::take(&mut range.data),
            None => VecDeque::new(),
        };
        let kept = compact::push(&mut run, piece, memory);
        let end = at + kept.bytes as u32;
        let mut range = Range {
            start: at,
            end,
            touched: self.clock,
            pinned: kept.pinned,
            data: run,
        };
        let joined = before.and_then(|p| self.ranges.get_mut(p));
        if let Some(range_before) = joined {
            range.start = range_before.start;
            range.pinned += range_before.pinned;
            *range_before = range;
        } else if kept.bytes > 0 {
            self.ranges.insert(*i, range);
            *i += 1;
        } else {
            return 0;
        }
        // Range `i` is the one after the gap, and `i - 1` the one that grew.
        if after && kept.bytes == count {
            let next = self.ranges.remove(*i);
            if let Some(range) = self.ranges.get_mut(*i - 1) {
                range.end = next.end;
                range.pinned += next.pinned;
                join(&mut range.data, next.data);
            }
            *i -= 1;
        }
        kept.bytes
    }

    /// Moves what leaves a part of its slab unused into memory of its own length; returns how many bytes
    /// were copied.
    pub(crate) fn compact(&mut self, memory: Memory<'_>) -> usize {
        let mut copied = 0;
        for range in &mut self.ranges {
            copied += range
                .data
                .iter_mut()
                .map(|held| memory.compact(held))
                .sum::<usize>();
            range.pinned = range.data.iter().map(Held::pinned_bytes).sum();
        }
        copied
    }

    /// Takes the run that begins at or below `nxt`, if there is one: its bytes from `nxt` on, and
    /// its end.
    pub(crate) fn take_from(&mut self, nxt: SeqNum) -> Option<(VecDeque<Held>, SeqNum)> {
        loop {
            let first = self.ranges.first()?;
            if first.start.after(nxt) {
                return None;
            }
            let mut range = self.ranges.remove(0);
            if range.end.at_or_before(nxt) {
                continue;
            }
            let mut skip = (nxt - range.start) as usize;
            while skip > 0 {
                let Some(front) = range.data.front_mut() else {
                    break;
                };
                let cut = skip.min(front.len());
                front.advance(cut);
                skip -= cut;
                if front.is_empty() {
                    range.data.pop_front();
                }
            }
            return Some((range.data, range.end));
        }
    }

    /// Returns a copy of everything, range by range, the least recently changed first.
    pub(crate) fn bytes(&self) -> Vec<(SeqNum, Bytes)> {
        let mut ranges: Vec<&Range> = self.ranges.iter().collect();
        ranges.sort_by_key(|range| core::cmp::Reverse(self.clock.wrapping_sub(range.touched)));
        let copy = |range: &Range| concat(range.data.iter().map(|held| &**held));
        ranges
            .into_iter()
            .map(|range| (range.start, copy(range)))
            .collect()
    }

    /// Returns the number of ranges.
    pub(crate) fn ranges(&self) -> usize {
        self.ranges.len()
    }

    /// Calls `visit` with up to `max` ranges for the ACK of the segment after which there were `later` insertions. The first is
    /// the one that contains this segment; those of the segments before follow, the most recent first
    /// (RFC 2018 section 4). Ranges that only later segments changed are left to their ACKs: a sender that heard of them now
    /// would take what lies between for lost.
    pub(crate) fn recent(&self, max: usize, later: u32, mut visit: impl FnMut(SeqNum, SeqNum)) {
        let most = max.min(MAX_BLOCKS).min(self.ranges.len());
        let mut visited = [usize::MAX; MAX_BLOCKS];
        let mut count = 0;
        let mut report = |i: usize, range: &Range| {
            if count < most && !visited.contains(&i) {
                visited[count] = i;
                count += 1;
                visit(range.start, range.end);
            }
            count == most
        };
        let kept = self.clock.min(KEPT);
        let mut found = false;
        for back in later..kept {
            let at = self.began[(self.clock.wrapping_sub(back) % KEPT) as usize];
            let i = self.ranges.partition_point(|r| r.end.at_or_before(at));
            let range = self.ranges.get(i).filter(|r| r.start.at_or_before(at));
            if let Some(range) = range {
                found = true;
                if report(i, range) {
                    return;
                }
            }
        }
        let ages = self.ranges.iter().map(|range| self.age(range));
        let first = ages.filter(|age| *age <= later).max();
        let mut from = (if found { later } else { first.unwrap_or(0) }, 0);
        while let Some((age, i)) = self.next_by_age(from) {
            if self.ranges.get(i).is_some_and(|range| report(i, range)) {
                return;
            }
            from = (age, i + 1);
        }
    }

    /// Returns the number of insertions since the last one that changed a range. It counts back from now, so that the counter
    /// may wrap.
    fn age(&self, range: &Range) -> u32 {
        self.clock.wrapping_sub(range.touched)
    }

    /// Returns the first range at or after `from`, in the order of age, then of place.
    fn next_by_age(&self, from: (u32, usize)) -> Option<(u32, usize)> {
        let ages = self.ranges.iter().enumerate();
        ages.map(|(i, range)| (self.age(range), i))
            .filter(|key| *key >= from)
            .min()
    }

    /// Checks what must hold whatever the peer sends.
    #[cfg(any(test, feature = "invariants"))]
    pub(crate) fn check(&self, nxt: SeqNum, limits: Limits) {
        assert!(self.ranges.len() <= limits.ranges);
        let slices = self.ranges.iter().map(|range| range.data.len()).sum();
        if !crate::tcp::invariants::walk_is_due(slices) {
            return;
        }
        for range in &self.ranges {
            assert!(range.start.before(range.end) && range.start.after(nxt));
            let bytes: usize = range.data.iter().map(|held| held.len()).sum();
            assert_eq!(bytes, (range.end - range.start) as usize);
            let pinned: usize = range.data.iter().map(Held::pinned_bytes).sum();
            assert_eq!(pinned, range.pinned, "pinned memory is counted");
        }
        for pair in self.ranges.windows(2) {
            assert!(pair[0].end.before(pair[1].start), "adjacent ranges join");
        }
    }
}

/// Appends `back` to `front`. Moves the shorter of the two, so that no sequence of segments makes
/// every slice move again and again.
fn join(front: &mut VecDeque<Held>, mut back: VecDeque<Held>) {
    if front.len() >= back.len() {
        front.append(&mut back);
    } else {
        while let Some(payload) = front.pop_back() {
            back.push_front(payload);
        }
        *front = back;
    }
}

#[cfg(test)]
mod tests;
