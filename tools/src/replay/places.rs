//! The addresses of a replay. The stack has one of each family, and each session has a peer of its own, so that
//! captured addresses that no host may have, or that both ends share, can be replayed, and many sessions at once.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The benchmarking network of RFC 2544.
const V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The documentation prefix of RFC 3849.
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// The stack's addresses and their prefixes.
pub(super) const OURS: [(IpAddr, u8); 2] = [(IpAddr::V4(V4), 15), (IpAddr::V6(V6), 32)];

/// The networks of all peers.
pub(super) const NETWORKS: [&str; 2] = ["198.18.0.0/15", "2001:db8::/32"];

/// Most sessions that are replayed at once: the addresses of the smaller network, but its last ones.
pub(super) const MAX_SESSIONS: usize = 130_000;

/// The two ends of a session, in the replay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The stack's end.
    pub ours: SocketAddr,
    /// The peer's end.
    pub peer: SocketAddr,
}

impl Place {
    /// Returns the place of session `number`, whose captured ends are `ours` and `peer`.
    pub(super) fn of(number: usize, ours: SocketAddr, peer: SocketAddr) -> Self {
        let here = if ours.is_ipv4() { V4.into() } else { V6.into() };
        Self::at(SocketAddr::new(here, ours.port()), number, peer)
    }

    /// Returns the place of session `number` with the host at `ours`.
    pub(super) fn at(ours: SocketAddr, number: usize, peer: SocketAddr) -> Self {
        let number = number as u32 + 2;
        let there: IpAddr = if ours.is_ipv4() {
            Ipv4Addr::from((u32::from(V4) & !1) + number).into()
        } else {
            Ipv6Addr::from((u128::from(V6) & !1) + u128::from(number)).into()
        };
        Self {
            ours,
            peer: SocketAddr::new(there, peer.port()),
        }
    }
}

/// Returns a port that is none of `taken`.
pub(super) fn free_port(taken: &HashSet<u16>) -> u16 {
    (1..=u16::MAX)
        .find(|port| !taken.contains(port))
        .unwrap_or(1)
}
