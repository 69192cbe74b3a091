//! Changes of the host's addresses while it runs.
//!
//! A worker takes them up at the beginning of its next turn.

use std::net::{IpAddr, SocketAddr};

use super::foreign::locked;
use super::host::Host;
pub use super::ip::addressing::AddressChangeError;
use super::multicast::app::ring;
use super::tcp::control;
use crate::ip::addresses::AddressTable;
use crate::ip::multicast::packets::link_local;
use crate::ip::prefix::Prefix;
use crate::ip::selection::source::AddressFlags;

/// Adds an address with its subnet.
///
/// # Errors
/// The host has it already, or no host can have it.
pub fn add(host: &Host, prefix: Prefix, flags: AddressFlags) -> Result<(), AddressChangeError> {
    host.link().validate(prefix.address().is_ipv6())?;
    let before = link_local(&host.ip.addressing.get().addresses);
    host.ip
        .addressing
        .change(|addressing| addressing.add_with(prefix, flags))?;
    let after = link_local(&host.ip.addressing.get().addresses);
    if before.is_unspecified() && !after.is_unspecified() {
        // Routers ignored the reports that had no source.
        let now = host.clock.now();
        locked(|key| host.groups.report_all_v6(&mut key.ctx(), now));
        ring(host);
    }
    Ok(())
}

/// Changes the properties of an address.
///
/// # Errors
/// The host does not have it.
pub fn set_flags(
    host: &Host,
    address: IpAddr,
    flags: AddressFlags,
) -> Result<(), AddressChangeError> {
    host.ip.addressing.change(|addressing| {
        if addressing.addresses.set_flags(address, flags) {
            Ok(())
        } else {
            Err(AddressChangeError::Unknown(Prefix::host(address)))
        }
    })
}

/// Makes a change of the address selection.
pub(crate) fn set_selection(host: &Host, change: impl FnOnce(&mut AddressTable)) {
    locked(|key| {
        let ctx = &mut key.ctx();
        let addressing = &host.ip.addressing;
        addressing.update(ctx, |addressing| change(&mut addressing.addresses));
    });
}

/// Sorts the addresses of a peer in the order in which they are to be tried.
pub(crate) fn sort_destinations(host: &Host, destinations: &mut [SocketAddr]) {
    let addressing = host.ip.addressing.get();
    let is_reachable = |dst| addressing.routes.lookup(dst).is_ok();
    addressing
        .addresses
        .sort_destinations(destinations, is_reachable);
}

/// Removes an address, and resets its connections. Connections of other addresses are not disturbed, and sockets
/// that are bound to the address stay bound: they receive again if it comes back.
///
/// # Errors
/// The host does not have it, or no other one.
pub fn remove(host: &Host, prefix: Prefix) -> Result<(), AddressChangeError> {
    host.ip
        .addressing
        .change(|addressing| addressing.remove(prefix))?;
    reset_unanswered(host);
    Ok(())
}

/// Makes the host answer for every address of a prefix.
///
/// # Errors
/// It does already, or there are too many prefixes.
pub fn add_any(host: &Host, prefix: Prefix) -> Result<(), AddressChangeError> {
    host.link().validate(prefix.address().is_ipv6())?;
    host.ip
        .addressing
        .change(|addressing| addressing.add_any(prefix))
}

/// Takes a prefix of [`add_any`] back, and resets the connections that only it made possible.
///
/// # Errors
/// The host does not have it.
pub fn remove_any(host: &Host, prefix: Prefix) -> Result<(), AddressChangeError> {
    host.ip
        .addressing
        .change(|addressing| addressing.remove_any(prefix))?;
    reset_unanswered(host);
    Ok(())
}

/// Resets the connections whose local address the host does not answer for any more.
fn reset_unanswered(host: &Host) {
    let addressing = host.ip.addressing.get();
    let answers_for =
        |address: IpAddr| addressing.addresses.answers_for(address) || address.is_loopback();
    control::abort_where(host, |local| !answers_for(local.ip()));
}
