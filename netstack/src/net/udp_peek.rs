//! A UDP socket's next datagram without taking it, and datagrams into buffers that grow.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::BufMut;
use packet::Payload;
use tokio::io::ReadBuf;

use super::udp_ready::or_would_block;
use super::udp_socket::UdpSocket;
use crate::stack::udp::app;
use crate::stack::waiters::{Wait, wait};

/// Peeking.
impl UdpSocket {
    /// Copies the start of the next datagram to `out` without taking it; returns how much, and its sender.
    /// Cancel-safe.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// # use netstack::net::UdpSocket;
    /// let client = UdpSocket::bind(&stack, "10.77.0.2:1").await?;
    /// let server = UdpSocket::bind(&stack, "10.77.0.2:2").await?;
    /// client.send_to(b"hello", "10.77.0.2:2").await?;
    /// assert_eq!(server.peek_sender().await?, client.local_addr()?);
    /// let mut start = [0; 2];
    /// assert_eq!(server.peek_from(&mut start).await?.0, 2);
    /// assert_eq!(server.try_peek_from(&mut start)?.0, 2);
    /// assert_eq!(server.recv(&mut [0; 16]).await?, 5);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`UdpSocket::recv_datagram`].
    pub async fn peek_from(&self, out: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (host, socket) = (&self.host, &self.socket);
        wait(
            |wait| app::poll_peek(host, socket, wait, out),
            |ticket| app::forget(socket, ticket),
        )
        .await
    }

    /// [`UdpSocket::peek_from`] without waiting.
    ///
    /// # Errors
    /// As [`UdpSocket::try_recv_from`].
    pub fn try_peek_from(&self, out: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        or_would_block(app::poll_peek(&self.host, &self.socket, Wait::Never, out))
    }

    /// [`UdpSocket::peek_from`] for hand-written futures. Of the tasks that poll, the latest is woken.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// # use netstack::net::UdpSocket;
    /// use std::future::poll_fn;
    /// use tokio::io::ReadBuf;
    ///
    /// let client = UdpSocket::bind(&stack, "10.77.0.2:1").await?;
    /// let server = UdpSocket::bind(&stack, "10.77.0.2:2").await?;
    /// client.send_to(b"hello", "10.77.0.2:2").await?;
    /// let sender = poll_fn(|cx| server.poll_peek_sender(cx)).await?;
    /// let mut room = [0; 8];
    /// let mut room = ReadBuf::new(&mut room);
    /// assert_eq!(poll_fn(|cx| server.poll_peek_from(cx, &mut room)).await?, sender);
    /// assert_eq!(room.filled(), b"hello");
    /// room.clear();
    /// assert_eq!(poll_fn(|cx| server.poll_peek(cx, &mut room)).await?, 5);
    /// room.clear();
    /// poll_fn(|cx| server.poll_recv(cx, &mut room)).await?;
    /// assert_eq!(room.filled(), b"hello");
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`UdpSocket::recv_datagram`].
    pub fn poll_peek_from(
        &self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        let room = out.initialize_unfilled();
        let peeked = app::poll_peek(&self.host, &self.socket, cx.into(), room);
        peeked.map_ok(|(count, from)| {
            out.advance(count);
            from
        })
    }

    /// Copies the start of the next datagram to `out` without taking it; returns how much. Cancel-safe.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// # use netstack::net::UdpSocket;
    /// let socket = UdpSocket::bind(&stack, "10.77.0.2:1").await?;
    /// socket.connect("10.77.0.2:1").await?;
    /// assert!(socket.try_peek(&mut [0; 8]).is_err());
    /// socket.send(b"hello").await?;
    /// assert_eq!(socket.peek(&mut [0; 2]).await?, 2);
    /// assert_eq!(socket.try_peek(&mut [0; 8])?, 5);
    /// assert_eq!(socket.try_peek_sender()?, socket.local_addr()?);
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`UdpSocket::recv_datagram`].
    pub async fn peek(&self, out: &mut [u8]) -> io::Result<usize> {
        self.peek_from(out).await.map(|(count, _)| count)
    }

    /// [`UdpSocket::peek`] without waiting.
    ///
    /// # Errors
    /// As [`UdpSocket::try_recv_from`].
    pub fn try_peek(&self, out: &mut [u8]) -> io::Result<usize> {
        self.try_peek_from(out).map(|(count, _)| count)
    }

    /// [`UdpSocket::peek`] for hand-written futures.
    ///
    /// # Errors
    /// As [`UdpSocket::recv_datagram`].
    pub fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let before = out.filled().len();
        self.poll_peek_from(cx, out)
            .map_ok(|_| out.filled().len() - before)
    }

    /// Waits for the next datagram and returns its sender, without taking it. Cancel-safe.
    ///
    /// # Errors
    /// As [`UdpSocket::recv_datagram`].
    pub async fn peek_sender(&self) -> io::Result<SocketAddr> {
        self.peek_from(&mut []).await.map(|(_, from)| from)
    }

    /// [`UdpSocket::peek_sender`] without waiting.
    ///
    /// # Errors
    /// As [`UdpSocket::try_recv_from`].
    pub fn try_peek_sender(&self) -> io::Result<SocketAddr> {
        self.try_peek_from(&mut []).map(|(_, from)| from)
    }

    /// [`UdpSocket::peek_sender`] for hand-written futures.
    ///
    /// # Errors
    /// As [`UdpSocket::recv_datagram`].
    pub fn poll_peek_sender(&self, cx: &mut Context<'_>) -> Poll<io::Result<SocketAddr>> {
        let peeked = app::poll_peek(&self.host, &self.socket, cx.into(), &mut []);
        peeked.map_ok(|(_, from)| from)
    }
}

