//! Addresses and routes inside: one device, and everything behind it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::thread;
use std::time::Duration;

use futures::TryStreamExt as _;
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder, new_connection};
use tokio::runtime::Builder;

use crate::failure::Failure;
use crate::probe::now;

/// The interface inside.
pub(super) const DEVICE: &str = "tun0";
/// Addresses of the kernel inside.
const KERNEL_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const KERNEL_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
/// Addresses of the stack, which is the gateway.
pub(super) const STACK_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const STACK_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);
const PREFIX_V4: u8 = 24;
const PREFIX_V6: u8 = 64;
/// Packets that the kernel queues for the device: what a few connections may have under way.
const TX_QUEUE_PACKETS: u32 = 10_000;
/// Time that the kernel may take until an IPv6 address is usable.
const V6_READY: Duration = Duration::from_secs(5);

/// Returns the stack's addresses with the lengths of their prefixes.
pub(super) fn of_stack(v6: bool) -> Vec<(IpAddr, u8)> {
    let mut addresses = vec![(STACK_V4.into(), PREFIX_V4)];
    if v6 {
        addresses.push((STACK_V6.into(), PREFIX_V6));
    }
    addresses
}

/// Brings the device and loopback up, and routes everything to the device.
///
/// # Errors
/// The kernel refuses.
pub(super) fn set_up(v6: bool) -> Result<(), Failure> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| refused(&error.to_string()))?;
    let v6 = v6 && !is_v6_off();
    runtime
        .block_on(configure(v6))
        .map_err(|error| refused(&error))?;
    // Ping without privileges; where this is not allowed, ping needs them.
    let _ = fs::write("/proc/sys/net/ipv4/ping_group_range", {
        let gid = nix::unistd::Gid::effective();
        format!("{gid} {gid}")
    });
    if v6 {
        wait_until_usable(KERNEL_V6);
    }
    Ok(())
}

fn is_v6_off() -> bool {
    let file = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
    fs::read_to_string(file).map_or(true, |text| text.trim() != "0")
}

fn refused(why: &str) -> Failure {
    Failure::Device(format!(
        "the network inside cannot be configured ({why}): the kernel needs network namespaces and routing tables"
    ))
}

async fn configure(v6: bool) -> Result<(), String> {
    let (connection, handle, _) = new_connection().map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let text = |error: rtnetlink::Error| error.to_string();
    let loopback = index_of(&handle, "lo").await.map_err(text)?;
    let device = index_of(&handle, DEVICE).await.map_err(text)?;
    let links = [
        LinkUnspec::new_with_index(loopback).up().build(),
        LinkUnspec::new_with_index(device)
            .txqueuelen(TX_QUEUE_PACKETS)
            .up()
            .build(),
    ];
    for link in links {
        handle.link().set(link).execute().await.map_err(text)?;
    }
    let mut addresses: Vec<(IpAddr, u8)> = vec![(KERNEL_V4.into(), PREFIX_V4)];
    if v6 {
        addresses.push((KERNEL_V6.into(), PREFIX_V6));
    }
    for (address, prefix) in addresses {
        let add = handle.address().add(device, address, prefix);
        add.execute().await.map_err(text)?;
    }
    let v4_route = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(Ipv4Addr::UNSPECIFIED, 0)
        .gateway(STACK_V4)
        .output_interface(device)
        .build();
    handle.route().add(v4_route).execute().await.map_err(text)?;
    if v6 {
        let v6_route = RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(Ipv6Addr::UNSPECIFIED, 0)
            .output_interface(device)
            .build();
        handle.route().add(v6_route).execute().await.map_err(text)?;
    }
    Ok(())
}

async fn index_of(handle: &Handle, name: &str) -> Result<u32, rtnetlink::Error> {
    let mut links = handle.link().get().match_name(name.to_owned()).execute();
    let link = links.try_next().await?;
    link.map(|link| link.header.index)
        .ok_or(rtnetlink::Error::RequestFailed)
}

/// The kernel takes the device for ready a moment after it came up, and tells nobody.
fn wait_until_usable(address: Ipv6Addr) {
    let end = now() + V6_READY;
    while UdpSocket::bind((address, 0)).is_err() && now() < end {
        thread::sleep(Duration::from_millis(1));
    }
}
