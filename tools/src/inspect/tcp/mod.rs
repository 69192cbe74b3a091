//! The analysis of one TCP connection by its segments: retransmissions, order, windows, round-trip times.
//!
//! A segment is classified with the knowledge of the segments before it, by the rules that Wireshark
//! documents for its TCP analysis, so that the counts can be compared.

mod counts;

use std::collections::VecDeque;

pub use self::counts::{Counts, Mark, Marks};
use super::seq::{after, before};
use crate::capture::packet::{Tcp, flags};

/// Time after the highest sequence number within which an older one is out of order, where the round-trip
/// time is not known.
const REORDER_NANOS: i128 = 3_000_000;
/// Time after a duplicate acknowledgment within which a retransmission counts as caused by it.
const FAST_NANOS: i128 = 20_000_000;
/// Most segments of one direction that wait for an acknowledgment, for round-trip times.
const MAX_UNACKED: usize = 1_024;
/// Most gaps of one direction that are remembered.
const MAX_GAPS: usize = 64;

/// A segment that waits for its acknowledgment.
#[derive(Clone, Copy, Debug)]
struct Unacked {
    end: u32,
    at_nanos: i128,
}

/// One direction.
#[derive(Clone, Debug, Default)]
struct Side {
    first_seq: Option<u32>,
    next_seq: Option<u32>,
    next_seq_nanos: i128,
    /// Up to where everything was captured.
    continuous: Option<u32>,
    last_ack: Option<u32>,
    last_ack_nanos: i128,
    repeated_acks: u32,
    window: u16,
    probed: bool,
    kept_alive: bool,
    unacked: VecDeque<Unacked>,
    gaps: Vec<(u32, u32)>,
    counts: Counts,
}

/// One connection.
#[derive(Clone, Debug, Default)]
pub struct Analysis {
    sides: [Side; 2],
    syn_nanos: Option<i128>,
    first_round_trip_nanos: Option<i128>,
    ended: bool,
}

impl Analysis {
    /// Returns true if this SYN cannot belong to the connection: another initial sequence number, or after
    /// its end.
    pub fn is_succeeded_by(&self, side: usize, tcp: &Tcp<'_>) -> bool {
        let opens = tcp.flags & (flags::SYN | flags::ACK) == flags::SYN;
        let first = self.sides[side & 1].first_seq;
        opens && first.is_some_and(|first| first != tcp.seq || self.ended)
    }

    /// Returns the time from the SYN to the end of the handshake.
    pub fn handshake_nanos(&self) -> Option<i128> {
        self.first_round_trip_nanos
    }

    /// Returns the counts of both directions.
    pub fn counts(&self) -> [Counts; 2] {
        self.sides.each_ref().map(|side| {
            let mut counts = side.counts.clone();
            let missing = |&(from, to): &(u32, u32)| u64::from(to.wrapping_sub(from));
            counts.missing_bytes += side.gaps.iter().map(missing).sum::<u64>();
            counts
        })
    }

    /// Returns the first sequence number of a direction, for relative numbers: that of its SYN, or one
    /// before its first byte.
    pub fn first_seq(&self, side: usize) -> Option<u32> {
        self.sides[side & 1].first_seq
    }

    /// Returns the window scale of a direction; 0 if its SYN was not captured or the peer has none.
    pub fn window_scale(&self, side: usize) -> u8 {
        let [ours, theirs] = [side & 1, 1 - (side & 1)].map(|at| &self.sides[at].counts);
        match (ours.window_scale, theirs.window_scale) {
            (Some(scale), Some(_)) => scale.min(14),
            _ => 0,
        }
    }

    /// Takes the next segment of a direction. Returns what is special about it.
    pub fn take(&mut self, side: usize, tcp: &Tcp<'_>, now_nanos: i128) -> Marks {
        let scale = self.window_scale(side);
        let peer_scale = self.window_scale(1 - (side & 1));
        let [first, second] = &mut self.sides;
        let (ours, theirs) = if side & 1 == 0 {
            (first, second)
        } else {
            (second, first)
        };
        let segment = Seen {
            seq: tcp.seq,
            ack: tcp.has(flags::ACK).then_some(tcp.ack),
            len: tcp.payload_len,
            end: tcp.seq.wrapping_add(tcp.sequence_len()),
            window: tcp.window,
            controls: tcp.flags & (flags::SYN | flags::FIN | flags::RST),
            now_nanos,
            peer_scale,
        };
        ours.note_start(theirs, &segment, tcp);
        let marks = ours.classify(theirs, &segment, self.first_round_trip_nanos);
        ours.count(tcp, &segment, &marks, scale);
        ours.advance(&segment, &marks);
        theirs.acknowledge(&segment);
        ours.flight(theirs);
        self.time_handshake(tcp, now_nanos);
        self.ended |= segment.controls & (flags::FIN | flags::RST) != 0;
        marks
    }

