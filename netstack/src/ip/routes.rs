//! The route table: the longest prefix that contains a destination.
//!
//! The host has one device, so a route says only whether the destination is on the link or behind a
//! gateway. On a TUN device both are sent the same way, but a destination without a route is
//! unreachable.
//!
//! Sections: RFC 1122 section 3.3.1, RFC 1812 section 5.2.4.3 (longest match).

use core::net::IpAddr;

use super::prefix::Prefix;
use crate::base::DropReason;

/// Most routes that a table holds.
pub const MAX_ROUTES: usize = 1024;

/// A route to a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// The network.
    pub prefix: Prefix,
    /// The gateway, or `None` if the network is on the link.
    pub via: Option<IpAddr>,
}

impl Route {
    /// Returns the next hop to `dst`: the gateway, or `dst` itself.
    pub fn next_hop(&self, dst: IpAddr) -> IpAddr {
        self.via.unwrap_or(dst)
    }
}

/// No route contains the destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no route to {0}: add one")]
pub struct NoRoute(pub IpAddr);

impl From<NoRoute> for DropReason {
    fn from(_: NoRoute) -> Self {
        DropReason::NoRoute
    }
}

/// The reason why a route cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The gateway is of another family than the network, or not a unicast address.
    #[error("gateway {via} cannot serve {prefix}: give a unicast address of the same family")]
    Gateway {
        /// The network.
        prefix: Prefix,
        /// The gateway.
        via: IpAddr,
    },
    /// The table has a route to the network already.
    #[error("{0} has a route already: remove it first")]
    Duplicate(Prefix),
    /// The table is full.
    #[error("more than {MAX_ROUTES} routes: remove some")]
    TooMany,
}

