//! The queue in front of a rate.
//!
//! It counts in segments, whatever super-packets they came in. A super-packet enters as pieces that take no longer than
//! [`QUANTUM`] at the rate each, so that its segments leave one after the other.

use std::collections::VecDeque;
use std::time::Duration;

use crate::codel::Codel;
use crate::frame::Frame;
use crate::settings::{DropPolicy, Impairment, Length, Rate};
use crate::wire::{QUANTUM, Stats};

#[derive(Debug)]
struct Waiting {
    frame: Frame,
    arrived: Duration,
}

/// Frames that wait, the first of which is being sent.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: VecDeque<Waiting>,
    packets: usize,
    bytes: u64,
    /// When the last bit of the first frame leaves.
    first_leaves: Option<Duration>,
    codel: Codel,
}

impl Queue {
    pub(crate) fn packets(&self) -> usize {
        self.packets
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns when the next frame leaves.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.first_leaves
    }

    /// Takes as many segments of the frame as the limit allows.
    pub(crate) fn enter(
        &mut self,
        frame: &Frame,
        rate: Rate,
        settings: &Impairment,
        now: Duration,
        stats: &mut Stats,
    ) {
        let total = frame.segments();
        let drops_arrivals = settings.drop != DropPolicy::Head;
        let taken = if drops_arrivals {
            self.fitting(frame, settings.queue, rate)
        } else {
            total
        };
        stats.dropped += (total - taken) as u64;
        let marks = settings.mark.filter(|_| settings.drop != DropPolicy::Codel);
        let unmarked = marks.map_or(taken, |mark| self.fitting(frame, mark, rate).min(taken));
        let piece = rate.bytes_in(QUANTUM) / frame.segment_len(0).max(1) as u64;
        let piece = usize::try_from(piece).unwrap_or(usize::MAX).max(1);
        for (from, to, is_marked) in [(0, unmarked, false), (unmarked, taken, true)] {
            let mut start = from;
            while start < to {
                let end = start.saturating_add(piece).min(to);
                let mut part = frame.run(start..end);
                if is_marked && part.mark() {
                    stats.marked += part.segments() as u64;
                }
                self.push_back(part, now);
                start = end;
            }
        }
        if !drops_arrivals {
            self.shorten(settings.queue, rate, stats);
        }
        self.start(rate, settings, now, stats);
    }

    /// Returns how many segments from the front of the frame find room. The first packet of an empty queue does.
    fn fitting(&self, frame: &Frame, limit: Length, rate: Rate) -> usize {
        let (mut packets, mut bytes) = (self.packets, self.bytes);
        for index in 0..frame.segments() {
            let len = frame.segment_len(index) as u64;
            if packets > 0 && is_over(limit, rate, packets + 1, bytes + len) {
                return index;
            }
            packets += 1;
            bytes += len;
        }
        frame.segments()
    }

    fn push_back(&mut self, frame: Frame, arrived: Duration) {
        self.packets += frame.segments();
        self.bytes += frame.wire_bytes();
        self.waiting.push_back(Waiting { frame, arrived });
    }

    fn take(&mut self, index: usize) -> Option<Waiting> {
        let taken = self.waiting.remove(index)?;
        self.packets -= taken.frame.segments();
        self.bytes -= taken.frame.wire_bytes();
        Some(taken)
    }

    /// Puts a frame back to where it was taken from.
    fn put(&mut self, index: usize, waiting: Waiting) {
        self.packets += waiting.frame.segments();
        self.bytes += waiting.frame.wire_bytes();
        self.waiting.insert(index, waiting);
    }

    /// Drops those that have waited longest, but not the one that is being sent.
    fn shorten(&mut self, limit: Length, rate: Rate, stats: &mut Stats) {
        let oldest = usize::from(self.first_leaves.is_some());
        while self.packets > 1 && is_over(limit, rate, self.packets, self.bytes) {
            let Some(mut victim) = self.take(oldest) else {
                return;
            };
            let count = victim.frame.segments();
            let mut dropped = 1;
            while dropped < count {
                let rest = victim.frame.run(dropped..count);
                let (packets, bytes) = (count - dropped, rest.wire_bytes());
                if !is_over(limit, rate, self.packets + packets, self.bytes + bytes) {
                    victim.frame = rest;
                    self.put(oldest, victim);
                    break;
                }
                dropped += 1;
            }
            stats.dropped += dropped as u64;
        }
    }

    /// Begins to send the first frame, if none is being sent.
    fn start(&mut self, rate: Rate, settings: &Impairment, now: Duration, stats: &mut Stats) {
        if self.first_leaves.is_some() {
            return;
        }
        if settings.drop == DropPolicy::Codel {
            self.control(settings, now, stats);
        }
        if let Some(first) = self.waiting.front() {
            self.first_leaves = Some(now + rate.time_for(first.frame.wire_bytes()));
        }
    }

    /// Lets the controller drop or mark single segments from the front.
    fn control(&mut self, settings: &Impairment, now: Duration, stats: &mut Stats) {
        while let Some(first) = self.waiting.front() {
            let sojourn = now.saturating_sub(first.arrived);
            let behind = self.bytes.saturating_sub(first.frame.segment_len(0) as u64);
            if !self.codel.takes(now, sojourn, behind) {
                return;
            }
            let Some(Waiting { frame, arrived }) = self.take(0) else {
                return;
            };
            let count = frame.segments();
            if count > 1 {
                let frame = frame.run(1..count);
                self.put(0, Waiting { frame, arrived });
            }
            let mut frame = frame.run(0..1);
            if settings.mark.is_some() && frame.mark() {
                stats.marked += 1;
                self.put(0, Waiting { frame, arrived });
                return;
            }
            stats.dropped += 1;
        }
    }

    /// Takes the next frame that has left by `now`, with the time at which it did. Without a rate everything leaves at once.
    pub(crate) fn leave(
        &mut self,
        settings: &Impairment,
        now: Duration,
        stats: &mut Stats,
    ) -> Option<(Frame, Duration)> {
        let Some(rate) = settings.rate else {
            self.first_leaves = None;
            return self.take(0).map(|first| (first.frame, now));
        };
        // The rate may be new for what waits.
        self.start(rate, settings, now, stats);
        let at = self.first_leaves.filter(|at| *at <= now)?;
        self.first_leaves = None;
        let first = self.take(0)?;
        self.start(rate, settings, at, stats);
        Some((first.frame, at))
    }
}

fn is_over(limit: Length, rate: Rate, packets: usize, bytes: u64) -> bool {
    match limit {
        Length::Packets(most) => packets > most as usize,
        Length::Bytes(most) => bytes > most,
        Length::Time(most) => bytes > rate.bytes_in(most),
    }
}
