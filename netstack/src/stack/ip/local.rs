//! The local end of a flow: which addresses a socket may have, and the route and source of what it sends.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::addressing::Addressing;
use crate::ip::addresses::is_single_host;
use crate::ip::routes::{NoRoute, RouteKind};
use crate::ip::selection::source::SourcePreference;

impl Addressing {
    /// Returns true if `address` reaches more than one host of a subnet or of the link.
    pub(crate) fn is_broadcast(&self, address: IpAddr) -> bool {
        let limited = IpAddr::V4(Ipv4Addr::BROADCAST);
        address == limited || self.addresses.is_subnet_broadcast(address)
    }

    /// Checks that a socket may be bound to this address; `what` names the call in the error.
    ///
    /// # Errors
    /// `AddrNotAvailable` if it is neither an address of ours, nor a loopback address, nor the unspecified one of
    /// a family that we have.
    pub(crate) fn check_bind(&self, what: &str, local: &SocketAddr) -> io::Result<()> {
        let ours = if local.ip().is_loopback() {
            true
        } else if local.ip().is_unspecified() {
            self.addresses
                .iter()
                .any(|prefix| prefix.address().is_ipv4() == local.is_ipv4())
        } else {
            self.addresses.answers_for(local.ip())
        };
        if ours {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            format!("{what}: {} is not an address of this stack", local.ip()),
        ))
    }

    /// Chooses the local address of datagrams to a multicast group: the one that was asked for, or the one that
    /// source selection gives.
    ///
    /// # Errors
    /// `InvalidInput` if `wanted` is of another family; `NetworkUnreachable` if there is no source.
    pub(in crate::stack) fn choose_local_to_group(
        &self,
        wanted: Option<SocketAddr>,
        group: IpAddr,
    ) -> io::Result<SocketAddr> {
        let refused = |kind, why: String| Err(io::Error::new(kind, why));
        match (wanted, self.addresses.select_source(group)) {
            (Some(wanted), _) if wanted.is_ipv4() != group.is_ipv4() => refused(
                io::ErrorKind::InvalidInput,
                format!("connect: {wanted} and {group} are of different families"),
            ),
            (Some(wanted), _) => Ok(wanted),
            (None, Some(source)) => Ok(SocketAddr::new(source, 0)),
            (None, None) => refused(
                io::ErrorKind::NetworkUnreachable,
                format!("connect: no address of ours towards {group}"),
            ),
        }
    }

    /// Checks that `remote` is no broadcast address of a subnet: a connection has one peer (RFC 9293 section 3.9.1.1, MUST-46).
    ///
    /// # Errors
    /// `InvalidInput`.
    pub(in crate::stack) fn check_peer(&self, remote: SocketAddr) -> io::Result<()> {
        if self.addresses.is_subnet_broadcast(remote.ip()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("connect: {remote} is the broadcast address of a subnet, not of one host"),
            ));
        }
        Ok(())
    }

    /// Chooses the local address of a flow to `remote`: the one that was asked for, or the one that
    /// source selection gives (RFC 6724 section 5). A port of 0 stays open.
    ///
    /// # Errors
    /// `InvalidInput` if `remote` is not one host and port, or of another family than `wanted`;
    /// `AddrNotAvailable` if `wanted` is not ours; `NetworkUnreachable` if there is no
    /// route or no source; the error of a route that refuses.
    pub(crate) fn choose_local(
        &self,
        wanted: Option<SocketAddr>,
        remote: SocketAddr,
        preference: SourcePreference,
    ) -> io::Result<SocketAddr> {
        let is_host = is_single_host(remote.ip()) || remote.ip().is_loopback();
        if remote.port() == 0 || !is_host {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("connect: {remote} is not the address of one host and port"),
            ));
        }
        let port = wanted.map_or(0, |wanted| wanted.port());
        if let Some(wanted) = wanted.filter(|wanted| !wanted.ip().is_unspecified()) {
            self.check_bind("connect", &wanted)?;
            if wanted.is_ipv4() != remote.is_ipv4() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("connect: {wanted} and {remote} are of different families"),
                ));
            }
            if wanted.ip().is_loopback() && !self.addresses.is_here(remote.ip()) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!(
                        "connect: {wanted} is a loopback address, from which {remote} cannot be reached"
                    ),
                ));
            }
            self.route(remote.ip())
                .map_err(|error| no_route("connect", error))?;
            return Ok(wanted);
        }
        let source = self
            .source(remote.ip(), preference)
            .map_err(|error| no_route("connect", error))?;
        source.map(|ip| SocketAddr::new(ip, port)).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NetworkUnreachable,
                format!("connect: no address of ours towards {remote}"),
            )
        })
    }

    /// Returns the source of packets to `dst` from a socket without an address: the one that the route prefers, or else
    /// that of RFC 6724. `None` if the host has no address of the family.
    ///
    /// # Errors
    /// There is no route to `dst`, or it refuses packets.
    pub(in crate::stack) fn source(
        &self,
        dst: IpAddr,
        preference: SourcePreference,
    ) -> Result<Option<IpAddr>, NoRoute> {
        let preferred = self.route(dst)?.and_then(|route| route.source);
        let selected = || self.addresses.select_source_for(dst, preference);
        Ok(preferred.or_else(selected))
    }
}

