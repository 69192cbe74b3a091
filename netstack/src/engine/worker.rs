//! One worker's turn: take packets in, run what they concern, send what came of it.
//!
//! A turn runs to completion on one thread: receive a batch, process each packet, take up messages
//! and timers, wake and poll the tasks of this worker, let every connection that changed produce its
//! packets, send them in one batch. So an echo leaves in the turn that received it, and the
//! acknowledgements of a batch are one.
//!
//! Reads no clock: `now` is an argument, real or virtual.

use std::io;
use std::sync::Arc;

use lockorder::Key;

use super::tasks::Tasks;
use super::wheel::{TimerId, Wheel};
use crate::base::Instant;
use crate::device::Device;
use crate::stack::host::Shared;
use crate::stack::levels::StackLocks;
use crate::stack::local::{self, TaskFuture};
use crate::stack::mailbox::{Mailbox, Message};
use crate::stack::tcp::connection::ConnCell;
use crate::stack::turn::WorkerState;

/// Packets taken in per turn: enough to batch, few enough that acknowledgements do not come in bursts.
const RECV_BATCH: usize = 32;
/// Messages, timers and task polls taken up per turn, each: a bound on a turn's length.
const WORK_BATCH: usize = 512;
/// Packets after which the transmit batch is sent before the turn's end.
const SEND_BATCH: usize = 128;

/// What a turn found.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Something was done; another turn at once may find more.
    pub busy: bool,
    /// When the next timer is due.
    pub next_timer: Option<Instant>,
    /// The worker was told to end.
    pub stop: bool,
}

/// One worker: a device queue, its connections' timers, its tasks.
pub struct Worker<D: Device + ?Sized> {
    shared: Arc<Shared>,
    state: WorkerState,
    tasks: Tasks,
    wheel: Wheel<Arc<ConnCell>>,
    mailbox: Arc<Mailbox>,
    received: Vec<packet::frame::RxPacket>,
    stopping: bool,
    device: Box<D>,
}

impl<D: Device + ?Sized> Worker<D> {
    /// The worker number `index` of `shared`, on `device`.
    pub fn new(shared: Arc<Shared>, index: usize, device: Box<D>, now: Instant) -> Self {
        let mailbox = Arc::clone(&shared.workers[index].mailbox);
        let unpark = device.unparker();
        mailbox.set_unpark(Box::new(move || unpark.unpark()));
        Self {
            state: WorkerState::new(&shared, index, now),
            tasks: Tasks::new(Arc::clone(&mailbox)),
            wheel: Wheel::new(now),
            mailbox,
            received: Vec::with_capacity(RECV_BATCH),
            stopping: false,
            device,
            shared,
        }
    }

    /// The device of this worker.
    pub fn device(&mut self) -> &mut D {
        &mut self.device
    }

    /// Exchanges the devices of two workers, as when the kernel steers flows to other queues.
    pub fn swap_devices(&mut self, other: &mut Self) {
        std::mem::swap(&mut self.device, &mut other.device);
    }

    /// How many tasks run here.
    pub fn tasks(&self) -> usize {
        self.tasks.len()
    }

    /// Starts a task on this worker.
    pub fn spawn(&mut self, future: TaskFuture) {
        self.state.local.spawn.push(future);
    }

    /// Does everything that can be done at `now`. Errors are those of the device.
    pub fn turn(&mut self, now: Instant) -> io::Result<Turn> {
        let Some(mut key) = Key::<StackLocks>::take() else {
            return Err(io::Error::other(
                "a worker's turn was started inside another's",
            ));
        };
        let key = &mut key;
        self.shared.set_now(now);
        self.state.begin_turn(&self.shared, key, now);

        let mut busy = self.receive(key, now)?;
        busy |= self.take_messages(key);
        busy |= self.fire_timers(key, now);
        busy |= self.run_tasks(key);
        busy |= self.drive(key)?;
        self.send()?;
        Ok(Turn {
            busy,
            next_timer: self.next_timer(),
            stop: self.stopping,
        })
    }

    /// Sleeps until a packet, a message or `until`.
    pub fn park(&mut self, now: Instant, until: Option<Instant>) -> io::Result<()> {
        if !self.mailbox.fall_asleep() {
            return Ok(());
        }
        let parked = self.device.park(until.map(|until| until - now));
        self.mailbox.awake();
        parked
    }

