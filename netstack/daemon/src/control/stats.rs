//! Every counter and gauge of the stack at one moment.

use netstack::base::DropReason;
use netstack::base::counters::Counter;
use netstack::net::{Stack, WorkerReport};

use super::Target;
use super::protocol::{Stats, WorkerRow};

/// The name of the number of packets that captures have missed.
pub(crate) const CAPTURE_LOST: &str = "capture_lost";

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

/// Returns what the daemon itself does now, by name.
pub(crate) fn activities(target: &Target) -> Vec<(&'static str, u64)> {
    let mut activities = vec![("captures", target.captures.running() as u64)];
    if let Some(is_recording) = target.recording() {
        activities.push(("recording", is_recording.into()));
        activities.push(("recording_ended", (!is_recording).into()));
        activities.extend(target.recording_counts());
    }
    activities
}

/// Returns the work of each worker.
pub(crate) fn workers(stack: &Stack) -> Vec<WorkerRow> {
    let row = |worker: &WorkerReport| {
        let count = |counter| worker.counters.count(counter);
        let dropped = DropReason::ALL.iter();
        WorkerRow {
            packets_in: count(Counter::PacketsIn),
            packets_out: count(Counter::PacketsOut),
            bytes_in: count(Counter::BytesIn),
            bytes_out: count(Counter::BytesOut),
            handed_over: count(Counter::HandedOver),
            dropped: dropped.map(|&one| worker.counters.dropped(one)).sum(),
            busy_turns: worker.busy_turns,
            busy_micros: u64::try_from(worker.busy.as_micros()).unwrap_or(u64::MAX),
            queue: worker.queue as u64,
            timers: worker.timers as u64,
        }
    };
    stack.worker_reports().iter().map(row).collect()
}

/// Reads all.
pub(crate) fn read(target: &Target) -> Stats {
    let stack = &target.stack();
    let counters = stack.counters();
    let uptime = target.started.elapsed().as_millis();
    let gauges = gauges(stack).into_iter().chain(activities(target));
    let owned = |(name, value): (&str, u64)| (name.to_owned(), value);
    Stats {
        uptime_millis: u64::try_from(uptime).unwrap_or(u64::MAX),
        mib: stack.mib().iter().map(owned).collect(),
        counters: Counter::ALL
            .iter()
            .map(|&one| (one.label(), counters.count(one)))
            .chain([(CAPTURE_LOST, target.captures.lost())])
            .map(owned)
            .collect(),
        drops: DropReason::ALL
            .iter()
            .map(|&one| owned((one.label(), counters.dropped(one))))
            .collect(),
        gauges: gauges.map(owned).collect(),
        workers: workers(stack),
    }
}
