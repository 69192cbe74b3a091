//! One UDP socket as the stack holds it: the pure state, its lock, and the tasks that wait for it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use lockorder::Mutex;
use packet::Payload;

use super::super::levels;
use super::super::waiters::WakerSlot;
use crate::base::time::Duration;
use crate::base::{Config, Instant};
use crate::demux::Destinations;
use crate::icmp::error::Unreachable;
use crate::ip::selection::source::SourcePreference;
use crate::udp::{MtuDiscovery, Socket};

/// Time to live of datagrams to multicast groups, unless the program sets another (RFC 1112 section 6.1).
const MULTICAST_TTL: u8 = 1;

/// The kinds of sources, by the numbers under which a socket stores them.
const SOURCES: [SourcePreference; 3] = [
    SourcePreference::Default,
    SourcePreference::Temporary,
    SourcePreference::Public,
];

/// The entries of the table that lead to a socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Binding {
    /// That of its address.
    Address,
    /// That of its address, which it shares with other sockets: each has a part of the flows.
    Shared,
    /// That of one peer, to which it was connected when it was made.
    Peer,
    /// Those of many destinations: it has no address of its own.
    Destinations(Destinations),
    /// That of one flow, for which it was made.
    Flow,
}

/// The protocol of a socket, which says what the ports of its addresses are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    /// UDP.
    Udp,
    /// ICMP echo, asking: the local port is the identifier, the remote port the sequence number.
    Echo,
    /// ICMP echo, answering: the remote port is the identifier, the local port the sequence number.
    EchoAnswer,
}

/// One UDP or ICMP echo socket, shared by the table and the application's handle.
pub struct BoundSocket {
    bound: SocketAddr,
    source: SocketAddr,
    binding: Binding,
    protocol: Protocol,
    ttl: AtomicU8,
    traffic_class: AtomicU8,
    /// Time to live of datagrams to multicast groups.
    multicast_ttl: AtomicU8,
    /// Datagrams to multicast groups reach members on this host.
    multicast_loop: AtomicBool,
    /// True once it joined a group.
    joined: AtomicBool,
    /// It may send to broadcast addresses.
    broadcast: AtomicBool,
    /// The kind of source that it prefers, as its place in [`SOURCES`].
    source_preference: AtomicU8,
    /// The treatment of datagrams that are larger than their path carries, as a number.
    discovery: AtomicU8,
    /// The version of the host's addresses and the IPv4 address that it was found to be permitted to send to last.
    permitted: AtomicU64,
    closed: AtomicBool,
    /// True once the socket was connected. Until then its address is the bound one and no error is reported
    /// to it: a send needs no lock.
    connected: AtomicBool,
    /// Time without a datagram in either direction after which its flow ends, in nanoseconds; 0: none.
    idle_nanos: AtomicU64,
    /// When the last datagram came or was sent, in nanoseconds. Kept only for a flow that ends when it is idle.
    active_nanos: AtomicU64,
    /// Open sockets of the group.
    open: Arc<AtomicUsize>,
    pub(crate) state: Mutex<levels::UdpSocket, SocketState>,
}

/// The state behind a socket's lock.
pub(crate) struct SocketState {
    pub(crate) socket: Socket,
    pub(crate) readers: WakerSlot,
}

/// A datagram to be built and sent by a worker.
#[derive(Debug)]
pub struct OutDatagram {
    pub(crate) protocol: Protocol,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) ttl: u8,
    pub(crate) traffic_class: u8,
    /// The kind of source that is preferred if `local` has no address.
    pub(crate) source_preference: SourcePreference,
    /// The destination is a multicast group.
    pub(crate) is_to_group: bool,
    /// Members of the group on this host get it, too.
    pub(crate) loops: bool,
    /// The treatment of it if it is larger than its path carries.
    pub(crate) discovery: MtuDiscovery,
    /// Bytes of payload in each of several datagrams; 0: there is one.
    pub(crate) segment: u16,
    /// It is a datagram that `remote` sent to `local`, which is answered with an ICMP error.
    pub(crate) refused: Option<Unreachable>,
    pub(crate) payload: Payload,
}

