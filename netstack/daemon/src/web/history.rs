//! The last minutes of every counter, a sample a second.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use netstack::base::DropReason;
use netstack::base::counters::Counter;
use netstack::net::{CountersSnapshot, Stack};
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::unix_time;
use crate::control::Target;

/// Time between two samples.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// Samples that are kept.
pub(super) const KEPT: usize = 600;

/// The values of a sample, by name: counters first, then what goes up and down.
pub(super) const COLUMNS: [&str; 18] = [
    "bytes_in",
    "bytes_out",
    "packets_in",
    "packets_out",
    "retransmits",
    "timeouts",
    "passive_opens",
    "active_opens",
    "closed",
    "resets_in",
    "resets_out",
    "dropped",
    "connections",
    "half_open",
    "time_waits",
    "memory_used",
    "memory_allocated",
    "timers",
];

/// The state of the stack at one moment.
#[derive(Debug, Serialize)]
pub(super) struct Sample {
    /// Counts the samples since the start.
    pub(super) seq: u64,
    /// Unix time.
    pub(super) at_millis: u64,
    /// In the order of [`COLUMNS`].
    pub(super) values: [u64; COLUMNS.len()],
    /// The time for which each worker was busy.
    pub(super) busy_micros: Vec<u64>,
    /// Discarded packets, in the order of [`DropReason::ALL`].
    #[serde(skip)]
    pub(super) drops: Vec<u64>,
}

impl Sample {
    fn take(stack: &Stack, seq: u64) -> Self {
        let counters = stack.counters();
        let drops: Vec<u64> = DropReason::ALL
            .iter()
            .map(|&one| counters.dropped(one))
            .collect();
        let busy = |micros: Duration| u64::try_from(micros.as_micros()).unwrap_or(u64::MAX);
        Self {
            seq,
            at_millis: u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX),
            values: values(stack, &counters, drops.iter().sum()),
            busy_micros: stack
                .worker_reports()
                .iter()
                .map(|one| busy(one.busy))
                .collect(),
            drops,
        }
    }
}

fn values(stack: &Stack, counters: &CountersSnapshot, dropped: u64) -> [u64; COLUMNS.len()] {
    let count = |counter| counters.count(counter);
    let memory = stack.memory();
    [
        count(Counter::BytesIn),
        count(Counter::BytesOut),
        count(Counter::PacketsIn),
        count(Counter::PacketsOut),
        count(Counter::TcpRetransmits),
        count(Counter::TcpTimeouts),
        count(Counter::TcpPassiveOpens),
        count(Counter::TcpActiveOpens),
        count(Counter::TcpClosed),
        count(Counter::TcpResetsIn),
        count(Counter::TcpResetsOut),
        dropped,
        stack.connections() as u64,
        stack.half_open() as u64,
        stack.time_waits() as u64,
        memory.used as u64,
        memory.allocated as u64,
        stack.timers() as u64,
    ]
}

/// The samples that are kept, the oldest first. A reader has those of one moment.
#[derive(Debug, Default)]
pub(super) struct History {
    samples: ArcSwap<VecDeque<Arc<Sample>>>,
}

impl History {
    /// Takes samples for as long as the program runs.
    pub(super) async fn keep(&self, target: &Target) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for seq in 1.. {
            ticks.tick().await;
            self.push(Sample::take(&target.stack(), seq));
        }
    }

    fn push(&self, sample: Sample) {
        let mut samples = VecDeque::clone(&self.samples.load());
        if samples.len() >= KEPT {
            samples.pop_front();
        }
        samples.push_back(Arc::new(sample));
        self.samples.store(Arc::new(samples));
    }

    /// Returns the samples that are newer than number `seq`. A number from before the daemon was started again, which is
    /// larger than any, gets all of them.
    pub(super) fn after(&self, seq: u64) -> Vec<Arc<Sample>> {
        let samples = self.samples.load();
        let is_ahead = samples.back().is_none_or(|latest| latest.seq < seq);
        let newer = samples.iter().filter(|one| is_ahead || one.seq > seq);
        newer.cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seq: u64) -> Sample {
        Sample {
            seq,
            at_millis: seq * 1_000,
            values: [0; COLUMNS.len()],
            busy_micros: Vec::new(),
            drops: Vec::new(),
        }
    }

    #[test]
    fn the_last_samples_are_kept_and_each_is_told_once() {
        let history = History::default();
        assert!(history.after(0).is_empty());
        let last = KEPT as u64 + 50;
        (1..=last).for_each(|seq| history.push(sample(seq)));
        let all = history.after(0);
        assert_eq!((all.len(), all[0].seq), (KEPT, 51));
        let new: Vec<u64> = history.after(last - 2).iter().map(|one| one.seq).collect();
        assert_eq!(new, [last - 1, last]);
        assert!(history.after(last).is_empty());
        assert_eq!(
            history.after(last + 1).len(),
            KEPT,
            "the daemon was started again"
        );
    }
}
