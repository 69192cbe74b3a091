//! The keys of the configuration file and their types.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::{Ipv4Net, Ipv6Net};
use netstack::base::{Config, TcpConfig};
use netstack::device::OffloadMode;
use serde::Deserialize;

use super::value::{
    Congestion, List, Probing, Setting, Span, Switch, Whole, admin, dashboard, ip4, ip6,
    log_format, mode, net4, net6, offload, sandbox, upstream,
};
use crate::confine::Sandbox;
use crate::confine::identity::Account;
use crate::logs::{Levels, LogFormat};
use crate::places::{Address, ControlPath, Descriptors, RouteText};
use crate::proxy::rules::RuleList;
use crate::proxy::upstream::Upstream;
use crate::settings::{Parts, default_config};
use crate::values::{Queues, Services, TunName};

/// Declares a table of the file whose keys are fields of a configuration struct.
macro_rules! limits {
    ($(#[$attribute:meta])* $name:ident for $target:ty, $prefix:literal { $($key:ident: $kind:ty,)+ }) => {
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        $(#[$attribute])*
        struct $name { $($key: Option<$kind>,)+ }

        impl $name {
            const KEYS: &[&str] = &[$(concat!($prefix, stringify!($key)),)+];

            fn apply(self, target: &mut $target) {
                $(if let Some(value) = self.$key { Setting::set(value, &mut target.$key); })+
            }

            fn or(self, other: Self) -> Self {
                Self { $($key: self.$key.or(other.$key),)+ }
            }

            /// Returns the keys that have a value.
            fn given(&self) -> Vec<&'static str> {
                let given = [$((concat!($prefix, stringify!($key)), self.$key.is_some()),)+];
                given.into_iter().filter(|(_, is)| *is).map(|(key, _)| key).collect()
            }

            /// Returns each key with its value in `config`, as the file writes it.
            fn show(config: &$target) -> Vec<(&'static str, String)> {
                vec![$((concat!($prefix, stringify!($key)), <$kind as Setting<_>>::show(&config.$key)),)+]
            }
        }
    };
}

/// Declares the whole file: keys that are settings of the daemon, then those of the stack.
macro_rules! file {
    (
        parts { $($(#[$attribute:meta])* $part:ident, $name:literal: $kind:ty = $convert:expr;)+ }
        limits { $($key:ident: $limit:ty,)+ }
    ) => {
        /// The whole file, or the part of it that the flags or the environment give.
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct File {
            $($(#[$attribute])* $part: Option<$kind>,)+
            $($key: Option<$limit>,)+
            tcp: Option<TcpLimits>,
        }

        impl File {
            /// Returns every key.
            pub(crate) fn keys() -> impl Iterator<Item = &'static str> {
                let top = [$($name,)+ $(stringify!($key),)+];
                top.into_iter().chain(TcpLimits::KEYS.iter().copied())
            }

            /// Returns these values, and those of `other` for what these leave out.
            pub(crate) fn or(self, other: Self) -> Self {
                Self {
                    $($part: self.$part.or(other.$part),)+
                    $($key: self.$key.or(other.$key),)+
                    tcp: match (self.tcp, other.tcp) {
                        (Some(ours), Some(theirs)) => Some(ours.or(theirs)),
                        (ours, theirs) => ours.or(theirs),
                    },
                }
            }

            /// Returns the keys that have a value.
            pub(crate) fn given(&self) -> Vec<&'static str> {
                let given = [
                    $(($name, self.$part.is_some()),)+
                    $((stringify!($key), self.$key.is_some()),)+
                ];
                let given = given.into_iter().filter(|(_, is)| *is).map(|(key, _)| key);
                given.chain(self.tcp.iter().flat_map(TcpLimits::given)).collect()
            }

            /// Separates the settings of the daemon from the stack's.
            pub(crate) fn split(self) -> (Parts, Config) {
                let mut config = default_config();
                $(if let Some(value) = self.$key { Setting::set(value, &mut config.$key); })+
                if let Some(tcp) = self.tcp {
                    tcp.apply(&mut config.tcp);
                }
                let parts = Parts { $($part: self.$part.map($convert),)+ };
                (parts, config)
            }
        }

        /// Returns each key of the stack with its value, as the file writes it.
        pub(crate) fn show_limits(config: &Config) -> Vec<(&'static str, String)> {
            let mut shown = vec![$((stringify!($key), <$limit as Setting<_>>::show(&config.$key)),)+];
            shown.extend(TcpLimits::show(&config.tcp));
            shown
        }
    };
}

limits! {
    /// `[tcp]`
    #[serde(expecting = "a table of TCP limits that begins with the line [tcp]")]
    TcpLimits for TcpConfig, "tcp." {
        recv_buffer_initial: Whole<usize>,
        recv_buffer_max: Whole<usize>,
        send_buffer_initial: Whole<usize>,
        send_buffer: Whole<usize>,
        rto_min: Span,
        rto_initial: Span,
        rto_max: Span,
        delayed_ack: Span,
        quick_acks: Whole<u8>,
        syn_retries: Whole<u8>,
        data_retries: Whole<u8>,
        time_wait: Span,
        fin_wait_2: Span,
        user_timeout: Span,
        orphan_timeout: Span,
        keepalive_idle: Span,
        keepalive_interval: Span,
        keepalive_probes: Whole<u8>,
        user_timeout_option: Switch,
        nagle: Switch,
        timestamps: Switch,
        sack: Switch,
        rack_tlp: Switch,
        ecn: Switch,
        ecn_offer: Switch,
        accurate_ecn: Switch,
        window_scaling: Switch,
        initial_window_segments: Whole<u32>,
        congestion: Congestion,
        bbr_loss_percent: Whole<u8>,
        path_metrics: Switch,
        pacing: Switch,
        max_reassembly_ranges: Whole<usize>,
        backlog: Whole<usize>,
        fast_open_backlog: Whole<usize>,
        min_mss: Whole<u16>,
        max_mss: Whole<u16>,
        mtu_probing: Probing,
        mtu_probe_base: Whole<u16>,
    }
}

file! {
    parts {
        tun, "tun": TunName = |name| name;
        #[serde(rename = "tun-fd")]
        tun_fd, "tun-fd": Descriptors = |fds| fds;
        prepared, "prepared": Switch = |switch| switch.0;
        #[serde(default, deserialize_with = "net4")]
        addr, "addr": Ipv4Net = |net| net;
        #[serde(default, deserialize_with = "net6")]
        addr6, "addr6": Ipv6Net = |net| net;
        addresses, "addresses": List<Address> = |list| list.0;
        routes, "routes": List<RouteText> = |list| list.0;
        #[serde(rename = "host-addr", default, deserialize_with = "ip4")]
        host_addr, "host-addr": Ipv4Addr = |address| address;
        #[serde(rename = "host-addr6", default, deserialize_with = "ip6")]
        host_addr6, "host-addr6": Ipv6Addr = |address| address;
        mtu, "mtu": Whole<u16> = |mtu| mtu.0;
        queues, "queues": Queues = |queues| queues;
        #[serde(default, deserialize_with = "offload")]
        offload, "offload": OffloadMode = |mode| mode;
        services, "services": Services = |services| services;
        pcap, "pcap": PathBuf = |path| path;
        #[serde(default, deserialize_with = "admin")]
        admin, "admin": SocketAddr = |address| address;
        #[serde(default, deserialize_with = "dashboard")]
        dashboard, "dashboard": SocketAddr = |address| address;
        log, "log": Levels = |levels| levels;
        #[serde(rename = "log-format", default, deserialize_with = "log_format")]
        log_format, "log-format": LogFormat = |form| form;
        control, "control": ControlPath = |path| path;
        #[serde(rename = "control-mode", default, deserialize_with = "mode")]
        control_mode, "control-mode": u32 = |mode| mode;
        user, "user": Account = |account| account;
        group, "group": Account = |account| account;
        #[serde(default, deserialize_with = "sandbox")]
        sandbox, "sandbox": Sandbox = |sandbox| sandbox;
        grace, "grace": Span = |span| span.0;
        #[serde(rename = "http-root")]
        http_root, "http-root": PathBuf = |path| path;
        #[serde(rename = "http-listing")]
        http_listing, "http-listing": Switch = |switch| switch.0;
        #[serde(rename = "http-header-timeout")]
        http_header_timeout, "http-header-timeout": Span = |span| span.0;
        #[serde(rename = "http-requests")]
        http_requests, "http-requests": Whole<u32> = |count| count.0;
        #[serde(rename = "connections-per-peer")]
        connections_per_peer, "connections-per-peer": Whole<u32> = |count| count.0;
        #[serde(default, deserialize_with = "upstream")]
        upstream, "upstream": Upstream = |upstream| upstream;
        rules, "rules": RuleList = |rules| rules;
    }
    limits {
        max_connections: Whole<usize>,
        max_half_open: Whole<usize>,
        max_time_wait: Whole<usize>,
        memory_bytes: Whole<usize>,
        max_large_slabs: Whole<usize>,
        max_small_slabs: Whole<usize>,
        udp_queue_datagrams: Whole<usize>,
        udp_queue_bytes: Whole<usize>,
        reassembly_slots: Whole<usize>,
        reassembly_bytes: Whole<usize>,
        reassembly_timeout: Span,
        icmp_errors_per_second: Whole<u32>,
        icmp_error_burst: Whole<u32>,
        path_mtu_entries: Whole<usize>,
        ephemeral_port_first: Whole<u16>,
        ephemeral_port_last: Whole<u16>,
        ttl: Whole<u8>,
        busy_poll: Span,
    }
}

/// The values of flags.
#[derive(Debug)]
pub(crate) struct Flags {
    pub(crate) tun: Option<TunName>,
    pub(crate) tun_fd: Option<Descriptors>,
    pub(crate) prepared: bool,
    pub(crate) addr: Option<Ipv4Net>,
    pub(crate) addr6: Option<Ipv6Net>,
    pub(crate) host_addr: Option<Ipv4Addr>,
    pub(crate) host_addr6: Option<Ipv6Addr>,
    pub(crate) mtu: Option<u16>,
    pub(crate) queues: Option<Queues>,
    pub(crate) offload: Option<OffloadMode>,
    pub(crate) services: Option<Services>,
    pub(crate) memory_bytes: Option<usize>,
    pub(crate) pcap: Option<PathBuf>,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) dashboard: Option<SocketAddr>,
    pub(crate) log: Option<Levels>,
    pub(crate) log_format: Option<LogFormat>,
    pub(crate) control: Option<ControlPath>,
    pub(crate) control_mode: Option<u32>,
    pub(crate) http_root: Option<PathBuf>,
    pub(crate) http_listing: bool,
    pub(crate) user: Option<Account>,
    pub(crate) group: Option<Account>,
    pub(crate) sandbox: Option<Sandbox>,
}

impl File {
    /// Returns what the flags give.
    pub(crate) fn from_flags(flags: Flags) -> Self {
        Self {
            tun: flags.tun,
            tun_fd: flags.tun_fd,
            prepared: flags.prepared.then_some(Switch(true)),
            addr: flags.addr,
            addr6: flags.addr6,
            host_addr: flags.host_addr,
            host_addr6: flags.host_addr6,
            mtu: flags.mtu.map(Whole),
            queues: flags.queues,
            offload: flags.offload,
            services: flags.services,
            memory_bytes: flags.memory_bytes.map(Whole),
            pcap: flags.pcap,
            admin: flags.admin,
            dashboard: flags.dashboard,
            log: flags.log,
            log_format: flags.log_format,
            control: flags.control,
            control_mode: flags.control_mode,
            http_root: flags.http_root,
            http_listing: flags.http_listing.then_some(Switch(true)),
            user: flags.user,
            group: flags.group,
            sandbox: flags.sandbox,
            ..Self::default()
        }
    }
}
