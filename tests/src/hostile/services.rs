//! The services of the stack that is attacked, on both of its addresses.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::channel::oneshot;
use futures::executor::block_on;
use netstack::net::{Stack, TcpListener};
use packet::Payload;
use tools::virtual_stack::VirtualStack;

use super::{Family, bind_udp};

/// The port of the echo service.
pub const ECHO: u16 = 7;
/// The port of the discard service, on TCP; a UDP socket there is never read.
pub const DISCARD: u16 = 9;
/// The port of a service that accepts and never reads.
pub const DEAF: u16 = 11;
/// The port of a service that writes without end.
pub const CHARGEN: u16 = 19;
/// The port of a service that sends memory of its own without end, each time in new memory.
pub const BLOBS: u16 = 20;

/// The port of a service that writes [`FILE_BYTES`] and lets go of the connection.
pub const FILE: u16 = 21;
/// Length of what [`FILE`] writes.
pub const FILE_BYTES: usize = 50_000;

/// Starts the services; the one that never reads lets go of its connections when the result is dropped.
pub(super) fn start(stack: &mut VirtualStack) -> oneshot::Sender<()> {
    let handle = stack.stack().clone();
    serve(&handle, ECHO, |mut stream| async move {
        while let Ok(Some(payload)) = stream.recv_payload().await {
            if stream.send_payload(payload).await.is_err() {
                return;
            }
        }
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
    });
    serve(&handle, DISCARD, |mut stream| async move {
        while let Ok(Some(_)) = stream.recv_payload().await {}
    });
    let (end_deaf, ended) = oneshot::channel::<()>();
    let ended = ended.shared();
    serve(&handle, DEAF, move |stream| {
        let ended = ended.clone();
        async move {
            let _ = ended.await;
            drop(stream);
        }
    });
    serve(&handle, CHARGEN, |mut stream| async move {
        let block = [b'c'; 8_192];
        while tokio::io::AsyncWriteExt::write_all(&mut stream, &block)
            .await
            .is_ok()
        {}
    });
    serve(&handle, BLOBS, |mut stream| async move {
        loop {
            let blob = Bytes::from(vec![b'b'; 50_000]);
            if stream.send_payload(Payload::from(blob)).await.is_err() {
                return;
            }
        }
    });
    serve(&handle, FILE, |mut stream| async move {
        let file = [b'f'; FILE_BYTES];
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &file).await;
    });
    for family in Family::BOTH {
        let echo = bind_udp(&handle, family.ours(), ECHO);
        stack.spawn(async move {
            while let Ok((payload, from)) = echo.recv_payload_from().await {
                let _ = echo.send_payload_to(payload, from).await;
            }
        });
    }
    end_deaf
}

fn serve<F>(
    stack: &Stack,
    port: u16,
    service: impl Fn(netstack::TcpStream) -> F + Send + Sync + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let service = Arc::new(service);
    for family in Family::BOTH {
        let address = (family.ours(), port);
        let listener = block_on(TcpListener::bind(stack, address)).expect("a listener");
        let service = Arc::clone(&service);
        listener
            .serve(move |stream, _| service(stream))
            .expect("a service");
    }
}
