//! Parking a thread that waits for a file descriptor.
//!
//! Both types share the [`State`] of all devices. They differ in the system call that sleeps:
//!
//! | type | sleeps in | for a device that |
//! |---|---|---|
//! | [`FdWake`] | `ppoll` | lends its file descriptor |
//! | [`EpollWake`] | `epoll_wait` | gives only its descriptor's number, which needs no borrow here |
//!
//! `ppoll` is the first choice: with `epoll` the kernel runs a callback for each packet that it
//! queues, even while the thread does not sleep.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use super::super::Unpark;
use super::super::wake::State;

/// Longest single sleep: longer ones end early, which `park` allows.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

fn timespec(timeout: Option<Duration>) -> Option<Timespec> {
    let timeout = timeout?.min(SLEEP_MAX);
    Some(Timespec {
        tv_sec: timeout.as_secs() as i64,
        tv_nsec: i64::from(timeout.subsec_nanos()),
    })
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

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd as _, AsRawFd as _};

    use super::*;
    use crate::device::wake::tests::{LONG, no_wake_up_is_lost};

    #[test]
    fn an_unpark_before_the_park_is_not_lost() {
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

    #[test]
    fn no_wake_up_is_lost_between_threads() {
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
