//! Addresses: what an address is for, and witnesses of what was checked about one.
//!
//! * **Define.** [`Specified`] is an address that is not the unspecified one; [`Unicast`] one that
//!   names a single interface. The compiler cannot see either in an `Ipv4Addr`.
//! * **Enforce.** Private fields; `new` is the only constructor and asks the question.
//! * **Consume.** Whoever must not answer a multicast source, or bind to `0.0.0.0`, takes the witness.

use core::fmt;
use core::hash::Hash;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Ip, Ipv4, Ipv6};

/// How far a multicast address reaches: the scope field of RFC 4291 section 2.7 and RFC 7346, and
/// what RFC 2365 sections 6 and 8 assign to IPv4.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MulticastScope {
    /// Stays in the node (`ffx1::`).
    InterfaceLocal,
    /// Stays on the link (`ffx2::`, `224.0.0.0/24`).
    LinkLocal,
    /// `ffx3::`, `239.255.0.0/16`.
    RealmLocal,
    /// `ffx4::`.
    AdminLocal,
    /// `ffx5::`.
    SiteLocal,
    /// `ffx8::`, and all of `239.0.0.0/8` but the realm-local range: `239.192.0.0/14` is assigned, the
    /// rest set aside for it to grow. None of it leaves the organisation.
    OrganizationLocal,
    /// `ffxe::`, `ffxf::` (which RFC 4291 wants taken for it), the rest of `224.0.0.0/4`.
    Global,
    /// A scope value that is reserved or unassigned; packets of scope 0 are dropped by everybody.
    Reserved(u8),
}

/// An address of one IP version: `core::net::Ipv4Addr` or `core::net::Ipv6Addr`.
///
/// Sealed through [`Ip`]: the two implementations here are all there are.
pub trait IpAddress:
    Copy + Eq + Ord + Hash + fmt::Debug + fmt::Display + Into<IpAddr> + Send + Sync + 'static
{
    /// The version whose addresses these are.
    type Version: Ip<Addr = Self>;

    /// Length in bits: 32 or 128.
    const BITS: u8;

    /// `0.0.0.0` or `::`.
    const UNSPECIFIED: Self;

    /// `127.0.0.1` or `::1`.
    const LOOPBACK: Self;

    /// The address as a number, most significant octet first; an IPv4 address has 32 bits of it.
    fn bits(self) -> u128;

    /// The inverse of [`bits`](Self::bits); of an IPv4 address only the low 32 bits count.
    fn from_bits_truncated(bits: u128) -> Self;

    /// The address, if it is of this version.
    fn from_ip_addr(addr: IpAddr) -> Option<Self>;

    /// `0.0.0.0` or `::`: no address at all.
    fn is_unspecified(self) -> bool {
        self == Self::UNSPECIFIED
    }

    /// `127.0.0.0/8` or `::1`: may never appear on a wire.
    fn is_loopback(self) -> bool;

    /// `169.254.0.0/16` (RFC 3927) or `fe80::/10` (RFC 4291): never routed.
    fn is_link_local(self) -> bool;

    /// `224.0.0.0/4` or `ff00::/8`.
    fn is_multicast(self) -> bool {
        self.multicast_scope().is_some()
    }

    /// How far a multicast address reaches; `None` for an address that is not multicast.
    fn multicast_scope(self) -> Option<MulticastScope>;

    /// `255.255.255.255`: IPv6 has none.
    fn is_limited_broadcast(self) -> bool;

    /// Set aside for documentation (RFC 5737, RFC 3849, RFC 9637).
    fn is_documentation(self) -> bool;

    /// Set aside and never on a wire: class E without the limited broadcast, IPv4's `0.0.0.0/8` without
    /// `0.0.0.0` itself, IPv6's IPv4-mapped `::ffff:0:0/96` (RFC 6890 section 2.2).
    fn is_reserved(self) -> bool;

    /// For use within an organisation: RFC 1918, RFC 4193.
    fn is_private(self) -> bool;

    /// Shared between a provider and its customers: `100.64.0.0/10` (RFC 6598). IPv6 has none.
    fn is_shared(self) -> bool;

    /// For measurements between devices only: `198.18.0.0/15` (RFC 2544), `2001:2::/48` (RFC 5180).
    fn is_benchmarking(self) -> bool;

    /// Names one interface: not unspecified, multicast, limited broadcast or reserved; the loopback
    /// address does. A subnet's directed broadcast needs the subnet to be seen:
    /// [`Subnet::is_broadcast`](super::Subnet::is_broadcast).
    fn is_unicast(self) -> bool {
        !(self.is_unspecified()
            || self.is_multicast()
            || self.is_limited_broadcast()
            || self.is_reserved())
    }
}

impl IpAddress for Ipv4Addr {
    type Version = Ipv4;
    const BITS: u8 = 32;
    const UNSPECIFIED: Self = Ipv4Addr::UNSPECIFIED;
    const LOOPBACK: Self = Ipv4Addr::LOCALHOST;

