//! The table that finds the UDP socket of a datagram: connected before bound before wildcard.
//!
//! Sections: RFC 768, RFC 1122 section 4.1.3.

use core::net::SocketAddr;

use super::bind::{BindError, BindTable, Destinations};
use super::flow::{FlowError, FlowKey, FlowTable};
use crate::ip::key::HashKey;
use crate::ip::peer::{PeerNet, draw_crowding};

/// A table of UDP sockets by local and remote address.
///
/// A socket is bound first, to a port other than 0, and may be connected later. It stays bound then, so
/// that no other socket can take the port.
#[derive(Debug)]
pub struct UdpTable<T> {
    bound: BindTable<T>,
    connected: FlowTable<T>,
}

impl<T: Clone> UdpTable<T> {
    /// Creates a table of at most `max_sockets` sockets.
    pub fn new(max_sockets: usize, secret: HashKey) -> Self {
        Self {
            bound: BindTable::new(max_sockets, secret),
            connected: FlowTable::new(max_sockets, secret),
        }
    }

    /// Binds a socket to a local address and port. The unspecified address is the wildcard of its family.
    ///
    /// # Errors
    /// A [`BindError`] with the value; the table is then as it was.
    pub fn bind(&mut self, local: SocketAddr, socket: T) -> Result<(), BindError<T>> {
        self.bound.bind(local, socket)
    }

    /// Returns the socket that is bound to exactly this address (or wildcard) and port.
    pub fn bound_mut(&mut self, local: SocketAddr) -> Option<&mut T> {
        self.bound.get_mut(local)
    }

    /// Returns the socket that is bound to exactly this address (or wildcard) and port.
    pub fn bound(&self, local: SocketAddr) -> Option<&T> {
        self.bound.get(local)
    }

    /// Connects a bound socket: it receives the datagrams from `remote` to exactly `local`, which is no
    /// wildcard.
    ///
    /// # Errors
    /// A [`FlowError`] with the value if the pair is connected already or the table is full.
    pub fn connect(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        socket: T,
    ) -> Result<(), FlowError<T>> {
        self.connected.insert(FlowKey::new(local, remote), socket)
    }

    /// Removes a connection, but not the binding.
    pub fn disconnect(&mut self, local: SocketAddr, remote: SocketAddr) -> Option<T> {
        self.connected.remove(&FlowKey::new(local, remote))
    }

    /// Returns the socket that is connected from `local` to `remote`.
    pub fn connection(&self, local: SocketAddr, remote: SocketAddr) -> Option<&T> {
        self.connected.get(&FlowKey::new(local, remote))
    }

    /// Returns a connection of the peer that crowds others out of a table that is full, for one of `newcomer`: see
    /// [`draw_crowding`]. Only connections for which `may_go` holds are considered. `random` draws the sample.
    pub fn crowding(
        &self,
        newcomer: PeerNet,
        mut random: impl FnMut() -> u64,
        may_go: impl Fn(&T) -> bool,
    ) -> Option<(FlowKey, &T)> {
        let draw = || {
            let (flow, socket) = self.connected.sample(random())?;
            may_go(socket).then(|| (*flow, flow.peer()))
        };
        let flow = draw_crowding(newcomer, draw, |first, _| first)?;
        Some((flow, self.connected.get(&flow)?))
    }

    /// Removes a binding.
    pub fn unbind(&mut self, local: SocketAddr) -> Option<T> {
        self.bound.unbind(local)
    }

    /// Binds a socket to many destinations at once.
    ///
    /// # Errors
    /// A [`BindError`] with the value; the table is then as it was.
    pub fn bind_any(&mut self, destinations: Destinations, socket: T) -> Result<(), BindError<T>> {
        self.bound.bind_any(destinations, socket)
    }

    /// Removes the bindings to many destinations for which `is_this` holds.
    pub fn unbind_any(&mut self, is_this: impl FnMut(&T) -> bool) {
        self.bound.unbind_any(is_this);
    }

