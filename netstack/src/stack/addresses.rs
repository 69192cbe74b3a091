//! Changes of the host's addresses while it runs.
//!
//! A worker takes them up at the beginning of its next turn.

use std::net::IpAddr;

use super::foreign::locked;
use super::host::Host;
pub use super::ip::addressing::AddressChangeError;
use super::multicast::app::ring;
use super::tcp::control;
use crate::ip::multicast::packets::link_local;
use crate::ip::prefix::Prefix;

/// Adds an address with its subnet.
///
/// # Errors
/// The host has it already, or no host can have it.
pub fn add(host: &Host, prefix: Prefix) -> Result<(), AddressChangeError> {
    host.link.validate(prefix.address().is_ipv6())?;
    let before = link_local(&host.ip.addressing.get().addresses);
    host.ip
        .addressing
        .change(|addressing| addressing.add(prefix))?;
    let after = link_local(&host.ip.addressing.get().addresses);
    if before.is_unspecified() && !after.is_unspecified() {
        // Routers ignored the reports that had no source.
        let now = host.clock.now();
        locked(|key| host.groups.report_all_v6(&mut key.ctx(), now));
        ring(host);
    }
    Ok(())
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
    host.link.validate(prefix.address().is_ipv6())?;
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
