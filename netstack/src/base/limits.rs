//! Values with which a stack would start and not work: each is refused with a sentence.

use super::config::{Config, ConfigError};
use super::link::LinkCaps;
use super::time::Duration;

/// Longest time that a limit may be: a month.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Shortest time of a timer that is armed again and again: a shorter one would do nothing else.
const SHORTEST: Duration = Duration::from_millis(1);

/// Smallest MTU of a link: every host forwards 68 bytes (RFC 791 section 3.2).
pub const MIN_MTU_V4: u16 = 68;
/// Smallest MTU of a link that carries IPv6 (RFC 8200 section 5).
pub const MIN_MTU_V6: u16 = 1_280;
/// Shortest time after which longer packets than a router reported may be tried (RFC 1191 section 3).
const SHORTEST_PATH_MTU_AGE: Duration = Duration::from_secs(300);
/// Longest time for which a worker looks for packets.
pub(crate) const LONGEST_BUSY_POLL: Duration = Duration::from_millis(1);

/// Checks that every queue and table has room for something, and that every time can pass.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    check_sizes(config)?;
    check_times(config)
}

fn check_sizes(config: &Config) -> Result<(), ConfigError> {
    let tcp = &config.tcp;
    let sizes = [
        (
            "udp_queue_datagrams",
            config.udp_queue_datagrams,
            1,
            "set at least 1",
        ),
        (
            "udp_queue_bytes",
            config.udp_queue_bytes,
            2_048,
            "set at least 2048",
        ),
        (
            "reassembly_slots",
            config.reassembly_slots,
            1,
            "set at least 1",
        ),
        (
            "path_mtu_entries",
            config.path_mtu_entries,
            1,
            "set at least 1",
        ),
        (
            "tcp.max_reassembly_ranges",
            tcp.max_reassembly_ranges,
            1,
            "set at least 1",
        ),
        (
            "tcp.min_mss",
            tcp.min_mss.into(),
            48,
            "set at least 48, the room for all options and some payload",
        ),
        (
            "tcp.mtu_probe_base",
            tcp.mtu_probe_base.into(),
            48,
            "set at least 48, the room for all options and some payload",
        ),
    ];
    for (key, value, least, must) in sizes {
        if value < least {
            return Err(refused(key, value, must));
        }
    }
    if tcp.min_mss > 1_220 {
        let must = "set at most 1220, so that a peer of any IPv6 link can be heard";
        return Err(refused("tcp.min_mss", tcp.min_mss.into(), must));
    }
    if tcp.max_mss < tcp.min_mss {
        let must = "set it to tcp.min_mss at least";
        return Err(refused("tcp.max_mss", tcp.max_mss.into(), must));
    }
    if tcp.keepalive_probes == 0 {
        return Err(refused("tcp.keepalive_probes", 0, "set at least 1"));
    }
    Ok(())
}

fn check_times(config: &Config) -> Result<(), ConfigError> {
    let tcp = &config.tcp;
    let no_keepalive = SHORTEST;
    let times = [
        ("reassembly_timeout", config.reassembly_timeout, SHORTEST),
        ("tcp.rto_min", tcp.rto_min, SHORTEST),
        ("tcp.rto_initial", tcp.rto_initial, SHORTEST),
        ("tcp.rto_max", tcp.rto_max, SHORTEST),
        ("tcp.time_wait", tcp.time_wait, SHORTEST),
        ("tcp.fin_wait_2", tcp.fin_wait_2, SHORTEST),
        ("tcp.orphan_timeout", tcp.orphan_timeout, SHORTEST),
        (
            "tcp.user_timeout",
            tcp.user_timeout.unwrap_or(SHORTEST),
            SHORTEST,
        ),
        (
            "tcp.keepalive_idle",
            tcp.keepalive_idle.unwrap_or(no_keepalive),
            SHORTEST,
        ),
        ("tcp.keepalive_interval", tcp.keepalive_interval, SHORTEST),
    ];
    for (key, value, least) in times {
        if value < least || value > LONGEST {
            return Err(ConfigError {
                key,
                value: format!("{value:?}"),
                must: "set it between 1 ms and 30 days",
            });
        }
    }
    if config.busy_poll > LONGEST_BUSY_POLL {
        return Err(ConfigError {
            key: "busy_poll",
            value: format!("{:?}", config.busy_poll),
            must: "set at most 1 ms: a worker that waits longer sleeps",
        });
    }
    match config.path_mtu_age {
        Some(age) if age < SHORTEST_PATH_MTU_AGE => Err(ConfigError {
            key: "path_mtu_age",
            value: format!("{age:?}"),
            must: "set at least 5 minutes, or none",
        }),
        _ => Ok(()),
    }
}

