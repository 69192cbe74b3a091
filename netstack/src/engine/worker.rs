//! A worker: a device queue, the timers of its connections, its tasks, from its beginning to its end. `turn` has what it
//! does in between.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use packet::frame::RxPacket;

use super::loopback::Loopback;
use super::onlookers::Onlookers;
use super::tasks::Tasks;
use super::wheel::Wheel;
use crate::base::Instant;
use crate::base::time::Duration;
use crate::device::Device;
use crate::stack::Host;
use crate::stack::contain::{catch, contain, message_of};
use crate::stack::ending::EndReason;
use crate::stack::mailbox::Mailbox;
use crate::stack::task::TaskFuture;
use crate::stack::tcp::connection::Connection;
use crate::stack::turn::WorkerState;
use crate::stack::{foreign, shutdown};

/// The result of a turn.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Something was done; another turn at once may find more.
    pub busy: bool,
    /// It is known that another turn at once has something to do. If not, whoever waits for the device, and for work of
    /// other threads, hears of what came in meanwhile.
    pub left: bool,
    /// When the next timer is due.
    pub next_timer: Option<Instant>,
    /// The worker was told to stop.
    pub stop: bool,
}

/// One worker: a device queue, its connections' timers, its tasks.
pub struct Worker<D: Device + ?Sized> {
    pub(super) host: Arc<Host>,
    pub(super) state: WorkerState,
    pub(super) tasks: Tasks,
    pub(super) wheel: Wheel<Arc<Connection>>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) received: Vec<RxPacket>,
    pub(super) loopback: Loopback,
    /// The observers of what is received.
    pub(super) onlookers: Onlookers,
    /// Packets taken in per turn.
    pub(super) batch: usize,
    pub(super) stopping: bool,
    /// The device had as many packets in the last turn as a turn takes in.
    pub(super) is_full: bool,
    /// Turns in a row in which the device had more packets than the turn took in.
    pub(super) turns_behind: u32,
    /// When the last turn began, if it found something to do and the time that it took is not counted yet.
    pub(super) busy_since: Option<Instant>,
    /// The earliest deadline at the end of the last turn.
    pub(super) next_timer: Option<Instant>,
    /// The MTU that the device had in the turn before.
    pub(super) device_mtu: u16,
    /// The MTU of the link in the turn before.
    pub(super) link_mtu: u16,
    pub(super) device: Box<D>,
}

impl<D: Device + ?Sized> Worker<D> {
    /// Creates worker number `index` of `host` on `device`.
    pub fn new(host: Arc<Host>, index: usize, mut device: Box<D>, now: Instant) -> Self {
        let mailbox = Arc::clone(&host.workers[index].mailbox);
        let unpark = device.unparker();
        mailbox.set_unpark(Box::new(move || unpark.unpark()));
        host.clock.advance(now);
        Self {
            state: WorkerState::new(&host, index),
            tasks: Tasks::new(Arc::clone(&mailbox)),
            wheel: Wheel::new(now),
            mailbox,
            received: Vec::with_capacity(host.receive_batch()),
            loopback: Loopback::default(),
            onlookers: Onlookers::new(device.take_observers()),
            batch: host.receive_batch(),
            stopping: false,
            is_full: false,
            turns_behind: 0,
            busy_since: None,
            next_timer: None,
            device_mtu: device.caps().mtu,
            link_mtu: host.link().mtu,
            device,
            host,
        }
    }

    /// Returns the host of this worker.
    #[cfg(any(test, feature = "invariants"))]
    pub(super) fn host(&self) -> Arc<Host> {
        Arc::clone(&self.host)
    }

    /// Returns the longest time for which it looks for packets before it sleeps.
    pub(super) fn busy_poll(&self) -> Duration {
        self.host.config.busy_poll
    }

    /// Counts the time since the last turn began, if it found something to do. Called when the next one begins, or
    /// before a sleep.
    pub(super) fn count_busy(&mut self, now: Instant) {
        if let Some(began) = self.busy_since.take() {
            self.state.counters.add_busy(now - began);
        }
    }

    /// Notes that virtual time has come to `now`, for calls of the application before the next turn.
    pub(super) fn advance(&self, now: Instant) {
        self.host.clock.advance(now);
    }

    /// Returns the device of this worker.
    pub fn device(&mut self) -> &mut D {
        &mut self.device
    }

    /// Returns the virtual time at which the device has its next packet, if it knows.
    pub(super) fn next_delivery(&self) -> Option<Instant> {
        self.device.next_delivery()
    }

