//! The classic services, over our own sockets, on the worker that owns each flow.
//!
//! Each connection is a small future: beyond the stack's own state it takes a few words, so that an
//! idle connection costs next to nothing. An error of one connection ends only that connection.

mod chargen;
mod daytime;
mod discard;
mod echo;
mod http;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use netstack::base::Rng;
use netstack::net::{Stack, TcpListener, TcpStream, UdpSocket};

use crate::failure::Failure;
use crate::settings::Settings;
use crate::values::Service;

/// Starts every service of the settings on every address.
///
/// # Errors
///
/// Returns [`Failure::InUse`] if a port is taken, [`Failure::Stack`] for any other error of the stack.
pub(crate) fn start(stack: &Stack, settings: &Settings) -> Result<(), Failure> {
    let page = Arc::new(http::Page::new(stack, settings));
    for service in settings.services.iter() {
        for net in settings.addresses() {
            let address = SocketAddr::new(net.addr(), service.port());
            let started = match service {
                Service::Echo => {
                    tcp(stack, address, echo::tcp).and_then(|()| udp(stack, address, echo::udp))
                }
                Service::Discard => tcp(stack, address, discard::tcp)
                    .and_then(|()| udp(stack, address, discard::udp)),
                Service::Daytime => tcp(stack, address, daytime::tcp)
                    .and_then(|()| udp(stack, address, daytime::udp)),
                Service::Chargen => {
                    let pattern = chargen::Pattern::new();
                    let tcp_pattern = pattern.clone();
                    tcp(stack, address, move |stream| {
                        chargen::tcp(stream, tcp_pattern.clone())
                    })
                    .and_then(|()| {
                        udp(stack, address, |socket| {
                            let seed = socket.local_addr().map_or(0, |a| u64::from(a.port()));
                            chargen::udp(socket, pattern.clone(), Rng::from_u64(seed))
                        })
                    })
                }
                Service::Http => {
                    let page = Arc::clone(&page);
                    tcp(stack, address, move |stream| {
                        http::tcp(stream, Arc::clone(&page))
                    })
                }
            };
            started.map_err(|error| refused(service, address, &error))?;
        }
    }
    Ok(())
}

fn refused(service: Service, address: SocketAddr, error: &io::Error) -> Failure {
    let name = service.name();
    match error.kind() {
        io::ErrorKind::AddrInUse => Failure::InUse(format!(
            "service {name} cannot listen on {address}: the address is in use: leave it out of --services"
        )),
        _ => Failure::Stack(format!(
            "service {name} cannot listen on {address}: {error}: leave it out of --services"
        )),
    }
}

/// Serves each connection to `address` by a future of its own.
fn tcp<F>(
    stack: &Stack,
    address: SocketAddr,
    handler: impl Fn(TcpStream) -> F + Send + Sync + 'static,
) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    TcpListener::bind_now(stack, address)?
        .serve(move |stream, _peer| handler(stream))
        .map(drop)
}

/// Serves `address` by one socket and one future per worker.
fn udp<F>(stack: &Stack, address: SocketAddr, handler: impl Fn(UdpSocket) -> F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    for (worker, socket) in UdpSocket::bind_per_worker(stack, address)?
        .into_iter()
        .enumerate()
    {
        stack.spawn_on(worker, handler(socket));
    }
    Ok(())
}

/// Returns whether a datagram from `peer` may be answered. Another such service would answer the
/// answer, and so on without end.
fn may_answer(peer: SocketAddr) -> bool {
    let is_service = Service::ALL
        .into_iter()
        .any(|service| service.port() == peer.port());
    peer.port() != 0 && !is_service
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_do_not_answer_each_other() {
        for (port, answered) in [
            (0, false),
            (7, false),
            (13, false),
            (19, false),
            (40_000, true),
        ] {
            assert_eq!(
                may_answer(SocketAddr::from(([10, 77, 0, 1], port))),
                answered
            );
        }
    }
}
