//! The four-tuple of a connection as a key of 36 bytes, and a table by four-tuple.
//!
//! IPv4 addresses are stored in IPv4-mapped form. An IPv4-mapped address in an IPv6 header is refused as a
//! source (`ip::addresses`) and is never one of our own, so no IPv6 flow has the key of an IPv4 flow.
//!
//! The hash has a secret key, because a peer chooses two thirds of the hashed words.
//!
//! Sections: RFC 9293 section 3.3.1 (a connection's identity).

use core::fmt;
use core::hash::{Hash, Hasher};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hashbrown::HashTable;

use super::flow_set::near;
use crate::ip::key::HashKey;
use crate::ip::peer::PeerNet;

/// Local and remote address and port of one flow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowKey {
    local: [u8; 16],
    remote: [u8; 16],
    local_port: u16,
    remote_port: u16,
}

/// Returns the bytes of an address, those of an IPv4 address in IPv4-mapped form.
fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        // As one number: byte by byte it takes three times as long.
        IpAddr::V4(v4) => (0xffff << 32 | u128::from(v4.to_bits())).to_be_bytes(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[inline]
fn socket_addr(mapped: [u8; 16], port: u16) -> SocketAddr {
    // As one number, as above.
    let number = u128::from_be_bytes(mapped);
    let address = match number >> 32 {
        0xffff => IpAddr::V4(Ipv4Addr::from_bits(number as u32)),
        _ => IpAddr::V6(Ipv6Addr::from_bits(number)),
    };
    SocketAddr::new(address, port)
}

impl FlowKey {
    /// Creates the key of the flow between `local` and `remote`. Ignores flow labels and scope ids.
    pub fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        Self::of(local.ip(), local.port(), remote.ip(), remote.port())
    }

    /// Creates the key from the four parts, as a packet has them.
    pub fn of(local: IpAddr, local_port: u16, remote: IpAddr, remote_port: u16) -> Self {
        Self {
            local: mapped(local),
            remote: mapped(remote),
            local_port,
            remote_port,
        }
    }

    /// Returns the local address and port.
    pub fn local(&self) -> SocketAddr {
        socket_addr(self.local, self.local_port)
    }

    /// Returns the remote address and port.
    pub fn remote(&self) -> SocketAddr {
        socket_addr(self.remote, self.remote_port)
    }

    /// Returns the peer that limits count the flow for.
    pub fn peer(&self) -> PeerNet {
        PeerNet::of(Ipv6Addr::from(self.remote).into())
    }

    /// Returns both ports in one number.
    fn ports(&self) -> u32 {
        u32::from(self.local_port) << 16 | u32::from(self.remote_port)
    }
}

impl Hash for FlowKey {
    /// Writes four words and the ports. Field by field would be slower: each field and each array length
    /// would be a call of its own.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let word = |mapped: &[u8; 16]| u128::from_ne_bytes(*mapped);
        let (local, remote) = (word(&self.local), word(&self.remote));
        state.write_u64(local as u64);
        state.write_u64((local >> 64) as u64);
        state.write_u64(remote as u64);
        state.write_u64((remote >> 64) as u64);
        state.write_u32(self.ports());
    }
}

impl fmt::Debug for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}<->{}", self.local(), self.remote())
    }
}

/// A bounded table by four-tuple.
///
/// ```
/// use netstack::base::Rng;
/// use netstack::demux::{FlowKey, FlowTable};
/// use netstack::ip::key::HashKey;
///
/// let secret = HashKey::random(&mut Rng::from_u64(7));
/// let mut table = FlowTable::new(1_000, secret);
/// let flow = FlowKey::new("10.0.0.1:80".parse()?, "10.0.0.9:4000".parse()?);
/// assert!(table.insert(flow, "connection").is_ok());
/// assert_eq!(table.get(&flow), Some(&"connection"));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug)]
pub struct FlowTable<T> {
    flows: HashTable<(FlowKey, T)>,
    secret: HashKey,
    max_flows: usize,
}

/// The reason why a flow was not added, with the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlowError<T> {
    /// The table has the four-tuple already.
    Taken(T),
    /// The table is full.
    Full(T),
}

impl<T> FlowTable<T> {
    /// Creates a table of at most `max_flows` flows. Does not allocate before the first.
    pub fn new(max_flows: usize, secret: HashKey) -> Self {
        Self {
            flows: HashTable::new(),
            secret,
            max_flows,
        }
    }

