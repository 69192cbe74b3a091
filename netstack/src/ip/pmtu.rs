//! The path MTU cache: the largest packet that each path carries.
//!
//! * **Define.** An estimate ages, is never below the minimum of its family, and messages only ever lower it.
//!   Probes, which show what arrives, raise it, too.
//! * **Enforce.** [`PathMtu::on_packet_too_big`] and [`PathMtu::on_search`] alone change estimates. The first
//!   ignores a report that would raise the estimate, that no router may send, or that the quoted packet contradicts.
//! * **Consume.** Transports use [`PathMtu::get`] to size their packets without further checks, and search
//!   between [`Path::mtu`] and [`Path::ceiling`].
//!
//! The cache is a fixed array of small sets: no peer can make it grow, and because of the keyed hash no
//! peer can choose the entries that it evicts. The transport that owns the flow has checked before that a
//! Packet Too Big message quotes a packet that was sent (RFC 5927 section 7.2).
//!
//! Sections: RFC 1191 sections 3, 5, 6.3 and 7, RFC 4821 section 5.2, RFC 8201 sections 4 and 5.2.

use core::net::IpAddr;

use super::key::HashKey;
use super::peer::PeerNet;
use crate::base::Instant;
use crate::base::time::Duration;

/// Lifetime of an estimate for which larger packets were lost, and others around them were not, in lifetimes of an
/// ordinary one. After one of these larger packets are tried again, but not without need: a path that drops them
/// silently costs each new connection a few timeouts.
const SEARCHED_AGES: u32 = 6;

/// Below this an IPv4 report is not followed: packets of this size are sent without the don't
/// fragment bit instead, so that a forged report cannot shrink them to nothing (RFC 1191 section 3
/// only demands 68).
pub const IPV4_FLOOR: u16 = 576;

/// Below this a search over IPv4 does not shrink a path for others: the second size that TCP tries, with its headers.
/// An outage looks like a path that carries nothing.
const SEARCH_FLOOR_V4: u16 = 512 + 40;

/// The smallest MTU of IPv6 (RFC 8200 section 5).
pub const IPV6_MIN_MTU: u16 = 1280;

/// Entries in a set: how many destinations share one hash slot before the oldest goes.
const WAYS: usize = 4;

/// Sets in which the addresses of one IPv6 /64 may be: it cannot fill the cache, whatever its addresses are.
const PEER_SETS: u64 = 4;

/// Sizes of links that exist, for routers too old to report theirs (RFC 1191 section 7.1).
const PLATEAUS: [u16; 10] = [
    32_000, 17_914, 8_166, 4_352, 2_002, 1_492, 1_006, 508, 296, 68,
];

/// The knowledge about the path to one destination.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub struct PathEntry {
    dst: IpAddr,
    mtu: u16,
    /// True if a router reported less than the minimum, so that routers must be allowed to fragment.
    may_fragment: bool,
    /// Largest packet that the path may carry.
    ceiling: u16,
    /// When larger packets than `ceiling` are worth another attempt.
    ceiling_expires: Instant,
    expires: Instant,
}

/// The limits of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path {
    /// Largest IP packet, in bytes with its headers.
    pub mtu: u16,
    /// True if IPv4 packets carry the don't fragment bit. Always true for IPv6.
    pub dont_fragment: bool,
    /// Largest IP packet that the path may carry for all that is known (`search_high` of RFC 4821): at least `mtu`, and
    /// more while the search between them goes on. `None`: nothing is known of the path beyond its first link.
    pub ceiling: Option<u16>,
    /// Largest IP packet that the first link carries and the route allows: no larger one is sent, as a probe neither.
    pub link_mtu: u16,
}

impl Path {
    /// Returns the limits of a path of which nothing is known but that its first link carries `mtu` bytes.
    pub const fn unknown(mtu: u16) -> Self {
        Self {
            mtu,
            dont_fragment: true,
            ceiling: None,
            link_mtu: mtu,
        }
    }

    /// Returns the limits of the path through a route that allows packets of at most `mtu` bytes.
    #[must_use]
    pub fn within(self, mtu: u16) -> Self {
        Self {
            mtu: self.mtu.min(mtu),
            ceiling: self.ceiling.map(|ceiling| ceiling.min(mtu)),
            link_mtu: self.link_mtu.min(mtu),
            ..self
        }
    }
}

