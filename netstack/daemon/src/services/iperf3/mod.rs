//! A server for the client iperf3, one test at a time.
//!
//! A client opens a control connection and says its cookie, 37 bytes. Each side then sends states, one byte each, and JSON
//! behind its length. The connections that carry data begin with the same cookie; a flow of UDP begins with a datagram of
//! four bytes that is answered. Nothing but their order says which of them is which, so that order is kept from the SYNs on.
//!
//! | module | |
//! |---|---|
//! | `control` | the control connection: a test from its parameters to its results |
//! | `wire` | states and JSON on the control connection |
//! | `params` | what the client asks for |
//! | `stream` | what the streams of a test share, and what is counted of each |
//! | `tcp`, `udp` | the data |
//! | `results` | the numbers, for the client |

mod control;
mod params;
mod results;
mod stream;
mod tcp;
mod udp;
mod wire;

use std::io;
use std::net::{IpAddr, SocketAddr};
// One look at the test that runs, with no other lock and no call to other code inside.
#[allow(clippy::disallowed_types)]
use std::sync::Mutex;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::future::{AbortHandle, abortable};
use netstack::net::time::Time;
use netstack::net::{Stack, TcpListener, TcpSocket, TcpStream, UdpListener};
use tokio::io::AsyncReadExt as _;
use tokio::sync::{mpsc, oneshot};

use self::params::Protocol;
use self::stream::Role;
use self::wire::{COOKIE_BYTES, Cookie};
use super::unfinished::Unfinished;

/// Most streams of a test in one direction, as iperf3 has it.
const STREAMS_MAX: usize = 128;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 2 * STREAMS_MAX as u32;
/// Time that a connection has for its cookie, and that a stream waits for the others.
const PATIENCE: Duration = Duration::from_secs(30);

/// The server, of all addresses together.
#[derive(Debug)]
pub(super) struct Server {
    time: Time,
    /// A test cannot be handed over.
    unfinished: Unfinished,
    #[allow(clippy::disallowed_types)]
    current: Mutex<Option<Current>>,
}

/// The test that runs.
#[derive(Debug)]
struct Current {
    cookie: Cookie,
    peer: IpAddr,
    /// The protocol of the streams that are to come, while they are to come.
    gathers: Option<Protocol>,
    /// The peers of streams, in the order in which they began.
    order: Vec<SocketAddr>,
    arrivals: mpsc::Sender<Arrival>,
}

/// A stream that has come, and the way to tell it what to do.
#[derive(Debug)]
struct Arrival {
    peer: SocketAddr,
    role: oneshot::Sender<Role>,
}

/// The place of the one test. It is free again when this is dropped.
#[derive(Debug)]
struct Reservation(Arc<Server>);

impl Drop for Reservation {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

/// The part that a connection plays, by its cookie.
enum Claim {
    Control(Reservation, mpsc::Receiver<Arrival>),
    Stream(mpsc::Sender<Arrival>),
    Busy,
}

impl Server {
    pub(super) fn new(stack: &Stack, unfinished: &Unfinished) -> Arc<Self> {
        #[allow(clippy::disallowed_types)]
        let current = Mutex::new(None);
        Arc::new(Self {
            time: stack.time(),
            unfinished: unfinished.clone(),
            current,
        })
    }

