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
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::clock::Clock;
use super::pauses::Pauses;
use super::threads::FROZEN_PAUSE;
use super::worker::{Progress, Worker};
use crate::base::Instant;
use crate::base::limits::LONGEST_BUSY_POLL;
use crate::device::Device;
use crate::stack::ending::EndReason;

/// Turns in one poll: then other tasks of the runtime have their turn.
const TURNS_PER_POLL: usize = 16;

/// A sleep of the program's runtime.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts a sleep.
pub type Timer = Box<dyn FnMut(Duration) -> Sleep + Send>;

/// Sees to it that the task is polled again when the other tasks that can go on, and the devices of the runtime, have been
/// looked at.
pub(crate) type StandBack = fn(&mut Context<'_>);

/// One worker of a stack that runs as a future.
///
/// The program spawns or awaits it, one for each device queue. It ends when the stack ends, and the stack
/// ends when it is dropped. The output is the reason.
///
/// Devices that can be waited for by a task: the packet channel. A TUN device needs a thread of its own.
#[must_use = "a driver does nothing unless it is polled"]
pub struct Driver {
    turns: Turns,
    clock: Clock,
    timer: Timer,
    stand_back: StandBack,
    /// Longest time for which it looks for work before it waits.
    busy_poll: Duration,
    pauses: Pauses,
    /// When it found nothing to do, if it has not found anything since.
    idle_since: Option<Instant>,
    /// A sleep, and when it ends.
    armed: Option<(Instant, Sleep)>,
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("turns", &self.turns)
            .finish_non_exhaustive()
    }
}

impl Driver {
    /// Drives `worker` by `clock`, and by `timer` and `stand_back` of the runtime.
    pub(crate) fn new(
        worker: Worker<dyn Device>,
        clock: Clock,
        timer: Timer,
        stand_back: StandBack,
    ) -> Self {
        Self {
            turns: Turns::new(worker),
            clock,
            timer,
            stand_back,
            busy_poll: Duration::ZERO,
            pauses: Pauses::new(),
            idle_since: None,
            armed: None,
        }
    }

    /// Looks for packets for up to `time`, at most 1 ms, before it waits, where it has measured that this shortens its
    /// pauses. Round trips get shorter, for processor time: the runtime polls the driver over and over, and other tasks
    /// in between. Zero, as by default: it waits at once.
    ///
    /// ```no_run
    /// # fn example(driver: netstack::net::Driver) {
    /// use std::time::Duration;
    ///
    /// tokio::spawn(driver.busy_poll(Duration::from_micros(60)));
    /// # }
    /// ```
    pub fn busy_poll(self, time: Duration) -> Self {
        Self {
            busy_poll: time.min(LONGEST_BUSY_POLL),
            ..self
        }
    }

    /// Notes that a turn at `now` had something to do.
    fn note_busy(&mut self, now: Instant) {
        if let Some(since) = self.idle_since.take() {
            self.pauses.ended_after(now - since);
        }
    }

    /// Returns true if it should go on looking, though a turn at `now` had nothing to do.
    fn looks_on(&mut self, now: Instant) -> bool {
        if self.busy_poll.is_zero() {
            return false;
        }
        let pause = now - *self.idle_since.get_or_insert(now);
        pause < self.busy_poll && self.pauses.spin()
    }

