//! This project's stack as the host of a replay.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use netstack::base::Config;
use netstack::base::counters::DropReason;
use netstack::net::{Stack, TcpListener, TcpStream, UdpSocket};
use tokio::io::AsyncWrite as _;

use super::places;
use super::{Host, Opening, Reading};
use crate::virtual_stack::VirtualStack;

/// Largest packet on the link of the replay, in bytes.
const MTU: u16 = 1_500;

/// Largest receive buffer that a captured window can ask for.
const MAX_BUFFER_BYTES: usize = 256 << 20;

/// A connection that is being opened.
type Connecting = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

/// This project's stack.
pub struct Ours {
    stack: VirtualStack,
    listeners: HashMap<SocketAddr, TcpListener>,
    sockets: HashMap<SocketAddr, UdpSocket>,
    connecting: HashMap<usize, Connecting>,
    streams: HashMap<usize, TcpStream>,
    /// Sessions by what the stack sees of them: its own address and the peer's.
    sessions: HashMap<(SocketAddr, SocketAddr), usize>,
    /// The two addresses of each datagram session.
    ends: HashMap<usize, (SocketAddr, SocketAddr)>,
    received: HashMap<usize, VecDeque<Vec<u8>>>,
    failure: Option<String>,
}

impl fmt::Debug for Ours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ours")
            .field("stack", &self.stack)
            .finish_non_exhaustive()
    }
}

impl Ours {
    /// Creates a stack whose random numbers come from `seed`. Its receive buffers offer `window` bytes if its
    /// own would offer less, as the captured host did.
    pub fn new(seed: u64, window: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let mut config = Config::default();
        let window = usize::try_from(window)
            .unwrap_or(usize::MAX)
            .min(MAX_BUFFER_BYTES);
        if window > config.tcp.recv_buffer_initial {
            config.tcp.recv_buffer_initial = window;
            config.tcp.recv_buffer_max = config.tcp.recv_buffer_max.max(window);
        }
        let stack = VirtualStack::new(config, &places::OURS, MTU, seed)?;
        Ok(Self {
            stack,
            listeners: HashMap::new(),
            sockets: HashMap::new(),
            connecting: HashMap::new(),
            streams: HashMap::new(),
            sessions: HashMap::new(),
            ends: HashMap::new(),
            received: HashMap::new(),
            failure: None,
        })
    }

    fn handle(&self) -> Stack {
        self.stack.stack().clone()
    }

    /// Takes up what has happened: accepted and opened connections, datagrams.
    fn poll(&mut self) {
        let cx = &mut Context::from_waker(Waker::noop());
        for (ours, listener) in &self.listeners {
            while let Poll::Ready(result) = listener.poll_accept(cx) {
                match result {
                    Ok((stream, peer)) => {
                        if let Some(session) = self.sessions.get(&(*ours, peer)) {
                            self.streams.insert(*session, stream);
                        }
                    }
                    Err(error) => {
                        self.failure = Some(format!("accept: {error}"));
                        break;
                    }
                }
            }
        }
        self.connecting
            .retain(|session, connecting| match connecting.as_mut().poll(cx) {
                Poll::Ready(Ok(stream)) => {
                    self.streams.insert(*session, stream);
                    false
                }
                Poll::Ready(Err(_)) => false,
                Poll::Pending => true,
            });
        for (ours, socket) in &self.sockets {
            while let Poll::Ready(Ok((payload, peer))) = socket.poll_recv_payload_from(cx) {
                if let Some(session) = self.sessions.get(&(*ours, peer)) {
                    let queue = self.received.entry(*session).or_default();
                    queue.push_back(payload.to_vec());
                }
            }
        }
    }
}

impl Host for Ours {
    fn open(&mut self, session: usize, opening: Opening, ours: SocketAddr, peer: SocketAddr) {
        let stack = self.handle();
        self.sessions.insert((ours, peer), session);
        match opening {
            Opening::Nothing => {}
            Opening::Listens => {
                if let Entry::Vacant(place) = self.listeners.entry(ours) {
                    match TcpListener::bind_now(&stack, ours) {
                        Ok(listener) => {
                            place.insert(listener);
                        }
                        Err(error) => self.failure = Some(format!("listen: {error}")),
                    }
                }
            }
            Opening::Connects => {
                let connecting = async move { TcpStream::connect_from(&stack, ours, peer).await };
                self.connecting.insert(session, Box::pin(connecting));
                // The first poll sends the SYN.
                self.poll();
            }
            Opening::Datagrams => {
                self.ends.insert(session, (ours, peer));
                if let Entry::Vacant(place) = self.sockets.entry(ours) {
                    match UdpSocket::bind_now(&stack, ours) {
                        Ok(socket) => {
                            place.insert(socket);
                        }
                        Err(error) => self.failure = Some(format!("bind: {error}")),
                    }
                }
            }
        }
    }

    fn deliver(&mut self, packet: Vec<u8>, gso_size: u16) {
        self.stack.deliver(packet, gso_size);
    }

    fn turn(&mut self, now: Duration, sent: &mut Vec<Vec<u8>>) -> Option<Duration> {
        let next = match self.stack.settle(now, sent) {
            Ok(next) => next,
            Err(error) => {
                self.failure = Some(error.to_string());
                None
            }
        };
        self.poll();
        next
    }

    fn read(&mut self, session: usize, into: &mut Vec<u8>) -> Reading {
        let Some(stream) = self.streams.get_mut(&session) else {
            return Reading::Waiting;
        };
        let mut context = Context::from_waker(Waker::noop());
        loop {
            match stream.poll_recv_payload(&mut context) {
                Poll::Ready(Ok(Some(payload))) => into.extend_from_slice(&payload),
                Poll::Ready(Ok(None)) => return Reading::Ended,
                Poll::Ready(Err(_)) => return Reading::Failed,
                Poll::Pending => return Reading::Waiting,
            }
        }
    }

    fn receive(&mut self, session: usize) -> Option<Vec<u8>> {
        self.received.get_mut(&session)?.pop_front()
    }

    fn write(&mut self, session: usize, bytes: &[u8]) -> usize {
        if let Some((ours, peer)) = self.ends.get(&session) {
            let sent = self
                .sockets
                .get(ours)
                .map(|socket| socket.try_send_to(bytes, *peer));
            // What the socket refuses counts as sent: nothing is gained by trying again.
            return if sent.is_some() {
                bytes.len().max(1)
            } else {
                0
            };
        }
        self.streams
            .get_mut(&session)
            .and_then(|stream| stream.try_write(bytes).ok())
            .unwrap_or(0)
    }

    fn shut_down(&mut self, session: usize) {
        if let Some(stream) = self.streams.get_mut(&session) {
            let mut context = Context::from_waker(Waker::noop());
            // It only queues a FIN, and fails only if the connection is gone already.
            let _ = Pin::new(stream).poll_shutdown(&mut context);
        }
    }

    fn close(&mut self, session: usize) {
        self.streams.remove(&session);
    }

    fn abort(&mut self, session: usize) {
        if let Some(stream) = self.streams.remove(&session) {
            let _ = stream.set_linger(Some(Duration::ZERO));
        }
        self.connecting.remove(&session);
    }

    fn drops(&self) -> Vec<(&'static str, u64)> {
        let counters = self.stack.stack().counters();
        DropReason::ALL
            .iter()
            .map(|reason| (reason.label(), counters.dropped(*reason)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}
