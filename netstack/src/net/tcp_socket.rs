//! A TCP socket before it connects or listens.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use lockorder::Mutex;

use super::handle::checked_ttl;
use super::stack::Stack;
use super::syn_listener::SynListener;
use super::tcp_listener::TcpListener;
use super::tcp_options::{
    checked_linger, checked_probes, checked_segment, checked_time, checked_tos, invalid,
};
use super::tcp_stream::TcpStream;
use crate::base::TcpConfig;
use crate::base::time::Duration;
use crate::stack::Host;
use crate::stack::foreign::locked;
use crate::stack::levels;
use crate::stack::tcp::filter::{Filter, SynInfo};
use crate::stack::tcp::options::Options;
use crate::tcp::Algorithm;

/// A TCP socket whose options are set before it connects or listens, as `tokio::net::TcpSocket`. The connections
/// of a listener begin with its options.
///
/// ```
/// # netstack::net::example(async |stack| {
/// use netstack::net::TcpSocket;
///
/// let socket = TcpSocket::new_v4(&stack);
/// socket.set_recv_buffer_size(64 << 10)?;
/// socket.bind("10.77.0.2:8080".parse()?)?;
/// let listener = socket.listen(1024)?;
///
/// let socket = TcpSocket::new_v4(&stack);
/// socket.set_nodelay(true)?;
/// let client = socket.connect("10.77.0.2:8080".parse()?).await?;
/// assert!(client.nodelay()?);
/// # drop(listener);
/// # Ok(())
/// # }).unwrap();
/// ```
pub struct TcpSocket {
    host: Arc<Host>,
    draft: Mutex<levels::SocketOptions, Draft>,
}

/// The options that were set so far.
#[derive(Clone)]
struct Draft {
    local: SocketAddr,
    bound: bool,
    options: Options,
}

impl fmt::Debug for TcpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpSocket({})", self.with(|draft| draft.local))
    }
}

/// Least size of a buffer, and the largest, in bytes.
const BUFFER_BYTES: std::ops::RangeInclusive<u32> = 2_048..=1 << 30;

impl TcpSocket {
    /// Creates a socket of IPv4.
    pub fn new_v4(stack: &Stack) -> Self {
        Self::new(stack, Ipv4Addr::UNSPECIFIED.into())
    }

    /// Creates a socket of IPv6.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::TcpSocket::new_v6(&stack);
    /// assert!(socket.bind("10.77.0.2:80".parse()?).is_err());
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    pub fn new_v6(stack: &Stack) -> Self {
        Self::new(stack, Ipv6Addr::UNSPECIFIED.into())
    }

    fn new(stack: &Stack, unspecified: IpAddr) -> Self {
        let draft = Draft {
            local: SocketAddr::new(unspecified, 0),
            bound: false,
            options: stack.host.tcp_options(),
        };
        Self {
            host: Arc::clone(&stack.host),
            draft: Mutex::new(draft),
        }
    }

    fn with<R>(&self, f: impl FnOnce(&mut Draft) -> R) -> R {
        locked(|key| self.draft.with(&mut key.ctx(), |draft, _| f(draft)))
    }

    fn configure(&self, change: impl FnOnce(&mut TcpConfig)) {
        self.with(|draft| draft.options.configure(change));
    }

    /// Sets the address and port that the socket listens on or connects from. With port 0 the stack chooses the port
    /// when the socket listens or connects. Only then it is known whether the address is free.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::TcpSocket::new_v4(&stack);
    /// socket.bind("10.77.0.2:80".parse()?)?;
    /// assert_eq!(socket.local_addr()?, "10.77.0.2:80".parse()?);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `AddrNotAvailable` if the address is not the stack's; `InvalidInput` if it is of the other family, or the
    /// socket is bound.
    pub fn bind(&self, address: SocketAddr) -> io::Result<()> {
        self.host.ip.addressing.get().check_bind("bind", &address)?;
        self.with(|draft| {
            if draft.bound {
                let bound = draft.local;
                return Err(invalid(format!("bind: this socket is bound to {bound}")));
            }
            if draft.local.is_ipv4() != address.is_ipv4() {
                return Err(invalid(format!(
                    "bind: {address} is not of the family of this socket"
                )));
            }
            draft.local = address;
            draft.bound = true;
            Ok(())
        })
    }

