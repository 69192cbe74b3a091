//! Controlled delay (RFC 8289): a queue that drops, or marks, when packets wait for too long.

use std::time::Duration;

/// The time that packets may wait (RFC 8289 section 4.3).
const TARGET: Duration = Duration::from_millis(5);
/// The time for which they must have waited longer before something is done (RFC 8289 section 4.2).
const INTERVAL: Duration = Duration::from_millis(100);
/// Bytes below which a queue is never too long: one packet (RFC 8289 section 5.2).
const LEAST_BYTES: u64 = 1_500;

/// The state of the controller.
#[derive(Debug, Default)]
pub(crate) struct Codel {
    /// When the waiting time will have been too long for an interval.
    first_above: Option<Duration>,
    /// When the next packet is dropped.
    drop_next: Duration,
    /// Drops since dropping began.
    count: u32,
    /// `count` when dropping last began.
    last_count: u32,
    dropping: bool,
}

impl Codel {
    /// Decides about the packet that leaves the queue at `now` after it waited for `sojourn`, with `backlog` bytes behind it.
    /// Returns true if it is to be dropped, or marked.
    pub(crate) fn takes(&mut self, now: Duration, sojourn: Duration, backlog: u64) -> bool {
        let too_long = self.is_too_long(now, sojourn, backlog);
        if self.dropping {
            if !too_long {
                self.dropping = false;
                return false;
            }
            if now < self.drop_next {
                return false;
            }
            self.count = self.count.saturating_add(1);
            self.drop_next = self.control_law(self.drop_next);
            return true;
        }
        if !too_long {
            return false;
        }
        self.dropping = true;
        // Dropping ended a short while ago: it goes on at the rate that it had.
        let recent = now.saturating_sub(self.drop_next) < 16 * INTERVAL;
        let delta = self.count.saturating_sub(self.last_count);
        self.count = if recent && delta > 1 { delta } else { 1 };
        self.last_count = self.count;
        self.drop_next = self.control_law(now);
        true
    }

    fn is_too_long(&mut self, now: Duration, sojourn: Duration, backlog: u64) -> bool {
        if sojourn < TARGET || backlog <= LEAST_BYTES {
            self.first_above = None;
            return false;
        }
        match self.first_above {
            None => {
                self.first_above = Some(now + INTERVAL);
                false
            }
            Some(at) => now >= at,
        }
    }

    fn control_law(&self, from: Duration) -> Duration {
        from + INTERVAL.div_f64(f64::from(self.count.max(1)).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_burst_shorter_than_an_interval_is_left_alone() {
        let mut codel = Codel::default();
        for at in 0..100 {
            assert!(!codel.takes(ms(at), ms(50), 100_000), "{at}");
        }
        assert!(!codel.takes(ms(100), ms(4), 100_000), "below the target");
        assert!(!codel.takes(ms(101), ms(50), 100_000), "begins again");
    }

    #[test]
    fn a_standing_queue_is_dropped_from_more_and_more_often() {
        let mut codel = Codel::default();
        let drops: Vec<u64> = (0..1_000)
            .filter(|at| codel.takes(ms(*at), ms(50), 100_000))
            .collect();
        assert_eq!(drops[0], 100);
        assert_eq!(drops[1], 200);
        let gaps: Vec<u64> = drops.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(
            gaps.windows(2).all(|pair| pair[1] <= pair[0] + 1),
            "{gaps:?}"
        );
        assert!(gaps.last() < gaps.first(), "{gaps:?}");
    }

    #[test]
    fn the_last_packet_is_never_dropped() {
        let mut codel = Codel::default();
        assert!((0..1_000).all(|at| !codel.takes(ms(at), ms(50), 1_500)));
    }
}
