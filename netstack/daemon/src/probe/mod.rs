//! Kernel-side clients: they talk to the stack as any program of the machine would, with the
//! kernel's own sockets, and compare every byte that comes back.
//!
//! Used by the demo and by the tests. Blocking, one thread or two at a time; every wait has a limit,
//! so that a stack that does not answer is a sentence and not a hang. Nothing here uses the stack.

pub mod datagram;
pub mod ping;
pub mod stream;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How long any single answer may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Time since an arbitrary origin, by the monotonic clock of the machine: these clients measure, so
/// they may read it.
pub fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// `len` bytes that look random, different for each `seed`, repeatable.
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
    /// Sorts them.
    pub fn new(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        Self(samples)
    }

    /// The sample below which `percent` of all lie; zero when there is none.
    pub fn percentile(&self, percent: usize) -> Duration {
        let last = self.0.len().saturating_sub(1);
        let at = (self.0.len() * percent / 100).min(last);
        self.0.get(at).copied().unwrap_or_default()
    }
}

/// Bytes moved in a time.
#[derive(Clone, Copy, Debug)]
pub struct Moved {
    /// How many bytes.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
}

impl Moved {
    /// In 10^9 bits per second.
    pub fn gigabits_per_second(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.took.as_secs_f64().max(1e-9) / 1e9
    }
}
