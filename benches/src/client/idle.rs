//! Connections that did their work once and then stay open.

use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, Result};

use super::tcp::{connect, ping};

/// Opens `count` connections to an echo service; each has one byte echoed, so that whatever a
/// connection needs once is there (or was given back).
pub fn open(to: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    (0..count)
        .map(|n| {
            let mut stream = connect(to).with_context(|| format!("connection {n} of {count}"))?;
            ping(&mut stream).with_context(|| format!("connection {n} of {count}"))?;
            Ok(stream)
        })
        .collect()
}
