//! The services, which are the same for every stack.

use std::io;

use benches::server::{CHARGEN, DISCARD, ECHO};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Bytes that a service reads or writes in one call.
const CHUNK_BYTES: usize = 64 << 10;

/// The ports on which TCP is served.
pub(crate) const PORTS: [u16; 3] = [DISCARD, CHARGEN, ECHO];

/// Serves one connection to `port` in a task of its own.
pub(crate) fn spawn(port: u16, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    tokio::spawn(async move {
        // The client ends connections as it likes.
        let _ = serve(port, stream).await;
    });
}

/// Serves one connection to `port`.
pub(crate) async fn serve(
    port: u16,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
) -> io::Result<()> {
    let mut chunk = vec![b'x'; CHUNK_BYTES];
    match port {
        DISCARD => while stream.read(&mut chunk).await? > 0 {},
        CHARGEN => loop {
            stream.write_all(&chunk).await?;
        },
        _ => loop {
            let len = stream.read(&mut chunk).await?;
            if len == 0 {
                break;
            }
            stream.write_all(&chunk[..len]).await?;
            stream.flush().await?;
        },
    }
    stream.shutdown().await
}
