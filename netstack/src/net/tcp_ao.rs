//! Authenticated connections (TCP-AO, RFC 5925), as a socket option.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::tcp_options::invalid;
use super::tcp_socket::TcpSocket;
use super::tcp_stream::TcpStream;
use crate::ao::{AoInfo, AoKey, AoKeyError, KeySet, Session};
use crate::stack::foreign::locked;
use crate::stack::tcp::authenticator::{Authenticator, Keys};

/// The keys with which sockets authenticate their connections (TCP-AO, RFC 5925): each segment carries a code that only the
/// holder of a key can compute, as routers use it for BGP.
///
/// The clones of a set are one set. Keys can be added and removed at any time, and connections that are open use the set as
/// it is: see [`TcpStream::set_ao_rnext_key`] for a change of keys without loss. A peer for which there is a key must use
/// it. Other peers connect without, unless [`refuse_others`](Self::refuse_others) forbids it.
///
/// Segments that are not authentic are discarded without an answer, and counted under their reason.
///
#[cfg_attr(feature = "tcp-ao", doc = "```")]
#[cfg_attr(not(feature = "tcp-ao"), doc = "```ignore")]
/// # netstack::net::example(async |stack| {
/// use netstack::net::{AoAlgorithm, AoKey, AoKeys, TcpSocket};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// // What one side sends with 61, the other one receives with 61.
/// let (ours, theirs) = (AoKeys::new(), AoKeys::new());
/// ours.add(AoKey::new(AoAlgorithm::HmacSha1, 61, 84, b"a secret of both")?)?;
/// theirs.add(AoKey::new(AoAlgorithm::HmacSha1, 84, 61, b"a secret of both")?)?;
///
/// let socket = TcpSocket::new_v4(&stack);
/// socket.set_ao_keys(Some(&theirs));
/// socket.bind("10.77.0.2:179".parse()?)?;
/// let listener = socket.listen(16)?;
///
/// let socket = TcpSocket::new_v4(&stack);
/// socket.set_ao_keys(Some(&ours));
/// let mut client = socket.connect("10.77.0.2:179".parse()?).await?;
/// let (mut server, _) = listener.accept().await?;
/// client.write_all(b"open").await?;
/// let mut text = [0; 4];
/// server.read_exact(&mut text).await?;
/// assert_eq!(&text, b"open");
/// assert_eq!(server.ao_info().ok_or("not authenticated")?.last_received, Some((61, 84)));
/// # Ok(())
/// # }).unwrap();
/// ```
#[derive(Clone, Default)]
pub struct AoKeys(Keys);

impl fmt::Debug for AoKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}

impl AoKeys {
    /// Creates an empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key. Of several keys for a peer, the first one signs the SYN of a connection to it.
    ///
    /// # Errors
    /// [`AoKeyError::SameId`] if a key for some of the same peers has one of its identifiers (RFC 5925 section 3.1);
    /// [`AoKeyError::TooMany`] if there are 1,024 keys.
    pub fn add(&self, key: AoKey) -> Result<(), AoKeyError> {
        locked(|lock| self.0.write(&mut lock.ctx(), |keys| keys.add(key)))
    }

    /// Removes the keys for which `is_meant` returns true, and returns how many they were. They verify and sign nothing
    /// more: a connection whose peer still uses one of them times out. A peer whose last key is removed may connect without
    /// one, unless others are [refused](Self::refuse_others).
    ///
    #[cfg_attr(feature = "tcp-ao", doc = "```")]
    #[cfg_attr(not(feature = "tcp-ao"), doc = "```ignore")]
    /// use netstack::net::{AoAlgorithm, AoKey, AoKeys};
    ///
    /// let keys = AoKeys::new();
    /// keys.add(AoKey::new(AoAlgorithm::AesCmac, 1, 1, b"old")?)?;
    /// keys.add(AoKey::new(AoAlgorithm::AesCmac, 2, 2, b"new")?)?;
    /// assert_eq!(keys.remove(|key| key.send_id() == 1), 1);
    /// assert_eq!(keys.list().len(), 1);
    /// # Ok::<(), netstack::net::AoKeyError>(())
    /// ```
    pub fn remove(&self, is_meant: impl Fn(&AoKey) -> bool) -> usize {
        let meant = self.meant(is_meant);
        locked(|lock| self.0.write(&mut lock.ctx(), |keys| keys.remove(&meant)))
    }

    /// Replaces the keys for which `is_meant` returns true by others, at once, and returns how many they were: no connection
    /// finds neither.
    ///
    /// # Errors
    /// As [`add`](Self::add). Then nothing has changed.
    pub fn replace(
        &self,
        is_meant: impl Fn(&AoKey) -> bool,
        by: impl IntoIterator<Item = AoKey>,
    ) -> Result<usize, AoKeyError> {
        let meant = self.meant(is_meant);
        let by: Vec<AoKey> = by.into_iter().collect();
        locked(|lock| {
            self.0
                .write(&mut lock.ctx(), |keys| keys.replace(&meant, by))
        })
    }

