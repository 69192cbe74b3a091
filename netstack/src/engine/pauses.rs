//! Spinning or sleeping through a pause: the choice that makes pauses shorter, found by trying both.
//!
//! Neither is better everywhere. Waking an idle processor costs tens of microseconds, which spinning
//! saves. But the kernel moves a sleeping worker to the processor of the thread that sends to it, where
//! the two need not wake another processor at all, while a spinning worker stays where it is. The
//! better choice depends on the machine and on its load. So a worker measures: most of the time it does
//! what made its short pauses shorter, and for a few pauses the other.
//!
//! Pure: pauses come in as durations.

use crate::base::time::Duration;

/// Longest pause that counts. A longer one is idleness and says nothing about either choice.
const SHORT: Duration = Duration::from_micros(200);
/// Length of a trial, in pauses. As many again pass before it, so that the processors settle.
const TRIAL: u32 = 64;
/// Pauses between trials: few at first and after a change of the choice, then more and more.
const FIRST_STRETCH: u32 = 128;
const LONGEST_STRETCH: u32 = 32_768;

/// Decides whether to spin, from the lengths of earlier pauses.
#[derive(Debug)]
pub(super) struct Pauses {
    /// True if spinning is the better choice, as far as is known.
    spin: bool,
    trying_other: bool,
    /// Short pauses left in this stretch or trial.
    left: u32,
    stretch: u32,
    sum: Duration,
    /// Mean of the last pauses before the trial, in which the choice was followed.
    usual: Duration,
    /// Long pauses in a row: while the worker is idle, spinning is a waste.
    idle: u32,
}

impl Pauses {
    pub(super) fn new() -> Self {
        Self {
            spin: true,
            trying_other: false,
            left: FIRST_STRETCH,
            stretch: FIRST_STRETCH,
            sum: Duration::ZERO,
            usual: Duration::ZERO,
            idle: 0,
        }
    }

    /// Returns true if the worker should spin in the next pause.
    pub(super) fn spin(&self) -> bool {
        self.idle < 8 && self.spin != self.trying_other
    }

    /// Takes in the length of a pause that ended.
    pub(super) fn ended_after(&mut self, pause: Duration) {
        if pause > SHORT {
            self.idle = self.idle.saturating_add(1);
            return;
        }
        self.idle = 0;
        self.left = self.left.saturating_sub(1);
        if self.left < TRIAL {
            self.sum += pause;
        }
        if self.left > 0 {
            return;
        }
        let mean = self.sum / TRIAL;
        self.sum = Duration::ZERO;
        if !self.trying_other {
            self.usual = mean;
            self.trying_other = true;
            self.left = 2 * TRIAL;
            return;
        }
        self.trying_other = false;
        if mean < self.usual {
            self.spin = !self.spin;
            self.stretch = FIRST_STRETCH;
        } else {
            self.stretch = (self.stretch * 2).min(LONGEST_STRETCH);
        }
        self.left = self.stretch;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays `count` pauses that take `spinning` or `sleeping`; returns how many were spun.
    fn play(pauses: &mut Pauses, count: u32, spinning: u64, sleeping: u64) -> u32 {
        let mut spun = 0;
        for _ in 0..count {
            let spin = pauses.spin();
            spun += u32::from(spin);
            pauses.ended_after(Duration::from_micros(if spin {
                spinning
            } else {
                sleeping
            }));
        }
        spun
    }

    #[test]
    fn what_is_shorter_is_done_nearly_always() {
        let mut pauses = Pauses::new();
        assert!(play(&mut pauses, 20_000, 12, 50) > 19_000);
        // The machine changes: so does the choice, and back.
        assert!(play(&mut pauses, 60_000, 25, 11) < 35_000);
        assert!(play(&mut pauses, 20_000, 25, 11) < 1_000);
        play(&mut pauses, 60_000, 5, 50);
        assert!(play(&mut pauses, 20_000, 5, 50) > 19_000);
    }

    #[test]
    fn an_idle_worker_sleeps() {
        let mut pauses = Pauses::new();
        play(&mut pauses, 10, 1_000, 1_000);
        assert!(!pauses.spin());
        pauses.ended_after(Duration::from_micros(20));
        assert!(pauses.spin());
    }
}
