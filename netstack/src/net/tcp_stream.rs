//! A TCP connection, as the application holds it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use packet::Payload;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use super::split::{OwnedReadHalf, OwnedWriteHalf};
use super::stack::Stack;
use crate::base::time::Duration;
use crate::stack::host::Shared;
use crate::stack::tcp::connection::{Conn, ConnCell};
use crate::tcp::TcpInfo;

/// A TCP stream, as `tokio::net::TcpStream` is one.
///
/// Reading copies once, from the received packet into the caller's buffer; through [`AsyncBufRead`]
/// or [`TcpStream::recv_payload`] not at all. Dropping the stream closes it: what was written is still
/// delivered, unless there is something unread, which makes it a reset, as with the kernel.
pub struct TcpStream {
    pub(super) handle: Handle,
    /// Taken out of the receive queue and not yet consumed.
    pub(super) chunk: Payload,
}

/// A share in the application's side of a connection; the last one to go closes it.
pub(super) struct Handle {
    pub(super) shared: Arc<Shared>,
    pub(super) cell: Arc<ConnCell>,
}

impl Handle {
    /// One more share.
    pub(super) fn share(&self) -> Self {
        self.cell.add_handle();
        Self {
            shared: Arc::clone(&self.shared),
            cell: Arc::clone(&self.cell),
        }
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.cell.flow.local()
    }

    pub(super) fn remote(&self) -> SocketAddr {
        self.cell.flow.remote()
    }

    pub(super) fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Payload>>> {
        self.shared.tcp_poll_recv(&self.cell, cx)
    }

    pub(super) fn poll_write(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.shared.tcp_poll_write(&self.cell, cx, data)
    }

    pub(super) fn poll_write_payload(
        &self,
        cx: &mut Context<'_>,
        payload: &mut Payload,
    ) -> Poll<io::Result<()>> {
        self.shared.tcp_poll_write_payload(&self.cell, cx, payload)
    }

    pub(super) fn shutdown_write(&self) -> io::Result<()> {
        self.shared.tcp_shutdown_write(&self.cell)
    }

    /// What is left of `chunk` when its reader goes was never read.
    pub(super) fn abandon(&self, chunk: &Payload) {
        if !chunk.is_empty() {
            self.cell.set_reset_on_close(true);
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.cell.drop_handle() {
            self.shared.tcp_release(&self.cell);
        }
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpStream({} <-> {})", self.local(), self.remote())
    }
}

impl TcpStream {
    pub(super) fn from_cell(shared: Arc<Shared>, cell: Arc<ConnCell>) -> Self {
        Self {
            handle: Handle { shared, cell },
            chunk: Payload::default(),
        }
    }

    /// Connects to `remote` from an address and port that the stack chooses.
    pub async fn connect(stack: &Stack, remote: SocketAddr) -> io::Result<Self> {
        Self::open(stack, None, remote).await
    }

    /// Connects to `remote` from `local` (port 0: the stack chooses).
    pub async fn connect_from(
        stack: &Stack,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> io::Result<Self> {
        Self::open(stack, Some(local), remote).await
    }

    async fn open(
        stack: &Stack,
        local: Option<SocketAddr>,
        remote: SocketAddr,
    ) -> io::Result<Self> {
        let cell = stack.shared.tcp_connect(local, remote)?;
        // Dropped while it waits, the stream aborts the attempt.
        let stream = Self::from_cell(Arc::clone(&stack.shared), cell);
        std::future::poll_fn(|cx| {
            stream
                .handle
                .shared
                .tcp_poll_connect(&stream.handle.cell, cx)
        })
        .await?;
        Ok(stream)
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.handle.local()
    }

    pub(super) fn remote(&self) -> SocketAddr {
        self.handle.remote()
    }

    /// Our address and port.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local())
    }

    /// The peer's address and port.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.remote())
    }

