//! Parking a device's thread and unparking it, without a lock and without a lost wake-up.
//!
//! * **Define.** A device's thread is `RUNNING`, `PARKED` or `NOTIFIED`. An unpark writes `NOTIFIED`;
//!   only the device's thread leaves that state.
//! * **Enforce.** One atomic, `State`, holds it; the thread gets from `RUNNING` to `PARKED` only by
//!   an exchange that fails if an unpark came in between.
//! * **Consume.** A caller that hands work to a device pushes it first and calls `unpark` after: the
//!   thread then either sees the work or returns from its next `park`. A thread that does not sleep
//!   is unparked without a system call.
//!
//! All devices share that state; the three types differ in the system call that sleeps:
//!
//! | type | sleeps in | for a device that |
//! |---|---|---|
//! | [`FdWake`] | `ppoll` | lends its file descriptor |
//! | [`EpollWake`] | `epoll_wait` | gives only its descriptor's number, which needs no borrow here |
//! | [`MemoryWake`] | `futex` | has no descriptor |
//!
//! `ppoll` is the first choice: with `epoll` the kernel runs a callback for each packet that it
//! queues, even while the thread does not sleep.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{self, Context};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::thread::futex;

use super::Unpark;

const RUNNING: u32 = 0;
const PARKED: u32 = 1;
const NOTIFIED: u32 = 2;

/// Longest single sleep: longer ones end early, which `park` allows.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

fn timespec(timeout: Option<Duration>) -> Option<Timespec> {
    let timeout = timeout?.min(SLEEP_MAX);
    Some(Timespec {
        tv_sec: timeout.as_secs() as i64,
        tv_nsec: i64::from(timeout.subsec_nanos()),
    })
}

/// An atomic word; the model checker brings its own.
trait Word {
    fn new(value: u32) -> Self;
    fn exchange(&self, current: u32, new: u32) -> bool;
    fn swap(&self, new: u32) -> u32;
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
        }
    };
}

word!(AtomicU32);

/// The state of a device's thread.
#[derive(Debug)]
struct State<W = AtomicU32>(W);

impl<W: Word> State<W> {
    fn new() -> Self {
        Self(W::new(RUNNING))
    }

    /// Returns `true` if the thread must sleep now and call `leave` afterwards, `false` if it was
    /// notified and must not sleep.
    fn enter(&self) -> bool {
        let entered = self.0.exchange(RUNNING, PARKED);
        if !entered {
            self.leave();
        }
        entered
    }

    fn leave(&self) {
        self.0.swap(RUNNING);
    }

    /// Notes a notification. Returns `true` if the thread sleeps and must be woken.
    fn notify(&self) -> bool {
        self.0.swap(NOTIFIED) == PARKED
    }
}

/// Parks a thread until a borrowed file descriptor is readable.
#[derive(Debug)]
pub(super) struct FdWake {
    state: State,
    event: OwnedFd,
}

