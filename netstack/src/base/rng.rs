//! A seeded random generator, passed as an argument; each worker has its own.
//!
//! ChaCha8 is unpredictable to a peer when seeded from the system, and reproducible when seeded by a
//! test.

use rand::{RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// A seeded random number generator.
///
/// ```
/// use netstack::base::Rng;
///
/// let (mut a, mut b) = (Rng::from_u64(7), Rng::from_u64(7));
/// assert_eq!(a.u64(), b.u64());
/// assert!(a.below(10) < 10);
/// ```
#[derive(Clone, Debug)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// Creates a generator from 32 bytes of entropy.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha8Rng::from_seed(seed))
    }

    /// Creates a generator from a small seed, for tests and simulations.
    pub fn from_u64(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Returns a random `u32`.
    pub fn u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// Returns a random `u64`.
    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Returns a uniform number in `0..bound`, or 0 if `bound` is 0. The bias is below 2^-32.
    pub fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.0.next_u32()) * u64::from(bound)) >> 32) as u32
    }

    /// Returns `true` with probability `per_million` / 1,000,000.
    pub fn chance(&mut self, per_million: u32) -> bool {
        self.below(1_000_000) < per_million
    }

    /// Fills `out` with random bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }
}
