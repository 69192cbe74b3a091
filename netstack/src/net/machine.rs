//! The machine's memory, of which a stack takes a part unless it is told how much.

use std::fs;

use crate::base::Config;

/// The part of the machine's memory that a stack takes.
const PART: u64 = 16;

/// The least and the most that it takes, in bytes.
const BOUNDS: [u64; 2] = [32 << 20, 1 << 30];

/// Returns the default memory for packets on this machine: a sixteenth of what the machine, or the control
/// group of this process, has.
pub(super) fn packet_memory() -> usize {
    let machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| total(&text));
    let groups = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    let group = groups
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    match machine.into_iter().chain(group).min() {
        Some(bytes) => part_of(bytes),
        None => Config::DEFAULT_MEMORY_BYTES,
    }
}

/// Returns the total of `/proc/meminfo`, in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn part_of(bytes: u64) -> usize {
    let [least, most] = BOUNDS;
    usize::try_from((bytes / PART).clamp(least, most)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sixteenth_within_bounds() {
        assert_eq!(part_of(8 << 30), 512 << 20);
        assert_eq!(part_of(64 << 20), 32 << 20);
        assert_eq!(part_of(1 << 40), 1 << 30);
        assert_eq!(
            total("MemTotal:       16384 kB\nMemFree: 1 kB\n"),
            Some(16 << 20)
        );
        assert_eq!(total("MemFree: 1 kB"), None);
        assert!(packet_memory() >= 32 << 20);
    }
}
