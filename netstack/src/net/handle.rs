//! The application's side of a connection, shared by a stream and its halves.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Poll, ready};

use packet::Payload;
use tokio::io::ReadBuf;

use crate::stack::Host;
use crate::stack::foreign::releasable;
use crate::stack::tcp::connection::{Connection, ConnectionState};
use crate::stack::tcp::stream;
use crate::stack::waiters::Wait;

/// A share in the application's side of a connection. Dropping the last one closes the connection.
pub(super) struct Handle {
    pub(super) host: Arc<Host>,
    pub(super) connection: Arc<Connection>,
}

impl Handle {
    /// Returns one more share.
    pub(super) fn share(&self) -> Self {
        self.connection.add_handle();
        Self {
            host: Arc::clone(&self.host),
            connection: Arc::clone(&self.connection),
        }
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.connection.flow.local()
    }

    pub(super) fn remote(&self) -> SocketAddr {
        self.connection.flow.remote()
    }

    /// Runs `f` on the connection's state.
    pub(super) fn with_state<R>(&self, f: impl FnOnce(&mut ConnectionState) -> R) -> R {
        self.connection.with_state(f)
    }

    /// Tells the connection's owner that there may be something to do.
    pub(super) fn drive(&self) {
        self.host.workers.drive(&self.connection);
    }

    /// Checks an end of the stream that a read found: the peer's, or the end of the stack.
    ///
    /// # Errors
    /// The stack ended before the peer closed its side.
    pub(super) fn check_end(&self) -> io::Result<()> {
        match self.host.ending.check() {
            Err(ended) if !self.with_state(|state| state.tcp.is_recv_finished()) => Err(ended),
            _ => Ok(()),
        }
    }

    pub(super) fn poll_write(&self, wait: Wait<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        stream::poll_write(&self.host, &self.connection, wait, data)
    }

    /// Queues all of `payload` without a copy.
    ///
    /// A plain function: an `async` one would keep the payload in its future twice, and each idle
    /// connection of a service with it.
    pub(super) fn send_payload(
        &self,
        payload: Payload,
    ) -> impl Future<Output = io::Result<()>> + Send {
        let mut payload = releasable(payload);
        std::future::poll_fn(move |cx| {
            stream::poll_write_payload(&self.host, &self.connection, cx.into(), &mut payload)
        })
    }

    pub(super) fn shutdown_write(&self) -> io::Result<()> {
        stream::shutdown_write(&self.host, &self.connection)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.connection.drop_handle() {
            stream::release(&self.host, &self.connection);
        }
    }
}

/// A share that reads: it holds the chunk of the stream that was taken and is not consumed yet.
/// Dropping it with data in hand makes closing a reset, since that data was never read.
pub(super) struct Reader {
    pub(super) handle: Handle,
    chunk: Payload,
    /// The last read filled less than the buffer that it was given.
    was_short: bool,
}

impl Reader {
    pub(super) fn new(handle: Handle) -> Self {
        Self {
            handle,
            chunk: Payload::default(),
            was_short: false,
        }
    }

    /// Moves the reading side, chunk included, to a share of its own.
    pub(super) fn take(&mut self) -> Self {
        Self {
            handle: self.handle.share(),
            chunk: std::mem::take(&mut self.chunk),
            was_short: std::mem::take(&mut self.was_short),
        }
    }

    /// Returns the data in hand.
    pub(super) fn buffered(&self) -> &[u8] {
        &self.chunk
    }

    pub(super) fn poll_fill_buf(&mut self, wait: Wait<'_>) -> Poll<io::Result<&[u8]>> {
        if self.chunk.is_empty()
            && let Some(chunk) = ready!(self.poll_chunk(wait))?
        {
            self.chunk = chunk;
        }
        Poll::Ready(Ok(&self.chunk))
    }

    pub(super) fn consume(&mut self, amount: usize) {
        self.chunk.advance(amount);
        if self.chunk.is_empty() {
            // The slab goes back now, not at the next read.
            self.chunk = Payload::default();
        }
    }

    /// Reads the bytes that come next; none at the end of the stream.
    ///
    /// As with tokio's sockets, the poll of a task that got the last bytes does not get the end as
    /// well: the end comes with the next poll, for which the task is woken at once. hyper reads on
    /// after a request to see if the client is gone, and would drop a request that came with the FIN.
    pub(super) fn poll_read(
        &mut self,
        wait: Wait<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let was_short = std::mem::take(&mut self.was_short);
        let later = wait.waker().filter(|_| was_short).cloned();
        let available = ready!(self.poll_fill_buf(wait))?;
        if available.is_empty()
            && let Some(waker) = later
        {
            waker.wake();
            return Poll::Pending;
        }
        let count = available.len().min(out.remaining());
        out.put_slice(&available[..count]);
        self.consume(count);
        self.was_short = out.remaining() > 0 && count > 0;
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_payload(&mut self, wait: Wait<'_>) -> Poll<io::Result<Option<Payload>>> {
        if self.chunk.is_empty() {
            self.poll_chunk(wait)
        } else {
            Poll::Ready(Ok(Some(std::mem::take(&mut self.chunk))))
        }
    }

    fn poll_chunk(&self, wait: Wait<'_>) -> Poll<io::Result<Option<Payload>>> {
        let Handle { host, connection } = &self.handle;
        match ready!(stream::poll_recv(host, connection, wait)) {
            Ok(None) => Poll::Ready(self.handle.check_end().map(|()| None)),
            received => Poll::Ready(received.map_err(|error| host.ending.explain(error))),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if !self.chunk.is_empty() {
            self.handle.with_state(|state| state.tcp.note_unread());
        }
    }
}

/// Checks a time to live as socket options give it.
///
/// # Errors
/// `InvalidInput` unless it is from 1 to 255.
pub(super) fn checked_ttl(ttl: u32) -> io::Result<u8> {
    u8::try_from(ttl)
        .ok()
        .filter(|&ttl| ttl > 0)
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("set_ttl: {ttl} is not a time to live; give a value from 1 to 255"),
            )
        })
}
