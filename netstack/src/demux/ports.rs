//! Selection of the local port of an outgoing flow.
//!
//! An attacker that predicts the port has half of what it takes to forge packets of a flow (RFC 5927,
//! RFC 6056 section 1). The double-hash algorithm of RFC 6056 section 3.3.4 prevents that: a keyed hash of
//! the addresses and the remote port gives each destination its own start, and small counters, selected by
//! a second hash, make consecutive flows to one destination take consecutive ports. So a destination sees
//! no port twice before the range wraps, and TIME-WAIT rarely blocks one. Without a destination (an
//! unconnected UDP socket) the start is random (section 3.3.1).
//!
//! Pure: the caller says whether a port is in use, at most once per port of the range.

use core::net::{IpAddr, SocketAddr};

use crate::base::Rng;
use crate::ip::key::HashKey;

/// Number of counters: the more there are, the less a destination learns about flows to others.
const COUNTERS: usize = 256;

/// Every port of the range is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no free port between {first} and {last}: close sockets, or widen the ephemeral range")]
pub struct NoPort {
    /// First port of the range.
    pub first: u16,
    /// Last port of the range.
    pub last: u16,
}

/// Selects ephemeral ports.
///
/// ```
/// use netstack::base::Rng;
/// use netstack::demux::PortAllocator;
///
/// let mut ports = PortAllocator::new(32_768, 60_999, &mut Rng::from_u64(7));
/// let port = ports.pick("10.0.0.1".parse()?, "10.0.0.9:443".parse()?, |_in_use| false);
/// assert!((32_768..=60_999).contains(&port.expect("a free port")));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PortAllocator {
    first: u16,
    last: u16,
    offset_key: HashKey,
    counter_key: HashKey,
    counters: [u16; COUNTERS],
}

impl PortAllocator {
    /// Creates an allocator of the ports from `first` to `last`, both included. Swaps them if they are in
    /// the wrong order, and never selects 0.
    pub fn new(first: u16, last: u16, rng: &mut Rng) -> Self {
        let (first, last) = (first.min(last).max(1), first.max(last).max(1));
        Self {
            first,
            last,
            offset_key: HashKey::random(rng),
            counter_key: HashKey::random(rng),
            // The low half of a random word.
            counters: core::array::from_fn(|_| rng.u32() as u16),
        }
    }

    /// Selects a port for a flow from `local` to `remote` that is not `in_use`.
    ///
    /// # Errors
    /// [`NoPort`] if every port of the range is in use.
    pub fn pick(
        &mut self,
        local: IpAddr,
        remote: SocketAddr,
        mut in_use: impl FnMut(u16) -> bool,
    ) -> Result<u16, NoPort> {
        let flow = (local, remote.ip(), remote.port());
        let at = (self.counter_key.hash(&flow) % COUNTERS as u64) as usize;
        let counter = self.counters.get(at).copied().unwrap_or(0);
        let start = self.offset_key.hash(&flow).wrapping_add(u64::from(counter));
        let (found, probed) = self.probe(start, &mut in_use);
        if let Some(counter) = self.counters.get_mut(at) {
            // The next flow to this destination starts behind the ports just probed.
            *counter = counter.wrapping_add(probed);
        }
        found.ok_or(self.none())
    }

    /// Selects a port without a destination, for an unconnected socket.
    ///
    /// # Errors
    /// [`NoPort`] if every port of the range is in use.
    pub fn pick_unconnected(
        &mut self,
        rng: &mut Rng,
        mut in_use: impl FnMut(u16) -> bool,
    ) -> Result<u16, NoPort> {
        let (found, _) = self.probe(rng.u64(), &mut in_use);
        found.ok_or(self.none())
    }

    /// Returns the first free port from `start` on, wrapping once, and the number of ports probed.
    fn probe(&self, start: u64, in_use: &mut impl FnMut(u16) -> bool) -> (Option<u16>, u16) {
        let count = u64::from(self.last - self.first) + 1;
        let start = start % count;
        for n in 0..count {
            // Below `count`, so the sum is at most `last`.
            let port = self.first + ((start + n) % count) as u16;
            if !in_use(port) {
                return (Some(port), (n + 1) as u16);
            }
        }
        (None, 0)
    }

    fn none(&self) -> NoPort {
        NoPort {
            first: self.first,
            last: self.last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn remote(n: u16) -> SocketAddr {
        SocketAddr::new([10, 0, (n >> 8) as u8, n as u8].into(), 443)
    }

    const LOCAL: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(10, 9, 9, 9));

    #[test]
    fn one_destination_goes_round_before_it_repeats() {
        let mut ports = PortAllocator::new(40_000, 40_999, &mut Rng::from_u64(4));
        let mut seen = HashSet::new();
        for _ in 0..1_000 {
            let port = ports.pick(LOCAL, remote(1), |_| false).expect("free");
            assert!((40_000..=40_999).contains(&port));
            assert!(seen.insert(port), "{port} again");
        }
    }

    #[test]
    fn destinations_start_apart_and_seeds_differ() {
        let mut ports = PortAllocator::new(32_768, 60_999, &mut Rng::from_u64(4));
        let mut again = PortAllocator::new(32_768, 60_999, &mut Rng::from_u64(5));
        let first: Vec<_> = (0..64)
            .map(|n| ports.pick(LOCAL, remote(n), |_| false))
            .collect();
        let other: Vec<_> = (0..64)
            .map(|n| again.pick(LOCAL, remote(n), |_| false))
            .collect();
        let distinct: HashSet<_> = first.iter().flatten().collect();
        assert!(distinct.len() > 60, "{}", distinct.len());
        assert!(first.iter().zip(&other).filter(|(a, b)| a == b).count() < 4);
    }

    #[test]
    fn probing_is_bounded_and_finds_the_last_free_port() {
        let mut rng = Rng::from_u64(6);
        let mut ports = PortAllocator::new(50_000, 50_099, &mut rng);
        let mut asked;
        let busy = |asked: &mut u32, free: u16, port: u16| {
            *asked += 1;
            port != free
        };
        for free in 50_000..50_100 {
            asked = 0;
            let found = ports.pick(LOCAL, remote(3), |p| busy(&mut asked, free, p));
            assert_eq!(found, Ok(free));
            assert!(asked <= 100);
            let found = ports.pick_unconnected(&mut rng, |p| busy(&mut asked, free, p));
            assert_eq!(found, Ok(free));
        }
        asked = 0;
        let none = ports.pick(LOCAL, remote(3), |_| {
            asked += 1;
            true
        });
        assert_eq!(
            (none, asked),
            (
                Err(NoPort {
                    first: 50_000,
                    last: 50_099
                }),
                100
            )
        );
    }

    #[test]
    fn the_ends_of_the_range() {
        let mut rng = Rng::from_u64(6);
        for (first, last) in [(1, 1), (65_535, 65_535), (0, 0), (1, 65_535), (9, 3)] {
            let mut ports = PortAllocator::new(first, last, &mut rng);
            for n in 0..200 {
                let port = ports.pick(LOCAL, remote(n), |_| false).expect("free");
                assert!(port >= first.min(last).max(1) && port <= first.max(last).max(1));
            }
        }
    }
}
