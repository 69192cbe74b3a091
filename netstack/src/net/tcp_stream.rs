//! A TCP connection, as the application holds it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use packet::Payload;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use super::handle::{Handle, Reader, checked_ttl};
use super::stack::Stack;
use crate::base::time::Duration;
use crate::stack::Host;
use crate::stack::tcp::connection::Connection;
use crate::stack::tcp::{open, stream};
use crate::stack::waiters::{Wait, wait};
use crate::tcp::TcpInfo;

/// A TCP stream, as `tokio::net::TcpStream` is one.
///
/// Reading copies once, from the received packet into the caller's buffer; through [`AsyncBufRead`]
/// or [`TcpStream::recv_payload`] not at all. Dropping the stream closes it: written data is still
/// delivered, unless received data was left unread, which makes it a reset, as with the kernel.
///
/// ```no_run
/// # async fn example(stack: &netstack::net::Stack) -> std::io::Result<()> {
/// use netstack::net::TcpStream;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// let mut stream = TcpStream::connect(stack, "192.0.2.1:80".parse().unwrap()).await?;
/// stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
/// let mut answer = Vec::new();
/// stream.read_to_end(&mut answer).await?;
/// # Ok(())
/// # }
/// ```
pub struct TcpStream(pub(super) Reader);

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (local, remote) = (self.handle().local(), self.handle().remote());
        write!(f, "TcpStream({local} <-> {remote})")
    }
}

impl TcpStream {
    /// Takes the application's first share in a connection.
    pub(super) fn new(host: Arc<Host>, connection: Arc<Connection>) -> Self {
        Self(Reader::new(Handle { host, connection }))
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.0.handle
    }

    /// Connects to `remote` from an address and port that the stack chooses.
    ///
    /// # Errors
    /// The peer refused, cannot be reached or did not answer; there is no route, port or place for one
    /// more connection. The kind says which, as with tokio.
    pub async fn connect(stack: &Stack, remote: SocketAddr) -> io::Result<Self> {
        Self::open(stack, None, remote).await
    }