    /// Returns the value of a four-tuple.
    pub fn get(&self, key: &FlowKey) -> Option<&T> {
        let found = self
            .flows
            .find(self.secret.hash(key), |(flow, _)| flow == key);
        found.map(|(_, value)| value)
    }

    /// Adds a flow.
    ///
    /// # Errors
    /// A [`FlowError`] with the value if the table has the four-tuple already or is full.
    pub fn insert(&mut self, key: FlowKey, value: T) -> Result<(), FlowError<T>> {
        if self.get(&key).is_some() {
            return Err(FlowError::Taken(value));
        }
        if self.flows.len() >= self.max_flows {
            return Err(FlowError::Full(value));
        }
        let secret = &self.secret;
        self.flows
            .insert_unique(secret.hash(&key), (key, value), |(flow, _)| {
                secret.hash(flow)
            });
        Ok(())
    }

    /// Removes a flow and returns its value. Frees memory once seven eighths of it are unused, so that a
    /// flood of connections leaves no memory allocated.
    pub fn remove(&mut self, key: &FlowKey) -> Option<T> {
        let hash = self.secret.hash(key);
        let entry = self.flows.find_entry(hash, |(flow, _)| flow == key).ok()?;
        let ((_, value), _) = entry.remove();
        let capacity = self.flows.capacity();
        if capacity > 1024 && self.flows.len() < capacity / 8 {
            let secret = &self.secret;
            self.flows
                .shrink_to(capacity / 2, |(flow, _)| secret.hash(flow));
        }
        Some(value)
    }

    /// Returns a flow near a random place; `None` if there is none near it.
    pub fn sample(&self, random: u64) -> Option<(&FlowKey, &T)> {
        near(&self.flows, random).map(|(flow, value)| (flow, value))
    }

    /// Returns the number of flows.
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Returns `true` if there are no flows.
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Returns all flows, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&FlowKey, &T)> {
        self.flows.iter().map(|(flow, value)| (flow, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect(text)
    }

    fn secret() -> HashKey {
        HashKey::random(&mut Rng::from_u64(9))
    }

    #[test]
    fn keys_keep_what_they_were_made_of() {
        assert_eq!(size_of::<FlowKey>(), 36);
        let pairs = [
            ("10.0.0.1:80", "10.0.0.2:1234"),
            ("[fd77::1]:80", "[fd77::2]:1234"),
            ("255.255.255.255:65535", "0.0.0.0:0"),
        ];
        for (local, remote) in pairs {
            let key = FlowKey::new(addr(local), addr(remote));
            assert_eq!((key.local(), key.remote()), (addr(local), addr(remote)));
        }
    }

    #[test]
    fn every_part_counts() {
        let base = FlowKey::new(addr("10.0.0.1:80"), addr("10.0.0.2:1234"));
        let others = [
            ("10.0.0.3:80", "10.0.0.2:1234"),
            ("10.0.0.1:81", "10.0.0.2:1234"),
            ("10.0.0.1:80", "10.0.0.3:1234"),
            ("10.0.0.1:80", "10.0.0.2:1235"),
            ("10.0.0.2:1234", "10.0.0.1:80"),
            ("10.0.0.1:1234", "10.0.0.2:80"),
        ];
        for (local, remote) in others {
            let other = FlowKey::new(addr(local), addr(remote));
            assert_ne!(base, other);
            assert_ne!(secret().hash(&base), secret().hash(&other));
        }
    }

    #[test]
    fn the_table_is_bounded_and_gives_memory_back() {
        let mut table = FlowTable::new(10_000, secret());
        let key = |n: u32| {
            let remote = SocketAddr::new([10, 1, (n >> 8) as u8, n as u8].into(), 9);
            FlowKey::new(addr("10.0.0.1:80"), remote)
        };
        for n in 0..10_000 {
            assert_eq!(table.insert(key(n), n), Ok(()));
        }
        assert_eq!(table.insert(key(77), 1), Err(FlowError::Taken(1)));
        assert_eq!(table.insert(key(10_000), 1), Err(FlowError::Full(1)));
        assert_eq!(table.get(&key(77)), Some(&77));
        let grown = table.flows.capacity();
        for n in 0..10_000 {
            assert_eq!(table.remove(&key(n)), Some(n));
        }
        assert_eq!(table.remove(&key(1)), None);
        assert!(table.is_empty());
        assert!(table.flows.capacity() * 4 < grown);
    }
}