    /// Returns the address that it is bound to.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.with(|draft| draft.local))
    }

    /// Connects to `remote`. Cancel-safe: a cancelled call leaves no connection.
    ///
    /// # Errors
    /// As [`TcpStream::connect_from`].
    pub async fn connect(self, remote: SocketAddr) -> io::Result<TcpStream> {
        let draft = self.with(|draft| draft.clone());
        let local = draft.bound.then_some(draft.local);
        TcpStream::open(&self.host, local, remote, &draft.options).await
    }

    /// Listens, with room for `backlog` connections that are not accepted yet.
    ///
    /// # Errors
    /// `InvalidInput` for a backlog of 0; otherwise as [`TcpListener::bind`].
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        let draft = self.listening(backlog)?;
        TcpListener::listen(&self.host, draft.local, draft.options)
    }

    /// Listens, and lets the program decide about each SYN: see [`SynListener`].
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::TcpSocket::new_v4(&stack);
    /// socket.bind("10.77.0.2:80".parse()?)?;
    /// let listener = socket.listen_deferred(16)?;
    /// assert_eq!(listener.local_addr()?.port(), 80);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`TcpSocket::listen`].
    pub fn listen_deferred(self, backlog: u32) -> io::Result<SynListener> {
        let draft = self.listening(backlog)?;
        SynListener::listen(&self.host, draft.local, draft.options)
    }

    /// Returns what a listener begins with.
    fn listening(&self, backlog: u32) -> io::Result<Draft> {
        if backlog == 0 {
            return Err(invalid(
                "listen: a backlog of 0 takes no connection; give at least 1".to_owned(),
            ));
        }
        let mut draft = self.with(|draft| draft.clone());
        draft
            .options
            .configure(|config| config.backlog = backlog as usize);
        Ok(draft)
    }

    /// Calls `filter` for each SYN to the listener that this socket becomes, before the stack stores anything about it.
    /// A SYN for which it returns false is discarded without an answer, and counted. The filter runs on the worker that
    /// received the SYN and must not block.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// # use netstack::net::{TcpSocket, TcpStream};
    /// // Neighbours only (RFC 5082).
    /// let socket = TcpSocket::new_v4(&stack);
    /// socket.set_filter(|syn| syn.ttl == 255);
    /// socket.bind("10.77.0.2:179".parse()?)?;
    /// let listener = socket.listen(16)?;
    ///
    /// let neighbour = TcpSocket::new_v4(&stack);
    /// neighbour.set_ttl(255)?;
    /// neighbour.connect("10.77.0.2:179".parse()?).await?;
    /// # drop(listener);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    pub fn set_filter(&self, filter: impl Fn(&SynInfo) -> bool + Send + Sync + 'static) {
        let filter = Filter::new(Arc::new(filter));
        self.with(|draft| draft.options.filter = filter);
    }

    /// Lets the address be bound again at once, or not. A listener's address is always free for another one once
    /// it is closed, whatever its connections do: nothing changes here.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::TcpSocket::new_v4(&stack);
    /// socket.set_reuseaddr(false)?;
    /// assert!(socket.reuseaddr()?);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn set_reuseaddr(&self, _reuse: bool) -> io::Result<()> {
        Ok(())
    }

    /// Returns true: see [`TcpSocket::set_reuseaddr`].
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn reuseaddr(&self) -> io::Result<bool> {
        Ok(true)
    }

    /// Sets the most bytes that a connection queues to be sent and acknowledged.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::TcpSocket::new_v4(&stack);
    /// socket.set_send_buffer_size(1 << 20)?;
    /// assert_eq!(socket.send_buffer_size()?, 1 << 20);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` unless it is from 2 KiB to 1 GiB.
    pub fn set_send_buffer_size(&self, bytes: u32) -> io::Result<()> {
        let bytes = checked_buffer("set_send_buffer_size", bytes)?;
        self.configure(|config| config.send_buffer = bytes);
        Ok(())
    }

    /// Returns the most bytes that a connection queues to be sent and acknowledged.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn send_buffer_size(&self) -> io::Result<u32> {
        let bytes = self.with(|draft| draft.options.config.send_buffer);
        Ok(u32::try_from(bytes).unwrap_or(u32::MAX))
    }

    /// Sets the receive window: its size is fixed then, and not tuned any more.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::TcpSocket::new_v4(&stack);
    /// socket.set_recv_buffer_size(1 << 20)?;
    /// assert_eq!(socket.recv_buffer_size()?, 1 << 20);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` unless it is from 2 KiB to 1 GiB.
    pub fn set_recv_buffer_size(&self, bytes: u32) -> io::Result<()> {
        let bytes = checked_buffer("set_recv_buffer_size", bytes)?;
        self.configure(|config| {
            config.recv_buffer_initial = bytes;
            config.recv_buffer_max = bytes;
        });
        Ok(())
    }

    /// Returns the largest receive window.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn recv_buffer_size(&self) -> io::Result<u32> {
        let bytes = self.with(|draft| draft.options.config.recv_buffer_max);
        Ok(u32::try_from(bytes).unwrap_or(u32::MAX))
    }

    /// Sets the largest segment that is offered and sent, in bytes without IP and TCP headers.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::TcpSocket::new_v4(&stack);
    /// socket.set_max_segment(1_200)?;
    /// assert!(socket.set_max_segment(10).is_err());
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` if it is less than 88.
    pub fn set_max_segment(&self, bytes: u16) -> io::Result<()> {
        let bytes = checked_segment(bytes)?;
        // The stack's own limit holds for each socket.
        let bytes = bytes.min(self.host.tcp.config.max_mss);
        self.with(|draft| draft.options.configure(|tcp| tcp.max_mss = bytes));
        Ok(())
    }

    /// Chooses the congestion control algorithm.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::TcpSocket::new_v4(&stack);
    /// socket.set_congestion("bbr".parse()?);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    pub fn set_congestion(&self, algorithm: Algorithm) {
        self.configure(|config| config.congestion = algorithm);
    }

    /// Turns Nagle's algorithm off (`true`) or on.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::TcpSocket::new_v4(&stack);
    /// socket.set_nodelay(true)?;
    /// assert!(socket.nodelay()?);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.configure(|config| config.nagle = !nodelay);
        Ok(())
    }

    /// Returns true if Nagle's algorithm is off.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(self.with(|draft| !draft.options.config.nagle))
    }

    /// Sets the time to live (IPv6: hop limit), that of the handshake included.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::TcpSocket::new_v4(&stack);
    /// socket.set_ttl(255)?;
    /// socket.set_tos(0xb8)?; // Expedited forwarding
    /// assert!(socket.set_ttl(0).is_err() && socket.set_tos(256).is_err());
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` unless it is from 1 to 255.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        let ttl = checked_ttl(ttl)?;
        self.with(|draft| draft.options.ttl = ttl);
        Ok(())
    }

    /// Sets the type of service (IPv6: traffic class), as [`TcpStream::set_tos`].
    ///
    /// # Errors
    /// `InvalidInput` for more than eight bits.
    pub fn set_tos(&self, tos: u32) -> io::Result<()> {
        let tos = checked_tos(tos)? & 0xfc;
        self.with(|draft| draft.options.traffic_class = tos);
        Ok(())
    }

    /// Returns the type of service (IPv6: traffic class).
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn tos(&self) -> io::Result<u32> {
        Ok(self.with(|draft| draft.options.traffic_class.into()))
    }

    /// Returns the time to live (IPv6: hop limit).
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn ttl(&self) -> io::Result<u32> {
        Ok(self.with(|draft| draft.options.ttl.into()))
    }

    /// Probes the peer after it was silent for `idle`; `None`: never.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::TcpSocket::new_v4(&stack);
    /// use std::time::Duration;
    ///
    /// socket.set_keepalive(Some(Duration::from_secs(60)))?;
    /// assert_eq!(socket.keepalive()?, Some(Duration::from_secs(60)));
    /// socket.set_keepalive_interval(Duration::from_secs(5))?;
    /// socket.set_keepalive_count(3)?;
    /// socket.set_user_timeout(Some(Duration::from_secs(300)))?;
    /// assert!(socket.set_keepalive_count(0).is_err());
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` unless it is between 1 ms and 30 days.
    pub fn set_keepalive(&self, idle: Option<Duration>) -> io::Result<()> {
        if let Some(idle) = idle {
            checked_time("set_keepalive", idle)?;
        }
        self.configure(|config| config.keepalive_idle = idle);
        Ok(())
    }

    /// Returns the silence after which the peer is probed; `None`: it never is.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn keepalive(&self) -> io::Result<Option<Duration>> {
        Ok(self.with(|draft| draft.options.config.keepalive_idle))
    }

    /// Sets the time from one keepalive probe to the next.
    ///
    /// # Errors
    /// `InvalidInput` unless it is between 1 ms and 30 days.
    pub fn set_keepalive_interval(&self, interval: Duration) -> io::Result<()> {
        let interval = checked_time("set_keepalive_interval", interval)?;
        self.configure(|config| config.keepalive_interval = interval);
        Ok(())
    }

    /// Sets the number of unanswered keepalive probes that end a connection.
    ///
    /// # Errors
    /// `InvalidInput` unless it is from 1 to 255.
    pub fn set_keepalive_count(&self, count: u32) -> io::Result<()> {
        let probes = checked_probes(count)?;
        self.configure(|config| config.keepalive_probes = probes);
        Ok(())
    }

    /// Aborts a connection whose peer does not acknowledge within `timeout`, as [`TcpStream::set_user_timeout`]; `None`:
    /// never for that reason.
    ///
    /// # Errors
    /// `InvalidInput` unless it is between 1 ms and 30 days.
    pub fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        if let Some(timeout) = timeout {
            checked_time("set_user_timeout", timeout)?;
        }
        self.configure(|config| config.user_timeout = timeout);
        Ok(())
    }

    /// Sets what dropping a stream does, as [`TcpStream::set_linger`].
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// let socket = netstack::net::TcpSocket::new_v4(&stack);
    /// socket.set_linger(None)?;
    /// assert_eq!(socket.linger()?, None);
    /// socket.set_zero_linger()?;
    /// assert_eq!(socket.linger()?, Some(std::time::Duration::ZERO));
    /// assert!(socket.set_linger(Some(std::time::Duration::from_secs(1))).is_err());
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` for a time that is not zero.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        let resets = checked_linger(linger)?;
        self.with(|draft| draft.options.reset_on_close = resets);
        Ok(())
    }

    /// Returns what [`TcpSocket::set_linger`] set.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        let resets = self.with(|draft| draft.options.reset_on_close);
        Ok(resets.then_some(Duration::ZERO))
    }

    /// Returns `None`: nothing can go wrong before it connects or listens.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(None)
    }

    /// Makes dropping a stream a reset.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn set_zero_linger(&self) -> io::Result<()> {
        self.set_linger(Some(Duration::ZERO))
    }
}

fn checked_buffer(what: &str, bytes: u32) -> io::Result<usize> {
    if BUFFER_BYTES.contains(&bytes) {
        return Ok(bytes as usize);
    }
    Err(invalid(format!(
        "{what}: {bytes} bytes are no size for it; give 2048 to 1073741824"
    )))
}
