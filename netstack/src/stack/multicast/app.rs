//! Joining and leaving groups.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::super::foreign::locked;
use super::super::host::Host;
use super::super::mailbox::Message;
use super::super::udp::socket::BoundSocket;
use crate::base::counters::Counter;
use crate::ip::multicast::groups::JoinError;

/// Lets the workers find out that a report is due.
pub(in crate::stack) fn ring(host: &Host) {
    host.workers[0].mailbox.send(Message::Timer);
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// Checks that a call of `socket` is about its family, that of `address`.
///
/// # Errors
/// `InvalidInput` if it is not.
pub(crate) fn check_family(socket: &BoundSocket, call: &str, address: IpAddr) -> io::Result<()> {
    if socket.has_family_of(address) {
        return Ok(());
    }
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    Err(invalid(format!(
        "{call}: not on a socket that is bound to {}: bind one to an address of {family}",
        socket.local()
    )))
}

/// Makes `socket` a member of `group`.
///
/// # Errors
/// `InvalidInput` for what is no multicast address, has the reserved scope 0, or is of another family than the
/// socket; `AddrInUse` if it is a member already; `AddrNotAvailable` if the stack has no address of the family;
/// `OutOfMemory` for too many groups.
pub(crate) fn join(host: &Host, socket: &Arc<BoundSocket>, group: IpAddr) -> io::Result<()> {
    host.ending.check_open()?;
    check_family(socket, "join", group)?;
    let addressing = host.ip.addressing.get();
    let mut own = addressing.addresses.iter();
    if !own.any(|prefix| prefix.address().is_ipv4() == group.is_ipv4()) {
        return Err(io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            format!("join: the stack has no address of the family of {group}: add one first"),
        ));
    }
    let (groups, addressing) = (&host.groups, &host.ip.addressing);
    let now = host.clock.now();
    let joined = locked(|key| groups.join(&mut key.ctx(), addressing, group, socket, now));
    joined.map_err(|error| refused(host, error))?;
    socket.note_joined();
    ring(host);
    Ok(())
}

fn refused(host: &Host, error: JoinError) -> io::Error {
    let kind = match error {
        JoinError::NotMulticast(_) | JoinError::ReservedScope(_) => io::ErrorKind::InvalidInput,
        JoinError::Member(_) => io::ErrorKind::AddrInUse,
        JoinError::TooMany => {
            let counters = host.workers.counters_here();
            counters.add(Counter::GroupJoinsRefused, 1);
            io::ErrorKind::OutOfMemory
        }
    };
    io::Error::new(kind, format!("join: {error}"))
}

/// Ends the membership of `socket` in `group`.
///
/// # Errors
/// `AddrNotAvailable` if it is no member.
pub(crate) fn leave(host: &Host, socket: &Arc<BoundSocket>, group: IpAddr) -> io::Result<()> {
    host.ending.check_open()?;
    let (groups, addressing) = (&host.groups, &host.ip.addressing);
    let now = host.clock.now();
    if !locked(|key| groups.leave(&mut key.ctx(), addressing, group, socket, now)) {
        return Err(io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            format!("leave: the socket is no member of {group}"),
        ));
    }
    ring(host);
    Ok(())
}

/// Ends all memberships of a socket that is closed.
pub(in crate::stack) fn leave_all(host: &Host, socket: &Arc<BoundSocket>) {
    if !socket.has_joined() {
        return;
    }
    let (groups, addressing) = (&host.groups, &host.ip.addressing);
    let now = host.clock.now();
    locked(|key| groups.leave_all(&mut key.ctx(), addressing, socket, now));
    ring(host);
}

/// Checks the interface of a call for IPv4: the unspecified address, or an address of the stack.
///
/// # Errors
/// `AddrNotAvailable` for any other address.
pub(crate) fn check_interface_v4(host: &Host, interface: Ipv4Addr) -> io::Result<()> {
    let addressing = host.ip.addressing.get();
    if interface.is_unspecified() || addressing.addresses.is_local(interface.into()) {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::AddrNotAvailable,
        format!("{interface} is no address of this stack: give one, or 0.0.0.0"),
    ))
}

/// Checks the interface of a call for IPv6: 0 for any, or 1, the stack's only one.
///
/// # Errors
/// `AddrNotAvailable` for any other number.
pub(crate) fn check_interface_v6(interface: u32) -> io::Result<()> {
    if interface <= 1 {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::AddrNotAvailable,
        format!("the stack has no interface {interface}: give 0, or 1, which is its only one"),
    ))
}