fn refused(key: &'static str, value: usize, must: &'static str) -> ConfigError {
    ConfigError {
        key,
        value: value.to_string(),
        must,
    }
}

impl LinkCaps {
    /// Checks that the link carries packets of the families that it is to carry.
    ///
    /// # Errors
    /// The MTU is too small for IPv4, or for IPv6 if `ipv6` is true.
    pub fn validate(&self, ipv6: bool) -> Result<(), ConfigError> {
        let (least, must) = if ipv6 {
            (
                MIN_MTU_V6,
                "give the device an MTU of at least 1280, as IPv6 requires",
            )
        } else {
            (
                MIN_MTU_V4,
                "give the device an MTU of at least 68, as IPv4 requires",
            )
        };
        if self.mtu < least {
            return Err(refused("the MTU of the device", self.mtu.into(), must));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{OffloadCaps, TcpConfig};

    fn refusal(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        config.validate().expect_err("refused").to_string()
    }

    #[test]
    fn values_that_cannot_work_are_refused_by_name() {
        type Change = fn(&mut Config);
        let zero = Duration::ZERO;
        let changes: &[(&str, Change)] = &[
            ("udp_queue_datagrams", |c| c.udp_queue_datagrams = 0),
            ("udp_queue_bytes", |c| c.udp_queue_bytes = 0),
            ("reassembly_slots", |c| c.reassembly_slots = 0),
            ("reassembly_timeout", |c| {
                c.reassembly_timeout = Duration::ZERO
            }),
            ("path_mtu_entries", |c| c.path_mtu_entries = 0),
            ("path_mtu_age", |c| {
                c.path_mtu_age = Some(Duration::from_secs(299))
            }),
            ("busy_poll", |c| c.busy_poll = Duration::from_millis(2)),
            ("memory_bytes", |c| c.memory_bytes = Some(0)),
            ("max_connections", |c| c.max_connections = 0),
            ("ttl", |c| c.ttl = 0),
            ("ephemeral_port_first", |c| c.ephemeral_port_first = 0),
            ("tcp.rto_min", |c| c.tcp.rto_min = Duration::ZERO),
            ("tcp.rto_max", |c| c.tcp.rto_max = Duration::MAX),
            ("tcp.time_wait", |c| c.tcp.time_wait = Duration::ZERO),
            ("tcp.fin_wait_2", |c| c.tcp.fin_wait_2 = Duration::MAX),
            ("tcp.user_timeout", |c| {
                c.tcp.user_timeout = Some(Duration::ZERO)
            }),
            ("tcp.orphan_timeout", |c| {
                c.tcp.orphan_timeout = Duration::ZERO
            }),
            ("tcp.keepalive_idle", |c| {
                c.tcp.keepalive_idle = Some(Duration::ZERO)
            }),
            ("tcp.keepalive_interval", |c| {
                c.tcp.keepalive_interval = Duration::ZERO
            }),
            ("tcp.keepalive_probes", |c| c.tcp.keepalive_probes = 0),
            ("tcp.max_reassembly_ranges", |c| {
                c.tcp.max_reassembly_ranges = 0
            }),
            ("tcp.min_mss", |c| c.tcp.min_mss = 0),
            ("tcp.min_mss", |c| c.tcp.min_mss = 9_000),
            ("tcp.max_mss", |c| c.tcp.max_mss = 87),
            ("tcp.mtu_probe_base", |c| c.tcp.mtu_probe_base = 47),
            ("tcp.backlog", |c| c.tcp.backlog = 0),
        ];
        for (key, change) in changes {
            let text = refusal(change);
            assert!(
                text.starts_with(&format!("config: {key} is ")),
                "{key}: {text}"
            );
        }
        // A delayed ACK of zero is none, and works.
        let config = Config {
            tcp: TcpConfig {
                delayed_ack: zero,
                ..TcpConfig::default()
            },
            ..Config::default()
        };
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn a_link_carries_the_least_that_its_families_require() {
        let link = |mtu| LinkCaps {
            mtu,
            max_packet: 1_500,
            offload: OffloadCaps::default(),
        };
        for (mtu, v4, v6) in [
            (0, false, false),
            (10, false, false),
            (60, false, false),
            (68, true, false),
            (1_279, true, false),
            (1_280, true, true),
        ] {
            assert_eq!(link(mtu).validate(false).is_ok(), v4, "{mtu}");
            assert_eq!(link(mtu).validate(true).is_ok(), v6, "{mtu}");
        }
        let text = link(60).validate(true).expect_err("too small").to_string();
        assert_eq!(
            text,
            "config: the MTU of the device is 60: give the device an MTU of at least 1280, as IPv6 requires"
        );
    }
}
