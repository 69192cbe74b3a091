//! The policy of path MTU discovery without the help of routers (RFC 4821).

use core::fmt;
use core::str::FromStr;

/// When TCP finds the MTU of a path by the fate of segments of different sizes (packetization layer path MTU
/// discovery, RFC 4821). Reports of routers count in any case.
///
/// ```
/// use netstack::base::MtuProbing;
///
/// assert_eq!("black-hole".parse(), Ok(MtuProbing::BlackHole));
/// assert_eq!(MtuProbing::default(), MtuProbing::BlackHole);
/// assert!("sometimes".parse::<MtuProbing>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum MtuProbing {
    /// Never: a path that silently drops full-sized packets carries nothing but short segments
    /// (`tcp_mtu_probing` of Linux is 0).
    Off,
    /// Segments have the size that the path should carry. If they vanish, smaller ones are sent, and larger ones are
    /// tried from there (`tcp_mtu_probing` is 1).
    #[default]
    BlackHole,
    /// Each connection begins with small segments and tries larger ones, where nothing is known of the path
    /// (`tcp_mtu_probing` is 2): it never waits for a timeout, and needs some round trips to reach the full size.
    Always,
}

impl MtuProbing {
    /// All policies.
    pub const ALL: [Self; 3] = [Self::Off, Self::BlackHole, Self::Always];

    /// Returns the name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::BlackHole => "black-hole",
            Self::Always => "always",
        }
    }
}

impl fmt::Display for MtuProbing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is not one of a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown policy of MTU probing `{name}`: choose off, black-hole or always")]
pub struct UnknownMtuProbing {
    /// The name.
    pub name: String,
}

impl FromStr for MtuProbing {
    type Err = UnknownMtuProbing;

    fn from_str(name: &str) -> Result<Self, UnknownMtuProbing> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.name() == name)
            .ok_or_else(|| UnknownMtuProbing { name: name.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_is_found_by_its_name() {
        for policy in MtuProbing::ALL {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
        let error = "2".parse::<MtuProbing>().unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("choose off, black-hole or always")
        );
    }
}
