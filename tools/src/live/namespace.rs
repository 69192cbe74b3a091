//! Network namespaces, and a TUN device in one.
//!
//! A namespace belongs to a thread. One that is made here ends with its thread, with everything in it.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};
use tun_rs::{DeviceBuilder, SyncDevice};

/// Number of looks, at most, at whether a device carries IPv6, and the pause between two of them.
const V6_LOOKS: u32 = 1_000;
const V6_PAUSE: Duration = Duration::from_millis(10);
/// The mark of an address in `/proc/net/if_inet6` that the kernel still checks.
const TENTATIVE: u32 = 0x40;

/// Room for the largest packet.
const LARGEST: usize = 65_600;

/// Moves this thread to a new namespace, with its loopback up.
///
/// # Errors
/// The process may not make one.
pub(crate) fn enter_new() -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| {
        format!(
            "a network namespace cannot be made: {}: run this as root, or under `unshare --user --map-root-user`",
            errno.desc()
        )
    })?;
    ip("link set lo up")
}

/// Moves this thread to a namespace that there is.
///
/// # Errors
/// There is none, or it may not be entered.
pub(crate) fn enter(path: &Path) -> Result<(), String> {
    let namespace = File::open(path).map_err(|error| {
        format!(
            "the namespace {} cannot be opened ({error}): name one of `ip netns`, a process or a file",
            path.display()
        )
    })?;
    setns(&namespace, CloneFlags::CLONE_NEWNET).map_err(|errno| {
        format!(
            "the namespace {} cannot be entered ({}): run this as root",
            path.display(),
            errno.desc()
        )
    })
}

/// Returns the path of a namespace: a name of `ip netns`, the number of a process, or a path.
pub(crate) fn path_of(namespace: &str) -> PathBuf {
    if namespace.contains('/') {
        PathBuf::from(namespace)
    } else if namespace.bytes().all(|byte| byte.is_ascii_digit()) {
        PathBuf::from(format!("/proc/{namespace}/ns/net"))
    } else {
        PathBuf::from(format!("/run/netns/{namespace}"))
    }
}

/// Runs `ip` with these arguments.
///
/// # Errors
/// Its sentence.
pub(crate) fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .map_err(|error| format!("the command `ip` cannot be run ({error}): install iproute2"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {arguments}: {}", text.trim()))
}

/// Sets a setting of the namespace. Returns false if the kernel has none, or none for the namespace alone.
pub(crate) fn set(name: &str, value: &str) -> bool {
    let is_of_namespace = name.starts_with("net.ipv4.") || name.starts_with("net.ipv6.");
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    is_of_namespace && !name.contains("..") && fs::write(path, value).is_ok()
}

/// Returns once `device`, which has just been set up, carries IPv6, and `local` is an address of the kernel. The kernel
/// takes a device for ready a moment later, and gives it its link-local address then. Gives up after ten seconds.
pub(crate) fn await_v6(device: &str, local: Option<IpAddr>) {
    for _ in 0..V6_LOOKS {
        if is_ready(device) && local.is_none_or(is_local) {
            return;
        }
        thread::sleep(V6_PAUSE);
    }
}

/// Returns true if the device has a link-local address, and no address that is still checked.
fn is_ready(device: &str) -> bool {
    let addresses = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let mut has_link_local = false;
    for line in addresses.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [address, _, _, _, flags, name] = words[..]
            && name == device
        {
            if u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & TENTATIVE != 0) {
                return false;
            }
            has_link_local |= address.starts_with("fe80");
        }
    }
    has_link_local
}

/// Returns true if the kernel takes packets to `address` for its own.
fn is_local(address: IpAddr) -> bool {
    Command::new("ip")
        .args(["-6", "route", "get", &address.to_string()])
        .output()
        .is_ok_and(|output| output.stdout.starts_with(b"local "))
}

/// A TUN device. Its other side is whoever holds this.
pub(crate) struct Tun(SyncDevice);

impl Tun {
    /// Makes a device in the namespace of this thread.
    ///
    /// # Errors
    /// The process may not make one, or there is one of this name.
    pub(crate) fn new(name: &str, mtu: u16) -> Result<Self, String> {
        let device = DeviceBuilder::new()
            .name(name)
            .offload(false)
            .mtu(mtu)
            .build_sync()
            .map_err(|error| {
                format!(
                    "the TUN device {name} cannot be made ({error}): run this as root where /dev/net/tun is, and \
                     where no device has this name"
                )
            })?;
        device
            .set_nonblocking(true)
            .map_err(|error| format!("the TUN device {name}: {error}"))?;
        Ok(Self(device))
    }

    /// Returns the next packet that the kernel sent, if there is one.
    pub(crate) fn receive(&self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; LARGEST];
        let len = self.0.recv(&mut buffer).ok()?;
        buffer.truncate(len);
        Some(buffer)
    }

    /// Delivers a packet to the kernel.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub(crate) fn send(&self, packet: &[u8]) -> Result<(), String> {
        match self.0.send(packet) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("the TUN device takes no packet: {error}")),
        }
    }
}
