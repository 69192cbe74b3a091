//! Daytime (RFC 867): the date and time as a line of text.

use chrono::Utc;
use netstack::net::{TcpStream, UdpSocket};
use tokio::io::AsyncWriteExt as _;

/// The form that the RFC suggests first: `Tuesday, February 22, 1982 17:37:43-UTC`.
fn line() -> String {
    Utc::now()
        .format("%A, %B %d, %Y %H:%M:%S-UTC\r\n")
        .to_string()
}

/// One line, then the end.
pub(super) async fn tcp(mut stream: TcpStream) {
    if stream.write_all(line().as_bytes()).await.is_ok() {
        // A connection that failed has nothing left to shut down.
        let _ = stream.shutdown().await;
    }
}

/// One line for each datagram.
pub(super) async fn udp(socket: UdpSocket) {
    while let Ok((_, peer)) = socket.recv_payload_from().await {
        if super::may_answer(peer) {
            // An answer that cannot be sent is a datagram lost: UDP's own promise.
            let _ = socket.send_to(line().as_bytes(), peer).await;
        }
    }
}
