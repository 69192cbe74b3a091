//! One direction of a link.

use std::time::Duration;

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::chance::Chances;
use crate::frame::Frame;
use crate::queue::Queue;
use crate::settings::Impairment;
use crate::too_big::{Fate, judge};
use crate::under_way::{Place, UnderWay};

/// Segments of one super-packet that leave within this time of each other stay together, and leave with the last of them.
pub const QUANTUM: Duration = Duration::from_micros(50);

/// Most bytes on the way, which bounds the memory of a wire whatever its delay.
const IN_FLIGHT_BYTES_MAX: u64 = 256 << 20;
/// Memory of a frame on the way beside its bytes.
const OVERHEAD_BYTES: u64 = 128;

/// The counts of a wire, in packets: a super-packet counts as its segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Entered.
    pub sent: u64,
    /// Bytes that entered, IP headers included.
    pub sent_bytes: u64,
    /// Left at the other end, fragments and duplicates included.
    pub delivered: u64,
    /// Bytes that left.
    pub delivered_bytes: u64,
    /// Lost on the way.
    pub lost: u64,
    /// Dropped by the queue.
    pub dropped: u64,
    /// Marked as having met congestion.
    pub marked: u64,
    /// Delivered twice.
    pub duplicated: u64,
    /// Delayed so that others overtake them.
    pub reordered: u64,
    /// Delivered with an inverted bit.
    pub corrupted: u64,
    /// Longer than the MTU, and dropped.
    pub too_big: u64,
    /// Longer than the MTU, and cut into fragments.
    pub fragmented: u64,
    /// Dropped because too much was on the way.
    pub overflowed: u64,
    /// In the queue now.
    pub queued: u64,
    /// Bytes in the queue now.
    pub queued_bytes: u64,
    /// On the way now, behind the queue.
    pub in_flight: u64,
}

/// One direction of a link. Times are since an origin that the caller chooses, and never go back.
#[derive(Debug)]
pub struct Wire {
    settings: Impairment,
    chances: Chances,
    queue: Queue,
    in_flight: UnderWay,
    in_flight_bytes: u64,
    in_flight_packets: u64,
    /// Arrival of the latest packet that was not reordered.
    latest: Duration,
    stats: Stats,
}

/// Segments that go on together.
struct Run {
    start: usize,
    /// The first and the last time of arrival.
    first: Duration,
    at: Duration,
}

impl Wire {
    /// Returns an empty wire, whose random decisions all come from `seed`.
    pub fn new(settings: Impairment, seed: u64) -> Self {
        Self {
            settings,
            chances: Chances::new(ChaCha8Rng::seed_from_u64(seed)),
            queue: Queue::default(),
            in_flight: UnderWay::default(),
            in_flight_bytes: 0,
            in_flight_packets: 0,
            latest: Duration::ZERO,
            stats: Stats::default(),
        }
    }

    /// Returns what the wire does to packets.
    pub fn settings(&self) -> &Impairment {
        &self.settings
    }

    /// Changes what the wire does to packets from `now` on. What is in the queue leaves at the new rate; what is behind
    /// it arrives when it would have.
    pub fn set(&mut self, settings: Impairment, now: Duration) {
        self.advance(now);
        self.settings = settings;
        self.advance(now);
    }

    /// Returns what has happened so far.
    pub fn stats(&self) -> Stats {
        Stats {
            queued: self.queue.packets() as u64,
            queued_bytes: self.queue.bytes(),
            in_flight: self.in_flight_packets,
            ..self.stats
        }
    }

    /// Sends a packet. Returns the answer that its sender gets at once, if it is too big.
    pub fn push(&mut self, frame: Frame, now: Duration) -> Option<Frame> {
        self.advance(now);
        let segments = frame.segments() as u64;
        self.stats.sent += segments;
        self.stats.sent_bytes += frame.wire_bytes();
        let Some(mtu) = self.settings.mtu else {
            self.enter(frame, now);
            return None;
        };
        if frame.segment_len(0) <= usize::from(mtu) {
            self.enter(frame, now);
            return None;
        }
        match judge(&frame, mtu, self.settings.too_big) {
            Fate::Dropped(answer) => {
                self.stats.too_big += segments;
                answer
            }
            Fate::Fragments(fragments) => {
                self.stats.fragmented += segments;
                for fragment in fragments {
                    self.enter(fragment, now);
                }
                None
            }
        }
    }

    /// Delivers an answer of the link itself at `now`, in front of what is under way.
    pub fn answer(&mut self, frame: Frame, now: Duration) {
        self.schedule(Place::Apart, now, frame);
    }

