//! The number of connections that each peer has to a service.
//!
//! * **Define.** A [`Place`] is one connection of one peer.
//! * **Enforce.** [`Peers::enter`] is the only way to one, and gives at most as many as the limit.
//! * **Consume.** A connection is served while it has its place; the count ends with it.

use std::collections::HashMap;
use std::net::IpAddr;
// One look into a map, with no other lock and no call to other code inside.
#[allow(clippy::disallowed_types)]
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError};

use netstack::ip::peer::PeerNet;

/// The peers of one service. An IPv4 address or an IPv6 /64 is one peer, as for the stack.
#[derive(Debug)]
pub(super) struct Peers {
    /// Most connections of one peer; [`u32::MAX`]: they are not counted.
    most: AtomicU32,
    #[allow(clippy::disallowed_types)]
    counts: Mutex<HashMap<PeerNet, u32>>,
}

impl Peers {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            most: AtomicU32::new(u32::MAX),
            counts: Default::default(),
        })
    }

    /// Sets the limit for connections from now on.
    pub(super) fn set_most(&self, most: u32) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// Counts one more connection of a peer; `None` if it has as many as it may have.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let most = self.most.load(Ordering::Relaxed);
        if most == u32::MAX {
            return Some(Place(None));
        }
        let peer = PeerNet::of(peer);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(peer).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place(Some((Arc::clone(self), peer))))
    }

    fn leave(&self, peer: PeerNet) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&peer);
            }
        }
    }
}

/// A connection of a peer.
#[derive(Debug)]
pub(super) struct Place(Option<(Arc<Peers>, PeerNet)>);

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((peers, peer)) = self.0.take() {
            peers.leave(peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_as_many_places_as_it_may_have_and_gets_them_back() {
        let peers = Peers::new();
        let of = |text: &str| peers.enter(text.parse().expect(text));
        drop((of("10.0.0.1"), of("10.0.0.1")));
        peers.set_most(2);
        let first = (of("10.0.0.1"), of("10.0.0.1"));
        assert!(first.0.is_some() && first.1.is_some());
        assert!(of("10.0.0.1").is_none());
        assert!(of("10.0.0.2").is_some(), "another peer");
        // A /64 is one peer.
        let (one, two) = (of("fd00::1"), of("fd00::2"));
        assert!(one.is_some() && two.is_some() && of("fd00::3").is_none());
        drop(first.0);
        let again = of("10.0.0.1");
        assert!(again.is_some() && of("10.0.0.1").is_none());
        drop((first.1, again, one, two));
        assert!(peers.counts.lock().expect("no panic").is_empty());
    }
}
