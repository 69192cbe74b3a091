//! Discard (RFC 863): throws away everything that it receives.

use netstack::net::{TcpStream, UdpSocket};
use tokio::io::AsyncWriteExt as _;

use super::resume::{Shelf, State};

/// Reads until the peer closes its half, then closes ours.
pub(super) async fn tcp(mut stream: TcpStream, shelf: Shelf) {
    loop {
        match stream.recv_payload().await {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) => return shelf.keep_recalled(&error, stream, State::Discard),
        }
    }
    // It fails only if the connection has failed already.
    let _ = stream.shutdown().await;
}

/// Reads every datagram and answers none.
pub(super) async fn udp(socket: UdpSocket) {
    while socket.recv_payload_from().await.is_ok() {}
}
