//! The configuration of a daemon for a script, and what it cannot be given.

use std::time::Duration;

use netstack::base::Config;

use crate::pktscript::settings::Settings;

/// Settings that are of sockets or of the script's own host, so that a daemon has none.
const OF_SOCKETS: [&str; 4] = [
    "net.ipv4.tcp_keepalive_time",
    "net.inet.tcp.keepidle",
    "net.ipv4.tcp_fastopen",
    "net.ipv4.tcp_fastopen_key",
];

/// Returns the keys of netstackd for a configuration: all that settings of scripts change.
pub(super) fn keys(config: &Config) -> Vec<String> {
    let time = |time: Duration| format!("{}us", time.as_micros());
    let tcp = &config.tcp;
    [
        ("recv_buffer_initial", tcp.recv_buffer_initial.to_string()),
        ("recv_buffer_max", tcp.recv_buffer_max.to_string()),
        ("send_buffer_initial", tcp.send_buffer_initial.to_string()),
        ("send_buffer", tcp.send_buffer.to_string()),
        ("rto_initial", time(tcp.rto_initial)),
        ("delayed_ack", time(tcp.delayed_ack)),
        ("quick_acks", tcp.quick_acks.to_string()),
        ("syn_retries", tcp.syn_retries.to_string()),
        ("data_retries", tcp.data_retries.to_string()),
        ("fin_wait_2", time(tcp.fin_wait_2)),
        ("keepalive_interval", time(tcp.keepalive_interval)),
        ("keepalive_probes", tcp.keepalive_probes.to_string()),
        ("timestamps", tcp.timestamps.to_string()),
        ("sack", tcp.sack.to_string()),
        ("rack_tlp", tcp.rack_tlp.to_string()),
        ("window_scaling", tcp.window_scaling.to_string()),
        ("ecn", tcp.ecn.to_string()),
        ("ecn_offer", tcp.ecn_offer.to_string()),
        ("accurate_ecn", tcp.accurate_ecn.to_string()),
        ("congestion", tcp.congestion.name().to_owned()),
        ("path_metrics", tcp.path_metrics.to_string()),
        ("pacing", tcp.pacing.to_string()),
    ]
    .map(|(key, value)| format!("tcp.{key}={value}"))
    .into()
}

/// Adds what a daemon cannot be given to [`Settings::missing`].
pub(super) fn note_missing(settings: &mut Settings) {
    for (name, value) in &settings.requested {
        let what = format!("{name}={value}");
        if OF_SOCKETS.contains(&name.as_str()) && !settings.missing.contains(&what) {
            settings.missing.push(what);
        }
    }
}
