//! The application's side of a connection, shared by a stream and its halves.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use packet::Payload;
use tokio::io::ReadBuf;

use super::ready::{Interest, Ready};
use crate::stack::Host;
use crate::stack::foreign::releasable;
use crate::stack::tcp::connection::{Connection, ConnectionState};
use crate::stack::tcp::stream;
use crate::stack::waiters::{Wait, wait};
use crate::tcp::State;

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
        self.poll_write_vectored(wait, &[IoSlice::new(data)])
    }

    pub(super) fn poll_write_vectored(
        &self,
        wait: Wait<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        stream::poll_write(&self.host, &self.connection, wait, pieces)
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

    /// Queues `payload` without a copy; what is queued is taken off its front.
    pub(super) fn send_payload_from<'a>(
        &'a self,
        payload: &'a mut Payload,
    ) -> impl Future<Output = io::Result<()>> + Send + 'a {
        *payload = releasable(std::mem::take(payload));
        std::future::poll_fn(move |cx| {
            stream::poll_write_payload(&self.host, &self.connection, cx.into(), payload)
        })
    }

    pub(super) fn shutdown_write(&self) -> io::Result<()> {
        stream::shutdown_write(&self.host, &self.connection)
    }

    /// Waits until there is room to write, or an error.
    pub(super) async fn writable(&self) -> io::Result<()> {
        let connection = &self.connection;
        wait(
            |wait| stream::poll_writable(connection, wait),
            |ticket| stream::forget_writer(connection, ticket),
        )
        .await;
        self.host.ending.check()
    }

    async fn await_data(&self) {
        let connection = &self.connection;
        wait(
            |wait| stream::poll_readable(connection, wait),
            |ticket| stream::forget_reader(connection, ticket),
        )
        .await;
    }

    /// Waits until the socket is ready for something of `interest`; `buffered`: there is data in hand.
    pub(super) async fn ready(&self, interest: Interest, buffered: bool) -> io::Result<Ready> {
        if !(buffered && interest.contains(Interest::READABLE)) {
            let mut readable = pin!(self.await_data());
            let mut writable = pin!(self.writable());
            std::future::poll_fn(|cx| {
                let reads =
                    interest.contains(Interest::READABLE) && readable.as_mut().poll(cx).is_ready();
                let writes =
                    interest.contains(Interest::WRITABLE) && writable.as_mut().poll(cx).is_ready();
                if reads || writes || interest.is_empty() {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        }
        self.host.ending.check()?;
        Ok(self.readiness(buffered) & of_interest(interest))
    }

    /// Returns what the connection is ready for.
    fn readiness(&self, buffered: bool) -> Ready {
        self.with_state(|state| {
            let tcp = &state.tcp;
            let closed = tcp.state() == State::Closed;
            let mut ready = Ready::empty();
            let has_error = tcp.error().is_some();
            let at_end = tcp.is_recv_finished() || closed;
            let may_write = tcp.may_send();
            ready.set(
                Ready::READABLE,
                buffered || tcp.recv_len() > 0 || at_end || has_error,
            );
            ready.set(Ready::READ_CLOSED, at_end);
            ready.set(Ready::WRITABLE, state.has_room() || has_error);
            ready.set(Ready::WRITE_CLOSED, !may_write);
            ready.set(Ready::ERROR, has_error);
            ready
        })
    }

    /// Takes the error that the connection ended in, so that it is reported once.
    pub(super) fn take_error(&self) -> Option<io::Error> {
        self.with_state(|state| state.tcp.take_error())
            .map(stream::io_error)
    }
}

/// Returns the marks that concern a program with this interest.
fn of_interest(interest: Interest) -> Ready {
    let mut ready = Ready::ERROR;
    ready.set(
        Ready::READABLE | Ready::READ_CLOSED,
        interest.contains(Interest::READABLE),
    );
    ready.set(
        Ready::WRITABLE | Ready::WRITE_CLOSED,
        interest.contains(Interest::WRITABLE),
    );
    ready
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.connection.drop_handle() {
            stream::release(&self.host, &self.connection);
        }
    }
}

/// The chunk of the stream that was taken and is not consumed yet.
///
/// Calls with a shared reference take bytes of it, too: they claim them by moving `taken`. Only a call with an
/// exclusive reference replaces the chunk.
#[derive(Default)]
pub(super) struct Input {
    chunk: Payload,
    taken: AtomicUsize,
    /// The last read filled less than the buffer that it was given.
    was_short: bool,
}

impl Input {
    /// Returns the data in hand.
    pub(super) fn buffered(&self) -> &[u8] {
        let taken = self.taken.load(Ordering::Acquire);
        self.chunk.get(taken..).unwrap_or(&[])
    }

    /// Copies data in hand to `out` and takes it; returns how much.
    fn claim(&self, out: &mut [u8]) -> usize {
        let len = self.chunk.len();
        let claimed = self
            .taken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| {
                (taken < len).then_some(len.min(taken.saturating_add(out.len())))
            });
        let Ok(start) = claimed else {
            return 0;
        };
        let count = out.len().min(len - start);
        out[..count].copy_from_slice(&self.chunk[start..start + count]);
        count
    }

    fn put(&mut self, chunk: Payload) {
        self.chunk = chunk;
        *self.taken.get_mut() = 0;
    }

    /// Gives the chunk's memory back. A call with a shared reference may have taken the last bytes, but cannot do this.
    fn release(&mut self) {
        self.put(Payload::default());
    }

    /// Takes what is left of the chunk.
    fn take_chunk(&mut self) -> Payload {
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.advance(std::mem::take(self.taken.get_mut()));
        chunk
    }

    pub(super) fn consume(&mut self, amount: usize) {
        let taken = self.taken.get_mut();
        *taken = taken.saturating_add(amount);
        if *taken >= self.chunk.len() {
            // The slab goes back now, not at the next read.
            self.release();
        }
    }

    pub(super) fn poll_fill_buf(
        &mut self,
        handle: &Handle,
        wait: Wait<'_>,
    ) -> Poll<io::Result<&[u8]>> {
        if self.buffered().is_empty() {
            self.release();
            if let Some(chunk) = ready!(poll_chunk(handle, wait))? {
                self.put(chunk);
            }
        }
        Poll::Ready(Ok(self.buffered()))
    }

    /// Reads the bytes that come next; none at the end of the stream.
    ///
    /// As with tokio's sockets, the poll of a task that got the last bytes does not get the end as
    /// well: the end comes with the next poll, for which the task is woken at once. hyper reads on
    /// after a request to see if the client is gone, and would drop a request that came with the FIN.
    pub(super) fn poll_read(
        &mut self,
        handle: &Handle,
        wait: Wait<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let was_short = std::mem::take(&mut self.was_short);
        let later = wait.waker().filter(|_| was_short).cloned();
        let available = ready!(self.poll_fill_buf(handle, wait))?;
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

    pub(super) fn poll_payload(
        &mut self,
        handle: &Handle,
        wait: Wait<'_>,
    ) -> Poll<io::Result<Option<Payload>>> {
        if self.buffered().is_empty() {
            self.release();
            poll_chunk(handle, wait)
        } else {
            Poll::Ready(Ok(Some(self.take_chunk())))
        }
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is; the error that the connection ended in.
    pub(super) fn try_read(&self, handle: &Handle, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let count = self.claim(out);
        if count > 0 {
            return Ok(count);
        }
        match stream::try_read(&handle.host, &handle.connection, out) {
            Ok(0) => handle.check_end().map(|()| 0),
            read => read.map_err(|error| handle.host.ending.explain(error)),
        }
    }

    /// [`Input::try_read`] into several buffers, one after the other.
    pub(super) fn try_read_vectored(
        &self,
        handle: &Handle,
        outs: &mut [IoSliceMut<'_>],
    ) -> io::Result<usize> {
        let mut total = 0;
        for out in outs.iter_mut().filter(|out| !out.is_empty()) {
            match self.try_read(handle, out) {
                Ok(count) => {
                    total += count;
                    if count < out.len() {
                        break;
                    }
                }
                // What was read is reported first.
                Err(_) if total > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(total)
    }

    /// Waits until there is something to read, the end of the stream, or an error.
    pub(super) async fn readable(&self, handle: &Handle) -> io::Result<()> {
        if self.buffered().is_empty() {
            handle.await_data().await;
        }
        handle.host.ending.check()
    }

    /// Copies the data that comes next without taking it; 0 at the end of the stream.
    pub(super) async fn peek(&self, handle: &Handle, out: &mut [u8]) -> io::Result<usize> {
        if let Some(count) = self.peek_buffered(out) {
            return Ok(count);
        }
        let connection = &handle.connection;
        let peeked = wait(
            |wait| stream::poll_peek(connection, wait, out),
            |ticket| stream::forget_reader(connection, ticket),
        )
        .await;
        peeked_result(handle, peeked, out.is_empty())
    }

    /// [`Input::peek`] for hand-written futures.
    pub(super) fn poll_peek(
        &self,
        handle: &Handle,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let room = out.initialize_unfilled();
        let is_empty = room.is_empty();
        let peeked = match self.peek_buffered(room) {
            Some(count) => Ok(count),
            None => ready!(stream::poll_peek(&handle.connection, cx.into(), room)),
        };
        let count = peeked_result(handle, peeked, is_empty)?;
        out.advance(count);
        Poll::Ready(Ok(count))
    }

    fn peek_buffered(&self, out: &mut [u8]) -> Option<usize> {
        let buffered = self.buffered();
        let count = buffered.len().min(out.len());
        out[..count].copy_from_slice(&buffered[..count]);
        (!buffered.is_empty()).then_some(count)
    }
}

fn peeked_result(
    handle: &Handle,
    peeked: io::Result<usize>,
    wanted_nothing: bool,
) -> io::Result<usize> {
    match peeked {
        Ok(0) if !wanted_nothing => handle.check_end().map(|()| 0),
        peeked => peeked.map_err(|error| handle.host.ending.explain(error)),
    }
}

fn poll_chunk(handle: &Handle, wait: Wait<'_>) -> Poll<io::Result<Option<Payload>>> {
    let Handle { host, connection } = handle;
    match ready!(stream::poll_recv(host, connection, wait)) {
        Ok(None) => Poll::Ready(handle.check_end().map(|()| None)),
        received => Poll::Ready(received.map_err(|error| host.ending.explain(error))),
    }
}

/// A share that reads. Dropping it with data in hand makes closing a reset, since that data was never read.
pub(super) struct Reader {
    pub(super) handle: Handle,
    pub(super) input: Input,
}

impl Reader {
    pub(super) fn new(handle: Handle) -> Self {
        Self {
            handle,
            input: Input::default(),
        }
    }

    /// Moves the reading side, with the data in hand, to a share of its own.
    pub(super) fn take(&mut self) -> Self {
        Self {
            handle: self.handle.share(),
            input: std::mem::take(&mut self.input),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if !self.input.buffered().is_empty() {
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
