//! This project's stack as the host of a replay.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use netstack::base::Config;
use netstack::base::counters::DropReason;
use netstack::net::{TcpListener, TcpStream};
use tokio::io::AsyncWrite as _;

use super::{Host, Reading};
use crate::virtual_stack::VirtualStack;

/// Largest packet on the link of the replay, in bytes.
const MTU: u16 = 1_500;

/// This project's stack, listening on the captured server's address and port.
#[derive(Debug)]
pub struct Ours {
    stack: VirtualStack,
    listener: TcpListener,
    stream: Option<TcpStream>,
    failure: Option<String>,
}

impl Ours {
    /// Creates a stack whose only address is the server's.
    pub fn new(server: SocketAddr, seed: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let prefix = if server.is_ipv4() { 24 } else { 64 };
        let addresses = [(server.ip(), prefix)];
        let stack = VirtualStack::new(Config::default(), &addresses, MTU, seed)?;
        let listener = TcpListener::bind_now(stack.stack(), server)?;
        Ok(Self {
            stack,
            listener,
            stream: None,
            failure: None,
        })
    }

    /// Returns the error of the stack itself, if it had one.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    fn stream(&mut self) -> Option<&mut TcpStream> {
        if self.stream.is_none() {
            let mut context = Context::from_waker(Waker::noop());
            match self.listener.poll_accept(&mut context) {
                Poll::Ready(Ok((stream, _))) => self.stream = Some(stream),
                Poll::Ready(Err(error)) => self.failure = Some(format!("accept: {error}")),
                Poll::Pending => {}
            }
        }
        self.stream.as_mut()
    }
}

impl Host for Ours {
    fn deliver(&mut self, packet: Vec<u8>, gso_size: u16) {
        self.stack.deliver(packet, gso_size);
    }

    fn turn(&mut self, now: Duration, sent: &mut Vec<Vec<u8>>) -> Option<Duration> {
        match self.stack.settle(now, sent) {
            Ok(next) => next,
            Err(error) => {
                self.failure = Some(error.to_string());
                None
            }
        }
    }

    fn read(&mut self, into: &mut Vec<u8>) -> Reading {
        let Some(stream) = self.stream() else {
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

    fn write(&mut self, bytes: &[u8]) -> usize {
        self.stream()
            .and_then(|stream| stream.try_write(bytes).ok())
            .unwrap_or(0)
    }

    fn close(&mut self) {
        if let Some(stream) = self.stream() {
            let mut context = Context::from_waker(Waker::noop());
            // It only queues a FIN, and fails only if the connection is gone already.
            let _ = Pin::new(stream).poll_shutdown(&mut context);
        }
    }

    fn abort(&mut self) {
        if let Some(stream) = self.stream() {
            let _ = stream.set_linger(Some(Duration::ZERO));
        }
        self.stream = None;
    }

    fn drops(&self) -> Vec<(&'static str, u64)> {
        let counters = self.stack.stack().counters();
        DropReason::ALL
            .iter()
            .map(|reason| (reason.label(), counters.dropped(*reason)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}
