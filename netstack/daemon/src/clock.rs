//! The time of the stack beside that of people.

use std::time::Duration;

use netstack::base::Instant;
use netstack::engine::clock::Clock;
use netstack::net::Checkpoint;
use rustix::time::{ClockId, clock_gettime};

/// Starts the clock of the stack, where that of the daemon which is taken over stands. Returns with it the Unix time of its
/// zero.
pub(crate) fn start_clock(checkpoint: Option<&Checkpoint>) -> (Clock, Duration) {
    let clock = Clock::start_at(checkpoint.map_or(Instant::ZERO, Checkpoint::now));
    (clock, origin_of(&clock))
}

/// Returns the Unix time of the clock's zero, as it is now: the machine's clock may be set meanwhile.
pub(crate) fn origin_of(clock: &Clock) -> Duration {
    /// A thread may have to wait between two readings, but not each time.
    const LOOKS: usize = 16;
    let look = |_| {
        let before = clock.now();
        let unix = unix_time();
        let took = clock.now() - before;
        let between = Duration::from_nanos(before.as_nanos()) + took / 2;
        (took, unix.saturating_sub(between))
    };
    let quickest = (0..LOOKS).map(look).min();
    quickest.map_or(Duration::ZERO, |(_, origin)| origin)
}

/// Returns the time since the beginning of 1970.
pub(crate) fn unix_time() -> Duration {
    let unix = clock_gettime(ClockId::Realtime);
    Duration::new(
        u64::try_from(unix.tv_sec).unwrap_or_default(),
        u32::try_from(unix.tv_nsec).unwrap_or_default(),
    )
}