impl FdWake {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            state: State::new(),
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// Sleeps until `fd` is readable (or broken), `unpark`, or `timeout`.
    pub(super) fn park(&self, fd: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<()> {
        if !self.state.enter() {
            return Ok(());
        }
        let mut fds = [
            PollFd::from_borrowed_fd(fd, PollFlags::IN),
            PollFd::new(&self.event, PollFlags::IN),
        ];
        let polled = poll(&mut fds, timespec(timeout).as_ref());
        let unparked = fds[1].revents().contains(PollFlags::IN);
        self.state.leave();
        if unparked {
            // A failed read is harmless: at worst the next poll returns at once.
            let _ = rustix::io::read(&self.event, &mut [0; 8]);
        }
        match polled {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Unpark for FdWake {
    fn unpark(&self) {
        if self.state.notify() {
            // Fails only when 2^64 - 2 wake-ups are pending: then the thread wakes anyway.
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }
}

const DEVICE: Token = Token(0);
const UNPARK: Token = Token(1);

/// Parks a thread until a descriptor, known by its number, becomes readable.
///
/// `epoll` reports an edge once: a packet that was there before the last report is not reported
/// again. The device must not park before a read has found its queue empty.
#[derive(Debug)]
pub(super) struct EpollWake {
    poll: Poll,
    events: Events,
    unparker: Arc<EpollUnparker>,
}

#[derive(Debug)]
struct EpollUnparker {
    state: State,
    waker: Waker,
}

impl EpollWake {
    /// Registers `fd`, which must stay open as long as the result lives.
    pub(super) fn new(fd: RawFd) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut SourceFd(&fd), DEVICE, Interest::READABLE)?;
        let unparker = Arc::new(EpollUnparker {
            state: State::new(),
            waker: Waker::new(poll.registry(), UNPARK)?,
        });
        Ok(Self {
            poll,
            events: Events::with_capacity(4),
            unparker,
        })
    }

    /// Sleeps until the descriptor becomes readable, `unpark`, or `timeout`. Returns `true` if the
    /// descriptor is readable.
    pub(super) fn park(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        if !self.unparker.state.enter() {
            return Ok(false);
        }
        let polled = self.poll.poll(&mut self.events, timeout);
        self.unparker.state.leave();
        match polled {
            Ok(()) => Ok(self.events.iter().any(|event| event.token() == DEVICE)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn unparker(&self) -> Arc<dyn Unpark> {
        Arc::clone(&self.unparker) as Arc<dyn Unpark>
    }
}

impl Unpark for EpollUnparker {
    fn unpark(&self) {
        if self.state.notify() {
            // Fails only if the device is closed, and then no thread sleeps.
            let _ = self.waker.wake();
        }
    }
}

/// Parks a thread, or a task, that has no file descriptor to wait for.
#[derive(Debug)]
pub(super) struct MemoryWake {
    state: State,
    task: AtomicWaker,
}

impl MemoryWake {
    pub(super) fn new() -> Self {
        Self {
            state: State::new(),
            task: AtomicWaker::new(),
        }
    }

    /// Registers the task of `cx` to be woken by `unpark`. Ready if that was called since the last time.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> task::Poll<()> {
        self.task.register(cx.waker());
        if self.state.0.swap(PARKED, Ordering::AcqRel) == NOTIFIED {
            self.state.leave();
            return task::Poll::Ready(());
        }
        task::Poll::Pending
    }

    /// Sleeps until `unpark` or `timeout`.
    pub(super) fn park(&self, timeout: Option<Duration>) -> io::Result<()> {
        if !self.state.enter() {
            return Ok(());
        }
        let slept = futex::wait(
            &self.state.0,
            futex::Flags::PRIVATE,
            PARKED,
            timespec(timeout).as_ref(),
        );
        self.state.leave();
        match slept {
            Ok(()) | Err(Errno::INTR | Errno::AGAIN | Errno::TIMEDOUT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Unpark for MemoryWake {
    fn unpark(&self) {
        if self.state.notify() {
            // Waking no thread is fine: it was about to return on its own.
            let _ = futex::wake(&self.state.0, futex::Flags::PRIVATE, 1);
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd as _, AsRawFd as _};
    use std::sync::atomic::AtomicUsize;

    use super::*;

    const LONG: Option<Duration> = Some(Duration::from_secs(600));

    #[test]
    fn an_unpark_before_the_park_is_not_lost() {
        let wake = MemoryWake::new();
        wake.unpark();
        wake.unpark();
        wake.park(LONG).expect("returns at once");
        wake.park(Some(Duration::ZERO)).expect("one park took both");

        let (reader, _writer) = rustix::pipe::pipe().expect("pipe");
        let wake = FdWake::new().expect("eventfd");
        wake.unpark();
        wake.park(reader.as_fd(), LONG).expect("returns at once");
        wake.park(reader.as_fd(), Some(Duration::ZERO))
            .expect("times out");

        let mut wake = EpollWake::new(reader.as_raw_fd()).expect("epoll");
        wake.unparker().unpark();
        assert!(!wake.park(LONG).expect("returns at once"));
        assert!(!wake.park(Some(Duration::ZERO)).expect("times out"));
    }

    #[test]
    fn a_running_thread_is_unparked_without_a_system_call() {
        let wake = FdWake::new().expect("eventfd");
        wake.unpark();
        let read = rustix::io::read(&wake.event, &mut [0; 8]);
        assert_eq!(read, Err(Errno::AGAIN), "the eventfd was not written");

        let (reader, _writer) = rustix::pipe::pipe().expect("pipe");
        let mut wake = EpollWake::new(reader.as_raw_fd()).expect("epoll");
        wake.unparker().unpark();
        let polled = wake.poll.poll(&mut wake.events, Some(Duration::ZERO));
        polled.expect("poll");
        assert!(wake.events.is_empty(), "the waker was not used");
    }

    #[test]
    fn a_readable_descriptor_ends_the_park() {
        let (reader, writer) = rustix::pipe::pipe().expect("pipe");
        let wake = FdWake::new().expect("eventfd");
        rustix::io::write(&writer, b"x").expect("write");
        wake.park(reader.as_fd(), LONG).expect("returns at once");
        let mut wake = EpollWake::new(reader.as_raw_fd()).expect("epoll");
        assert!(wake.park(LONG).expect("returns at once"));
    }

    /// Each item that the producer pushes is seen although the consumer sleeps whenever it saw
    /// nothing: a lost wake-up would hang here for ten minutes.
    fn no_wake_up_is_lost(mut park: impl FnMut() -> io::Result<()> + Send, wake: Arc<dyn Unpark>) {
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
        no_wake_up_is_lost(
            {
                let wake = Arc::clone(&wake);
                move || wake.park(LONG)
            },
            wake,
        );
        let (reader, _writer) = rustix::pipe::pipe().expect("pipe");
        let wake = Arc::new(FdWake::new().expect("eventfd"));
        no_wake_up_is_lost(
            {
                let wake = Arc::clone(&wake);
                move || wake.park(reader.as_fd(), LONG)
            },
            wake,
        );
        let (reader, _writer) = rustix::pipe::pipe().expect("pipe");
        let mut wake = EpollWake::new(reader.as_raw_fd()).expect("epoll");
        let unparker = wake.unparker();
        no_wake_up_is_lost(move || wake.park(LONG).map(drop), unparker);
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
