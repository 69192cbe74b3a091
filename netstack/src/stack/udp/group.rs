//! The sockets of one address, and the one of them that takes a datagram.

use std::sync::Arc;

use super::socket::{Binding, BoundSocket};

/// Most sockets that share one address: each is looked at for a datagram.
const MOST_SHARES: usize = 256;

/// The sockets of one address: a single one, one for each worker, or several that share the flows.
#[derive(Debug)]
pub(crate) struct SocketGroup {
    sockets: Box<[Arc<BoundSocket>]>,
    shares: Option<Shares>,
}

/// The shares in the flows of an address.
#[derive(Debug)]
struct Shares {
    /// A number for each socket of the group, which no other has had.
    numbers: Box<[u64]>,
    next: u64,
}

impl SocketGroup {
    /// Groups `sockets`, which are bound to one address: a datagram goes to the socket of the worker that received it.
    pub(crate) fn new(sockets: &[Arc<BoundSocket>]) -> Arc<Self> {
        Arc::new(Self {
            sockets: sockets.into(),
            shares: None,
        })
    }

    /// Creates a group that others may join: a datagram goes to the socket that has its flow.
    pub(crate) fn shared(first: Arc<BoundSocket>) -> Arc<Self> {
        Arc::new(Self {
            sockets: [first].into(),
            shares: Some(Shares {
                numbers: [0].into(),
                next: 1,
            }),
        })
    }

    /// Returns the group with one more socket, which takes an equal part of the flows of each of the others; `None` if
    /// it is not shared, or has as many as there may be.
    pub(crate) fn with(&self, socket: Arc<BoundSocket>) -> Option<Arc<Self>> {
        let shares = self.shares.as_ref()?;
        if self.sockets.len() >= MOST_SHARES {
            return None;
        }
        let sockets = self.sockets.iter().cloned().chain([socket]);
        let numbers = shares.numbers.iter().copied().chain([shares.next]);
        Some(Arc::new(Self {
            sockets: sockets.collect(),
            shares: Some(Shares {
                numbers: numbers.collect(),
                next: shares.next + 1,
            }),
        }))
    }

    /// Returns the group without `socket`, whose flows the others divide among them: those of the others stay where
    /// they are.
    pub(crate) fn without(&self, socket: &Arc<BoundSocket>) -> Arc<Self> {
        let numbers = self.shares.iter().flat_map(|shares| shares.numbers.iter());
        let kept = self.sockets.iter().zip(numbers);
        let (sockets, numbers) = kept
            .filter(|(other, _)| !Arc::ptr_eq(other, socket))
            .map(|(other, number)| (Arc::clone(other), *number))
            .unzip::<_, _, Vec<_>, Vec<_>>();
        Arc::new(Self {
            sockets: sockets.into(),
            shares: self.shares.as_ref().map(|shares| Shares {
                numbers: numbers.into(),
                next: shares.next,
            }),
        })
    }

    /// Returns true if no socket is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Returns the sockets of the group.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = &Arc<BoundSocket>> {
        self.sockets.iter()
    }

    /// Returns true if `socket` is in the group.
    pub(crate) fn has(&self, socket: &Arc<BoundSocket>) -> bool {
        self.sockets().any(|other| Arc::ptr_eq(other, socket))
    }

    /// Returns true if the group was made for a flow of a peer's: not by the program, whose sockets keep their place.
    pub(crate) fn is_flow(&self) -> bool {
        self.sockets()
            .all(|socket| *socket.binding() == Binding::Flow)
    }

    /// Returns true if one of the sockets takes datagrams of every sender.
    #[inline]
    pub(crate) fn takes_from_all(&self) -> bool {
        self.sockets().any(|socket| socket.takes_from_all())
    }

    /// Returns the sockets that each get a copy of a datagram to several hosts: each of those that share the address, or
    /// of those of the workers the one of worker `index`.
    pub(crate) fn receivers(&self, index: usize) -> impl Iterator<Item = &Arc<BoundSocket>> {
        let is_one = self.shares.is_none();
        let one = if is_one {
            self.choose(index, || 0)
        } else {
            None
        };
        let each = if is_one { &[] } else { &*self.sockets };
        one.into_iter().chain(each)
    }

    /// Returns the socket for datagrams that worker `index` received and whose flow has that hash: the only one, or one
    /// that takes them of every sender.
    #[inline]
    pub(crate) fn choose(
        &self,
        index: usize,
        flow_hash: impl FnOnce() -> u64,
    ) -> Option<&Arc<BoundSocket>> {
        if let [only] = &*self.sockets {
            return Some(only);
        }
        match &self.shares {
            None => {
                let count = self.sockets.len();
                let from_own = self.sockets.iter().cycle().skip(index % count.max(1));
                let mut each_once = from_own.take(count);
                each_once.find(|socket| socket.takes_from_all())
            }
            Some(shares) => {
                let hash = flow_hash();
                let ranked = self.sockets.iter().zip(&shares.numbers);
                let ranked = ranked.filter(|(socket, _)| socket.takes_from_all());
                let highest = ranked.max_by_key(|(_, number)| rank(hash, **number));
                highest.map(|(socket, _)| socket)
            }
        }
    }
}

