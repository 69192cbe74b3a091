//! A network namespace with a TUN device.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::pktscript::settings::{Profile, Settings};

/// Name of the device, which scripts use in commands.
const DEVICE: &str = "tun0";

/// Time after which a device carries IPv6.
const V6_READY: Duration = Duration::from_millis(300);

/// Room for the largest packet.
const LARGEST: usize = 65_600;

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

/// A network namespace of this thread.
pub(super) struct Namespace {
    tun: SyncDevice,
}

/// Runs `ip` with these arguments, in the namespace of this thread.
pub(crate) fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .map_err(|error| format!("the command `ip` cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {arguments}: {}", text.trim()))
}

impl Namespace {
    /// Moves this thread to a new namespace and makes its device.
    pub(super) fn new(settings: &mut Settings) -> Result<Self, String> {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| {
            format!(
                "a network namespace cannot be made: {}: run this as root, or under `unshare --user --map-root-user`",
                errno.desc()
            )
        })?;
        let tun = DeviceBuilder::new()
            .name(DEVICE)
            .offload(false)
            .mtu(settings.mtu)
            .build_sync()
            .map_err(|error| format!("the TUN device cannot be made: {error}"))?;
        tun.set_nonblocking(true)
            .map_err(|error| format!("the TUN device: {error}"))?;
        let local = settings.local;
        ip("link set lo up")?;
        if settings.v6 {
            // Without waiting for answers about the address.
            set("net.ipv6.conf.all.accept_dad", "0");
            ip(&format!("-6 addr add {local}/64 dev {DEVICE} nodad"))?;
            ip(&format!("link set {DEVICE} up"))?;
            ip(&format!("-6 route replace default dev {DEVICE}"))?;
            // The kernel takes the device for ready a moment later, and tells nobody.
            thread::sleep(V6_READY);
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
        Ok(Self { tun })
    }

    /// Returns the next packet that the kernel sent, if there is one.
    pub(super) fn receive(&self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; LARGEST];
        let len = self.tun.recv(&mut buffer).ok()?;
        buffer.truncate(len);
        Some(buffer)
    }

    /// Delivers a packet to the kernel.
    pub(super) fn send(&self, packet: &[u8]) -> Result<(), String> {
        match self.tun.send(packet) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("the TUN device takes no packet: {error}")),
        }
    }
}

/// Sets a setting of the namespace. Returns false if the kernel has none, or none for the namespace alone.
pub(super) fn set(name: &str, value: &str) -> bool {
    let is_of_namespace = name.starts_with("net.ipv4.") || name.starts_with("net.ipv6.");
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    is_of_namespace && !name.contains("..") && fs::write(path, value).is_ok()
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
