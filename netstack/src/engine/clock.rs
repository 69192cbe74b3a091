//! The one place that reads the machine's clock.
//!
//! Everything else takes `now` as an argument, so that virtual time and real time run the same code.
#![allow(clippy::disallowed_methods, reason = "this module owns the clock")]

use crate::base::Instant;

/// The machine's monotonic clock, from the moment at which it was started.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
    /// The time at the origin.
    start: Instant,
}

impl Clock {
    /// Starts a clock whose origin is now.
    pub fn start() -> Self {
        Self::start_at(Instant::ZERO)
    }

    /// Starts a clock that shows `start` now.
    pub fn start_at(start: Instant) -> Self {
        Self {
            origin: std::time::Instant::now(),
            start,
        }
    }

    /// Returns the time.
    pub fn now(&self) -> Instant {
        self.start + self.origin.elapsed()
    }
}
