//! The thread that takes packets from one device to the other, through a wire.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use impair::{Frame, Impairment, Stats, Wire};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::now;
use super::port::{Port, Read};
use super::spares::Spares;

/// Packets that are read before what is due is written: as many as [`Frame::join`] makes one.
const BATCH: usize = 64;
/// Bytes after which no more is read before what is due is written. Copying more takes long enough to make others late.
const BATCH_BYTES: usize = 128 << 10;
/// A sleep ends so much earlier, since it takes a processor about as long to wake: the rest is waited for awake.
const WAKE_TIME: Duration = Duration::from_micros(60);
/// Longest single sleep.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// An order to a direction.
enum Order {
    Set(Box<Impairment>, Sender<()>),
    Stats(Sender<Report>),
}

/// The counts of a direction.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Report {
    /// The counts of the wire.
    #[serde(flatten)]
    pub wire: Stats,
    /// Packets that the kernel did not take.
    pub refused: u64,
}

/// A running direction. It ends when this is dropped, or when a device is gone.
#[derive(Debug)]
pub struct Direction {
    orders: Sender<Order>,
    wake: Arc<OwnedFd>,
}

impl Direction {
    /// Starts the thread. `ended` is called with the reason if it ends by itself.
    ///
    /// # Errors
    /// The system has no threads or descriptors left.
    pub fn start(
        name: &str,
        from: Port,
        to: Port,
        wire: Wire,
        ended: impl FnOnce(io::Error) + Send + 'static,
    ) -> io::Result<Self> {
        let (orders, received) = channel();
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let wake = Arc::new(eventfd(0, flags)?);
        let mut relay = Relay {
            from,
            to,
            wire,
            orders: received,
            wake: Arc::clone(&wake),
            refused: 0,
            due: Vec::with_capacity(2 * BATCH),
            spares: Spares::default(),
        };
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // Without it a sleep may last 50 µs longer. A kernel that refuses costs that precision.
                let _ = nix::sys::prctl::set_timerslack(1);
                if let Err(error) = relay.run() {
                    ended(error);
                }
            })?;
        Ok(Self { orders, wake })
    }

    /// Changes what the wire does; returns when it does so.
    pub fn set(&self, settings: Impairment) {
        let (sender, done) = channel();
        self.order(Order::Set(Box::new(settings), sender));
        // It fails if the thread has ended, which said why.
        let _ = done.recv();
    }

    /// Returns what has happened so far; nothing if the thread has ended.
    pub fn report(&self) -> Report {
        let (sender, report) = channel();
        self.order(Order::Stats(sender));
        report.recv().unwrap_or_default()
    }

    fn order(&self, order: Order) {
        // A thread that has ended has said why.
        let _ = self.orders.send(order);
        wake(&self.wake);
    }
}

impl Drop for Direction {
    fn drop(&mut self) {
        // Closes the channel first: the thread looks at it when it wakes.
        self.orders = channel().0;
        wake(&self.wake);
    }
}

fn wake(event: &OwnedFd) {
    // Fails only when 2^64 - 2 wake-ups are pending: then the thread wakes anyway.
    let _ = rustix::io::write(event, &1_u64.to_ne_bytes());
}

/// The decision to go on or to stop.
#[derive(PartialEq, Eq)]
enum Goes {
    On,
    Ended,
}

struct Relay {
    from: Port,
    to: Port,
    wire: Wire,
    orders: Receiver<Order>,
    wake: Arc<OwnedFd>,
    refused: u64,
    /// Packets that are written together.
    due: Vec<Frame>,
    spares: Spares,
}

impl Relay {
    fn run(&mut self) -> io::Result<()> {
        loop {
            let is_busy = self.take()?;
            self.give()?;
            if self.obey() == Goes::Ended {
                return Ok(());
            }
            if !is_busy {
                self.sleep()?;
            }
        }
    }

    /// Reads a batch. Returns true if there may be more.
    fn take(&mut self) -> io::Result<bool> {
        let mut bytes = 0;
        for _ in 0..BATCH {
            match self.from.read(&mut self.spares)? {
                Read::Frame(frame) => {
                    bytes += frame.bytes().len();
                    if let Some(answer) = self.wire.push(frame, now()) {
                        self.refused += u64::from(!self.from.write(answer)?);
                    }
                }
                Read::Nothing => {}
                Read::Empty => return Ok(false),
            }
            if bytes >= BATCH_BYTES {
                break;
            }
        }
        Ok(true)
    }

    /// Writes what is due.
    fn give(&mut self) -> io::Result<()> {
        let at = now();
        let mut bytes = 0;
        // More than was read, so that a backlog shrinks.
        while self.due.len() < 2 * BATCH && bytes < 2 * BATCH_BYTES {
            let Some(frame) = self.wire.pop(at) else {
                break;
            };
            bytes += frame.bytes().len();
            self.due.push(frame);
        }
        self.refused += self.to.write_all(&mut self.due, &mut self.spares)?;
        Ok(())
    }

    fn obey(&mut self) -> Goes {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Set(settings, done)) => {
                    self.wire.set(*settings, now());
                    // Whoever asked may have gone.
                    let _ = done.send(());
                }
                Ok(Order::Stats(sender)) => {
                    let report = Report {
                        wire: self.wire.stats(),
                        refused: self.refused,
                    };
                    // Whoever asked may have gone.
                    let _ = sender.send(report);
                }
                Err(TryRecvError::Empty) => return Goes::On,
                Err(TryRecvError::Disconnected) => return Goes::Ended,
            }
        }
    }

    /// Sleeps until a packet is there, something is due, or an order has come. Ends early when something is due soon.
    fn sleep(&self) -> io::Result<()> {
        let timeout = match self.wire.next().map(|at| at.saturating_sub(now())) {
            Some(left) if left <= WAKE_TIME => return Ok(()),
            Some(left) => left - WAKE_TIME,
            None => SLEEP_MAX,
        };
        let timeout = timeout.min(SLEEP_MAX);
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        let device = self.from.fd();
        let mut fds = [
            PollFd::from_borrowed_fd(device, PollFlags::IN),
            PollFd::new(&*self.wake, PollFlags::IN),
        ];
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if !fds[1].revents().is_empty() {
            // A failed read is harmless: at worst the next poll returns at once.
            let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
        }
        Ok(())
    }
}
