//! The addresses and routes of this stack. Each worker has a copy, so no packet takes a lock to learn
//! whether it is for us.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use lockorder::{LockBefore, LockCtx, RwLock};

use super::super::error::SetupError;
use super::super::foreign::locked;
use super::super::levels;
use crate::base::ConfigError;
use crate::ip::addresses::{AddressError, AddressTable};
use crate::ip::prefix::{Prefix, PrefixError};
use crate::ip::routes::{NoRoute, Route, RouteTable};
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
    /// The reasons to look at the routes, so that packets without one take no lock: see [`Lookups`].
    lookups: AtomicU8,
}

/// The reasons to look at the routes.
struct Lookups;

impl Lookups {
    /// Some IPv4 destinations are not reached.
    const REFUSED_V4: u8 = 1;
    /// Some IPv6 destinations are not reached.
    const REFUSED_V6: u8 = 2;
    /// Some routes limit the length of packets.
    const MTU: u8 = 4;

    fn of(routes: &RouteTable) -> u8 {
        [
            (!routes.reaches_all(false), Self::REFUSED_V4),
            (!routes.reaches_all(true), Self::REFUSED_V6),
            (routes.has_mtu(), Self::MTU),
        ]
        .iter()
        .map(|&(is, bit)| if is { bit } else { 0 })
        .sum()
    }
}

impl CurrentAddressing {
    pub(crate) fn new(addressing: Addressing) -> Self {
        Self {
            lookups: AtomicU8::new(Lookups::of(&addressing.routes)),
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

    /// Checks that `dst` is reached. Takes no lock while all of its family is.
    ///
    /// # Errors
    /// There is no route to it, or it refuses packets.
    pub(in crate::stack) fn check_route(&self, dst: IpAddr) -> Result<(), NoRoute> {
        let bit = if dst.is_ipv4() {
            Lookups::REFUSED_V4
        } else {
            Lookups::REFUSED_V6
        };
        if self.lookups.load(Ordering::Acquire) & bit == 0 {
            return Ok(());
        }
        locked(|key| {
            self.current
                .with_read(&mut key.ctx(), |current, _| current.route(dst).map(|_| ()))
        })
    }

    /// Returns the longest packet that the route to `dst` allows, which no link exceeds if it sets none. Takes no lock
    /// while no route sets one.
    pub(in crate::stack) fn route_mtu<L>(&self, ctx: &mut LockCtx<'_, L>, dst: IpAddr) -> u16
    where
        L: LockBefore<levels::Addressing>,
    {
        if self.lookups.load(Ordering::Acquire) & Lookups::MTU == 0 {
            return u16::MAX;
        }
        self.current.with_read(ctx, |current, _| {
            let route = current.routes.lookup(dst).ok();
            route.and_then(|route| route.mtu).unwrap_or(u16::MAX)
        })
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
            self.lookups
                .store(Lookups::of(&changed.routes), Ordering::Release);
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
        let is_first = self.is_without(prefix.address());
        self.addresses.add_with(prefix, flags)?;
        self.add_routes(prefix, is_first);
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
        self.routes.forget_source(prefix.address());
        Ok(())
    }

    /// Makes the host answer for every address of a prefix.
    pub(crate) fn add_any(&mut self, prefix: Prefix) -> Result<(), AddressChangeError> {
        let is_first = self.is_without(prefix.address());
        self.addresses.add_any(prefix)?;
        self.add_routes(prefix, is_first);
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

    /// Adds the routes that come with an address. Those of the program have precedence.
    fn add_routes(&mut self, prefix: Prefix, is_first: bool) {
        // Two addresses of one subnet name the same route twice.
        let _ = self.routes.add(Route::new(prefix));
        // A default route that the program removed stays removed.
        if is_first && let Ok(default) = Prefix::new(unspecified_like(prefix.address()), 0) {
            let _ = self.routes.add(Route::new(default));
        }
    }

    /// Returns true if the host has no address of the family of `address`, and answers for none.
    fn is_without(&self, address: IpAddr) -> bool {
        let is_ipv4 = address.is_ipv4();
        let routes = self.routes.iter().map(|route| route.prefix);
        let mut own = self.addresses.iter().copied().chain(routes);
        own.all(|prefix| prefix.address().is_ipv4() != is_ipv4)
    }

    /// Returns the route to `dst`, or `None` if packets to it do not leave the host.
    ///
    /// # Errors
    /// There is none, or it refuses packets.
    pub(in crate::stack) fn route(&self, dst: IpAddr) -> Result<Option<Route>, NoRoute> {
        if self.addresses.is_here(dst) {
            return Ok(None);
        }
        self.routes.lookup(dst).map(Some)
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_needs_an_address_and_a_prefix_that_exists() {
        assert_eq!(Addressing::new(&[]).err(), Some(SetupError::NoAddress));
        let error = Addressing::new(&[(IpAddr::from([10, 0, 0, 2]), 33)]).err();
        assert!(matches!(error, Some(SetupError::Address { len: 33, .. })));
    }
}
