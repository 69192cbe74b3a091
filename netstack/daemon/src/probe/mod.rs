//! Kernel-side clients: they talk to the stack through the kernel's own sockets, as any program of the
//! machine would, and compare every byte that comes back.
//!
//! The demo and the tests use them. They block, on one or two threads. Every wait has a time limit, so
//! that a stack that does not answer causes an error, not a hang. Nothing here uses the stack.

pub mod datagram;
pub mod flood;
pub mod ping;
pub mod stream;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Time limit of any single answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Returns the time since an arbitrary origin, by the machine's monotonic clock.
pub fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// Returns `len` pseudorandom bytes; the same `seed` gives the same bytes.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        // Steele, Lea and Flood's SplitMix64.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Round trip times, sorted.
#[derive(Clone, Debug, Default)]
pub struct RoundTrips(Vec<Duration>);

impl RoundTrips {
    /// Sorts the samples.
    pub fn new(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        Self(samples)
    }

    /// Returns the sample below which `percent` of all lie; zero if there are no samples.
    pub fn percentile(&self, percent: usize) -> Duration {
        let last = self.0.len().saturating_sub(1);
        let at = (self.0.len() * percent / 100).min(last);
        self.0.get(at).copied().unwrap_or_default()
    }
}

/// The number of bytes that a transfer moved, and its duration.
#[derive(Clone, Copy, Debug)]
pub struct Moved {
    /// The number of bytes.
    pub bytes: u64,
    /// The duration.
    pub took: Duration,
}

impl Moved {
    /// Returns the rate in 10^9 bits per second.
    pub fn gigabits_per_second(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.took.as_secs_f64().max(1e-9) / 1e9
    }
}
