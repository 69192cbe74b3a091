//! Owners of local addresses and ports: an exact address takes precedence over the wildcard of its family.
//!
//! Each port has at most one owner per local address and one wildcard per family. A lookup costs one hash
//! lookup and a scan of the few addresses that the port is bound to.
//!
//! The families are separate: `[::]:80` does not receive IPv4 (RFC 3493 section 5.3 with `IPV6_V6ONLY`),
//! so a caller that wants both binds both.

use core::net::{IpAddr, SocketAddr};
use core::ops::RangeInclusive;
use std::collections::HashMap;

use crate::ip::key::HashKey;
use crate::ip::prefix::Prefix;

/// A port of one address family.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Port {
    ipv6: bool,
    port: u16,
}

impl Port {
    fn of(local: SocketAddr) -> Self {
        Self {
            ipv6: local.is_ipv6(),
            port: local.port(),
        }
    }
}

/// Destinations for which a socket receives what no other socket takes: the addresses of some prefixes, at a
/// range of ports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Destinations {
    /// The prefixes of the addresses.
    pub prefixes: Vec<Prefix>,
    /// The ports.
    pub ports: RangeInclusive<u16>,
}

impl Destinations {
    /// Returns true if `dst` is among them.
    pub fn contains(&self, dst: SocketAddr) -> bool {
        self.specificity(dst).is_some()
    }

    /// Checks that packets can have these destinations.
    ///
    /// # Errors
    /// No packet can have these destinations: the error says why, and what to do.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.prefixes.is_empty() {
            Err("no prefix was given: 0.0.0.0/0 and ::/0 are all addresses")
        } else if self.ports.is_empty() {
            Err("the range of ports is empty")
        } else if *self.ports.start() == 0 {
            Err("no packet has the destination port 0: begin the range with 1")
        } else {
            Ok(())
        }
    }

    /// Returns the longest prefix length with which `dst` is among these destinations.
    fn specificity(&self, dst: SocketAddr) -> Option<u8> {
        if !self.ports.contains(&dst.port()) {
            return None;
        }
        let matching = self
            .prefixes
            .iter()
            .filter(|prefix| prefix.contains(dst.ip()));
        matching.map(Prefix::len).max()
    }

    /// Returns the number of ports less one.
    fn breadth(&self) -> u16 {
        self.ports.end().saturating_sub(*self.ports.start())
    }
}

#[derive(Clone, Debug)]
struct Owners<T> {
    wildcard: Option<T>,
    /// Bounded by the addresses of the host, which binds to no others.
    exact: Vec<(IpAddr, T)>,
}

/// The reason why a bind was refused, with the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BindError<T> {
    /// The address and port are bound already.
    InUse(T),
    /// The table is full.
    Full(T),
    /// The port is 0: select one first ([`super::PortAllocator`]).
    PortZero(T),
}

/// Most bindings of many destinations: each is looked at for a packet that no other binding takes.
const MAX_ANY: usize = 256;

/// A table of the owners of local addresses and ports.
#[derive(Clone, Debug)]
pub struct BindTable<T> {
    ports: HashMap<Port, Owners<T>, HashKey>,
    any: Vec<(Destinations, T)>,
    len: usize,
    max_bindings: usize,
}

impl<T> BindTable<T> {
    /// Creates a table of at most `max_bindings` bindings. Does not allocate before the first.
    pub fn new(max_bindings: usize, secret: HashKey) -> Self {
        Self {
            ports: HashMap::with_hasher(secret),
            any: Vec::new(),
            len: 0,
            max_bindings,
        }
    }

    /// Binds `local`; the unspecified address is the wildcard of its family.
    ///
    /// # Errors
    /// A [`BindError`] with the value; the table is then as it was.
    pub fn bind(&mut self, local: SocketAddr, value: T) -> Result<(), BindError<T>> {
        if local.port() == 0 {
            return Err(BindError::PortZero(value));
        }
        if self.is_bound(local) {
            return Err(BindError::InUse(value));
        }
        if self.len >= self.max_bindings {
            return Err(BindError::Full(value));
        }
        let owners = self.ports.entry(Port::of(local)).or_insert(Owners {
            wildcard: None,
            exact: Vec::new(),
        });
        if local.ip().is_unspecified() {
            owners.wildcard = Some(value);
        } else {
            owners.exact.push((local.ip(), value));
        }
        self.len += 1;
        Ok(())
    }

    /// Returns `true` if exactly this address (or wildcard) and port is bound.
    pub fn is_bound(&self, local: SocketAddr) -> bool {
        self.get(local).is_some()
    }

    /// Returns the owner of exactly this address (or wildcard) and port.
    pub fn get(&self, local: SocketAddr) -> Option<&T> {
        let owners = self.ports.get(&Port::of(local))?;
        if local.ip().is_unspecified() {
            owners.wildcard.as_ref()
        } else {
            owners.of(local.ip())
        }
    }

