//! A hierarchical timer wheel: arm, move and cancel in constant time, no allocation when warm.
//!
//! Each armed timer lives in one slab and in one doubly linked list, that of its bucket.
//! Four levels of 64 buckets, one tick a millisecond: 64 ms, 4 s, 4.4 min, 4.7 h; what lies beyond
//! the last level waits in its last bucket and is moved when that is reached. A timer never fires early and at
//! most one tick late.
//!
//! Owned by one worker. Generic over the value that is timed.

use slab::Slab;

use crate::base::Instant;

const LEVELS: usize = 4;
const BITS: u32 = 6;
const BUCKETS: usize = 1 << BITS;
const NONE: u32 = u32::MAX;
const NANOS_PER_TICK: u64 = 1_000_000;

/// Names an armed timer until it fires or is cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimerId(u32);

impl TimerId {
    /// Returns the number of this timer, to be stored in an atomic.
    pub fn to_raw(self) -> u32 {
        self.0
    }

    /// Converts back from [`TimerId::to_raw`]; `None` for [`TimerId::NONE_RAW`].
    pub fn from_raw(raw: u32) -> Option<Self> {
        (raw != NONE).then_some(Self(raw))
    }

    /// The number that names no timer.
    pub const NONE_RAW: u32 = NONE;
}

#[derive(Debug)]
struct Timer<T> {
    value: T,
    deadline: Instant,
    bucket: u16,
    next: u32,
    prev: u32,
}

/// A wheel of timers, each with a value that is given back when it fires.
#[derive(Debug)]
pub struct Wheel<T> {
    timers: Slab<Timer<T>>,
    heads: [u32; LEVELS * BUCKETS],
    occupied: [u64; LEVELS],
    /// Every tick before this one has been handled.
    tick: u64,
}

/// First tick at which nothing due at `deadline` would fire early.
fn tick_of(deadline: Instant) -> u64 {
    deadline.as_nanos().div_ceil(NANOS_PER_TICK)
}

