//! A stream whose bytes both ends know: each can check each byte that it gets, in pieces of any length.

use std::io;
use std::time::Duration;

use netstack::base::Rng;
use netstack::net::time::Time;
use netstack::net::{OwnedReadHalf, OwnedWriteHalf, TcpStream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Length of the description of an exchange that opens a connection, in bytes.
const HEADER_BYTES: usize = 28;

/// The use of a connection by a client and a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exchange {
    /// The seed of the bytes.
    pub(super) seed: u64,
    /// Bytes from the client in each round.
    pub(super) up: u64,
    /// Bytes from the service in each round.
    pub(super) down: u64,
    /// Rounds. In a single round both directions are busy at once; with more of them, the service answers when it has
    /// got everything of a round.
    pub(super) rounds: u32,
}

/// The reason why a stream is not what it should be.
#[derive(Debug)]
pub(super) enum StreamError {
    /// The connection ended with an error, as the socket reports it.
    Ended(io::Error),
    /// The stream has other bytes than were sent, or ends early without an error.
    Wrong(String),
}

impl From<io::Error> for StreamError {
    fn from(error: io::Error) -> Self {
        Self::Ended(error)
    }
}

impl Exchange {
    pub(super) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let fields = [self.seed, self.up, self.down];
        for (to, from) in bytes.chunks_exact_mut(8).zip(fields) {
            to.copy_from_slice(&from.to_be_bytes());
        }
        bytes[24..].copy_from_slice(&self.rounds.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Self {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_be_bytes(word)
        };
        let rounds = [bytes[24], bytes[25], bytes[26], bytes[27]];
        Self {
            seed: word(0),
            up: word(8),
            down: word(16),
            rounds: u32::from_be_bytes(rounds),
        }
    }
}

/// Writes the bytes of a stream from `offset` on.
pub(super) fn fill(seed: u64, offset: u64, out: &mut [u8]) {
    for (at, byte) in (offset..).zip(out) {
        // The finaliser of SplitMix64, over the number of the word.
        let mut word = seed.wrapping_add((at / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word ^= word >> 27;
        *byte = (word >> (8 * (at % 8))) as u8;
    }
}

/// Writes `len` bytes of a stream in pieces of random length.
async fn write(
    half: &mut OwnedWriteHalf,
    seed: u64,
    (offset, len): (u64, u64),
    rng: &mut Rng,
) -> Result<(), StreamError> {
    let mut buffer = vec![0; 32 << 10];
    let mut at = 0;
    while at < len {
        let most = 1_u32 << (1 + rng.below(15));
        let count = u64::from(1 + rng.below(most)).min(len - at) as usize;
        fill(seed, offset + at, &mut buffer[..count]);
        half.write_all(&buffer[..count]).await?;
        at += count as u64;
    }
    Ok(())
}

/// Reads `len` bytes of a stream and compares each.
async fn read(
    half: &mut OwnedReadHalf,
    seed: u64,
    (offset, len): (u64, u64),
    rng: &mut Rng,
) -> Result<(), StreamError> {
    let (mut buffer, mut expected) = (vec![0; 32 << 10], vec![0; 32 << 10]);
    let mut at = 0;
    while at < len {
        let most = ((1 + rng.below(32 << 10)) as u64).min(len - at) as usize;
        let count = half.read(&mut buffer[..most]).await?;
        if count == 0 {
            let what = format!(
                "the stream ends at {} of {} bytes",
                offset + at,
                offset + len
            );
            return Err(StreamError::Wrong(what));
        }
        fill(seed, offset + at, &mut expected[..count]);
        if buffer[..count] != expected[..count] {
            let what = format!("other bytes than were sent, from {} on", offset + at);
            return Err(StreamError::Wrong(what));
        }
        at += count as u64;
    }
    Ok(())
}

async fn read_end(half: &mut OwnedReadHalf) -> Result<(), StreamError> {
    match half.read(&mut [0; 16]).await? {
        0 => Ok(()),
        count => Err(StreamError::Wrong(format!(
            "{count} bytes more than were sent"
        ))),
    }
}

/// Limits how long a connection without news lives, so that each run ends.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_keepalive(Some(Duration::from_secs(120)))?;
    stream.set_keepalive_interval(Duration::from_secs(20))?;
    stream.set_keepalive_count(9)
}

/// Does the client's part of an exchange, with `pause` before each round but the first.
pub(super) async fn ask(
    stream: TcpStream,
    exchange: Exchange,
    pause: Option<(Time, Duration)>,
) -> Result<(), StreamError> {
    prepare(&stream)?;
    let (mut reader, mut writer) = stream.into_split();
    let (mut rng, mut other) = (Rng::from_u64(exchange.seed), Rng::from_u64(!exchange.seed));
    writer.write_all(&exchange.to_bytes()).await?;
    let (up, down) = (exchange.up, exchange.down);
    for round in 0..u64::from(exchange.rounds) {
        if let Some((time, length)) = pause.as_ref().filter(|_| round > 0) {
            time.sleep(*length).await?;
        }
        let write = write(&mut writer, exchange.seed, (round * up, up), &mut rng);
        let read = read(
            &mut reader,
            !exchange.seed,
            (round * down, down),
            &mut other,
        );
        futures::try_join!(write, read)?;
    }
    writer.shutdown().await?;
    read_end(&mut reader).await
}

/// Does the service's part of whatever exchange the client asks for.
pub(super) async fn serve(stream: TcpStream) -> Result<(), StreamError> {
    prepare(&stream)?;
    let (mut reader, mut writer) = stream.into_split();
    let mut header = [0; HEADER_BYTES];
    let mut at = 0;
    while at < HEADER_BYTES {
        match reader.read(&mut header[at..]).await? {
            // The client gave up before it asked.
            0 if at == 0 => return Ok(()),
            0 => return Err(StreamError::Wrong(format!("{at} bytes of a header"))),
            count => at += count,
        }
    }
    let exchange = Exchange::from_bytes(&header);
    let (mut rng, mut other) = (Rng::from_u64(exchange.seed), Rng::from_u64(!exchange.seed));
    let (up, down) = (exchange.up, exchange.down);
    for round in 0..u64::from(exchange.rounds) {
        let read = read(&mut reader, exchange.seed, (round * up, up), &mut rng);
        let write = write(
            &mut writer,
            !exchange.seed,
            (round * down, down),
            &mut other,
        );
        if exchange.rounds == 1 {
            futures::try_join!(read, write)?;
        } else {
            read.await?;
            write.await?;
        }
    }
    read_end(&mut reader).await?;
    writer.shutdown().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_the_same_bytes_in_pieces_of_any_length() {
        let mut whole = [0; 300];
        fill(7, 5, &mut whole);
        for cut in [0, 1, 8, 13, 299] {
            let (mut front, mut back) = (vec![0; cut], vec![0; 300 - cut]);
            fill(7, 5, &mut front);
            fill(7, 5 + cut as u64, &mut back);
            assert_eq!([front, back].concat(), whole);
        }
        let mut other = [0; 300];
        fill(8, 5, &mut other);
        assert_ne!(whole, other);
    }

    #[test]
    fn an_exchange_survives_its_header() {
        let exchange = Exchange {
            seed: u64::MAX - 3,
            up: 1 << 40,
            down: 2,
            rounds: 77,
        };
        assert_eq!(Exchange::from_bytes(&exchange.to_bytes()), exchange);
    }
}
