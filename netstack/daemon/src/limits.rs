//! The limits of the process (`ulimit`) beside what the settings may need: raised where that is allowed, told where not.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::confine::Needs;
use crate::settings::Settings;

/// Descriptors of any daemon: the standard ones, runtimes, clients of the control socket and of the metrics.
const DESCRIPTORS: u64 = 128;

/// Threads of any daemon beside its workers, and those of a job.
const THREADS: u64 = 16;
const THREADS_OF_JOB: u64 = 64;

/// Memory of any daemon beside its packets, and of each connection.
const MEMORY_BYTES: u64 = 256 << 20;
const CONNECTION_BYTES: u64 = 2_048;

/// A limit and what is needed of it.
#[derive(Debug)]
struct Row {
    resource: Resource,
    needed: u64,
    what: &'static str,
    /// The keys of systemd and of `ulimit`.
    advice: &'static str,
}

/// Raises each soft limit that is below what the settings need, as far as the hard one allows. Returns one line about
/// those that are too low even then.
pub(crate) fn raise(settings: &Settings, needs: &Needs) -> Option<String> {
    let rows = rows(settings, needs);
    let short: Vec<String> = rows.iter().filter_map(short_of).collect();
    (!short.is_empty()).then(|| {
        format!(
            "the limits of this process are below what the configuration may need: {}",
            short.join("; ")
        )
    })
}

/// Logs such a line.
pub(crate) fn log(line: Option<&str>) {
    if let Some(line) = line {
        tracing::warn!(target: "netstackd::limits", "{line}");
    }
}

fn rows(settings: &Settings, needs: &Needs) -> [Row; 4] {
    let queues = settings.queues.get() as u64;
    let is_job = needs.descriptors > 0;
    let connections = settings.stack.max_connections as u64;
    let packets = settings.stack.memory_bytes.unwrap_or_default() as u64;
    let memory = MEMORY_BYTES
        .saturating_add(packets)
        .saturating_add(connections.saturating_mul(CONNECTION_BYTES));
    [
        Row {
            resource: Resource::Nofile,
            needed: DESCRIPTORS + 2 * queues + needs.descriptors,
            what: "open files",
            advice: "LimitNOFILE= of the unit, ulimit -Hn",
        },
        Row {
            resource: Resource::Nproc,
            needed: THREADS + queues + if is_job { THREADS_OF_JOB } else { 0 },
            what: "threads",
            advice: "LimitNPROC= of the unit, ulimit -Hu",
        },
        Row {
            resource: Resource::As,
            needed: memory,
            what: "bytes of address space",
            advice: "LimitAS= of the unit, ulimit -Hv, or lower memory_bytes",
        },
        Row {
            resource: Resource::Data,
            needed: memory,
            what: "bytes of data",
            advice: "LimitDATA= of the unit, ulimit -Hd, or lower memory_bytes",
        },
    ]
}

/// Returns what is too low, once it is as high as it may be.
fn short_of(row: &Row) -> Option<String> {
    let limit = getrlimit(row.resource);
    // No number is no limit.
    let soft = limit.current.filter(|soft| *soft < row.needed)?;
    let wanted = match limit.maximum {
        Some(hard) => row.needed.min(hard),
        None => row.needed,
    };
    let raised = setrlimit(
        row.resource,
        Rlimit {
            current: Some(wanted),
            maximum: limit.maximum,
        },
    );
    let now = if raised.is_ok() { wanted } else { soft };
    let Row {
        needed,
        what,
        advice,
        ..
    } = row;
    (now < *needed).then(|| format!("{now} of {needed} {what} (raise {advice})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_grows_with_the_job() {
        let parts = crate::settings::Parts {
            tun: "t0".parse().ok(),
            addr: "10.77.0.2/24".parse().ok(),
            queues: crate::values::Queues::try_from(4).ok(),
            ..Default::default()
        };
        let settings = Settings::from_parts(parts, Default::default(), Default::default());
        let settings = settings.expect("settings");
        let needed = |descriptors| {
            let needs = Needs {
                descriptors,
                ..Needs::default()
            };
            rows(&settings, &needs).map(|row| row.needed)
        };
        assert_eq!(needed(0)[..2], [DESCRIPTORS + 8, THREADS + 4]);
        assert_eq!(
            needed(20_000)[..2],
            [DESCRIPTORS + 8 + 20_000, THREADS + 4 + THREADS_OF_JOB]
        );
    }

    #[test]
    fn a_limit_that_is_too_low_is_told_with_its_names() {
        let limit = getrlimit(Resource::Nofile);
        let Some(hard) = limit.maximum else { return };
        let row = Row {
            resource: Resource::Nofile,
            needed: hard + 1,
            what: "open files",
            advice: "LimitNOFILE=",
        };
        let text = short_of(&row).expect("nobody has that many");
        assert_eq!(
            text,
            format!("{hard} of {} open files (raise LimitNOFILE=)", hard + 1)
        );
        assert_eq!(getrlimit(Resource::Nofile).current, Some(hard), "raised");
    }
}