    fn time_handshake(&mut self, tcp: &Tcp<'_>, now_nanos: i128) {
        match tcp.flags & (flags::SYN | flags::ACK) {
            flags::SYN => self.syn_nanos = Some(now_nanos),
            flags::ACK if self.first_round_trip_nanos.is_none() => {
                self.first_round_trip_nanos =
                    self.syn_nanos.map(|syn| now_nanos.saturating_sub(syn));
            }
            _ => {}
        }
    }
}

/// The fields of a segment that the classification looks at.
struct Seen {
    seq: u32,
    ack: Option<u32>,
    len: u32,
    end: u32,
    window: u16,
    controls: u16,
    now_nanos: i128,
    peer_scale: u8,
}

impl Seen {
    fn is_plain(&self) -> bool {
        self.controls == 0
    }

    fn advances(&self) -> bool {
        self.len > 0 || self.controls & (flags::SYN | flags::FIN) != 0
    }
}

impl Side {
    /// Notes where the numbers of both directions begin, if this segment is the first to say it.
    fn note_start(&mut self, theirs: &mut Side, segment: &Seen, tcp: &Tcp<'_>) {
        if self.first_seq.is_none() {
            let syn = u32::from(tcp.has(flags::SYN));
            self.first_seq = Some(segment.seq.wrapping_sub(1).wrapping_add(syn));
        }
        if theirs.first_seq.is_none() {
            theirs.first_seq = segment.ack.map(|ack| ack.wrapping_sub(1));
        }
    }