/// Returns the rank of a socket for a flow. The socket with the highest one has the flow (rendezvous hashing), so that
/// one that comes or goes changes no choice between the others. The mixing is MurmurHash3's finalizer.
fn rank(flow_hash: u64, number: u64) -> u64 {
    let mut mixed = flow_hash ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed = (mixed ^ mixed >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ mixed >> 33
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::base::{Config, Rng};
    use crate::stack::foreign::locked;
    use crate::stack::udp::socket::Protocol;

    fn sockets(count: usize) -> Vec<Arc<BoundSocket>> {
        let local: SocketAddr = "10.0.0.1:53".parse().expect("an address");
        BoundSocket::group(Protocol::Udp, local, count, &Config::default())
    }

    #[test]
    fn each_worker_has_its_socket_and_a_single_one_serves_all() {
        let sockets = sockets(3);
        let group = SocketGroup::new(&sockets);
        for (index, socket) in sockets.iter().enumerate() {
            let found = group.choose(index, || 0).expect("a socket");
            assert!(Arc::ptr_eq(found, socket));
        }
        let single = SocketGroup::new(&sockets[..1]);
        let found = single.choose(7, || 0).expect("a socket");
        assert!(Arc::ptr_eq(found, &sockets[0]));
        assert!(SocketGroup::new(&[]).choose(0, || 0).is_none());
    }

    #[test]
    fn one_that_is_closed_or_connected_leaves_its_worker_to_another() {
        let sockets = sockets(3);
        let group = SocketGroup::new(&sockets);
        let chosen = |index| {
            let chosen = group.choose(index, || 0);
            chosen.and_then(|chosen| sockets.iter().position(|one| Arc::ptr_eq(one, chosen)))
        };
        sockets[1].close();
        assert_eq!([0, 1, 2, 3, 4].map(chosen), [0, 2, 2, 0, 2].map(Some));
        let remote: SocketAddr = "10.0.0.9:53".parse().expect("an address");
        locked(|key| {
            let connect = |state: &mut _| sockets[2].connect(state, sockets[2].local(), remote);
            sockets[2]
                .state
                .with(&mut key.ctx(), |state, _| connect(state));
        });
        assert_eq!([0, 1, 2].map(chosen), [Some(0); 3]);
        assert!(group.takes_from_all());
        sockets[0].close();
        assert_eq!(chosen(0), None);
        assert!(!group.takes_from_all());
    }

    #[test]
    fn a_socket_that_comes_or_goes_moves_its_own_part_of_the_flows_and_no_other() {
        const FLOWS: usize = 8_000;
        let sockets = sockets(5);
        let mut rng = Rng::from_u64(3);
        let hashes: Vec<u64> = (0..FLOWS).map(|_| rng.u64()).collect();
        let choices = |group: &SocketGroup| -> Vec<usize> {
            let choice = |hash: &u64| {
                let chosen = group.choose(0, || *hash).expect("a socket");
                let at = sockets.iter().position(|one| Arc::ptr_eq(one, chosen));
                at.expect("one of the group")
            };
            hashes.iter().map(choice).collect()
        };
        let mut group = SocketGroup::shared(Arc::clone(&sockets[0]));
        let mut before = choices(&group);
        assert!(before.iter().all(|choice| *choice == 0));
        for (newcomer, socket) in sockets.iter().enumerate().skip(1) {
            group = group.with(Arc::clone(socket)).expect("room");
            let after = choices(&group);
            let mut moved = 0;
            for (before, after) in before.iter().zip(&after) {
                assert!(before == after || *after == newcomer);
                moved += usize::from(before != after);
            }
            let part = FLOWS / (newcomer + 1);
            assert!(moved.abs_diff(part) < part / 5, "{moved} of {FLOWS}");
            before = after;
        }
        group = group.without(&sockets[2]);
        let after = choices(&group);
        for (before, after) in before.iter().zip(&after) {
            assert!(before == after || *before == 2 && *after != 2);
        }
        let refused = SocketGroup::new(&sockets[..1]).with(Arc::clone(&sockets[1]));
        assert!(refused.is_none(), "it is not shared");
    }

    #[test]
    fn a_group_has_a_limit_and_an_end() {
        let sockets = sockets(MOST_SHARES + 1);
        let mut group = SocketGroup::shared(Arc::clone(&sockets[0]));
        for socket in &sockets[1..MOST_SHARES] {
            group = group.with(Arc::clone(socket)).expect("room");
        }
        assert!(group.with(Arc::clone(&sockets[MOST_SHARES])).is_none());
        for socket in &sockets {
            group = group.without(socket);
        }
        assert!(group.is_empty() && group.choose(0, || 1).is_none());
    }
}
