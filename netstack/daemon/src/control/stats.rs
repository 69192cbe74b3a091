//! Every counter and gauge of the stack at one moment.

use netstack::base::DropReason;
use netstack::base::counters::Counter;
use netstack::net::Stack;

use super::Target;
use super::protocol::Stats;

/// Returns the values that go up and down, by name.
pub(crate) fn gauges(stack: &Stack) -> Vec<(&'static str, u64)> {
    let (large, small) = stack.slabs_in_use();
    let memory = stack.memory();
    let gauges = [
        ("connections", stack.connections()),
        ("half_open", stack.half_open()),
        ("time_waits", stack.time_waits()),
        ("timers", stack.timers()),
        ("workers", stack.workers()),
        ("large_slabs", large),
        ("small_slabs", small),
        ("memory_used", memory.used),
        ("memory_allocated", memory.allocated),
        ("memory_limit", memory.limit),
        ("memory_level", memory.level as usize),
    ];
    gauges.map(|(name, value)| (name, value as u64)).to_vec()
}

/// Reads all.
pub(crate) fn read(target: &Target) -> Stats {
    let stack = &target.stack;
    let counters = stack.counters();
    let uptime = target.started.elapsed().as_millis();
    let gauges = gauges(stack).into_iter();
    let owned = |(name, value): (&str, u64)| (name.to_owned(), value);
    Stats {
        uptime_millis: u64::try_from(uptime).unwrap_or(u64::MAX),
        mib: stack.mib().iter().map(owned).collect(),
        counters: Counter::ALL
            .iter()
            .map(|&one| owned((one.label(), counters.count(one))))
            .collect(),
        drops: DropReason::ALL
            .iter()
            .map(|&one| owned((one.label(), counters.dropped(one))))
            .collect(),
        gauges: gauges.map(owned).collect(),
    }
}
