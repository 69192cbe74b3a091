//! What an application does with a TCP connection: open, read, write, close.
//!
//! Each call takes the connection's lock once, changes the pure state, and tells the owning worker if
//! that may have something to send. Copies of application data are made outside the lock where the
//! state allows it: reading takes a whole chunk out and copies afterwards.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use packet::Payload;

use crate::stack::host::{Shared, locked};
use crate::stack::tcp::connection::{Conn, ConnCell, Retired, register};
use crate::stack::tcp::table::InsertError;
use crate::tcp::{State, Tcp, TcpError, Unreachable};

/// The I/O error that an application sees for a connection's end.
pub(crate) fn io_error(error: TcpError) -> io::Error {
    let kind = match error {
        TcpError::Refused => io::ErrorKind::ConnectionRefused,
        TcpError::Reset => io::ErrorKind::ConnectionReset,
        TcpError::TimedOut => io::ErrorKind::TimedOut,
        TcpError::Aborted => io::ErrorKind::ConnectionAborted,
        TcpError::Unreachable(Unreachable::Port) => io::ErrorKind::ConnectionRefused,
        TcpError::Unreachable(Unreachable::Network) => io::ErrorKind::NetworkUnreachable,
        TcpError::Unreachable(_) => io::ErrorKind::HostUnreachable,
    };
    io::Error::new(kind, error)
}

impl Shared {
    /// Starts an active open; the SYN leaves with the owner's next turn.
    pub(crate) fn tcp_connect(
        &self,
        local: Option<SocketAddr>,
        remote: SocketAddr,
    ) -> io::Result<Arc<ConnCell>> {
        locked(|key| {
            let local = self.choose_local(key, local, remote)?;
            let owner = self.choose_owner(&local, &remote);
            let mut last = None;
            for _ in 0..8 {
                let flow = match local.port() {
                    0 => self.choose_port(key, local.ip(), remote)?,
                    _ => crate::demux::FlowKey::new(local, remote),
                };
                let open = self.open_parameters(key, &flow);
                let tcp = Tcp::connect(&self.tcp_config, open, self.now());
                let cell = ConnCell::new(flow, owner, tcp, None, self.config.ttl);
                match self.flows.insert(&mut key.ctx(), Arc::clone(&cell)) {
                    Ok(()) => {
                        cell.schedule(&self.workers[usize::from(owner)].mailbox);
                        return Ok(cell);
                    }
                    Err(error) => last = Some(error),
                }
                if local.port() != 0 {
                    break;
                }
            }
            Err(match last {
                Some(InsertError::Full) => io::Error::new(
                    io::ErrorKind::OutOfMemory,
                    "connect: max_connections reached; raise it in the configuration",
                ),
                _ => io::Error::new(
                    io::ErrorKind::AddrInUse,
                    format!("connect: {local} to {remote} is in use by another connection"),
                ),
            })
        })
    }

    /// Ready once the handshake succeeded or failed.
    pub(crate) fn tcp_poll_connect(
        &self,
        cell: &Arc<ConnCell>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_conn(cell, |conn, retired| {
            if let Some(error) = conn.tcp.take_error() {
                return Poll::Ready(Err(io_error(error)));
            }
            match conn.tcp.state() {
                State::SynSent | State::SynReceived => {
                    register(&mut conn.writer, cx.waker(), retired);
                    Poll::Pending
                }
                State::Closed => Poll::Ready(Err(io_error(TcpError::Aborted))),
                _ => Poll::Ready(Ok(())),
            }
        })
    }

