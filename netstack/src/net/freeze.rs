//! A stack that rests, and one that takes the place of another: see [`Stack::freeze`] and
//! [`StackBuilder::restore`](super::StackBuilder::restore).

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;

use super::stack::Stack;
use super::tcp_stream::TcpStream;
use crate::base::time::Duration;
use crate::engine::clock::Clock;
use crate::stack::checkpoint::{self, Checkpoint, Handed, Pending, TakenUp};
use crate::stack::ending::EndReason;
use crate::stack::{freeze, shutdown, worklist};

/// Time between two looks whether the workers rest.
const STEP: Duration = Duration::from_micros(500);

/// Time that the workers have to finish what they have: after it they stop in the middle of that.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// Turns that the workers have for that if the program turns them.
const DRAIN_TURNS: usize = 1_000;

/// Time that the workers have to look at what they are told.
const REST_TIME: Duration = Duration::from_secs(10);

/// Rest, and the way to another process.
impl Stack {
    /// Recalls every connection from its task: calls that wait to read or write end with an error for which
    /// [`is_recalled`](super::is_recalled) is true, and so do those that come, until the stack goes on ([`Frozen::thaw`],
    /// [`Stack::end_recall`]). Nothing was read or written by such a call; what the program had in hand, it still has.
    ///
    /// A task that owns a [`TcpStream`] so learns, at its next step, to give it back to whoever hands connections over.
    pub fn recall(&self) {
        freeze::recall(&self.host);
    }

    /// Lets calls on connections go on after [`Stack::recall`].
    pub fn end_recall(&self) {
        self.host.freeze.end_recall();
    }

    /// Puts the stack to rest. Its workers read nothing more, finish what they have read, and then do nothing: no packet is
    /// answered or sent, no timer fires, no connection ends. Packets wait in the device. Blocks the calling thread until
    /// then, and must not be called on one that turns workers.
    ///
    /// ```
    /// # netstack::net::example(async |stack| {
    /// use netstack::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind(&stack, "10.77.0.2:80").await?;
    /// let client = TcpStream::connect(&stack, "10.77.0.2:80").await?;
    /// let (server, _) = listener.accept().await?;
    /// // On a thread of its own: the workers of this stack run on this one.
    /// let other = stack.clone();
    /// let (sender, frozen) = futures::channel::oneshot::channel();
    /// std::thread::spawn(move || sender.send(other.freeze()));
    /// let frozen = frozen.await.expect("the thread answers")?;
    /// let checkpoint = frozen.checkpoint([(&server, b"the server's end".to_vec())]);
    /// assert_eq!(checkpoint.connections(), 2);
    /// // Nobody has taken it: the stack goes on.
    /// frozen.thaw();
    /// client.writable().await?;
    /// # Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// It rests already, it has ended, or its workers are not turned.
    pub fn freeze(&self) -> io::Result<Frozen> {
        self.freeze_by(|time| {
            let clock = Clock::start();
            let end = clock.now() + time;
            while !freeze::is_reached(&self.host) {
                if clock.now() >= end {
                    return Ok(false);
                }
                freeze::wake_late(&self.host);
                std::thread::sleep(STEP);
            }
            Ok(true)
        })
    }

