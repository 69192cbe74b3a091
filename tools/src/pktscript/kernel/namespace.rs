//! The network namespace of a script against the kernel, with a TUN device.

use std::fs;

use crate::live::namespace::{Tun, await_v6, enter_new, ip, set};
use crate::pktscript::settings::{Profile, Settings};

/// Name of the device, which scripts use in commands.
pub(in crate::pktscript) const DEVICE: &str = "tun0";

/// The settings that the scripts of packetdrill's own suite take for granted.
const SUITE: &[(&str, &str)] = &[
    ("net.ipv4.tcp_rmem", "4096 540000 15728640"),
    ("net.ipv4.tcp_wmem", "4096 262144 4194304"),
    ("net.ipv4.tcp_syn_retries", "5"),
    ("net.ipv4.tcp_synack_retries", "5"),
    ("net.ipv4.tcp_slow_start_after_idle", "0"),
    ("net.ipv4.tcp_ecn", "0"),
    ("net.ipv4.tcp_congestion_control", "cubic"),
];

/// Moves this thread to a namespace of its own with a device, and applies the settings. What the kernel does not have is
/// left in [`Settings::missing`].
///
/// # Errors
/// The process may not make a namespace or a device.
pub(super) fn new(settings: &mut Settings) -> Result<Tun, String> {
    enter_new()?;
    let tun = Tun::new(DEVICE, settings.mtu)?;
    let local = settings.local;
    if settings.v6 {
        // Without waiting for answers about the address.
        set("net.ipv6.conf.all.accept_dad", "0");
        ip(&format!("-6 addr add {local}/64 dev {DEVICE} nodad"))?;
        ip(&format!("link set {DEVICE} up"))?;
        ip(&format!("-6 route replace default dev {DEVICE}"))?;
        await_v6(DEVICE, Some(local));
    } else {
        ip(&format!("addr add {local}/16 dev {DEVICE}"))?;
        ip(&format!("link set {DEVICE} up"))?;
        ip(&format!("route replace default dev {DEVICE}"))?;
    }
    settings.missing.clear();
    if settings.profile == Profile::LinuxSuite {
        for (name, value) in SUITE {
            set(name, value);
        }
    }
    for (name, value) in settings.requested.clone() {
        if !set(&name, &value) {
            settings.missing.push(format!("{name}={value}"));
        }
    }
    Ok(tun)
}

/// Returns the number of TCP sockets of the namespace in a state.
pub(super) fn count(state: &str) -> Option<usize> {
    let number = match state {
        "ESTABLISHED" => "01",
        "SYN_SENT" => "02",
        "SYN_RCVD" => "03",
        "TIME_WAIT" => "06",
        "CLOSE_WAIT" => "08",
        _ => return None,
    };
    let mut found = 0;
    for table in ["tcp", "tcp6"] {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{table}")).ok()?;
        found += text
            .lines()
            .skip(1)
            .filter(|line| line.split_whitespace().nth(3) == Some(number))
            .count();
    }
    Some(found)
}
