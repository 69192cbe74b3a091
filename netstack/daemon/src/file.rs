//! The configuration file: the flags' keys at the top level, the stack's limits beside them, TCP's
//! in `[tcp]`. Every complaint names file, line and key.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use netstack::base::{Config, ConfigError};
use netstack::device::OffloadMode;
use serde::Deserialize;
use toml::de::{DeTable, DeValue};

use crate::failure::Failure;
use crate::settings::Parts;
use crate::values::{self, Queues, Services, TunName};

/// A time such as `"200ms"`, `"1s"` or `"2m"`.
#[derive(Clone, Copy, Debug)]
struct Span(Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map(Self).map_err(|_| {
            serde::de::Error::custom(format!(
                "'{text}' is not a time: write it as \"200ms\", \"5s\" or \"2m\""
            ))
        })
    }
}

/// Declares a `deserialize_with` function that reads a string as the flag of the same name does.
macro_rules! as_flag {
    ($($name:ident: $kind:ty = $parse:path,)+) => {$(
        fn $name<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<$kind>, D::Error> {
            let text = String::deserialize(from)?;
            $parse(&text).map(Some).map_err(|must| {
                serde::de::Error::custom(format!("'{text}' cannot be used: {must}"))
            })
        }
    )+};
}

as_flag! {
    net4: Ipv4Net = values::parse_net4,
    net6: Ipv6Net = values::parse_net6,
    ip4: Ipv4Addr = values::parse_ip4,
    ip6: Ipv6Addr = values::parse_ip6,
    offload: OffloadMode = values::parse_offload,
}

/// A value of the file as the stack's configuration holds it.
trait Setting<T> {
    fn set(self, slot: &mut T);
}

impl<T> Setting<T> for T {
    fn set(self, slot: &mut T) {
        *slot = self;
    }
}

impl Setting<Duration> for Span {
    fn set(self, slot: &mut Duration) {
        *slot = self.0;
    }
}

impl Setting<Option<Duration>> for Span {
    fn set(self, slot: &mut Option<Duration>) {
        // Zero switches it off.
        *slot = (self.0 > Duration::ZERO).then_some(self.0);
    }
}

/// Declares a table of the file whose keys are fields of a configuration struct.
macro_rules! limits {
    ($(#[$doc:meta])* $name:ident for $target:ty { $($key:ident: $kind:ty,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $name { $($key: Option<$kind>,)+ }

        impl $name {
            fn apply(self, target: &mut $target) {
                $(if let Some(value) = self.$key { Setting::set(value, &mut target.$key); })+
            }
        }
    };
}

limits! {
    /// `[tcp]`
    TcpLimits for netstack::base::TcpConfig {
        recv_buffer_initial: usize,
        recv_buffer_max: usize,
        send_buffer: usize,
        rto_min: Span,
        rto_initial: Span,
        rto_max: Span,
        delayed_ack: Span,
        syn_retries: u8,
        data_retries: u8,
        time_wait: Span,
        fin_wait_2: Span,
        keepalive_idle: Span,
        keepalive_interval: Span,
        keepalive_probes: u8,
        nagle: bool,
        timestamps: bool,
        sack: bool,
        window_scaling: bool,
        initial_window_segments: u32,
        max_reassembly_ranges: usize,
        backlog: usize,
        min_mss: u16,
    }
}

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tun: Option<TunName>,
    #[serde(default, deserialize_with = "net4")]
    addr: Option<Ipv4Net>,
    #[serde(default, deserialize_with = "net6")]
    addr6: Option<Ipv6Net>,
    #[serde(rename = "host-addr", default, deserialize_with = "ip4")]
    host_addr: Option<Ipv4Addr>,
    #[serde(rename = "host-addr6", default, deserialize_with = "ip6")]
    host_addr6: Option<Ipv6Addr>,
    mtu: Option<u16>,
    queues: Option<Queues>,
    #[serde(default, deserialize_with = "offload")]
    offload: Option<OffloadMode>,
    services: Option<Services>,
    pcap: Option<PathBuf>,
    grace: Option<Span>,

    max_connections: Option<usize>,
    max_large_slabs: Option<usize>,
    max_small_slabs: Option<usize>,
    udp_queue_datagrams: Option<usize>,
    udp_queue_bytes: Option<usize>,
    reassembly_slots: Option<usize>,
    reassembly_bytes: Option<usize>,
    reassembly_timeout: Option<Span>,
    icmp_errors_per_second: Option<u32>,
    icmp_error_burst: Option<u32>,
    path_mtu_entries: Option<usize>,
    ephemeral_port_first: Option<u16>,
    ephemeral_port_last: Option<u16>,
    ttl: Option<u8>,
    tcp: Option<TcpLimits>,
}