    #[allow(clippy::disallowed_types)]
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens for connections, and notes in which order they begin.
    ///
    /// # Errors
    /// As [`TcpListener::bind`].
    pub(super) fn listen(
        self: &Arc<Self>,
        stack: &Stack,
        address: SocketAddr,
    ) -> io::Result<TcpListener> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(stack),
            SocketAddr::V6(_) => TcpSocket::new_v6(stack),
        };
        let server = Arc::clone(self);
        socket.set_filter(move |syn| {
            server.note(Protocol::Tcp, syn.remote);
            true
        });
        socket.bind(address)?;
        socket.listen(BACKLOG)
    }

    /// Notes that a stream of the test begins; false if none is expected.
    fn note(&self, protocol: Protocol, peer: SocketAddr) -> bool {
        let mut current = self.lock();
        let Some(current) = current.as_mut() else {
            return false;
        };
        let is_expected = current.gathers == Some(protocol) && current.peer == peer.ip();
        let has_room = current.order.len() < 2 * STREAMS_MAX;
        if is_expected && has_room && !current.order.contains(&peer) {
            current.order.push(peer);
        }
        is_expected
    }

    fn claim(self: &Arc<Self>, cookie: &Cookie, peer: IpAddr) -> Claim {
        let mut current = self.lock();
        match current.as_ref() {
            Some(test) if test.cookie == *cookie && test.gathers == Some(Protocol::Tcp) => {
                Claim::Stream(test.arrivals.clone())
            }
            Some(_) => Claim::Busy,
            None => {
                let (arrivals, arrived) = mpsc::channel(2 * STREAMS_MAX);
                *current = Some(Current {
                    cookie: *cookie,
                    peer,
                    gathers: None,
                    order: Vec::new(),
                    arrivals,
                });
                Claim::Control(Reservation(Arc::clone(self)), arrived)
            }
        }
    }

    /// Returns the way for flows of UDP to the test that runs, if it expects some from that address.
    fn udp_arrivals(&self, peer: SocketAddr) -> Option<mpsc::Sender<Arrival>> {
        if !self.note(Protocol::Udp, peer) {
            return None;
        }
        let current = self.lock();
        current.as_ref().map(|test| test.arrivals.clone())
    }
}

impl Reservation {
    /// Expects streams from now on, or no more.
    fn gather(&self, protocol: Option<Protocol>) {
        if let Some(test) = self.0.lock().as_mut() {
            test.gathers = protocol;
        }
    }

    /// Returns the peers of streams, in the order in which they began.
    fn order(&self) -> Vec<SocketAddr> {
        let current = self.0.lock();
        current
            .as_ref()
            .map(|test| test.order.clone())
            .unwrap_or_default()
    }
}

/// Reports a stream to its test, and waits for its role.
async fn role_of(time: &Time, arrivals: mpsc::Sender<Arrival>, peer: SocketAddr) -> Option<Role> {
    let (role, assigned) = oneshot::channel();
    arrivals.try_send(Arrival { peer, role }).ok()?;
    drop(arrivals);
    time.timeout(PATIENCE, assigned).await.ok()?.ok()
}

/// Serves one connection: a test, or a stream of it.
pub(super) async fn tcp(mut stream: TcpStream, server: Arc<Server>) {
    let Ok(peer) = stream.peer_addr() else {
        return;
    };
    let _reason = server.unfinished.connection().begin();
    let mut cookie = [0; COOKIE_BYTES];
    let read = server
        .time
        .timeout(PATIENCE, stream.read_exact(&mut cookie));
    if !matches!(read.await, Ok(Ok(_))) {
        return;
    }
    let time = server.time.clone();
    match server.claim(&cookie, peer.ip()) {
        Claim::Control(reservation, arrived) => {
            control::run(stream, peer, &time, reservation, arrived).await;
        }
        Claim::Stream(arrivals) => {
            if let Some(role) = role_of(&time, arrivals, peer).await {
                tcp::run(stream, role, &time).await;
            }
        }
        Claim::Busy => wire::deny(stream, &time).await,
    }
}

/// Takes flows of UDP for tests, until the handle is aborted or the stack ends.
///
/// # Errors
/// As [`UdpListener::bind`].
pub(super) fn udp(
    stack: &Stack,
    address: SocketAddr,
    server: Arc<Server>,
) -> io::Result<AbortHandle> {
    let listener = UdpListener::bind(stack, address)?;
    let (serving, handle) = abortable({
        let stack = stack.clone();
        async move {
            while let Ok((flow, peer)) = listener.accept().await {
                // Nobody else is answered: the flow ends here.
                let Some(arrivals) = server.udp_arrivals(peer) else {
                    continue;
                };
                let time = server.time.clone();
                stack.spawn_on(peer.port().into(), async move {
                    if udp::greet(&flow).await
                        && let Some(role) = role_of(&time, arrivals, peer).await
                    {
                        udp::run(&flow, role, &time).await;
                    }
                });
            }
        }
    });
    stack.spawn_on(0, async move {
        // Aborted: the service is no longer wanted, and its socket is dropped.
        let _ = serving.await;
    });
    Ok(handle)
}
