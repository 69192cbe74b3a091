//! The host's addresses, the kinds of destinations, and the sources that are valid.
//!
//! * **Define.** Every address in an [`AddressTable`] is one that a host may own and send from:
//!   specified, unicast, not loopback, and not a broadcast address of its own subnet.
//! * **Enforce.** [`AddressTable::add`] refuses all others, and nothing else adds addresses.
//! * **Consume.** [`AddressTable::select_source`] returns sources without a further check, and
//!   [`AddressTable::check_source`] treats a received packet with one of them as forged.
//!
//! Sections: RFC 1122 sections 3.2.1.3 and 3.3.6, RFC 4291 sections 2.7 and 2.8, RFC 6724 section 5,
//! RFC 6890.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::prefix::Prefix;
use super::selection::policy::PolicyTable;
use super::selection::source::{AddressFlags, Candidate, Selection, SourcePreference};
use crate::base::DropReason;

/// Most addresses that a table holds.
pub const MAX_ADDRESSES: usize = 256;

/// The host's addresses of both families, with their subnets.
///
/// A lookup is a binary search and does not allocate.
///
/// ```
/// use netstack::ip::addresses::{AddressTable, Destination};
///
/// let mut table = AddressTable::new();
/// table.add("10.77.0.2/24".parse()?)?;
/// assert_eq!(table.classify("10.77.0.2".parse()?), Destination::Local);
/// assert_eq!(table.select_source("10.77.0.9".parse()?), Some("10.77.0.2".parse()?));
/// assert!(table.check_source("127.0.0.1".parse()?).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct AddressTable {
    /// In the order of addition: among equal candidates for a source, the first is selected.
    own: Vec<Candidate>,
    selection: Selection,
    /// The same addresses, sorted.
    v4: Vec<Ipv4Addr>,
    v6: Vec<Ipv6Addr>,
    /// Broadcast addresses of the IPv4 subnets, both forms, sorted.
    broadcasts: Vec<Ipv4Addr>,
    /// Prefixes all of whose addresses the host answers for, longest first.
    any: Vec<Prefix>,
    /// Multicast groups that a socket joined, sorted.
    groups: Vec<IpAddr>,
}

/// The reason why an address cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The address is unspecified, loopback, multicast, broadcast, reserved or IPv4-mapped.
    #[error(
        "{0} is not an address that a host can have: give a unicast address other than loopback"
    )]
    NotUnicast(IpAddr),
    /// The host bits are all zero or all one in an IPv4 subnet.
    #[error(
        "{0} is the network or broadcast address of its own subnet: give another address of it"
    )]
    SubnetBroadcast(Prefix),
    /// The table has the address already.
    #[error("{0} was given twice: remove one")]
    Duplicate(IpAddr),
    /// The table has the prefix already.
    #[error("prefix {0} was given twice: remove one")]
    DuplicatePrefix(Prefix),
    /// The table is full.
    #[error("more than {MAX_ADDRESSES} addresses: remove some")]
    TooMany,
}

/// The kind of a destination address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Destination {
    /// One of the host's unicast addresses, or one that it answers for ([`AddressTable::add_any`]).
    Local,
    /// An IPv4 broadcast address that reaches the host.
    Broadcast(Broadcast),
    /// A multicast group that the host is a member of.
    Multicast(Group),
    /// Any other address: a host that does not forward discards the packet (RFC 1122 section 3.2.1.3).
    NotOurs,
}

/// The kind of a broadcast address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broadcast {
    /// 255.255.255.255.
    Limited,
    /// All ones, or all zeros (obsolete form), in the host part of one of the host's subnets.
    Subnet,
}

/// A multicast group that the host is a member of: the first two always (RFC 1112 section 4, RFC 4291
/// section 2.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// 224.0.0.1, `ff01::1`, `ff02::1`.
    AllNodes,
    /// `ff02::1:ffXX:XXXX` of one of the host's addresses.
    SolicitedNode,
    /// A group that a socket joined ([`AddressTable::join`]).
    Joined,
}

