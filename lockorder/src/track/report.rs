//! The counts at one moment.

use std::boxed::Box;
use std::fmt;
use std::string::String;
use std::sync::atomic::Ordering::Relaxed;
use std::vec::Vec;

use super::BUCKETS;
use crate::Domain;
use crate::graph::Graph;

/// The counts of a domain.
///
/// With the feature `serde` it can be serialised, in the shape of [`to_json`](Report::to_json).
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Report {
    /// The domain's name.
    pub domain: &'static str,
    /// The levels in the graph's order, without the root.
    pub levels: Vec<LevelReport>,
    /// The levels of the longest chain of locks that a thread has held at once, in the order
    /// of their acquisition; a set shows its level once per lock.
    pub longest_chain: Vec<&'static str>,
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(super) graph: &'static Graph,
}

/// The counts of a level.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LevelReport {
    /// The level's name.
    pub name: &'static str,
    /// Acquisitions, shared ones included.
    pub acquired: u64,
    /// Acquisitions that found the lock taken, those that gave up included.
    pub contended: u64,
    /// The time that the contended ones waited, all together, in nanoseconds.
    pub wait_nanos: u64,
    /// The time that the locks were held, all together, in nanoseconds.
    pub hold_nanos: u64,
    /// How long the contended ones waited: see [`BUCKETS`].
    #[cfg_attr(feature = "serde", serde(serialize_with = "used"))]
    pub waits: Box<[u64; BUCKETS]>,
    /// How long the locks were held: see [`BUCKETS`].
    #[cfg_attr(feature = "serde", serde(serialize_with = "used"))]
    pub holds: Box<[u64; BUCKETS]>,
}

/// Reads the counts of the domain, over all threads.
#[must_use]
pub fn report<D: Domain>() -> Report {
    let stats = D::__stats();
    let infos = D::GRAPH.levels();
    let name = |index: usize| infos.get(index).map_or("?", |info| info.name);
    let chain = *stats.chain();
    Report {
        domain: D::NAME,
        graph: D::GRAPH,
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

/// Returns the least power of two, in nanoseconds, that at least that share of the counts is below;
/// 0 if there are none.
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

/// A histogram without its trailing zeros.
#[cfg(feature = "serde")]
fn used<S: serde::Serializer>(buckets: &[u64; BUCKETS], serializer: S) -> Result<S::Ok, S::Error> {
    let used = buckets.iter().rposition(|n| *n > 0).map_or(0, |n| n + 1);
    serializer.collect_seq(&buckets[..used])
}

impl LevelReport {
    /// Returns a number of nanoseconds, a power of two, that at least that share of the waits was
    /// below; 0 if there were none.
    #[must_use]
    pub fn wait_below(&self, share: f64) -> u64 {
        quantile(&self.waits, share)
    }

    /// Returns a number of nanoseconds, a power of two, that at least that share of the holds was
    /// below; 0 if there were none.
    #[must_use]
    pub fn hold_below(&self, share: f64) -> u64 {
        quantile(&self.holds, share)
    }

    /// Returns the share of the acquisitions that found the lock taken, from 0 to 1.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn contention(&self) -> f64 {
        // Those that gave up are in the one number only.
        let attempts = self.acquired.max(self.contended);
        if attempts == 0 {
            0.0
        } else {
            self.contended as f64 / attempts as f64
        }
    }

    fn since(&self, earlier: &LevelReport) -> LevelReport {
        let difference = |now: &[u64; BUCKETS], then: &[u64; BUCKETS]| {
            Box::new(std::array::from_fn(|n| now[n].saturating_sub(then[n])))
        };
        LevelReport {
            name: self.name,
            acquired: self.acquired.saturating_sub(earlier.acquired),
            contended: self.contended.saturating_sub(earlier.contended),
            wait_nanos: self.wait_nanos.saturating_sub(earlier.wait_nanos),
            hold_nanos: self.hold_nanos.saturating_sub(earlier.hold_nanos),
            waits: difference(&self.waits, &earlier.waits),
            holds: difference(&self.holds, &earlier.holds),
        }
    }
}

impl Report {
    /// Returns what has been counted since an earlier report of the same domain. The longest chain
    /// is that of the whole time.
    #[must_use]
    pub fn since(&self, earlier: &Report) -> Report {
        let levels = self.levels.iter().zip(&earlier.levels);
        Report {
            domain: self.domain,
            levels: levels.map(|(now, then)| now.since(then)).collect(),
            longest_chain: self.longest_chain.clone(),
            graph: self.graph,
        }
    }

    /// Returns the report as one JSON object: `domain`, `longest_chain`, and `levels` with the fields
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
