//! How work reaches a worker from another thread.
//!
//! Two kinds of message. What is bounded by its own flag (a connection or a task is queued at most
//! once) goes through an unbounded queue; what a peer or an application can produce without end
//! (packets) goes through bounded ones, whose overflow is a counted drop.
//!
//! The wake-up is the engine's: the mailbox is given it as a function and calls it only when the
//! worker said that it sleeps.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use crossbeam_queue::{ArrayQueue, SegQueue};
use packet::frame::RxPacket;

use crate::stack::local::{self, TaskFuture};
use crate::stack::tcp::connection::ConnCell;
use crate::stack::udp::app::OutDatagram;

/// Packets that wait for a worker, of each kind.
const PACKETS: usize = 4_096;

/// A message that must not be lost.
pub enum Message {
    /// Drive a connection: it may have something to send.
    Drive(Arc<ConnCell>),
    /// Poll a task.
    Task(u32),
    /// Start a task.
    Spawn(TaskFuture),
    /// End.
    Stop,
}

/// The way to one worker.
pub struct Mailbox {
    id: u64,
    messages: SegQueue<Message>,
    /// Received by another worker, for a flow that this one owns.
    arrivals: ArrayQueue<RxPacket>,
    /// To be sent through this worker's queue.
    departures: ArrayQueue<OutDatagram>,
    /// Tasks that found `departures` full.
    senders: SegQueue<Waker>,
    asleep: AtomicBool,
    unpark: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mailbox({})", self.id)
    }
}

impl Default for Mailbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Mailbox {
    /// An empty mailbox with an identity of its own.
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            messages: SegQueue::new(),
            arrivals: ArrayQueue::new(PACKETS),
            departures: ArrayQueue::new(PACKETS),
            senders: SegQueue::new(),
            asleep: AtomicBool::new(false),
            unpark: OnceLock::new(),
        }
    }

    /// Unique in the process.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Sets, once, how to end the worker's sleep.
    pub fn set_unpark(&self, unpark: Box<dyn Fn() + Send + Sync>) {
        let _ = self.unpark.set(unpark);
    }

    /// Leaves a message.
    pub fn send(&self, message: Message) {
        self.messages.push(message);
        self.notify();
    }

    /// Queues a task's poll: locally if the worker runs on this thread.
    pub fn wake_task(&self, task: u32) {
        if local::with(self.id, |local| local.ready.push(task)).is_none() {
            self.send(Message::Task(task));
        }
    }

    /// Hands over a received packet; gives it back when there is no room.
    pub fn hand_over(&self, packet: RxPacket) -> Result<(), RxPacket> {
        self.arrivals.push(packet)?;
        self.notify();
        Ok(())
    }

    /// Queues a datagram to be built and sent; gives it back when there is no room.
    pub(crate) fn send_datagram(&self, datagram: OutDatagram) -> Result<(), OutDatagram> {
        self.departures.push(datagram)?;
        self.notify();
        Ok(())
    }

    /// Wakes `waker` when the worker has taken datagrams out.
    pub(crate) fn wake_when_drained(&self, waker: Waker) {
        self.senders.push(waker);
        self.notify();
    }

    /// The next message.
    pub fn pop(&self) -> Option<Message> {
        self.messages.pop()
    }

    /// The next packet that was handed over.
    pub fn pop_arrival(&self) -> Option<RxPacket> {
        self.arrivals.pop()
    }

    /// The next datagram to send.
    pub fn pop_departure(&self) -> Option<OutDatagram> {
        self.departures.pop()
    }

    /// The next task that waited for room.
    pub fn pop_sender(&self) -> Option<Waker> {
        self.senders.pop()
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.arrivals.is_empty()
            && self.departures.is_empty()
            && self.senders.is_empty()
    }

    /// The worker is about to sleep. False if it must not: something came in.
    pub fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if self.is_empty() {
            return true;
        }
        self.asleep.store(false, Ordering::SeqCst);
        false
    }

    /// The worker woke.
    pub fn awake(&self) {
        self.asleep.store(false, Ordering::Release);
    }

    fn notify(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst)
            && self.asleep.swap(false, Ordering::SeqCst)
            && let Some(unpark) = self.unpark.get()
        {
            unpark();
        }
    }
}
