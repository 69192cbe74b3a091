//! `axum::serve` on our listener.

use std::io;
use std::net::SocketAddr;

use axum::serve::Listener;

use super::super::tcp_listener::TcpListener;
use super::super::tcp_stream::TcpStream;

/// Feeds `axum::serve`. Every error of [`TcpListener::accept`] is final, since the stack ended; axum knows no final
/// errors, so there is nothing more to accept then. Pass [`Stack::closed`](super::super::Stack::closed) to
/// `with_graceful_shutdown` to end the server with the stack.
impl Listener for TcpListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        match TcpListener::accept(self).await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::info!(%error, "nothing more to accept");
                std::future::pending().await
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpListener::local_addr(self)
    }
}
