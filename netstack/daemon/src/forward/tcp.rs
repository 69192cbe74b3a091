//! Connections from one side to the other.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use netstack::net::{Syn, SynListener, TcpSocket, TcpStream, is_recalled};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket as MachineSocket, TcpStream as MachineStream};
use tokio::time::timeout;

use super::Port;
use super::spec::Forward;
use crate::carried::relay::{relay, reset};
use crate::carried::{Client, Live, Parcel};
use crate::proxy::upstream::Refusal;

/// Time that a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause when this machine has no descriptors for another connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections of this machine, and connects in the stack's network.
pub(super) async fn publish(port: Port, listener: Arc<TcpListener>) {
    let carrier = Arc::clone(&port.frame.carrier);
    loop {
        let Ok(place) = Arc::clone(&port.places).acquire_owned().await else {
            return;
        };
        let live = carrier.enter();
        let accepted = tokio::select! {
            biased;
            () = carrier.recalled() => None,
            accepted = listener.accept() => Some(accepted),
        };
        match accepted {
            Some(Ok((stream, peer))) => {
                let port = port.clone();
                tokio::spawn(async move {
                    inwards(&port, Arc::new(stream), peer, live).await;
                    drop(place);
                });
            }
            Some(Err(_)) => tokio::time::sleep(PAUSE).await,
            None => {
                drop(live);
                carrier.resumed().await;
            }
        }
    }
}

/// Brings a connection of this machine into the stack's network.
pub(super) async fn inwards(
    port: &Port,
    mut outer: Arc<MachineStream>,
    peer: SocketAddr,
    live: Live,
) {
    let carrier = &port.frame.carrier;
    // What the client sends at once is to go on at once. It fails if the connection is at its end already.
    let _ = outer.set_nodelay(true);
    loop {
        let connected = tokio::select! {
            biased;
            () = carrier.recalled() => None,
            connected = timeout(CONNECT_TIMEOUT, connect_inside(port, peer)) => Some(connected),
        };
        match connected {
            Some(Ok(Ok(inner))) => return relay(carrier, inner, outer, Bytes::new()).await,
            Some(Ok(Err(error))) if is_recalled(&error) => carrier.recalled().await,
            // It was accepted before anybody could know.
            Some(_) => return reset(&outer),
            None => {}
        }
        let client = Client {
            forward: port.forward.to_string(),
            outer,
            peer,
        };
        match carrier.put_down(Parcel::Client(client)) {
            Some(Parcel::Client(client)) => outer = client.outer,
            _ => return drop(live),
        }
    }
}

async fn connect_inside(port: &Port, client: SocketAddr) -> io::Result<TcpStream> {
    let (stack, forward) = (&port.frame.stack, port.forward);
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
}

/// Takes connections to the stack, and connects on this machine before the client's handshake is answered.
pub(super) async fn expose(port: Port, listener: SynListener) {
    while let Ok(syn) = listener.next().await {
        let Ok(place) = Arc::clone(&port.places).try_acquire_owned() else {
            syn.ignore();
            continue;
        };
        let port = port.clone();
        tokio::spawn(async move {
            outwards(&port, syn).await;
            drop(place);
        });
    }
}

async fn outwards(port: &Port, syn: Syn) {
    let client = syn.info().remote;
    match timeout(CONNECT_TIMEOUT, connect(port.forward, client)).await {
        Ok(Ok(outer)) => {
            // Fails if the client has gone meanwhile: the server's side is closed then, too.
            if let Ok(client) = syn.accept().await {
                relay(&port.frame.carrier, client, outer, Bytes::new()).await;
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

/// Goes on with a connection whose handshake was done when another process took over, and which no task had in hand.
pub(super) async fn accepted(port: &Port, inner: TcpStream) {
    let connected = match inner.peer_addr() {
        Ok(client) => timeout(CONNECT_TIMEOUT, connect(port.forward, client)).await,
        Err(_) => return,
    };
    match connected {
        Ok(Ok(outer)) => relay(&port.frame.carrier, inner, outer, Bytes::new()).await,
        // It fails only if the connection is at its end already.
        _ => drop(inner.set_zero_linger()),
    }
}

async fn connect(forward: Forward, client: SocketAddr) -> io::Result<MachineStream> {
    let socket = match forward.to {
        SocketAddr::V4(_) => MachineSocket::new_v4()?,
        SocketAddr::V6(_) => MachineSocket::new_v6()?,
    };
    if forward.keep_client {
        SockRef::from(&socket).set_ip_transparent_v4(true)?;
        socket.bind(client)?;
    }
    let stream = socket.connect(forward.to).await?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
