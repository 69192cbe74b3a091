//! The handle of a running stack.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use lockorder::Mutex;
use packet::Payload;
use packet::buf::{Audit, MemoryUse};

use super::machine;
use crate::ip::prefix::Prefix;
use crate::ip::selection::source::AddressFlags;
use crate::stack::Host;
use crate::stack::addresses::{self, AddressChangeError};
use crate::stack::checkpoint::TakenUp;
use crate::stack::ending::EndReason;
use crate::stack::events::{HasSubscriber, Subscriber};
use crate::stack::foreign::locked;
use crate::stack::levels;
use crate::stack::mailbox::Message;
use crate::stack::shutdown;
use crate::stack::sockets::{self, SocketInfo};
use crate::stack::tcp::control;
use crate::stack::tcp::list::{self, HalfOpenInfo, TimeWaitInfo};
use crate::tcp::TcpInfo;

/// A running stack. Clones are handles of the same stack; it ends with [`Stack::shutdown`],
/// [`Stack::drain`], [`Stack::abort`], when a device fails, or when the last handle is dropped.
/// [`Stack::closed`] waits for that and returns the reason. Then every call that waits on one of its
/// sockets fails with this reason, and so does every later call.
///
/// Sockets do not keep the stack running. A service or task on a worker that owns a handle does: end
/// such a stack by name.
///
/// See [`Stack::builder`] for how to start one.
#[derive(Clone)]
pub struct Stack {
    pub(super) host: Arc<Host>,
    threads: Arc<Threads>,
}

/// The worker threads that are not joined yet.
pub(super) type Joins = Vec<JoinHandle<()>>;

/// The worker threads, to be joined once.
struct Threads {
    host: Arc<Host>,
    joins: Mutex<levels::Threads, Joins>,
    /// The rest of the stack whose place this one takes, until the program takes it.
    restored: Mutex<levels::Threads, Option<TakenUp>>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        shutdown::end(&self.host, EndReason::HandlesDropped);
        self.host.workers.stop();
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("workers", &self.workers())
            .field("connections", &self.connections())
            .finish()
    }
}

impl Stack {
    pub(super) fn new(host: Arc<Host>, joins: Joins) -> Self {
        Self::with_restored(host, joins, None)
    }

    pub(super) fn with_restored(host: Arc<Host>, joins: Joins, restored: Option<TakenUp>) -> Self {
        let threads = Threads {
            host: Arc::clone(&host),
            joins: Mutex::new(joins),
            restored: Mutex::new(restored),
        };
        Self {
            host,
            threads: Arc::new(threads),
        }
    }

    /// Makes a handle of a host whose workers are turned by the caller, as in a simulation.
    pub fn from_host(host: Arc<Host>) -> Self {
        Self::new(host, Vec::new())
    }

    /// Returns the memory for packets of a stack whose configuration does not say how much it is, in bytes: a sixteenth of
    /// this machine's, from 32 MiB to 1 GiB.
    pub fn default_memory() -> usize {
        machine::packet_memory()
    }

    /// Returns the number of workers.
    pub fn workers(&self) -> usize {
        self.host.workers.count()
    }

