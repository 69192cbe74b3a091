//! The classic services, over our own sockets, on the worker that owns each flow.
//!
//! Each connection is a small future: beyond the stack's own state it takes a few words, so that an
//! idle connection costs next to nothing. An error of one connection ends only that connection.

mod chargen;
mod daytime;
mod discard;
mod echo;
mod http;
mod wall;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures::future::{AbortHandle, abortable};
use netstack::base::Rng;
use netstack::net::{Prefix, Serving, Stack, TcpListener, TcpStream, UdpSocket};

use crate::failure::Failure;
use crate::settings::Settings;
use crate::values::Service;
pub(crate) use wall::Wall;

/// The services that run, by what they are and where.
#[derive(Debug)]
pub(crate) struct Running {
    page: Arc<http::Page>,
    wall: Wall,
    started: Vec<(Service, IpAddr, Parts)>,
}

/// The listeners and sockets of a service at one address. Dropping it closes the ports; connections go on.
#[derive(Debug, Default)]
struct Parts {
    listeners: Vec<Serving>,
    datagrams: Vec<AbortHandle>,
}

impl Parts {
    fn stop(self) {
        for listener in self.listeners {
            drop(listener.stop());
        }
        for socket in self.datagrams {
            socket.abort();
        }
    }
}

/// Starts every service of the settings on every address.
///
/// # Errors
///
/// Returns [`Failure::InUse`] if a port is taken, [`Failure::Stack`] for any other error of the stack.
pub(crate) fn start(stack: &Stack, settings: &Settings, wall: Wall) -> Result<Running, Failure> {
    let mut running = Running {
        page: Arc::new(http::Page::new(stack, settings, wall.clone())),
        wall,
        started: Vec::new(),
    };
    running.follow(stack, settings)?;
    Ok(running)
}

impl Running {
    /// Stops the services that the settings no longer have, and starts those that they have now.
    ///
    /// # Errors
    /// As [`start`]; those before it are started.
    pub(crate) fn follow(&mut self, stack: &Stack, settings: &Settings) -> Result<(), Failure> {
        let addresses: Vec<IpAddr> = settings.addresses().iter().map(Prefix::address).collect();
        let is_wanted = |service: Service, address: IpAddr| {
            settings.services.iter().any(|wanted| wanted == service) && addresses.contains(&address)
        };
        for (service, address, parts) in std::mem::take(&mut self.started) {
            match is_wanted(service, address) {
                true => self.started.push((service, address, parts)),
                false => parts.stop(),
            }
        }
        for service in settings.services.iter() {
            for &address in &addresses {
                let is_started =
                    |one: &(Service, IpAddr, Parts)| (one.0, one.1) == (service, address);
                if !self.started.iter().any(is_started) {
                    let place = SocketAddr::new(address, service.port());
                    let parts = self.start_one(stack, service, place);
                    let parts = parts.map_err(|error| refused(service, place, &error))?;
                    self.started.push((service, address, parts));
                }
            }
        }
        Ok(())
    }

    fn start_one(&self, stack: &Stack, service: Service, address: SocketAddr) -> io::Result<Parts> {
        let mut parts = Parts::default();
        match service {
            Service::Echo => {
                parts.listeners.push(tcp(stack, address, echo::tcp)?);
                parts.datagrams = udp(stack, address, echo::udp)?;
            }
            Service::Discard => {
                parts.listeners.push(tcp(stack, address, discard::tcp)?);
                parts.datagrams = udp(stack, address, discard::udp)?;
            }
            Service::Daytime => {
                let wall = self.wall.clone();
                let handler = move |stream| daytime::tcp(stream, wall.clone());
                parts.listeners.push(tcp(stack, address, handler)?);
                parts.datagrams = udp(stack, address, |socket| {
                    daytime::udp(socket, self.wall.clone())
                })?;
            }
            Service::Chargen => {
                let pattern = chargen::Pattern::new();
                let tcp_pattern = pattern.clone();
                let handler = move |stream| chargen::tcp(stream, tcp_pattern.clone());
                parts.listeners.push(tcp(stack, address, handler)?);
                parts.datagrams = udp(stack, address, |socket| {
                    let seed = socket.local_addr().map_or(0, |a| u64::from(a.port()));
                    chargen::udp(socket, pattern.clone(), Rng::from_u64(seed))
                })?;
            }
            Service::Http => {
                let page = Arc::clone(&self.page);
                let handler = move |stream| http::tcp(stream, Arc::clone(&page));
                parts.listeners.push(tcp(stack, address, handler)?);
            }
        }
        Ok(parts)
    }
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
) -> io::Result<Serving>
where
    F: Future<Output = ()> + Send + 'static,
{
    TcpListener::bind_now(stack, address)?.serve(move |stream, _peer| handler(stream))
}

/// Serves `address` by one socket and one future per worker.
fn udp<F>(
    stack: &Stack,
    address: SocketAddr,
    handler: impl Fn(UdpSocket) -> F,
) -> io::Result<Vec<AbortHandle>>
where
    F: Future<Output = ()> + Send + 'static,
{
    let sockets = UdpSocket::bind_per_worker(stack, address)?.into_iter();
    let started = sockets.enumerate().map(|(worker, socket)| {
        let (serving, handle) = abortable(handler(socket));
        stack.spawn_on(worker, async move {
            // Aborted: the service is no longer wanted, and its socket is dropped.
            let _ = serving.await;
        });
        handle
    });
    Ok(started.collect())
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
