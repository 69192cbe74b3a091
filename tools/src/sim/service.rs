//! The services of each host: exchanges over TCP, an echo over UDP, and pings, which the stack answers by itself.

use std::io;

use netstack::net::{Serving, Stack, TcpListener, UdpSocket};

use super::stream::{self, StreamError};
use super::world::Shared;

/// The port of both services.
pub(super) const PORT: u16 = 7;

/// The services of a host.
#[derive(Debug)]
pub(super) struct Services {
    _listeners: Vec<Serving>,
}

/// Starts the services of host number `host`. `may_fail`: connections may end with an error.
pub(super) fn start(
    stack: &Stack,
    host: usize,
    may_fail: bool,
    world: &Shared,
) -> io::Result<Services> {
    let mut listeners = Vec::new();
    for any in ["0.0.0.0", "[::]"] {
        let listener = TcpListener::bind_now(stack, format!("{any}:{PORT}").as_str())?;
        let world = world.clone();
        let serving = listener.serve(move |stream, peer| {
            let world = world.clone();
            async move {
                match stream::serve(stream).await {
                    Ok(()) => world.note(&format!("{host} served {peer}")),
                    Err(StreamError::Wrong(what)) => {
                        world.fault(format!("host {host}, from {peer}: {what}"));
                    }
                    Err(StreamError::Ended(error)) if may_fail => {
                        world.note(&format!("{host} lost {peer}: {error}"));
                    }
                    Err(StreamError::Ended(error)) => {
                        world.fault(format!("host {host} lost {peer}: {error}"));
                    }
                }
            }
        })?;
        listeners.push(serving);
        let socket = UdpSocket::bind_now(stack, format!("{any}:{PORT}").as_str())?;
        stack.spawn_on(host, async move {
            loop {
                match socket.recv_datagram().await {
                    Ok(datagram) => {
                        let _ = socket
                            .send_payload_from(datagram.payload, datagram.to, datagram.from)
                            .await;
                    }
                    // An ICMP error about an earlier answer.
                    Err(error) if error.kind() != io::ErrorKind::ConnectionAborted => {}
                    Err(_) => return,
                }
            }
        });
    }
    Ok(Services {
        _listeners: listeners,
    })
}
