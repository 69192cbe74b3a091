//! The errors of opening a device. Each message says what failed, where, and what to do.

use std::io;
use std::net::IpAddr;

/// The reason why a TUN device could not be opened or configured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// `/dev/net/tun` does not exist.
    #[error(
        "/dev/net/tun does not exist ({source}): load the kernel's tun module (modprobe tun), or pass \
         the device to the container (--device /dev/net/tun)"
    )]
    NoTun {
        /// The error of opening it.
        source: io::Error,
    },
    /// The user may not open `/dev/net/tun`.
    #[error(
        "/dev/net/tun cannot be opened ({source}): run as root, or give this user read and write \
         access to it"
    )]
    TunNotAccessible {
        /// The error of opening it.
        source: io::Error,
    },
    /// The program may not create interfaces in this network namespace.
    #[error(
        "TUN device {name} cannot be {action} without CAP_NET_ADMIN: run as root, or in a user and \
         network namespace of your own (unshare --map-root-user --net)"
    )]
    NotPermitted {
        /// The interface's name.
        name: String,
        /// The step that failed, as a participle.
        action: &'static str,
    },
    /// The name is not valid for an interface.
    #[error(
        "\"{name}\" is not a valid name for a TUN device, {why}: choose 1 to 15 letters, digits, \
             '-' or '_'"
    )]
    BadName {
        /// The name as given.
        name: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// Another program has the device open.
    #[error(
        "TUN device {name} is in use by another program: stop that program, or choose another name"
    )]
    Busy {
        /// The interface's name.
        name: String,
    },
    /// The name belongs to an interface that is not a TUN device.
    #[error(
        "{name} is an interface of another kind ({kind}), not a TUN device: choose another name"
    )]
    NotATun {
        /// The interface's name.
        name: String,
        /// Its kind, as the kernel names it.
        kind: String,
    },
    /// A persistent device of that name exists and has other properties.
    #[error(
        "TUN device {name} exists already and was created {made}: delete it (ip link del {name}) or \
         choose another name"
    )]
    Mismatch {
        /// The interface's name.
        name: String,
        /// The way in which it was created.
        made: &'static str,
    },
    /// Another interface of this host has the address.
    #[error(
        "address {address} is already in use on interface {interface}: choose another host address"
    )]
    AddressInUse {
        /// The requested address.
        address: IpAddr,
        /// The interface that has it.
        interface: String,
    },
    /// The address is not valid for a host.
    #[error(
        "{address}/{prefix} cannot be the host's address on TUN device {name}, {why}: give a unicast \
             address and the prefix length of its subnet"
    )]
    BadAddress {
        /// The interface's name.
        name: String,
        /// The address as given.
        address: IpAddr,
        /// The prefix length as given.
        prefix: u8,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// The address of the other end is not valid.
    #[error(
        "{address} cannot be the address at the other end of TUN device {name}, {why}: give a host \
         address with a prefix length of 32 (IPv6: 128), and another address as its peer"
    )]
    BadPeer {
        /// The interface's name.
        name: String,
        /// The peer's address as given.
        address: IpAddr,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// No interface of that name exists.
    #[error(
        "TUN device {name} does not exist in this network namespace: create it first (ip tuntap add \
         mode tun name {name}), or let it be created"
    )]
    NotPrepared {
        /// The interface's name.
        name: String,
    },
    /// A descriptor cannot be used.
    #[error("descriptor {fd} cannot be used as a TUN queue: {why}")]
    Descriptor {
        /// The descriptor's number.
        fd: i32,
        /// The reason, and the remedy.
        why: String,
    },
    /// IPv6 is disabled for new interfaces in this network namespace.
    #[error(
        "IPv6 is disabled on TUN device {name}: set net.ipv6.conf.default.disable_ipv6 to 0 in this \
         network namespace, or give no IPv6 host address"
    )]
    Ipv6Off {
        /// The interface's name.
        name: String,
    },
    /// The device cannot have that many queues.
    #[error("TUN device {name} cannot have {queues} queues, {why}: choose {min} to {max}")]
    Queues {
        /// The interface's name.
        name: String,
        /// The requested number.
        queues: usize,
        /// The rule that forbids it.
        why: &'static str,
        /// The smallest possible number.
        min: usize,
        /// The largest possible number.
        max: usize,
    },
    /// The MTU is outside what IP allows.
    #[error("TUN device {name} cannot have an MTU of {mtu}, {why}: choose {min} to {max}")]
    Mtu {
        /// The interface's name.
        name: String,
        /// The requested MTU, in bytes.
        mtu: u16,
        /// The rule that forbids it.
        why: &'static str,
        /// The smallest possible MTU, in bytes.
        min: u16,
        /// The largest possible MTU, in bytes.
        max: u16,
    },
    /// Offload was required, and the kernel has none.
    #[error(
        "TUN device {name} has no segmentation offload on this kernel ({source}): set offload to auto \
         or off"
    )]
    NoOffload {
        /// The interface's name.
        name: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// A step failed for a reason that has no variant of its own.
    #[error(
        "TUN device {name} could not be {action} ({source}): look for the cause in the kernel's log (dmesg)"
    )]
    Os {
        /// The interface's name.
        name: String,
        /// The step that failed, as a participle.
        action: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
}