/// A bounded cache of path MTUs.
///
/// ```
/// use netstack::base::{Instant, Rng};
/// use netstack::ip::key::HashKey;
/// use netstack::ip::pmtu::PathMtu;
///
/// let secret = HashKey::random(&mut Rng::from_u64(7));
/// let mut cache = PathMtu::new(1_024, None, secret);
/// let (dst, now) = ("10.0.0.9".parse()?, Instant::from_millis(1));
/// assert_eq!(cache.get(dst, 1_500, now), 1_500);
/// // A router reports that its link carries 1,400 of the 1,500 bytes that were sent.
/// cache.on_packet_too_big(dst, 1_400, 1_500, 1_500, now);
/// assert_eq!(cache.get(dst, 1_500, now), 1_400);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
pub struct PathMtu {
    /// `sets × WAYS` entries; empty until the first report.
    entries: Vec<Option<PathEntry>>,
    sets: usize,
    key: HashKey,
    /// Lifetime of a lowered estimate. After that, packets of the full size are sent again.
    age: Duration,
}

impl core::fmt::Debug for PathMtu {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "PathMtu({} sets of {WAYS})", self.sets)
    }
}

impl PathMtu {
    /// Creates a cache of at most `max_entries` destinations (rounded up to a multiple of 4, at least 4).
    /// An estimate is forgotten after `age`, or never if there is none. Does not allocate before the first report.
    pub fn new(max_entries: usize, age: Option<Duration>, key: HashKey) -> Self {
        Self {
            entries: Vec::new(),
            sets: max_entries.div_ceil(WAYS).max(1),
            key,
            age: age.unwrap_or(Duration::MAX),
        }
    }

    /// Returns what is known at `now`.
    pub fn export(&self, now: Instant) -> Vec<PathEntry> {
        let known = self.entries.iter().flatten();
        known.filter(|entry| entry.expires > now).copied().collect()
    }

    /// Takes over what another cache knew. What no router may report is left out.
    pub fn import(&mut self, entries: &[PathEntry]) {
        for entry in entries {
            let least = if entry.dst.is_ipv4() {
                68
            } else {
                IPV6_MIN_MTU
            };
            if entry.mtu < least || entry.ceiling < entry.mtu {
                continue;
            }
            if self.entries.is_empty() {
                self.entries = vec![None; self.sets * WAYS];
            }
            let set = self.set_of(entry.dst);
            let places = self.entries.get_mut(set).unwrap_or_default();
            let place = places
                .iter_mut()
                .min_by_key(|place| place.map_or(Instant::ZERO, |known| known.expires));
            if let Some(place) = place {
                *place = Some(*entry);
            }
        }
    }

    fn set_of(&self, dst: IpAddr) -> core::ops::Range<usize> {
        let hash = match dst {
            IpAddr::V4(_) => self.key.hash(&dst),
            IpAddr::V6(_) => {
                let spread = self.key.hash(&dst) % PEER_SETS;
                self.key.hash(&(PeerNet::of(dst), spread))
            }
        };
        let set = (hash % self.sets as u64) as usize;
        set * WAYS..(set + 1) * WAYS
    }

    /// Returns the limits of the path to `dst`. The MTU never exceeds the device's.
    pub fn path(&self, dst: IpAddr, device_mtu: u16, now: Instant) -> Path {
        match self.entry(dst, now) {
            Some(e) => Path {
                mtu: e.mtu.min(device_mtu),
                dont_fragment: !e.may_fragment,
                ceiling: Some(if e.ceiling_expires > now {
                    e.ceiling.min(device_mtu)
                } else {
                    device_mtu
                }),
                link_mtu: device_mtu,
            },
            None => Path::unknown(device_mtu),
        }
    }

    fn entry(&self, dst: IpAddr, now: Instant) -> Option<&PathEntry> {
        if self.entries.is_empty() {
            return None;
        }
        let set = self.entries.get(self.set_of(dst))?;
        set.iter()
            .flatten()
            .find(|e| e.dst == dst && e.expires > now)
    }

    /// Returns the path MTU to `dst` in bytes, which never exceeds the device's.
    pub fn get(&self, dst: IpAddr, device_mtu: u16, now: Instant) -> u16 {
        self.path(dst, device_mtu, now).mtu
    }

