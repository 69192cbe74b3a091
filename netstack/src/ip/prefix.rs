//! An address with its prefix length.
//!
//! * **Define.** The length of a [`Prefix`] never exceeds the bits of its address.
//! * **Enforce.** The fields are private, and the constructors check the length.
//! * **Consume.** The address and route tables compare prefixes without checking lengths again.
//!
//! Addresses of both families are compared as 128-bit numbers that begin with the address's bits.
//! Sections: RFC 4291 section 2.3, RFC 4632.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// An address and the number of its leading bits that identify the network.
///
/// ```
/// use netstack::ip::prefix::Prefix;
///
/// let prefix: Prefix = "10.77.0.2/24".parse()?;
/// assert!(prefix.contains([10, 77, 0, 9].into()));
/// assert_eq!(prefix.network().to_string(), "10.77.0.0/24");
/// # Ok::<(), netstack::ip::prefix::PrefixError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix {
    address: IpAddr,
    len: u8,
}

/// The reason why a prefix is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// The length exceeds the bits of the address (32 or 128).
    #[error("prefix length {len} of {address} is too long: give at most {max}")]
    TooLong {
        /// The address.
        address: IpAddr,
        /// The invalid length.
        len: u8,
        /// The largest length of the family.
        max: u8,
    },
    /// The text is not of the form `address/length`.
    #[error("{0:?} is not of the form address/length, such as 10.77.0.2/24")]
    Syntax(String),
}

/// Returns the bits of an address, left-aligned in 128 bits.
fn left_aligned(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// Returns a mask whose `len` leading bits are set.
fn mask(len: u8) -> u128 {
    match len {
        0 => 0,
        len => u128::MAX << (128 - u32::from(len.min(128))),
    }
}

/// Returns the number of bits of an address.
fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Returns the number of leading bits that two addresses share, or 0 if they are of different families
/// (RFC 6724 section 2.2).
pub fn common_prefix_len(a: IpAddr, b: IpAddr) -> u8 {
    if a.is_ipv4() != b.is_ipv4() {
        return 0;
    }
    let equal = (left_aligned(a) ^ left_aligned(b)).leading_zeros();
    // At most 128.
    (equal as u8).min(width(a))
}

impl Prefix {
    /// Creates a prefix of `address` with `len` network bits.
    ///
    /// # Errors
    /// [`PrefixError::TooLong`] if the address has fewer bits.
    pub fn new(address: IpAddr, len: u8) -> Result<Self, PrefixError> {
        let max = width(address);
        if len > max {
            return Err(PrefixError::TooLong { address, len, max });
        }
        Ok(Self { address, len })
    }

    /// Creates the prefix of a single address: all of its bits are network bits.
    pub fn host(address: IpAddr) -> Self {
        Self {
            address,
            len: width(address),
        }
    }

    /// Returns the address, host bits included.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Returns the number of network bits: 0..=32 or 0..=128.
    pub fn len(&self) -> u8 {
        self.len
    }

    /// Returns `true` for a prefix without network bits, which contains its whole family.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the prefix with the host bits cleared.
    pub fn network(&self) -> Self {
        let bits = left_aligned(self.address) & mask(self.len);
        let address = match self.address {
            // The upper 32 bits hold the address.
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits((bits >> 96) as u32)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        };
        Self {
            address,
            len: self.len,
        }
    }

    /// Returns `true` if `address` is of this family and in this network.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && (left_aligned(self.address) ^ left_aligned(address)) & mask(self.len) == 0
    }

    /// Returns the broadcast address of an IPv4 subnet, whose host bits are all set (RFC 1122 section
    /// 3.2.1.3). Returns `None` for IPv6 and for /31 and /32, which have none (RFC 3021).
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.address {
            IpAddr::V4(v4) if self.len < 31 => Some(Ipv4Addr::from_bits(
                v4.to_bits() | (u32::MAX >> u32::from(self.len)),
            )),
            _ => None,
        }
    }

    /// Returns the obsolete form of the broadcast address of an IPv4 subnet, whose host bits are all zero
    /// (RFC 1122 section 3.3.6). Returns `None` where [`Prefix::broadcast`] does.
    pub fn old_broadcast(&self) -> Option<Ipv4Addr> {
        match self.network().address {
            IpAddr::V4(v4) if self.len < 31 => Some(v4),
            _ => None,
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    /// Parses `address/length`; both parts are required.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let syntax = || PrefixError::Syntax(text.to_owned());
        let (address, len) = text.split_once('/').ok_or_else(syntax)?;
        let address: IpAddr = address.parse().map_err(|_| syntax())?;
        let len: u8 = len.parse().map_err(|_| syntax())?;
        Self::new(address, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().expect(text)
    }

    #[test]
    fn text_forms() {
        assert_eq!(prefix("10.77.0.2/24").to_string(), "10.77.0.2/24");
        assert_eq!(prefix("fd77::2/64").network(), prefix("fd77::/64"));
        assert!(matches!(
            "10.0.0.1/33".parse::<Prefix>(),
            Err(PrefixError::TooLong { max: 32, .. })
        ));
        for bad in [
            "",
            "10.0.0.1",
            "10.0.0.1/",
            "/8",
            "10.0.0.1/-1",
            "x/8",
            "::/129999",
        ] {
            assert!(bad.parse::<Prefix>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn containment() {
        let cases = [
            ("10.77.0.2/24", "10.77.0.255", true),
            ("10.77.0.2/24", "10.77.1.0", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::", false),
            ("::/0", "0.0.0.0", false),
            ("10.0.0.1/32", "10.0.0.1", true),
            ("10.0.0.1/32", "10.0.0.0", false),
            ("fd77::2/64", "fd77::ffff:1", true),
            ("fd77::2/64", "fd77:0:0:1::2", false),
            ("fd77::2/128", "fd77::2", true),
            ("fd77::2/128", "fd77::3", false),
        ];
        for (network, address, expected) in cases {
            let address = address.parse().expect("address");
            assert_eq!(
                prefix(network).contains(address),
                expected,
                "{network} {address}"
            );
        }
    }

    #[test]
    fn broadcast_addresses() {
        let two = |text: &str| (prefix(text).broadcast(), prefix(text).old_broadcast());
        assert_eq!(
            two("10.77.3.2/22"),
            (Some([10, 77, 3, 255].into()), Some([10, 77, 0, 0].into()))
        );
        assert_eq!(
            two("1.2.3.4/0"),
            (Some([255; 4].into()), Some([0; 4].into()))
        );
        for none in ["10.0.0.1/31", "10.0.0.1/32", "fd77::1/64"] {
            assert_eq!(two(none), (None, None), "{none}");
        }
    }

    #[test]
    fn shared_bits() {
        let common =
            |a: &str, b: &str| common_prefix_len(a.parse().expect("a"), b.parse().expect("b"));
        assert_eq!(common("10.0.0.1", "10.0.0.1"), 32);
        assert_eq!(common("10.0.0.1", "11.0.0.1"), 7);
        assert_eq!(common("fd77::1", "fd77::1"), 128);
        assert_eq!(common("fd77::1", "fd77::2"), 126);
        assert_eq!(common("::", "0.0.0.0"), 0);
    }
}