    /// Returns the owner of exactly this address (or wildcard) and port.
    pub fn get_mut(&mut self, local: SocketAddr) -> Option<&mut T> {
        let owners = self.ports.get_mut(&Port::of(local))?;
        if local.ip().is_unspecified() {
            return owners.wildcard.as_mut();
        }
        let mut exact = owners.exact.iter_mut();
        exact
            .find(|(ip, _)| *ip == local.ip())
            .map(|(_, value)| value)
    }

    /// Binds many destinations at once.
    ///
    /// # Errors
    /// A [`BindError`] with the value; the table is then as it was.
    pub fn bind_any(&mut self, destinations: Destinations, value: T) -> Result<(), BindError<T>> {
        if self.any.iter().any(|(bound, _)| *bound == destinations) {
            return Err(BindError::InUse(value));
        }
        if self.len >= self.max_bindings || self.any.len() >= MAX_ANY {
            return Err(BindError::Full(value));
        }
        self.any.push((destinations, value));
        self.len += 1;
        Ok(())
    }

    /// Removes the owners of many destinations for which `is_this` holds.
    pub fn unbind_any(&mut self, mut is_this: impl FnMut(&T) -> bool) {
        let before = self.any.len();
        self.any.retain(|(_, value)| !is_this(value));
        self.len -= before - self.any.len();
    }

    /// Returns the owner that receives packets to this address and port: that of the exact address, then
    /// for an address of the host (`is_own`) that of the wildcard, then that of the destinations with the
    /// longest prefix and among them the fewest ports, then that of the wildcard.
    pub fn lookup(&self, dst: SocketAddr, is_own: impl FnOnce() -> bool) -> Option<&T> {
        self.lookup_taker(dst, is_own, |_| true)
    }

    /// As [`lookup`](Self::lookup), among the owners that `takes` says take the packet: one that does not hides none of
    /// the others.
    pub fn lookup_taker(
        &self,
        dst: SocketAddr,
        is_own: impl FnOnce() -> bool,
        takes: impl Fn(&T) -> bool,
    ) -> Option<&T> {
        let owners = self.ports.get(&Port::of(dst));
        let exact = owners.and_then(|owners| owners.of(dst.ip()));
        if let Some(exact) = exact.filter(|exact| takes(exact)) {
            return Some(exact);
        }
        let wildcard = owners.and_then(|owners| owners.wildcard.as_ref());
        let wildcard = wildcard.filter(|wildcard| takes(wildcard));
        if self.any.is_empty() || wildcard.is_some() && is_own() {
            return wildcard;
        }
        self.any_owner(dst, takes).or(wildcard)
    }

    fn any_owner(&self, dst: SocketAddr, takes: impl Fn(&T) -> bool) -> Option<&T> {
        let matching = self.any.iter().filter_map(|(destinations, value)| {
            let len = destinations.specificity(dst)?;
            takes(value).then(|| ((len, !destinations.breadth()), value))
        });
        matching
            .max_by_key(|(rank, _)| *rank)
            .map(|(_, value)| value)
    }

    /// Returns `true` if the port is bound at any address of that family.
    pub fn is_port_used(&self, ipv6: bool, port: u16) -> bool {
        self.ports.contains_key(&Port { ipv6, port })
    }

    /// Removes and returns the owner of exactly this address (or wildcard) and port.
    pub fn unbind(&mut self, local: SocketAddr) -> Option<T> {
        let port = Port::of(local);
        let owners = self.ports.get_mut(&port)?;
        let removed = if local.ip().is_unspecified() {
            owners.wildcard.take()
        } else {
            let at = owners.exact.iter().position(|(ip, _)| *ip == local.ip())?;
            Some(owners.exact.swap_remove(at).1)
        }?;
        if owners.wildcard.is_none() && owners.exact.is_empty() {
            self.ports.remove(&port);
        }
        self.len -= 1;
        Some(removed)
    }

    /// Returns the number of bindings.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns `true` if there are no bindings.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns all owners, in no particular order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.ports
            .values()
            .flat_map(|o| o.wildcard.iter().chain(o.exact.iter().map(|(_, v)| v)))
            .chain(self.any.iter().map(|(_, value)| value))
    }
}

impl<T> Owners<T> {
    fn of(&self, address: IpAddr) -> Option<&T> {
        self.exact
            .iter()
            .find(|(ip, _)| *ip == address)
            .map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect(text)
    }

