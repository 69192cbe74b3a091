//! Daytime (RFC 867): the date and time as a line of text.

use netstack::net::{TcpStream, UdpSocket};
use tokio::io::AsyncWriteExt as _;

use super::Wall;

/// Returns the line in the first form of the RFC: `Tuesday, February 22, 1982 17:37:43-UTC`.
fn line(wall: &Wall) -> String {
    wall.now()
        .format("%A, %B %d, %Y %H:%M:%S-UTC\r\n")
        .to_string()
}

/// Sends one line, then closes.
pub(super) async fn tcp(mut stream: TcpStream, wall: Wall) {
    if stream.write_all(line(&wall).as_bytes()).await.is_ok() {
        // It fails only if the connection has failed already.
        let _ = stream.shutdown().await;
    }
}

/// Answers each datagram with one line.
pub(super) async fn udp(socket: UdpSocket, wall: Wall) {
    while let Ok((_, peer)) = socket.recv_payload_from().await {
        if super::may_answer(peer) {
            // UDP may lose datagrams: an answer that cannot be sent is one of them.
            let _ = socket.send_to(line(&wall).as_bytes(), peer).await;
        }
    }
}