impl<T> Wheel<T> {
    /// Creates an empty wheel whose time begins at `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            timers: Slab::new(),
            heads: [NONE; LEVELS * BUCKETS],
            occupied: [0; LEVELS],
            tick: now.as_nanos() / NANOS_PER_TICK,
        }
    }

    /// Returns the number of armed timers.
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    /// Returns true if no timer is armed.
    pub fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }

    /// Returns the values of the armed timers, in no order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.timers.iter().map(|(_, timer)| &timer.value)
    }

    /// Gives back the memory of timers that are gone, as far as no timer lies behind it.
    pub fn trim(&mut self) {
        super::trim(&mut self.timers);
    }

    /// Arms a timer.
    pub fn arm(&mut self, deadline: Instant, value: T) -> TimerId {
        let id = self.timers.insert(Timer {
            value,
            deadline,
            bucket: 0,
            next: NONE,
            prev: NONE,
        });
        // No worker has 2^32 connections.
        let id = id as u32;
        self.link(id);
        TimerId(id)
    }

    /// Moves an armed timer to another deadline.
    pub fn rearm(&mut self, id: TimerId, deadline: Instant) {
        self.unlink(id.0);
        self.timers[id.0 as usize].deadline = deadline;
        self.link(id.0);
    }

    /// Disarms a timer and gives its value back.
    pub fn cancel(&mut self, id: TimerId) -> Option<T> {
        self.unlink(id.0);
        let timer = self.timers.try_remove(id.0 as usize)?;
        Some(timer.value)
    }

    /// Removes one timer that is due at `now`. Call it until `None`.
    pub fn pop_due(&mut self, now: Instant) -> Option<(TimerId, T)> {
        let now_tick = now.as_nanos() / NANOS_PER_TICK;
        loop {
            let bucket = (self.tick % BUCKETS as u64) as usize;
            while self.tick <= now_tick {
                let head = self.heads[bucket];
                if head == NONE {
                    break;
                }
                self.unlink(head);
                if tick_of(self.timers[head as usize].deadline) > self.tick {
                    // Only what was waiting beyond the horizon can be here early.
                    self.link(head);
                    continue;
                }
                let timer = self.timers.try_remove(head as usize)?;
                return Some((TimerId(head), timer.value));
            }
            if self.tick >= now_tick {
                return None;
            }
            self.advance(now_tick);
        }
    }

    /// Steps to the next tick that has work, at most to `now_tick`, cascading on the way.
    fn advance(&mut self, now_tick: u64) {
        if self.timers.is_empty() {
            self.tick = now_tick;
            return;
        }
        let here = (self.tick % BUCKETS as u64) as u32;
        // Buckets of level 0 after this one, before the next cascade.
        let later = self.occupied[0] & (u64::MAX.checked_shl(here + 1).unwrap_or(0));
        let next_cascade = (self.tick | (BUCKETS as u64 - 1)) + 1;
        let next = if later == 0 {
            next_cascade
        } else {
            self.tick - u64::from(here) + u64::from(later.trailing_zeros())
        };
        self.tick = next.min(now_tick);
        if self.tick == next_cascade {
            self.cascade();
        }
    }

    /// Distributes the bucket of each upper level whose turn begins at this tick.
    fn cascade(&mut self) {
        for level in 1..LEVELS {
            let index = (self.tick >> (BITS * level as u32)) % BUCKETS as u64;
            let bucket = level * BUCKETS + index as usize;
            let mut id = self.heads[bucket];
            self.heads[bucket] = NONE;
            self.occupied[level] &= !(1 << index);
            while id != NONE {
                let next = self.timers[id as usize].next;
                self.link(id);
                id = next;
            }
            if index != 0 {
                break;
            }
        }
    }

    /// Returns when to look again: never later than the tick of the earliest deadline.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.timers.is_empty() {
            return None;
        }
        let here = (self.tick % BUCKETS as u64) as u32;
        let due = self.occupied[0] & (u64::MAX << here);
        let mut best = u64::MAX;
        if due != 0 {
            best = self.tick - u64::from(here) + u64::from(due.trailing_zeros());
        }
        for level in 1..LEVELS {
            if self.occupied[level] == 0 {
                continue;
            }
            let shift = BITS * level as u32;
            let position = self.tick >> shift;
            let here = (position % BUCKETS as u64) as u32;
            // The bucket under the hand was distributed already; what it holds now is a turn away.
            let ahead = self.occupied[level].rotate_right(here + 1).trailing_zeros() + 1;
            best = best.min((position + u64::from(ahead)) << shift);
        }
        if self.occupied[0] != 0 && due == 0 {
            // Level 0 holds only what comes after the next cascade.
            best = best.min((self.tick | (BUCKETS as u64 - 1)) + 1);
        }
        Some(Instant::from_nanos(best.saturating_mul(NANOS_PER_TICK)))
    }

    fn link(&mut self, id: u32) {
        let tick = tick_of(self.timers[id as usize].deadline).max(self.tick);
        let ahead = tick ^ self.tick;
        let (level, index) = if ahead < BUCKETS as u64 {
            (0, tick % BUCKETS as u64)
        } else {
            let level = ((63 - ahead.leading_zeros()) / BITS) as usize;
            if level >= LEVELS {
                // The top level wraps round; what lies a whole turn away waits in the bucket that
                // comes last and is looked at again then.
                let shift = BITS * (LEVELS as u32 - 1);
                let turn = (self.tick >> shift) + BUCKETS as u64 - 1;
                (LEVELS - 1, (tick >> shift).min(turn) % BUCKETS as u64)
            } else {
                (level, (tick >> (BITS * level as u32)) % BUCKETS as u64)
            }
        };
        let bucket = level * BUCKETS + index as usize;
        let head = self.heads[bucket];
        if head != NONE {
            self.timers[head as usize].prev = id;
        }
        let slot = &mut self.timers[id as usize];
        slot.bucket = bucket as u16;
        slot.next = head;
        slot.prev = NONE;
        self.heads[bucket] = id;
        self.occupied[level] |= 1 << index;
    }

    fn unlink(&mut self, id: u32) {
        let Timer {
            bucket, next, prev, ..
        } = self.timers[id as usize];
        if next != NONE {
            self.timers[next as usize].prev = prev;
        }
        if prev == NONE {
            let bucket = usize::from(bucket);
            self.heads[bucket] = next;
            if next == NONE {
                self.occupied[bucket / BUCKETS] &= !(1 << (bucket % BUCKETS));
            }
        } else {
            self.timers[prev as usize].next = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::base::Rng;

    /// Random arms, moves, cancels and advances against a sorted map.
    #[test]
    fn behaves_as_a_sorted_map_does() {
        for seed in 0..200 {
            let mut rng = Rng::from_u64(seed);
            let mut now = Instant::from_nanos(rng.u64() >> 20);
            let mut wheel = Wheel::new(now);
            let mut model: BTreeMap<u64, (Instant, TimerId)> = BTreeMap::new();
            for step in 0..400_u64 {
                let far = 1_u64 << rng.below(46);
                let deadline = Instant::from_nanos(now.as_nanos() + rng.u64() % far);
                match rng.below(4) {
                    0 | 1 => {
                        let id = wheel.arm(deadline, step);
                        model.insert(step, (deadline, id));
                    }
                    2 => {
                        if let Some((&key, &(_, id))) = model.iter().next() {
                            if rng.below(2) == 0 {
                                assert_eq!(wheel.cancel(id), Some(key), "seed {seed}");
                                model.remove(&key);
                            } else {
                                wheel.rearm(id, deadline);
                                model.insert(key, (deadline, id));
                            }
                        }
                    }
                    _ => {
                        if let Some(next) = wheel.next_deadline() {
                            let earliest = model.values().map(|v| v.0).min().expect("armed");
                            let tick = Instant::from_nanos(tick_of(earliest) * NANOS_PER_TICK);
                            assert!(
                                next <= tick.max(now),
                                "seed {seed}: would sleep past a timer"
                            );
                        }
                        now = deadline;
                        let now_tick = now.as_nanos() / NANOS_PER_TICK;
                        while let Some((_, key)) = wheel.pop_due(now) {
                            let (due, _) = model.remove(&key).expect("armed");
                            assert!(due <= now, "seed {seed}: fired early");
                        }
                        for (due, _) in model.values() {
                            assert!(
                                tick_of(*due) > now_tick,
                                "seed {seed}: missed {due:?} at {now:?}"
                            );
                        }
                    }
                }
                assert_eq!(wheel.len(), model.len());
            }
        }
    }

    #[test]
    fn sleeping_from_deadline_to_deadline_ends() {
        let mut wheel = Wheel::new(Instant::ZERO);
        wheel.arm(Instant::from_millis(3_600_000 * 30), ());
        let mut steps = 0;
        let mut fired = None;
        while let Some(next) = wheel.next_deadline() {
            steps += 1;
            assert!(steps < 100, "the wheel does not move");
            if wheel.pop_due(next).is_some() {
                fired = Some(next);
            }
        }
        assert_eq!(fired, Some(Instant::from_millis(3_600_000 * 30)));
    }
}
