//! Why a device could not be opened: one sentence each that says what, where, and what to do.

use std::io;
use std::net::IpAddr;

/// Why a TUN device could not be opened or set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The kernel offers no TUN devices here.
    #[error(
        "/dev/net/tun does not exist ({source}): load the kernel's tun module (modprobe tun), or hand \
         the device into the container (--device /dev/net/tun)"
    )]
    NoTun {
        /// What opening it said.
        source: io::Error,
    },
    /// The user may not open `/dev/net/tun`.
    #[error(
        "/dev/net/tun may not be opened ({source}): run as root, or give this user read and write \
         access to it"
    )]
    TunNotAccessible {
        /// What opening it said.
        source: io::Error,
    },
    /// The program may not create interfaces in this network namespace.
    #[error(
        "TUN device {name} may not be {action} here: run with CAP_NET_ADMIN in this network namespace \
         (as root, or in a user and network namespace of your own: unshare -rn)"
    )]
    NotPermitted {
        /// The interface's name.
        name: String,
        /// What was attempted.
        action: &'static str,
    },
    /// No interface can have this name.
    #[error(
        "\"{name}\" cannot be the name of a TUN device, {why}: choose 1 to 15 letters, digits, \
             '-' or '_'"
    )]
    BadName {
        /// The name as given.
        name: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// Another program holds the device.
    #[error(
        "TUN device {name} is in use by another program: stop that program, or choose another name"
    )]
    Busy {
        /// The interface's name.
        name: String,
    },
    /// The name belongs to something that is not a TUN device.
    #[error(
        "{name} is an interface of another kind ({kind}), not a TUN device: choose another name"
    )]
    NotATun {
        /// The interface's name.
        name: String,
        /// What the kernel says it is.
        kind: String,
    },
    /// A device of that name was made beforehand, with other properties.
    #[error(
        "TUN device {name} exists already and was made {made}: delete it (ip link del {name}) or make \
         it again that way, or choose another name"
    )]
    Mismatch {
        /// The interface's name.
        name: String,
        /// Which way it was made.
        made: &'static str,
    },
    /// The address is on another interface of this host.
    #[error(
        "address {address} is already in use on interface {interface}: choose another host address"
    )]
    AddressInUse {
        /// The address that was asked for.
        address: IpAddr,
        /// Who has it.
        interface: String,
    },
    /// Not an address that a host can have.
    #[error(
        "{address}/{prefix} cannot be the host's address on TUN device {name}, {why}: give a unicast \
             address and the length of its subnet's prefix"
    )]
    BadAddress {
        /// The interface's name.
        name: String,
        /// The address as given.
        address: IpAddr,
        /// The prefix length as given.
        prefix: u8,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// IPv6 is switched off for new interfaces here.
    #[error(
        "IPv6 is switched off on TUN device {name}: set net.ipv6.conf.default.disable_ipv6 to 0 in this \
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
        /// How many were asked for.
        queues: usize,
        /// Why not.
        why: &'static str,
        /// Fewest possible.
        min: usize,
        /// Most possible.
        max: usize,
    },
    /// The MTU is outside what IP allows.
    #[error("TUN device {name} cannot have an MTU of {mtu}, {why}: choose {min} to {max}")]
    Mtu {
        /// The interface's name.
        name: String,
        /// Bytes asked for.
        mtu: u16,
        /// Why not.
        why: &'static str,
        /// Smallest possible, in bytes.
        min: u16,
        /// Largest possible, in bytes.
        max: u16,
    },
    /// Offload was demanded and the kernel has none.
    #[error(
        "TUN device {name} has no segmentation offload on this kernel ({source}): ask for offload auto \
         or off"
    )]
    NoOffload {
        /// The interface's name.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A step that hardly ever fails did.
    #[error(
        "TUN device {name} could not be {action} ({source}): see what the kernel's log says about it"
    )]
    Os {
        /// The interface's name.
        name: String,
        /// What was attempted.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}
