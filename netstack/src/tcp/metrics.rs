//! Remembers the measurements of a path for later connections (RFC 9040).
//!
//! * **Define.** [`PathMetrics`] are the round trip, the slow start threshold and the reordering that a connection
//!   found. They are hints: a wrong one costs a few round trips.
//! * **Enforce.** They expire after [`AGE`]. A cache has a fixed number of entries, and each worker has its own:
//!   no lock.
//! * **Consume.** A connection adopts them when it opens, before it sends data.
//!
//! The congestion window itself is not shared: a path that was free ten minutes ago may not be now, and slow start
//! up to the remembered threshold finds out in a few round trips.

use core::net::IpAddr;
use core::time::Duration;

use super::Tcp;
use crate::base::Instant;

/// Time after which nothing is believed any more.
const AGE: Duration = Duration::from_secs(600);

/// Sets of a cache, of [`WAYS`] destinations each.
const SETS: usize = 256;
/// Destinations of a set: the oldest one makes room.
const WAYS: usize = 4;

/// The measurements of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PathMetrics {
    /// The smoothed round-trip time.
    pub srtt: Duration,
    /// The slow start threshold, in bytes; `None`: no loss was found.
    pub ssthresh: Option<u32>,
    /// The path reorders: counts are no evidence of losses.
    pub reorders: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    destination: IpAddr,
    srtt: Duration,
    noted_at: Instant,
    /// The threshold, and when a connection found it.
    ssthresh: Option<(u32, Instant)>,
    /// When a connection last saw reordering.
    reordered_at: Option<Instant>,
}

impl Entry {
    /// Returns what is recent enough to be believed.
    fn metrics(&self, now: Instant) -> Option<PathMetrics> {
        let is_recent = |at: Instant| at + AGE > now;
        is_recent(self.noted_at).then(|| PathMetrics {
            srtt: self.srtt,
            ssthresh: (self.ssthresh)
                .filter(|(_, at)| is_recent(*at))
                .map(|(ssthresh, _)| ssthresh),
            reorders: self.reordered_at.is_some_and(is_recent),
        })
    }
}

/// The metrics of a bounded number of destinations.
#[derive(Debug)]
pub struct MetricsCache {
    /// Empty until the first connection ends.
    entries: Vec<Option<Entry>>,
    seed: u64,
}

impl MetricsCache {
    /// Creates an empty cache. `seed` is one that peers cannot predict.
    pub fn new(seed: u64) -> Self {
        Self {
            entries: Vec::new(),
            seed,
        }
    }

    fn set_of(&self, destination: IpAddr) -> core::ops::Range<usize> {
        let number = match destination {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let mut hash = self.seed;
        for half in [number as u64, (number >> 64) as u64] {
            hash = (hash ^ half).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            hash ^= hash >> 32;
        }
        let set = (hash % SETS as u64) as usize;
        set * WAYS..(set + 1) * WAYS
    }

    /// Returns what is known of the path to `destination`.
    pub fn get(&self, destination: IpAddr, now: Instant) -> Option<PathMetrics> {
        let set = self.entries.get(self.set_of(destination))?;
        set.iter()
            .flatten()
            .find(|e| e.destination == destination)?
            .metrics(now)
    }

    /// Notes what a connection to `destination` found, which ended at `now`. A threshold or reordering that an earlier
    /// connection found stays, and ages, if this one found none.
    pub fn note(&mut self, destination: IpAddr, metrics: PathMetrics, now: Instant) {
        if self.entries.is_empty() {
            self.entries.resize(SETS * WAYS, None);
        }
        let range = self.set_of(destination);
        let Some(set) = self.entries.get_mut(range) else {
            return;
        };
        // The same destination, else a free entry, else the oldest one.
        let place = set.iter_mut().min_by_key(|e| match e {
            Some(e) if e.destination == destination => (0, Instant::ZERO),
            None => (1, Instant::ZERO),
            Some(e) => (2, e.noted_at),
        });
        if let Some(place) = place {
            let earlier = place.filter(|e| e.destination == destination);
            let found = metrics.ssthresh.map(|ssthresh| (ssthresh, now));
            *place = Some(Entry {
                destination,
                srtt: metrics.srtt,
                noted_at: now,
                ssthresh: found.or(earlier.and_then(|e| e.ssthresh)),
                reordered_at: (metrics.reorders.then_some(now))
                    .or(earlier.and_then(|e| e.reordered_at)),
            });
        }
    }
}

/// Metrics of the path.
impl Tcp {
    /// Returns true if the connection is open and has sent nothing yet: it may adopt what is known of the path.
    pub fn wants_path_metrics(&self) -> bool {
        self.tcb().is_some_and(|tcb| tcb.wants_path_metrics)
    }

