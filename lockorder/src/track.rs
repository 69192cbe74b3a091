//! Per level: how long its locks are waited for and held, and the longest chain of levels
//! that a thread has held at once. The feature `track`; without it none of this exists.
//!
//! - **Define:** each acquisition and each release of a guard is counted once, in the row of
//!   its level.
//! - **Enforce:** the tables belong to the domain, and are written by guards only.
//! - **Consume:** [`report`] reads them while they are written: every number is right at some
//!   moment of the call, the numbers together are not a snapshot.
//!
//! Counting costs an attempt to lock that may fail, two readings of the clock and some
//! atomic additions per acquisition.

mod dot;
mod report;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

pub use report::{LevelReport, Report, report};

use crate::held::MOST;
use crate::{Domain, Level};

/// Bucket `n` counts durations of `n` significant bits, in nanoseconds: below `2^n`, not
/// below `2^(n-1)`. The last one takes what is longer (from 9 minutes on).
pub const BUCKETS: usize = 40;

/// The levels that a thread holds in a domain.
#[derive(Debug, Clone, Copy)]
struct Chain {
    len: u16,
    levels: [u16; MOST],
}

impl Chain {
    const fn new() -> Self {
        Chain {
            len: 0,
            levels: [0; MOST],
        }
    }

    fn levels(&self) -> &[u16] {
        &self.levels[..usize::from(self.len).min(MOST)]
    }
}

/// Counts of durations, by powers of two.
#[derive(Debug)]
struct Histogram([AtomicU64; BUCKETS]);

impl Histogram {
    const fn new() -> Self {
        Histogram([const { AtomicU64::new(0) }; BUCKETS])
    }

    fn add(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = (64 - nanos.leading_zeros()) as usize;
        self.0[bucket.min(BUCKETS - 1)].fetch_add(1, Relaxed);
    }

    fn read(&self) -> [u64; BUCKETS] {
        std::array::from_fn(|bucket| self.0[bucket].load(Relaxed))
    }
}

/// A level's row.
#[doc(hidden)]
#[derive(Debug)]
pub struct LevelStats {
    acquired: AtomicU64,
    contended: AtomicU64,
    wait_nanos: AtomicU64,
    hold_nanos: AtomicU64,
    waits: Histogram,
    holds: Histogram,
}

impl LevelStats {
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        LevelStats {
            acquired: AtomicU64::new(0),
            contended: AtomicU64::new(0),
            wait_nanos: AtomicU64::new(0),
            hold_nanos: AtomicU64::new(0),
            waits: Histogram::new(),
            holds: Histogram::new(),
        }
    }
}

/// A domain's table.
#[doc(hidden)]
#[derive(Debug)]
pub struct DomainStats {
    levels: &'static [LevelStats],
    longest: AtomicUsize,
    /// Not a lock of this crate's: it is taken below everything, and nothing under it.
    #[allow(clippy::disallowed_types)]
    chain: std::sync::Mutex<Chain>,
}

impl DomainStats {
    #[must_use]
    #[allow(clippy::disallowed_types)]
    pub const fn new(levels: &'static [LevelStats]) -> Self {
        DomainStats {
            levels,
            longest: AtomicUsize::new(0),
            chain: std::sync::Mutex::new(Chain::new()),
        }
    }

    #[allow(clippy::disallowed_types)]
    fn chain(&self) -> std::sync::MutexGuard<'_, Chain> {
        // Nothing panics under it, and a chain is whole at every moment.
        self.chain
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// When a hold began.
pub(crate) type Since = Instant;

// Diagnostics of real waiting: nothing decides by this clock.
#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}

fn row<L: Level>() -> Option<&'static LevelStats> {
    L::Domain::__stats().levels.get(L::INDEX)
}

/// Runs `f`, which waits, and returns how long it took.
pub(crate) fn wait<L: Level, R>(f: impl FnOnce() -> R) -> (R, Duration) {
    if let Some(row) = row::<L>() {
        row.contended.fetch_add(1, Relaxed);
    }
    let begin = now();
    let result = f();
    (result, begin.elapsed())
}

/// A lock of level `L` has been acquired.
pub(crate) fn acquired<L: Level>(waited: Option<Duration>) -> Since {
    if let Some(row) = row::<L>() {
        row.acquired.fetch_add(1, Relaxed);
        if let Some(waited) = waited {
            let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
            row.wait_nanos.fetch_add(nanos, Relaxed);
            row.waits.add(waited);
        }
    }
    let stats = L::Domain::__stats();
    L::Domain::__slot(|slot| {
        let held = slot.held.entries().count();
        if held > stats.longest.load(Relaxed) {
            let mut longest = stats.chain();
            if held > usize::from(longest.len) {
                longest.len = 0;
                for (place, entry) in slot.held.entries().take(MOST).enumerate() {
                    longest.levels[place] = entry.level;
                    longest.len += 1;
                }
                stats.longest.store(held, Relaxed);
            }
        }
    });
    now()
}

/// A lock of level `L` has been released.
pub(crate) fn released<L: Level>(since: Since) {
    if let Some(row) = row::<L>() {
        let held = since.elapsed();
        let nanos = u64::try_from(held.as_nanos()).unwrap_or(u64::MAX);
        row.hold_nanos.fetch_add(nanos, Relaxed);
        row.holds.add(held);
    }
}
