//! The lock order of the whole stack, in one place.
//!
//! * **Define.** Each lock has a level; a thread may take a lock only after one of a level before it.
//! * **Enforce.** The graph below is the only source of order; [`lockorder`] refuses everything else at
//!   compile time.
//! * **Consume.** No two threads of the stack can wait for each other's locks. What must run with no
//!   lock held (wakers, device I/O, tasks) takes `&mut Key`, which nobody has while holding one.

lockorder::lock_order! {
    /// The locks of one stack.
    pub domain StackLocks;
    /// Edits of the configuration at run time: addresses, the set of listeners.
    level Control;
    /// One TCP connection and its wakers.
    level Conn;
    /// One UDP socket and its wakers.
    level UdpSock;
    /// A listener's connections that wait to be accepted.
    level Accept;
    /// The choice of an ephemeral port.
    level Ports;
    /// A shard of the tables that lead from a packet to its connection, listener or socket.
    level Demux;
    /// Addresses and routes.
    level Routes;
    /// What is known of path MTUs.
    level PathMtu;
    /// Datagrams that wait for their fragments.
    level Reassembly;
    /// The token bucket of ICMP errors.
    level IcmpLimit;

    StackLocks => Control => Ports => Demux;
    Control => Routes;
    StackLocks => Conn => Accept => Demux;
    StackLocks => UdpSock => Demux;
    Conn => Routes => PathMtu;
    UdpSock => Routes;
    StackLocks => Reassembly;
    StackLocks => IcmpLimit;
}
