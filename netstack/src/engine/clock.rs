//! The one place that reads the machine's clock.
//!
//! Everything else takes `now` as an argument, so that virtual time and real time run the same code.
#![allow(clippy::disallowed_methods, reason = "this module owns the clock")]

use crate::base::Instant;

/// The monotonic clock, counted from when it was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// A clock whose origin is now.
    pub fn start() -> Self {
        Self {
            origin: std::time::Instant::now(),
        }
    }

    /// Nanoseconds since the origin.
    pub fn now(&self) -> Instant {
        let nanos = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Instant::from_nanos(nanos)
    }
}