    /// Returns the socket that receives datagrams from `src` to `dst`; `is_own` says whether that is an
    /// address of the host, as in [`BindTable::lookup`]. A bound socket is passed over unless `takes` says that it takes
    /// datagrams of peers to which no socket is connected.
    pub fn lookup(
        &self,
        src: SocketAddr,
        dst: SocketAddr,
        is_own: impl FnOnce() -> bool,
        takes: impl Fn(&T) -> bool,
    ) -> Option<&T> {
        if !self.connected.is_empty()
            && let Some(socket) = self.connected.get(&FlowKey::new(dst, src))
        {
            return Some(socket);
        }
        self.bound.lookup_taker(dst, is_own, takes)
    }

    /// Returns `true` if the port is bound at any address of that family.
    pub fn is_port_used(&self, ipv6: bool, port: u16) -> bool {
        self.bound.is_port_used(ipv6, port)
    }

    /// Returns the number of bound sockets.
    pub fn len(&self) -> usize {
        self.bound.len()
    }

    /// Returns `true` if no socket is bound.
    pub fn is_empty(&self) -> bool {
        self.bound.is_empty()
    }

    /// Returns all bound sockets, in no particular order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.bound.values()
    }

    /// Returns all connected sockets, in no particular order: bound ones, and those that were made for a flow.
    pub fn connected(&self) -> impl Iterator<Item = &T> {
        self.connected.iter().map(|(_, socket)| socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    #[test]
    fn connected_beats_bound_beats_wildcard() {
        let addr = |text: &str| -> SocketAddr { text.parse().expect(text) };
        let mut t = UdpTable::new(8, HashKey::random(&mut Rng::from_u64(2)));
        t.bind(addr("0.0.0.0:53"), "wildcard").expect("bound");
        t.bind(addr("10.0.0.1:53"), "bound").expect("bound");
        t.connect(addr("10.0.0.1:53"), addr("10.0.0.9:1000"), "connected")
            .expect("connected");
        let cases = [
            ("10.0.0.9:1000", "10.0.0.1:53", Some("connected")),
            ("10.0.0.9:1001", "10.0.0.1:53", Some("bound")),
            ("10.0.0.8:1000", "10.0.0.1:53", Some("bound")),
            ("10.0.0.9:1000", "10.0.0.2:53", Some("wildcard")),
            ("10.0.0.9:1000", "10.0.0.2:54", None),
            ("[fd77::9]:1000", "[fd77::1]:53", None),
        ];
        for (src, dst, expected) in cases {
            assert_eq!(
                t.lookup(addr(src), addr(dst), || true, |_| true).copied(),
                expected,
                "{src} {dst}"
            );
        }
        assert_eq!(
            t.connect(addr("10.0.0.1:53"), addr("10.0.0.9:1000"), "again"),
            Err(FlowError::Taken("again"))
        );
        assert_eq!(
            t.disconnect(addr("10.0.0.1:53"), addr("10.0.0.9:1000")),
            Some("connected")
        );
        assert_eq!(
            t.lookup(
                addr("10.0.0.9:1000"),
                addr("10.0.0.1:53"),
                || true,
                |_| true
            ),
            Some(&"bound")
        );
        assert_eq!(
            t.lookup(
                addr("10.0.0.9:1000"),
                addr("10.0.0.1:53"),
                || true,
                |socket| *socket != "bound"
            ),
            Some(&"wildcard")
        );
        assert_eq!(t.unbind(addr("10.0.0.1:53")), Some("bound"));
        assert_eq!(t.unbind(addr("0.0.0.0:53")), Some("wildcard"));
        assert!(t.is_empty());
    }

    #[test]
    fn only_connections_that_may_go_make_room() {
        let mut rng = Rng::from_u64(4);
        let mut t = UdpTable::new(200, HashKey::random(&mut rng));
        for port in 1..=200u16 {
            let [local, remote] = [[10, 0, 0, 1], [10, 0, 0, 9]].map(|ip| (ip, port).into());
            t.connect(local, remote, port % 10 == 0).expect("connected");
        }
        let newcomer = PeerNet::of([10, 0, 0, 8].into());
        for _ in 0..100 {
            if let Some((_, may_go)) = t.crowding(newcomer, || rng.u64(), |may_go| *may_go) {
                assert!(*may_go);
            }
            assert_eq!(t.crowding(newcomer, || rng.u64(), |_| false), None);
            assert!(t.crowding(newcomer, || rng.u64(), |_| true).is_some());
        }
    }
}
