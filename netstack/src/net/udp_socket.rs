//! A UDP socket.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use packet::Payload;
use tokio::io::ReadBuf;

use super::addrs::{ToSocketAddrs, first, no_address};
use super::stack::Stack;
use crate::demux::Destinations;
use crate::stack::Host;
use crate::stack::udp::app::{self, Content, Ends};
use crate::stack::udp::socket::{BoundSocket, Protocol};
use crate::stack::waiters::wait;
use crate::udp::Datagram;

/// Sends and receives datagrams, as `tokio::net::UdpSocket` does.
///
/// A datagram longer than the path's MTU is sent in fragments. One that does not fit the caller's
/// buffer is truncated, as with the kernel. An ICMP error about an earlier datagram is reported once.
///
/// ```
/// # netstack::net::example(async |stack| {
/// use netstack::net::UdpSocket;
///
/// let server = UdpSocket::bind(&stack, "10.77.0.2:7").await?;
/// let client = UdpSocket::bind(&stack, "10.77.0.2:0").await?;
/// client.send_to(b"hello", "10.77.0.2:7").await?;
/// let mut buffer = [0; 2048];
/// let (len, from) = server.recv_from(&mut buffer).await?;
/// assert_eq!((&buffer[..len], from), (&b"hello"[..], client.local_addr()?));
/// # Ok(())
/// # }).unwrap();
/// ```
pub struct UdpSocket {
    pub(super) host: Arc<Host>,
    pub(super) socket: Arc<BoundSocket>,
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UdpSocket({})", self.socket.local())
    }
}

impl UdpSocket {
    /// Binds to `address`: one of the stack's, or the unspecified one for all of that family; with
    /// port 0 the stack chooses the port.
    ///
    /// # Errors
    /// `AddrInUse` or `AddrNotAvailable`.
    pub async fn bind(stack: &Stack, address: impl ToSocketAddrs) -> io::Result<Self> {
        Self::bind_now(stack, address)
    }

    /// [`UdpSocket::bind`] without `async`: there is nothing to wait for.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// # use netstack::net::UdpSocket;
    /// let socket = UdpSocket::bind_now(&stack, "10.77.0.2:7")?;
    /// let taken = UdpSocket::bind_now(&stack, "10.77.0.2:7").unwrap_err();
    /// assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    /// # drop(socket);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`UdpSocket::bind`].
    pub fn bind_now(stack: &Stack, address: impl ToSocketAddrs) -> io::Result<Self> {
        first(&address, |address| {
            let socket = app::bind(&stack.host, Protocol::Udp, address, 1)?.pop();
            let socket = socket.ok_or_else(|| io::Error::other("bind: no socket was made"))?;
            Ok(Self::of(Arc::clone(&stack.host), socket))
        })
    }

