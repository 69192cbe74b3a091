//! Sleeping and being woken, without a lock and without a wake-up that gets lost.
//!
//! * **Define.** A device's thread is `RUNNING`, `PARKED` or `NOTIFIED`. Who wakes writes `NOTIFIED`;
//!   only the device's thread leaves that state.
//! * **Enforce.** One atomic holds the state; the thread gets from `RUNNING` to `PARKED` only by an
//!   exchange that fails if somebody notified it in between.
//! * **Consume.** Whoever hands work to a device pushes it first and calls `unpark` after: the thread
//!   then either sees the work or returns from its next `park`. A thread that does not sleep is woken
//!   without a system call.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

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

/// The state alone; how to sleep is its owner's matter.
#[derive(Debug)]
struct State(AtomicU32);

impl State {
    const fn new() -> Self {
        Self(AtomicU32::new(RUNNING))
    }

    /// `true`: go to sleep now, `leave` afterwards. `false`: somebody notified us; do not sleep.
    fn enter(&self) -> bool {
        let entered = self
            .0
            .compare_exchange(RUNNING, PARKED, Ordering::AcqRel, Ordering::Acquire);
        if entered.is_err() {
            self.leave();
        }
        entered.is_ok()
    }

    fn leave(&self) {
        self.0.swap(RUNNING, Ordering::AcqRel);
    }

    /// `true`: the thread sleeps and must be shaken.
    fn notify(&self) -> bool {
        self.0.swap(NOTIFIED, Ordering::AcqRel) == PARKED
    }
}

/// For a device that waits on a file descriptor.
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
        let shaken = fds[1].revents().contains(PollFlags::IN);
        self.state.leave();
        if shaken {
            // Not there yet, or already gone: both harmless, the next poll returns at once at worst.
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

/// For a device without a file descriptor.
#[derive(Debug)]
pub(super) struct MemoryWake {
    state: State,
}

impl MemoryWake {
    pub(super) const fn new() -> Self {
        Self {
            state: State::new(),
        }
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
            // Waking nobody is fine: the thread was about to leave on its own.
            let _ = futex::wake(&self.state.0, futex::Flags::PRIVATE, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::sync::Arc;
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
    }

    #[test]
    fn a_readable_descriptor_ends_the_park() {
        let (reader, writer) = rustix::pipe::pipe().expect("pipe");
        let wake = FdWake::new().expect("eventfd");
        rustix::io::write(&writer, b"x").expect("write");
        wake.park(reader.as_fd(), LONG).expect("returns at once");
    }

    /// Each item that the producer pushes is seen although the consumer sleeps whenever it saw
    /// nothing: a lost wake-up would hang here for ten minutes.
    fn no_wake_up_is_lost(park: impl Fn() -> io::Result<()> + Sync, wake: Arc<dyn Unpark>) {
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
    }
}