    fn bits(self) -> u128 {
        u128::from(self.to_bits())
    }

    fn from_bits_truncated(bits: u128) -> Self {
        Ipv4Addr::from_bits(bits as u32)
    }

    fn from_ip_addr(addr: IpAddr) -> Option<Self> {
        match addr {
            IpAddr::V4(addr) => Some(addr),
            IpAddr::V6(_) => None,
        }
    }

    fn is_loopback(self) -> bool {
        self.octets()[0] == 127
    }

    fn is_link_local(self) -> bool {
        self.octets()[..2] == [169, 254]
    }

    fn multicast_scope(self) -> Option<MulticastScope> {
        Some(match self.octets() {
            [224, 0, 0, _] => MulticastScope::LinkLocal,
            [239, 255, ..] => MulticastScope::RealmLocal,
            [239, ..] => MulticastScope::OrganizationLocal,
            [224..=239, ..] => MulticastScope::Global,
            _ => return None,
        })
    }

    fn is_limited_broadcast(self) -> bool {
        self == Ipv4Addr::BROADCAST
    }

    fn is_documentation(self) -> bool {
        matches!(
            self.octets(),
            [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _]
        )
    }

    fn is_reserved(self) -> bool {
        let first = self.octets()[0];
        (first >= 240 && self != Ipv4Addr::BROADCAST)
            || (first == 0 && self != Ipv4Addr::UNSPECIFIED)
    }

    fn is_private(self) -> bool {
        matches!(
            self.octets(),
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..]
        )
    }

    fn is_shared(self) -> bool {
        matches!(self.octets(), [100, 64..=127, ..])
    }

    fn is_benchmarking(self) -> bool {
        matches!(self.octets(), [198, 18..=19, ..])
    }
}

impl IpAddress for Ipv6Addr {
    type Version = Ipv6;
    const BITS: u8 = 128;
    const UNSPECIFIED: Self = Ipv6Addr::UNSPECIFIED;
    const LOOPBACK: Self = Ipv6Addr::LOCALHOST;

    fn bits(self) -> u128 {
        self.to_bits()
    }

    fn from_bits_truncated(bits: u128) -> Self {
        Ipv6Addr::from_bits(bits)
    }

    fn from_ip_addr(addr: IpAddr) -> Option<Self> {
        match addr {
            IpAddr::V6(addr) => Some(addr),
            IpAddr::V4(_) => None,
        }
    }

    fn is_loopback(self) -> bool {
        self == Ipv6Addr::LOCALHOST
    }

    fn is_link_local(self) -> bool {
        self.segments()[0] & 0xffc0 == 0xfe80
    }

    fn multicast_scope(self) -> Option<MulticastScope> {
        let [first, second, ..] = self.octets();
        (first == 0xff).then_some(match second & 0x0f {
            1 => MulticastScope::InterfaceLocal,
            2 => MulticastScope::LinkLocal,
            3 => MulticastScope::RealmLocal,
            4 => MulticastScope::AdminLocal,
            5 => MulticastScope::SiteLocal,
            8 => MulticastScope::OrganizationLocal,
            14 | 15 => MulticastScope::Global,
            other => MulticastScope::Reserved(other),
        })
    }

    fn is_limited_broadcast(self) -> bool {
        false
    }

    fn is_documentation(self) -> bool {
        let segments = self.segments();
        (segments[0] == 0x2001 && segments[1] == 0xdb8)
            || (segments[0] == 0x3fff && segments[1] & 0xf000 == 0)
    }

    fn is_reserved(self) -> bool {
        self.to_ipv4_mapped().is_some()
    }

    fn is_private(self) -> bool {
        self.octets()[0] & 0xfe == 0xfc
    }

    fn is_shared(self) -> bool {
        false
    }

    fn is_benchmarking(self) -> bool {
        matches!(self.segments(), [0x2001, 2, 0, ..])
    }
}

/// An address that is not `0.0.0.0` or `::`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct Specified<A>(A);

impl<A: IpAddress> Specified<A> {
    /// The witness, unless `addr` is the unspecified address.
    pub fn new(addr: A) -> Option<Self> {
        (!addr.is_unspecified()).then_some(Self(addr))
    }

    /// The address.
    pub fn get(self) -> A {
        self.0
    }
}

impl<A: fmt::Display> fmt::Display for Specified<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An address that names one interface: not unspecified, multicast, limited broadcast or reserved.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct Unicast<A>(A);

impl<A: IpAddress> Unicast<A> {
    /// The witness, if `addr` [is unicast](IpAddress::is_unicast).
    pub fn new(addr: A) -> Option<Self> {
        addr.is_unicast().then_some(Self(addr))
    }

    /// The address.
    pub fn get(self) -> A {
        self.0
    }

    /// A unicast address is specified.
    pub fn specified(self) -> Specified<A> {
        Specified(self.0)
    }
}

impl<A: fmt::Display> fmt::Display for Unicast<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
