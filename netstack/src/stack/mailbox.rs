//! The way of work from other threads to a worker.
//!
//! Two kinds of message. Work that is bounded by a flag of its own (a connection or a task is queued
//! at most once) goes through an unbounded queue; work that a peer or an application can produce
//! without end (packets) goes through bounded ones, whose overflow is a counted drop.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::task::Waker;

use crossbeam_queue::SegQueue;
use packet::Buffers;
use packet::buf::{Account, Held};
use packet::frame::RxPacket;

use super::doorbell::Doorbell;
use super::foreign::{Deferred, Foreign, wake_all};
use super::lazy_queue::LazyQueue;
use super::task::TaskFuture;
use super::tcp::connection::Connection;
use super::tcp::deferred::{Asked, Decision};
use super::udp::socket::OutDatagram;
use super::worklist;
use crate::base::Instant;

/// Longest queue of packets for another worker.
const ARRIVALS: usize = 4_096;
/// Longest queue of datagrams to be sent.
const DEPARTURES: usize = 1_024;

/// A message that must not be lost.
pub enum Message {
    /// Drive a connection: it may have something to send.
    Drive(Arc<Connection>),
    /// Poll a task.
    Task(u32),
    /// Start a task.
    Spawn(TaskFuture),
    /// Look at the timers: another thread has armed one. A task sleeps until an earlier time, or a multicast group
    /// is to be reported.
    Timer,
    /// Look after the entries of a restored connection table.
    Restored,
    /// Do what the program decided about a SYN.
    // A box keeps the messages of every packet short.
    Decided(Box<(Asked, Decision)>),
    /// End.
    Stop,
}

/// A packet on its way to another worker, in memory that may be kept beyond the turn.
struct Arrival {
    data: Held,
    /// The packet without its bytes.
    rest: RxPacket,
}

/// A datagram on its way to another worker, in memory that may be kept beyond the turn.
struct Departure {
    payload: Held,
    /// The datagram without its bytes.
    rest: OutDatagram,
}

/// The reason why a packet was not handed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandOverError {
    /// The queue is full.
    Full,
    /// Memory is short, and the packets that wait hold their share; or there is no memory for a copy.
    NoMemory,
}

impl Departure {
    fn into_datagram(self) -> OutDatagram {
        let payload = self.payload.into_payload();
        OutDatagram {
            payload,
            ..self.rest
        }
    }
}

/// The way to one worker.
pub struct Mailbox {
    id: u64,
    messages: SegQueue<Message>,
    /// Packets that another worker received, for flows that this one owns.
    arrivals: LazyQueue<Arrival>,
    /// Datagrams to be sent through this worker's device queue.
    departures: LazyQueue<Departure>,
    /// The memory of the packets that wait here.
    account: Account,
    /// Tasks that wait for room in `departures`.
    senders: SegQueue<Waker>,
    doorbell: Doorbell,
    /// The worker ended: what is left here is discarded.
    closed: AtomicBool,
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
    /// Creates an empty mailbox with an identity of its own.
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            messages: SegQueue::new(),
            arrivals: LazyQueue::new(ARRIVALS),
            departures: LazyQueue::new(DEPARTURES),
            account: Account::default(),
            senders: SegQueue::new(),
            doorbell: Doorbell::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// Returns the identity of this mailbox, unique in the process.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Sets, once, how to end the worker's sleep.
    pub fn set_unpark(&self, unpark: Box<dyn Fn() + Send + Sync>) {
        self.doorbell.set_unpark(unpark);
    }

    /// Queues a message. If the worker ended, the message is discarded.
    pub fn send(&self, message: Message) {
        self.messages.push(message);
        self.doorbell.ring();
        if self.is_closed() {
            self.discard_messages();
        }
    }

    /// Returns the time of the worker's turn, if this thread is the worker's and runs a task.
    pub(crate) fn turn_time(&self) -> Option<Instant> {
        worklist::with(self.id, |list| list.now).flatten()
    }

