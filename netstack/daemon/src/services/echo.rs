//! Echo (RFC 862): what comes in goes out, in the very buffers it came in.

use netstack::net::{TcpStream, UdpSocket};
use tokio::io::AsyncWriteExt as _;

/// Echoes until the peer closes its half, then closes ours: everything received has been queued by
/// then, so the FIN follows the last echoed byte.
pub(super) async fn tcp(mut stream: TcpStream) {
    while let Ok(Some(payload)) = stream.recv_payload().await {
        if stream.send_payload(payload).await.is_err() {
            return;
        }
    }
    // A connection that failed has nothing left to shut down.
    let _ = stream.shutdown().await;
}

/// Echoes each datagram to its sender.
pub(super) async fn udp(socket: UdpSocket) {
    while let Ok((payload, peer)) = socket.recv_payload_from().await {
        if super::may_answer(peer) {
            // An answer that cannot be sent is a datagram lost: UDP's own promise.
            let _ = socket.send_payload_to(payload, peer).await;
        }
    }
}
