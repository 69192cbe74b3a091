//! The classic services, over our own sockets, on the worker that owns each flow.
//!
//! Each connection is a small future: beyond the stack's own state it takes a few words, so that an
//! idle connection costs next to nothing. An error of one connection ends only that connection.

mod chargen;
mod daytime;
mod discard;
mod echo;
mod http;
mod iperf3;
mod peers;
mod recallable;
pub(crate) mod resume;
mod unfinished;
mod wall;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::future::{AbortHandle, BoxFuture, FutureExt as _, abortable, ready};
use netstack::base::Rng;
use netstack::net::{Prefix, RestoredStream, Serving, Stack, TcpListener, TcpStream, UdpSocket};
use packet::Payload;

use resume::{Kept, Shelf, State};

use self::peers::Peers;
use self::unfinished::Unfinished;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::values::Service;
pub(crate) use wall::Wall;

/// The services that run, by what they are and where.
#[derive(Debug)]
pub(crate) struct Running {
    /// The content that http serves.
    site: Arc<ArcSwap<http::Site>>,
    iperf3: Arc<iperf3::Server>,
    /// The peers of each service, in the order of [`Service::ALL`].
    peers: [Arc<Peers>; Service::ALL.len()],
    pattern: chargen::Pattern,
    shelf: Shelf,
    recalled: Receiver<Kept>,
    unfinished: Unfinished,
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

/// The things of the system that the services need: they take rights, and as long as a disk does.
#[derive(Debug)]
pub(crate) struct Opened(Option<http::Root>);

/// Opens what the settings say.
///
/// # Errors
/// Returns [`Failure::Usage`] or [`Failure::Config`] if the directory of http cannot be opened.
pub(crate) fn open(settings: &Settings) -> Result<Opened, Failure> {
    http::Root::open(settings).map(Opened)
}

/// The things that the services of a stack are made of.
#[derive(Debug)]
pub(crate) struct Prepared(http::Site);

/// Makes the services of a stack ready.
///
/// # Errors
/// The system has no threads left.
pub(crate) fn prepare(
    stack: &Stack,
    settings: &Settings,
    Opened(root): Opened,
    wall: &Wall,
) -> Result<Prepared, Failure> {
    http::Site::new(stack, settings, root, wall.clone()).map(Prepared)
}

/// Starts every service of the settings on every address.
///
/// # Errors
///
/// Returns [`Failure::InUse`] if a port is taken, [`Failure::Stack`] for any other error of the stack.
pub(crate) fn start(
    stack: &Stack,
    settings: &Settings,
    Prepared(site): Prepared,
    wall: Wall,
) -> Result<Running, Failure> {
    let pattern = chargen::Pattern::new(stack);
    let pattern =
        pattern.map_err(|error| Failure::Stack(format!("cannot start the services: {error}")))?;
    let (sender, recalled) = channel();
    let unfinished = Unfinished::default();
    let mut running = Running {
        site: Arc::new(ArcSwap::from_pointee(site)),
        iperf3: iperf3::Server::new(stack, &unfinished),
        peers: std::array::from_fn(|_| Peers::new()),
        pattern,
        shelf: Shelf(sender),
        recalled,
        unfinished,
        wall,
        started: Vec::new(),
    };
    running.start_missing(stack, settings)?;
    Ok(running)
}

impl Running {
    /// Stops the services that the settings no longer have, and starts those that they have now. Connections that are
    /// there go on as they began.
    ///
    /// # Errors
    /// As [`prepare`] and [`start`]; those before it are started.
    pub(crate) fn follow(
        &mut self,
        stack: &Stack,
        settings: &Settings,
        opened: Opened,
    ) -> Result<(), Failure> {
        let Prepared(site) = prepare(stack, settings, opened, &self.wall)?;
        self.site.store(Arc::new(site));
        self.start_missing(stack, settings)
    }

    fn peers_of(&self, service: Service) -> &Arc<Peers> {
        &self.peers[service as usize]
    }

    fn start_missing(&mut self, stack: &Stack, settings: &Settings) -> Result<(), Failure> {
        for service in Service::ALL {
            self.peers_of(service).set_most(match service {
                Service::Http => settings.per_peer.of_http(),
                _ => settings.per_peer.of_plain(),
            });
        }
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

    /// Returns the number of connections that would end if they were recalled now: their services cannot hand them over.
    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished.count()
    }

    /// Takes the connections that were recalled since the last call.
    pub(crate) fn take_recalled(&self) -> Vec<Kept> {
        self.recalled.try_iter().collect()
    }

    /// Goes on with the connections of the process before, and resets those that it did not hand over. Returns how many
    /// went over.
    pub(crate) fn resume(&self, stack: &Stack, streams: Vec<RestoredStream>) -> usize {
        let mut count = 0;
        for RestoredStream { stream, note } in streams {
            match note.and_then(|note| State::of_note(&note)) {
                Some(state) => {
                    count += 1;
                    self.go_on(stack, [Kept { stream, state }]);
                }
                None => {
                    // It fails for nothing but a time to wait.
                    let _ = stream.set_linger(Some(Duration::ZERO));
                }
            }
        }
        count
    }

