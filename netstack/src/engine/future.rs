//! A worker that a program drives inside its own runtime: a future, or a loop of the program's.
//!
//! * **Define.** A [`Driver`] is one worker. Polled, it turns until there is nothing left to do, and then
//!   waits for a packet, for work of another thread, or for the next timer.
//! * **Enforce.** It registers with its device and its timer before it reports `Pending`, and looks at the
//!   mailbox after it said that it sleeps.
//! * **Consume.** A packet's arrival, the stack and the application's task run on one thread without a
//!   switch between threads.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::clock::Clock;
use super::worker::{Progress, Worker};
use crate::base::Instant;
use crate::device::Device;
use crate::stack::ending::EndReason;

/// Turns in one poll: then other tasks of the runtime have their turn.
const TURNS_PER_POLL: usize = 16;

/// A sleep of the program's runtime.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts a sleep.
pub type Timer = Box<dyn FnMut(Duration) -> Sleep + Send>;

/// One worker of a stack that runs as a future.
///
/// The program spawns or awaits it, one for each device queue. It ends when the stack ends, and the stack
/// ends when it is dropped. The output is the reason.
///
/// Devices that can be waited for by a task: the packet channel. A TUN device needs a thread of its own.
#[must_use = "a driver does nothing unless it is polled"]
pub struct Driver {
    worker: Option<Worker<dyn Device>>,
    clock: Clock,
    timer: Timer,
    /// The sleep until the earliest time at which a timer was due when it was started.
    armed: Option<(Instant, Sleep)>,
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("worker", &self.worker.as_ref().map(Worker::index))
            .finish_non_exhaustive()
    }
}

impl Driver {
    /// Drives `worker` by `clock` and `timer`.
    pub fn new(worker: Worker<dyn Device>, clock: Clock, timer: Timer) -> Self {
        Self {
            worker: Some(worker),
            clock,
            timer,
            armed: None,
        }
    }

    /// Turns the worker until it has nothing left to do and everything that wakes it is registered.
    fn run(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(worker) = &mut self.worker else {
            return Poll::Ready(Ok(()));
        };
        worker.awake();
        for _ in 0..TURNS_PER_POLL {
            let now = self.clock.now();
            let turn = worker.turn(now)?;
            if turn.stop {
                return Poll::Ready(Ok(()));
            }
            if turn.busy {
                continue;
            }
            if worker.poll_park(cx)?.is_pending() {
                let armed = &mut self.armed;
                if sleep_until(armed, &mut self.timer, now, turn.next_timer, cx).is_pending() {
                    return Poll::Pending;
                }
                worker.awake();
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn end(&mut self, reason: EndReason) -> EndReason {
        match self.worker.take() {
            Some(worker) => worker.end(reason),
            None => reason,
        }
    }
}

/// Polls a sleep until `deadline`. One that ends earlier is kept: it wakes the task once too often.
fn sleep_until(
    armed: &mut Option<(Instant, Sleep)>,
    timer: &mut Timer,
    now: Instant,
    deadline: Option<Instant>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let Some(deadline) = deadline else {
        return Poll::Pending;
    };
    let late = armed.as_ref().is_none_or(|(at, _)| *at > deadline);
    if late {
        *armed = Some((deadline, timer(deadline.saturating_since(now))));
    }
    let Some((_, sleep)) = armed else {
        return Poll::Pending;
    };
    let slept = sleep.as_mut().poll(cx);
    if slept.is_ready() {
        *armed = None;
    }
    slept
}

impl Future for Driver {
    type Output = EndReason;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<EndReason> {
        let driver = self.get_mut();
        let index = driver.worker.as_ref().map_or(0, Worker::index);
        let ended = std::task::ready!(driver.run(cx));
        Poll::Ready(match ended {
            Ok(()) => driver.end(EndReason::HandlesDropped),
            Err(error) => {
                let reason = EndReason::DeviceFailed {
                    worker: index,
                    error: Arc::new(error),
                };
                tracing::error!(%reason, "the stack ends");
                driver.end(reason)
            }
        })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.end(EndReason::DriverDropped);
    }
}

/// One worker of a stack in a loop of the program's, which brings the time.
///
/// The contract: call [`Turns::turn`] whenever the device may have a packet, after a call into a socket of
/// the stack, and when the time that the last turn returned has come; call it again at once while a turn
/// was busy. `now` must not go back. Nothing in the stack reads a clock or sleeps.
///
/// ```
/// use netstack::base::Instant;
/// use netstack::device::channel::{ChannelConfig, channel};
/// use netstack::net::Stack;
///
/// let (device, mut pipe) = channel(ChannelConfig::default());
/// let mut now = Instant::from_millis(1);
/// let (stack, mut workers) = Stack::builder()
///     .address("10.77.0.2".parse()?, 24)
///     .manual(vec![Box::new(device)], now)?;
/// // A packet of the program's goes in …
/// pipe.try_send(vec![0x45; 20])?;
/// let next = loop {
///     let turn = workers[0].turn(now)?;
///     if !turn.busy {
///         break turn.next_timer;
///     }
/// };
/// // … and what the stack answers comes out. With nothing open there is no timer.
/// assert_eq!((pipe.try_recv(), next), (None, None));
/// # drop(stack);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Turns {
    worker: Option<Worker<dyn Device>>,
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turns")
            .field("worker", &self.worker.as_ref().map(Worker::index))
            .finish_non_exhaustive()
    }
}

impl Turns {
    /// Turns `worker` by the program's loop.
    pub fn new(worker: Worker<dyn Device>) -> Self {
        Self {
            worker: Some(worker),
        }
    }

    /// Does everything that can be done at `now`.
    ///
    /// # Errors
    /// The device failed, which ends the stack, or the stack has ended.
    pub fn turn(&mut self, now: Instant) -> io::Result<Progress> {
        let Some(worker) = &mut self.worker else {
            return Err(EndReason::Shutdown.into());
        };
        let index = worker.index();
        let turned = worker.turn(now);
        let reason = match &turned {
            Ok(turn) if turn.stop => EndReason::HandlesDropped,
            Ok(_) => return turned,
            Err(error) => EndReason::DeviceFailed {
                worker: index,
                error: Arc::new(io::Error::new(error.kind(), error.to_string())),
            },
        };
        if let Some(worker) = self.worker.take() {
            worker.end(reason);
        }
        turned
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            worker.end(EndReason::DriverDropped);
        }
    }
}
