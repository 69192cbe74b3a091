//! The treatment of a datagram that is larger than its path carries.

/// The treatment of a datagram that does not fit into one packet of its path (`IP_MTU_DISCOVER` of Linux). A program that
/// finds the path MTU by itself (RFC 8899) needs [`MtuDiscovery::Probe`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
#[repr(u8)]
pub enum MtuDiscovery {
    /// It is sent in fragments.
    #[default]
    Fragment,
    /// It is refused: the path MTU, as far as it is known, is the limit (`IP_PMTUDISC_DO`).
    Reject,
    /// It is sent in one packet nevertheless, which routers must not cut, if the link carries it
    /// (`IP_PMTUDISC_PROBE`).
    Probe,
}

impl From<u8> for MtuDiscovery {
    /// Converts the number back that `as u8` made of it.
    fn from(number: u8) -> Self {
        match number {
            1 => Self::Reject,
            2 => Self::Probe,
            _ => Self::Fragment,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_comes_back_from_its_number() {
        for mode in [
            MtuDiscovery::Fragment,
            MtuDiscovery::Reject,
            MtuDiscovery::Probe,
        ] {
            assert_eq!(MtuDiscovery::from(mode as u8), mode);
        }
    }
}
