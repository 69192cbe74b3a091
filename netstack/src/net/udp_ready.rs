//! A UDP socket without waiting: readiness, attempts, polls and batches.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use super::ready::{Interest, Ready};
use super::udp_socket::UdpSocket;
use crate::stack::udp::app::{self, Content, Ends};
use crate::stack::waiters::{Wait, wait};
use crate::udp::Datagram;

/// Returns the result of a call that does not wait.
pub(super) fn or_would_block<R>(poll: Poll<io::Result<R>>) -> io::Result<R> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Readiness.
impl UdpSocket {
    /// Waits until a datagram or an error is there. As many tasks as like may wait. Cancel-safe.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// # use netstack::net::UdpSocket;
    /// let client = UdpSocket::bind(&stack, "10.77.0.2:1").await?;
    /// let server = UdpSocket::bind(&stack, "10.77.0.2:2").await?;
    /// client.writable().await?;
    /// client.try_send_to(b"hello", "10.77.0.2:2".parse()?)?;
    /// server.readable().await?;
    /// let (len, from) = server.try_recv_from(&mut [0; 16])?;
    /// assert_eq!((len, from), (5, client.local_addr()?));
    /// let nothing = server.try_recv(&mut [0; 16]).unwrap_err();
    /// assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// The stack ended.
    pub async fn readable(&self) -> io::Result<()> {
        let (host, socket) = (&self.host, &self.socket);
        wait(
            |wait| app::poll_readable(host, socket, wait),
            |ticket| app::forget(socket, ticket),
        )
        .await;
        host.ending.check()
    }

    /// Polls for a datagram or an error. Of the tasks that poll, the latest is woken.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// # use netstack::net::UdpSocket;
    /// let client = UdpSocket::bind(&stack, "10.77.0.2:1").await?;
    /// let server = UdpSocket::bind(&stack, "10.77.0.2:2").await?;
    /// std::future::poll_fn(|cx| client.poll_send_ready(cx)).await?;
    /// client.try_send_to(b"hello", "10.77.0.2:2".parse()?)?;
    /// std::future::poll_fn(|cx| server.poll_recv_ready(cx)).await?;
    /// assert_eq!(&server.try_recv_datagram()?.payload[..], b"hello");
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// The stack ended.
    pub fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(app::poll_readable(&self.host, &self.socket, cx.into()));
        Poll::Ready(self.host.ending.check())
    }

    /// Waits until a datagram can be sent. Cancel-safe.
    ///
    /// # Errors
    /// The stack ended.
    pub async fn writable(&self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_send_ready(cx)).await
    }

    /// Polls for room to send a datagram.
    ///
    /// # Errors
    /// The stack ended.
    pub fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        app::poll_writable(&self.host, &self.socket, cx.waker())
    }

    /// Waits until the socket is ready for something of `interest`, and returns that. Cancel-safe.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// # use netstack::net::UdpSocket;
    /// let client = UdpSocket::bind(&stack, "10.77.0.2:1").await?;
    /// let server = UdpSocket::bind(&stack, "10.77.0.2:2").await?;
    /// # use netstack::net::Interest;
    /// let ready = client.ready(Interest::READABLE | Interest::WRITABLE).await?;
    /// assert!(ready.is_writable() && !ready.is_readable());
    /// # drop(server);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// The stack ended.
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        let mut readable = pin!(self.readable());
        std::future::poll_fn(|cx| {
            let mut ready = Ready::empty();
            if interest.contains(Interest::WRITABLE) && self.poll_send_ready(cx)?.is_ready() {
                ready |= Ready::WRITABLE;
            }
            if interest.contains(Interest::READABLE) && readable.as_mut().poll(cx)?.is_ready() {
                ready |= Ready::READABLE;
            }
            if ready.is_empty() && !interest.is_empty() {
                return Poll::Pending;
            }
            Poll::Ready(Ok(ready))
        })
        .await
    }
}

/// Sending.
impl UdpSocket {
    /// Sends a datagram if there is room for it now.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room; otherwise as [`UdpSocket::send_to`].
    pub fn try_send_to(&self, data: &[u8], remote: SocketAddr) -> io::Result<usize> {
        self.try_send_copy(data, Ends::to(remote))
    }

    /// Sends a datagram to the connected peer if there is room for it now.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// # use netstack::net::UdpSocket;
    /// let client = UdpSocket::bind(&stack, "10.77.0.2:1").await?;
    /// let server = UdpSocket::bind(&stack, "10.77.0.2:2").await?;
    /// client.connect("10.77.0.2:2").await?;
    /// assert_eq!(client.try_send(b"hello")?, 5);
    /// assert_eq!(server.recv(&mut [0; 16]).await?, 5);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `WouldBlock` if there is no room; otherwise as [`UdpSocket::send`].
    pub fn try_send(&self, data: &[u8]) -> io::Result<usize> {
        self.try_send_copy(data, Ends::default())
    }