    fn next_timer(&self) -> Option<Instant> {
        match (self.wheel.next_deadline(), self.state.next_timer()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn receive(&mut self, key: &mut Key<StackLocks>, now: Instant) -> io::Result<bool> {
        let counters = Arc::clone(&self.state.counters);
        let count = self.device.recv_batch(
            &mut self.received,
            RECV_BATCH,
            &self.shared.buffers,
            now,
            &counters,
        )?;
        if count == 0 && self.received.is_empty() {
            return Ok(false);
        }
        let mut received = std::mem::take(&mut self.received);
        for packet in received.drain(..) {
            self.shared.receive(key, &mut self.state, packet, false);
        }
        self.received = received;
        Ok(true)
    }

    fn take_messages(&mut self, key: &mut Key<StackLocks>) -> bool {
        if self.mailbox.is_empty() {
            return false;
        }
        for _ in 0..WORK_BATCH {
            match self.mailbox.pop() {
                Some(Message::Drive(cell)) => self.state.local.dirty.push(cell),
                Some(Message::Task(id)) => self.state.local.ready.push(id),
                Some(Message::Spawn(future)) => self.state.local.spawn.push(future),
                Some(Message::Stop) => self.stopping = true,
                None => break,
            }
        }
        for _ in 0..WORK_BATCH {
            let Some(packet) = self.mailbox.pop_arrival() else {
                break;
            };
            self.shared.receive(key, &mut self.state, packet, true);
        }
        for _ in 0..WORK_BATCH {
            let Some(datagram) = self.mailbox.pop_departure() else {
                break;
            };
            self.state.local.datagrams.push(datagram);
        }
        while let Some(waker) = self.mailbox.pop_sender() {
            self.state.deferred.wake(waker);
        }
        true
    }

    fn fire_timers(&mut self, key: &mut Key<StackLocks>, now: Instant) -> bool {
        let mut busy = self.shared.on_stack_timers(key, &mut self.state, now);
        for _ in 0..WORK_BATCH {
            let Some((_, cell)) = self.wheel.pop_due(now) else {
                break;
            };
            cell.set_timer(None);
            self.shared.on_conn_timeout(key, &mut self.state, &cell);
            busy = true;
        }
        busy
    }

    /// Wakes, starts and polls. Nothing is locked: this is other people's code.
    fn run_tasks(&mut self, key: &mut Key<StackLocks>) -> bool {
        let WorkerState {
            local, deferred, ..
        } = &mut self.state;
        let mut started: Vec<TaskFuture> = Vec::new();
        if !deferred.is_empty() {
            local::scope(local, || deferred.run(key, |future| started.push(future)));
        }
        started.append(&mut local.spawn);
        for future in started {
            let id = self.tasks.insert(future);
            local.ready.push(id);
        }
        if local.ready.is_empty() {
            return false;
        }
        let mut ready = std::mem::take(&mut local.ready);
        let tasks = &mut self.tasks;
        key.lend(|| {
            local::scope(local, || {
                for id in ready.drain(..) {
                    tasks.poll(id);
                }
            });
        });
        // Keep the larger allocation; what was woken meanwhile is polled next turn.
        if local.ready.is_empty() {
            local.ready = ready;
        }
        true
    }

    /// Lets every connection that changed produce packets and set its timer.
    fn drive(&mut self, key: &mut Key<StackLocks>) -> io::Result<bool> {
        let datagrams = self.shared.send_datagrams(key, &mut self.state);
        if self.state.local.dirty.is_empty() {
            return Ok(datagrams);
        }
        let mut dirty = std::mem::take(&mut self.state.local.dirty);
        for cell in dirty.drain(..) {
            let deadline = self.shared.drive(key, &mut self.state, &cell);
            self.set_timer(&cell, deadline);
            if self.state.local.transmit.len() >= SEND_BATCH {
                self.send()?;
            }
        }
        if self.state.local.dirty.is_empty() {
            self.state.local.dirty = dirty;
        }
        Ok(true)
    }

    /// Timers move forward lazily: one that is armed earlier than needed stays, and finds out when it
    /// fires.
    fn set_timer(&mut self, cell: &Arc<ConnCell>, deadline: Option<Instant>) {
        let armed = cell
            .timer()
            .and_then(|(raw, at)| TimerId::from_raw(raw).map(|id| (id, at)));
        match (armed, deadline) {
            (None, Some(deadline)) => {
                let id = self.wheel.arm(deadline, Arc::clone(cell));
                cell.set_timer(Some((id.to_raw(), deadline)));
            }
            (Some((id, at)), Some(deadline)) if deadline < at => {
                self.wheel.rearm(id, deadline);
                cell.set_timer(Some((id.to_raw(), deadline)));
            }
            (Some((id, _)), None) => {
                self.wheel.cancel(id);
                cell.set_timer(None);
            }
            _ => {}
        }
    }

    fn send(&mut self) -> io::Result<()> {
        let batch = &mut self.state.local.transmit;
        if batch.is_empty() {
            return Ok(());
        }
        self.device.send_batch(batch, &self.state.counters)
    }
}