    /// Adopts what is known of the path, if something is.
    pub fn adopt_path_metrics(&mut self, metrics: Option<PathMetrics>) {
        if !self.wants_path_metrics() {
            return;
        }
        let Some(tcb) = self.tcb_mut() else { return };
        tcb.wants_path_metrics = false;
        let Some(metrics) = metrics.filter(|_| tcb.cfg.path_metrics) else {
            return;
        };
        if tcb.rtt.srtt().is_none() && !metrics.srtt.is_zero() {
            tcb.rtt.sample(metrics.srtt);
        }
        if let Some(ssthresh) = metrics.ssthresh {
            tcb.cc
                .expect_ssthresh(ssthresh.max(2 * u32::from(tcb.agreed.mss)));
            tcb.hinted_ssthresh = tcb.cc.ssthresh();
        }
        if metrics.reorders {
            tcb.flight.expect_reordering();
        }
    }

    /// Returns what the connection found out about its path, if it sent enough to tell. What it adopted is not among
    /// that: a hint that every connection passed on would never expire.
    pub fn path_metrics(&self) -> Option<PathMetrics> {
        let tcb = self.tcb()?;
        let srtt = tcb.rtt.srtt()?;
        (tcb.stats.bytes_out > 0).then(|| PathMetrics {
            srtt,
            ssthresh: (tcb.cc.found_ssthresh())
                .filter(|_| tcb.cc.ssthresh() != tcb.hinted_ssthresh),
            reorders: tcb.flight.reordering().is_seen(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(millis: u64) -> PathMetrics {
        PathMetrics {
            srtt: Duration::from_millis(millis),
            ssthresh: Some(30_000),
            reorders: false,
        }
    }

    fn address(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn rfc9040_metrics_are_kept_for_each_destination_and_expire() {
        let at = |secs: u64| Instant::from_millis(1_000 * secs);
        let mut cache = MetricsCache::new(7);
        assert_eq!(cache.get(address(1), at(0)), None);
        cache.note(address(1), metrics(10), at(0));
        cache.note(address(2), metrics(20), at(100));
        cache.note(address(1), metrics(30), at(100));
        assert_eq!(cache.get(address(1), at(599)), Some(metrics(30)));
        assert_eq!(cache.get(address(2), at(699)), Some(metrics(20)));
        assert_eq!(cache.get(address(2), at(700)), None);
        assert_eq!(cache.get(address(3), at(100)), None);
    }

    #[test]
    fn what_one_connection_found_outlives_others_that_found_nothing_and_expires_nevertheless() {
        let at = |secs: u64| Instant::from_millis(1_000 * secs);
        let mut cache = MetricsCache::new(7);
        let found = PathMetrics {
            reorders: true,
            ..metrics(10)
        };
        let nothing = PathMetrics {
            ssthresh: None,
            ..metrics(20)
        };
        cache.note(address(1), found, at(0));
        for n in 1..6 {
            cache.note(address(1), nothing, at(100 * n));
            let known = cache.get(address(1), at(100 * n)).expect("an entry");
            assert_eq!((known.ssthresh, known.reorders), (found.ssthresh, true));
            assert_eq!(known.srtt, nothing.srtt);
        }
        assert_eq!(cache.get(address(1), at(600)), Some(nothing));
    }

    #[test]
    fn a_million_destinations_take_no_more_memory_than_a_thousand() {
        let mut cache = MetricsCache::new(7);
        for n in 0..1_000_000 {
            cache.note(address(n), metrics(10), Instant::from_millis(u64::from(n)));
        }
        assert_eq!(cache.entries.len(), SETS * WAYS);
        let last = Instant::from_millis(1_000_000);
        assert_eq!(cache.get(address(999_999), last), Some(metrics(10)));
        assert_eq!(cache.get(address(0), last), None, "the oldest made room");
    }
}
