//! The stack's counters as text, for the `counters` line and for the web page.

use netstack::base::DropReason;
use netstack::base::counters::Counter;
use netstack::net::Stack;

/// Reads the counters of one stack.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    stack: Stack,
}

impl Source {
    pub(crate) fn new(stack: &Stack) -> Self {
        Self {
            stack: stack.clone(),
        }
    }

    /// Returns every counter by name: state first, then events, then drops as `drop.REASON`.
    pub(crate) fn read(&self) -> Vec<(String, u64)> {
        let counters = self.stack.counters();
        let (large, small) = self.stack.slabs_in_use();
        let memory = self.stack.memory();
        let state = [
            ("connections", self.stack.connections()),
            ("half_open", self.stack.half_open()),
            ("time_waits", self.stack.time_waits()),
            ("timers", self.stack.timers()),
            ("large_slabs", large),
            ("small_slabs", small),
            ("memory_used", memory.used),
            ("memory_allocated", memory.allocated),
            ("memory_limit", memory.limit),
            ("memory_level", memory.level as usize),
        ];
        let state = state.map(|(name, count)| (name.to_owned(), count as u64));
        let events = Counter::ALL
            .iter()
            .map(|&e| (e.label().to_owned(), counters.count(e)));
        let drops = DropReason::ALL
            .iter()
            .map(|&reason| (format!("drop.{}", reason.label()), counters.dropped(reason)));
        state.into_iter().chain(events).chain(drops).collect()
    }

    /// Returns the line `counters name=count …`.
    pub(crate) fn line(&self) -> String {
        let words = self
            .read()
            .into_iter()
            .map(|(name, count)| format!(" {name}={count}"));
        format!("counters{}", words.collect::<String>())
    }
}