    /// Binds one socket per worker to the same address: datagrams that arrive at worker `i` go to
    /// socket `i`. A task that [`Stack::spawn_on`] runs there answers without a hand-off between
    /// threads.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// # use netstack::net::UdpSocket;
    /// let sockets = UdpSocket::bind_per_worker(&stack, "10.77.0.2:7".parse()?)?;
    /// assert_eq!(sockets.len(), stack.workers());
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`UdpSocket::bind`].
    pub fn bind_per_worker(stack: &Stack, address: SocketAddr) -> io::Result<Vec<Self>> {
        let sockets = app::bind(&stack.host, Protocol::Udp, address, stack.workers())?;
        let socket = |socket| Self {
            host: Arc::clone(&stack.host),
            socket,
        };
        Ok(sockets.into_iter().map(socket).collect())
    }

    /// Binds one of several sockets to one address (`SO_REUSEPORT`, by the rules of Linux's socket(7)): all of them are bound
    /// by this call, and each has a part of the flows, chosen by a hash of both endpoints, so the datagrams of one peer's
    /// port go to one of them. A datagram to a multicast group goes to each that joined it. Sockets come and go at any time: one that comes
    /// takes an equal part from each of the others, and the flows of one that is dropped are divided among the rest, while
    /// no other flow moves. At most 256 share an address. One that is connected leaves its part to the others.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// # use netstack::net::UdpSocket;
    /// let first = UdpSocket::bind_shared(&stack, "10.77.0.2:7")?;
    /// let second = UdpSocket::bind_shared(&stack, "10.77.0.2:7")?;
    /// assert!(UdpSocket::bind_now(&stack, "10.77.0.2:7").is_err(), "it does not share");
    /// drop(second);
    /// let client = UdpSocket::bind(&stack, "10.77.0.2:0").await?;
    /// client.send_to(b"hello", first.local_addr()?).await?;
    /// assert_eq!(first.recv(&mut [0; 16]).await?, 5);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `AddrInUse` if a socket that was not bound by this call has the address, or 256 share it; `AddrNotAvailable`.
    pub fn bind_shared(stack: &Stack, address: impl ToSocketAddrs) -> io::Result<Self> {
        first(&address, |address| {
            let socket = app::bind_shared(&stack.host, address)?;
            Ok(Self::of(Arc::clone(&stack.host), socket))
        })
    }

    /// Makes a socket that receives the datagrams of `remote` to `local` from the start, and no others. Several may have
    /// one local port, each with another peer, also beside a socket that is bound to that port and receives the rest.
    /// `local` may have the unspecified address, or port 0: the stack chooses.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// # use netstack::net::UdpSocket;
    /// let peer = UdpSocket::bind(&stack, "10.77.0.2:9").await?;
    /// let everybody = UdpSocket::bind(&stack, "10.77.0.2:7").await?;
    /// let of_peer = UdpSocket::bind_connected(&stack, "10.77.0.2:7".parse()?, "10.77.0.2:9".parse()?)?;
    /// peer.send_to(b"hello", everybody.local_addr()?).await?;
    /// assert_eq!(of_peer.recv(&mut [0; 16]).await?, 5);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `AddrInUse` if another socket has this peer at this port; `AddrNotAvailable`; there is no route to `remote`.
    pub fn bind_connected(
        stack: &Stack,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> io::Result<Self> {
        let socket = app::connected(&stack.host, local, remote)?;
        Ok(Self::of(Arc::clone(&stack.host), socket))
    }

    /// Binds a socket to the destinations that no other socket takes: every address of some prefixes that
    /// the stack answers for ([`StackBuilder::any_address`](super::StackBuilder::any_address)), at a range
    /// of ports. [`UdpSocket::recv_datagram`] tells the destination, and
    /// [`UdpSocket::send_payload_from`] chooses the source. See [`UdpListener`](super::UdpListener) for a
    /// socket for each flow.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use netstack::net::{Destinations, UdpSocket};
    ///
    /// let everything = Destinations { prefixes: vec!["0.0.0.0/0".parse()?], ports: 1..=u16::MAX };
    /// let socket = UdpSocket::bind_any(&stack, everything)?;
    /// assert_eq!(socket.local_addr()?.port(), 0);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` for no prefix, an empty range or port 0; `AddrInUse` if another socket has exactly
    /// these destinations.
    pub fn bind_any(stack: &Stack, destinations: Destinations) -> io::Result<Self> {
        let socket = app::bind_any(&stack.host, Protocol::Udp, destinations)?;
        Ok(Self::of(Arc::clone(&stack.host), socket))
    }

    pub(super) fn of(host: Arc<Host>, socket: Arc<BoundSocket>) -> Self {
        Self { host, socket }
    }

    pub(super) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// Connects the socket: from now on it receives datagrams of `remote` only, and
    /// [`UdpSocket::send`] goes there.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// # use netstack::net::UdpSocket;
    /// let client = UdpSocket::bind(&stack, "10.77.0.2:1").await?;
    /// let server = UdpSocket::bind(&stack, "10.77.0.2:2").await?;
    /// client.connect("10.77.0.2:2").await?;
    /// assert_eq!(client.peer_addr()?, server.local_addr()?);
    /// client.send(b"hello").await?;
    /// assert_eq!(server.recv(&mut [0; 16]).await?, 5);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// There is no route to `remote`, or the pair of addresses is in use.
    pub async fn connect(&self, remote: impl ToSocketAddrs) -> io::Result<()> {
        first(&remote, |remote| {
            app::connect(&self.host, &self.socket, remote)
        })
    }

    /// Returns the address that it is bound to.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.socket.local())
    }

    /// Returns the peer given to [`UdpSocket::connect`].
    ///
    /// # Errors
    /// `NotConnected` without one.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        app::peer(&self.socket).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Sends one datagram to `remote`; returns its length.
    ///
    /// # Errors
    /// The datagram is too long, or an ICMP error about an earlier one is reported.
    pub async fn send_to(&self, data: &[u8], remote: impl ToSocketAddrs) -> io::Result<usize> {
        let remote = remote.to_socket_addrs()?.next().ok_or_else(no_address)?;
        self.send_copy(data, Ends::to(remote)).await?;
        Ok(data.len())
    }

    /// Sends one datagram to the connected peer; returns its length.
    ///
    /// # Errors
    /// As [`UdpSocket::send_to`], or the socket is not connected.
    pub async fn send(&self, data: &[u8]) -> io::Result<usize> {
        self.send_copy(data, Ends::default()).await?;
        Ok(data.len())
    }

    /// Sends `payload` as one datagram without a copy.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// # use netstack::net::UdpSocket;
    /// let client = UdpSocket::bind(&stack, "10.77.0.2:1").await?;
    /// let server = UdpSocket::bind(&stack, "10.77.0.2:2").await?;
    /// let payload = bytes::Bytes::from_static(b"hello").into();
    /// client.send_payload_to(payload, server.local_addr()?).await?;
    /// let (payload, from) = server.recv_payload_from().await?;
    /// assert_eq!((&payload[..], from), (&b"hello"[..], client.local_addr()?));
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`UdpSocket::send_to`].
    pub async fn send_payload_to(&self, payload: Payload, remote: SocketAddr) -> io::Result<()> {
        let payload = app::own_payload(&self.host, payload)?;
        self.send_whole(payload, Ends::to(remote)).await
    }

    /// Sends `payload` as one datagram from `source`. A socket that is bound to an unspecified address
    /// answers from the address that was asked by passing [`Datagram::to`]; one of
    /// [`UdpSocket::bind_any`] must say from which of its destinations it sends.
    ///
    /// # Errors
    /// `InvalidInput` if this socket receives nothing at `source`; otherwise as [`UdpSocket::send_to`].
    pub async fn send_payload_from(
        &self,
        payload: Payload,
        source: SocketAddr,
        remote: SocketAddr,
    ) -> io::Result<()> {
        let ends = Ends {
            source: Some(source),
            to: Some(remote),
            ..Ends::default()
        };
        let payload = app::own_payload(&self.host, payload)?;
        self.send_whole(payload, ends).await
    }

    /// Sends one datagram from `source` to `remote`, as [`UdpSocket::send_payload_from`] does; returns its length.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// # use netstack::net::UdpSocket;
    /// let server = UdpSocket::bind(&stack, "0.0.0.0:53").await?;
    /// let client = UdpSocket::bind(&stack, "10.77.0.2:0").await?;
    /// client.send_to(b"?", "10.77.0.2:53").await?;
    /// let question = server.recv_datagram().await?;
    /// server.send_from(b"!", question.to, question.from).await?;
    /// assert_eq!(client.recv_from(&mut [0; 8]).await?, (1, "10.77.0.2:53".parse()?));
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`UdpSocket::send_payload_from`].
    pub async fn send_from(
        &self,
        data: &[u8],
        source: SocketAddr,
        remote: SocketAddr,
    ) -> io::Result<usize> {
        let ends = Ends {
            source: Some(source),
            to: Some(remote),
            ..Ends::default()
        };
        self.send_copy(data, ends).await?;
        Ok(data.len())
    }

    /// Copies `data` and sends it, once there is room.
    pub(super) fn send_copy(
        &self,
        data: &[u8],
        ends: Ends,
    ) -> impl Future<Output = io::Result<()>> {
        std::future::poll_fn(move |cx| {
            let content = Content::Copied(data);
            app::poll_send(&self.host, &self.socket, cx.into(), content, ends)
        })
    }

    // A plain function: an `async` one would move the payload once more.
    pub(super) fn send_whole(
        &self,
        mut payload: Payload,
        ends: Ends,
    ) -> impl Future<Output = io::Result<()>> {
        std::future::poll_fn(move |cx| {
            let content = Content::Owned(&mut payload);
            app::poll_send(&self.host, &self.socket, cx.into(), content, ends)
        })
    }

    /// Receives one datagram into `out`; returns its length there and its sender. As many tasks as like
    /// may wait.
    pub async fn recv_from(&self, out: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (payload, from) = self.recv_payload_from().await?;
        let count = payload.len().min(out.len());
        out[..count].copy_from_slice(&payload[..count]);
        Ok((count, from))
    }

    /// Receives one datagram into `out`; returns its length there.
    pub async fn recv(&self, out: &mut [u8]) -> io::Result<usize> {
        self.recv_from(out).await.map(|(count, _)| count)
    }

    /// Receives one datagram without a copy, and its sender.
    pub async fn recv_payload_from(&self) -> io::Result<(Payload, SocketAddr)> {
        let datagram = self.recv_datagram().await?;
        Ok((datagram.payload, datagram.from))
    }

    /// Receives one datagram without a copy, with its sender and the destination that the sender chose. As
    /// many tasks as like may wait. Cancel-safe: a cancelled call has taken nothing.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// # use netstack::net::UdpSocket;
    /// // An answer comes from the address that was asked, whichever of the stack's that is.
    /// let server = UdpSocket::bind(&stack, "0.0.0.0:53").await?;
    /// let client = UdpSocket::bind(&stack, "10.77.0.2:0").await?;
    /// client.send_to(b"?", "10.77.0.2:53").await?;
    /// let question = server.recv_datagram().await?;
    /// server.send_payload_from(question.payload, question.to, question.from).await?;
    /// let (_, from) = client.recv_from(&mut [0; 8]).await?;
    /// assert_eq!(from, "10.77.0.2:53".parse()?);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// An ICMP error about an earlier datagram, or the stack ended.
    pub async fn recv_datagram(&self) -> io::Result<Datagram> {
        wait(
            |wait| app::poll_recv(&self.host, &self.socket, wait),
            |ticket| app::forget(&self.socket, ticket),
        )
        .await
    }

    /// [`UdpSocket::recv_payload_from`] for hand-written futures. Of the tasks that poll, the latest is
    /// woken, as with tokio.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// # use netstack::net::UdpSocket;
    /// let client = UdpSocket::bind(&stack, "10.77.0.2:1").await?;
    /// let server = UdpSocket::bind(&stack, "10.77.0.2:2").await?;
    /// client.send_to(b"one", "10.77.0.2:2").await?;
    /// client.send_to(b"two", "10.77.0.2:2").await?;
    /// let (one, _) = std::future::poll_fn(|cx| server.poll_recv_payload_from(cx)).await?;
    /// assert_eq!(&one[..], b"one");
    /// let mut buffer = [0; 8];
    /// let mut buffer = tokio::io::ReadBuf::new(&mut buffer);
    /// std::future::poll_fn(|cx| server.poll_recv_from(cx, &mut buffer)).await?;
    /// assert_eq!(buffer.filled(), b"two");
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    pub fn poll_recv_payload_from(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Payload, SocketAddr)>> {
        app::poll_recv(&self.host, &self.socket, cx.into())
            .map_ok(|datagram| (datagram.payload, datagram.from))
    }

    /// Receives one datagram into `out`, for hand-written futures.
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        self.poll_recv_payload_from(cx).map_ok(|(payload, from)| {
            let count = payload.len().min(out.remaining());
            out.put_slice(&payload[..count]);
            from
        })
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        app::unbind(&self.host, &self.socket);
    }
}
