//! Subnets: address prefixes.

use core::fmt;
use core::net::Ipv4Addr;
use core::str::FromStr;

use super::addr::IpAddress;

/// A subnet: a network address whose host bits are zero, and the length of its prefix.
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

/// The reason why a subnet is invalid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SubnetError {
    /// The prefix is longer than the address.
    #[error("prefix length exceeds the number of bits in the address")]
    PrefixTooLong,
    /// Bits beyond the prefix are set.
    #[error("bits beyond the prefix are not zero")]
    HostBits,
    /// The text does not have the form `address/length`.
    #[error("text does not have the form address/length")]
    Syntax,
}

fn mask<A: IpAddress>(prefix_len: u8) -> u128 {
    let bits = u32::from(A::BITS);
    let all = u128::MAX >> (128 - bits);
    all & !all.checked_shr(u32::from(prefix_len)).unwrap_or(0)
}

impl<A: IpAddress> Subnet<A> {
    /// Creates the subnet `network/prefix_len`.
    ///
    /// # Errors
    /// Returns [`SubnetError::PrefixTooLong`], or [`SubnetError::HostBits`] if a bit of `network` beyond
    /// the prefix is set.
    pub fn new(network: A, prefix_len: u8) -> Result<Self, SubnetError> {
        let subnet = Self::containing(network, prefix_len)?;
        if subnet.network == network {
            Ok(subnet)
        } else {
            Err(SubnetError::HostBits)
        }
    }

    /// Creates the subnet with a prefix of `prefix_len` bits that contains `addr`.
    ///
    /// # Errors
    /// Returns [`SubnetError::PrefixTooLong`].
    pub fn containing(addr: A, prefix_len: u8) -> Result<Self, SubnetError> {
        if prefix_len > A::BITS {
            return Err(SubnetError::PrefixTooLong);
        }
        Ok(Self {
            network: A::from_bits_truncated(addr.bits() & mask::<A>(prefix_len)),
            prefix_len,
        })
    }

    /// Returns the first address, whose host bits are all zero.
    pub fn network(&self) -> A {
        self.network
    }

    /// Returns the length of the prefix, in bits.
    pub fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// Returns `true` if the subnet contains `addr`.
    pub fn contains(&self, addr: A) -> bool {
        addr.bits() & mask::<A>(self.prefix_len) == self.network.bits()
    }

    /// Returns `true` if the subnet contains all addresses of `other`.
    pub fn covers(&self, other: &Self) -> bool {
        self.prefix_len <= other.prefix_len && self.contains(other.network)
    }

    /// Returns the last address, whose host bits are all one.
    pub fn last(&self) -> A {
        let all = u128::MAX >> (128 - u32::from(A::BITS));
        A::from_bits_truncated(self.network.bits() | (all & !mask::<A>(self.prefix_len)))
    }
}

impl Subnet<Ipv4Addr> {
    /// Returns the directed broadcast address. A /31 (RFC 3021) and a /32 have none.
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        (self.prefix_len <= 30).then(|| self.last())
    }

    /// Returns `true` if `addr` reaches every host of this subnet: its directed broadcast address, or
    /// the obsolete form with all host bits zero (RFC 1122 section 3.3.6).
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
        // Only digits and no leading zero, as in the address.
        let plain = len.bytes().all(|digit| digit.is_ascii_digit());
        if len.is_empty() || !plain || (len.len() > 1 && len.starts_with('0')) {
            return Err(SubnetError::Syntax);
        }
        let len = len.parse().map_err(|_| SubnetError::PrefixTooLong)?;
        Self::new(addr, len)
    }
}
