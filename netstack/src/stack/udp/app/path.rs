//! The path MTU as a program that sends datagrams sees it (RFC 4821 section 9, RFC 8899).

use std::io;
use std::net::IpAddr;

use super::super::super::foreign::locked;
use super::super::super::host::Host;
use super::super::super::ip::outbound::{LOOPBACK, path_to};
use super::super::socket::BoundSocket;
use super::error::invalid;
use crate::base::limits::{MIN_MTU_V4, MIN_MTU_V6};
use crate::ip::pmtu::Path;
use crate::udp::{MtuDiscovery, SendError};

/// Returns the length of the headers of a datagram.
fn headers_len(remote: IpAddr) -> usize {
    let ip = if remote.is_ipv4() { 20 } else { 40 };
    ip + packet::udp::LEN
}

/// Returns the limits of the path to `remote`, as far as they are known.
fn path(host: &Host, remote: IpAddr) -> Path {
    if host.ip.addressing.get().addresses.is_here(remote) {
        return LOOPBACK;
    }
    let now = host.clock.now();
    locked(|key| path_to(host, key, remote, now))
}

/// Returns the largest packet that the path to `remote` carries, as far as is known.
pub(crate) fn path_mtu(host: &Host, remote: IpAddr) -> u16 {
    path(host, remote).mtu
}

/// Takes in what a program found out: the path to `remote` carries packets of `mtu` bytes, and no larger ones.
pub(crate) fn set_path_mtu(host: &Host, remote: IpAddr, mtu: u16) -> io::Result<()> {
    let least = if remote.is_ipv4() {
        MIN_MTU_V4
    } else {
        MIN_MTU_V6
    };
    let most = host.ip.paths.link_mtu();
    if mtu < least || mtu > most {
        return Err(invalid(format!(
            "set_path_mtu: {mtu} bytes to {remote}: set it between {least} and {most}, the MTU of the link"
        )));
    }
    if !host.ip.addressing.get().addresses.is_here(remote) {
        let now = host.clock.now();
        let found = (mtu, Some(mtu));
        locked(|key| {
            host.ip.paths.on_search(&mut key.ctx(), remote, found, now);
        });
    }
    Ok(())
}

/// Checks that a datagram with `len` bytes of payload leaves in one packet, if the socket wants that.
pub(super) fn check_size(
    host: &Host,
    socket: &BoundSocket,
    remote: IpAddr,
    len: usize,
) -> io::Result<()> {
    let mtu = match socket.mtu_discovery() {
        MtuDiscovery::Fragment => return Ok(()),
        MtuDiscovery::Reject => path(host, remote).mtu,
        MtuDiscovery::Probe => path(host, remote).link_mtu,
    };
    let max = usize::from(mtu) - headers_len(remote);
    if len > max {
        let error = SendError::TooLong { len, max };
        return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
    }
    Ok(())
}
