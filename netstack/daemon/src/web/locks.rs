//! The contention of the stack's locks as JSON.

use netstack::net::{LockLevel, LockReport, lock_report};
use serde_json::{Value, json};

/// Returns the counts, or how to get them.
pub(super) fn json() -> Value {
    match lock_report() {
        Some(LockReport {
            levels,
            longest_chain,
            ..
        }) => json!({
            "is_tracked": true,
            "levels": levels.iter().map(level).collect::<Vec<_>>(),
            "longest_chain": longest_chain,
        }),
        None => json!({
            "is_tracked": false,
            "build": "cargo build --release -p netstackd --features track",
        }),
    }
}

fn level(level: &LockLevel) -> Value {
    let used = level.holds.iter().rposition(|count| *count > 0);
    let holds = level.holds.get(..used.map_or(0, |last| last + 1));
    json!({
        "name": level.name,
        "acquired": level.acquired,
        "contended": level.contended,
        "waited_nanos": nanos(level.waited),
        "held_nanos": nanos(level.held),
        "wait_p99_nanos": nanos(level.wait_p99),
        "hold_p99_nanos": nanos(level.hold_p99),
        "holds": holds.unwrap_or_default(),
    })
}

fn nanos(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
