//! The two halves of a TCP stream, for tasks of their own.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use packet::Payload;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use super::handle::{Handle, Reader};
use super::tcp_stream::TcpStream;

/// The reading half, as `tokio::net::tcp::OwnedReadHalf`.
pub struct OwnedReadHalf(Reader);

/// The writing half, as `tokio::net::tcp::OwnedWriteHalf`. Dropping it shuts the writing side down,
/// unless it was given to [`OwnedReadHalf::reunite`] or [`OwnedWriteHalf::forget`].
pub struct OwnedWriteHalf {
    handle: Handle,
    shutdown_on_drop: bool,
}

/// The halves were not of one stream; both are given back.
#[derive(Debug)]
pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reunite: these halves are not of one stream")
    }
}

impl Error for ReuniteError {}

impl fmt::Debug for OwnedReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (local, remote) = (self.0.handle.local(), self.0.handle.remote());
        write!(f, "OwnedReadHalf({local} <- {remote})")
    }
}

impl fmt::Debug for OwnedWriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (local, remote) = (self.handle.local(), self.handle.remote());
        write!(f, "OwnedWriteHalf({local} -> {remote})")
    }
}

impl TcpStream {
    /// Splits into halves that can be used by different tasks; see [`OwnedReadHalf::reunite`].
    pub fn into_split(mut self) -> (OwnedReadHalf, OwnedWriteHalf) {
        let write = OwnedWriteHalf {
            handle: self.0.handle.share(),
            shutdown_on_drop: true,
        };
        (OwnedReadHalf(self.0.take()), write)
    }
}

impl OwnedReadHalf {
    /// Puts two halves together again.
    ///
    /// # Errors
    /// The halves are not of one stream; both are given back.
    pub fn reunite(mut self, mut write: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
        if !Arc::ptr_eq(&self.0.handle.connection, &write.handle.connection) {
            return Err(ReuniteError(self, write));
        }
        write.shutdown_on_drop = false;
        Ok(TcpStream(self.0.take()))
    }

    /// Takes the next chunk of the stream as it was received, without a copy; `None` at its end.
    ///
    /// # Errors
    /// The connection ended in an error.
    pub async fn recv_payload(&mut self) -> io::Result<Option<Payload>> {
        std::future::poll_fn(|cx| self.0.poll_payload(cx.into())).await
    }

    /// Returns our address and port.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.0.handle.local())
    }

    /// Returns the peer's address and port.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.0.handle.remote())
    }
}

impl AsyncBufRead for OwnedReadHalf {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.get_mut().0.poll_fill_buf(cx.into())
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        self.get_mut().0.consume(amount);
    }
}

impl AsyncRead for OwnedReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().0.poll_read(cx.into(), out)
    }
}

impl OwnedWriteHalf {
    /// Drops this half without shutting the writing side down.
    pub fn forget(mut self) {
        self.shutdown_on_drop = false;
    }

    /// Queues all of `payload` without a copy; waits for room in the send buffer.
    ///
    /// # Errors
    /// The connection ended in an error, or its writing side is closed.
    pub fn send_payload(
        &mut self,
        payload: Payload,
    ) -> impl Future<Output = io::Result<()>> + Send {
        self.handle.send_payload(payload)
    }

    /// Returns our address and port.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.handle.local())
    }

    /// Returns the peer's address and port.
    ///
    /// # Errors
    /// Never fails; it returns a `Result` as tokio does.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.handle.remote())
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if self.shutdown_on_drop {
            let _ = self.handle.shutdown_write();
        }
    }
}

impl AsyncWrite for OwnedWriteHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.handle.poll_write(cx.into(), data)
    }

    /// Written data leaves by itself: there is nothing to wait for.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.handle.shutdown_write())
    }
}