    /// Turns the worker until it has nothing left to do and everything that wakes it is registered.
    ///
    /// # Errors
    /// The stack ended, for this reason.
    fn run(&mut self, cx: &mut Context<'_>) -> Result<(), EndReason> {
        self.turns.awake();
        for _ in 0..TURNS_PER_POLL {
            let began = self.clock.now();
            let turn = self.turns.turn_once(began)?;
            if turn.busy {
                self.note_busy(began);
            }
            if turn.left {
                continue;
            }
            let now = if turn.busy {
                // The turn took its time, which a timer and a pause do not include.
                let now = self.clock.now();
                self.turns.count_busy(now);
                now
            } else {
                began
            };
            if self.turns.waits_for_others() {
                // The device may have packets, which are not for now.
                let later = Some(now + FROZEN_PAUSE);
                if self.poll_timer(now, later, cx).is_pending() {
                    return Ok(());
                }
                continue;
            }
            if self.turns.poll_park(cx)?.is_pending() {
                if self.poll_timer(now, turn.next_timer, cx).is_pending() {
                    if self.looks_on(now) {
                        (self.stand_back)(cx);
                    }
                    return Ok(());
                }
                self.turns.awake();
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Polls a sleep until `deadline`. One that ends earlier is kept: it wakes the task once too often.
    fn poll_timer(
        &mut self,
        now: Instant,
        deadline: Option<Instant>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(deadline) = deadline else {
            return Poll::Pending;
        };
        let (at, mut sleep) = match self.armed.take() {
            Some(armed) if armed.0 <= deadline => armed,
            _ => (deadline, (self.timer)(deadline.saturating_since(now))),
        };
        let slept = sleep.as_mut().poll(cx);
        if slept.is_pending() {
            self.armed = Some((at, sleep));
        }
        slept
    }
}

impl Future for Driver {
    type Output = EndReason;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<EndReason> {
        match self.get_mut().run(cx) {
            Ok(()) => Poll::Pending,
            Err(reason) => Poll::Ready(reason),
        }
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
    /// The worker, or the reason for which its stack ended.
    worker: Result<Worker<dyn Device>, EndReason>,
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turns")
            .field("worker", &self.worker.as_ref().map(Worker::index))
            .finish()
    }
}

impl Turns {
    /// Turns `worker` by the program's loop.
    pub fn new(worker: Worker<dyn Device>) -> Self {
        Self { worker: Ok(worker) }
    }

    /// Does everything that can be done at `now`.
    ///
    /// # Errors
    /// The stack ended: the error says why.
    pub fn turn(&mut self, now: Instant) -> io::Result<Progress> {
        Ok(self.turn_once(now)?)
    }

    /// Sleeps in the device until a packet, work of another thread or `until`, which is the time that the last turn
    /// returned; `None`: no limit. For a loop that has nothing else to wait for. May return early.
    ///
    /// # Errors
    /// The stack ended, or the device cannot wait: the stack ends then.
    pub fn park(&mut self, now: Instant, until: Option<Instant>) -> io::Result<()> {
        Ok(self.call(|worker| worker.park(now, until))?)
    }

    fn turn_once(&mut self, now: Instant) -> Result<Progress, EndReason> {
        let turn = self.call(|worker| worker.turn(now))?;
        if turn.stop {
            return Err(self.end(EndReason::HandlesDropped));
        }
        Ok(turn)
    }

    fn poll_park(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, EndReason> {
        self.call(|worker| match worker.poll_park(cx) {
            Poll::Ready(waited) => waited.map(Poll::Ready),
            Poll::Pending => Ok(Poll::Pending),
        })
    }

    fn waits_for_others(&self) -> bool {
        self.worker.as_ref().is_ok_and(Worker::reads_nothing)
    }

    fn count_busy(&mut self, now: Instant) {
        if let Ok(worker) = &mut self.worker {
            worker.count_busy(now);
        }
    }

    fn awake(&self) {
        if let Ok(worker) = &self.worker {
            worker.awake();
        }
    }

    /// Calls the worker. If it fails or panics, the whole stack ends for that reason.
    fn call<R>(
        &mut self,
        f: impl FnOnce(&mut Worker<dyn Device>) -> io::Result<R>,
    ) -> Result<R, EndReason> {
        let worker = self.worker.as_mut().map_err(|reason| reason.clone())?;
        let called = catch_unwind(AssertUnwindSafe(|| f(worker)));
        match worker.outcome(called) {
            Ok(result) => Ok(result),
            Err(reason) => Err(self.end(reason)),
        }
    }

    /// Ends the stack for `reason`, unless it has ended; returns the reason of its end.
    fn end(&mut self, reason: EndReason) -> EndReason {
        let ended = match std::mem::replace(&mut self.worker, Err(reason.clone())) {
            Ok(worker) => worker.end(reason),
            Err(earlier) => earlier,
        };
        self.worker = Err(ended.clone());
        ended
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        self.end(EndReason::DriverDropped);
    }
}