/// Returns `true` for an address that identifies a single host on a network: not unspecified, "this
/// network", loopback, multicast, broadcast, reserved (class E) or IPv4-mapped
/// (RFC 1122 section 3.2.1.3, RFC 6890).
///
/// Does not know subnets; see [`AddressTable::is_subnet_broadcast`] for their broadcast addresses.
pub fn is_single_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, ..] = v4.octets();
            first != 0 && first != 127 && first < 224
        }
        IpAddr::V6(v6) => {
            !v6.is_unspecified()
                && !v6.is_loopback()
                && !v6.is_multicast()
                && v6.to_ipv4_mapped().is_none()
        }
    }
}

/// Returns `true` for an IPv6 group whose packets stay on the host: of interface-local scope, and of the reserved
/// scope 0 (RFC 4291 section 2.7).
pub fn is_node_local(group: IpAddr) -> bool {
    matches!(group, IpAddr::V6(v6) if v6.is_multicast() && v6.octets()[1] & 0xf <= 1)
}

impl AddressTable {
    /// Creates an empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an address with its subnet.
    ///
    /// # Errors
    /// An [`AddressError`]; the table is then unchanged.
    pub fn add(&mut self, prefix: Prefix) -> Result<(), AddressError> {
        self.add_with(prefix, AddressFlags::default())
    }

    /// Adds an address with its subnet and its properties.
    ///
    /// # Errors
    /// As [`AddressTable::add`].
    pub fn add_with(&mut self, prefix: Prefix, flags: AddressFlags) -> Result<(), AddressError> {
        let address = prefix.address();
        if !is_single_host(address) {
            return Err(AddressError::NotUnicast(address));
        }
        if let IpAddr::V4(v4) = address
            && [prefix.broadcast(), prefix.old_broadcast()].contains(&Some(v4))
        {
            return Err(AddressError::SubnetBroadcast(prefix));
        }
        if self.is_local(address) {
            return Err(AddressError::Duplicate(address));
        }
        if self.own.len() >= MAX_ADDRESSES {
            return Err(AddressError::TooMany);
        }
        self.own.push(Candidate { prefix, flags });
        match address {
            IpAddr::V4(v4) => {
                let at = self.v4.partition_point(|a| *a < v4);
                self.v4.insert(at, v4);
            }
            IpAddr::V6(v6) => {
                let at = self.v6.partition_point(|a| *a < v6);
                self.v6.insert(at, v6);
            }
        }
        self.collect_broadcasts();
        Ok(())
    }

    fn collect_broadcasts(&mut self) {
        self.broadcasts.clear();
        self.broadcasts.extend(
            self.own
                .iter()
                .map(|own| own.prefix)
                .flat_map(|p| [p.broadcast(), p.old_broadcast()])
                .flatten(),
        );
        self.broadcasts.sort_unstable();
        self.broadcasts.dedup();
    }

    /// Removes an address. Returns `false` if the table does not have it.
    pub fn remove(&mut self, address: IpAddr) -> bool {
        let before = self.own.len();
        self.own.retain(|own| own.prefix.address() != address);
        match address {
            IpAddr::V4(v4) => self.v4.retain(|a| *a != v4),
            IpAddr::V6(v6) => self.v6.retain(|a| *a != v6),
        }
        self.collect_broadcasts();
        self.own.len() != before
    }

    /// Returns the addresses with their subnets, in the order of addition.
    pub fn iter(&self) -> impl Iterator<Item = &Prefix> {
        self.own.iter().map(|own| &own.prefix)
    }

    /// Changes the properties of an address. Returns `false` if the table does not have it.
    pub fn set_flags(&mut self, address: IpAddr, flags: AddressFlags) -> bool {
        let mut own = self.own.iter_mut();
        let found = own.find(|own| own.prefix.address() == address);
        found.map(|own| own.flags = flags).is_some()
    }

