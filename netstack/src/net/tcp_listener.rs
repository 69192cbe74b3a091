//! A TCP socket that listens.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::stack::Stack;
use super::tcp_stream::TcpStream;
use crate::stack::host::Shared;
use crate::stack::local::TaskFuture;
use crate::stack::tcp::listener::Listener;

/// Accepts TCP connections, as `tokio::net::TcpListener` does. Dropping it closes the port; what was
/// not accepted is reset.
pub struct TcpListener {
    shared: Arc<Shared>,
    listener: Arc<Listener>,
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpListener({})", self.listener.local)
    }
}

impl TcpListener {
    /// Listens on `address`: one of the stack's, or unspecified for all of that family; port 0 picks
    /// one. Fails with `AddrInUse` or `AddrNotAvailable`.
    pub async fn bind(stack: &Stack, address: SocketAddr) -> io::Result<Self> {
        Self::bind_now(stack, address)
    }

    /// [`TcpListener::bind`] without the `async`: nothing is waited for.
    pub fn bind_now(stack: &Stack, address: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            listener: stack.shared.tcp_listen(address)?,
            shared: Arc::clone(&stack.shared),
        })
    }

    /// The next established connection and its peer.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// [`TcpListener::accept`] for hand-written futures. Every task that waits is woken.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        self.shared
            .tcp_poll_accept(&self.listener, cx)
            .map_ok(|cell| {
                let stream = TcpStream::from_cell(Arc::clone(&self.shared), cell);
                let peer = stream.remote();
                (stream, peer)
            })
    }

    /// Runs `handler` for each connection on the worker that owns it: no thread is handed anything,
    /// and what the handler writes leaves in the turn that received what it read. The handler must
    /// not block. Consumes the listener: it serves until the stack ends.
    pub fn serve<H, F>(self, handler: H) -> io::Result<()>
    where
        H: Fn(TcpStream, SocketAddr) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        // The listener is in the stack's tables: a strong reference back would be a cycle.
        let shared = Arc::downgrade(&self.shared);
        let service = Box::new(move |cell| {
            let handled = shared.upgrade().map(|shared| {
                let stream = TcpStream::from_cell(shared, cell);
                let peer = stream.remote();
                handler(stream, peer)
            });
            Box::pin(async move {
                if let Some(handled) = handled {
                    handled.await;
                }
            }) as TaskFuture
        });
        self.shared.tcp_serve(&self.listener, service)
    }

    /// The address that it listens on.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.listener.local)
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        if !self.listener.has_service() {
            self.shared.tcp_unlisten(&self.listener);
        }
    }
}
