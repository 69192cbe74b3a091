//! Master keys with their parameters (RFC 5925 section 3.1), and the set of them that a socket has.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::algorithm::{AoAlgorithm, Secret, TrafficKey};
use crate::ip::prefix::Prefix;

/// Longest master key, in bytes, as on Linux.
const MAX_SECRET_LEN: usize = 80;
/// Most keys of a set. Two identifiers of eight bits tell more apart for one peer, but nobody changes that many.
const MAX_KEYS: usize = 1_024;

/// A master key and its parameters: a master key tuple (MKT) of RFC 5925.
#[derive(Clone)]
pub struct AoKey {
    send_id: u8,
    recv_id: u8,
    algorithm: AoAlgorithm,
    peers: Option<Prefix>,
    port: Option<u16>,
    covers_options: bool,
    secret: Secret,
}

impl fmt::Debug for AoKey {
    /// Writes the parameters, but nothing of the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AoKey")
            .field("send_id", &self.send_id)
            .field("recv_id", &self.recv_id)
            .field("algorithm", &self.algorithm)
            .field("peers", &self.peers)
            .field("port", &self.port)
            .field("covers_options", &self.covers_options)
            .finish_non_exhaustive()
    }
}

/// The reason why a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AoKeyError {
    /// The secret has no bytes, or too many.
    #[error(
        "a master key of {0} bytes: give 1 to {MAX_SECRET_LEN} bytes, best 16 or more at random"
    )]
    SecretLen(usize),
    /// Another key for some of the same peers has the same identifier (RFC 5925 section 3.1).
    #[error(
        "the {which} identifier {id} is that of another key for some of the same peers: give it a number of its own, or remove the other key"
    )]
    SameId {
        /// "send" or "receive".
        which: &'static str,
        /// The identifier.
        id: u8,
    },
    /// There are too many keys.
    #[error("the set has {MAX_KEYS} keys already: remove some")]
    TooMany,
    /// No key of the set for this peer has that identifier.
    #[error(
        "no key for {peer} has the {which} identifier {id}: add it to the keys of the socket first"
    )]
    NotFound {
        /// The peer.
        peer: SocketAddr,
        /// "send" or "receive".
        which: &'static str,
        /// The identifier.
        id: u8,
    },
    /// The connection does not use the option.
    #[error(
        "this connection is not authenticated: set the keys of its socket before it connects or listens"
    )]
    NotAuthenticated,
}

impl AoKey {
    /// Creates a key for any peer, which covers the options of segments. Segments that it signs have the number
    /// `send_id`, and those that it verifies `recv_id`; for the peer it is the other way round.
    ///
    /// # Errors
    /// [`AoKeyError::SecretLen`] unless `secret` has 1 to 80 bytes.
    pub fn new(
        algorithm: AoAlgorithm,
        send_id: u8,
        recv_id: u8,
        secret: &[u8],
    ) -> Result<Self, AoKeyError> {
        if !(1..=MAX_SECRET_LEN).contains(&secret.len()) {
            return Err(AoKeyError::SecretLen(secret.len()));
        }
        Ok(Self {
            send_id,
            recv_id,
            algorithm,
            peers: None,
            port: None,
            covers_options: true,
            secret: Secret::from(secret.to_vec()),
        })
    }

    /// Limits the key to peers of a prefix. One of IPv4-mapped addresses is one of IPv4.
    #[must_use]
    pub fn for_peers(mut self, peers: Prefix) -> Self {
        self.peers = Some(canonical(peers).network());
        self
    }

    /// Limits the key to one port of the peer: that of a server. A client has another port for each connection, so a key
    /// with a port protects no listener from it.
    #[must_use]
    pub fn for_port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Leaves all options but TCP-AO itself out of the code, for paths that change them.
    #[must_use]
    pub fn without_options(mut self) -> Self {
        self.covers_options = false;
        self
    }

    /// Returns the number in segments that the key signs (SendID).
    pub fn send_id(&self) -> u8 {
        self.send_id
    }

    /// Returns the number in segments that the key verifies (RecvID).
    pub fn recv_id(&self) -> u8 {
        self.recv_id
    }

    /// Returns the algorithms.
    pub fn algorithm(&self) -> AoAlgorithm {
        self.algorithm
    }

