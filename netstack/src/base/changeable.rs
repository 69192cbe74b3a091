//! The limits that a running stack can change.

use super::config::Config;

/// The limits that can change while a stack runs. All others are part of how its tables and sockets were made.
///
/// A lower limit refuses what is new; connections that are there stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// As [`Config::max_connections`].
    pub max_connections: usize,
    /// As [`Config::max_half_open`].
    pub max_half_open: usize,
    /// As [`Config::max_time_wait`].
    pub max_time_wait: usize,
    /// As [`Config::memory_bytes`]; `None`: what it is.
    pub memory_bytes: Option<usize>,
    /// As [`Config::icmp_errors_per_second`].
    pub icmp_errors_per_second: u32,
    /// As [`Config::icmp_error_burst`].
    pub icmp_error_burst: u32,
    /// As [`TcpConfig::backlog`](super::TcpConfig::backlog), of the listeners whose programs set no options of their own.
    pub backlog: usize,
}

impl Limits {
    /// Returns the limits that a configuration has.
    pub fn of(config: &Config) -> Self {
        Self {
            max_connections: config.max_connections,
            max_half_open: config.max_half_open,
            max_time_wait: config.max_time_wait,
            memory_bytes: config.memory_bytes,
            icmp_errors_per_second: config.icmp_errors_per_second,
            icmp_error_burst: config.icmp_error_burst,
            backlog: config.tcp.backlog,
        }
    }

    /// Puts the limits into a configuration.
    pub fn apply_to(self, config: &mut Config) {
        let Self {
            max_connections,
            max_half_open,
            max_time_wait,
            memory_bytes,
            icmp_errors_per_second,
            icmp_error_burst,
            backlog,
        } = self;
        config.max_connections = max_connections;
        config.max_half_open = max_half_open;
        config.max_time_wait = max_time_wait;
        config.memory_bytes = memory_bytes.or(config.memory_bytes);
        config.icmp_errors_per_second = icmp_errors_per_second;
        config.icmp_error_burst = icmp_error_burst;
        config.tcp.backlog = backlog;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_from_a_configuration_can_be_put_into_another() {
        let mut from = Config {
            max_connections: 1,
            max_half_open: 2,
            max_time_wait: 3,
            memory_bytes: Some(4 << 20),
            icmp_errors_per_second: 5,
            icmp_error_burst: 6,
            ..Config::default()
        };
        from.tcp.backlog = 7;
        let mut to = Config::default();
        Limits::of(&from).apply_to(&mut to);
        assert_eq!(Limits::of(&to), Limits::of(&from));
        let none = Limits {
            memory_bytes: None,
            ..Limits::of(&from)
        };
        none.apply_to(&mut to);
        assert_eq!(to.memory_bytes, Some(4 << 20));
    }
}
