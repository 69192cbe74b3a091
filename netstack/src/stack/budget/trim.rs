//! The time at which unused slabs are looked at next.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::base::Instant;

/// Time between two looks: what nobody needed meanwhile goes back to the system.
pub(in crate::stack) const PERIOD: Duration = Duration::from_secs(1);

/// When unused slabs are looked at next, by whichever worker comes first.
#[derive(Default)]
pub(in crate::stack) struct TrimTime(AtomicU64);

impl TrimTime {
    /// Returns true for one worker in each period.
    pub(in crate::stack) fn is_due(&self, now: Instant) -> bool {
        let due = self.0.load(Ordering::Relaxed);
        let next = (now + PERIOD).as_nanos();
        now.as_nanos() >= due
            && self
                .0
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}
