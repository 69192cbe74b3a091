//! ICMP echo: asking, and answering for others.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;

use packet::Payload;

use super::handle::checked_ttl;
use super::stack::Stack;
use crate::demux::Destinations;
use crate::ip::prefix::Prefix;
use crate::stack::Host;
use crate::stack::udp::app::{self, Content, Ends};
use crate::stack::udp::socket::{BoundSocket, Protocol};
use crate::stack::waiters::{Wait, wait};

/// A reply to an echo request.
#[derive(Clone, Debug)]
pub struct EchoReply {
    /// The host that answered.
    pub from: IpAddr,
    /// The sequence number of the request.
    pub seq: u16,
    /// The payload of the request.
    pub payload: Payload,
}

/// Sends ICMP echo requests ("ping") and receives the replies, as a socket of Linux with `SOCK_DGRAM` and
/// `IPPROTO_ICMP` does. Its identifier is its own: it receives no replies to others.
///
/// ```
/// # netstack::net::example(async |stack| {
/// use netstack::net::EchoSocket;
///
/// let socket = EchoSocket::bind(&stack, "0.0.0.0".parse()?)?;
/// socket.set_ttl(64)?;
/// println!("its identifier is {}", socket.ident());
/// socket.send_to(b"are you there?", 1, "10.77.0.2".parse()?).await?;
/// let reply = socket.recv().await?;
/// assert_eq!((reply.from, reply.seq), ("10.77.0.2".parse()?, 1));
/// # Ok(())
/// # }).unwrap();
/// ```
pub struct EchoSocket(Shared);

/// Receives the echo requests to addresses for which the program answers itself, such as a tunnel's other end: the
/// stack answers them no longer.
///
/// ```no_run
/// # async fn example(stack: &netstack::net::Stack) -> Result<(), Box<dyn std::error::Error>> {
/// use netstack::net::EchoListener;
///
/// let listener = EchoListener::bind(stack, vec!["203.0.113.0/24".parse()?])?;
/// loop {
///     let request = listener.recv().await?;
///     if request.to.is_ipv4() {
///         listener.reply(request).await?;
///     }
/// }
/// # }
/// ```
pub struct EchoListener(Shared);

/// A received echo request.
#[derive(Clone, Debug)]
pub struct EchoRequest {
    /// The host that asks.
    pub from: IpAddr,
    /// The address that it asks.
    pub to: IpAddr,
    /// The identifier, to be returned.
    pub ident: u16,
    /// The sequence number, to be returned.
    pub seq: u16,
    /// The payload, to be returned.
    pub payload: Payload,
}

struct Shared {
    host: Arc<Host>,
    socket: Arc<BoundSocket>,
}

impl Shared {
    async fn recv(&self) -> io::Result<crate::udp::Datagram> {
        wait(
            |wait| app::poll_recv(&self.host, &self.socket, wait),
            |ticket| app::forget(&self.socket, ticket),
        )
        .await
    }

    fn poll_send(&self, wait: Wait<'_>, content: Content<'_>, ends: Ends) -> Poll<io::Result<()>> {
        app::poll_send(&self.host, &self.socket, wait, content, ends)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        app::unbind(&self.host, &self.socket);
    }
}

impl fmt::Debug for EchoSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EchoSocket({})", self.0.socket.local())
    }
}

impl fmt::Debug for EchoListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EchoListener")
    }
}

impl EchoSocket {
    /// Binds to an address of the stack, or to the unspecified one for all of that family, with an identifier of
    /// its own.
    ///
    /// # Errors
    /// `AddrNotAvailable`, or `AddrInUse` if every identifier is taken.
    pub fn bind(stack: &Stack, address: IpAddr) -> io::Result<Self> {
        let local = SocketAddr::new(address, 0);
        let socket = app::bind(&stack.host, Protocol::Echo, local, 1)?.pop();
        let socket = socket.ok_or_else(|| io::Error::other("bind: no socket was made"))?;
        let host = Arc::clone(&stack.host);
        Ok(Self(Shared { host, socket }))
    }

    /// Returns the identifier of its requests.
    pub fn ident(&self) -> u16 {
        self.0.socket.local().port()
    }

    /// Sends an echo request with this payload and sequence number. Cancel-safe: a cancelled call has sent
    /// nothing.
    ///
    /// # Errors
    /// `InvalidInput` if `remote` is of another family or the payload too long.
    pub async fn send_to(&self, payload: &[u8], seq: u16, remote: IpAddr) -> io::Result<()> {
        let ends = Ends::to(SocketAddr::new(remote, seq));
        let content = || Content::Copied(payload);
        std::future::poll_fn(|cx| self.0.poll_send(cx.into(), content(), ends)).await
    }

    /// Receives the next reply. As many tasks as like may wait. Cancel-safe.
    ///
    /// # Errors
    /// The stack ended.
    pub async fn recv(&self) -> io::Result<EchoReply> {
        let reply = self.0.recv().await?;
        Ok(EchoReply {
            from: reply.from.ip(),
            seq: reply.from.port(),
            payload: reply.payload,
        })
    }

    /// Sets the time to live (IPv6: hop limit) of its requests. Without it, those to a multicast group have 1, so
    /// that no router passes them on.
    ///
    /// # Errors
    /// `InvalidInput` unless it is from 1 to 255.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        let ttl = checked_ttl(ttl)?;
        self.0.socket.set_ttl(ttl);
        self.0.socket.set_multicast_ttl(ttl);
        Ok(())
    }
}

impl EchoListener {
    /// Receives the echo requests to the addresses of some prefixes that the stack answers for
    /// ([`StackBuilder::any_address`](super::StackBuilder::any_address)), its own among them.
    ///
    /// # Errors
    /// `InvalidInput` without a prefix; `AddrInUse` if another one has exactly these.
    pub fn bind(stack: &Stack, prefixes: Vec<Prefix>) -> io::Result<Self> {
        let destinations = Destinations {
            prefixes,
            ports: 1..=u16::MAX,
        };
        let socket = app::bind_any(&stack.host, Protocol::EchoAnswer, destinations)?;
        let host = Arc::clone(&stack.host);
        Ok(Self(Shared { host, socket }))
    }

    /// Receives the next request. As many tasks as like may wait. Cancel-safe.
    ///
    /// # Errors
    /// The stack ended.
    pub async fn recv(&self) -> io::Result<EchoRequest> {
        let request = self.0.recv().await?;
        Ok(EchoRequest {
            from: request.from.ip(),
            to: request.to.ip(),
            ident: request.from.port(),
            seq: request.to.port(),
            payload: request.payload,
        })
    }

    /// Answers a request, from the address that was asked.
    ///
    /// # Errors
    /// `InvalidInput` if that is not an address that this one is bound to; `OutOfMemory` if the stack has no memory
    /// for a payload that the program brought.
    pub async fn reply(&self, request: EchoRequest) -> io::Result<()> {
        let ends = Ends {
            source: Some(SocketAddr::new(request.to, request.seq)),
            to: Some(SocketAddr::new(request.from, request.ident)),
            ..Ends::default()
        };
        let mut payload = app::own_payload(&self.0.host, request.payload)?;
        std::future::poll_fn(|cx| {
            let content = Content::Owned(&mut payload);
            self.0.poll_send(cx.into(), content, ends)
        })
        .await
    }
}