    /// Returns the peers that the key is limited to; `None` means any peer.
    pub fn peers(&self) -> Option<Prefix> {
        self.peers
    }

    /// Returns the port of the peer that the key is limited to; `None` means any port.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Returns true if the code covers the other options, too.
    pub fn covers_options(&self) -> bool {
        self.covers_options
    }

    pub(super) fn traffic_key(&self, context: &[u8]) -> TrafficKey {
        self.algorithm.traffic_key(&self.secret, context)
    }

    fn matches(&self, peer: SocketAddr) -> bool {
        let is_of = |peers: Prefix| contains(peers, peer.ip());
        self.peers.is_none_or(is_of) && self.port.is_none_or(|port| port == peer.port())
    }

    /// Returns true if both keys may be meant for the same peer.
    fn overlaps(&self, other: &Self) -> bool {
        let peers = match (self.peers, other.peers) {
            (Some(a), Some(b)) => contains(a, b.address()) || contains(b, a.address()),
            _ => true,
        };
        let ports = match (self.port, other.port) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        peers && ports
    }
}

/// Returns a prefix of IPv4-mapped addresses as one of IPv4.
fn canonical(peers: Prefix) -> Prefix {
    let (address, len) = (peers.address().to_canonical(), peers.len());
    let is_mapped = address.is_ipv4() && peers.address().is_ipv6();
    let v4 = len.checked_sub(96).filter(|_| is_mapped);
    v4.and_then(|len| Prefix::new(address, len).ok())
        .unwrap_or(peers)
}

fn contains(peers: Prefix, address: IpAddr) -> bool {
    peers.address().is_ipv4() == address.is_ipv4() && peers.contains(address)
}

/// The keys of a socket.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Arc<AoKey>>,
    refuses_others: bool,
    /// Changes so far.
    generation: u64,
}

impl KeySet {
    /// Adds a key.
    ///
    /// # Errors
    /// [`AoKeyError::SameId`] if a key for some of the same peers has one of its identifiers;
    /// [`AoKeyError::TooMany`] if there are 1,024 keys.
    pub fn add(&mut self, key: AoKey) -> Result<(), AoKeyError> {
        self.push(Arc::new(key))
    }

    fn push(&mut self, key: Arc<AoKey>) -> Result<(), AoKeyError> {
        for other in self.keys.iter().filter(|other| other.overlaps(&key)) {
            let same = [
                ("send", key.send_id, other.send_id),
                ("receive", key.recv_id, other.recv_id),
            ];
            if let Some((which, id, _)) = same.into_iter().find(|(_, id, other)| id == other) {
                return Err(AoKeyError::SameId { which, id });
            }
        }
        if self.keys.len() >= MAX_KEYS {
            return Err(AoKeyError::TooMany);
        }
        self.keys.push(key);
        self.generation += 1;
        Ok(())
    }

    /// Removes these keys, and returns how many of them there were.
    pub fn remove(&mut self, keys: &[Arc<AoKey>]) -> usize {
        let before = self.keys.len();
        let is_meant = |key: &Arc<AoKey>| keys.iter().any(|meant| Arc::ptr_eq(meant, key));
        self.keys.retain(|key| !is_meant(key));
        self.generation += 1;
        before - self.keys.len()
    }

    /// Replaces some keys by others, at once.
    ///
    /// # Errors
    /// As [`add`](Self::add). Then nothing has changed.
    pub fn replace(
        &mut self,
        keys: &[Arc<AoKey>],
        by: impl IntoIterator<Item = AoKey>,
    ) -> Result<usize, AoKeyError> {
        let mut changed = self.clone();
        let removed = changed.remove(keys);
        for key in by {
            changed.add(key)?;
        }
        *self = changed;
        Ok(removed)
    }

    /// Returns all keys, in the order in which they were added.
    pub fn keys(&self) -> &[Arc<AoKey>] {
        &self.keys
    }

    /// Returns a number that changes whenever the keys do.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Decides about connections with peers for which there is no key: refused, or not authenticated.
    pub fn set_refuses_others(&mut self, refuses: bool) {
        self.refuses_others = refuses;
    }

    /// Returns true if connections with peers for which there is no key are refused.
    pub fn refuses_others(&self) -> bool {
        self.refuses_others
    }