    fn classify(&mut self, theirs: &Side, segment: &Seen, round_trip: Option<i128>) -> Marks {
        let mut marks = Vec::new();
        let in_order = self.next_seq == Some(segment.seq);
        let same_ack = segment.ack.is_some() && segment.ack == self.last_ack;
        let quiet = segment.len == 0 && segment.is_plain() && in_order && same_ack;
        let same_window = segment.window == self.window;
        'acks: {
            if segment.len == 1 && in_order && theirs.window == 0 && theirs.last_ack.is_some() {
                marks.push(Mark::ZeroWindowProbe);
                break 'acks;
            }
            if segment.window == 0 && segment.is_plain() {
                marks.push(Mark::ZeroWindow);
            }
            if let Some(next) = self.next_seq
                && after(segment.seq, next)
                && segment.controls & flags::RST == 0
            {
                marks.push(Mark::LostSegment);
            }
            let before_next = self.next_seq == Some(segment.seq.wrapping_add(1));
            if segment.len <= 1 && before_next && segment.is_plain() {
                marks.push(Mark::KeepAlive);
            }
            if quiet && segment.window != 0 && !same_window {
                marks.push(Mark::WindowUpdate);
            }
            if let Some(ack) = theirs.last_ack
                && segment.len > 0
                && segment.is_plain()
                && ack.wrapping_add(u32::from(theirs.window) << segment.peer_scale) == segment.end
            {
                marks.push(Mark::WindowFull);
            }
            if quiet && same_window && segment.window != 0 && theirs.kept_alive {
                marks.push(Mark::KeepAliveAck);
                break 'acks;
            }
            if quiet && same_window && segment.window == 0 && theirs.probed {
                marks.push(Mark::ZeroWindowProbeAck);
                break 'acks;
            }
            if quiet && same_window && segment.window != 0 {
                self.repeated_acks += 1;
                marks.push(Mark::DuplicateAck);
            }
        }
        if !same_ack {
            self.repeated_acks = 0;
        }
        if let (Some(ack), Some(continuous)) = (segment.ack, theirs.continuous)
            && after(ack, continuous)
        {
            marks.push(Mark::AckedUnseen);
        }
        if !marks.contains(&Mark::KeepAlive) {
            marks.extend(self.again(theirs, segment, round_trip));
        }
        Marks(marks)
    }

    /// Returns why a segment that brings nothing new was sent.
    fn again(&self, theirs: &Side, segment: &Seen, round_trip: Option<i128>) -> Option<Mark> {
        let next = self.next_seq?;
        if !segment.advances() || !before(segment.seq, next) {
            return None;
        }
        if segment.len > 0
            && let Some(acked) = theirs.last_ack
            && !after(segment.seq.wrapping_add(segment.len), acked)
        {
            return Some(Mark::SpuriousRetransmission);
        }
        // More than the byte of a probe begins where the probe did, and is new.
        let is_new = segment.len > 1 && segment.seq.wrapping_add(1) == next;
        let since_ack = segment.now_nanos.saturating_sub(theirs.last_ack_nanos);
        if !is_new
            && theirs.repeated_acks >= 2
            && theirs.last_ack == Some(segment.seq)
            && since_ack < FAST_NANOS
        {
            return Some(Mark::FastRetransmission);
        }
        let since_next = segment.now_nanos.saturating_sub(self.next_seq_nanos);
        let reorder = round_trip
            .filter(|nanos| *nanos > 0)
            .unwrap_or(REORDER_NANOS);
        if !is_new && since_next < reorder && segment.end != next {
            return Some(Mark::OutOfOrder);
        }
        (!is_new).then_some(Mark::Retransmission)
    }

    fn count(&mut self, tcp: &Tcp<'_>, segment: &Seen, marks: &Marks, scale: u8) {
        let counts = &mut self.counts;
        counts.payload_bytes += u64::from(segment.len);
        counts.data_segments += u64::from(segment.len > 0);
        if marks.is_retransmission() {
            counts.retransmissions += 1;
            counts.retransmitted_bytes += u64::from(segment.len);
        }
        for mark in marks.all() {
            let counter = match mark {
                Mark::FastRetransmission => &mut counts.fast_retransmissions,
                Mark::SpuriousRetransmission => &mut counts.spurious_retransmissions,
                Mark::OutOfOrder => &mut counts.out_of_order,
                Mark::LostSegment => &mut counts.lost_segments,
                Mark::DuplicateAck => &mut counts.duplicate_acks,
                Mark::AckedUnseen => &mut counts.acked_unseen,
                Mark::ZeroWindow => &mut counts.zero_windows,
                Mark::ZeroWindowProbe => &mut counts.zero_window_probes,
                Mark::KeepAlive => &mut counts.keep_alives,
                Mark::WindowFull => &mut counts.window_fulls,
                _ => continue,
            };
            *counter += 1;
        }
        counts.syns += u64::from(tcp.has(flags::SYN));
        counts.fins += u64::from(tcp.has(flags::FIN));
        counts.resets += u64::from(tcp.has(flags::RST));
        counts.sacks += u64::from(tcp.options.sack[0].is_some());
        counts.timestamps |= tcp.options.timestamps.is_some();
        if tcp.has(flags::SYN) {
            counts.mss = tcp.options.mss.or(counts.mss);
            counts.window_scale = tcp.options.window_scale.or(counts.window_scale);
            counts.sack_permitted |= tcp.options.sack_permitted;
        } else if !tcp.has(flags::RST) && segment.ack.is_some() {
            let window = u64::from(segment.window) << scale;
            counts.window_max = counts.window_max.max(window);
            counts.window_min = Some(counts.window_min.map_or(window, |min| min.min(window)));
        }
    }

    fn advance(&mut self, segment: &Seen, marks: &Marks) {
        let probe = marks.has(Mark::ZeroWindowProbe);
        if let Some(next) = self.next_seq
            && marks.has(Mark::LostSegment)
        {
            if self.gaps.len() < MAX_GAPS {
                self.gaps.push((next, segment.seq));
            } else {
                self.counts.missing_bytes += u64::from(segment.seq.wrapping_sub(next));
            }
        }
        self.fill_gaps(segment);
        if !probe && self.continuous.is_none_or(|at| at == segment.seq) {
            self.continuous = Some(segment.end);
        }
        if !probe && self.next_seq.is_none_or(|next| after(segment.end, next)) {
            self.next_seq = Some(segment.end);
            self.next_seq_nanos = segment.now_nanos;
        }
        if segment.advances() {
            let again = |unacked: &Unacked| after(unacked.end, segment.seq);
            if marks.is_retransmission() {
                // Nobody knows which of the two is acknowledged.
                self.unacked.retain(|unacked| !again(unacked));
            } else if self.unacked.len() < MAX_UNACKED {
                self.unacked.push_back(Unacked {
                    end: segment.end,
                    at_nanos: segment.now_nanos,
                });
            }
        }
        self.window = segment.window;
        if let Some(ack) = segment.ack {
            self.last_ack = Some(ack);
            self.last_ack_nanos = segment.now_nanos;
        }
        self.probed = probe;
        self.kept_alive = marks.has(Mark::KeepAlive);
    }

    /// Takes the bytes of a late segment out of the gaps.
    fn fill_gaps(&mut self, segment: &Seen) {
        if self.gaps.is_empty() || segment.len == 0 {
            return;
        }
        let end = segment.seq.wrapping_add(segment.len);
        let mut rest = Vec::new();
        for &(from, to) in &self.gaps {
            if !before(segment.seq, to) || !after(end, from) {
                rest.push((from, to));
                continue;
            }
            if after(segment.seq, from) {
                rest.push((from, segment.seq));
            }
            if before(end, to) {
                rest.push((end, to));
            }
        }
        rest.truncate(MAX_GAPS);
        self.gaps = rest;
    }

    /// Takes the acknowledgment that a segment of the peer carries.
    fn acknowledge(&mut self, segment: &Seen) {
        let Some(ack) = segment.ack else { return };
        if self.continuous.is_some_and(|at| after(ack, at)) {
            // So that what was never captured is noticed once.
            self.continuous = Some(ack);
        }
        while let Some(first) = self.unacked.front() {
            if after(first.end, ack) {
                break;
            }
            if first.end == ack {
                let nanos = segment.now_nanos.saturating_sub(first.at_nanos);
                self.counts.round_trips.add(nanos);
            }
            self.unacked.pop_front();
        }
    }

    fn flight(&mut self, theirs: &Side) {
        if let (Some(next), Some(acked)) = (self.next_seq, theirs.last_ack)
            && after(next, acked)
        {
            let flight = u64::from(next.wrapping_sub(acked));
            self.counts.flight_max = self.counts.flight_max.max(flight);
        }
    }
}
