//! The kernel's side of a TUN device: link settings and addresses, over netlink.
//!
//! Used while a device is opened, never after. Works in the network namespace of the calling thread.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use netlink_packet_route::link::InfoKind;
use rustix::io::Errno;

use super::{DeviceError, TunConfig};

mod netlink;

use netlink::Netlink;

/// Packets that the kernel keeps for us before it drops. The default of 500 is below what a few
/// connections' windows admit, and what does not fit is dropped without a word.
const TX_QUEUE_PACKETS: u32 = 10_000;

/// How often, and how far apart, the kernel is asked whether it has taken up an IPv6 address.
const LOCAL_TRIES: u32 = 1_000;
const LOCAL_WAIT: Duration = Duration::from_millis(1);

/// Looks whether the device can be made: the name is free, or that of a TUN that waits for a program.
/// Returns whether it must be opened as one of several queues, as one that exists decides.
pub(super) fn check_free(config: &TunConfig) -> Result<bool, DeviceError> {
    let several = config.queues > 1;
    let existing = Netlink::open()
        .and_then(|mut netlink| netlink.link(&config.name))
        .map_err(|source| os(config, "looked up", source))?;
    let Some(link) = existing else {
        return Ok(several);
    };
    let name = config.name.clone();
    match link.kind {
        Some(InfoKind::Tun) if link.tap => Err(DeviceError::NotATun {
            name,
            kind: "tap".to_owned(),
        }),
        Some(InfoKind::Tun) if link.busy => Err(DeviceError::Busy { name }),
        Some(InfoKind::Tun) if several && !link.multi_queue => Err(DeviceError::Mismatch {
            name,
            made: "for one queue only (without multi_queue)",
        }),
        Some(InfoKind::Tun) => Ok(link.multi_queue),
        kind => Err(DeviceError::NotATun {
            name,
            kind: kind.map_or_else(
                || "a physical or built-in one".to_owned(),
                |k| k.to_string(),
            ),
        }),
    }
}

/// Sets up the kernel's side of a device that was just made: MTU, queue length, addresses, up.
pub(super) fn set_up(config: &TunConfig) -> Result<(), DeviceError> {
    let mut netlink = Netlink::open().map_err(|source| os(config, "configured", source))?;
    let link = netlink
        .link(&config.name)
        .and_then(|link| link.ok_or_else(|| Errno::NODEV.into()))
        .map_err(|source| os(config, "found again", source))?;
    let addresses = [
        config
            .host_v4
            .map(|(address, prefix)| (IpAddr::from(address), prefix)),
        config
            .host_v6
            .map(|(address, prefix)| (IpAddr::from(address), prefix)),
    ];
    for (address, _) in addresses.into_iter().flatten() {
        let owner = netlink
            .owner_of(address, link.index)
            .map_err(|source| os(config, "checked for its addresses", source))?;
        if let Some(owner) = owner {
            return Err(DeviceError::AddressInUse {
                address,
                interface: netlink.name_of(owner),
            });
        }
    }
    netlink
        .set_limits(link.index, config.mtu, TX_QUEUE_PACKETS)
        .map_err(|source| match Errno::from_io_error(&source) {
            Some(Errno::INVAL) => DeviceError::Mtu {
                name: config.name.clone(),
                mtu: config.mtu,
                why: "the kernel has another limit",
                min: 68,
                max: u16::MAX,
            },
            _ => os(config, "given its MTU", source),
        })?;
    netlink
        .set_up(link.index)
        .map_err(|source| os(config, "switched on", source))?;
    // What we do not read in time is dropped at our queue, full or not: one in front of it only costs
    // the sender a few per cent. A kernel that keeps it works as well.
    let _ = netlink.set_unqueued(link.index);
    for (address, prefix) in addresses.into_iter().flatten() {
        netlink
            .add_address(link.index, address, prefix)
            .map_err(|source| match Errno::from_io_error(&source) {
                Some(Errno::ACCESS | Errno::OPNOTSUPP | Errno::AFNOSUPPORT)
                    if address.is_ipv6() =>
                {
                    DeviceError::Ipv6Off {
                        name: config.name.clone(),
                    }
                }
                _ => os(config, "given its address", source),
            })?;
    }
    if let Some((address, _)) = config.host_v6 {
        wait_until_local(&mut netlink, address)
            .map_err(|source| os(config, "checked for its addresses", source))?;
    }
    Ok(())
}

/// Waits until packets to the address just given are taken: the kernel sees to that in the
/// background, even without duplicate address detection. Bounded; what is not done by then, the
/// kernel does later.
fn wait_until_local(netlink: &mut Netlink, address: Ipv6Addr) -> io::Result<()> {
    for _ in 0..LOCAL_TRIES {
        match netlink.is_local(address) {
            Ok(false) => std::thread::sleep(LOCAL_WAIT),
            Ok(true) => break,
            // No route there yet.
            Err(error) if error.raw_os_error() == Some(Errno::NETUNREACH.raw_os_error()) => {
                std::thread::sleep(LOCAL_WAIT);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// An error for a step that failed, told apart only by want of privilege.
fn os(config: &TunConfig, action: &'static str, source: io::Error) -> DeviceError {
    let name = config.name.clone();
    match Errno::from_io_error(&source) {
        Some(Errno::PERM) => DeviceError::NotPermitted { name, action },
        _ => DeviceError::Os {
            name,
            action,
            source,
        },
    }
}

/// How many packets the kernel has dropped because our queue of interface `name` was full, since the
/// interface exists. Asks over netlink; works in the network namespace of the calling thread.
///
/// # Errors
/// No such interface, or no netlink.
pub fn kernel_drops(name: &str) -> io::Result<u64> {
    match Netlink::open()?.link(name)? {
        Some(link) => Ok(link.tx_dropped),
        None => Err(Errno::NODEV.into()),
    }
}