    /// Turns Nagle's algorithm off (`true`) or on (RFC 9293 section 3.7.4).
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.on_conn(|conn| conn.tcp.set_nodelay(nodelay));
        self.handle.shared.schedule(&self.handle.cell);
        Ok(())
    }

    /// True if Nagle's algorithm is off.
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(self.on_conn(|conn| conn.tcp.nodelay()))
    }

    /// Sets the time to live (IPv6: hop limit) of what this connection sends.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        let ttl = u8::try_from(ttl)
            .ok()
            .filter(|&ttl| ttl > 0)
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "set_ttl: give a value from 1 to 255",
                )
            })?;
        self.on_conn(|conn| conn.ttl = ttl);
        Ok(())
    }

    /// The time to live (IPv6: hop limit) of what this connection sends.
    pub fn ttl(&self) -> io::Result<u32> {
        Ok(self.on_conn(|conn| u32::from(conn.ttl)))
    }

    /// Probes the peer after this long without a word from it; `None`: never (RFC 9293 section 3.8.4).
    pub fn set_keepalive(&self, idle: Option<Duration>) -> io::Result<()> {
        let now = self.handle.shared.now();
        self.on_conn(|conn| conn.tcp.set_keepalive(idle, now));
        self.handle.shared.schedule(&self.handle.cell);
        Ok(())
    }

    /// With zero, dropping the stream resets the connection and discards what was not delivered;
    /// with `None`, dropping closes it in the background. A stack never blocks in drop, so other
    /// durations are refused.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        match linger {
            None => self.handle.cell.set_reset_on_close(false),
            Some(Duration::ZERO) => self.handle.cell.set_reset_on_close(true),
            Some(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "set_linger: only None and zero can be had; shut the stream down and wait instead",
                ));
            }
        }
        Ok(())
    }

    /// What TCP knows of this connection: round trip, window, retransmissions, bytes.
    pub fn info(&self) -> TcpInfo {
        self.on_conn(|conn| conn.tcp.info())
    }

    /// The next piece of the stream as it was received, without a copy; `None` at its end.
    pub async fn recv_payload(&mut self) -> io::Result<Option<Payload>> {
        std::future::poll_fn(|cx| self.poll_recv_payload(cx)).await
    }

    /// [`TcpStream::recv_payload`] for hand-written futures.
    pub fn poll_recv_payload(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Payload>>> {
        if !self.chunk.is_empty() {
            return Poll::Ready(Ok(Some(std::mem::take(&mut self.chunk))));
        }
        self.handle.poll_recv(cx)
    }

    /// Queues all of `payload` without a copy; waits for room in the send buffer.
    pub async fn send_payload(&mut self, payload: Payload) -> io::Result<()> {
        let mut payload = payload;
        std::future::poll_fn(|cx| self.handle.poll_write_payload(cx, &mut payload)).await
    }

    /// Waits until there is something to read, the end, or an error.
    pub async fn readable(&self) -> io::Result<()> {
        if self.chunk.is_empty() {
            std::future::poll_fn(|cx| self.handle.shared.tcp_poll_readable(&self.handle.cell, cx))
                .await;
        }
        Ok(())
    }

    /// Waits until there is room to write, or an error.
    pub async fn writable(&self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.handle.shared.tcp_poll_writable(&self.handle.cell, cx))
            .await;
        Ok(())
    }

    /// Reads what is there; `WouldBlock` if nothing is.
    pub fn try_read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut out = ReadBuf::new(out);
        match Pin::new(self).poll_read(&mut cx, &mut out) {
            Poll::Ready(result) => result.map(|()| out.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Writes what there is room for; `WouldBlock` if there is none.
    pub fn try_write(&self, data: &[u8]) -> io::Result<usize> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match self.handle.poll_write(&mut cx, data) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Copies what comes next without taking it; 0 at the end of the stream.
    pub async fn peek(&self, out: &mut [u8]) -> io::Result<usize> {
        if !self.chunk.is_empty() {
            let count = self.chunk.len().min(out.len());
            out[..count].copy_from_slice(&self.chunk[..count]);
            return Ok(count);
        }
        std::future::poll_fn(|cx| self.handle.shared.tcp_poll_peek(&self.handle.cell, cx, out))
            .await
    }

    /// Splits into halves that can be used by different tasks; see [`OwnedReadHalf::reunite`].
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        super::split::split(self)
    }

    /// Borrowed halves, as `tokio::io::split` gives owned ones. Where `AsyncBufReadExt` is in scope,
    /// its own `split` comes first: write `TcpStream::split(&mut stream)` there.
    pub fn split(
        &mut self,
    ) -> (
        tokio::io::ReadHalf<&mut Self>,
        tokio::io::WriteHalf<&mut Self>,
    ) {
        tokio::io::split(self)
    }

    fn on_conn<R>(&self, f: impl FnOnce(&mut Conn) -> R) -> R {
        self.handle.shared.on_conn(&self.handle.cell, f)
    }
}

impl AsyncBufRead for TcpStream {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.chunk.is_empty()
            && let Some(chunk) = ready!(this.handle.poll_recv(cx))?
        {
            this.chunk = chunk;
        }
        Poll::Ready(Ok(&this.chunk))
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        let this = self.get_mut();
        this.chunk.advance(amount);
        if this.chunk.is_empty() {
            // Let the slab go now, not at the next read.
            this.chunk = Payload::default();
        }
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let available = ready!(self.as_mut().poll_fill_buf(cx))?;
        let count = available.len().min(out.remaining());
        out.put_slice(&available[..count]);
        self.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.handle.poll_write(cx, data)
    }

    /// What was written leaves by itself: nothing to wait for.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Sends FIN after what was written; does not wait for its acknowledgement.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.handle.shutdown_write())
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        self.handle.abandon(&self.chunk);
    }
}
