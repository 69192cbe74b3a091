//! The client: plain kernel sockets and blocking calls, the same code for every server.
//!
//! Every function runs in the network namespace of its calling thread. Each socket has a time limit, so
//! that a server that stops answering causes an error, not a hang.

pub mod hostile;
pub mod idle;
pub mod tcp;
pub mod udp;

use std::time::Duration;

/// Time limit of each answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Median and 99th percentile of round trips, in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct RoundTrips {
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
}

impl RoundTrips {
    /// Computes them from single round trips in nanoseconds; `None` if there are none.
    pub fn of(mut nanos: Vec<u64>) -> Option<Self> {
        nanos.sort_unstable();
        let at = |hundredths: usize| {
            let index = (nanos.len() * hundredths / 100).min(nanos.len().checked_sub(1)?);
            nanos.get(index).map(|nanos| *nanos as f64 / 1_000.0)
        };
        Some(Self {
            p50: at(50)?,
            p99: at(99)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::RoundTrips;

    #[test]
    fn percentiles_of_round_trips() {
        assert!(RoundTrips::of(Vec::new()).is_none());
        let trips = RoundTrips::of((1..=1_000).rev().map(|n| n * 1_000).collect()).expect("some");
        assert_eq!((trips.p50, trips.p99), (501.0, 991.0));
    }
}