    /// Returns when the wire has something to do next: call [`Wire::pop`] then. `None`: only after the next packet.
    pub fn next(&self) -> Option<Duration> {
        [self.queue.next(), self.in_flight.next()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Returns the next packet that has arrived by `now`.
    pub fn pop(&mut self, now: Duration) -> Option<Frame> {
        self.advance(now);
        let frame = self.in_flight.pop(now)?;
        let segments = frame.segments() as u64;
        self.in_flight_bytes -= frame.bytes().len() as u64 + OVERHEAD_BYTES;
        self.in_flight_packets -= segments;
        self.stats.delivered += segments;
        self.stats.delivered_bytes += frame.wire_bytes();
        Some(frame)
    }

    fn enter(&mut self, frame: Frame, now: Duration) {
        match self.settings.rate {
            Some(rate) => {
                let (settings, stats) = (&self.settings, &mut self.stats);
                self.queue.enter(&frame, rate, settings, now, stats);
                self.advance(now);
            }
            None => self.launch(frame, now),
        }
    }

    /// Lets leave the queue what has by `now`.
    fn advance(&mut self, now: Duration) {
        while !self.queue.is_empty() {
            let left = self.queue.leave(&self.settings, now, &mut self.stats);
            let Some((frame, at)) = left else {
                return;
            };
            self.launch(frame, at);
        }
    }

    /// Returns true if every segment has the same fate.
    fn is_uniform(&self) -> bool {
        let settings = &self.settings;
        let chances = [
            settings.loss,
            settings.reorder,
            settings.duplicate,
            settings.corrupt,
        ];
        let never = chances.iter().all(|chance| chance.per_2_32() == 0);
        never && settings.gilbert.is_none() && settings.jitter.is_zero()
    }

    /// Sends what has left the queue at `left` to the other end.
    fn launch(&mut self, frame: Frame, left: Duration) {
        if self.is_uniform() {
            let at = (left + self.settings.delay).max(self.latest);
            self.latest = at;
            self.schedule(Place::InLine, at, frame);
            return;
        }
        let count = frame.segments();
        let mut run: Option<Run> = None;
        for index in 0..count {
            if self.chances.is_lost(&self.settings) {
                self.stats.lost += 1;
                self.finish_run(&frame, run.take(), index);
                continue;
            }
            let jitter = self.chances.up_to(self.settings.jitter);
            let at = left + self.settings.delay + jitter;
            if self.send_alone(&frame, index, at, &mut run) {
                continue;
            }
            let at = at.max(self.latest);
            self.latest = at;
            if run.as_ref().is_some_and(|run| at - run.first > QUANTUM) {
                self.finish_run(&frame, run.take(), index);
            }
            match &mut run {
                Some(run) => run.at = at,
                None => {
                    run = Some(Run {
                        start: index,
                        first: at,
                        at,
                    });
                }
            }
        }
        self.finish_run(&frame, run, count);
    }

    /// Sends a segment on its own if it is corrupted, duplicated or late. Returns false if it is none of these.
    fn send_alone(
        &mut self,
        frame: &Frame,
        index: usize,
        at: Duration,
        run: &mut Option<Run>,
    ) -> bool {
        let settings = &self.settings;
        let is_corrupted = self.chances.hit(settings.corrupt);
        let is_doubled = self.chances.hit(settings.duplicate);
        let is_late = self.chances.hit(settings.reorder);
        if !(is_corrupted || is_doubled || is_late) {
            return false;
        }
        let reorder_by = settings.reorder_by;
        self.finish_run(frame, run.take(), index);
        let mut segment = frame.run(index..index + 1);
        if is_corrupted {
            self.stats.corrupted += 1;
            let bits = segment.bytes().len() * 8;
            segment.flip_bit(self.chances.below(bits));
        }
        let (place, at) = if is_late {
            self.stats.reordered += 1;
            (Place::Apart, at + reorder_by)
        } else {
            self.latest = at.max(self.latest);
            (Place::InLine, self.latest)
        };
        if is_doubled {
            self.stats.duplicated += 1;
            self.schedule(place, at, segment.clone());
        }
        self.schedule(place, at, segment);
        true
    }

    /// Schedules the segments of a run, which ends in front of segment number `end`.
    fn finish_run(&mut self, frame: &Frame, run: Option<Run>, end: usize) {
        if let Some(run) = run {
            self.schedule(Place::InLine, run.at, frame.run(run.start..end));
        }
    }

    fn schedule(&mut self, place: Place, at: Duration, frame: Frame) {
        let bytes = frame.bytes().len() as u64 + OVERHEAD_BYTES;
        if self.in_flight_bytes + bytes > IN_FLIGHT_BYTES_MAX {
            self.stats.overflowed += frame.segments() as u64;
            return;
        }
        self.in_flight_bytes += bytes;
        self.in_flight_packets += frame.segments() as u64;
        self.in_flight.push(place, at, frame);
    }
}
