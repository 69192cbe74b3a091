//! Parking a device's thread and unparking it, without a lock and without a lost wake-up.
//!
//! * **Define.** A device's thread is `RUNNING`, `PARKED` or `NOTIFIED`. An unpark writes `NOTIFIED`;
//!   only the device's thread leaves that state.
//! * **Enforce.** One atomic, [`State`], holds it; the thread gets from `RUNNING` to `PARKED` only by
//!   an exchange that fails if an unpark came in between.
//! * **Consume.** A caller that hands work to a device pushes it first and calls `unpark` after: the
//!   thread then either sees the work or returns from its next `park`. A thread that does not sleep
//!   is unparked without a system call.
//!
//! [`MemoryWake`] is for a device without a file descriptor, and works on every system.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use atomic_waker::AtomicWaker;

use super::Unpark;

const RUNNING: u32 = 0;
const PARKED: u32 = 1;
const NOTIFIED: u32 = 2;

/// An atomic word; the model checker brings its own.
pub(super) trait Word {
    fn new(value: u32) -> Self;
    fn exchange(&self, current: u32, new: u32) -> bool;
    fn swap(&self, new: u32) -> u32;
    fn is(&self, value: u32) -> bool;
}

macro_rules! word {
    ($atomic:ty) => {
        impl Word for $atomic {
            fn new(value: u32) -> Self {
                Self::new(value)
            }

            fn exchange(&self, current: u32, new: u32) -> bool {
                self.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire)
                    .is_ok()
            }

            fn swap(&self, new: u32) -> u32 {
                self.swap(new, Ordering::AcqRel)
            }

            fn is(&self, value: u32) -> bool {
                self.load(Ordering::Relaxed) == value
            }
        }
    };
}

word!(AtomicU32);

/// The state of a device's thread.
#[derive(Debug)]
pub(super) struct State<W = AtomicU32>(W);

impl<W: Word> State<W> {
    pub(super) fn new() -> Self {
        Self(W::new(RUNNING))
    }

    /// Returns `true` if the thread must sleep now and call `leave` afterwards, `false` if it was
    /// notified and must not sleep.
    pub(super) fn enter(&self) -> bool {
        let entered = self.0.exchange(RUNNING, PARKED);
        if !entered {
            self.leave();
        }
        entered
    }

    pub(super) fn leave(&self) {
        self.0.swap(RUNNING);
    }

    /// Forgets a notification: the thread is about to look for what it was notified of.
    pub(super) fn look(&self) {
        if self.0.is(NOTIFIED) {
            self.leave();
        }
    }

    /// Notes a notification. Returns `true` if the thread sleeps and must be woken.
    pub(super) fn notify(&self) -> bool {
        self.0.swap(NOTIFIED) == PARKED
    }
}

/// Wakes a thread that sleeps in `std::thread::park`.
struct Unparked(Thread);

impl Wake for Unparked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    /// The waker of this thread.
    static THREAD: Waker = Waker::from(Arc::new(Unparked(thread::current())));
}

/// Parks a thread, or a task, that has no file descriptor to wait for.
#[derive(Debug)]
pub(super) struct MemoryWake {
    state: State,
    sleeper: AtomicWaker,
}

impl MemoryWake {
    pub(super) fn new() -> Self {
        Self {
            state: State::new(),
            sleeper: AtomicWaker::new(),
        }
    }

    /// Forgets the unparks so far: what they were for is seen by whoever looks for it now.
    pub(super) fn look(&self) {
        self.state.look();
    }

    /// Registers the task of `cx` to be woken by `unpark`. Ready if that was called since the last time, or since the last
    /// `look`.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.sleeper.register(cx.waker());
        if self.state.0.swap(PARKED, Ordering::AcqRel) == NOTIFIED {
            self.state.leave();
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Sleeps until `unpark` or `timeout`. May end early.
    pub(super) fn park(&self, timeout: Option<Duration>) {
        THREAD.with(|waker| self.sleeper.register(waker));
        if !self.state.enter() {
            return;
        }
        match timeout {
            Some(timeout) => thread::park_timeout(timeout),
            None => thread::park(),
        }
        self.state.leave();
    }
}

impl Unpark for MemoryWake {
    fn unpark(&self) {
        if self.state.notify() {
            self.sleeper.wake();
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    pub(in crate::device) const LONG: Option<Duration> = Some(Duration::from_secs(600));

    #[test]
    fn an_unpark_before_the_park_is_not_lost() {
        let wake = MemoryWake::new();
        wake.unpark();
        wake.unpark();
        wake.park(LONG);
        // One park took both.
        wake.park(Some(Duration::ZERO));
    }

    /// Each item that the producer pushes is seen although the consumer sleeps whenever it saw
    /// nothing: a lost wake-up would hang here for ten minutes.
    pub(in crate::device) fn no_wake_up_is_lost(
        mut park: impl FnMut() -> io::Result<()> + Send,
        wake: Arc<dyn Unpark>,
    ) {
        const ITEMS: usize = 20_000;
        let pushed = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut seen = 0;
                while seen < ITEMS {
                    let now = pushed.load(Ordering::Acquire);
                    if now == seen {
                        park().expect("park");
                    }
                    seen = now;
                }
            });
            for item in 1..=ITEMS {
                pushed.store(item, Ordering::Release);
                wake.unpark();
            }
        });
    }

    #[test]
    fn no_wake_up_is_lost_between_threads() {
        let wake = Arc::new(MemoryWake::new());
        let parking = Arc::clone(&wake);
        no_wake_up_is_lost(
            move || {
                parking.park(LONG);
                Ok(())
            },
            wake,
        );
    }
}

/// `cargo test -p netstack --features loom --lib models`
#[cfg(all(test, feature = "loom"))]
mod models {
    use loom::sync::{Arc, Mutex, Notify};
    use loom::thread;

    use super::*;

    word!(loom::sync::atomic::AtomicU32);

    /// Work that is pushed while the thread parks is found, by the thread or by the wake-up. If it were
    /// not, the thread would sleep for ever, which loom reports as a deadlock.
    #[test]
    fn a_thread_that_parks_finds_work_that_was_pushed_before_the_unpark() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let state = Arc::new(State::<loom::sync::atomic::AtomicU32>::new());
            let asleep = Arc::new(Notify::new());
            let queue = Arc::new(Mutex::new(Vec::new()));
            let senders: Vec<_> = (1..=2)
                .map(|work| {
                    let (state, asleep) = (Arc::clone(&state), Arc::clone(&asleep));
                    let queue = Arc::clone(&queue);
                    thread::spawn(move || {
                        queue.lock().expect("no panic").push(work);
                        if state.notify() {
                            asleep.notify();
                        }
                    })
                })
                .collect();
            let mut sum = 0;
            while sum < 3 {
                state.look();
                if let Some(work) = queue.lock().expect("no panic").pop() {
                    sum += work;
                } else if state.enter() {
                    asleep.wait();
                    state.leave();
                }
            }
            for sender in senders {
                sender.join().expect("no panic");
            }
        });
    }
}