    /// The next chunk of the stream; `None` at its end.
    pub(crate) fn tcp_poll_recv(
        &self,
        cell: &Arc<ConnCell>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Payload>>> {
        let now = self.now();
        let mut drive = false;
        let poll = self.poll_conn(cell, |conn, retired| {
            if let Some(chunk) = conn.tcp.recv_pop(now) {
                drive = conn.tcp.wants_transmit();
                return Poll::Ready(Ok(Some(chunk)));
            }
            if conn.tcp.is_recv_finished() {
                return Poll::Ready(Ok(None));
            }
            if let Some(error) = conn.tcp.take_error() {
                return Poll::Ready(Err(io_error(error)));
            }
            if conn.tcp.state() == State::Closed {
                return Poll::Ready(Ok(None));
            }
            register(&mut conn.reader, cx.waker(), retired);
            Poll::Pending
        });
        if drive {
            self.schedule(cell);
        }
        poll
    }

    /// Copies up to `out.len()` bytes of the stream without taking them.
    pub(crate) fn tcp_poll_peek(
        &self,
        cell: &Arc<ConnCell>,
        cx: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_conn(cell, |conn, retired| {
            let chunk = conn.tcp.recv_chunk();
            if !chunk.is_empty() {
                let count = chunk.len().min(out.len());
                out[..count].copy_from_slice(&chunk[..count]);
                return Poll::Ready(Ok(count));
            }
            if conn.tcp.is_recv_finished() || conn.tcp.state() == State::Closed {
                return Poll::Ready(Ok(0));
            }
            register(&mut conn.reader, cx.waker(), retired);
            Poll::Pending
        })
    }

    /// Queues a prefix of `data`; returns how many bytes were taken.
    pub(crate) fn tcp_poll_write(
        &self,
        cell: &Arc<ConnCell>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let poll = self.poll_conn(cell, |conn, retired| {
            if let Some(error) = write_error(conn) {
                return Poll::Ready(Err(error));
            }
            let taken = conn.tcp.send(data, &self.buffers);
            if taken == 0 {
                conn.wait_for_room(cx, retired);
                return Poll::Pending;
            }
            Poll::Ready(Ok(taken))
        });
        if matches!(poll, Poll::Ready(Ok(_))) {
            self.schedule(cell);
        }
        poll
    }

    /// Queues `payload` without a copy. Takes it out of the option when it was queued.
    pub(crate) fn tcp_poll_write_payload(
        &self,
        cell: &Arc<ConnCell>,
        cx: &mut Context<'_>,
        payload: &mut Payload,
    ) -> Poll<io::Result<()>> {
        let mut queued = false;
        let poll = self.poll_conn(cell, |conn, retired| {
            while !payload.is_empty() {
                if let Some(error) = write_error(conn) {
                    return Poll::Ready(Err(error));
                }
                let room = conn.tcp.send_room();
                if room == 0 {
                    conn.wait_for_room(cx, retired);
                    return Poll::Pending;
                }
                let whole = payload.clone();
                let part = payload.split_to(room);
                if conn.tcp.send_payload(part).is_err() {
                    // Nothing is lost: it waits for the next call.
                    *payload = whole;
                    conn.wait_for_room(cx, retired);
                    return Poll::Pending;
                }
                queued = true;
            }
            Poll::Ready(Ok(()))
        });
        if queued {
            self.schedule(cell);
        }
        poll
    }

    /// Ready when there is something to read, the end, or an error.
    pub(crate) fn tcp_poll_readable(&self, cell: &Arc<ConnCell>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_conn(cell, |conn, retired| {
            if conn.tcp.recv_len() > 0
                || conn.tcp.is_recv_finished()
                || conn.tcp.error().is_some()
                || conn.tcp.state() == State::Closed
            {
                return Poll::Ready(());
            }
            register(&mut conn.reader, cx.waker(), retired);
            Poll::Pending
        })
    }

    /// Ready when there is room to write, or an error.
    pub(crate) fn tcp_poll_writable(&self, cell: &Arc<ConnCell>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_conn(cell, |conn, retired| {
            if conn.tcp.send_room() > 0
                || conn.tcp.error().is_some()
                || conn.tcp.state() == State::Closed
            {
                return Poll::Ready(());
            }
            conn.wait_for_room(cx, retired);
            Poll::Pending
        })
    }

    /// Sends FIN after what is queued.
    pub(crate) fn tcp_shutdown_write(&self, cell: &Arc<ConnCell>) -> io::Result<()> {
        let now = self.now();
        self.on_conn(cell, |conn| conn.tcp.close(now));
        self.schedule(cell);
        Ok(())
    }

    /// The application lets go of the connection. What it did not read makes this a reset, as the
    /// kernel does (RFC 2525 section 2.17); otherwise the stack finishes the close by itself.
    pub(crate) fn tcp_release(&self, cell: &Arc<ConnCell>) {
        let now = self.now();
        self.poll_conn(cell, |conn, retired| {
            retired.take(&mut conn.reader);
            retired.take(&mut conn.writer);
            if cell.reset_on_close() || conn.tcp.recv_len() > 0 {
                conn.tcp.abort(now);
            } else {
                conn.tcp.close(now);
                conn.tcp.close_recv(now);
            }
        });
        self.schedule(cell);
    }

    /// Runs `f` on the connection's state; what it retires is dropped when nothing is locked.
    fn poll_conn<R>(&self, cell: &ConnCell, f: impl FnOnce(&mut Conn, &mut Retired) -> R) -> R {
        let mut retired = Retired::default();
        self.on_conn(cell, |conn| f(conn, &mut retired))
    }

    /// Runs `f` on the connection's state.
    pub(crate) fn on_conn<R>(&self, cell: &ConnCell, f: impl FnOnce(&mut Conn) -> R) -> R {
        locked(|key| cell.state.with(&mut key.ctx(), |conn, _| f(conn)))
    }

    /// Tells the owner of the connection that there may be something to do.
    pub(crate) fn schedule(&self, cell: &Arc<ConnCell>) {
        cell.schedule(&self.workers[usize::from(cell.owner)].mailbox);
    }
}

/// Why the application may not write.
fn write_error(conn: &mut Conn) -> Option<io::Error> {
    if let Some(error) = conn.tcp.take_error() {
        return Some(io_error(error));
    }
    if !matches!(conn.tcp.state(), State::Established | State::CloseWait) {
        return Some(io::Error::new(
            io::ErrorKind::BrokenPipe,
            "write: this side of the connection is closed",
        ));
    }
    None
}