    /// Returns the properties of an address, or `None` if the table does not have it.
    pub fn flags(&self, address: IpAddr) -> Option<AddressFlags> {
        let mut own = self.own.iter();
        let found = own.find(|own| own.prefix.address() == address);
        found.map(|own| own.flags)
    }

    /// Sets the policy table of the selection.
    pub fn set_policy(&mut self, policy: PolicyTable) {
        self.selection.policy = policy;
    }

    /// Sets whether temporary addresses are preferred as sources, which they are unless it is turned off.
    pub fn prefer_temporary(&mut self, prefer: bool) {
        self.selection.prefer_temporary = prefer;
    }

    /// Makes the host answer for every address of `prefix`, as a route of type "local" does on Linux. The
    /// addresses do not become the host's own: none is selected as a source unless a caller asks for it.
    ///
    /// # Errors
    /// [`AddressError::DuplicatePrefix`] or [`AddressError::TooMany`]; the table is then unchanged.
    pub fn add_any(&mut self, prefix: Prefix) -> Result<(), AddressError> {
        let prefix = prefix.network();
        if self.any.contains(&prefix) {
            return Err(AddressError::DuplicatePrefix(prefix));
        }
        if self.any.len() >= MAX_ADDRESSES {
            return Err(AddressError::TooMany);
        }
        let at = self
            .any
            .partition_point(|other| other.len() >= prefix.len());
        self.any.insert(at, prefix);
        Ok(())
    }

    /// Takes a prefix of [`AddressTable::add_any`] back. Returns `false` if the table does not have it.
    pub fn remove_any(&mut self, prefix: Prefix) -> bool {
        let before = self.any.len();
        self.any.retain(|other| *other != prefix.network());
        self.any.len() != before
    }

    /// Makes the host a member of a multicast group. Who joined it, and the limit of their number, is the
    /// caller's.
    pub fn join(&mut self, group: IpAddr) {
        if let Err(at) = self.groups.binary_search(&group) {
            self.groups.insert(at, group);
        }
    }

    /// Ends the host's membership of a multicast group.
    pub fn leave(&mut self, group: IpAddr) {
        self.groups.retain(|other| *other != group);
    }

    /// Returns `true` if a socket joined `group`.
    pub fn is_joined(&self, group: IpAddr) -> bool {
        self.groups.binary_search(&group).is_ok()
    }

    /// Returns `true` if the host answers for `address`: it is one of its own, or in a prefix of
    /// [`AddressTable::add_any`].
    pub fn answers_for(&self, address: IpAddr) -> bool {
        self.is_local(address) || self.is_any(address)
    }

    fn is_any(&self, address: IpAddr) -> bool {
        self.any.iter().any(|prefix| prefix.contains(address)) && is_single_host(address)
    }

