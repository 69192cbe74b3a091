//! Changes of a running stack's limits.

use std::sync::atomic::Ordering;

use super::foreign::locked;
use super::host::Host;
use crate::base::{ConfigError, Limits};

/// Returns the limits that are in force.
pub(crate) fn current(host: &Host) -> Limits {
    let (tcp, limiter) = (&host.tcp, &host.icmp_limiter);
    let (per_second, burst) =
        locked(|key| limiter.with(&mut key.ctx(), |limiter| limiter.limits()));
    Limits {
        max_connections: tcp.connections.limit(),
        max_half_open: tcp.syn_places.limit(),
        max_time_wait: tcp.connections.time_wait_limit(),
        memory_bytes: Some(host.buffers.memory_use().limit),
        icmp_errors_per_second: per_second,
        icmp_error_burst: burst,
        backlog: tcp.backlog.load(Ordering::Relaxed),
    }
}

/// Changes the limits, all or none of them.
///
/// # Errors
/// A limit that is out of bounds; memory of which more is in use.
pub(crate) fn change(host: &Host, limits: Limits) -> Result<(), ConfigError> {
    let mut config = host.config.clone();
    limits.apply_to(&mut config);
    config.validate()?;
    if limits.memory_bytes.is_some() {
        let bytes = host.memory_of(&config)?;
        check_use(host, bytes)?;
        host.buffers.set_limit(bytes);
    }
    let tcp = &host.tcp;
    tcp.connections
        .set_limits(limits.max_connections, limits.max_time_wait);
    tcp.syn_places.set_limit(limits.max_half_open);
    tcp.backlog.store(limits.backlog, Ordering::Relaxed);
    let (per_second, burst) = (limits.icmp_errors_per_second, limits.icmp_error_burst);
    let limiter = &host.icmp_limiter;
    locked(|key| {
        limiter.with(&mut key.ctx(), |limiter| {
            limiter.set_limits(per_second, burst);
        });
    });
    tracing::info!(?limits, "the limits of the stack changed");
    Ok(())
}

/// Checks that connections need not be given up for a lower limit of memory: those that hold some would be.
fn check_use(host: &Host, bytes: usize) -> Result<(), ConfigError> {
    let used = host.buffers.memory_use().used;
    let limit = host.buffers.memory_use().limit;
    if bytes < limit && used > bytes / 8 * 5 {
        return Err(ConfigError {
            key: "memory_bytes",
            value: format!("{bytes}, while {used} bytes are in use"),
            must: "set at least 8/5 of what is in use, or wait until it is less",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_limits_change_or_none() {
        let host = Host::example();
        let before = current(&host);
        let new = Limits {
            max_connections: 9,
            max_half_open: 8,
            max_time_wait: 7,
            memory_bytes: Some(8 << 20),
            icmp_errors_per_second: 6,
            icmp_error_burst: 5,
            backlog: 4,
        };
        change(&host, new).expect("good limits");
        assert_eq!(current(&host), new);
        for (bad, key) in [
            (
                Limits {
                    max_connections: 0,
                    ..before
                },
                "max_connections",
            ),
            (
                Limits {
                    backlog: 0,
                    ..before
                },
                "tcp.backlog",
            ),
            (
                Limits {
                    memory_bytes: Some(5),
                    ..before
                },
                "memory_bytes",
            ),
        ] {
            assert_eq!(change(&host, bad).expect_err("refused").key, key);
            assert_eq!(current(&host), new);
        }
        change(&host, before).expect("as it was");
        assert_eq!(current(&host), before);
    }

    #[test]
    fn memory_that_is_in_use_is_not_taken_away() {
        let host = Host::example();
        let kept: Vec<_> = (0..4_000)
            .filter_map(|_| host.buffers.copy(&[1; 2_000]))
            .collect();
        let limits = current(&host);
        let error = change(
            &host,
            Limits {
                memory_bytes: Some(9 << 20),
                ..limits
            },
        );
        assert!(
            error
                .expect_err("too little")
                .to_string()
                .contains("are in use")
        );
        assert_eq!(current(&host), limits);
        drop(kept);
        change(
            &host,
            Limits {
                memory_bytes: Some(9 << 20),
                ..limits
            },
        )
        .expect("enough now");
    }
}
