//! Real time, and the packets of a host that runs in it.

use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

use crate::live::{LOOK, clock};

/// Most packets that wait to be compared.
const MAX_WAITING: usize = 100_000;

/// The clock of a script in real time, and what its host has sent.
pub(super) struct RealTime {
    start: Instant,
    sent: VecDeque<(i64, Vec<u8>)>,
}

impl RealTime {
    /// Begins now.
    pub(super) fn new() -> Self {
        Self {
            start: clock(),
            sent: VecDeque::new(),
        }
    }

    /// Returns the microseconds since the script began.
    pub(super) fn now(&self) -> i64 {
        self.micros(clock())
    }

    /// Returns a time as microseconds since the script began.
    pub(super) fn micros(&self, at: Instant) -> i64 {
        let since = at.saturating_duration_since(self.start);
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    /// Takes all that `receive` returns: packets that the host has sent by now.
    pub(super) fn take(&mut self, mut receive: impl FnMut() -> Option<Vec<u8>>) {
        while let Some(packet) = receive() {
            let now = self.now();
            if self.sent.len() < MAX_WAITING {
                self.sent.push_back((now, packet));
            }
        }
    }

    /// Returns true if a packet waits.
    pub(super) fn has_packet(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Returns the next packet, with its time.
    pub(super) fn packet(&mut self) -> Option<(i64, Vec<u8>)> {
        self.sent.pop_front()
    }

    /// Sleeps until the next look. Returns false, at once, if `until` has come.
    pub(super) fn sleep(&self, until: i64) -> bool {
        let left = until - self.now();
        if left <= 0 {
            return false;
        }
        let left = Duration::from_micros(u64::try_from(left).unwrap_or(0));
        thread::sleep(left.min(LOOK));
        true
    }
}