    /// Returns the keys for a peer, in the order in which they were added.
    pub(super) fn of(&self, peer: SocketAddr) -> impl Iterator<Item = &Arc<AoKey>> {
        self.keys.iter().filter(move |key| key.matches(peer))
    }

    /// Returns the key that verifies segments with the number `id`.
    pub(super) fn receiving(&self, peer: SocketAddr, id: u8) -> Option<&Arc<AoKey>> {
        self.of(peer).find(|key| key.recv_id == id)
    }

    /// Returns the key that signs segments with the number `id`.
    pub(super) fn sending(&self, peer: SocketAddr, id: u8) -> Option<&Arc<AoKey>> {
        self.of(peer).find(|key| key.send_id == id)
    }

    pub(super) fn holds(&self, key: &Arc<AoKey>) -> bool {
        self.keys.iter().any(|held| Arc::ptr_eq(held, key))
    }
}

#[cfg(all(test, feature = "tcp-ao"))]
mod tests {
    use super::*;

    fn key(send_id: u8, recv_id: u8) -> AoKey {
        AoKey::new(AoAlgorithm::HmacSha1, send_id, recv_id, b"secret").expect("a key")
    }

    fn prefix(text: &str) -> Prefix {
        text.parse().expect("a prefix")
    }

    #[test]
    fn rfc5925_3_1_identifiers_may_be_the_same_where_no_peer_is() {
        let mut keys = KeySet::default();
        let lan = || key(1, 2).for_peers(prefix("10.77.0.0/24"));
        keys.add(lan()).expect("the first");
        let same = |which, id| Err(AoKeyError::SameId { which, id });
        assert_eq!(keys.add(lan()), same("send", 1));
        assert_eq!(keys.add(key(3, 2)), same("receive", 2));
        let inner = key(1, 9).for_peers(prefix("10.77.0.9/32"));
        assert_eq!(keys.add(inner), same("send", 1));
        for other in ["10.78.0.0/24", "fd77::/64"] {
            keys.add(key(1, 2).for_peers(prefix(other))).expect("apart");
        }
        // Every number can be used (section 3.1).
        keys.add(key(0, 255)).expect("apart");
        keys.add(lan().for_port(179)).expect_err("that port, too");
        assert_eq!(keys.keys().len(), 4);

        let peer = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let found = |at: &str, id| keys.receiving(peer(at), id).map(|key| key.peers());
        assert_eq!(found("10.77.0.9:1", 2), Some(Some(prefix("10.77.0.0/24"))));
        assert_eq!(found("[fd77::1]:1", 2), Some(Some(prefix("fd77::/64"))));
        assert_eq!(
            (found("10.79.0.1:1", 2), found("10.79.0.1:1", 255)),
            (None, Some(None))
        );
        let ones: Vec<_> = keys
            .keys()
            .iter()
            .filter(|key| key.send_id() == 1)
            .cloned()
            .collect();
        // One that does not fit changes nothing.
        let refused = keys.replace(&ones, [key(5, 5), key(6, 255)]);
        assert_eq!(refused, same("receive", 255).map(|()| 0));
        assert_eq!(keys.keys().len(), 4);
        assert_eq!(keys.replace(&ones, [key(1, 2)]), Ok(3));
        assert_eq!((keys.remove(&ones), keys.keys().len()), (0, 2));
    }

    #[test]
    fn a_key_is_for_its_port_and_says_nothing_of_its_secret() {
        let bgp = key(1, 1).for_port(179);
        assert!(
            bgp.matches(([10, 0, 0, 1], 179).into()) && !bgp.matches(([10, 0, 0, 1], 180).into())
        );
        assert!(!bgp.overlaps(&key(1, 1).for_port(180)) && bgp.overlaps(&key(1, 1)));
        assert!(!format!("{bgp:?}").contains("secret"));
        let mapped = key(1, 1).for_peers(prefix("::ffff:10.0.0.9/120"));
        assert_eq!(mapped.peers(), Some(prefix("10.0.0.0/24")));
        assert!(mapped.matches(([10, 0, 0, 7], 1).into()));
        for len in [0, 81] {
            let secret = vec![7; len];
            let made = AoKey::new(AoAlgorithm::AesCmac, 1, 1, &secret);
            assert_eq!(made.map(drop), Err(AoKeyError::SecretLen(len)));
        }
    }
}
