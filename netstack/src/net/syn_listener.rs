//! Accepting with a decision: the program sees each SYN before it is answered.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::addrs::{ToSocketAddrs, first};
use super::stack::Stack;
use super::tcp_stream::TcpStream;
use crate::demux::Destinations;
use crate::icmp::error::Unreachable;
use crate::stack::Host;
use crate::stack::tcp::connection::Listener;
use crate::stack::tcp::deferred::{Asked, Decision};
use crate::stack::tcp::filter::SynInfo;
use crate::stack::tcp::listen;
use crate::stack::tcp::options::Options;
use crate::stack::waiters::wait;

/// Listens for TCP connections and lets the program decide about each before its SYN is answered: a proxy
/// connects to the destination first, and its client sees a closed port as closed.
///
/// An undecided SYN is kept for a minute, as a half-open entry of about 100 bytes, in its listener's share of
/// `max_half_open`; SYNs beyond that share are discarded. A SYN that the peer sends again does not come twice.
///
/// ```no_run
/// # async fn example(stack: &netstack::net::Stack) -> Result<(), Box<dyn std::error::Error>> {
/// use netstack::net::{Destinations, SynListener, Unreachable};
///
/// let everything = Destinations {
///     prefixes: vec!["0.0.0.0/0".parse()?],
///     ports: 1..=u16::MAX,
/// };
/// let listener = SynListener::bind_any(stack, everything)?;
/// loop {
///     let syn = listener.next().await?;
///     tokio::spawn(async move {
///         match tokio::net::TcpStream::connect(syn.info().local).await {
///             Ok(mut server) => {
///                 let mut client = syn.accept().await?;
///                 tokio::io::copy_bidirectional(&mut client, &mut server).await?;
///             }
///             Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => syn.refuse(),
///             Err(_) => syn.unreachable(Unreachable::Host),
///         }
///         Ok::<(), std::io::Error>(())
///     });
/// }
/// # }
/// ```
pub struct SynListener {
    host: Arc<Host>,
    listener: Arc<Listener>,
}

/// A SYN that the program decides about. Dropping it refuses it.
#[must_use = "a SYN that is dropped is refused"]
pub struct Syn {
    host: Arc<Host>,
    listener: Arc<Listener>,
    asked: Asked,
    info: SynInfo,
    decided: bool,
}

impl fmt::Debug for SynListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SynListener({})", self.listener.local)
    }
}

impl fmt::Debug for Syn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.info.fmt(f)
    }
}

impl SynListener {
    /// Listens on `address`, as [`TcpListener::bind`](super::TcpListener::bind).
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use netstack::net::{SynListener, TcpStream};
    ///
    /// let listener = SynListener::bind(&stack, "10.77.0.2:80")?;
    /// let decide = async {
    ///     listener.next().await?.refuse();
    ///     let syn = listener.next().await?;
    ///     assert_eq!(syn.info().local, listener.local_addr()?);
    ///     syn.accept().await
    /// };
    /// let connect = async {
    ///     assert!(TcpStream::connect(&stack, "10.77.0.2:80").await.is_err());
    ///     TcpStream::connect(&stack, "10.77.0.2:80").await
    /// };
    /// let (server, client) = tokio::try_join!(decide, connect)?;
    /// assert_eq!(server.peer_addr()?, client.local_addr()?);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As there.
    pub fn bind(stack: &Stack, address: impl ToSocketAddrs) -> io::Result<Self> {
        first(&address, |address| {
            Self::listen(&stack.host, address, stack.host.tcp_options())
        })
    }

    /// Listens for many destinations, as [`TcpListener::bind_any`](super::TcpListener::bind_any).
    ///
    /// # Errors
    /// As there.
    pub fn bind_any(stack: &Stack, destinations: Destinations) -> io::Result<Self> {
        let options = deferring(stack.host.tcp_options());
        Ok(Self {
            listener: listen::listen_any(&stack.host, destinations, options)?,
            host: Arc::clone(&stack.host),
        })
    }

    /// Listens on `local` with these options.
    pub(super) fn listen(
        host: &Arc<Host>,
        local: SocketAddr,
        options: Options,
    ) -> io::Result<Self> {
        Ok(Self {
            listener: listen::listen(host, local, deferring(options))?,
            host: Arc::clone(host),
        })
    }

    /// Waits for the next SYN. As many tasks as like may wait. Cancel-safe: a cancelled call has taken none.
    ///
    /// # Errors
    /// The stack ended: the error says why.
    pub async fn next(&self) -> io::Result<Syn> {
        let (host, listener) = (&self.host, &self.listener);
        let (asked, info) = wait(
            |wait| listen::poll_syn(host, listener, wait),
            |ticket| listen::forget_asker(listener, ticket),
        )
        .await?;
        Ok(Syn {
            host: Arc::clone(host),
            listener: Arc::clone(listener),
            asked,
            info,
            decided: false,
        })
    }

    /// Returns the address that it listens on.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.listener.local)
    }
}

fn deferring(options: Options) -> Options {
    Options {
        defers: true,
        ..options
    }
}

impl Drop for SynListener {
    /// Closes the port. SYNs that the program has in hand can be refused no more; their peers find a closed port.
    fn drop(&mut self) {
        listen::unlisten(&self.host, &self.listener);
    }
}

impl Syn {
    /// Returns what the SYN says.
    pub fn info(&self) -> &SynInfo {
        &self.info
    }

    /// Answers the SYN, and waits until the handshake is done. Cancel-safe: if the future is dropped, the
    /// connection is reset.
    ///
    /// # Errors
    /// `ConnectionAborted` if there is no connection: the peer gave up or was not heard again, or the program took too
    /// long to decide; otherwise the stack ended.
    pub async fn accept(mut self) -> io::Result<TcpStream> {
        self.decided = true;
        let giving_up = GiveUp {
            syn: &self,
            done: false,
        };
        listen::begin_accept(&self.host, &self.listener, self.asked);
        let (host, listener, asked) = (&self.host, &self.listener, &self.asked);
        let result =
            std::future::poll_fn(|cx| listen::poll_deferred(host, listener, asked, cx.into()))
                .await;
        giving_up.done();
        result.map(|connection| TcpStream::new(Arc::clone(&self.host), connection))
    }

    /// Refuses the connection with a reset, as a closed port does. An authenticated peer (TCP-AO) could not verify one, and
    /// gets no answer.
    pub fn refuse(self) {
        // By dropping it.
    }

    /// Refuses the connection with an ICMP error.
    pub fn unreachable(mut self, reason: Unreachable) {
        self.decide(Decision::Unreachable(reason));
    }

    /// Does not answer, now or when the SYN comes again within the minute.
    pub fn ignore(mut self) {
        // The entry stays and absorbs the SYN until its deadline.
        self.decided = true;
    }

    fn decide(&mut self, decision: Decision) {
        if !std::mem::replace(&mut self.decided, true) {
            listen::decide(&self.host, self.asked, decision);
        }
    }
}

impl Drop for Syn {
    fn drop(&mut self) {
        self.decide(Decision::Refuse);
    }
}

/// Gives a handshake up that no task waits for any more.
struct GiveUp<'a> {
    syn: &'a Syn,
    done: bool,
}

impl GiveUp<'_> {
    fn done(mut self) {
        self.done = true;
    }
}

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        if !self.done {
            listen::give_up(&self.syn.host, &self.syn.listener, &self.syn.asked);
        }
    }
}
