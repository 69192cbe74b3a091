//! Frames behind the queue, in the order in which they arrive.
//!
//! Nearly all of them keep their order, so they wait in line: a frame costs no more than a place at its end. Only those that
//! overtake others, or are overtaken, go through a heap.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::frame::Frame;

/// A frame, and when it arrives.
#[derive(Debug)]
struct Due {
    at: Duration,
    /// First sent, first delivered.
    order: u64,
    frame: Frame,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// Where a frame waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// Behind those that keep their order.
    InLine,
    /// In the heap, because it arrives before or long after its neighbours: they stay in line.
    Apart,
}

/// The frames that are under way.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    /// Each arrives no earlier than the one in front of it.
    line: VecDeque<Due>,
    /// Those that are not in line.
    apart: BinaryHeap<Reverse<Due>>,
    order: u64,
}

impl UnderWay {
    /// Adds a frame that arrives at `at`, behind all that were added before and arrive then.
    pub(crate) fn push(&mut self, place: Place, at: Duration, frame: Frame) {
        self.order += 1;
        let due = Due {
            at,
            order: self.order,
            frame,
        };
        // A line whose last frame arrives later would not be in order.
        let is_in_order = self.line.back().is_none_or(|last| last.at <= at);
        match place {
            Place::InLine if is_in_order => self.line.push_back(due),
            _ => self.apart.push(Reverse(due)),
        }
    }

    /// Returns when the next frame arrives.
    pub(crate) fn next(&self) -> Option<Duration> {
        let line = self.line.front().map(|due| due.at);
        let apart = self.apart.peek().map(|Reverse(due)| due.at);
        line.into_iter().chain(apart).min()
    }

    /// Takes the next frame that has arrived by `now`.
    pub(crate) fn pop(&mut self, now: Duration) -> Option<Frame> {
        let is_apart = match (self.line.front(), self.apart.peek()) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(line), Some(Reverse(apart))) => apart < line,
        };
        let due = if is_apart {
            if self.apart.peek()?.0.at > now {
                return None;
            }
            self.apart.pop()?.0
        } else {
            if self.line.front()?.at > now {
                return None;
            }
            self.line.pop_front()?
        };
        Some(due.frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(number: usize) -> Frame {
        Frame::bare(vec![0; number])
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Takes everything, and returns times and lengths.
    fn drain(frames: &mut UnderWay) -> Vec<(u64, usize)> {
        let mut all = Vec::new();
        while let Some(next) = frames.next() {
            let early = next.saturating_sub(Duration::from_nanos(1));
            assert!(next.is_zero() || frames.pop(early).is_none(), "early");
            let frame = frames.pop(next).expect("it is due");
            all.push((next.as_millis() as u64, frame.bytes().len()));
        }
        assert!(frames.pop(at(1_000_000)).is_none());
        all
    }

    #[test]
    fn what_arrives_at_the_same_time_arrives_as_it_was_sent() {
        let mut frames = UnderWay::default();
        frames.push(Place::InLine, at(5), frame(1));
        frames.push(Place::Apart, at(5), frame(2));
        frames.push(Place::InLine, at(5), frame(3));
        frames.push(Place::Apart, at(5), frame(4));
        frames.push(Place::InLine, at(5), frame(5));
        let expected: Vec<(u64, usize)> = (1..=5).map(|number| (5, number)).collect();
        assert_eq!(drain(&mut frames), expected);
    }

    #[test]
    fn line_and_heap_are_taken_in_one_order() {
        // Linear congruential, so that a failure repeats.
        let mut state = 1_u64;
        let mut draw = |bound: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % bound
        };
        for _ in 0..200 {
            let (mut frames, mut expected) = (UnderWay::default(), Vec::new());
            let mut clock = 0;
            for number in 1..=60 {
                clock += draw(3);
                // Most in line, some late, some that go in front of everything, whatever they say about themselves.
                let (time, place) = match draw(6) {
                    0 => (clock + draw(20), Place::Apart),
                    1 => (clock.saturating_sub(draw(10)), Place::Apart),
                    2 => (clock.saturating_sub(draw(10)), Place::InLine),
                    _ => (clock, Place::InLine),
                };
                frames.push(place, at(time), frame(number));
                expected.push((time, number));
            }
            // The sort is stable.
            expected.sort_by_key(|(time, _)| *time);
            assert_eq!(drain(&mut frames), expected);
        }
    }

    #[test]
    fn what_keeps_its_order_stays_out_of_the_heap() {
        let mut frames = UnderWay::default();
        for number in 0..10 {
            frames.push(Place::InLine, at(number / 2), frame(1));
            frames.push(Place::Apart, at(100), frame(2));
        }
        assert_eq!((frames.line.len(), frames.apart.len()), (10, 10));
        // An answer of the link in front of all.
        frames.push(Place::InLine, at(0), frame(3));
        assert_eq!((frames.line.len(), frames.apart.len()), (10, 11));
    }
}
