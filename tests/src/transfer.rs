//! Streams with a hash at each end.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::thread;

use netstackd::probe::{Moved, noise, now, stream};
use sha2::{Digest as _, Sha256};

/// A SHA-256.
pub type Hash = [u8; 32];

/// Sends `total` bytes to an echo service while another thread reads them back; returns the hashes
/// of what was sent and of what was received up to the end of the stream.
///
/// # Errors
///
/// What the connection failed with, or that it ended early or late.
pub fn hashed_echo(target: SocketAddr, total: u64) -> Result<(Hash, Hash, Moved), String> {
    let stream = stream::connect(target).map_err(|e| format!("connect to {target}: {e}"))?;
    let started = now();
    let (sent, received) = thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<Hash, String> {
            let failed = |e: std::io::Error| format!("write to {target}: {e}");
            let mut hash = Sha256::new();
            let mut block = noise(u64::from(target.port()), 128 << 10);
            let mut sent = 0;
            while sent < total {
                // No two blocks alike: a block lost or repeated changes the hash.
                block[..8].copy_from_slice(&sent.to_le_bytes());
                let len = block
                    .len()
                    .min(usize::try_from(total - sent).unwrap_or(usize::MAX));
                (&stream).write_all(&block[..len]).map_err(failed)?;
                hash.update(&block[..len]);
                sent += len as u64;
            }
            stream.shutdown(Shutdown::Write).map_err(failed)?;
            Ok(hash.finalize().into())
        });
        let reader = || -> Result<Hash, String> {
            let mut hash = Sha256::new();
            let mut buffer = vec![0; 256 << 10];
            let mut received = 0;
            loop {
                let got = (&stream).read(&mut buffer).map_err(|e| {
                    format!("read from {target} after {received} of {total} bytes: {e}")
                })?;
                if got == 0 {
                    break;
                }
                hash.update(&buffer[..got]);
                received += got as u64;
            }
            if received == total {
                Ok(hash.finalize().into())
            } else {
                Err(format!("{target} echoed {received} of {total} bytes"))
            }
        };
        let received = reader();
        if received.is_err() {
            // Frees the writer, which may wait for room; it may be gone already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        let sent = writer
            .join()
            .unwrap_or_else(|_| Err("the writer panicked".to_owned()));
        received.and_then(|received| sent.map(|sent| (sent, received)))
    })?;
    Ok((
        sent,
        received,
        Moved {
            bytes: total,
            took: now().saturating_sub(started),
        },
    ))
}
