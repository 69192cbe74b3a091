//! The addresses and routes of this stack. Fixed when the stack starts, so no packet takes a lock to
//! learn whether it is for us.

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::super::error::SetupError;
use crate::ip::addresses::{AddressTable, is_single_host};
use crate::ip::prefix::Prefix;
use crate::ip::routes::RouteTable;

/// The addresses and routes of this stack.
#[derive(Clone, Debug)]
pub(crate) struct Addressing {
    /// Our addresses.
    pub(crate) addresses: AddressTable,
    /// Our routes.
    pub(crate) routes: RouteTable,
}

/// Returns the unspecified address of the same family.
fn unspecified_like(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => IpAddr::from([0; 4]),
        IpAddr::V6(_) => IpAddr::from([0; 16]),
    }
}

impl Addressing {
    /// Builds the tables from addresses with prefix lengths. Each subnet is on the link, and
    /// everything else is reached through the link too, as on any point-to-point device.
    pub(crate) fn new(addresses: &[(IpAddr, u8)]) -> Result<Self, SetupError> {
        let mut table = AddressTable::new();
        let mut routes = RouteTable::new();
        for &(address, len) in addresses {
            let bad = |why: String| SetupError::Address { address, len, why };
            let prefix = Prefix::new(address, len).map_err(|error| bad(error.to_string()))?;
            table.add(prefix).map_err(|error| bad(error.to_string()))?;
            // Two addresses of one subnet, or of one family, name the same route twice.
            let _ = routes.add_on_link(prefix.network());
            if let Ok(default) = Prefix::new(unspecified_like(address), 0) {
                let _ = routes.add_on_link(default);
            }
        }
        if addresses.is_empty() {
            return Err(SetupError::NoAddress);
        }
        Ok(Self {
            addresses: table,
            routes,
        })
    }

    /// Checks that a socket may be bound to this address; `what` names the call in the error.
    ///
    /// # Errors
    /// `AddrNotAvailable` if it is neither an address of ours nor the unspecified one of a family
    /// that we have.
    pub(crate) fn check_bind(&self, what: &str, local: &SocketAddr) -> io::Result<()> {
        let ours = if local.ip().is_unspecified() {
            self.addresses
                .iter()
                .any(|prefix| prefix.address().is_ipv4() == local.is_ipv4())
        } else {
            self.addresses.is_local(local.ip())
        };
        if ours {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            format!("{what}: {} is not an address of this stack", local.ip()),
        ))
    }

    /// Chooses the local address of a flow to `remote`: the one that was asked for, or the one that
    /// source selection gives (RFC 6724 section 5). A port of 0 stays open.
    ///
    /// # Errors
    /// `InvalidInput` if `remote` is not one host and port, or of another family than `wanted`;
    /// `AddrNotAvailable` if `wanted` is not ours or `remote` is; `NetworkUnreachable` if there is no
    /// route or no source.
    pub(crate) fn choose_local(
        &self,
        wanted: Option<SocketAddr>,
        remote: SocketAddr,
    ) -> io::Result<SocketAddr> {
        if remote.port() == 0 || !is_single_host(remote.ip()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("connect: {remote} is not the address of one host and port"),
            ));
        }
        if self.addresses.is_local(remote.ip()) {
            return Err(io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                format!("connect: {remote} is this stack itself; it has no loopback"),
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
            return Ok(wanted);
        }
        let source = self
            .routes
            .lookup(remote.ip())
            .ok()
            .and_then(|_| self.addresses.select_source(remote.ip()));
        source.map(|ip| SocketAddr::new(ip, port)).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NetworkUnreachable,
                format!("connect: no route or no address of ours towards {remote}"),
            )
        })
    }
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
        let chosen = ours.choose_local(None, remote).expect("a source");
        assert_eq!(chosen, address("10.0.0.2:0"));
        let wanted = Some(address("0.0.0.0:77"));
        let chosen = ours.choose_local(wanted, remote).expect("a source");
        assert_eq!(chosen, address("10.0.0.2:77"));
        for (wanted, remote, kind) in [
            (None, "192.0.2.1:0", io::ErrorKind::InvalidInput),
            (None, "224.0.0.1:80", io::ErrorKind::InvalidInput),
            (None, "10.0.0.2:80", io::ErrorKind::AddrNotAvailable),
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
                .choose_local(wanted.map(address), address(remote))
                .expect_err(remote);
            assert_eq!(error.kind(), kind, "{wanted:?} to {remote}: {error}");
        }
    }

    #[test]
    fn a_stack_needs_an_address_and_a_prefix_that_exists() {
        assert_eq!(Addressing::new(&[]).err(), Some(SetupError::NoAddress));
        let error = Addressing::new(&[(IpAddr::from([10, 0, 0, 2]), 33)]).err();
        assert!(matches!(error, Some(SetupError::Address { len: 33, .. })));
    }
}