impl File {
    fn split(self) -> (Parts, Config) {
        let mut config = Config::default();
        macro_rules! apply {
            ($($key:ident),+ $(,)?) => {
                $(if let Some(value) = self.$key { Setting::set(value, &mut config.$key); })+
            };
        }
        apply!(
            max_connections,
            max_large_slabs,
            max_small_slabs,
            udp_queue_datagrams,
            udp_queue_bytes,
            reassembly_slots,
            reassembly_bytes,
            reassembly_timeout,
            icmp_errors_per_second,
            icmp_error_burst,
            path_mtu_entries,
            ephemeral_port_first,
            ephemeral_port_last,
            ttl,
        );
        if let Some(tcp) = self.tcp {
            tcp.apply(&mut config.tcp);
        }
        let parts = Parts {
            tun: self.tun,
            addr: self.addr,
            addr6: self.addr6,
            host_addr: self.host_addr,
            host_addr6: self.host_addr6,
            mtu: self.mtu,
            queues: self.queues,
            offload: self.offload,
            services: self.services,
            pcap: self.pcap,
            grace: self.grace.map(|span| span.0),
        };
        (parts, config)
    }
}

/// Reads and checks the file at `path`.
///
/// # Errors
///
/// [`Failure::Config`]: the file cannot be read, is not TOML, has a key that does not exist, or a
/// value that is out of its bounds.
pub(crate) fn read(path: &Path) -> Result<(Parts, Config), Failure> {
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::Config(format!(
            "cannot read the configuration file {}: {}: check the path given to --config",
            path.display(),
            reason(&error)
        ))
    })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<(Parts, Config), Failure> {
    let (parts, config) = toml::from_str::<File>(text)
        .map_err(|error| complain(path, text, error.span(), error.message()))?
        .split();
    config.validate().map_err(|error| {
        let ConfigError { key, value, must } = &error;
        let span = find_key(text, key);
        complain(path, text, span, &format!("it is {value}: {must}"))
    })?;
    Ok((parts, config))
}

/// An I/O error's reason without the code that Rust appends.
pub(crate) fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    text.to_lowercase()
}

fn complain(path: &Path, text: &str, span: Option<Range<usize>>, message: &str) -> Failure {
    let message = message.replace('\n', " ");
    let path = path.display();
    let Some(span) = span else {
        return Failure::Config(format!("{path}: {message}"));
    };
    let line = 1 + text
        .bytes()
        .take(span.start)
        .filter(|&byte| byte == b'\n')
        .count();
    let key = key_at(text, &span).map_or(String::new(), |key| format!("key '{key}': "));
    Failure::Config(format!("{path}, line {line}: {key}{message}"))
}

/// The dotted key whose name or value covers `span`.
fn key_at(text: &str, span: &Range<usize>) -> Option<String> {
    let covers = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    keys(text)
        .into_iter()
        .filter(|(_, name, value)| covers(name.clone()) || covers(value.clone()))
        // The innermost: its value is the shortest that covers.
        .min_by_key(|(_, _, value)| value.len())
        .map(|(key, _, _)| key)
}

fn find_key(text: &str, wanted: &str) -> Option<Range<usize>> {
    keys(text)
        .into_iter()
        .find(|(key, _, _)| key == wanted)
        .map(|(_, name, _)| name)
}

