//! Bytes both ways between a connection of the stack and one of the machine.
//!
//! Each direction ends on its own: the end of one side's data becomes the end of the other's. An error of either becomes
//! a reset of the other. A connection at rest holds no buffer.

use std::io;

use netstack::net::TcpStream;
use socket2::SockRef;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream as HostStream;
use tokio::net::tcp::{ReadHalf as HostRead, WriteHalf as HostWrite};

use super::upstream::Connected;

/// Most bytes that are read from the machine at once.
const READ_BYTES: usize = 64 << 10;

/// Carries both directions until both have ended.
pub(crate) async fn relay(mut client: TcpStream, connected: Connected) {
    let Connected { mut stream, early } = connected;
    // Both fail only for values that cannot be.
    let _ = client.set_nodelay(true);
    let done = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = stream.split();
        tokio::try_join!(
            forth(client_read, server_write),
            back(server_read, client_write, &early)
        )
    };
    if done.is_err() {
        let _ = client.set_zero_linger();
        reset(&stream);
    }
}

/// Makes dropping the machine's connection a reset.
pub(crate) fn reset(stream: &HostStream) {
    // It fails only if the socket has no connection any more.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

async fn forth(mut from: netstack::net::ReadHalf<'_>, mut to: HostWrite<'_>) -> io::Result<()> {
    while let Some(payload) = from.recv_payload().await? {
        to.write_all(&payload).await?;
    }
    to.shutdown().await
}

async fn back(
    from: HostRead<'_>,
    mut to: netstack::net::WriteHalf<'_>,
    early: &[u8],
) -> io::Result<()> {
    to.write_all(early).await?;
    loop {
        from.readable().await?;
        let mut buffer = Vec::with_capacity(READ_BYTES);
        match from.try_read_buf(&mut buffer) {
            Ok(0) => return to.shutdown().await,
            Ok(_) => to.write_all(&buffer).await?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