    /// Goes on with connections, of this process or of the one before.
    pub(crate) fn go_on(&self, stack: &Stack, connections: impl IntoIterator<Item = Kept>) {
        for Kept { stream, state } in connections {
            // It goes on in any case; a peer with more than its share has none for a while.
            let peer = stream.peer_addr().ok();
            let peers = self.peers_of(state.service());
            let place = peer.and_then(|peer| peers.enter(peer.ip()));
            let worker = stream.worker();
            let served = self.served(stream, state);
            stack.spawn_on(worker, async move {
                let _place = place;
                served.await;
            });
        }
    }

    /// Returns the rest of a connection.
    fn served(&self, stream: TcpStream, state: State) -> BoxFuture<'static, ()> {
        let shelf = self.shelf.clone();
        match state {
            State::Echo { pending } => {
                let pending = Payload::from(Bytes::from(pending));
                echo::tcp(stream, pending, shelf).boxed()
            }
            State::Discard => discard::tcp(stream, shelf).boxed(),
            State::Daytime { rest } => {
                daytime::tcp(stream, Some(rest), self.wall.clone(), shelf).boxed()
            }
            State::Chargen { position } => {
                chargen::tcp(stream, self.pattern.clone(), position as usize, shelf).boxed()
            }
            State::Http { read } => {
                let counted = (shelf, self.unfinished.clone());
                http::tcp(stream, read, self.site.load_full(), counted).boxed()
            }
        }
    }

    fn start_one(&self, stack: &Stack, service: Service, address: SocketAddr) -> io::Result<Parts> {
        let mut parts = Parts::default();
        let peers = Arc::clone(self.peers_of(service));
        let shelf = self.shelf.clone();
        match service {
            Service::Echo => {
                let handler = move |stream| echo::tcp(stream, Payload::default(), shelf.clone());
                parts.listeners.push(tcp(stack, address, peers, handler)?);
                parts.datagrams = udp(stack, address, echo::udp)?;
            }
            Service::Discard => {
                let handler = move |stream| discard::tcp(stream, shelf.clone());
                parts.listeners.push(tcp(stack, address, peers, handler)?);
                parts.datagrams = udp(stack, address, discard::udp)?;
            }
            Service::Daytime => {
                let wall = self.wall.clone();
                let handler = move |stream| daytime::tcp(stream, None, wall.clone(), shelf.clone());
                parts.listeners.push(tcp(stack, address, peers, handler)?);
                parts.datagrams = udp(stack, address, |socket| {
                    daytime::udp(socket, self.wall.clone())
                })?;
            }
            Service::Chargen => {
                let (pattern, tcp_pattern) = (self.pattern.clone(), self.pattern.clone());
                let handler =
                    move |stream| chargen::tcp(stream, tcp_pattern.clone(), 0, shelf.clone());
                parts.listeners.push(tcp(stack, address, peers, handler)?);
                parts.datagrams = udp(stack, address, |socket| {
                    let seed = socket.local_addr().map_or(0, |a| u64::from(a.port()));
                    chargen::udp(socket, pattern.clone(), Rng::from_u64(seed))
                })?;
            }
            Service::Http => {
                let site = Arc::clone(&self.site);
                let counted = (shelf, self.unfinished.clone());
                let handler =
                    move |stream| http::tcp(stream, Vec::new(), site.load_full(), counted.clone());
                parts.listeners.push(tcp(stack, address, peers, handler)?);
            }
            Service::Iperf3 => {
                let server = Arc::clone(&self.iperf3);
                let listener = server.listen(stack, address)?;
                let handler = {
                    let server = Arc::clone(&server);
                    move |stream| iperf3::tcp(stream, Arc::clone(&server))
                };
                parts.listeners.push(serve(listener, peers, handler)?);
                parts.datagrams.push(iperf3::udp(stack, address, server)?);
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
    peers: Arc<Peers>,
    handler: impl Fn(TcpStream) -> F + Send + Sync + 'static,
) -> io::Result<Serving>
where
    F: Future<Output = ()> + Send + 'static,
{
    serve(TcpListener::bind_now(stack, address)?, peers, handler)
}

/// Serves each connection of a listener by a future of its own. A peer that has its share of connections is refused more.
fn serve<F>(
    listener: TcpListener,
    peers: Arc<Peers>,
    handler: impl Fn(TcpStream) -> F + Send + Sync + 'static,
) -> io::Result<Serving>
where
    F: Future<Output = ()> + Send + 'static,
{
    listener.serve(move |stream, peer| {
        match peers.enter(peer.ip()) {
            // Combined, and not awaited in a block: that would hold the future a second time, in each connection.
            Some(place) => handler(stream).map(move |()| drop(place)).left_future(),
            None => {
                tracing::info!(target: "netstackd::services", %peer, "has too many connections");
                // Dropping it is a reset then. It fails only if the connection is at its end already.
                let _ = stream.set_zero_linger();
                ready(()).right_future()
            }
        }
    })
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
