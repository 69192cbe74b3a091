//! Subnets: an address prefix and what lies in it.

use core::fmt;
use core::net::Ipv4Addr;
use core::str::FromStr;

use super::addr::IpAddress;

/// A prefix: a network address whose host bits are zero, and how many bits are fixed.
///
/// ```
/// use core::net::Ipv4Addr;
/// use packet::ip::Subnet;
///
/// let lan: Subnet<Ipv4Addr> = "10.77.0.0/24".parse().unwrap();
/// assert!(lan.contains(Ipv4Addr::new(10, 77, 0, 9)));
/// assert_eq!(lan.broadcast(), Some(Ipv4Addr::new(10, 77, 0, 255)));
/// assert_eq!(lan, Subnet::containing(Ipv4Addr::new(10, 77, 0, 9), 24).unwrap());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet<A> {
    network: A,
    prefix_len: u8,
}

/// Why a subnet could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SubnetError {
    /// The prefix is longer than the address.
    #[error("prefix length is larger than the address has bits")]
    PrefixTooLong,
    /// Bits beyond the prefix are set.
    #[error("bits beyond the prefix are not zero")]
    HostBits,
    /// Not of the form `address/length`.
    #[error("not of the form address/length")]
    Syntax,
}

fn mask<A: IpAddress>(prefix_len: u8) -> u128 {
    let bits = u32::from(A::BITS);
    let all = u128::MAX >> (128 - bits);
    all & !all.checked_shr(u32::from(prefix_len)).unwrap_or(0)
}

impl<A: IpAddress> Subnet<A> {
    /// The subnet `network/prefix_len`; its host bits must be zero.
    pub fn new(network: A, prefix_len: u8) -> Result<Self, SubnetError> {
        let subnet = Self::containing(network, prefix_len)?;
        if subnet.network == network {
            Ok(subnet)
        } else {
            Err(SubnetError::HostBits)
        }
    }

    /// The subnet of length `prefix_len` in which `addr` lies.
    pub fn containing(addr: A, prefix_len: u8) -> Result<Self, SubnetError> {
        if prefix_len > A::BITS {
            return Err(SubnetError::PrefixTooLong);
        }
        Ok(Self {
            network: A::from_bits_truncated(addr.bits() & mask::<A>(prefix_len)),
            prefix_len,
        })
    }

    /// The first address: all host bits zero.
    pub fn network(&self) -> A {
        self.network
    }

    /// How many leading bits are fixed.
    pub fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// Whether `addr` lies within.
    pub fn contains(&self, addr: A) -> bool {
        addr.bits() & mask::<A>(self.prefix_len) == self.network.bits()
    }

    /// Whether all of `other` lies within.
    pub fn covers(&self, other: &Self) -> bool {
        self.prefix_len <= other.prefix_len && self.contains(other.network)
    }

    /// The last address: all host bits one.
    pub fn last(&self) -> A {
        let all = u128::MAX >> (128 - u32::from(A::BITS));
        A::from_bits_truncated(self.network.bits() | (all & !mask::<A>(self.prefix_len)))
    }
}

impl Subnet<Ipv4Addr> {
    /// The directed broadcast address; a /31 (RFC 3021) and a /32 have none.
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        (self.prefix_len <= 30).then(|| self.last())
    }

    /// Whether `addr` reaches every host of this subnet: its directed broadcast, or the all-zeros
    /// form of old (RFC 1122 section 3.3.6).
    pub fn is_broadcast(&self, addr: Ipv4Addr) -> bool {
        self.prefix_len <= 30 && (addr == self.network || addr == self.last())
    }
}

impl<A: IpAddress> fmt::Display for Subnet<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix_len)
    }
}

impl<A: IpAddress> fmt::Debug for Subnet<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<A: IpAddress + FromStr> FromStr for Subnet<A> {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let (addr, len) = text.split_once('/').ok_or(SubnetError::Syntax)?;
        let addr = addr.parse().map_err(|_| SubnetError::Syntax)?;
        // Digits only, and no zero in front, as in the address.
        let plain = len.bytes().all(|digit| digit.is_ascii_digit());
        if len.is_empty() || !plain || (len.len() > 1 && len.starts_with('0')) {
            return Err(SubnetError::Syntax);
        }
        let len = len.parse().map_err(|_| SubnetError::PrefixTooLong)?;
        Self::new(addr, len)
    }
}