    /// Connects to `remote` from `local`; with port 0 the stack chooses the port.
    ///
    /// # Errors
    /// As [`TcpStream::connect`], or `local` is not an address of this stack or in use.
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
        let connection = open::connect(&stack.host, local, remote)?;
        // Dropped while it waits, the stream aborts the attempt.
        let stream = Self::new(Arc::clone(&stack.host), connection);
        let Handle { host, connection } = stream.handle();
        std::future::poll_fn(|cx| stream::poll_connect(host, connection, cx.into())).await?;
        Ok(stream)
    }

    /// Returns our address and port.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.handle().local())
    }

    /// Returns the peer's address and port.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.handle().remote())
    }

    /// Turns Nagle's algorithm off (`true`) or on (RFC 9293 section 3.7.4).
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.handle()
            .with_state(|state| state.tcp.set_nodelay(nodelay));
        self.handle().drive();
        Ok(())
    }

    /// Returns true if Nagle's algorithm is off.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(self.handle().with_state(|state| state.tcp.nodelay()))
    }

    /// Sets the time to live (IPv6: hop limit) of the packets that this connection sends.
    ///
    /// # Errors
    /// `InvalidInput` unless it is from 1 to 255.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        let ttl = checked_ttl(ttl)?;
        self.handle().with_state(|state| state.ttl = ttl);
        Ok(())
    }

    /// Returns the time to live (IPv6: hop limit) of the packets that this connection sends.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn ttl(&self) -> io::Result<u32> {
        Ok(self.handle().with_state(|state| u32::from(state.ttl)))
    }

    /// Probes the peer after it was silent for `idle`; `None`: never (RFC 9293 section 3.8.4).
    ///
    /// ```no_run
    /// # fn example(stream: &netstack::net::TcpStream) -> std::io::Result<()> {
    /// stream.set_keepalive(Some(std::time::Duration::from_secs(60)))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn set_keepalive(&self, idle: Option<Duration>) -> io::Result<()> {
        let now = self.handle().host.clock.now();
        self.handle()
            .with_state(|state| state.tcp.set_keepalive(idle, now));
        self.handle().drive();
        Ok(())
    }

    /// Sets the time between keepalive probes, and how many may remain unanswered before the connection is aborted
    /// (RFC 9293 section 3.8.4).
    ///
    /// # Errors
    /// `InvalidInput` if `interval` or `probes` is zero.
    pub fn set_keepalive_probes(&self, interval: Duration, probes: u8) -> io::Result<()> {
        if interval.is_zero() || probes == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "set_keepalive_probes: the interval and the number of probes must not be zero",
            ));
        }
        self.handle().with_state(|state| {
            state.tcp.set_keepalive_interval(interval);
            state.tcp.set_keepalive_probes(probes);
        });
        Ok(())
    }

    /// Limits the segments that are sent to `mss` bytes, TCP options included; a smaller limit stays.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as other options do.
    pub fn set_max_mss(&self, mss: u16) -> io::Result<()> {
        self.handle().with_state(|state| state.tcp.set_max_mss(mss));
        Ok(())
    }

    /// Aborts the connection if the peer does not acknowledge within `timeout` what was written before; `None`:
    /// never for that reason. As on Linux (`TCP_USER_TIMEOUT`), it also ends a connection whose peer keeps its window
    /// closed and answers probes. The connection ends between one and two timeouts after the write.
    ///
    /// ```no_run
    /// # fn example(stream: &netstack::net::TcpStream) -> std::io::Result<()> {
    /// stream.set_user_timeout(Some(std::time::Duration::from_secs(300)))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as the other options do.
    pub fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.handle()
            .with_state(|state| state.tcp.set_user_timeout(timeout));
        self.handle().drive();
        Ok(())
    }

    /// Returns the user timeout: see [`set_user_timeout`](Self::set_user_timeout).
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as the other options do.
    pub fn user_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.handle().with_state(|state| state.tcp.user_timeout()))
    }

    /// With zero, dropping the stream resets the connection and discards data that was not
    /// delivered; with `None`, dropping closes it in the background.
    ///
    /// # Errors
    /// `InvalidInput` for other durations: a stack never blocks in drop.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        let connection = &self.handle().connection;
        match linger {
            None => connection.set_reset_on_close(false),
            Some(Duration::ZERO) => connection.set_reset_on_close(true),
            Some(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "set_linger: only None and zero can be had; shut the stream down and wait instead",
                ));
            }
        }
        Ok(())
    }

    /// Returns the numbers of this connection: round trip, window, retransmissions, bytes.
    pub fn info(&self) -> TcpInfo {
        self.handle().with_state(|state| state.tcp.info())
    }

    /// Takes the next chunk of the stream as it was received, without a copy; `None` at its end.
    ///
    /// ```no_run
    /// # async fn example(mut stream: netstack::net::TcpStream) -> std::io::Result<()> {
    /// // Echo without a copy: the received slabs are sent back.
    /// while let Some(payload) = stream.recv_payload().await? {
    ///     stream.send_payload(payload).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The connection ended in an error.
    pub fn recv_payload(&mut self) -> impl Future<Output = io::Result<Option<Payload>>> + Send {
        std::future::poll_fn(|cx| self.poll_recv_payload(cx))
    }

    /// [`TcpStream::recv_payload`] for hand-written futures.
    pub fn poll_recv_payload(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Payload>>> {
        self.0.poll_payload(cx.into())
    }

    /// Queues all of `payload` without a copy; waits for room in the send buffer.
    ///
    /// # Errors
    /// The connection ended in an error, or its writing side is closed.
    pub fn send_payload(
        &mut self,
        payload: Payload,
    ) -> impl Future<Output = io::Result<()>> + Send {
        self.handle().send_payload(payload)
    }

    /// Waits until there is something to read, the end of the stream, or an error. As many tasks as like
    /// may wait.
    ///
    /// # Errors
    /// The stack ended. An error of the connection is reported by the next read.
    pub async fn readable(&self) -> io::Result<()> {
        if self.0.buffered().is_empty() {
            let connection = &self.handle().connection;
            wait(
                |wait| stream::poll_readable(connection, wait),
                |ticket| stream::forget_reader(connection, ticket),
            )
            .await;
        }
        self.handle().host.ending.check()
    }

    /// Waits until there is room to write, or an error. As many tasks as like may wait.
    ///
    /// # Errors
    /// The stack ended. An error of the connection is reported by the next write.
    pub async fn writable(&self) -> io::Result<()> {
        let connection = &self.handle().connection;
        wait(
            |wait| stream::poll_writable(connection, wait),
            |ticket| stream::forget_writer(connection, ticket),
        )
        .await;
        self.handle().host.ending.check()
    }

    /// Reads the data that is there.
    ///
    /// # Errors
    /// `WouldBlock` if there is none; the error that the connection ended in.
    pub fn try_read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut out = ReadBuf::new(out);
        match self.0.poll_read(Wait::Never, &mut out) {
            Poll::Ready(result) => result.map(|()| out.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Writes as much as there is room for.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room; the error that the connection ended in.
    pub fn try_write(&self, data: &[u8]) -> io::Result<usize> {
        match self.handle().poll_write(Wait::Never, data) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Copies the data that comes next without taking it; 0 at the end of the stream.
    ///
    /// # Errors
    /// The connection ended in an error.
    pub async fn peek(&self, out: &mut [u8]) -> io::Result<usize> {
        let buffered = self.0.buffered();
        if !buffered.is_empty() {
            let count = buffered.len().min(out.len());
            out[..count].copy_from_slice(&buffered[..count]);
            return Ok(count);
        }
        let connection = &self.handle().connection;
        let peeked = wait(
            |wait| stream::poll_peek(connection, wait, out),
            |ticket| stream::forget_reader(connection, ticket),
        )
        .await;
        match peeked {
            Ok(0) if !out.is_empty() => self.handle().check_end().map(|()| 0),
            peeked => peeked.map_err(|error| self.handle().host.ending.explain(error)),
        }
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
}

impl AsyncBufRead for TcpStream {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.get_mut().0.poll_fill_buf(cx.into())
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        self.get_mut().0.consume(amount);
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().0.poll_read(cx.into(), out)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.handle().poll_write(cx.into(), data)
    }

    /// Written data leaves by itself: there is nothing to wait for.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Sends FIN after the written data; does not wait for its acknowledgment.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.handle().shutdown_write())
    }
}
