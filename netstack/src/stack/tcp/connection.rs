//! One TCP connection as the stack holds it: the pure state machine, its lock, and the tasks that wait
//! for it.
//!
//! * **Define.** A connection belongs to one worker, its owner, which alone turns its state into
//!   packets and timers; everybody else changes the state under the lock and tells the owner.
//! * **Enforce.** The state is private behind its lock; the mark `queued` lets a connection be
//!   queued for its owner at most once.
//! * **Consume.** Segments of a connection leave in order, although any thread may write to it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::task::Waker;

use lockorder::Mutex;

use super::super::foreign::locked;
use super::super::levels;
use super::super::waiters::{Waiter, WakerSlot};
use super::authenticator::Authenticator;
use super::options::Options;
use super::{accept, listener};
use crate::ao::OPTION_LEN;
use crate::base::Instant;
use crate::demux::{FlowKey, HasFlow};
use crate::tcp::{BLOCK_BYTES, Readiness, Tcp};

/// A listening port.
pub(crate) type Listener = listener::Listener<Arc<Connection>>;
/// A service for connections.
pub(crate) type Service = accept::Service<Arc<Connection>>;

/// A connection, shared by its owner, the connection table and the application's handles.
pub struct Connection {
    pub(crate) flow: FlowKey,
    /// The worker that owns the connection.
    pub(crate) owner: u16,
    queued: AtomicBool,
    /// The owner's timer for it; see `engine::wheel`. Written by the owner alone.
    timer: AtomicU32,
    timer_nanos: AtomicU64,
    /// The application's handles: one stream, or the halves of one.
    handles: AtomicU8,
    /// Closing is a reset: the application asked for it, or left something unread.
    reset_on_close: AtomicBool,
    /// It is in its owner's list of the connections that hold memory.
    listed: AtomicBool,
    pub(crate) state: Mutex<levels::Connection, ConnectionState>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({:?})", self.flow)
    }
}

impl HasFlow for Connection {
    fn flow(&self) -> &FlowKey {
        &self.flow
    }
}

/// Resident memory that an open, idle connection may take in all, in bytes.
const IDLE_BYTES: usize = 512;
/// The counts of an `Arc`, and what the allocator adds.
const ALLOCATION_BYTES: usize = 16 + 16;
/// A slot of the connection table when it has just grown, and the tag of the slot.
const TABLE_BYTES: usize = 2 * (size_of::<usize>() + 1) * 8 / 7 + 1;
/// Its timer, if it has one: keepalive.
const TIMER_BYTES: usize = 32;
const _: () = assert!(
    size_of::<Connection>() + ALLOCATION_BYTES + TABLE_BYTES + TIMER_BYTES <= IDLE_BYTES,
    "what only a busy connection needs belongs into its control block, which it gives back"
);

/// Returns how much memory the C library's allocator takes for so many bytes, where a pointer has 64 bits.
#[cfg(target_pointer_width = "64")]
const fn allocated(bytes: usize) -> usize {
    (bytes + 8).next_multiple_of(16)
}
// Elsewhere nothing breaks if they do not: idle connections take more memory.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(
    2 * allocated(16 + size_of::<Connection>()) == allocated(BLOCK_BYTES),
    "two records must fit into the place of a control block: see `tcp::block`"
);

/// The state behind a connection's lock.
pub(crate) struct ConnectionState {
    pub(crate) tcp: Tcp,
    pub(crate) reader: WakerSlot,
    pub(crate) writer: WakerSlot,
    /// True once it was taken out of the connection table.
    pub(crate) removed: bool,
    /// Time to live / hop limit of the packets that it sends.
    pub(crate) ttl: u8,
    pub(crate) traffic_class: u8,
    /// The application waits to write, and nothing that the peer sends will wake it: there was no memory for
    /// a first byte.
    pub(crate) starved: bool,
    /// Signs and verifies the segments, if the connection is authenticated.
    pub(crate) authenticator: Option<Box<Authenticator>>,
}

/// The value of [`Connection::timer`] for no timer.
const NO_TIMER: u32 = u32::MAX;

