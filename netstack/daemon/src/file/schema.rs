//! The keys of the configuration file and their types.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use ipnet::{Ipv4Net, Ipv6Net};
use netstack::base::{Config, TcpConfig};
use netstack::device::OffloadMode;
use serde::Deserialize;

use super::value::{
    Congestion, Probing, Setting, Span, Switch, Whole, ip4, ip6, mode, net4, net6, offload,
};
use crate::settings::{Parts, default_config};
use crate::values::{ControlPath, Queues, Services, TunName};

/// Declares a table of the file whose keys are fields of a configuration struct.
macro_rules! limits {
    ($(#[$attribute:meta])* $name:ident for $target:ty { $($key:ident: $kind:ty,)+ }) => {
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        $(#[$attribute])*
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
    #[serde(expecting = "a table of TCP limits that begins with the line [tcp]")]
    TcpLimits for TcpConfig {
        recv_buffer_initial: Whole<usize>,
        recv_buffer_max: Whole<usize>,
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

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    tun: Option<TunName>,
    #[serde(default, deserialize_with = "net4")]
    addr: Option<Ipv4Net>,
    #[serde(default, deserialize_with = "net6")]
    addr6: Option<Ipv6Net>,
    #[serde(rename = "host-addr", default, deserialize_with = "ip4")]
    host_addr: Option<Ipv4Addr>,
    #[serde(rename = "host-addr6", default, deserialize_with = "ip6")]
    host_addr6: Option<Ipv6Addr>,
    mtu: Option<Whole<u16>>,
    queues: Option<Queues>,
    #[serde(default, deserialize_with = "offload")]
    offload: Option<OffloadMode>,
    services: Option<Services>,
    pcap: Option<PathBuf>,
    control: Option<ControlPath>,
    #[serde(rename = "control-mode", default, deserialize_with = "mode")]
    control_mode: Option<u32>,
    grace: Option<Span>,

    max_connections: Option<Whole<usize>>,
    max_half_open: Option<Whole<usize>>,
    max_time_wait: Option<Whole<usize>>,
    memory_bytes: Option<Whole<usize>>,
    max_large_slabs: Option<Whole<usize>>,
    max_small_slabs: Option<Whole<usize>>,
    udp_queue_datagrams: Option<Whole<usize>>,
    udp_queue_bytes: Option<Whole<usize>>,
    reassembly_slots: Option<Whole<usize>>,
    reassembly_bytes: Option<Whole<usize>>,
    reassembly_timeout: Option<Span>,
    icmp_errors_per_second: Option<Whole<u32>>,
    icmp_error_burst: Option<Whole<u32>>,
    path_mtu_entries: Option<Whole<usize>>,
    ephemeral_port_first: Option<Whole<u16>>,
    ephemeral_port_last: Option<Whole<u16>>,
    ttl: Option<Whole<u8>>,
    tcp: Option<TcpLimits>,
}

impl File {
    /// Separates what flags can say, too, from the stack's limits.
    pub(super) fn split(self) -> (Parts, Config) {
        let mut config = default_config();
        macro_rules! apply {
            ($($key:ident),+ $(,)?) => {
                $(if let Some(value) = self.$key { Setting::set(value, &mut config.$key); })+
            };
        }
        apply!(
            max_connections,
            max_half_open,
            max_time_wait,
            memory_bytes,
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
            mtu: self.mtu.map(|mtu| mtu.0),
            queues: self.queues,
            offload: self.offload,
            services: self.services,
            pcap: self.pcap,
            control: self.control,
            control_mode: self.control_mode,
            grace: self.grace.map(|span| span.0),
        };
        (parts, config)
    }
}