impl OutDatagram {
    /// Returns the number of datagrams that are sent.
    fn datagrams(&self) -> usize {
        match self.segment {
            0 => 1,
            segment => self.payload.len().div_ceil(segment.into()).max(1),
        }
    }
}

/// Datagrams of one turn; when there are as many, the rest waits for the next turn.
const DATAGRAMS_PER_TURN: usize = 512;

/// The datagrams that one worker sends at the end of a turn.
#[derive(Debug, Default)]
pub struct Outgoing {
    queue: Vec<OutDatagram>,
    /// Datagrams that `queue` becomes: an entry may be cut into several.
    datagrams: usize,
}

impl Outgoing {
    /// Returns true if this turn sends one more.
    pub(crate) fn has_room(&self) -> bool {
        self.datagrams < DATAGRAMS_PER_TURN
    }

    /// Queues a datagram.
    pub(crate) fn push(&mut self, datagram: OutDatagram) {
        self.datagrams += datagram.datagrams();
        self.queue.push(datagram);
    }

    /// Returns true if none is queued.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes all of them out, oldest first.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = OutDatagram> + '_ {
        self.datagrams = 0;
        self.queue.drain(..)
    }
}

impl fmt::Debug for BoundSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BoundSocket({})", self.bound)
    }
}

impl BoundSocket {
    /// Creates `count` sockets for one address.
    pub(crate) fn group(
        protocol: Protocol,
        local: SocketAddr,
        count: usize,
        config: &Config,
    ) -> Vec<Arc<Self>> {
        Self::with_binding(protocol, local, &Binding::Address, count, config)
    }

    /// Creates a socket for many destinations, or for one flow.
    pub(crate) fn single(
        protocol: Protocol,
        local: SocketAddr,
        binding: &Binding,
        config: &Config,
    ) -> Option<Arc<Self>> {
        Self::with_binding(protocol, local, binding, 1, config).pop()
    }

    fn with_binding(
        protocol: Protocol,
        local: SocketAddr,
        binding: &Binding,
        count: usize,
        config: &Config,
    ) -> Vec<Arc<Self>> {
        let open = Arc::new(AtomicUsize::new(count));
        let source = match local.ip() {
            IpAddr::V4(v4) if v4.is_multicast() => (Ipv4Addr::UNSPECIFIED, local.port()).into(),
            IpAddr::V6(v6) if v6.is_multicast() => (Ipv6Addr::UNSPECIFIED, local.port()).into(),
            _ => local,
        };
        let socket = |_| {
            Arc::new(Self {
                bound: local,
                source,
                binding: binding.clone(),
                protocol,
                ttl: AtomicU8::new(config.ttl),
                traffic_class: AtomicU8::new(0),
                multicast_ttl: AtomicU8::new(MULTICAST_TTL),
                multicast_loop: AtomicBool::new(true),
                joined: AtomicBool::new(false),
                broadcast: AtomicBool::new(false),
                source_preference: AtomicU8::new(0),
                discovery: AtomicU8::new(MtuDiscovery::Fragment as u8),
                permitted: AtomicU64::new(u64::MAX),
                closed: AtomicBool::new(false),
                connected: AtomicBool::new(false),
                idle_nanos: AtomicU64::new(0),
                active_nanos: AtomicU64::new(0),
                open: Arc::clone(&open),
                state: Mutex::new(SocketState {
                    socket: Socket::new(source, config.udp_queue_datagrams, config.udp_queue_bytes),
                    readers: WakerSlot::default(),
                }),
            })
        };
        (0..count).map(socket).collect()
    }

    /// Returns the address that it was bound to.
    pub fn local(&self) -> SocketAddr {
        self.bound
    }

    /// Returns the address that it sends from. One that is bound to a multicast group sends from an address of the
    /// host.
    pub(crate) fn source(&self) -> SocketAddr {
        self.source
    }

    /// Returns true if it receives datagrams to `to`, an address of a group that it joined.
    pub(in crate::stack) fn receives_at(&self, to: SocketAddr) -> bool {
        match &self.binding {
            Binding::Destinations(destinations) => destinations.contains(to),
            Binding::Address | Binding::Shared | Binding::Peer | Binding::Flow => {
                let is_at = self.bound.ip().is_unspecified() || self.bound.ip() == to.ip();
                self.bound.port() == to.port() && self.bound.is_ipv4() == to.is_ipv4() && is_at
            }
        }
    }

