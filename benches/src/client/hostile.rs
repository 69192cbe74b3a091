//! Hostile clients: each sends to an echo service as much as it takes, and never reads.

use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, Result};

use super::tcp::connect;

/// The most that one client sends: more than the buffers of both ends hold at first, and not all of a machine's memory.
const BYTES_MAX: usize = 1 << 20;

/// Opens `count` connections to an echo service, and fills each until it takes no more.
pub fn open(to: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    let text = vec![b'x'; 64 << 10];
    (0..count)
        .map(|n| {
            let what = || format!("hostile client {n} of {count}");
            let mut stream = connect(to).with_context(what)?;
            stream.set_nonblocking(true).with_context(what)?;
            let mut sent = 0;
            while sent < BYTES_MAX {
                match stream.write(&text) {
                    Ok(len) => sent += len,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error).with_context(what),
                }
            }
            Ok(stream)
        })
        .collect()
}
