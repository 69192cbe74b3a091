//! Random decisions: independent chances, and loss in bursts.

use std::time::Duration;

use rand::RngCore as _;
use rand_chacha::ChaCha8Rng;

use crate::settings::{Impairment, Probability};

/// The random numbers of a wire.
#[derive(Debug)]
pub(crate) struct Chances {
    rng: ChaCha8Rng,
    /// The Gilbert–Elliott model is in its bad state.
    is_bad: bool,
}

impl Chances {
    pub(crate) fn new(rng: ChaCha8Rng) -> Self {
        Self { rng, is_bad: false }
    }

    /// Returns true with this probability.
    pub(crate) fn hit(&mut self, probability: Probability) -> bool {
        match probability.per_2_32() {
            // Nothing is drawn for what is switched off: adding another impairment does not change the first.
            0 => false,
            limit => u64::from(self.rng.next_u32()) < limit,
        }
    }

    /// Returns true if the next packet is lost.
    pub(crate) fn is_lost(&mut self, settings: &Impairment) -> bool {
        let at_random = self.hit(settings.loss);
        let Some(model) = &settings.gilbert else {
            return at_random;
        };
        let leaves = if self.is_bad {
            model.to_good
        } else {
            model.to_bad
        };
        if self.hit(leaves) {
            self.is_bad = !self.is_bad;
        }
        let loss = if self.is_bad {
            model.loss_bad
        } else {
            model.loss_good
        };
        self.hit(loss) || at_random
    }

    /// Returns a time from zero to `most`, all equally likely.
    pub(crate) fn up_to(&mut self, most: Duration) -> Duration {
        if most.is_zero() {
            return Duration::ZERO;
        }
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        let drawn = (u128::from(nanos) * u128::from(self.rng.next_u32())) >> 32;
        Duration::from_nanos(u64::try_from(drawn).unwrap_or(u64::MAX))
    }

    /// Returns a number below `bound`, all equally likely; 0 for a bound of 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let drawn = (bound as u128 * u128::from(self.rng.next_u32())) >> 32;
        usize::try_from(drawn).unwrap_or_default()
    }
}
