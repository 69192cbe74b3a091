//! Character generator (RFC 864): an endless pattern, sent from one shared buffer without a copy.

use futures::future::{Either, select};
use netstack::base::Rng;
use netstack::net::{Stack, TcpStream, UdpSocket};
use packet::Payload;
use std::io;
use std::pin::pin;

use super::resume::{Shelf, State};

/// Characters of a line, without its end.
const LINE_CHARS: usize = 72;
/// Printable ASCII characters, the space among them.
const PRINTABLE: usize = 95;
/// The pattern repeats after this many bytes.
const PERIOD_BYTES: usize = PRINTABLE * (LINE_CHARS + 2);
/// Bytes sent at once: as many as two offloaded segments can carry.
const PIECE_BYTES: usize = 128 << 10;
/// Most characters of a datagram.
const MAX_DATAGRAM_CHARS: u32 = 512;

/// A stretch of the pattern, long enough to cut a whole piece at any position of the period.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Payload);

impl Pattern {
    /// Makes the pattern in memory of the stack.
    ///
    /// # Errors
    /// The stack has no memory for it.
    pub(super) fn new(stack: &Stack) -> io::Result<Self> {
        Ok(Self(stack.payload(&bytes())?))
    }

    fn piece(&self, position: usize, len: usize) -> Payload {
        let start = position % PERIOD_BYTES;
        self.0.slice(start..start + len)
    }
}

fn bytes() -> Vec<u8> {
    (0..PERIOD_BYTES + PIECE_BYTES).map(byte_at).collect()
}

fn byte_at(position: usize) -> u8 {
    let line = position / (LINE_CHARS + 2);
    match position % (LINE_CHARS + 2) {
        LINE_CHARS => b'\r',
        column if column > LINE_CHARS => b'\n',
        column => b' ' + ((line + column) % PRINTABLE) as u8,
    }
}

/// Sends from `position` on until the peer is gone, and throws away what the peer sends.
pub(super) async fn tcp(
    mut stream: TcpStream,
    pattern: Pattern,
    mut position: usize,
    shelf: Shelf,
) {
    let error = {
        let (mut incoming, mut outgoing) = stream.split();
        let position = &mut position;
        let generate = pin!(async move {
            loop {
                let mut piece = pattern.piece(*position, PIECE_BYTES);
                let sent = outgoing.send_payload_from(&mut piece).await;
                *position = (*position + PIECE_BYTES - piece.len()) % PERIOD_BYTES;
                if let Err(error) = sent {
                    break error;
                }
            }
        });
        let discard = pin!(async { while let Ok(Some(_)) = incoming.recv_payload().await {} });
        // A peer that has closed only its half still receives characters.
        match select(generate, discard).await {
            Either::Left((error, _)) => error,
            Either::Right(((), generate)) => generate.await,
        }
    };
    // Less than the period.
    let position = position as u32;
    shelf.keep_recalled(&error, stream, State::Chargen { position });
}

/// Answers each datagram with a random number of characters, up to 512.
pub(super) async fn udp(socket: UdpSocket, pattern: Pattern, mut rng: Rng) {
    while let Ok((_, peer)) = socket.recv_payload_from().await {
        if super::may_answer(peer) {
            let len = rng.below(MAX_DATAGRAM_CHARS + 1) as usize;
            // UDP may lose datagrams: an answer that cannot be sent is one of them.
            let _ = socket.send_payload_to(pattern.piece(0, len), peer).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_continue_one_another() {
        let pattern = Pattern(Payload::from(bytes::Bytes::from(bytes())));
        let mut position = 0;
        for _ in 0..200 {
            let piece = pattern.piece(position, PIECE_BYTES);
            assert_eq!(piece.len(), PIECE_BYTES);
            assert_eq!(piece[0], byte_at(position));
            assert_eq!(piece[PIECE_BYTES - 1], byte_at(position + PIECE_BYTES - 1));
            position = (position + PIECE_BYTES) % PERIOD_BYTES;
        }
    }
}
