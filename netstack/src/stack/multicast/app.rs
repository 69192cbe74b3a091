//! Joining and leaving groups, and sources of them.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::super::foreign::locked;
use super::super::host::Host;
use super::super::mailbox::Message;
use super::super::udp::socket::BoundSocket;
use crate::base::counters::Counter;
use crate::ip::multicast::change::{Change, GroupError};

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

/// Changes the membership of `socket` in `group`, for the call of that name.
///
/// # Errors
/// `InvalidInput` for what is no multicast address, has the reserved scope 0, or is of another family than the
/// socket, for a source that is no host of that family, and for one of the other mode than those before or without a
/// membership; `AddrInUse` if it is a member already; `AddrNotAvailable` for what is to be left and was not joined, for
/// a source that is there already or is not, and if the stack has no address of the family; `OutOfMemory` for too many
/// groups or sources.
pub(crate) fn change(
    host: &Host,
    socket: &Arc<BoundSocket>,
    call: &str,
    group: IpAddr,
    change: Change,
) -> io::Result<()> {
    host.ending.check_open()?;
    if matches!(change, Change::Join | Change::JoinSource(_)) {
        check_family(socket, call, group)?;
        check_own_address(host, call, group)?;
    }
    let (groups, addressing) = (&host.groups, &host.ip.addressing);
    let now = host.clock.now();
    let changed = locked(|key| {
        let change = (group, socket, change);
        groups.change(&mut key.ctx(), addressing, change, now)
    });
    changed.map_err(|error| refused(host, call, change, error))?;
    socket.note_joined();
    ring(host);
    Ok(())
}

/// Checks that the stack has an address of the family of `group`.
fn check_own_address(host: &Host, call: &str, group: IpAddr) -> io::Result<()> {
    let addressing = host.ip.addressing.get();
    let mut own = addressing.addresses.iter();
    if own.any(|prefix| prefix.address().is_ipv4() == group.is_ipv4()) {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::AddrNotAvailable,
        format!("{call}: the stack has no address of the family of {group}: add one first"),
    ))
}

/// Returns the error of a refused change, of Linux's kind.
fn refused(host: &Host, call: &str, change: Change, error: GroupError) -> io::Error {
    let kind = match error {
        GroupError::NotMember(_) if change == Change::Leave => io::ErrorKind::AddrNotAvailable,
        GroupError::Listed(_) | GroupError::NotListed(_) => io::ErrorKind::AddrNotAvailable,
        GroupError::NotMulticast(_)
        | GroupError::ReservedScope(_)
        | GroupError::NotMember(_)
        | GroupError::NotSource(_)
        | GroupError::OtherMode(_) => io::ErrorKind::InvalidInput,
        GroupError::Member(_) => io::ErrorKind::AddrInUse,
        GroupError::TooMany | GroupError::TooManySources => {
            let counters = host.workers.counters_here();
            counters.add(Counter::GroupJoinsRefused, 1);
            io::ErrorKind::OutOfMemory
        }
    };
    io::Error::new(kind, format!("{call}: {error}"))
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
