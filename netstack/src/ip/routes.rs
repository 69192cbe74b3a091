//! The route table: the longest prefix that contains a destination.
//!
//! The host has one link, and no packet on it names a next hop. So a route has no gateway: it says whether a
//! destination is reached through the link or refused, from which source, and in packets of what size.
//!
//! Sections: RFC 1122 section 3.3.1, RFC 1812 section 5.2.4.3 (longest match).

use core::fmt;
use core::net::IpAddr;

use super::addresses::is_single_host;
use super::prefix::Prefix;
use crate::base::DropReason;
use crate::base::limits::{MIN_MTU_V4, MIN_MTU_V6};

/// Most routes that a table holds.
pub const MAX_ROUTES: usize = 1024;

/// The treatment of packets to the destinations of a route. These are types of Linux, with its errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RouteKind {
    /// They leave through the link (`unicast`).
    #[default]
    Link,
    /// Refused as `HostUnreachable` (`EHOSTUNREACH`).
    Unreachable,
    /// Refused as `PermissionDenied` (`EACCES`).
    Prohibit,
    /// Refused as `InvalidInput` (`EINVAL`).
    Blackhole,
}

/// A route to a network.
///
/// ```
/// use netstack::net::{Route, RouteKind};
///
/// let route = Route {
///     source: Some("10.77.0.2".parse()?),
///     mtu: Some(1_400),
///     ..Route::new("10.8.0.0/16".parse()?)
/// };
/// assert_eq!(route.to_string(), "10.8.0.0/16 src 10.77.0.2 mtu 1400");
/// let refused = Route {
///     kind: RouteKind::Prohibit,
///     ..Route::new("10.9.0.0/16".parse()?)
/// };
/// assert_eq!(refused.to_string(), "prohibit 10.9.0.0/16");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// The network.
    pub prefix: Prefix,
    /// The treatment of packets to it.
    pub kind: RouteKind,
    /// The address that sockets without one of their own send from. If `None`, RFC 6724 chooses.
    pub source: Option<IpAddr>,
    /// The longest packet to it, in bytes. The link's MTU, and what routers report, may be less.
    pub mtu: Option<u16>,
}

impl Route {
    /// Creates a route through the link; `0.0.0.0/0` and `::/0` are default routes.
    pub fn new(prefix: Prefix) -> Self {
        Self {
            prefix: prefix.network(),
            kind: RouteKind::Link,
            source: None,
            mtu: None,
        }
    }

    fn check(&self) -> Result<(), RouteError> {
        let is_ipv4 = self.prefix.address().is_ipv4();
        if let Some(source) = self.source
            && (source.is_ipv4() != is_ipv4 || !is_single_host(source))
        {
            return Err(RouteError::Source(*self, source));
        }
        let least = if is_ipv4 { MIN_MTU_V4 } else { MIN_MTU_V6 };
        match self.mtu {
            Some(mtu) if mtu < least => Err(RouteError::Mtu { mtu, least }),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RouteKind::Link => {}
            RouteKind::Unreachable => f.write_str("unreachable ")?,
            RouteKind::Prohibit => f.write_str("prohibit ")?,
            RouteKind::Blackhole => f.write_str("blackhole ")?,
        }
        write!(f, "{}", self.prefix)?;
        if let Some(source) = self.source {
            write!(f, " src {source}")?;
        }
        if let Some(mtu) = self.mtu {
            write!(f, " mtu {mtu}")?;
        }
        Ok(())
    }
}

/// The reason why a destination is not reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoRoute {
    /// No route contains it.
    #[error("no route to {0}: add one")]
    Missing(IpAddr),
    /// Its route refuses packets.
    #[error("{dst} is refused by the route {route}")]
    Refused {
        /// The destination.
        dst: IpAddr,
        /// Its route.
        route: Route,
    },
}

impl From<NoRoute> for DropReason {
    fn from(_: NoRoute) -> Self {
        DropReason::NoRoute
    }
}

/// The reason why a route cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The source is of another family than the network, or not an address that a host can have.
    #[error("{1} cannot be the source of the route {0}: give a unicast address of its family")]
    Source(Route, IpAddr),
    /// The MTU is less than each link of the family must carry.
    #[error("an MTU of {mtu} is too small: give at least {least}")]
    Mtu {
        /// The MTU.
        mtu: u16,
        /// The least MTU of the family.
        least: u16,
    },
    /// The table has a route to the network already.
    #[error("{0} has a route already: remove or replace it")]
    Duplicate(Prefix),
    /// The table is full.
    #[error("more than {MAX_ROUTES} routes: remove some")]
    TooMany,
}