    /// Returns true if a datagram to several hosts that came to its address is for it: it is open, and has not become the
    /// socket of one local address because it was connected.
    pub(in crate::stack) fn takes_copies(&self) -> bool {
        let has_local_address = self.was_connected() && self.bound.ip().is_unspecified();
        !self.is_closed() && !has_local_address
    }

    /// Returns true if it receives datagrams of the family of `group`.
    pub(in crate::stack) fn has_family_of(&self, group: IpAddr) -> bool {
        match &self.binding {
            Binding::Destinations(_) => true,
            Binding::Address | Binding::Shared | Binding::Peer | Binding::Flow => {
                self.bound.is_ipv4() == group.is_ipv4()
            }
        }
    }

    /// Notes that it joined a group.
    pub(in crate::stack) fn note_joined(&self) {
        self.joined.store(true, Ordering::Release);
    }

    /// Returns true once it joined a group.
    pub(in crate::stack) fn has_joined(&self) -> bool {
        self.joined.load(Ordering::Acquire)
    }

    /// Sets the time to live of datagrams that it sends to multicast groups; 0: they do not leave the host.
    pub fn set_multicast_ttl(&self, ttl: u8) {
        self.multicast_ttl.store(ttl, Ordering::Relaxed);
    }

    /// Returns the time to live of datagrams that it sends to multicast groups.
    pub fn multicast_ttl(&self) -> u8 {
        self.multicast_ttl.load(Ordering::Relaxed)
    }

    /// Sets whether members on this host get what it sends to their group.
    pub fn set_multicast_loop(&self, loops: bool) {
        self.multicast_loop.store(loops, Ordering::Relaxed);
    }

    /// Returns true if members on this host get what it sends to their group.
    pub fn multicast_loop(&self) -> bool {
        self.multicast_loop.load(Ordering::Relaxed)
    }

    /// Returns the entries of the table that lead here.
    pub(crate) fn binding(&self) -> &Binding {
        &self.binding
    }

    /// Returns its protocol.
    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Sets the traffic class (IPv4: type of service) of the datagrams that it sends. The two bits of ECN
    /// belong to the program: UDP has no congestion control of its own.
    pub fn set_traffic_class(&self, traffic_class: u8) {
        self.traffic_class.store(traffic_class, Ordering::Relaxed);
    }

    /// Returns the traffic class of the datagrams that it sends.
    pub fn traffic_class(&self) -> u8 {
        self.traffic_class.load(Ordering::Relaxed)
    }

    /// Sets what becomes of datagrams that are larger than their path carries.
    pub fn set_mtu_discovery(&self, discovery: MtuDiscovery) {
        self.discovery.store(discovery as u8, Ordering::Relaxed);
    }

    /// Returns what becomes of datagrams that are larger than their path carries.
    pub fn mtu_discovery(&self) -> MtuDiscovery {
        self.discovery.load(Ordering::Relaxed).into()
    }

    /// Returns true if `checked` is what was permitted last.
    pub(crate) fn is_permitted(&self, checked: u64) -> bool {
        self.permitted.load(Ordering::Relaxed) == checked
    }

    /// Notes that it may send to an address, as of a version of the host's addresses.
    pub(crate) fn permit(&self, checked: u64) {
        self.permitted.store(checked, Ordering::Relaxed);
    }

    /// Allows or forbids sending to broadcast addresses.
    pub fn set_broadcast(&self, broadcast: bool) {
        self.broadcast.store(broadcast, Ordering::Relaxed);
    }

    /// Returns true if it may send to broadcast addresses.
    pub fn broadcast(&self) -> bool {
        self.broadcast.load(Ordering::Relaxed)
    }

    /// Sets the kind of source that it prefers while it has no address of its own.
    pub fn set_source_preference(&self, preference: SourcePreference) {
        let place = SOURCES.iter().position(|source| *source == preference);
        let place = place.map_or(0, |place| place as u8);
        self.source_preference.store(place, Ordering::Relaxed);
    }

    /// Returns the kind of source that it prefers.
    pub fn source_preference(&self) -> SourcePreference {
        let place = self.source_preference.load(Ordering::Relaxed);
        SOURCES.get(usize::from(place)).copied().unwrap_or_default()
    }

