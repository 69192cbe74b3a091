//! A TCP socket that listens.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use super::addrs::{ToSocketAddrs, first};
use super::stack::Stack;
use super::tcp_stream::TcpStream;
use crate::demux::Destinations;
use crate::stack::Host;
use crate::stack::task::TaskFuture;
use crate::stack::tcp::connection::{Connection, Listener, Service};
use crate::stack::tcp::listen;
use crate::stack::tcp::options::Options;
use crate::stack::waiters::wait;

/// Accepts TCP connections, as `tokio::net::TcpListener` does. Dropping it closes the port and resets
/// the connections that were not accepted.
///
/// ```
/// # netstack::net::example(async |stack| {
/// use netstack::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind(&stack, "10.77.0.2:0").await?;
/// let address = listener.local_addr()?;
/// let client = TcpStream::connect(&stack, address).await?;
/// let (server, peer) = listener.accept().await?;
/// assert_eq!(client.local_addr()?, peer);
/// # drop(server);
/// # Ok(())
/// # }).unwrap();
/// ```
pub struct TcpListener {
    host: Arc<Host>,
    listener: Arc<Listener>,
    /// True once the connections go to a service: then the port stays open without this handle.
    serves: bool,
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpListener({})", self.listener.local)
    }
}

impl TcpListener {
    /// Listens on `address`: one of the stack's, or the unspecified one for all of that family; with
    /// port 0 the stack chooses the port.
    ///
    /// # Errors
    /// `AddrInUse` or `AddrNotAvailable`.
    pub async fn bind(stack: &Stack, address: impl ToSocketAddrs) -> io::Result<Self> {
        Self::bind_now(stack, address)
    }

    /// [`TcpListener::bind`] without `async`: there is nothing to wait for.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use netstack::net::TcpListener;
    ///
    /// let listener = TcpListener::bind_now(&stack, "10.77.0.2:80")?;
    /// let taken = TcpListener::bind_now(&stack, "10.77.0.2:80").unwrap_err();
    /// assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    /// # drop(listener);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`TcpListener::bind`].
    pub fn bind_now(stack: &Stack, address: impl ToSocketAddrs) -> io::Result<Self> {
        first(&address, |address| {
            Self::listen(&stack.host, address, stack.host.tcp_options())
        })
    }

    /// Listens on `local` with these options.
    pub(super) fn listen(
        host: &Arc<Host>,
        local: SocketAddr,
        options: Options,
    ) -> io::Result<Self> {
        let listener = listen::listen(host, local, options)?;
        tracing::debug!(local = %listener.local, "listening");
        Ok(Self {
            listener,
            host: Arc::clone(host),
            serves: false,
        })
    }

    /// Listens for the destinations that no other listener takes: every address of some prefixes that the
    /// stack answers for ([`StackBuilder::any_address`](super::StackBuilder::any_address)), at a range of
    /// ports. A stream's [`local_addr`](TcpStream::local_addr) is the destination that its peer chose.
    ///
    /// An exact listener comes first, then for an address of the stack the unspecified one, then the
    /// destinations with the longest prefix and among them the fewest ports.
    ///
    /// ```no_run
    /// # async fn example(stack: &netstack::net::Stack) -> Result<(), Box<dyn std::error::Error>> {
    /// use netstack::net::{Destinations, TcpListener};
    ///
    /// let everything = Destinations {
    ///     prefixes: vec!["0.0.0.0/0".parse()?, "::/0".parse()?],
    ///     ports: 1..=u16::MAX,
    /// };
    /// let listener = TcpListener::bind_any(stack, everything)?;
    /// let (stream, client) = listener.accept().await?;
    /// println!("{client} wants {}", stream.local_addr()?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` for no prefix, an empty range or port 0; `AddrInUse` if another listener has exactly
    /// these destinations.
    pub fn bind_any(stack: &Stack, destinations: Destinations) -> io::Result<Self> {
        tracing::debug!(?destinations, "listening");
        Ok(Self {
            listener: listen::listen_any(&stack.host, destinations, stack.host.tcp_options())?,
            host: Arc::clone(&stack.host),
            serves: false,
        })
    }