/// Returns the error of a call that sends to a destination without a route, as Linux has it.
#[cold]
pub(in crate::stack) fn no_route(what: &str, error: NoRoute) -> io::Error {
    let kind = match error {
        NoRoute::Missing(_) => io::ErrorKind::NetworkUnreachable,
        NoRoute::Refused { route, .. } => match route.kind {
            RouteKind::Unreachable => io::ErrorKind::HostUnreachable,
            RouteKind::Prohibit => io::ErrorKind::PermissionDenied,
            RouteKind::Blackhole => io::ErrorKind::InvalidInput,
            RouteKind::Link => io::ErrorKind::Other,
        },
    };
    io::Error::new(kind, format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address and port")
    }

    fn ours() -> Addressing {
        Addressing::new(&[(IpAddr::from([10, 0, 0, 2]), 24)]).expect("an address")
    }

    #[test]
    fn a_socket_is_bound_to_an_address_of_ours_or_to_all_of_a_family_that_we_have() {
        let ours = ours();
        assert!(ours.check_bind("bind", &address("10.0.0.2:1")).is_ok());
        assert!(ours.check_bind("bind", &address("0.0.0.0:1")).is_ok());
        for other in ["10.0.0.3:1", "[::]:1"] {
            let error = ours
                .check_bind("bind", &address(other))
                .expect_err("not ours");
            assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
        }
    }

    #[test]
    fn the_local_address_of_a_flow() {
        let ours = ours();
        let remote = address("192.0.2.1:80");
        let chosen = ours
            .choose_local(None, remote, SourcePreference::Default)
            .expect("a source");
        assert_eq!(chosen, address("10.0.0.2:0"));
        let wanted = Some(address("0.0.0.0:77"));
        let chosen = ours
            .choose_local(wanted, remote, SourcePreference::Default)
            .expect("a source");
        assert_eq!(chosen, address("10.0.0.2:77"));
        for (remote, local) in [
            ("10.0.0.2:80", "10.0.0.2:0"),
            ("127.0.0.9:80", "127.0.0.1:0"),
            ("[::1]:80", "[::1]:0"),
        ] {
            let chosen = ours.choose_local(None, address(remote), SourcePreference::Default);
            assert_eq!(chosen.expect("loopback"), address(local));
        }
        for (wanted, remote, kind) in [
            (None, "192.0.2.1:0", io::ErrorKind::InvalidInput),
            (None, "224.0.0.1:80", io::ErrorKind::InvalidInput),
            (
                Some("127.0.0.1:1"),
                "192.0.2.1:80",
                io::ErrorKind::InvalidInput,
            ),
            (None, "[2001:db8::1]:80", io::ErrorKind::NetworkUnreachable),
            (
                Some("10.0.0.9:1"),
                "192.0.2.1:80",
                io::ErrorKind::AddrNotAvailable,
            ),
            (
                Some("10.0.0.2:1"),
                "[2001:db8::1]:80",
                io::ErrorKind::InvalidInput,
            ),
        ] {
            let error = ours
                .choose_local(
                    wanted.map(address),
                    address(remote),
                    SourcePreference::Default,
                )
                .expect_err(remote);
            assert_eq!(error.kind(), kind, "{wanted:?} to {remote}: {error}");
        }
    }
}
