//! The lock order of the whole stack, in one place.
//!
//! * **Define.** Each lock has a level; a thread may take a lock only after one of a level before it.
//! * **Enforce.** The graph below is the only source of order; [`lockorder`] refuses everything else at
//!   compile time.
//! * **Consume.** No two threads of the stack can wait for each other's locks. Code that must run with
//!   no lock held (wakers, device I/O, tasks) takes `&mut Key`, which no thread has while it holds a
//!   lock.

lockorder::lock_order! {
    /// The locks of one stack.
    pub domain StackLocks;
    /// The join handles of the worker threads.
    level Threads;
    /// One TCP connection: its state machine, its options, the tasks that wait for it.
    level Connection;
    /// A listener's accept queue: connections that wait to be accepted, tasks that wait for one, and
    /// whether a service takes them instead.
    level AcceptQueue;
    /// The multicast groups of the stack, their members, and what is reported of them.
    level Groups;
    /// One UDP socket: its receive queue, its peer, the tasks that wait for it.
    level UdpSocket;
    /// The options of a TCP socket that has not been used yet.
    level SocketOptions;
    /// The allocator of ephemeral ports.
    level Ports;
    /// A shard of the connection table, the table of listeners, or the table of UDP sockets.
    level Tables;
    /// The keys of a socket whose connections are authenticated.
    level AuthenticationKeys;
    /// The secrets of SYN cookies.
    level SynCookies;
    /// The keys of Fast Open cookies, and the cookies of peers.
    level FastOpen;
    /// The cache of path MTUs.
    level PathMtu;
    /// Fragments of datagrams that are not complete yet.
    level Reassembly;
    /// The addresses and routes of the stack.
    level Addressing;
    /// The token bucket of ICMP errors.
    level IcmpLimiter;
    /// The tasks that wait for the stack's end.
    level Ending;
    /// The subscriber of the stack.
    level Subscription;
    /// The tasks that sleep by one worker's timers.
    level Sleepers;

    StackLocks => Threads;
    StackLocks => Connection => AcceptQueue;
    StackLocks => Groups => UdpSocket => Tables;
    StackLocks => UdpSocket;
    Groups => Addressing;
    StackLocks => Ports => Tables;
    StackLocks => SocketOptions;
    Connection => AuthenticationKeys;
    StackLocks => SynCookies;
    StackLocks => FastOpen;
    StackLocks => PathMtu;
    StackLocks => Reassembly;
    StackLocks => Addressing;
    StackLocks => IcmpLimiter;
    StackLocks => Ending;
    StackLocks => Subscription;
    StackLocks => Sleepers;
}