    /// Processes a router's report that a packet to `dst` was too big.
    ///
    /// `reported` is the MTU field (0 from a router older than RFC 1191), `quoted_len` the total length of
    /// the quoted packet, and `device_mtu` the largest packet that can have been sent. Returns the new path
    /// MTU if the estimate was lowered. Returns `None` if the report is ignored, because it
    /// * does not lower the estimate (RFC 1191 section 3, RFC 8201 section 4),
    /// * is not less than the length of the quoted packet (RFC 5927 section 7.2), or
    /// * is below the minimum of IPv6 (RFC 8201 section 4).
    pub fn on_packet_too_big(
        &mut self,
        dst: IpAddr,
        reported: u32,
        quoted_len: u32,
        device_mtu: u16,
        now: Instant,
    ) -> Option<u16> {
        let current = self.path(dst, device_mtu, now);
        let mut mtu = u16::try_from(reported).unwrap_or(u16::MAX);
        if mtu == 0 && dst.is_ipv4() {
            let sent = u16::try_from(quoted_len)
                .unwrap_or(u16::MAX)
                .min(device_mtu);
            mtu = PLATEAUS.into_iter().find(|p| *p < sent)?;
        }
        if quoted_len != 0 && u32::from(mtu) >= quoted_len {
            return None;
        }
        let mut may_fragment = false;
        if dst.is_ipv4() {
            if mtu < IPV4_FLOOR {
                mtu = IPV4_FLOOR.min(device_mtu);
                may_fragment = true;
            }
        } else if mtu < IPV6_MIN_MTU {
            return None;
        }
        let lowers = mtu < current.mtu || (may_fragment && current.dont_fragment);
        if !lowers {
            self.lower_ceiling(dst, mtu, device_mtu, now);
            return None;
        }
        let expires = now + self.age;
        self.store(PathEntry {
            dst,
            mtu,
            may_fragment,
            ceiling: mtu,
            ceiling_expires: expires,
            expires,
        });
        Some(mtu)
    }

    /// Ends a search above `mtu`: a router said that its link carries no more.
    fn lower_ceiling(&mut self, dst: IpAddr, mtu: u16, device_mtu: u16, now: Instant) {
        let ceiling = self.path(dst, device_mtu, now).ceiling;
        let entry = self.entry(dst, now).copied();
        if let (Some(ceiling), Some(entry)) = (ceiling, entry)
            && mtu < ceiling
        {
            self.store(PathEntry {
                ceiling: mtu,
                ceiling_expires: now + self.age,
                ..entry
            });
        }
    }

    /// Stores what packets of different sizes have shown: the path to `dst` carries `mtu` bytes, and may carry
    /// `ceiling`, if that is known (RFC 4821 section 5.2). Tiny packets are no reason to send all others as small: never
    /// below 552 bytes over IPv4, 1,280 over IPv6.
    pub fn on_search(
        &mut self,
        dst: IpAddr,
        mtu: u16,
        ceiling: Option<u16>,
        device_mtu: u16,
        now: Instant,
    ) {
        let floor = if dst.is_ipv4() {
            SEARCH_FLOOR_V4
        } else {
            IPV6_MIN_MTU
        };
        let mtu = mtu.max(floor).min(device_mtu);
        let (ceiling, ceiling_expires, expires) = match ceiling {
            Some(ceiling) => {
                let expires = now + self.age.saturating_mul(SEARCHED_AGES);
                (ceiling.max(mtu), now + self.age, expires)
            }
            // Perhaps nothing arrived for a while, whatever its size.
            None => (u16::MAX, now, now + self.age),
        };
        self.store(PathEntry {
            dst,
            mtu,
            may_fragment: false,
            ceiling,
            ceiling_expires,
            expires,
        });
    }

    fn store(&mut self, entry: PathEntry) {
        if self.entries.is_empty() {
            self.entries.resize(self.sets * WAYS, None);
        }
        let range = self.set_of(entry.dst);
        let Some(set) = self.entries.get_mut(range) else {
            return;
        };
        // The same destination, else a free entry, else the one that expires first.
        let place = set.iter_mut().min_by_key(|e| match e {
            Some(e) if e.dst == entry.dst => Instant::ZERO,
            None => Instant::from_nanos(1),
            Some(e) => e.expires,
        });
        if let Some(place) = place {
            *place = Some(entry);
        }
    }

    /// Removes all estimates, as after a change of the device's MTU or of the routes.
    pub fn clear(&mut self) {
        self.entries.fill(None);
    }
}

#[cfg(test)]
#[path = "pmtu_tests.rs"]
mod tests;
