//! A TCP socket before it connects or listens.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use lockorder::Mutex;

use super::stack::Stack;
use super::syn_listener::SynListener;
use super::tcp_listener::TcpListener;
use super::tcp_options::invalid;
use super::tcp_stream::TcpStream;
use crate::stack::Host;
use crate::stack::foreign::locked;
use crate::stack::levels;
use crate::stack::tcp::filter::{Filter, SynInfo};
use crate::stack::tcp::open;
use crate::stack::tcp::options::Options;

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
    pub(super) host: Arc<Host>,
    draft: Mutex<levels::SocketOptions, Draft>,
}

/// The options that were set so far.
#[derive(Clone)]
pub(super) struct Draft {
    local: SocketAddr,
    bound: bool,
    pub(super) options: Options,
}

impl fmt::Debug for TcpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpSocket({})", self.with(|draft| draft.local))
    }
}

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

    pub(super) fn with<R>(&self, f: impl FnOnce(&mut Draft) -> R) -> R {
        locked(|key| self.draft.with(&mut key.ctx(), |draft, _| f(draft)))
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

    /// Connects to `remote` and sends `data`: with the SYN if the peer gave a cookie before, otherwise right after the
    /// handshake, in which it is asked for one (TCP Fast Open, RFC 7413). So a request can be answered one round trip
    /// earlier. Returns when the handshake is done and all of `data` is queued.
    ///
    /// The network may deliver a SYN twice. A server that takes its data with it, and forgets the connection before the second
    /// one comes, processes the data twice (RFC 7413 section 6.1): send what may be repeated.
    ///
    /// Where the peer or the path does not take it, the data follows after the handshake, and Fast Open is not tried there
    /// again for 15 minutes.
    ///
    /// Cancel-safe as far as a cancelled call leaves no connection; the data may have been sent.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// # use netstack::net::TcpSocket;
    /// # use tokio::io::AsyncReadExt;
    /// let socket = TcpSocket::new_v4(&stack);
    /// socket.set_fast_open(16)?;
    /// socket.bind("10.77.0.2:80".parse()?)?;
    /// let listener = socket.listen(16)?;
    /// for round in 0..2 {
    ///     let socket = TcpSocket::new_v4(&stack);
    ///     // The first connection gets the cookie, the second one uses it.
    ///     assert_eq!(socket.fast_open_room("10.77.0.2:80".parse()?)? > 0, round == 1);
    ///     let client = socket.connect_with_data("10.77.0.2:80".parse()?, b"question").await?;
    ///     let (mut server, _) = listener.accept().await?;
    ///     let mut question = [0; 8];
    ///     server.read_exact(&mut question).await?;
    ///     assert_eq!(&question, b"question");
    ///     # drop(client);
    /// }
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`TcpStream::connect_from`].
    pub async fn connect_with_data(self, remote: SocketAddr, data: &[u8]) -> io::Result<TcpStream> {
        let draft = self.with(|draft| draft.clone());
        let local = draft.bound.then_some(draft.local);
        TcpStream::open_with_data(&self.host, local, remote, &draft.options, data).await
    }

    /// Returns how many bytes of data would leave with the SYN to `remote`: none if the peer gave no cookie, or Fast Open
    /// failed there a short time ago.
    ///
    /// # Errors
    /// As [`TcpStream::connect_from`], if there is no address to connect from.
    pub fn fast_open_room(&self, remote: SocketAddr) -> io::Result<usize> {
        let draft = self.with(|draft| draft.clone());
        let local = draft.bound.then_some(draft.local);
        open::fast_open_room(&self.host, local, remote, &draft.options)
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
}
