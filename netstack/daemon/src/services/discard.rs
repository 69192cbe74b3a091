//! Discard (RFC 863): throws away everything that it receives.

use netstack::net::{TcpStream, UdpSocket};
use tokio::io::AsyncWriteExt as _;

/// Reads until the peer closes its half, then closes ours.
pub(super) async fn tcp(mut stream: TcpStream) {
    while let Ok(Some(_)) = stream.recv_payload().await {}
    // It fails only if the connection has failed already.
    let _ = stream.shutdown().await;
}

/// Reads every datagram and answers none.
pub(super) async fn udp(socket: UdpSocket) {
    while socket.recv_payload_from().await.is_ok() {}
}