impl Connection {
    /// Creates a connection, which is authenticated if it has an authenticator.
    pub(crate) fn new(
        flow: FlowKey,
        owner: u16,
        mut tcp: Tcp,
        options: &Options,
        authenticator: Option<Box<Authenticator>>,
    ) -> Arc<Self> {
        if authenticator.is_some() {
            tcp.set_authentication_len(OPTION_LEN);
        }
        Arc::new(Self {
            flow,
            owner,
            queued: AtomicBool::new(false),
            timer: AtomicU32::new(NO_TIMER),
            timer_nanos: AtomicU64::new(0),
            handles: AtomicU8::new(1),
            reset_on_close: AtomicBool::new(options.reset_on_close),
            listed: AtomicBool::new(false),
            state: Mutex::new(ConnectionState {
                tcp,
                reader: WakerSlot::default(),
                writer: WakerSlot::default(),
                removed: false,
                ttl: options.ttl,
                traffic_class: options.traffic_class,
                starved: false,
                authenticator,
            }),
        })
    }

    /// Returns the owner's timer, if one is armed: its raw number and deadline.
    pub fn timer(&self) -> Option<(u32, Instant)> {
        let raw = self.timer.load(Ordering::Relaxed);
        (raw != NO_TIMER).then(|| {
            (
                raw,
                Instant::from_nanos(self.timer_nanos.load(Ordering::Relaxed)),
            )
        })
    }

    /// Notes the owner's timer. Only the owner calls this.
    pub fn set_timer(&self, timer: Option<(u32, Instant)>) {
        let (raw, deadline) = timer.unwrap_or((NO_TIMER, Instant::ZERO));
        self.timer.store(raw, Ordering::Relaxed);
        self.timer_nanos
            .store(deadline.as_nanos(), Ordering::Relaxed);
    }

    /// Counts one more handle of the application.
    pub(crate) fn add_handle(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one handle less; true if that was the last.
    pub(crate) fn drop_handle(&self) -> bool {
        self.handles.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Returns true if the application has let go of the connection.
    pub(crate) fn is_orphan(&self) -> bool {
        self.handles.load(Ordering::Acquire) == 0
    }

    /// Notes that the connection enters its owner's list of holders; false if it is there already. Only the
    /// owner calls this.
    pub(crate) fn list(&self) -> bool {
        let listed = self.listed.load(Ordering::Relaxed);
        self.listed.store(true, Ordering::Relaxed);
        !listed
    }

    /// Notes that the connection left its owner's list of holders.
    pub(crate) fn unlist(&self) {
        self.listed.store(false, Ordering::Relaxed);
    }

    pub(crate) fn set_reset_on_close(&self, reset: bool) {
        self.reset_on_close.store(reset, Ordering::Release);
    }

    pub(crate) fn reset_on_close(&self) -> bool {
        self.reset_on_close.load(Ordering::Acquire)
    }

    /// Runs `f` on the state, under the lock. Not for code that holds this thread's key.
    pub(crate) fn with_state<R>(&self, f: impl FnOnce(&mut ConnectionState) -> R) -> R {
        locked(|key| self.state.with(&mut key.ctx(), |state, _| f(state)))
    }

    /// Marks the connection as queued for its owner; false if it was already.
    pub(crate) fn mark(&self) -> bool {
        !self.queued.swap(true, Ordering::AcqRel)
    }

    /// Takes the mark off: a change from here on queues the connection again.
    pub(crate) fn unmark(&self) {
        self.queued.store(false, Ordering::Release);
    }
}

impl ConnectionState {
    /// Notes that a write took nothing. Returns true if that was for want of memory, and no acknowledgment will free
    /// some: then the owner must look.
    pub(crate) fn starve(&mut self) -> bool {
        self.starved = self.tcp.send_room() > 0;
        self.starved && self.tcp.unacked() == 0
    }

    /// Returns true if a write may take something.
    pub(crate) fn has_room(&self) -> bool {
        self.tcp.send_room() > 0 && !self.starved
    }

    /// Lets a task wait until there is room to write again.
    pub(crate) fn wait_for_room(&mut self, waiter: &mut Waiter<'_>) {
        self.tcp.want_write();
        self.writer.register(waiter);
    }

    /// Moves the wakers that `readiness` concerns to `wakers`, to be woken when nothing is locked.
    pub(crate) fn collect_wakers(&mut self, readiness: Readiness, wakers: &mut Vec<Waker>) {
        let ended = Readiness::ERROR | Readiness::CLOSED;
        if readiness.intersects(Readiness::READABLE | Readiness::PEER_CLOSED | ended) {
            self.reader.drain_into(wakers);
        }
        if readiness.intersects(Readiness::WRITABLE | Readiness::ESTABLISHED | ended) {
            self.starved = false;
            self.writer.drain_into(wakers);
        }
    }
}
