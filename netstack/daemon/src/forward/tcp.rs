//! Connections from one side to the other.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use netstack::net::{Stack, Syn, SynListener, TcpSocket, TcpStream};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket as HostSocket, TcpStream as HostStream};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::spec::Forward;
use crate::proxy::relay::{relay, reset};
use crate::proxy::upstream::{Connected, Refusal};

/// Time that a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause when this machine has no descriptors for another connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections of this machine, and connects in the stack's network.
pub(super) fn publish(
    runtime: &Handle,
    stack: &Stack,
    (forward, listener): (Forward, std::net::TcpListener),
    places: Arc<Semaphore>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let _inside = runtime.enter();
    let listener = TcpListener::from_std(listener)?;
    let stack = stack.clone();
    runtime.spawn(async move {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, client)) => {
                    let stack = stack.clone();
                    tokio::spawn(async move {
                        inwards(&stack, forward, stream, client).await;
                        drop(place);
                    });
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    });
    Ok(())
}

async fn inwards(stack: &Stack, forward: Forward, stream: HostStream, client: SocketAddr) {
    // What the client sends at once is to go on at once. It fails if the connection is at its end already.
    let _ = stream.set_nodelay(true);
    let connect = async {
        // Nothing with a loopback address leaves a stack.
        if forward.keep_client && !client.ip().is_loopback() {
            let socket = match client {
                SocketAddr::V4(_) => TcpSocket::new_v4(stack),
                SocketAddr::V6(_) => TcpSocket::new_v6(stack),
            };
            socket.bind(client)?;
            return socket.connect(forward.to).await;
        }
        TcpStream::connect(stack, forward.to).await
    };
    match timeout(CONNECT_TIMEOUT, connect).await {
        Ok(Ok(inner)) => {
            let early = Bytes::new();
            relay(inner, Connected { stream, early }).await;
        }
        // It was accepted before anybody could know.
        _ => reset(&stream),
    }
}

/// Listens in the stack, and connects on this machine before the client's handshake is answered.
pub(super) fn expose(
    runtime: &Handle,
    stack: &Stack,
    forward: Forward,
    places: Arc<Semaphore>,
) -> io::Result<()> {
    let listener = SynListener::bind(stack, forward.listen)?;
    runtime.spawn(async move {
        while let Ok(syn) = listener.next().await {
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                syn.ignore();
                continue;
            };
            tokio::spawn(async move {
                outwards(syn, forward).await;
                drop(place);
            });
        }
    });
    Ok(())
}

async fn outwards(syn: Syn, forward: Forward) {
    let client = syn.info().remote;
    match timeout(CONNECT_TIMEOUT, connect(forward, client)).await {
        Ok(Ok(stream)) => {
            let early = Bytes::new();
            // Fails if the client has gone meanwhile: the server's side is closed then, too.
            if let Ok(client) = syn.accept().await {
                relay(client, Connected { stream, early }).await;
            }
        }
        Ok(Err(error)) => match Refusal::from(&error) {
            Refusal::Refused => syn.refuse(),
            Refusal::Unreachable(reason) => syn.unreachable(reason),
            Refusal::Shortage => syn.ignore(),
        },
        Err(_) => syn.refuse(),
    }
}

async fn connect(forward: Forward, client: SocketAddr) -> io::Result<HostStream> {
    let socket = match forward.to {
        SocketAddr::V4(_) => HostSocket::new_v4()?,
        SocketAddr::V6(_) => HostSocket::new_v6()?,
    };
    if forward.keep_client {
        SockRef::from(&socket).set_ip_transparent_v4(true)?;
        socket.bind(client)?;
    }
    let stream = socket.connect(forward.to).await?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
