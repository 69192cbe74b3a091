//! Times at which a worker looks at the shards of the connection table for entries that are due.
//!
//! * **Define.** For each shard, the time at which this worker looks at it next.
//! * **Enforce.** A worker that adds an entry notes its deadline here, and after a look it notes what is
//!   left there, whichever worker added it.
//! * **Consume.** For each entry at least one worker looks in time, and no worker must be woken for an
//!   entry of another.

use super::table::SHARDS;
use crate::base::Instant;

/// The alarms of one worker.
#[derive(Debug)]
pub(crate) struct Alarms {
    due: [Instant; SHARDS],
    first: Instant,
}

impl Default for Alarms {
    fn default() -> Self {
        Self {
            due: [Instant::FAR_FUTURE; SHARDS],
            first: Instant::FAR_FUTURE,
        }
    }
}

impl Alarms {
    /// Notes that an entry of `shard` is due at `deadline`.
    pub(crate) fn note(&mut self, shard: usize, deadline: Instant) {
        if let Some(due) = self.due.get_mut(shard) {
            *due = deadline.min(*due);
            self.first = deadline.min(self.first);
        }
    }

    /// Returns when to look next.
    pub(crate) fn next(&self) -> Option<Instant> {
        (self.first != Instant::FAR_FUTURE).then_some(self.first)
    }

    /// Takes a shard that is to be looked at.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<usize> {
        if self.first > now {
            return None;
        }
        let shard = self.due.iter().position(|due| *due <= now);
        if let Some(shard) = shard {
            self.due[shard] = Instant::FAR_FUTURE;
        }
        self.first = self
            .due
            .iter()
            .copied()
            .min()
            .unwrap_or(Instant::FAR_FUTURE);
        shard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_deadline_of_each_shard_counts() {
        let at = Instant::from_millis;
        let mut alarms = Alarms::default();
        assert_eq!((alarms.next(), alarms.pop_due(at(1_000))), (None, None));
        alarms.note(3, at(50));
        alarms.note(3, at(70));
        alarms.note(9, at(60));
        alarms.note(SHARDS, at(1));
        assert_eq!(alarms.next(), Some(at(50)));
        assert_eq!(alarms.pop_due(at(49)), None);
        assert_eq!(alarms.pop_due(at(65)), Some(3));
        assert_eq!(alarms.next(), Some(at(60)));
        alarms.note(3, at(70));
        assert_eq!(alarms.pop_due(at(65)), Some(9));
        assert_eq!(alarms.pop_due(at(65)), None);
        assert_eq!(alarms.next(), Some(at(70)));
    }
}
