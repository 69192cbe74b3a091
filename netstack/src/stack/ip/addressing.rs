//! The addresses and routes of this stack. Each worker has a copy, so no packet takes a lock to learn
//! whether it is for us.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lockorder::{LockBefore, LockCtx, RwLock};

use super::super::error::SetupError;
use super::super::foreign::locked;
use super::super::levels;
use crate::base::ConfigError;
use crate::ip::addresses::{AddressError, AddressTable, is_single_host};
use crate::ip::prefix::{Prefix, PrefixError};
use crate::ip::routes::RouteTable;
use crate::ip::selection::source::AddressFlags;

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

/// A change of a host's addresses was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressChangeError {
    /// The address or prefix cannot be added.
    #[error(transparent)]
    Refused(#[from] AddressError),
    /// The prefix is not valid.
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    /// The link cannot carry the family.
    #[error(transparent)]
    Link(#[from] ConfigError),
    /// The host does not have the address or prefix.
    #[error("{0} is not one of this stack's: nothing was removed")]
    Unknown(Prefix),
    /// It is the host's only address.
    #[error("{0} is the only address of this stack: add another one before it is removed")]
    Last(Prefix),
}

/// The addresses and routes of a host that runs. A worker reads its own copy, which it renews at the
/// beginning of a turn if the version is another one.
pub(crate) struct CurrentAddressing {
    current: RwLock<levels::Addressing, Arc<Addressing>>,
    version: AtomicU64,
}

impl CurrentAddressing {
    pub(crate) fn new(addressing: Addressing) -> Self {
        Self {
            current: RwLock::new(Arc::new(addressing)),
            version: AtomicU64::new(0),
        }
    }

    /// Returns the present state.
    pub(crate) fn get(&self) -> Arc<Addressing> {
        locked(|key| self.read(&mut key.ctx()))
    }

    /// [`CurrentAddressing::get`] with a context at hand.
    pub(crate) fn read<L>(&self, ctx: &mut LockCtx<'_, L>) -> Arc<Addressing>
    where
        L: LockBefore<levels::Addressing>,
    {
        self.current
            .with_read(ctx, |current, _| Arc::clone(current))
    }

    /// Returns the number of changes so far.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Makes a change, or none if `change` fails.
    pub(crate) fn change<E>(
        &self,
        change: impl FnOnce(&mut Addressing) -> Result<(), E>,
    ) -> Result<(), E> {
        locked(|key| self.try_update(&mut key.ctx(), change))
    }

    /// Makes a change that cannot fail, with a context at hand.
    pub(in crate::stack) fn update<L>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        change: impl FnOnce(&mut Addressing),
    ) where
        L: LockBefore<levels::Addressing>,
    {
        let Ok(()) = self.try_update(ctx, |addressing| {
            change(addressing);
            Ok::<(), std::convert::Infallible>(())
        });
    }

    fn try_update<L, E>(
        &self,
        ctx: &mut LockCtx<'_, L>,
        change: impl FnOnce(&mut Addressing) -> Result<(), E>,
    ) -> Result<(), E>
    where
        L: LockBefore<levels::Addressing>,
    {
        self.current.with_write(ctx, |current, _| {
            let mut changed = Addressing::clone(current);
            change(&mut changed)?;
            *current = Arc::new(changed);
            self.version.fetch_add(1, Ordering::Release);
            Ok(())
        })
    }
}

impl Addressing {
    /// Adds an address of the host with its subnet.
    pub(crate) fn add(&mut self, prefix: Prefix) -> Result<(), AddressChangeError> {
        self.add_with(prefix, AddressFlags::default())
    }

    /// Adds an address of the host with its subnet and its properties.
    pub(crate) fn add_with(
        &mut self,
        prefix: Prefix,
        flags: AddressFlags,
    ) -> Result<(), AddressChangeError> {
        self.addresses.add_with(prefix, flags)?;
        self.add_routes(prefix);
        Ok(())
    }

    /// Removes an address of the host. Its subnet is still reached through the link.
    pub(crate) fn remove(&mut self, prefix: Prefix) -> Result<(), AddressChangeError> {
        let mut addresses = self.addresses.clone();
        if !addresses.iter().any(|own| *own == prefix) {
            return Err(AddressChangeError::Unknown(prefix));
        }
        addresses.remove(prefix.address());
        if addresses.iter().next().is_none() {
            return Err(AddressChangeError::Last(prefix));
        }
        self.addresses = addresses;
        Ok(())
    }

    /// Makes the host answer for every address of a prefix.
    pub(crate) fn add_any(&mut self, prefix: Prefix) -> Result<(), AddressChangeError> {
        self.addresses.add_any(prefix)?;
        self.add_routes(prefix);
        Ok(())
    }

    /// Takes a prefix of [`Addressing::add_any`] back.
    pub(crate) fn remove_any(&mut self, prefix: Prefix) -> Result<(), AddressChangeError> {
        if self.addresses.remove_any(prefix) {
            Ok(())
        } else {
            Err(AddressChangeError::Unknown(prefix))
        }
    }

    fn add_routes(&mut self, prefix: Prefix) {
        // Two addresses of one subnet, or of one family, name the same route twice.
        let _ = self.routes.add_on_link(prefix.network());
        if let Ok(default) = Prefix::new(unspecified_like(prefix.address()), 0) {
            let _ = self.routes.add_on_link(default);
        }
    }

    /// Builds the tables from addresses with prefix lengths. Each subnet is on the link, and
    /// everything else is reached through the link too, as on any point-to-point device.
    pub(crate) fn new(addresses: &[(IpAddr, u8)]) -> Result<Self, SetupError> {
        let mut built = Self {
            addresses: AddressTable::new(),
            routes: RouteTable::new(),
        };
        for &(address, len) in addresses {
            let bad = |why: String| SetupError::Address { address, len, why };
            let prefix = Prefix::new(address, len).map_err(|error| bad(error.to_string()))?;
            built.add(prefix).map_err(|error| bad(error.to_string()))?;
        }
        if addresses.is_empty() {
            return Err(SetupError::NoAddress);
        }
        Ok(built)
    }

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

    /// Chooses the local address of a flow to `remote`: the one that was asked for, or the one that
    /// source selection gives (RFC 6724 section 5). A port of 0 stays open.
    ///
    /// # Errors
    /// `InvalidInput` if `remote` is not one host and port, or of another family than `wanted`;
    /// `AddrNotAvailable` if `wanted` is not ours; `NetworkUnreachable` if there is no
    /// route or no source.
    pub(crate) fn choose_local(
        &self,
        wanted: Option<SocketAddr>,
        remote: SocketAddr,
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
            return Ok(wanted);
        }
        if self.addresses.is_here(remote.ip()) {
            let source = self.addresses.select_source(remote.ip());
            return Ok(SocketAddr::new(source.unwrap_or(remote.ip()), port));
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
        for (remote, local) in [
            ("10.0.0.2:80", "10.0.0.2:0"),
            ("127.0.0.9:80", "127.0.0.1:0"),
            ("[::1]:80", "[::1]:0"),
        ] {
            let chosen = ours.choose_local(None, address(remote));
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
