//! The kernel's side of a TUN device: link settings and addresses, over netlink.
//!
//! Used while a device is opened; afterwards only the news of the link are read. Works in the network namespace of the calling thread.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use netlink_packet_route::link::InfoKind;
use rustix::io::Errno;

use super::{DeviceError, TunConfig};

mod netlink;
mod news;

use netlink::Netlink;
pub(super) use news::LinkNews;

/// Packets that the kernel queues for the device before it drops. The default of 500 is less than the
/// windows of a few connections, and the sender learns nothing of the drops.
const TX_QUEUE_PACKETS: u32 = 10_000;

/// Number of times that the kernel is asked whether an IPv6 address is usable yet. A busy kernel may take seconds, while it
/// removes other namespaces.
const ROUTE_TRIES: u32 = 10_000;
/// Pause between two of these questions.
const ROUTE_WAIT: Duration = Duration::from_millis(1);

/// A TUN device that exists and that no program has open.
pub(super) struct Existing {
    /// It must be opened with multiple queues.
    pub(super) multi_queue: bool,
    /// MTU in bytes.
    pub(super) mtu: u16,
}

/// Returns the device of that name, or `None` if the name is free.
///
/// # Errors
/// The name belongs to another kind of interface, or the device is in use or made for a single queue.
pub(super) fn find(config: &TunConfig) -> Result<Option<Existing>, DeviceError> {
    let existing = Netlink::open()
        .and_then(|mut netlink| netlink.link(&config.name))
        .map_err(|source| os(config, "looked up", source))?;
    let Some(link) = existing else {
        return Ok(None);
    };
    let name = config.name.clone();
    match link.kind {
        Some(InfoKind::Tun) if link.tap => Err(DeviceError::NotATun {
            name,
            kind: "tap".to_owned(),
        }),
        Some(InfoKind::Tun) if link.busy => Err(DeviceError::Busy { name }),
        Some(InfoKind::Tun) if config.queues > 1 && !link.multi_queue => {
            Err(DeviceError::Mismatch {
                name,
                made: "for a single queue (without multi_queue)",
            })
        }
        Some(InfoKind::Tun) => Ok(Some(Existing {
            multi_queue: link.multi_queue,
            // The kernel allows a TUN device at most 65,535.
            mtu: u16::try_from(link.mtu).unwrap_or(u16::MAX),
        })),
        kind => Err(DeviceError::NotATun {
            name,
            kind: kind.map_or_else(|| "physical or built-in".to_owned(), |k| k.to_string()),
        }),
    }
}

/// Brings the kernel's side of a device into the configured state: MTU, queue length, addresses, up. Of a
/// device that existed before, changes only what differs.
pub(super) fn set_up(config: &TunConfig, existed: bool) -> Result<(), DeviceError> {
    let mut netlink = Netlink::open().map_err(|source| os(config, "configured", source))?;
    let link = netlink
        .link(&config.name)
        .and_then(|link| link.ok_or_else(|| Errno::NODEV.into()))
        .map_err(|source| os(config, "found again", source))?;
    let missing = missing_addresses(&mut netlink, config, &link)?;
    set_limits(&mut netlink, config, &link, existed)?;
    if !link.up {
        netlink
            .set_up(link.index)
            .map_err(|source| os(config, "brought up", source))?;
    }
    if !existed {
        // The TUN queue drops what is not read in time. A queueing discipline in front of it changes
        // nothing about that and costs the sender a few per cent. The device works with one, too.
        let _ = netlink.set_unqueued(link.index);
    }
    let is_new_v6 = missing.iter().any(|address| address.ours.is_ipv6());
    for address in missing {
        let Address { ours, prefix, peer } = address;
        netlink
            .add_address(link.index, ours, prefix, peer)
            .map_err(|source| match Errno::from_io_error(&source) {
                Some(Errno::ACCESS | Errno::OPNOTSUPP | Errno::AFNOSUPPORT) if ours.is_ipv6() => {
                    DeviceError::Ipv6Off {
                        name: config.name.clone(),
                    }
                }
                _ => os(config, "given its address", source),
            })?;
    }
    let checked = |source| os(config, "checked for its addresses", source);
    if let Some((address, _)) = config.host_v6 {
        wait_for_route(&mut netlink, address, |route| route.is_local).map_err(checked)?;
        // The route to the other end comes after that to the address itself.
        if let Some(peer) = config.peer_v6.filter(|_| is_new_v6) {
            let leads_here = |route: &netlink::Route| route.index == Some(link.index);
            wait_for_route(&mut netlink, peer, leads_here).map_err(checked)?;
        }
    }
    Ok(())
}

