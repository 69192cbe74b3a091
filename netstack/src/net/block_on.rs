//! Waiting for a future on a thread that is not a worker's.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use crate::base::time::Duration;
use crate::engine::clock::Clock;
use crate::stack::worklist;

/// Wakes a thread that waits for a future.
struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits on this thread until `future` is ready.
///
/// # Errors
/// `TimedOut` after `timeout`; `WouldBlock` on a worker's thread.
pub(super) fn block_on<F: Future>(future: F, timeout: Option<Duration>) -> io::Result<F::Output> {
    if worklist::current_mailbox().is_some() {
        return Err(io::Error::new(
            io::ErrorKind::WouldBlock,
            "a task on a worker cannot block: it would wait for itself; use the async sockets",
        ));
    }
    let clock = Clock::start();
    let start = clock.now();
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Parked(std::thread::current())));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Ok(output);
        }
        let Some(timeout) = timeout else {
            std::thread::park();
            continue;
        };
        let left = timeout.saturating_sub(clock.now() - start);
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::park_timeout(left);
    }
}
