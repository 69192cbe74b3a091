//! Daytime (RFC 867): the date and time as a line of text.

use bytes::Bytes;
use netstack::net::{TcpStream, UdpSocket};
use packet::Payload;
use tokio::io::AsyncWriteExt as _;

use super::Wall;
use super::resume::{Shelf, State};

/// Returns the line in the first form of the RFC: `Tuesday, February 22, 1982 17:37:43-UTC`.
fn line(wall: &Wall) -> String {
    wall.now()
        .format("%A, %B %d, %Y %H:%M:%S-UTC\r\n")
        .to_string()
}

/// Sends one line, or the rest of one, then closes.
pub(super) async fn tcp(mut stream: TcpStream, rest: Option<Vec<u8>>, wall: Wall, shelf: Shelf) {
    let rest = rest.unwrap_or_else(|| line(&wall).into());
    let mut rest = Payload::from(Bytes::from(rest));
    match stream.send_payload_from(&mut rest).await {
        // It fails only if the connection has failed already.
        Ok(()) => drop(stream.shutdown().await),
        Err(error) => {
            let rest = rest.to_vec();
            shelf.keep_recalled(&error, stream, State::Daytime { rest });
        }
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