    /// Sets the time to live of the datagrams that it sends.
    pub fn set_ttl(&self, ttl: u8) {
        self.ttl.store(ttl, Ordering::Relaxed);
    }

    /// Returns the time to live of the datagrams that it sends.
    pub fn ttl(&self) -> u8 {
        self.ttl.load(Ordering::Relaxed)
    }

    /// Lets the flow end when nothing came or was sent for `idle` from now on.
    pub(crate) fn set_idle_timeout(&self, idle: Duration, now: Instant) {
        let nanos = u64::try_from(idle.as_nanos()).unwrap_or(u64::MAX);
        self.active_nanos.store(now.as_nanos(), Ordering::Relaxed);
        self.idle_nanos.store(nanos, Ordering::Relaxed);
    }

    /// Notes a datagram in either direction, at a time that is asked for only if it counts.
    #[inline]
    pub(crate) fn note_active(&self, now: impl FnOnce() -> Instant) {
        if self.idle_nanos.load(Ordering::Relaxed) > 0 {
            let now = now().as_nanos();
            self.active_nanos.fetch_max(now, Ordering::Relaxed);
        }
    }

    /// Returns whether the flow has been idle for too long at `now`; `None` if it may be idle for ever.
    pub(crate) fn is_idle(&self, now: Instant) -> Option<bool> {
        let idle = self.idle_nanos.load(Ordering::Relaxed);
        let active = self.active_nanos.load(Ordering::Relaxed);
        (idle > 0).then(|| now.as_nanos().saturating_sub(active) >= idle)
    }

    /// Returns true once the socket was connected.
    pub(crate) fn was_connected(&self) -> bool {
        self.connected.load(Ordering::Acquire)
    }

    /// Returns true if it takes datagrams of every sender: it is open, and connected to no peer.
    #[inline]
    pub(crate) fn takes_from_all(&self) -> bool {
        !self.was_connected() && !self.is_closed()
    }

    /// Connects the socket, whose `state` is locked. Returns the number of datagrams from other senders that it
    /// dropped.
    pub(crate) fn connect(
        &self,
        state: &mut SocketState,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> usize {
        let dropped = state.socket.connect(local, remote);
        self.connected.store(true, Ordering::Release);
        dropped
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Marks the socket as closed.
    pub(crate) fn close(&self) -> Closed {
        if self.closed.swap(true, Ordering::AcqRel) {
            Closed::Before
        } else if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            Closed::LastOfGroup
        } else {
            Closed::Now
        }
    }
}

/// The effect of closing a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Closed {
    /// None: it was closed before.
    Before,
    /// It is closed now; others of its group are open.
    Now,
    /// It is closed now, and its group's address is free.
    LastOfGroup,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_socket_of_a_group_frees_the_address() {
        let local: SocketAddr = "10.0.0.1:53".parse().expect("an address");
        let sockets = BoundSocket::group(Protocol::Udp, local, 2, &Config::default());
        assert_eq!(sockets[0].close(), Closed::Now);
        assert_eq!(sockets[0].close(), Closed::Before);
        assert!(sockets[0].is_closed() && !sockets[1].is_closed());
        assert_eq!(sockets[1].close(), Closed::LastOfGroup);
    }

    #[test]
    fn a_datagram_that_is_cut_counts_as_what_it_becomes() {
        let mut outgoing = Outgoing::default();
        let mut entries = 0;
        while outgoing.has_room() {
            outgoing.push(OutDatagram {
                protocol: Protocol::Udp,
                local: "10.0.0.1:53".parse().expect("an address"),
                remote: "10.0.0.9:53".parse().expect("an address"),
                ttl: 64,
                traffic_class: 0,
                source_preference: SourcePreference::Default,
                is_to_group: false,
                loops: false,
                discovery: MtuDiscovery::Fragment,
                segment: 10,
                refused: None,
                payload: bytes::Bytes::from_static(&[0; 1_275]).into(),
            });
            entries += 1;
        }
        assert_eq!(entries, DATAGRAMS_PER_TURN / 128);
        assert_eq!(outgoing.drain().count(), entries);
        assert!(outgoing.has_room() && outgoing.is_empty());
    }
}
