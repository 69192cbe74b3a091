//! Echo (RFC 862): sends back everything that it receives, in the same buffers.

use netstack::net::{TcpStream, UdpSocket};
use packet::Payload;
use tokio::io::AsyncWriteExt as _;

use super::resume::{Shelf, State};

/// Echoes until the peer closes its half, then closes ours. Everything received is queued by then, so
/// the FIN follows the last echoed byte.
/// `pending` is sent back first.
pub(super) async fn tcp(mut stream: TcpStream, mut pending: Payload, shelf: Shelf) {
    let error = loop {
        if let Err(error) = stream.send_payload_from(&mut pending).await {
            break error;
        }
        match stream.recv_payload().await {
            Ok(Some(payload)) => pending = payload,
            Ok(None) => {
                // It fails only if the connection has failed already.
                let _ = stream.shutdown().await;
                return;
            }
            Err(error) => break error,
        }
    };
    let pending = pending.to_vec();
    shelf.keep_recalled(&error, stream, State::Echo { pending });
}

/// Echoes each datagram to its sender; a burst that the device handed over in one piece goes back in one.
pub(super) async fn udp(socket: UdpSocket) {
    while let Ok(burst) = socket.recv_segments().await {
        if super::may_answer(burst.from) {
            // UDP may lose datagrams: an answer that cannot be sent is one of them.
            let sent = socket.send_payload_segments(burst.payload, burst.segment, None, burst.from);
            let _ = sent.await;
        }
    }
}