    fn table(max_bindings: usize) -> BindTable<&'static str> {
        BindTable::new(max_bindings, HashKey::random(&mut Rng::from_u64(2)))
    }

    #[test]
    fn the_most_specific_match_wins() {
        let mut t = table(16);
        for local in [
            "0.0.0.0:80",
            "10.0.0.1:80",
            "[::]:80",
            "[fd77::1]:80",
            "10.0.0.1:81",
        ] {
            assert_eq!(t.bind(addr(local), local), Ok(()));
        }
        let cases = [
            ("10.0.0.1:80", Some("10.0.0.1:80")),
            ("10.0.0.2:80", Some("0.0.0.0:80")),
            ("[fd77::1]:80", Some("[fd77::1]:80")),
            ("[fd77::2]:80", Some("[::]:80")),
            ("10.0.0.1:81", Some("10.0.0.1:81")),
            ("10.0.0.2:81", None),
            ("[fd77::1]:81", None),
            ("10.0.0.1:82", None),
        ];
        for (dst, expected) in cases {
            assert_eq!(t.lookup(addr(dst), || true).copied(), expected, "{dst}");
        }
        assert_eq!(t.unbind(addr("10.0.0.1:80")), Some("10.0.0.1:80"));
        assert_eq!(
            t.lookup(addr("10.0.0.1:80"), || true).copied(),
            Some("0.0.0.0:80")
        );
        assert_eq!(t.unbind(addr("10.0.0.1:80")), None);
        assert_eq!(t.values().count(), t.len());
    }

    #[test]
    fn destinations_take_what_no_other_binding_takes() {
        let mut t = table(16);
        let any = |prefixes: &[&str], ports| Destinations {
            prefixes: prefixes.iter().map(|p| p.parse().expect(p)).collect(),
            ports,
        };
        assert_eq!(t.bind(addr("10.0.0.1:80"), "exact"), Ok(()));
        assert_eq!(t.bind(addr("0.0.0.0:81"), "wildcard"), Ok(()));
        let all = any(&["0.0.0.0/0", "::/0"], 1..=u16::MAX);
        assert_eq!(t.bind_any(all.clone(), "all"), Ok(()));
        assert_eq!(t.bind_any(all, "again"), Err(BindError::InUse("again")));
        assert_eq!(t.bind_any(any(&["192.0.2.0/24"], 1..=1_000), "net"), Ok(()));
        assert_eq!(t.bind_any(any(&["192.0.2.0/24"], 53..=53), "port"), Ok(()));
        let is_own = |dst: &str| dst.starts_with("10.0.0.1");
        for (dst, expected) in [
            ("10.0.0.1:80", "exact"),
            ("10.0.0.1:81", "wildcard"),
            ("10.0.0.1:82", "all"),
            ("10.0.0.2:81", "all"),
            ("[2001:db8::1]:80", "all"),
            ("192.0.2.9:81", "net"),
            ("192.0.2.9:53", "port"),
            ("192.0.2.9:1001", "all"),
        ] {
            let found = t.lookup(addr(dst), || is_own(dst)).copied();
            assert_eq!(found, Some(expected), "{dst}");
        }
        t.unbind_any(|value| *value == "all" || *value == "port");
        assert_eq!(
            t.lookup(addr("192.0.2.9:53"), || false).copied(),
            Some("net")
        );
        assert_eq!(
            t.lookup(addr("10.0.0.2:81"), || false).copied(),
            Some("wildcard")
        );
        assert_eq!(t.lookup(addr("10.0.0.2:82"), || false).copied(), None);
        assert_eq!((t.len(), t.values().count()), (3, 3));
    }

    #[test]
    fn an_owner_that_does_not_take_a_packet_hides_no_other() {
        let mut t = table(16);
        let all = Destinations {
            prefixes: vec!["0.0.0.0/0".parse().expect("a prefix")],
            ports: 1..=u16::MAX,
        };
        assert_eq!(t.bind(addr("10.0.0.1:80"), "exact"), Ok(()));
        assert_eq!(t.bind(addr("0.0.0.0:80"), "wildcard"), Ok(()));
        assert_eq!(t.bind_any(all, "all"), Ok(()));
        for (refusing, is_own, expected) in [
            (&[][..], true, Some("exact")),
            (&["exact"], true, Some("wildcard")),
            (&["exact"], false, Some("all")),
            (&["exact", "all"], false, Some("wildcard")),
            (&["exact", "wildcard"], true, Some("all")),
            (&["exact", "wildcard", "all"], true, None),
        ] {
            let takes = |owner: &&str| !refusing.contains(owner);
            let found = t.lookup_taker(addr("10.0.0.1:80"), || is_own, takes);
            assert_eq!(found.copied(), expected, "{refusing:?}");
        }
    }

    #[test]
    fn refusals_leave_the_table_as_it_was() {
        let mut t = table(2);
        assert_eq!(
            t.bind(addr("10.0.0.1:0"), "zero"),
            Err(BindError::PortZero("zero"))
        );
        assert_eq!(t.bind(addr("10.0.0.1:80"), "a"), Ok(()));
        assert_eq!(t.bind(addr("10.0.0.1:80"), "b"), Err(BindError::InUse("b")));
        assert_eq!(t.bind(addr("0.0.0.0:80"), "c"), Ok(()));
        assert_eq!(t.bind(addr("10.0.0.1:81"), "d"), Err(BindError::Full("d")));
        assert!(!t.is_port_used(false, 81));
        assert!(t.is_port_used(false, 80) && !t.is_port_used(true, 80));
        assert_eq!(t.len(), 2);
        assert_eq!(
            (t.unbind(addr("0.0.0.0:80")), t.unbind(addr("10.0.0.1:80"))),
            (Some("c"), Some("a"))
        );
        assert!(t.is_empty() && !t.is_port_used(false, 80));
    }
}