/// A table of routes of both families.
///
/// ```
/// use netstack::ip::routes::{Route, RouteTable};
///
/// let mut routes = RouteTable::new();
/// routes.add(Route::new("10.0.0.0/8".parse()?))?;
/// routes.add(Route {
///     mtu: Some(1_280),
///     ..Route::new("10.77.0.0/24".parse()?)
/// })?;
/// assert_eq!(routes.lookup("10.77.0.1".parse()?)?.mtu, Some(1_280));
/// assert!(routes.lookup("192.0.2.9".parse()?).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    /// In order of descending prefix length, so that the first match is the longest. A host has few
    /// routes, and a scan is faster than a trie up to dozens of them.
    v4: Vec<Route>,
    v6: Vec<Route>,
}

impl RouteTable {
    /// Creates an empty table: every destination is unreachable.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a route.
    ///
    /// # Errors
    /// A [`RouteError`]; the table is then unchanged.
    pub fn add(&mut self, route: Route) -> Result<(), RouteError> {
        if self.iter().any(|r| r.prefix == route.prefix.network()) {
            return Err(RouteError::Duplicate(route.prefix.network()));
        }
        self.replace(route)
    }

    /// Adds a route in the place of the one to the same network, if there is one.
    ///
    /// # Errors
    /// A [`RouteError`]; the table is then unchanged.
    pub fn replace(&mut self, route: Route) -> Result<(), RouteError> {
        route.check()?;
        let route = Route {
            prefix: route.prefix.network(),
            ..route
        };
        let is_full = self.v4.len() + self.v6.len() >= MAX_ROUTES;
        let routes = self.of_family_mut(route.prefix.address());
        if let Some(old) = routes.iter_mut().find(|r| r.prefix == route.prefix) {
            *old = route;
            return Ok(());
        }
        if is_full {
            return Err(RouteError::TooMany);
        }
        let at = routes.partition_point(|r| r.prefix.len() >= route.prefix.len());
        routes.insert(at, route);
        Ok(())
    }

    /// Removes the route to exactly this network. Returns `false` if there is none.
    pub fn remove(&mut self, prefix: Prefix) -> bool {
        let network = prefix.network();
        let routes = self.of_family_mut(network.address());
        let before = routes.len();
        routes.retain(|r| r.prefix != network);
        routes.len() != before
    }

    /// Makes the routes that prefer `source` prefer none: the host does not have it any more.
    pub fn forget_source(&mut self, source: IpAddr) {
        for route in self.of_family_mut(source) {
            if route.source == Some(source) {
                route.source = None;
            }
        }
    }

    /// Returns the route to `dst` with the longest prefix. Multicast and the limited broadcast are always
    /// on the link.
    ///
    /// # Errors
    /// [`NoRoute`] if no prefix contains `dst`, or its route refuses packets.
    pub fn lookup(&self, dst: IpAddr) -> Result<Route, NoRoute> {
        let (routes, limited_broadcast) = match dst {
            IpAddr::V4(v4) => (&self.v4, v4.is_broadcast()),
            IpAddr::V6(_) => (&self.v6, false),
        };
        if dst.is_multicast() || limited_broadcast {
            return Ok(Route::new(Prefix::host(dst)));
        }
        match routes.iter().find(|r| r.prefix.contains(dst)) {
            Some(route) if route.kind == RouteKind::Link => Ok(*route),
            Some(&route) => Err(NoRoute::Refused { dst, route }),
            None => Err(NoRoute::Missing(dst)),
        }
    }

    /// Returns true if every destination of a family is reached: it has a default route, and none that refuses.
    pub fn reaches_all(&self, is_ipv6: bool) -> bool {
        let routes = if is_ipv6 { &self.v6 } else { &self.v4 };
        routes.last().is_some_and(|last| last.prefix.is_empty())
            && routes.iter().all(|route| route.kind == RouteKind::Link)
    }

    /// Returns true if a route limits the packets to its destinations.
    pub fn has_mtu(&self) -> bool {
        self.iter().any(|route| route.mtu.is_some())
    }

    /// Returns all routes, IPv4 before IPv6, and those with the longest prefix first.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.v4.iter().chain(&self.v6)
    }

    fn of_family_mut(&mut self, address: IpAddr) -> &mut Vec<Route> {
        match address {
            IpAddr::V4(_) => &mut self.v4,
            IpAddr::V6(_) => &mut self.v6,
        }
    }
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
