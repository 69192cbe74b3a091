//! One TCP connection as the stack holds it: the pure state machine, its lock, and who waits for it.
//!
//! * **Define.** A connection belongs to one worker, its owner, which alone turns its state into
//!   packets and timers; everybody else changes the state under the lock and tells the owner.
//! * **Enforce.** The state is private behind its lock; [`ConnCell::schedule`] queues a connection at
//!   most once.
//! * **Consume.** Segments of a connection leave in order, although any thread may write to it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Waker};

use lockorder::Mutex;

use crate::base::Instant;
use crate::demux::FlowKey;
use crate::stack::deferred::Deferred;
use crate::stack::levels;
use crate::stack::local;
use crate::stack::mailbox::{Mailbox, Message};
use crate::stack::tcp::listener::Listener;
use crate::tcp::{Readiness, Tcp};

/// A connection, shared by its owner, the flow table and the application's handle.
pub struct ConnCell {
    pub(crate) flow: FlowKey,
    /// The worker that owns the connection.
    pub(crate) owner: u16,
    scheduled: AtomicBool,
    /// The owner's timer for it; see `engine::wheel`. Written by the owner alone.
    timer: AtomicU32,
    timer_nanos: AtomicU64,
    /// The application's handles: one stream, or the halves of one.
    handles: AtomicU8,
    /// Closing is a reset: asked for, or because something was left unread.
    reset_on_close: AtomicBool,
    pub(crate) state: Mutex<levels::Conn, Conn>,
}

impl fmt::Debug for ConnCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnCell({:?})", self.flow)
    }
}

/// What the lock protects.
pub(crate) struct Conn {
    pub(crate) tcp: Tcp,
    pub(crate) reader: Option<Waker>,
    pub(crate) writer: Option<Waker>,
    /// The listener that it came through, until it was handed out.
    pub(crate) listener: Option<Arc<Listener>>,
    /// True once it was taken out of the flow table.
    pub(crate) removed: bool,
    /// Time to live / hop limit of what it sends.
    pub(crate) ttl: u8,
    pub(crate) traffic_class: u8,
}

/// No timer, as [`ConnCell::timer`] says it.
pub const NO_TIMER: u32 = u32::MAX;

impl ConnCell {
    pub(crate) fn new(
        flow: FlowKey,
        owner: u16,
        tcp: Tcp,
        listener: Option<Arc<Listener>>,
        ttl: u8,
    ) -> Arc<Self> {
        Arc::new(Self {
            flow,
            owner,
            scheduled: AtomicBool::new(false),
            timer: AtomicU32::new(NO_TIMER),
            timer_nanos: AtomicU64::new(0),
            handles: AtomicU8::new(1),
            reset_on_close: AtomicBool::new(false),
            state: Mutex::new(Conn {
                tcp,
                reader: None,
                writer: None,
                listener,
                removed: false,
                ttl,
                traffic_class: 0,
            }),
        })
    }

    /// The owner's timer, if one is armed: its raw number and deadline.
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

    /// The application has one more handle.
    pub(crate) fn add_handle(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    /// The application lost a handle; true if that was the last.
    pub(crate) fn drop_handle(&self) -> bool {
        self.handles.fetch_sub(1, Ordering::AcqRel) == 1
    }

    pub(crate) fn set_reset_on_close(&self, reset: bool) {
        self.reset_on_close.store(reset, Ordering::Release);
    }

    pub(crate) fn reset_on_close(&self) -> bool {
        self.reset_on_close.load(Ordering::Acquire)
    }

    /// Marks the connection as queued for its owner; false if it was already.
    pub(crate) fn mark(&self) -> bool {
        !self.scheduled.swap(true, Ordering::AcqRel)
    }

    /// The owner takes it up: what changes from here on queues it again.
    pub(crate) fn unmark(&self) {
        self.scheduled.store(false, Ordering::Release);
    }

    /// Tells the owner that there may be something to do, once.
    pub(crate) fn schedule(self: &Arc<Self>, mailbox: &Mailbox) {
        if self.mark() {
            let here = local::with(mailbox.id(), |local| local.dirty.push(Arc::clone(self)));
            if here.is_none() {
                mailbox.send(Message::Drive(Arc::clone(self)));
            }
        }
    }
}

impl Conn {
    /// A task waits until there is room to write again.
    pub(crate) fn wait_for_room(&mut self, cx: &Context<'_>, retired: &mut Retired) {
        self.tcp.want_write();
        register(&mut self.writer, cx.waker(), retired);
    }

    /// Collects the wakers that `readiness` concern; they run when nothing is locked.
    pub(crate) fn collect_wakers(&mut self, readiness: Readiness, deferred: &mut Deferred) {
        let ended = Readiness::ERROR | Readiness::CLOSED;
        if readiness.intersects(Readiness::READABLE | Readiness::PEER_CLOSED | ended) {
            deferred.wakers.extend(self.reader.take());
        }
        if readiness.intersects(Readiness::WRITABLE | Readiness::ESTABLISHED | ended) {
            deferred.wakers.extend(self.writer.take());
        }
    }
}

/// Wakers that were replaced under a lock and are dropped after it: dropping one may run a task's
/// destructor, which is not our code.
#[derive(Default)]
pub(crate) struct Retired([Option<Waker>; 2]);

impl Retired {
    pub(crate) fn take(&mut self, waker: &mut Option<Waker>) {
        if let Some(place) = self.0.iter_mut().find(|place| place.is_none()) {
            *place = waker.take();
        }
    }
}

/// Remembers `waker` in `slot`, without a clone where it is there already.
pub(crate) fn register(slot: &mut Option<Waker>, waker: &Waker, retired: &mut Retired) {
    if slot.as_ref().is_none_or(|old| !old.will_wake(waker)) {
        retired.take(slot);
        *slot = Some(waker.clone());
    }
}