    /// Exchanges the devices of two workers, as when the kernel steers flows to other queues.
    pub fn swap_devices(&mut self, other: &mut Self) {
        std::mem::swap(&mut self.device, &mut other.device);
    }

    /// Returns the number of tasks that run here.
    pub fn tasks(&self) -> usize {
        self.tasks.len()
    }

    /// Returns the message of the latest panic of a task, once.
    pub(super) fn take_panic(&mut self) -> Option<String> {
        self.tasks.take_panic()
    }

    /// Starts a task on this worker.
    pub fn spawn(&mut self, future: TaskFuture) {
        self.state.work.spawn.push(future);
    }

    /// Returns the number of this worker.
    pub fn index(&self) -> usize {
        self.state.index
    }

    /// Converts the outcome of calls of this worker: a failure or a panic is the reason for which the stack ends.
    pub(super) fn outcome<R>(
        &self,
        called: std::thread::Result<io::Result<R>>,
    ) -> Result<R, EndReason> {
        let worker = self.state.index;
        let reason = match called {
            Ok(Ok(result)) => return Ok(result),
            Ok(Err(error)) => EndReason::DeviceFailed {
                worker,
                error: Arc::new(error),
            },
            Err(panic) => EndReason::WorkerPanicked {
                worker,
                message: message_of(panic),
            },
        };
        tracing::error!(%reason, "the stack ends");
        Err(reason)
    }

    /// Ends the whole stack: this worker cannot go on.
    pub(super) fn end_stack(&self, reason: EndReason) {
        shutdown::end(&self.host, reason);
        self.host.workers.stop();
    }

    /// Lets go of everything that this worker has: it will not be turned again. Its tasks are dropped,
    /// its connections leave the table, and what other threads send to it is discarded.
    pub fn finish(mut self) {
        foreign::wake_all(self.state.work.wakers.drain(..));
        self.tasks.clear();
        for future in self.state.work.spawn.drain(..) {
            contain("a task's destructor", || drop(future));
        }
        self.state.work.serve.clear();
        let Self {
            device,
            host,
            state,
            ..
        } = self;
        contain("a device's destructor", || drop(device));
        shutdown::end_worker(&host, state.index);
        foreign::drop_deferred();
    }

    /// Gives back memory that a crowd of connections leaves behind: the worker has nothing to do.
    fn trim(&mut self) {
        self.state.work.trim();
        self.tasks.trim();
        self.wheel.trim();
    }

    /// Sleeps until a packet, a message or `until`.
    ///
    /// # Errors
    /// The device cannot wait.
    pub fn park(&mut self, now: Instant, until: Option<Instant>) -> io::Result<()> {
        self.trim();
        // A loop of the program's may come here after a turn that had something to do: the sleep is not part of it.
        self.count_busy(now);
        if !self.mailbox.fall_asleep() {
            return Ok(());
        }
        let device = &mut self.device;
        let parked = call_device(|| device.park(until.map(|until| until - now)));
        self.mailbox.awake();
        parked
    }

    /// Registers the task of `cx` to be woken by a packet or a message. Ready if there may be one now.
    ///
    /// # Errors
    /// The device can only be waited for by a thread.
    pub(super) fn poll_park(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.trim();
        let device = &mut self.device;
        let polled = catch("a device", || device.poll_park(cx)).unwrap_or_else(|message| {
            Poll::Ready(Err(io::Error::other(format!(
                "its code panicked: {message}"
            ))))
        });
        // Said after the device has the waker: whoever leaves work from here on wakes the task.
        if polled.is_pending() && !self.mailbox.fall_asleep() {
            return Poll::Ready(Ok(()));
        }
        polled
    }

    /// Announces that the worker does not sleep.
    pub(super) fn awake(&self) {
        self.mailbox.awake();
    }

    /// Ends the whole stack for `reason`, unless it has ended, and returns the reason of its end. Lets go of
    /// everything that this worker has.
    pub(super) fn end(self, reason: EndReason) -> EndReason {
        let host = Arc::clone(&self.host);
        self.end_stack(reason.clone());
        self.finish();
        host.ending.reason().cloned().unwrap_or(reason)
    }
}

/// Calls a device, which may be the program's. A panic of it is an error: the device is gone.
pub(super) fn call_device<R>(f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
    catch("a device", f)
        .unwrap_or_else(|message| Err(io::Error::other(format!("its code panicked: {message}"))))
}