/// A table of routes of both families.
///
/// ```
/// use netstack::ip::routes::RouteTable;
///
/// let mut routes = RouteTable::new();
/// routes.add_on_link("10.77.0.0/24".parse()?)?;
/// routes.add_via("0.0.0.0/0".parse()?, "10.77.0.1".parse()?)?;
/// let route = routes.lookup("192.0.2.9".parse()?)?;
/// assert_eq!(route.via, Some("10.77.0.1".parse()?));
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

    /// Adds a network that is on the link.
    ///
    /// # Errors
    /// A [`RouteError`]; the table is then unchanged.
    pub fn add_on_link(&mut self, prefix: Prefix) -> Result<(), RouteError> {
        self.add(Route {
            prefix: prefix.network(),
            via: None,
        })
    }

    /// Adds a network behind a gateway; `0.0.0.0/0` and `::/0` are default routes.
    ///
    /// # Errors
    /// A [`RouteError`]; the table is then unchanged.
    pub fn add_via(&mut self, prefix: Prefix, via: IpAddr) -> Result<(), RouteError> {
        let same_family = via.is_ipv4() == prefix.address().is_ipv4();
        if !same_family || !super::addresses::is_single_host(via) {
            return Err(RouteError::Gateway { prefix, via });
        }
        self.add(Route {
            prefix: prefix.network(),
            via: Some(via),
        })
    }

    fn add(&mut self, route: Route) -> Result<(), RouteError> {
        if self.v4.len() + self.v6.len() >= MAX_ROUTES {
            return Err(RouteError::TooMany);
        }
        let routes = self.of_family_mut(route.prefix.address());
        if routes.iter().any(|r| r.prefix == route.prefix) {
            return Err(RouteError::Duplicate(route.prefix));
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

    /// Returns the route to `dst` with the longest prefix. Multicast and the limited broadcast are always
    /// on the link.
    ///
    /// # Errors
    /// [`NoRoute`] if no prefix contains `dst`.
    pub fn lookup(&self, dst: IpAddr) -> Result<Route, NoRoute> {
        let (routes, limited_broadcast) = match dst {
            IpAddr::V4(v4) => (&self.v4, v4.is_broadcast()),
            IpAddr::V6(_) => (&self.v6, false),
        };
        if dst.is_multicast() || limited_broadcast {
            return Ok(Route {
                prefix: Prefix::host(dst),
                via: None,
            });
        }
        routes
            .iter()
            .find(|r| r.prefix.contains(dst))
            .copied()
            .ok_or(NoRoute(dst))
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
mod tests {
    use super::*;
    use crate::base::Rng;
    use core::net::Ipv4Addr;

    fn prefix(text: &str) -> Prefix {
        text.parse().expect(text)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn the_longest_prefix_wins_whatever_the_order() {
        let networks = [
            ("0.0.0.0/0", Some("10.0.0.1")),
            ("10.0.0.0/8", None),
            ("10.1.0.0/16", Some("10.0.0.2")),
            ("10.1.2.3/32", Some("10.0.0.3")),
            ("fd77::/64", None),
            ("::/0", Some("fd77::1")),
        ];
        for start in 0..networks.len() {
            let mut t = RouteTable::new();
            for n in 0..networks.len() {
                let (network, via) = networks[(start + n) % networks.len()];
                match via {
                    Some(via) => t.add_via(prefix(network), ip(via)),
                    None => t.add_on_link(prefix(network)),
                }
                .expect("added");
            }
            let hop = |dst: &str| t.lookup(ip(dst)).map(|r| r.next_hop(ip(dst)));
            assert_eq!(hop("8.8.8.8"), Ok(ip("10.0.0.1")));
            assert_eq!(hop("10.9.9.9"), Ok(ip("10.9.9.9")));
            assert_eq!(hop("10.1.9.9"), Ok(ip("10.0.0.2")));
            assert_eq!(hop("10.1.2.3"), Ok(ip("10.0.0.3")));
            assert_eq!(hop("fd77::9"), Ok(ip("fd77::9")));
            assert_eq!(hop("2001:db8::1"), Ok(ip("fd77::1")));
            assert_eq!(hop("255.255.255.255"), Ok(ip("255.255.255.255")));
            assert_eq!(hop("ff02::1"), Ok(ip("ff02::1")));
        }
    }

    #[test]
    fn no_route_is_an_answer() {
        let mut t = RouteTable::new();
        assert_eq!(t.lookup(ip("10.0.0.1")), Err(NoRoute(ip("10.0.0.1"))));
        t.add_on_link(prefix("10.0.0.7/24")).expect("added");
        assert!(t.lookup(ip("10.0.0.1")).is_ok());
        assert!(t.lookup(ip("10.0.1.1")).is_err());
        assert!(t.lookup(ip("fd77::1")).is_err());
        assert!(t.remove(prefix("10.0.0.0/24")));
        assert!(!t.remove(prefix("10.0.0.0/24")));
        assert!(t.lookup(ip("10.0.0.1")).is_err());
    }

    #[test]
    fn refused_routes() {
        let mut t = RouteTable::new();
        for via in ["fd77::1", "0.0.0.0", "255.255.255.255", "224.0.0.1"] {
            let refused = t.add_via(prefix("0.0.0.0/0"), ip(via));
            assert!(matches!(refused, Err(RouteError::Gateway { .. })), "{via}");
        }
        t.add_on_link(prefix("10.0.0.1/24")).expect("added");
        assert_eq!(
            t.add_via(prefix("10.0.0.2/24"), ip("10.0.0.9")),
            Err(RouteError::Duplicate(prefix("10.0.0.0/24")))
        );
    }

    #[test]
    fn bounded_and_equal_to_a_full_scan() {
        let seed = 7;
        let mut rng = Rng::from_u64(seed);
        let mut t = RouteTable::new();
        let mut added = Vec::new();
        while added.len() < MAX_ROUTES {
            let address = IpAddr::V4(Ipv4Addr::from_bits(rng.u32() & 0x0fff_ffff | 0x0a00_0000));
            let p = Prefix::new(address, 4 + rng.below(29) as u8).expect("length");
            if t.add_on_link(p).is_ok() {
                added.push(p.network());
            }
        }
        assert_eq!(t.add_on_link(prefix("fd77::/64")), Err(RouteError::TooMany));
        for _ in 0..2_000 {
            let dst = IpAddr::V4(Ipv4Addr::from_bits(rng.u32() & 0x0fff_ffff | 0x0a00_0000));
            let longest = added
                .iter()
                .filter(|p| p.contains(dst))
                .map(Prefix::len)
                .max();
            assert_eq!(
                t.lookup(dst).ok().map(|r| r.prefix.len()),
                longest,
                "seed {seed}, {dst}"
            );
        }
    }
}
