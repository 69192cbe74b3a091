//! Gives the memory of a peak of connections back to the system.
//!
//! The C library returns freed memory by itself only from the end of its heap, where something is nearly always in use.
#![allow(unsafe_code)]

use std::time::Duration;

/// Longest time between two looks.
pub(crate) const PERIOD: Duration = Duration::from_secs(2);

/// Fewest connections of a peak that is worth the work.
const PEAK: usize = 4_096;

/// Connections that are not worth the work, even at the end of a peak.
const FEW: usize = 64;

/// The most connections since memory was last given back.
#[derive(Debug, Default)]
pub(crate) struct Peak {
    most: usize,
    stage: Stage,
    /// Connections that were opened until the last look, and until memory was last given back.
    opened: u64,
    opened_before: u64,
}

/// How far the connections of a peak are gone.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// There was no peak, or all of it is over.
    #[default]
    None,
    /// Memory was given back, and some of the connections are left.
    Ending,
    /// The connections are gone. The tasks that served them, and the tables, may have been a moment later.
    Over,
}

impl Peak {
    /// Takes in the present number of connections, and how many were ever opened. Returns true if there was a peak and most
    /// of its connections are gone, again at each halving until hardly any are left, and once more after that. Returns
    /// true, too, if as many as a peak has were opened one after the other, and it is quiet now.
    pub(crate) fn has_passed(&mut self, connections: usize, opened: u64) -> bool {
        let is_quiet = connections < FEW && opened == self.opened;
        self.opened = opened;
        let passed = self.has_ended(connections)
            || (is_quiet && opened.saturating_sub(self.opened_before) >= PEAK as u64);
        if passed {
            self.opened_before = opened;
        }
        passed
    }

    fn has_ended(&mut self, connections: usize) -> bool {
        self.most = self.most.max(connections);
        let is_peak = self.most >= PEAK || self.stage == Stage::Ending;
        if is_peak && connections < self.most.div_ceil(2) {
            self.most = connections;
            self.stage = match connections < FEW {
                true => Stage::Over,
                false => Stage::Ending,
            };
            return true;
        }
        if self.stage == Stage::Over {
            self.stage = Stage::None;
            return true;
        }
        false
    }
}

/// Returns free memory of the heap to the system.
pub(crate) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim has no preconditions and may be called from any thread at any time (malloc_trim(3)).
    let _ = unsafe { libc::malloc_trim(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_has_passed_at_each_halving_of_its_connections_and_once_more() {
        let mut peak = Peak::default();
        let seen = [
            10, 9_000, 8_000, 4_500, 4_400, 4_400, 2_000, 100, 0, 1, 2, 0,
        ];
        let ended = seen.into_iter().filter(|n| peak.has_passed(*n, 0));
        let passed: Vec<usize> = ended.collect();
        assert_eq!(passed, [4_400, 2_000, 100, 0, 1]);
        let mut small = Peak::default();
        assert!(![4_000, 0].into_iter().any(|n| small.has_passed(n, 0)));
        // What comes after a peak is no part of it.
        let mut over = Peak::default();
        let after = [5_000, 0, 100, 40, 3_000, 0];
        let passed: Vec<usize> = after
            .into_iter()
            .filter(|n| over.has_passed(*n, 0))
            .collect();
        assert_eq!(passed, [0, 100]);
    }

    #[test]
    fn many_connections_one_after_the_other_count_when_it_is_quiet() {
        let mut peak = Peak::default();
        let looks = [
            (1, 3_000, false),
            (1, 5_000, false),
            (100, 5_000, false),
            (1, 5_000, true),
            (1, 5_000, false),
            (0, 9_000, false),
            (0, 9_000, false),
            (0, 9_096, false),
            (0, 9_096, true),
        ];
        for (connections, opened, passed) in looks {
            let label = format!("{connections} of {opened}");
            assert_eq!(peak.has_passed(connections, opened), passed, "{label}");
        }
    }
}
