//! An address with the length of its network part.
//!
//! * **Define.** A [`Prefix`]'s length never exceeds the bits of its address, so every mask and
//!   comparison made from it is defined.
//! * **Enforce.** The fields are private; [`Prefix::new`] is the only constructor.
//! * **Consume.** The address and route tables compare prefixes without checking lengths again.
//!
//! Both families are compared as 128-bit numbers whose first bits are the address: one code for
//! both, told apart by the family alone. Sections: RFC 4291 section 2.3, RFC 4632.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// An address and how many of its leading bits name the network.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix {
    address: IpAddr,
    len: u8,
}

/// A text or a number that is no prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// More bits than the family's addresses have (32 or 128).
    #[error("prefix length {len} of {address} is too long: at most {max}")]
    TooLong {
        /// The address that came with it.
        address: IpAddr,
        /// The length asked for.
        len: u8,
        /// The longest length of that family.
        max: u8,
    },
    /// Not of the form `address/length`.
    #[error("{0:?} is not of the form address/length")]
    Syntax(String),
}

/// The address's bits, left-aligned in 128.
fn left_aligned(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// A mask whose `len` leading bits are set.
fn mask(len: u8) -> u128 {
    match len {
        0 => 0,
        len => u128::MAX << (128 - u32::from(len.min(128))),
    }
}

/// Bits of an address in this family.
fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Leading bits that two addresses share; 0 if they are of different families
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
    /// `address` with `len` network bits.
    ///
    /// # Errors
    /// [`PrefixError::TooLong`] if the family has fewer bits.
    pub fn new(address: IpAddr, len: u8) -> Result<Self, PrefixError> {
        let max = width(address);
        if len > max {
            return Err(PrefixError::TooLong { address, len, max });
        }
        Ok(Self { address, len })
    }

    /// The single address: all its bits are network bits.
    pub fn host(address: IpAddr) -> Self {
        Self {
            address,
            len: width(address),
        }
    }

    /// The address as given, host bits included.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Number of network bits: 0..=32 or 0..=128.
    pub fn len(&self) -> u8 {
        self.len
    }

    /// True for a prefix that contains its whole family.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The same prefix with the host bits cleared.
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

    /// True if `address` is of this family and within this network.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && (left_aligned(self.address) ^ left_aligned(address)) & mask(self.len) == 0
    }

    /// The IPv4 subnet's broadcast address: all host bits set (RFC 1122 section 3.2.1.3). `None`
    /// for IPv6 and for /31 and /32, which have none (RFC 3021).
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.address {
            IpAddr::V4(v4) if self.len < 31 => Some(Ipv4Addr::from_bits(
                v4.to_bits() | (u32::MAX >> u32::from(self.len)),
            )),
            _ => None,
        }
    }

    /// The IPv4 subnet's all-zeros host address: the obsolete form of its broadcast address
    /// (RFC 1122 section 3.3.6). `None` where [`Prefix::broadcast`] is.
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

    /// Parses `address/length`; both parts must be there.
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