    /// Runs `future` on worker number `worker` (counted modulo the workers). It is polled with
    /// nothing locked, on the thread that handles that worker's packets, so it should not block. It is
    /// dropped when the stack ends.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use netstack::net::UdpSocket;
    ///
    /// // One socket and one task for each worker: a datagram is answered on the thread that read it.
    /// let sockets = UdpSocket::bind_per_worker(&stack, "10.77.0.2:7".parse()?)?;
    /// for (worker, socket) in sockets.into_iter().enumerate() {
    ///     stack.spawn_on(worker, async move {
    ///         while let Ok((payload, from)) = socket.recv_payload_from().await {
    ///             let _ = socket.send_payload_to(payload, from).await;
    ///         }
    ///     });
    /// }
    /// let client = UdpSocket::bind(&stack, "10.77.0.2:0").await?;
    /// client.send_to(b"echo", "10.77.0.2:7").await?;
    /// assert_eq!(client.recv(&mut [0; 16]).await?, 4);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    pub fn spawn_on(&self, worker: usize, future: impl Future<Output = ()> + Send + 'static) {
        let worker = &self.host.workers[worker % self.workers()];
        worker.mailbox.send(Message::Spawn(Box::pin(future)));
    }

    /// Returns the stack's addresses with their subnets.
    pub fn addresses(&self) -> Vec<Prefix> {
        let addressing = self.host.ip.addressing.get();
        addressing.addresses.iter().copied().collect()
    }

    /// Returns the MTU of the link, in bytes. It follows the device's: a packet channel's
    /// ([`PacketSender::set_mtu`](crate::device::channel::PacketSender::set_mtu)), or that of a TUN interface, which an
    /// administrator may change.
    pub fn mtu(&self) -> u16 {
        self.host.link().mtu
    }

    /// Adds an address with its subnet.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// stack.add_address("10.78.0.1/24".parse()?)?;
    /// assert_eq!(stack.addresses().len(), 2);
    /// stack.remove_address("10.78.0.1/24".parse()?)?;
    /// assert_eq!(stack.addresses(), ["10.77.0.2/24".parse()?]);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// The stack has the address already, or no host can have it.
    pub fn add_address(&self, address: Prefix) -> Result<(), AddressChangeError> {
        addresses::add(&self.host, address, AddressFlags::default())
    }

    /// Removes an address, and resets its connections: their sockets report `ConnectionAborted`. Other
    /// connections are not disturbed.
    ///
    /// # Errors
    /// The stack does not have the address, or no other one.
    pub fn remove_address(&self, address: Prefix) -> Result<(), AddressChangeError> {
        addresses::remove(&self.host, address)
    }

    /// Makes the stack answer for every address of `prefix`: see
    /// [`StackBuilder::any_address`](super::StackBuilder::any_address).
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// stack.add_any_address("192.0.2.0/24".parse()?)?;
    /// assert!(stack.add_any_address("192.0.2.0/24".parse()?).is_err());
    /// stack.remove_any_address("192.0.2.0/24".parse()?)?;
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// It does already, or there are 256 prefixes.
    pub fn add_any_address(&self, prefix: Prefix) -> Result<(), AddressChangeError> {
        addresses::add_any(&self.host, prefix)
    }

    /// Takes a prefix back, and resets the connections to its addresses.
    ///
    /// # Errors
    /// The stack does not have the prefix.
    pub fn remove_any_address(&self, prefix: Prefix) -> Result<(), AddressChangeError> {
        addresses::remove_any(&self.host, prefix)
    }

    /// Returns the number of TCP connections, without those that are half open or in TIME-WAIT.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use netstack::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind(&stack, "10.77.0.2:80").await?;
    /// let client = TcpStream::connect(&stack, "10.77.0.2:80").await?;
    /// let server = listener.accept().await?;
    /// // Both ends are of this stack.
    /// assert_eq!((stack.connections(), stack.tcp_info().len()), (2, 2));
    /// assert_eq!((stack.half_open(), stack.time_waits()), (0, 0));
    /// # drop((client, server));
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    pub fn connections(&self) -> usize {
        self.host.tcp.connections.len()
    }

    /// Returns the number of half-open TCP connections: a peer has sent a SYN and nothing else.
    pub fn half_open(&self) -> usize {
        self.host.tcp.syn_places.taken()
    }

    /// Returns the number of TCP connections in TIME-WAIT.
    pub fn time_waits(&self) -> usize {
        self.host.tcp.connections.time_waits()
    }

    /// Returns the half-open connections, one after the other: they are no sockets yet. At most `max_half_open` at a time,
    /// of which the iterator holds a few. Nothing is locked between two of its steps, so those that begin meanwhile may
    /// be left out.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// for handshake in stack.list_half_open().take(100) {
    ///     println!("{} since {} SYN-ACKs", handshake.remote, 1 + u32::from(handshake.retries));
    /// }
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    pub fn list_half_open(&self) -> impl Iterator<Item = HalfOpenInfo> + '_ {
        list::half_open(&self.host)
    }

    /// Returns the connections in TIME-WAIT, one after the other, as [`Stack::list_half_open`] does. There are at most
    /// `max_time_wait`.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// for connection in stack.list_time_waits().take(100) {
    ///     println!("{} for {:?}", connection.remote, connection.remaining);
    /// }
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    pub fn list_time_waits(&self) -> impl Iterator<Item = TimeWaitInfo> + '_ {
        list::time_waits(&self.host)
    }

    /// Sets the key that makes Fast Open cookies, and the one whose cookies are still taken (RFC 7413 section 4.1.2). Hosts
    /// that share an address share the keys; the cookies are those of Linux. The program replaces the keys from now on;
    /// without this call the stack has random ones and replaces them every twelve hours.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let (new, old) = ([7; 16], [6; 16]);
    /// stack.set_fast_open_keys(new, Some(old));
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    pub fn set_fast_open_keys(&self, current: [u8; 16], previous: Option<[u8; 16]>) {
        let fast_open = &self.host.tcp.fast_open;
        locked(|key| fast_open.set_keys(&mut key.ctx(), current, previous));
    }

    /// Returns how many timers of connections are armed: an idle connection has none, unless it uses keepalive.
    pub fn timers(&self) -> usize {
        let counters = self.host.workers.counters();
        counters.map(|worker| worker.timers() as usize).sum()
    }

    /// Returns the number of slabs in use: large ones, small ones.
    pub fn slabs_in_use(&self) -> (usize, usize) {
        let buffers = &self.host.buffers;
        (buffers.large().in_use(), buffers.small().in_use())
    }

    /// Returns the state of the memory for packets: its limit, how much of it is taken from the system and in
    /// use, and how short it is.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let memory = stack.memory();
    /// assert!(memory.used <= memory.allocated && memory.allocated <= memory.limit);
    /// println!("{:?} slabs in use, {} timers", stack.slabs_in_use(), stack.timers());
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    pub fn memory(&self) -> MemoryUse {
        self.host.buffers.memory_use()
    }

    /// Copies `bytes` into memory of the stack, to send them any number of times: clones and slices of the result
    /// allocate nothing, and nothing is counted for each of them.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use netstack::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind(&stack, "10.77.0.2:80").await?;
    /// let mut client = TcpStream::connect(&stack, "10.77.0.2:80").await?;
    /// let (mut server, _) = listener.accept().await?;
    /// let page = stack.payload(b"hello, hello")?;
    /// server.send_payload(page.clone()).await?;
    /// client.send_payload(page.slice(0..5)).await?;
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `OutOfMemory` while the stack's memory is used up.
    pub fn payload(&self, bytes: &[u8]) -> io::Result<Payload> {
        self.host.buffers.copy_exact(bytes).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::OutOfMemory,
                format!(
                    "payload: the stack's memory has no {} bytes left; try again later",
                    bytes.len()
                ),
            )
        })
    }

    /// Returns the verdict of the ledgers of the large slabs, the small slabs, the memory of other lengths and
    /// the reserve; see [`packet::Pool::audit`]. Programs are built without ledgers: [`Audit::Unsupported`].
    pub fn audit(&self) -> [Audit; 4] {
        self.host.buffers.audit()
    }

    /// Passes the events of every connection to `subscriber` from now on. Without a subscriber no
    /// event is built. The subscriber is dropped when the stack ends.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use netstack::net::ConnectionEvent;
    ///
    /// stack.subscribe(|event: &ConnectionEvent| {
    ///     eprintln!("{:?} {}: {:?}", event.at, event.remote, event.event);
    /// })?;
    /// assert!(stack.subscribe(|_: &ConnectionEvent| {}).is_err(), "one subscriber");
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// The stack has a subscriber already.
    pub fn subscribe(&self, subscriber: impl Subscriber) -> Result<(), HasSubscriber> {
        self.host.subscription.set(Arc::new(subscriber))
    }

    /// Lets go of the subscriber, if there is one: events cost nothing again, and another one can subscribe.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use netstack::net::ConnectionEvent;
    ///
    /// stack.subscribe(|_: &ConnectionEvent| {})?;
    /// stack.unsubscribe();
    /// stack.subscribe(|_: &ConnectionEvent| {})?;
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    pub fn unsubscribe(&self) {
        self.host.subscription.clear();
    }

    /// Returns what TCP knows of each connection now: its local address, its remote address, its
    /// numbers.
    pub fn tcp_info(&self) -> Vec<(SocketAddr, SocketAddr, TcpInfo)> {
        control::info(&self.host)
    }

    /// Returns what TCP knows of the connection between `local` and `remote` now; `None` if there is none.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use netstack::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind(&stack, "10.77.0.2:80").await?;
    /// let client = TcpStream::connect(&stack, "10.77.0.2:80").await?;
    /// let info = stack.tcp_info_of(client.local_addr()?, client.peer_addr()?);
    /// assert!(info.is_some_and(|info| info.mss > 0));
    /// assert!(stack.tcp_info_of("10.77.0.2:1".parse()?, "10.77.0.3:2".parse()?).is_none());
    /// # drop(listener);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    pub fn tcp_info_of(&self, local: SocketAddr, remote: SocketAddr) -> Option<TcpInfo> {
        control::info_of(&self.host, local, remote)
    }

    /// Returns every socket of the stack: listeners, connections, sockets for datagrams. What is no socket is not among
    /// them: see [`Stack::list_half_open`] and [`Stack::list_time_waits`].
    ///
    /// ```no_run
    /// # fn example(stack: &netstack::Stack) {
    /// for socket in stack.sockets() {
    ///     println!("{socket}");
    /// }
    /// # }
    /// ```
    pub fn sockets(&self) -> Vec<SocketInfo> {
        sockets::list(&self.host)
    }

    /// Takes what the stack whose place this one takes has left, once.
    pub(super) fn take_taken_up(&self) -> Option<TakenUp> {
        let restored = &self.threads.restored;
        locked(|key| restored.with(&mut key.ctx(), |restored, _| restored.take()))
    }

    /// Takes the threads that are to be joined.
    pub(super) fn take_joins(&self) -> Joins {
        locked(|key| {
            self.threads
                .joins
                .with(&mut key.ctx(), |joins, _| std::mem::take(joins))
        })
    }
}