    /// Returns the keys for which `is_meant` returns true. The program's code runs with nothing locked.
    fn meant(&self, is_meant: impl Fn(&AoKey) -> bool) -> Vec<Arc<AoKey>> {
        let mut keys = self.list();
        keys.retain(|key| is_meant(key));
        keys
    }

    /// Returns the keys, in the order in which they were added.
    pub fn list(&self) -> Vec<Arc<AoKey>> {
        locked(|lock| self.0.read(&mut lock.ctx(), |keys| keys.keys().to_vec()))
    }

    /// Refuses connections with peers for which there is no key, or allows them again, not authenticated (RFC 5925
    /// section 7.3). At the beginning they are allowed.
    pub fn refuse_others(&self, refuse: bool) {
        locked(|lock| {
            self.0
                .write(&mut lock.ctx(), |keys| keys.set_refuses_others(refuse));
        });
    }
}

impl TcpSocket {
    /// Sets the keys with which the connections of this socket are authenticated; `None` means none. They can be set until
    /// it connects or listens, and changed at any time: see [`AoKeys`].
    ///
    /// Such a connection uses no TCP Fast Open and no segmentation offload, is not part of a checkpoint, and counts for the
    /// stack's limit of connections until its TIME-WAIT is over. It ends only by segments of its peer: turn on keepalive for
    /// a peer that may forget its keys (RFC 5925 section 7.7). Where the kernel merges received segments, somebody who sees
    /// the packets can have one discarded together with a forged one; it is sent again.
    pub fn set_ao_keys(&self, keys: Option<&AoKeys>) {
        let keys = keys.map(|keys| keys.0.clone());
        self.with(|draft| draft.options.keys = keys);
    }
}

impl TcpStream {
    /// Returns the keys in use and the counts of an authenticated connection; `None` if it is not authenticated.
    pub fn ao_info(&self) -> Option<AoInfo> {
        self.handle()
            .with_state(|state| state.authenticator.as_deref().map(Authenticator::info))
    }

    /// Signs with the key whose send identifier is `send_id` from now on (Current_key of RFC 5925 section 4), until a segment
    /// of the peer asks for another one. Each segment asks for one: to change keys for good, change what the peer asks for.
    ///
    /// # Errors
    /// `InvalidInput` if the connection is not authenticated, or no key for its peer has that identifier.
    pub fn set_ao_current_key(&self, send_id: u8) -> io::Result<()> {
        self.change_ao("set_ao_current_key", |session, keys, peer| {
            session.set_current(keys, peer, send_id)
        })
    }

    /// Asks the peer to sign with the key whose receive identifier is `recv_id` from now on (Rnext_key of RFC 5925
    /// section 4). An acknowledgment tells it at once.
    ///
    /// To change keys without loss, add the new key on both sides, ask for it on both sides, and remove the old one on both
    /// sides when [`ao_info`](Self::ao_info) of both says that the new one was received.
    ///
    #[cfg_attr(feature = "tcp-ao", doc = "```")]
    #[cfg_attr(not(feature = "tcp-ao"), doc = "```ignore")]
    /// # netstack::net::example_pair(async |client, _server| {
    /// // This one is not authenticated.
    /// assert!(client.ao_info().is_none());
    /// assert!(client.set_ao_rnext_key(1).is_err());
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`set_ao_current_key`](Self::set_ao_current_key).
    pub fn set_ao_rnext_key(&self, recv_id: u8) -> io::Result<()> {
        self.change_ao("set_ao_rnext_key", |session, keys, peer| {
            session.set_rnext(keys, peer, recv_id)
        })?;
        self.handle().with_state(|state| state.tcp.owe_ack());
        self.handle().drive();
        Ok(())
    }

    /// Changes the session of an authenticated connection.
    fn change_ao(
        &self,
        what: &str,
        change: impl FnOnce(&mut Session, &KeySet, SocketAddr) -> Result<(), AoKeyError>,
    ) -> io::Result<()> {
        let state = &self.handle().connection.state;
        let changed = locked(|lock| {
            state.with(&mut lock.ctx(), |state, ctx| {
                let authenticator = state.authenticator.as_mut();
                let authenticator = authenticator.ok_or(AoKeyError::NotAuthenticated)?;
                authenticator.change(ctx, change)
            })
        });
        changed.map_err(|why| invalid(format!("{what}: {why}")))
    }

    /// Heeds hard ICMP errors about an authenticated connection, or ignores them, as at the beginning: anybody can send them
    /// (RFC 5925 section 7.8). "Fragmentation needed" of IPv4 is one of them: where it is ignored, only the search for the
    /// path MTU ([`TcpConfig::mtu_probing`](crate::TcpConfig::mtu_probing)) finds a path that carries less than the link.
    /// Returns false if the connection is not authenticated.
    pub fn set_ao_heeds_icmp(&self, heeds: bool) -> bool {
        self.handle().with_state(|state| {
            let authenticator = state.authenticator.as_mut();
            authenticator
                .map(|authenticator| authenticator.heeds_icmp = heeds)
                .is_some()
        })
    }
}
