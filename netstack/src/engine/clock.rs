//! The one place that reads the machine's clock.
//!
//! Everything else takes `now` as an argument, so that virtual time and real time run the same code.
#![allow(clippy::disallowed_methods, reason = "this module owns the clock")]

use crate::base::Instant;

/// The machine's monotonic clock, from the moment at which it was started.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// Starts a clock whose origin is now.
    pub fn start() -> Self {
        Self {
            origin: std::time::Instant::now(),
        }
    }

    /// Returns the time since the origin.
    pub fn now(&self) -> Instant {
        let nanos = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Instant::from_nanos(nanos)
    }
}