/// An address of the kernel's side.
struct Address {
    ours: IpAddr,
    prefix: u8,
    peer: Option<IpAddr>,
}

/// Returns the configured addresses that the device does not have yet.
fn missing_addresses(
    netlink: &mut Netlink,
    config: &TunConfig,
    link: &netlink::Link,
) -> Result<Vec<Address>, DeviceError> {
    let v4 = config.host_v4.map(|(ours, prefix)| Address {
        ours: ours.into(),
        prefix,
        peer: config.peer_v4.map(IpAddr::from),
    });
    let v6 = config.host_v6.map(|(ours, prefix)| Address {
        ours: ours.into(),
        prefix,
        peer: config.peer_v6.map(IpAddr::from),
    });
    let mut missing = Vec::new();
    for address in [v4, v6].into_iter().flatten() {
        let holders = netlink
            .holders(address.ours)
            .map_err(|source| os(config, "checked for its addresses", source))?;
        if let Some((other, _)) = holders.iter().find(|(index, _)| *index != link.index) {
            return Err(DeviceError::AddressInUse {
                address: address.ours,
                interface: netlink.name_of(*other),
            });
        }
        if !holders.contains(&(link.index, address.prefix)) {
            missing.push(address);
        }
    }
    Ok(missing)
}

fn set_limits(
    netlink: &mut Netlink,
    config: &TunConfig,
    link: &netlink::Link,
    existed: bool,
) -> Result<(), DeviceError> {
    // The queue length of a device that existed before is its owner's choice.
    let queue_packets = (!existed).then_some(TX_QUEUE_PACKETS);
    if queue_packets.is_none() && link.mtu == u32::from(config.mtu) {
        return Ok(());
    }
    netlink
        .set_limits(link.index, config.mtu, queue_packets)
        .map_err(|source| match Errno::from_io_error(&source) {
            Some(Errno::INVAL) => DeviceError::Mtu {
                name: config.name.clone(),
                mtu: config.mtu,
                why: "the kernel refuses it",
                min: 68,
                max: u16::MAX,
            },
            _ => os(config, "given its MTU", source),
        })
}

/// Waits until the kernel's route to `address` is as `wanted`, which takes a moment after the address was added, even without
/// duplicate address detection. Gives up after [`ROUTE_TRIES`] questions; the address becomes usable later then.
fn wait_for_route(
    netlink: &mut Netlink,
    address: Ipv6Addr,
    wanted: impl Fn(&netlink::Route) -> bool,
) -> io::Result<()> {
    for _ in 0..ROUTE_TRIES {
        match netlink.route(address) {
            Ok(route) if wanted(&route) => break,
            Ok(_) => std::thread::sleep(ROUTE_WAIT),
            // No route there yet.
            Err(error) if error.raw_os_error() == Some(Errno::NETUNREACH.raw_os_error()) => {
                std::thread::sleep(ROUTE_WAIT);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Converts the error of a failed step: [`DeviceError::NotPermitted`] for a missing privilege, else
/// [`DeviceError::Os`].
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

/// Returns the number of packets that the kernel has dropped at interface `name` because the device's
/// queue was full, since the interface was created. Works in the network namespace of the calling
/// thread.
///
/// # Errors
/// The interface does not exist, or netlink is not available.
pub fn kernel_drops(name: &str) -> io::Result<u64> {
    match Netlink::open()?.link(name)? {
        Some(link) => Ok(link.tx_dropped),
        None => Err(Errno::NODEV.into()),
    }
}
