//! Classes of addresses, and witness types for addresses that were checked.
//!
//! * **Define.** A [`Specified`] address is not the unspecified address. A [`Unicast`] address names a
//!   single interface. The type `Ipv4Addr` alone tells neither.
//! * **Enforce.** Fields are private, and `new`, which checks the address, is the only constructor.
//! * **Consume.** Code that must not answer a multicast source, or bind to `0.0.0.0`, requires the
//!   witness type.

use core::fmt;
use core::hash::Hash;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Ip, Ipv4, Ipv6};

/// The scope of a multicast address: for IPv6 the scope field (RFC 4291 section 2.7, RFC 7346), for IPv4
/// the ranges that RFC 2365 sections 6 and 8 assign.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MulticastScope {
    /// Within the node (`ffx1::`).
    InterfaceLocal,
    /// Within the link (`ffx2::`, `224.0.0.0/24`).
    LinkLocal,
    /// `ffx3::`, `239.255.0.0/16`.
    RealmLocal,
    /// `ffx4::`.
    AdminLocal,
    /// `ffx5::`.
    SiteLocal,
    /// Within the organisation: `ffx8::`, and all of `239.0.0.0/8` but the realm-local range. Of the
    /// latter, `239.192.0.0/14` is assigned and the rest is reserved for its growth.
    OrganizationLocal,
    /// `ffxe::`, `ffxf::` (which RFC 4291 treats as global) and the rest of `224.0.0.0/4`.
    Global,
    /// A reserved or unassigned scope value. Nodes drop packets of scope 0.
    Reserved(u8),
}

/// An address of one IP version: `core::net::Ipv4Addr` or `core::net::Ipv6Addr`.
///
/// The trait is sealed through [`Ip`] and has no other implementations.
pub trait IpAddress:
    Copy + Eq + Ord + Hash + fmt::Debug + fmt::Display + Into<IpAddr> + Send + Sync + 'static
{
    /// The IP version of the address.
    type Version: Ip<Addr = Self>;

    /// Length in bits: 32 or 128.
    const BITS: u8;

    /// `0.0.0.0` or `::`.
    const UNSPECIFIED: Self;

    /// `127.0.0.1` or `::1`.
    const LOOPBACK: Self;

    /// Returns the address as a number. An IPv4 address fills the low 32 bits.
    fn bits(self) -> u128;

    /// Creates the address from a number, the inverse of [`bits`](Self::bits). For an IPv4 address only
    /// the low 32 bits count.
    fn from_bits_truncated(bits: u128) -> Self;

    /// Converts `addr`, or returns `None` if it is of the other version.
    fn from_ip_addr(addr: IpAddr) -> Option<Self>;

    /// Returns `true` for the unspecified address, `0.0.0.0` or `::`.
    fn is_unspecified(self) -> bool {
        self == Self::UNSPECIFIED
    }

    /// Returns `true` for a loopback address, `127.0.0.0/8` or `::1`, which must not appear on a wire.
    fn is_loopback(self) -> bool;

    /// Returns `true` for a link-local address, `169.254.0.0/16` (RFC 3927) or `fe80::/10` (RFC 4291),
    /// which routers do not forward.
    fn is_link_local(self) -> bool;

    /// Returns `true` for a multicast address, `224.0.0.0/4` or `ff00::/8`.
    fn is_multicast(self) -> bool {
        self.multicast_scope().is_some()
    }

    /// Returns the scope of a multicast address, or `None` for any other address.
    fn multicast_scope(self) -> Option<MulticastScope>;

    /// Returns `true` for `255.255.255.255`. IPv6 has no broadcast.
    fn is_limited_broadcast(self) -> bool;

    /// Returns `true` for an address reserved for documentation (RFC 5737, RFC 3849, RFC 9637).
    fn is_documentation(self) -> bool;

    /// Returns `true` for a reserved address that must not appear on a wire (RFC 6890 section 2.2). For
    /// IPv4 that is class E without the limited broadcast, and `0.0.0.0/8` without `0.0.0.0`. For IPv6
    /// it is the IPv4-mapped `::ffff:0:0/96`.
    fn is_reserved(self) -> bool;

    /// Returns `true` for a private address (RFC 1918) or unique local address (RFC 4193).
    fn is_private(self) -> bool;

    /// Returns `true` for an address shared between a provider and its customers, `100.64.0.0/10`
    /// (RFC 6598). IPv6 has none.
    fn is_shared(self) -> bool;

    /// Returns `true` for an address reserved for benchmarks between devices, `198.18.0.0/15` (RFC 2544)
    /// or `2001:2::/48` (RFC 5180).
    fn is_benchmarking(self) -> bool;

    /// Returns `true` for an address that names one interface: it is not unspecified, multicast, limited
    /// broadcast or reserved. The loopback address is unicast.
    ///
    /// The directed broadcast address of a subnet counts as unicast; see
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
    /// Checks `addr`. Returns `None` if it is the unspecified address.
    pub fn new(addr: A) -> Option<Self> {
        (!addr.is_unspecified()).then_some(Self(addr))
    }

    /// Returns the address.
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
    /// Checks `addr`. Returns `None` if it is not [unicast](IpAddress::is_unicast).
    pub fn new(addr: A) -> Option<Self> {
        addr.is_unicast().then_some(Self(addr))
    }

    /// Returns the address.
    pub fn get(self) -> A {
        self.0
    }

    /// Converts to a specified address, which every unicast address is.
    pub fn specified(self) -> Specified<A> {
        Specified(self.0)
    }
}

impl<A: fmt::Display> fmt::Display for Unicast<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
