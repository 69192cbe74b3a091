//! The end of a stack: its reason, and the tasks that wait for it.
//!
//! * **Define.** A stack ends once, for one reason. After that no call waits: it fails with the reason.
//! * **Enforce.** The reason is set before `stack::shutdown` wakes the tasks that wait. A task looks at
//!   the reason, or at what the end closed, under the lock under which it registers.
//! * **Consume.** A task that looked too early is among those that are woken.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};

use lockorder::Mutex;

use super::foreign::locked;
use super::levels;
use super::waiters::{Ticket, Wait, Waiter, WakerSlot};

/// The reason why a stack ended.
///
/// It is the source of the [`io::Error`]s of sockets that outlive their stack:
/// `error.get_ref()` can be downcast to it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndReason {
    /// The program shut the stack down or drained it.
    #[error("the stack was shut down")]
    Shutdown,
    /// The program aborted the stack.
    #[error("the stack was aborted")]
    Aborted,
    /// Another stack has taken its place.
    #[error("another process has taken over the stack")]
    HandedOver,
    /// The program dropped the last handle of the stack.
    #[error(
        "the last handle of the stack was dropped; keep one for as long as its sockets are used"
    )]
    HandlesDropped,
    /// The program dropped a driver of the stack.
    #[error(
        "a driver of the stack was dropped; await it or keep its task for as long as the stack is used"
    )]
    DriverDropped,
    /// A device is gone, or its code panicked.
    #[error("the device of worker {worker} failed, which ended the stack: {error}")]
    DeviceFailed {
        /// The number of the worker that used the device.
        worker: usize,
        /// The device's error.
        error: Arc<io::Error>,
    },
    /// A worker panicked: a fault of this library.
    #[error("worker {worker} panicked, which ended the stack: {message}")]
    WorkerPanicked {
        /// The number of the worker.
        worker: usize,
        /// The message of the panic.
        message: String,
    },
}

impl EndReason {
    /// Returns true if the program asked for the end.
    pub fn is_wanted(&self) -> bool {
        matches!(
            self,
            Self::Shutdown | Self::Aborted | Self::HandedOver | Self::HandlesDropped
        )
    }
}

impl From<EndReason> for io::Error {
    /// Converts a reason to an error of the kind `NetworkDown` if a device failed, else `ConnectionAborted`.
    fn from(reason: EndReason) -> Self {
        let kind = match reason {
            EndReason::DeviceFailed { .. } => io::ErrorKind::NetworkDown,
            _ => io::ErrorKind::ConnectionAborted,
        };
        Self::new(kind, reason)
    }
}

/// The end of one stack, before and after it.
#[derive(Default)]
pub(crate) struct Ending {
    /// New sockets and connections are refused.
    closing: AtomicBool,
    reason: OnceLock<EndReason>,
    waiting: Mutex<levels::Ending, WakerSlot>,
}

impl Ending {
    /// Returns the reason, once the stack ended.
    #[inline]
    pub(crate) fn reason(&self) -> Option<&EndReason> {
        self.reason.get()
    }

    /// Checks that the stack has not ended.
    ///
    /// # Errors
    /// The reason for which it ended.
    #[inline]
    pub(crate) fn check(&self) -> io::Result<()> {
        self.reason()
            .map_or(Ok(()), |reason| Err(reason.clone().into()))
    }

    /// Checks that new sockets and connections are welcome.
    ///
    /// # Errors
    /// The stack is closing or has ended.
    pub(crate) fn check_open(&self) -> io::Result<()> {
        self.check()?;
        if self.closing.load(Ordering::Acquire) {
            return Err(EndReason::Shutdown.into());
        }
        Ok(())
    }

    /// Refuses new sockets and connections from now on.
    pub(crate) fn begin(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Replaces the error of a socket that the end of the stack, or the way to it, closed by the
    /// reason.
    pub(crate) fn explain(&self, error: io::Error) -> io::Error {
        let closed = matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe
        );
        match self.check_open() {
            Err(ended) if closed => ended,
            _ => error,
        }
    }

    /// Sets the reason; false if the stack ended before.
    pub(crate) fn set(&self, reason: EndReason) -> bool {
        let first = self.reason.set(reason).is_ok();
        self.closing.store(true, Ordering::Release);
        first
    }

    /// Ready with the reason once the stack ended.
    pub(crate) fn poll(&self, wait: Wait<'_>) -> Poll<EndReason> {
        Waiter::poll(wait, |waiter| {
            locked(|key| {
                self.waiting.with(&mut key.ctx(), |waiting, _| {
                    waiting.resume(waiter);
                    if let Some(reason) = self.reason() {
                        return Poll::Ready(reason.clone());
                    }
                    waiting.register(waiter);
                    Poll::Pending
                })
            })
        })
    }

    /// Forgets a task that no longer waits for the end.
    pub(crate) fn forget(&self, ticket: Ticket) {
        locked(|key| {
            self.waiting
                .with(&mut key.ctx(), |waiting, _| waiting.forget(ticket));
        });
    }

    /// Takes the tasks that wait for the end.
    pub(crate) fn take_waiting(&self, wakers: &mut Vec<Waker>) {
        locked(|key| {
            self.waiting
                .with(&mut key.ctx(), |waiting, _| waiting.drain_into(wakers));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stays_and_is_the_source_of_errors() {
        let ending = Ending::default();
        assert!(ending.check_open().is_ok());
        ending.begin();
        assert!(ending.check().is_ok() && ending.check_open().is_err());
        let lost = io::Error::other("cut");
        assert!(ending.set(EndReason::DeviceFailed {
            worker: 3,
            error: Arc::new(lost),
        }));
        assert!(!ending.set(EndReason::Aborted));
        let error = ending.check().expect_err("ended");
        assert_eq!(error.kind(), io::ErrorKind::NetworkDown);
        assert!(error.to_string().contains("worker 3") && error.to_string().contains("cut"));
        let source = error.get_ref().and_then(|e| e.downcast_ref::<EndReason>());
        assert!(source.is_some_and(|reason| !reason.is_wanted()));
    }

    #[test]
    fn only_errors_that_the_end_causes_are_explained() {
        let ending = Ending::default();
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        let aborted = || io::Error::from(io::ErrorKind::ConnectionAborted);
        assert!(ending.explain(aborted()).get_ref().is_none());
        assert!(ending.set(EndReason::Shutdown));
        assert!(ending.explain(aborted()).get_ref().is_some());
        assert!(ending.explain(reset()).get_ref().is_none());
    }
}