    pub(super) fn try_send_copy(&self, data: &[u8], ends: Ends) -> io::Result<usize> {
        or_would_block(self.poll_send_copy(Wait::Never, data, ends))
    }

    fn poll_send_copy(&self, wait: Wait<'_>, data: &[u8], ends: Ends) -> Poll<io::Result<usize>> {
        let content = Content::Copied(data);
        app::poll_send(&self.host, &self.socket, wait, content, ends).map_ok(|()| data.len())
    }

    /// Polls for room to send one datagram to `remote`, and sends it.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// # use netstack::net::UdpSocket;
    /// let client = UdpSocket::bind(&stack, "10.77.0.2:1").await?;
    /// let server = UdpSocket::bind(&stack, "10.77.0.2:2").await?;
    /// let to = server.local_addr()?;
    /// std::future::poll_fn(|cx| client.poll_send_to(cx, b"one", to)).await?;
    /// client.connect(to).await?;
    /// std::future::poll_fn(|cx| client.poll_send(cx, b"three")).await?;
    /// assert_eq!(server.recv(&mut [0; 16]).await?, 3);
    /// assert_eq!(server.recv(&mut [0; 16]).await?, 5);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`UdpSocket::send_to`].
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        data: &[u8],
        remote: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.poll_send_copy(cx.into(), data, Ends::to(remote))
    }

    /// Polls for room to send one datagram to the connected peer, and sends it.
    ///
    /// # Errors
    /// As [`UdpSocket::send`].
    pub fn poll_send(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send_copy(cx.into(), data, Ends::default())
    }
}

/// Receiving.
impl UdpSocket {
    /// Receives a datagram that is there into `out`; returns its length there and its sender.
    ///
    /// # Errors
    /// `WouldBlock` if none is; otherwise as [`UdpSocket::recv_datagram`].
    pub fn try_recv_from(&self, out: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let datagram = self.try_recv_datagram()?;
        let count = datagram.payload.len().min(out.len());
        out[..count].copy_from_slice(&datagram.payload[..count]);
        Ok((count, datagram.from))
    }

    /// Receives a datagram that is there into `out`; returns its length there.
    ///
    /// # Errors
    /// As [`UdpSocket::try_recv_from`].
    pub fn try_recv(&self, out: &mut [u8]) -> io::Result<usize> {
        self.try_recv_from(out).map(|(count, _)| count)
    }

    /// Receives a datagram that is there, without a copy.
    ///
    /// # Errors
    /// As [`UdpSocket::try_recv_from`].
    pub fn try_recv_datagram(&self) -> io::Result<Datagram> {
        or_would_block(app::poll_recv(&self.host, &self.socket, Wait::Never))
    }

    /// Receives at least one datagram and at most `limit`, without a copy, and appends them to `out`; returns
    /// their number. As many tasks as like may wait. Cancel-safe: a cancelled call has taken nothing.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// # use netstack::net::UdpSocket;
    /// let client = UdpSocket::bind(&stack, "10.77.0.2:1").await?;
    /// let server = UdpSocket::bind(&stack, "10.77.0.2:2").await?;
    /// for text in [b"one", b"two"] {
    ///     client.send_to(text, "10.77.0.2:2").await?;
    /// }
    /// let mut datagrams = Vec::new();
    /// server.recv_many(&mut datagrams, 1).await?;
    /// std::future::poll_fn(|cx| server.poll_recv_many(cx, &mut datagrams, 16)).await?;
    /// assert_eq!((&datagrams[0].payload[..], datagrams.len()), (&b"one"[..], 2));
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`UdpSocket::recv_datagram`].
    pub async fn recv_many(&self, out: &mut Vec<Datagram>, limit: usize) -> io::Result<usize> {
        let (host, socket) = (&self.host, &self.socket);
        wait(
            |wait| app::poll_recv_many(host, socket, wait, out, limit.max(1)),
            |ticket| app::forget(socket, ticket),
        )
        .await
    }

    /// Polls for datagrams, as [`UdpSocket::recv_many`].
    ///
    /// # Errors
    /// As there.
    pub fn poll_recv_many(
        &self,
        cx: &mut Context<'_>,
        out: &mut Vec<Datagram>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        app::poll_recv_many(&self.host, &self.socket, cx.into(), out, limit.max(1))
    }
}