    /// Queues a task's poll: locally if the worker runs on this thread.
    pub fn wake_task(&self, task: u32) {
        if worklist::with(self.id, |list| list.ready.push(task)).is_none() {
            self.send(Message::Task(task));
        }
    }

    /// Queues a connection for its owner, once: it may have something to send.
    pub(crate) fn drive(&self, connection: &Arc<Connection>) {
        if connection.mark() {
            let here = worklist::with(self.id, |list| {
                list.connections.push(Arc::clone(connection));
            });
            if here.is_none() {
                self.send(Message::Drive(Arc::clone(connection)));
            }
        }
    }

    /// Hands over a received packet.
    pub fn hand_over(&self, mut packet: RxPacket, buffers: &Buffers) -> Result<(), HandOverError> {
        let memory = buffers.charging(&self.account);
        let data = std::mem::take(&mut packet.data);
        if memory.room(self.account.pinned()) < data.len() {
            return Err(HandOverError::NoMemory);
        }
        let data = memory.keep(data).ok_or(HandOverError::NoMemory)?;
        let arrival = Arrival { data, rest: packet };
        self.arrivals
            .push(arrival)
            .map_err(|_| HandOverError::Full)?;
        self.doorbell.ring();
        if self.is_closed() {
            while self.arrivals.pop().is_some() {}
        }
        Ok(())
    }

    /// Queues a datagram to be built and sent; gives it back when there is no room.
    pub(crate) fn send_datagram(&self, mut datagram: OutDatagram) -> Result<(), OutDatagram> {
        let Ok(payload) = self.account.hold(std::mem::take(&mut datagram.payload)) else {
            // Memory that is lent for a turn reaches no application.
            return Ok(());
        };
        let rest = datagram;
        self.departures
            .push(Departure { payload, rest })
            .map_err(Departure::into_datagram)?;
        self.doorbell.ring();
        if self.is_closed() {
            while self.departures.pop().is_some() {}
        }
        Ok(())
    }

    /// Returns true if a datagram can be queued.
    pub(crate) fn has_room(&self) -> bool {
        self.is_closed() || !self.departures.is_full()
    }

    /// Wakes `waker` when the worker has taken datagrams out.
    pub(crate) fn wake_when_drained(&self, waker: Waker) {
        self.senders.push(waker);
        self.doorbell.ring();
        if self.is_closed() {
            wake_all(std::iter::from_fn(|| self.senders.pop()));
        }
    }

    /// Discards everything that is queued or will be: the worker ended. The tasks that wait for room
    /// are appended to `wakers`.
    pub(crate) fn close(&self, wakers: &mut Vec<Waker>) {
        self.closed.store(true, Ordering::SeqCst);
        // With the fence in the doorbell's `ring`: either a sender sees the flag, or its message is
        // found here.
        fence(Ordering::SeqCst);
        self.discard_messages();
        while self.arrivals.pop().is_some() {}
        while self.departures.pop().is_some() {}
        wakers.extend(std::iter::from_fn(|| self.senders.pop()));
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn discard_messages(&self) {
        while let Some(message) = self.messages.pop() {
            if let Message::Spawn(future) = message {
                // A task may own anything of the program, and this thread may be inside the stack.
                drop(Foreign::new(Box::new(future) as Deferred));
            }
        }
    }

    /// Takes the next message.
    pub fn pop(&self) -> Option<Message> {
        self.messages.pop()
    }

    /// Takes the next packet that was handed over.
    pub fn pop_arrival(&self) -> Option<RxPacket> {
        let Arrival { data, rest } = self.arrivals.pop()?;
        let data = data.into_payload();
        Some(RxPacket { data, ..rest })
    }

    /// Takes the next datagram to send.
    pub fn pop_departure(&self) -> Option<OutDatagram> {
        self.departures.pop().map(Departure::into_datagram)
    }

    /// Takes the tasks that wait for room now, and none that comes meanwhile: one that is woken may wait again.
    pub fn take_senders(&self) -> impl Iterator<Item = Waker> {
        std::iter::from_fn(|| self.senders.pop()).take(self.senders.len())
    }

    /// Returns true if all queues are empty.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.arrivals.is_empty()
            && self.departures.is_empty()
            && self.senders.is_empty()
    }

