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

use std::boxed::Box;
use std::fmt;
use std::string::String;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::vec::Vec;

use crate::{Domain, Level};

/// Bucket `n` counts durations of `n` significant bits, in nanoseconds: below `2^n`, not
/// below `2^(n-1)`. The last one takes what is longer (from 9 minutes on).
pub const BUCKETS: usize = 40;

/// As many levels of a chain are remembered.
const CHAIN: usize = 30;

/// The levels that a thread holds in a domain.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Chain {
    len: u16,
    levels: [u16; CHAIN],
}

impl Chain {
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub(crate) const fn new() -> Self {
        Chain {
            len: 0,
            levels: [0; CHAIN],
        }
    }

    fn levels(&self) -> &[u16] {
        &self.levels[..usize::from(self.len).min(CHAIN)]
    }

    pub(crate) fn with(mut self, level: usize) -> Self {
        if let Some(place) = self.levels.get_mut(usize::from(self.len)) {
            *place = u16::try_from(level).unwrap_or(u16::MAX);
            self.len += 1;
        }
        self
    }

    /// Guards can be dropped in any order: the latest of that level goes.
    pub(crate) fn without(mut self, level: usize) -> Self {
        let found = self.levels().iter().rposition(|l| usize::from(*l) == level);
        if let Some(place) = found {
            self.levels.copy_within(place + 1.., place);
            self.len -= 1;
        }
        self
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

/// Waits by `f`, and says how long it took.
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
    let chain = L::Domain::__slot(|slot| slot.chain());
    let stats = L::Domain::__stats();
    if usize::from(chain.len) > stats.longest.load(Relaxed) {
        let mut longest = stats.chain();
        if chain.len > longest.len {
            *longest = chain;
            stats.longest.store(usize::from(chain.len), Relaxed);
        }
    }
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

/// What has been counted in a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The domain's name.
    pub domain: &'static str,
    /// The levels in the graph's order, without the root.
    pub levels: Vec<LevelReport>,
    /// The levels of the longest chain of locks that a thread has held at once, in the order
    /// of their acquisition; a set shows its level once per lock.
    pub longest_chain: Vec<&'static str>,
}

/// What has been counted at a level.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LevelReport {
    /// The level's name.
    pub name: &'static str,
    /// Acquisitions, shared ones included.
    pub acquired: u64,
    /// Acquisitions that found the lock taken, those that gave up included.
    pub contended: u64,
    /// The sum of what the contended ones waited, in nanoseconds.
    pub wait_nanos: u64,
    /// The sum of what the locks were held, in nanoseconds.
    pub hold_nanos: u64,
    /// How long the contended ones waited: see [`BUCKETS`].
    pub waits: Box<[u64; BUCKETS]>,
    /// How long the locks were held: see [`BUCKETS`].
    pub holds: Box<[u64; BUCKETS]>,
}

/// Reads what has been counted in the domain, in all threads.
#[must_use]
pub fn report<D: Domain>() -> Report {
    let stats = D::__stats();
    let infos = D::GRAPH.levels();
    let name = |index: usize| infos.get(index).map_or("?", |info| info.name);
    let chain = *stats.chain();
    Report {
        domain: D::NAME,
        levels: stats
            .levels
            .iter()
            .enumerate()
            .skip(1)
            .map(|(index, row)| LevelReport {
                name: name(index),
                acquired: row.acquired.load(Relaxed),
                contended: row.contended.load(Relaxed),
                wait_nanos: row.wait_nanos.load(Relaxed),
                hold_nanos: row.hold_nanos.load(Relaxed),
                waits: Box::new(row.waits.read()),
                holds: Box::new(row.holds.read()),
            })
            .collect(),
        longest_chain: chain
            .levels()
            .iter()
            .map(|index| name(usize::from(*index)))
            .collect(),
    }
}

/// The least duration that at least that share of the counts is below, as a power of two of
/// nanoseconds; 0 if there are none.
fn quantile(buckets: &[u64; BUCKETS], share: f64) -> u64 {
    let all: u64 = buckets.iter().sum();
    #[allow(clippy::cast_precision_loss)]
    let wanted = all as f64 * share;
    let mut below = 0;
    for (bucket, count) in buckets.iter().enumerate() {
        below += count;
        #[allow(clippy::cast_precision_loss)]
        if all > 0 && below as f64 >= wanted {
            return 1 << bucket;
        }
    }
    0
}

/// A table: durations in nanoseconds, quantiles as the next power of two.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<20} {:>12} {:>10} {:>11} {:>11} {:>11} {:>11} {:>11}",
            self.domain,
            "acquired",
            "contended",
            "wait mean",
            "wait p99 <",
            "hold mean",
            "hold p50 <",
            "hold p99 <",
        )?;
        for level in &self.levels {
            writeln!(
                f,
                "{:<20} {:>12} {:>10} {:>11} {:>11} {:>11} {:>11} {:>11}",
                level.name,
                level.acquired,
                level.contended,
                level.wait_nanos.checked_div(level.contended).unwrap_or(0),
                quantile(&level.waits, 0.99),
                level.hold_nanos.checked_div(level.acquired).unwrap_or(0),
                quantile(&level.holds, 0.5),
                quantile(&level.holds, 0.99),
            )?;
        }
        write!(f, "longest chain: {}", self.longest_chain.join(" → "))
    }
}

impl Report {
    /// The report as one JSON object: `domain`, `longest_chain`, and `levels` with the fields
    /// of [`LevelReport`], histograms as arrays without their trailing zeros.
    #[must_use]
    pub fn to_json(&self) -> String {
        use std::fmt::Write;
        // Names are Rust identifiers: nothing in them needs escaping.
        let mut json = String::new();
        // Writing to a string cannot fail.
        let _ = write!(json, "{{\"domain\":\"{}\",\"longest_chain\":[", self.domain);
        for (index, name) in self.longest_chain.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(json, "{comma}\"{name}\"");
        }
        json.push_str("],\"levels\":[");
        for (index, level) in self.levels.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(
                json,
                "{comma}{{\"name\":\"{}\",\"acquired\":{},\"contended\":{},\"wait_nanos\":{},\"hold_nanos\":{}",
                level.name, level.acquired, level.contended, level.wait_nanos, level.hold_nanos,
            );
            for (key, buckets) in [("waits", &level.waits), ("holds", &level.holds)] {
                let used = buckets.iter().rposition(|n| *n > 0).map_or(0, |n| n + 1);
                let _ = write!(json, ",\"{key}\":[");
                for (index, count) in buckets[..used].iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    let _ = write!(json, "{comma}{count}");
                }
                json.push(']');
            }
            json.push('}');
        }
        json.push_str("]}");
        json
    }
}
