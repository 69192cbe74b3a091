//! Transfers over an echo service, and the service itself for stacks in memory.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use netstackd::probe::{Moved, noise, now, stream};
use sha2::{Digest as _, Sha256};

/// Echoes everything until the peer closes its half, then closes the other half.
pub async fn echo(mut stream: netstack::net::TcpStream) {
    while let Ok(Some(payload)) = stream.recv_payload().await {
        if stream.send_payload(payload).await.is_err() {
            return;
        }
    }
}

/// Echoes what each client of the kernel's sends, in a thread for each. Returns the address that
/// it listens at, and how many bytes came so far.
///
/// # Panics
///
/// If it cannot listen at `address`.
pub fn echo_counted(address: impl ToSocketAddrs) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind(address).expect("an address to listen at");
    let local = listener.local_addr().expect("it is bound");
    let received = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&received);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let counted = Arc::clone(&counted);
            thread::spawn(move || {
                let (mut stream, mut buffer) = (stream.expect("a client"), vec![0; 128 << 10]);
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    counted.fetch_add(count as u64, Ordering::Relaxed);
                    if stream.write_all(&buffer[..count]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (local, received)
}

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// Sends `total` bytes to an echo service and reads them back at the same time. Returns the hashes of
/// the bytes sent and of the bytes received up to the end of the stream.
///
/// # Errors
///
/// Returns the connection's error, or an error if the stream ends early or late.
pub fn hashed_echo(target: SocketAddr, total: u64) -> Result<(Hash, Hash, Moved), String> {
    let stream = stream::connect(target).map_err(|e| format!("connect to {target}: {e}"))?;
    let started = now();
    let write = || -> Result<Hash, String> {
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
    };
    let read = || -> Result<Hash, String> {
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
    let (sent, received) = stream::both_ways(&stream, write, read)?;
    Ok((
        sent,
        received,
        Moved {
            bytes: total,
            took: now().saturating_sub(started),
        },
    ))
}