/// Every dotted key with the spans of its name and its value, two levels deep as the file is.
fn keys(text: &str) -> Vec<(String, Range<usize>, Range<usize>)> {
    let Ok(table) = DeTable::parse(text) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (name, value) in table.get_ref() {
        found.push((name.get_ref().to_string(), name.span(), value.span()));
        if let DeValue::Table(inner) = value.get_ref() {
            for (leaf, value) in inner {
                let key = format!("{}.{}", name.get_ref(), leaf.get_ref());
                found.push((key, leaf.span(), value.span()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let failure = parse(Path::new("net.toml"), text).expect_err(text);
        assert_eq!(failure.exit_code(), 3);
        let text = failure.to_string();
        assert!(!text.contains('\n'), "{text}");
        text
    }

    #[test]
    fn every_key_reaches_its_place() {
        let text = r#"
            tun = "t0"
            addr = "10.77.0.2/24"
            addr6 = "fd77::2/64"
            host-addr = "10.77.0.9"
            mtu = 9000
            queues = 3
            offload = "off"
            services = ["echo", "http"]
            grace = "250ms"
            max_connections = 10
            reassembly_timeout = "3s"
            [tcp]
            time_wait = "1s"
            keepalive_idle = "0s"
            data_retries = 4
        "#;
        let (parts, config) = parse(Path::new("net.toml"), text).expect("good");
        assert_eq!(parts.tun.as_ref().map(TunName::as_str), Some("t0"));
        assert_eq!(parts.host_addr, Some(Ipv4Addr::new(10, 77, 0, 9)));
        assert_eq!(parts.mtu, Some(9000));
        assert_eq!(parts.queues.map(Queues::get), Some(3));
        assert_eq!(parts.offload, Some(OffloadMode::Off));
        assert_eq!(
            parts.services.map(|s| s.to_string()),
            Some("echo,http".to_owned())
        );
        assert_eq!(parts.grace, Some(Duration::from_millis(250)));
        assert_eq!(config.max_connections, 10);
        assert_eq!(config.reassembly_timeout, Duration::from_secs(3));
        assert_eq!(config.tcp.time_wait, Duration::from_secs(1));
        assert_eq!(config.tcp.keepalive_idle, None);
        assert_eq!(config.tcp.data_retries, 4);
    }

    #[test]
    fn complaints_name_file_line_and_key() {
        let text = refusal("tun = \"t0\"\n\nmut = 1500\n");
        assert!(
            text.starts_with("net.toml, line 3: key 'mut': unknown field"),
            "{text}"
        );
        let text = refusal("mtu = \"big\"\n");
        assert!(text.starts_with("net.toml, line 1: key 'mtu': "), "{text}");
        let text = refusal("mtu = 70000\n");
        assert!(text.starts_with("net.toml, line 1: key 'mtu': "), "{text}");
        let text = refusal("queues = 0\n");
        assert!(
            text.starts_with("net.toml, line 1: key 'queues': use 1 to 256"),
            "{text}"
        );
        let text = refusal("# a\n[tcp]\nnagle = true\ntime_wait = \"soon\"\n");
        assert!(
            text.starts_with("net.toml, line 4: key 'tcp.time_wait': 'soon'"),
            "{text}"
        );
        let text = refusal("[tcp]\nnagle = true\nsend_buffer = 1\n");
        assert!(
            text.starts_with("net.toml, line 3: key 'tcp.send_buffer': it is 1"),
            "{text}"
        );
        let text = refusal("services = [\"echo\", \"finger\"]\n");
        assert!(
            text.contains("'services': there is no service 'finger'"),
            "{text}"
        );
        let text = refusal("addr = \"10.0.0.1\"\n");
        assert!(text.starts_with("net.toml, line 1: key 'addr': "), "{text}");
        let text = refusal("tun = \"t0\nmtu = 1\n");
        assert!(text.starts_with("net.toml, line 1: "), "{text}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let failure = read(Path::new("/nonexistent/netstackd.toml")).expect_err("missing");
        let text = failure.to_string();
        assert!(
            text.contains("/nonexistent/netstackd.toml: no such file"),
            "{text}"
        );
    }
}