    /// Returns how many messages, packets and datagrams wait for the worker.
    pub(crate) fn len(&self) -> usize {
        self.messages.len() + self.arrivals.len() + self.departures.len()
    }

    /// Announces that the worker is about to sleep. False if it must not, because something came in.
    pub fn fall_asleep(&self) -> bool {
        self.doorbell.fall_asleep(|| self.is_empty())
    }

    /// Announces that the worker is awake.
    pub fn awake(&self) {
        self.doorbell.awake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::stack::worklist::TaskWork;

    fn counting(mailbox: &Mailbox) -> Arc<AtomicUsize> {
        let woken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&woken);
        mailbox.set_unpark(Box::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        }));
        woken
    }

    #[test]
    fn only_a_sleeping_worker_is_woken_and_only_once() {
        let mailbox = Mailbox::new();
        let woken = counting(&mailbox);
        mailbox.send(Message::Task(1));
        assert_eq!(woken.load(Ordering::Relaxed), 0, "it was awake");
        assert!(!mailbox.fall_asleep(), "a message waits");
        assert!(matches!(mailbox.pop(), Some(Message::Task(1))));
        assert!(mailbox.fall_asleep());
        mailbox.send(Message::Task(2));
        mailbox.send(Message::Task(3));
        assert_eq!(mailbox.len(), 2);
        assert_eq!(woken.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn only_a_task_on_its_own_worker_has_the_time_of_the_turn() {
        let (mailbox, other) = (Mailbox::new(), Mailbox::new());
        let now = Instant::from_millis(7);
        let mut list = TaskWork {
            mailbox: mailbox.id(),
            now: Some(now),
            ..TaskWork::default()
        };
        assert_eq!(mailbox.turn_time(), None);
        worklist::scope(&mut list, || {
            assert_eq!((mailbox.turn_time(), other.turn_time()), (Some(now), None));
        });
        assert_eq!(mailbox.turn_time(), None);
    }

    #[test]
    fn a_task_woken_on_its_own_worker_needs_no_message() {
        let mailbox = Mailbox::new();
        let mut list = TaskWork {
            mailbox: mailbox.id(),
            ..TaskWork::default()
        };
        worklist::scope(&mut list, || mailbox.wake_task(5));
        assert_eq!(list.ready, [5]);
        assert!(mailbox.is_empty());
        mailbox.wake_task(6);
        assert!(matches!(mailbox.pop(), Some(Message::Task(6))));
    }

    #[test]
    fn packets_beyond_the_bound_come_back() {
        let mailbox = Mailbox::new();
        let buffers = Buffers::new(2_048, 1, 1);
        for _ in 0..ARRIVALS {
            assert!(mailbox.hand_over(RxPacket::default(), &buffers).is_ok());
        }
        assert!(mailbox.hand_over(RxPacket::default(), &buffers).is_err());
    }

    /// A packet that was received into the reserve waits in memory of its own, or not at all.
    #[test]
    fn a_packet_that_waits_holds_nothing_of_the_reserve() {
        let mailbox = Mailbox::new();
        let buffers = Buffers::with_limit(2_048, 12_000, 1);
        let received = || RxPacket {
            data: buffers.reserve().take().expect("free").freeze(0..1_000),
            ..RxPacket::default()
        };
        assert_eq!(mailbox.hand_over(received(), &buffers), Ok(()));
        assert_eq!(buffers.reserve().in_use(), 0);
        assert!(mailbox.account.pinned() >= 1_000);
        let _all: Vec<_> = std::iter::from_fn(|| buffers.copy_exact(&[0; 100])).collect();
        assert_eq!(
            mailbox.hand_over(received(), &buffers),
            Err(HandOverError::NoMemory)
        );
        assert_eq!(
            mailbox.pop_arrival().map(|packet| packet.data.len()),
            Some(1_000)
        );
        assert_eq!(mailbox.account.pinned(), 0);
    }
}