    /// As [`freeze`](Self::freeze), for a program that turns the workers itself ([`Turns`](crate::engine::future::Turns)):
    /// `turn` turns each of them once, and is called until they rest. Nothing waits.
    ///
    /// ```
    /// use netstack::base::Instant;
    /// use netstack::device::channel::{ChannelConfig, channel};
    /// use netstack::net::Stack;
    ///
    /// let (device, _pipe) = channel(ChannelConfig::default());
    /// let now = Instant::from_millis(1);
    /// let (stack, mut workers) = Stack::builder()
    ///     .address("10.77.0.2".parse()?, 24)
    ///     .manual(vec![Box::new(device)], now)?;
    /// let frozen = stack.freeze_turning(|| workers[0].turn(now).map(drop))?;
    /// assert_eq!(frozen.checkpoint([]).connections(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`freeze`](Self::freeze), and those of `turn`: the stack goes on.
    pub fn freeze_turning(&self, mut turn: impl FnMut() -> io::Result<()>) -> io::Result<Frozen> {
        self.freeze_by(|_| {
            for _ in 0..DRAIN_TURNS {
                turn()?;
                if freeze::is_reached(&self.host) {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// Puts the stack to rest. `wait` waits until all workers have come as far as the stack; it returns false if they have
    /// not in about the time that it is given.
    fn freeze_by(&self, mut wait: impl FnMut(Duration) -> io::Result<bool>) -> io::Result<Frozen> {
        let host = &self.host;
        host.ending.check()?;
        if worklist::current_mailbox().is_some() {
            return Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                "freeze: a task on a worker cannot wait for that worker; call it on another thread",
            ));
        }
        if !host.freeze.drain() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "freeze: the stack rests already, or is about to",
            ));
        }
        let frozen = Frozen {
            stack: Some(self.clone()),
        };
        if !wait(DRAIN_TIME)? {
            tracing::warn!(
                "the workers are still busy with what they read: they stop nevertheless"
            );
        }
        host.freeze.freeze();
        if !wait(REST_TIME)? {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "freeze: the workers are not turned; call it on a thread that turns none",
            ));
        }
        // The stack may have ended on the way.
        host.ending.check()?;
        Ok(frozen)
    }

    /// Returns the connections of the stack whose place this one takes, once. The stack rests until [`Begin::begin`], so that
    /// the program can bind its listeners first. `None`: it takes no other's place.
    pub fn take_restored(&self) -> Option<(Vec<RestoredStream>, Begin)> {
        let TakenUp {
            connections,
            pending,
        } = self.take_taken_up()?;
        let stream = |restored: crate::stack::checkpoint::Restored| RestoredStream {
            stream: TcpStream::new(Arc::clone(&self.host), restored.connection),
            note: restored.note,
        };
        let streams = connections.into_iter().map(stream).collect();
        let frozen = Frozen {
            stack: Some(self.clone()),
        };
        Some((streams, Begin(Some((frozen, pending)))))
    }
}

/// A connection of the stack whose place another one took.
#[derive(Debug)]
pub struct RestoredStream {
    /// The connection.
    pub stream: TcpStream,
    /// The note with which the program handed it over; `None` if it did not: what its task had in hand is lost.
    pub note: Option<Vec<u8>>,
}

/// A restored stack that has not begun. If this is dropped, the stack ends without a packet: the one whose place it would have
/// taken goes on.
#[must_use = "the stack ends when this is dropped"]
pub struct Begin(Option<(Frozen, Pending)>);

impl fmt::Debug for Begin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Begin")
    }
}

impl Begin {
    /// Lets the stack begin. The listeners and sockets for datagrams that are bound by now get what waited in those of the
    /// stack before at the same addresses: connections that nobody had accepted, handshakes that are half open, datagrams.
    pub fn begin(mut self) {
        if let Some((frozen, pending)) = self.0.take() {
            if let Some(stack) = &frozen.stack {
                checkpoint::enter(&stack.host, pending);
            }
            frozen.thaw();
        }
    }
}

impl Drop for Begin {
    fn drop(&mut self) {
        if let Some((frozen, _)) = self.0.take() {
            frozen.leave();
        }
    }
}

/// A stack at rest. Dropping it lets the stack go on.
#[must_use = "the stack goes on when this is dropped"]
pub struct Frozen {
    stack: Option<Stack>,
}

impl fmt::Debug for Frozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Frozen").field(&self.stack).finish()
    }
}

impl Frozen {
    /// Returns the stack as plain data. `handed` are the connections that the program hands over, each with a note for
    /// whoever takes it. The stack stays as it is, and must not go on once another one has taken its place.
    pub fn checkpoint<'a>(
        &self,
        handed: impl IntoIterator<Item = (&'a TcpStream, Vec<u8>)>,
    ) -> Checkpoint {
        let handed = handed.into_iter().map(|(stream, note)| {
            let in_hand = stream.0.input.buffered().to_vec();
            let connection = Arc::as_ptr(&stream.0.handle.connection);
            (connection, Handed { in_hand, note })
        });
        let handed: HashMap<_, _> = handed.collect();
        match &self.stack {
            Some(stack) => Checkpoint::of(&stack.host, handed),
            None => unreachable!("it is taken only by what consumes this"),
        }
    }

    /// Lets the stack go on as if nothing had been.
    pub fn thaw(self) {}

    /// Ends the stack without a packet: another one has taken its place.
    pub fn leave(mut self) {
        if let Some(stack) = self.stack.take() {
            shutdown::end(&stack.host, EndReason::HandedOver);
            stack.host.workers.stop();
            stack.join_workers();
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Some(stack) = self.stack.take() {
            freeze::thaw(&stack.host);
        }
    }
}
