//! Idle connections: each has carried data once and stays open.

use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, Result};

use super::tcp::{connect, ping};

/// Opens `count` connections to an echo service. Each echoes one byte, so that its memory is that of a
/// connection in use and not of an unused one.
pub fn open(to: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    (0..count)
        .map(|n| {
            let mut stream = connect(to).with_context(|| format!("connection {n} of {count}"))?;
            ping(&mut stream).with_context(|| format!("connection {n} of {count}"))?;
            Ok(stream)
        })
        .collect()
}