    /// Lets SYNs with data and a valid cookie open connections, at most `pending` whose handshake is not done; 0 is off:
    /// see [`TcpSocket::set_fast_open`](super::TcpSocket::set_fast_open).
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// # use netstack::net::TcpListener;
    /// let listener = TcpListener::bind_now(&stack, "10.77.0.2:80")?;
    /// listener.set_fast_open(64);
    /// assert_eq!(listener.fast_open(), 64);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    pub fn set_fast_open(&self, pending: u32) {
        self.listener.fast_open.set_limit(pending as usize);
    }

    /// Returns how many connections may wait for the end of their handshake after a SYN with data.
    pub fn fast_open(&self) -> u32 {
        u32::try_from(self.listener.fast_open.limit()).unwrap_or(u32::MAX)
    }

    /// Accepts the next established connection; returns it with its peer. As many tasks as like may
    /// wait.
    ///
    /// Cancel-safe: a cancelled call has taken no connection.
    ///
    /// # Errors
    /// The stack ended: the error says why. Every error is final, and every later call fails, too: what goes wrong
    /// with a single connection is not reported here.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let accepted = wait(
            |wait| listen::poll_accept(&self.host, &self.listener, wait),
            |ticket| listen::forget(&self.listener, ticket),
        )
        .await;
        accepted.map(|connection| with_peer(Arc::clone(&self.host), connection))
    }

    /// [`TcpListener::accept`] for hand-written futures. Of the tasks that poll, the latest is woken, as
    /// with tokio.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// # use netstack::net::{TcpListener, TcpStream};
    /// let listener = TcpListener::bind_now(&stack, "10.77.0.2:80")?;
    /// let client = TcpStream::connect(&stack, "10.77.0.2:80").await?;
    /// let (server, _) = std::future::poll_fn(|cx| listener.poll_accept(cx)).await?;
    /// assert_eq!(server.peer_addr()?, client.local_addr()?);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        listen::poll_accept(&self.host, &self.listener, cx.into())
            .map_ok(|connection| with_peer(Arc::clone(&self.host), connection))
    }

    /// Runs `handler` for each connection on the worker that owns it: no thread hands anything to
    /// another, and data that the handler writes leaves in the turn that received what it read. The
    /// handler must not block. Consumes the listener, which serves until the stack ends or
    /// [`Serving::stop`] takes it back.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use netstack::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind_now(&stack, "10.77.0.2:7")?;
    /// let serving = listener.serve(|mut stream, _peer| async move {
    ///     while let Ok(Some(payload)) = stream.recv_payload().await {
    ///         let _ = stream.send_payload(payload).await;
    ///     }
    /// })?;
    /// let client = TcpStream::connect(&stack, serving.local_addr()?).await?;
    /// client.try_write(b"echo")?;
    /// assert_eq!(client.peek(&mut [0; 8]).await?, 4);
    /// let listener = serving.stop();
    /// # drop(listener);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Never fails for a listener that is bound; it returns a `Result` for those to come.
    pub fn serve<H, F>(mut self, handler: H) -> io::Result<Serving>
    where
        H: Fn(TcpStream, SocketAddr) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        // The listener is in the host's tables: a strong reference back would be a cycle.
        let host: Weak<Host> = Arc::downgrade(&self.host);
        let service = Service::new(Arc::new(move |connection| {
            let Some(host) = host.upgrade() else {
                return Box::pin(core::future::ready(())) as TaskFuture;
            };
            let (stream, peer) = with_peer(host, connection);
            // Without a block around it, which would hold the future a second time.
            Box::pin(handler(stream, peer))
        }));
        self.serves = true;
        listen::serve(&self.host, &self.listener, service)?;
        Ok(Serving(self))
    }

    /// Returns the address that it listens on.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.listener.local)
    }
}

/// A listener whose connections go to a service. Dropping this changes nothing.
#[derive(Debug)]
pub struct Serving(TcpListener);

impl Serving {
    /// Takes the listener back: the service gets no more connections, and those that it has are not
    /// disturbed. New ones wait to be accepted; dropping the listener closes the port.
    pub fn stop(self) -> TcpListener {
        let Self(mut listener) = self;
        listen::take_back(&listener.listener);
        listener.serves = false;
        listener
    }

    /// Returns the address that it listens on.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

fn with_peer(host: Arc<Host>, connection: Arc<Connection>) -> (TcpStream, SocketAddr) {
    let stream = TcpStream::new(host, connection);
    let peer = stream.handle().remote();
    (stream, peer)
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        if !self.serves {
            tracing::debug!(local = %self.listener.local, "no longer listening");
            listen::unlisten(&self.host, &self.listener);
        }
    }
}