    /// Returns `true` if the table has `address`.
    pub fn is_local(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.v4.binary_search(&v4).is_ok(),
            IpAddr::V6(v6) => self.v6.binary_search(&v6).is_ok(),
        }
    }

    /// Returns `true` if packets to `address` stay within the host: it is one of its own, or a loopback address.
    pub fn is_here(&self, address: IpAddr) -> bool {
        self.is_local(address) || address.is_loopback()
    }

    /// Returns `true` for a broadcast address, in either form, of one of the IPv4 subnets.
    pub fn is_subnet_broadcast(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.broadcasts.binary_search(&v4).is_ok(),
            IpAddr::V6(_) => false,
        }
    }

    /// Returns the kind of a packet's destination address.
    pub fn classify(&self, dst: IpAddr) -> Destination {
        if self.is_local(dst) {
            return Destination::Local;
        }
        match dst {
            IpAddr::V4(Ipv4Addr::BROADCAST) => Destination::Broadcast(Broadcast::Limited),
            IpAddr::V4(v4) if v4.is_multicast() => {
                if v4 == Ipv4Addr::new(224, 0, 0, 1) && !self.v4.is_empty() {
                    Destination::Multicast(Group::AllNodes)
                } else if self.is_joined(dst) {
                    Destination::Multicast(Group::Joined)
                } else {
                    Destination::NotOurs
                }
            }
            IpAddr::V4(_) if self.is_subnet_broadcast(dst) => {
                Destination::Broadcast(Broadcast::Subnet)
            }
            IpAddr::V6(v6) if v6.is_multicast() => self.classify_group(v6),
            _ if self.is_any(dst) => Destination::Local,
            _ => Destination::NotOurs,
        }
    }

    fn classify_group(&self, group: Ipv6Addr) -> Destination {
        const SOLICITED_NODE: [u8; 13] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff];
        if self.v6.is_empty() {
            return Destination::NotOurs;
        }
        match group.segments() {
            [0xff01 | 0xff02, 0, 0, 0, 0, 0, 0, 1] => Destination::Multicast(Group::AllNodes),
            _ => {
                let octets = group.octets();
                let ours = octets.starts_with(&SOLICITED_NODE)
                    && self.v6.iter().any(|own| own.octets()[13..] == octets[13..]);
                if ours {
                    Destination::Multicast(Group::SolicitedNode)
                } else if self.is_joined(group.into()) {
                    Destination::Multicast(Group::Joined)
                } else {
                    Destination::NotOurs
                }
            }
        }
    }

    /// Checks the source address of a received packet.
    ///
    /// Refuses addresses that no host sends from, the broadcast addresses of the host's subnets, and the
    /// host's own addresses: a received packet with one of these is forged (the LAND attack has one at
    /// both ends).
    ///
    /// # Errors
    /// [`DropReason::IpSourceInvalid`] if the source is not valid.
    pub fn check_source(&self, src: IpAddr) -> Result<(), DropReason> {
        if is_single_host(src) && !self.is_local(src) && !self.is_subnet_broadcast(src) {
            Ok(())
        } else {
            Err(DropReason::IpSourceInvalid)
        }
    }

    /// Selects the source address of a packet to `dst`, or returns `None` if the table has no address of
    /// its family. The source of a packet to a loopback address is one, too.
    ///
    /// Applies the rules of RFC 6724 section 5 ([`super::selection`]), then the order of addition.
    pub fn select_source(&self, dst: IpAddr) -> Option<IpAddr> {
        self.select_source_for(dst, SourcePreference::Default)
    }

    /// [`AddressTable::select_source`] for a socket that prefers a kind of source.
    pub fn select_source_for(&self, dst: IpAddr, preference: SourcePreference) -> Option<IpAddr> {
        match dst {
            IpAddr::V4(v4) if v4.is_loopback() => return Some(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(v6) if v6.is_loopback() => return Some(dst),
            _ => {}
        }
        let source = self.selection.source(&self.own, dst, preference)?;
        Some(source.prefix.address())
    }

    /// Sorts the addresses of a peer in the order in which they are to be tried (RFC 6724 section 6). `is_reachable`
    /// says whether there is a route to an address; a loopback address needs none, and is its own source.
    pub fn sort_destinations(
        &self,
        destinations: &mut [SocketAddr],
        is_reachable: impl Fn(IpAddr) -> bool,
    ) {
        let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()].map(|address| {
            let flags = AddressFlags::default();
            Candidate {
                prefix: Prefix::host(address),
                flags,
            }
        });
        self.selection.sort(destinations, |dst| {
            let preference = SourcePreference::Default;
            if dst.is_loopback() {
                return self.selection.source(&loopback, dst, preference);
            }
            let source = self.selection.source(&self.own, dst, preference);
            source.filter(|_| is_reachable(dst))
        });
    }
}

#[cfg(test)]
#[path = "addresses_tests.rs"]
mod tests;