/// Appends what fits of a datagram; returns how much.
fn append(payload: &Payload, out: &mut impl BufMut) -> usize {
    let count = payload.len().min(out.remaining_mut());
    out.put_slice(payload.get(..count).unwrap_or(&[]));
    count
}

/// Buffers that grow.
impl UdpSocket {
    /// Receives one datagram and appends it to `out`; returns its length there and its sender. Cancel-safe: a cancelled
    /// call has taken nothing.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// # use netstack::net::UdpSocket;
    /// let client = UdpSocket::bind(&stack, "10.77.0.2:1").await?;
    /// let server = UdpSocket::bind(&stack, "10.77.0.2:2").await?;
    /// let mut both = Vec::new();
    /// assert!(server.try_recv_buf(&mut both).is_err());
    /// for half in ["to", "gether"] {
    ///     client.send_to(half.as_bytes(), "10.77.0.2:2").await?;
    ///     server.readable().await?;
    ///     assert_eq!(server.recv_buf_from(&mut both).await?, (half.len(), client.local_addr()?));
    /// }
    /// assert_eq!(both, b"together");
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`UdpSocket::recv_datagram`].
    pub async fn recv_buf_from<B: BufMut>(&self, out: &mut B) -> io::Result<(usize, SocketAddr)> {
        let datagram = self.recv_datagram().await?;
        Ok((append(&datagram.payload, out), datagram.from))
    }

    /// Receives one datagram and appends it to `out`; returns its length there. Cancel-safe.
    ///
    /// # Errors
    /// As [`UdpSocket::recv_datagram`].
    pub async fn recv_buf<B: BufMut>(&self, out: &mut B) -> io::Result<usize> {
        self.recv_buf_from(out).await.map(|(count, _)| count)
    }

    /// [`UdpSocket::recv_buf_from`] without waiting.
    ///
    /// # Errors
    /// As [`UdpSocket::try_recv_from`].
    pub fn try_recv_buf_from<B: BufMut>(&self, out: &mut B) -> io::Result<(usize, SocketAddr)> {
        let datagram = self.try_recv_datagram()?;
        Ok((append(&datagram.payload, out), datagram.from))
    }

    /// [`UdpSocket::recv_buf`] without waiting.
    ///
    /// # Errors
    /// As [`UdpSocket::try_recv_from`].
    pub fn try_recv_buf<B: BufMut>(&self, out: &mut B) -> io::Result<usize> {
        self.try_recv_buf_from(out).map(|(count, _)| count)
    }

    /// Receives one datagram into `out`, for hand-written futures.
    ///
    /// # Errors
    /// As [`UdpSocket::recv_datagram`].
    pub fn poll_recv(&self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_recv_from(cx, out).map_ok(drop)
    }
}
