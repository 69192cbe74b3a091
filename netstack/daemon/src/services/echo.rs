//! Echo (RFC 862): sends back everything that it receives, in the same buffers.

use netstack::net::{TcpStream, UdpSocket};
use tokio::io::AsyncWriteExt as _;

/// Echoes until the peer closes its half, then closes ours. Everything received is queued by then, so
/// the FIN follows the last echoed byte.
pub(super) async fn tcp(mut stream: TcpStream) {
    while let Ok(Some(payload)) = stream.recv_payload().await {
        if stream.send_payload(payload).await.is_err() {
            return;
        }
    }
    // It fails only if the connection has failed already.
    let _ = stream.shutdown().await;
}

/// Echoes each datagram to its sender.
pub(super) async fn udp(socket: UdpSocket) {
    while let Ok((payload, peer)) = socket.recv_payload_from().await {
        if super::may_answer(peer) {
            // UDP may lose datagrams: an answer that cannot be sent is one of them.
            let _ = socket.send_payload_to(payload, peer).await;
        }
    }
}
