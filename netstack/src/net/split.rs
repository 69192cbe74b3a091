//! The two halves of a TCP stream, for tasks of their own.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use packet::Payload;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use super::tcp_stream::{Handle, TcpStream};

/// The half that reads, as `tokio::net::tcp::OwnedReadHalf`.
pub struct OwnedReadHalf {
    handle: Handle,
    chunk: Payload,
}

/// The half that writes, as `tokio::net::tcp::OwnedWriteHalf`. Dropping it shuts the writing side
/// down, unless it was given to [`OwnedReadHalf::reunite`] or [`OwnedWriteHalf::forget`].
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
        write!(
            f,
            "OwnedReadHalf({} <- {})",
            self.handle.local(),
            self.handle.remote()
        )
    }
}

impl fmt::Debug for OwnedWriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "OwnedWriteHalf({} -> {})",
            self.handle.local(),
            self.handle.remote()
        )
    }
}

pub(super) fn split(mut stream: TcpStream) -> (OwnedReadHalf, OwnedWriteHalf) {
    let read = OwnedReadHalf {
        handle: stream.handle.share(),
        chunk: std::mem::take(&mut stream.chunk),
    };
    let write = OwnedWriteHalf {
        handle: stream.handle.share(),
        shutdown_on_drop: true,
    };
    (read, write)
}

impl OwnedReadHalf {
    /// Puts two halves together again, if they are of one stream.
    pub fn reunite(mut self, mut write: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
        if !Arc::ptr_eq(&self.handle.cell, &write.handle.cell) {
            return Err(ReuniteError(self, write));
        }
        write.shutdown_on_drop = false;
        Ok(TcpStream {
            handle: self.handle.share(),
            chunk: std::mem::take(&mut self.chunk),
        })
    }

    /// The next piece of the stream as it was received, without a copy; `None` at its end.
    pub async fn recv_payload(&mut self) -> io::Result<Option<Payload>> {
        if !self.chunk.is_empty() {
            return Ok(Some(std::mem::take(&mut self.chunk)));
        }
        std::future::poll_fn(|cx| self.handle.poll_recv(cx)).await
    }

    /// Our address and port.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.handle.local())
    }

    /// The peer's address and port.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.handle.remote())
    }
}

impl Drop for OwnedReadHalf {
    fn drop(&mut self) {
        self.handle.abandon(&self.chunk);
    }
}

impl AsyncBufRead for OwnedReadHalf {
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
            this.chunk = Payload::default();
        }
    }
}

impl AsyncRead for OwnedReadHalf {
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

impl OwnedWriteHalf {
    /// Drops this half without shutting the writing side down.
    pub fn forget(mut self) {
        self.shutdown_on_drop = false;
    }

    /// Queues all of `payload` without a copy; waits for room in the send buffer.
    pub async fn send_payload(&mut self, payload: Payload) -> io::Result<()> {
        let mut payload = payload;
        std::future::poll_fn(|cx| self.handle.poll_write_payload(cx, &mut payload)).await
    }

    /// Our address and port.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.handle.local())
    }

    /// The peer's address and port.
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
        self.handle.poll_write(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.handle.shutdown_write())
    }
}
