//! Ending a stack: shutting it down, draining it, aborting it, and waiting for its end.

use std::io;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;

use super::stack::Stack;
use crate::base::time::Duration;
use crate::engine::clock::Clock;
use crate::stack::ending::EndReason;
use crate::stack::shutdown::{self, Draining};
use crate::stack::tcp::control;
use crate::stack::waiters::wait;
use crate::stack::worklist;

/// Time between two looks at what is left to close.
const STEP: Duration = Duration::from_millis(5);

/// The effect of an orderly end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShutdownReport {
    /// Connections that were not closed within the grace and were reset.
    pub reset: usize,
}

/// The treatment of open connections within the grace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Manner {
    /// All are closed at once.
    Close,
    /// Each is closed when it is finished, or when half of the grace is over.
    Drain,
}

/// Ending the stack. The grace is real time, also where the stack runs on virtual time.
impl Stack {
    /// Closes every listener and connection, waits up to `grace` for the peers to agree, resets the
    /// connections of those that did not, and stops the workers.
    ///
    /// Delivers data that was written before, and refuses data that is written later. See
    /// [`Stack::drain`] for connections that should finish first.
    ///
    /// Blocks the calling thread. On a runtime use [`Stack::shutdown_async`].
    ///
    /// # Errors
    /// The reason for which the stack ended, if nobody asked for it; or the call came from a task on a
    /// worker.
    pub fn shutdown(&self, grace: Duration) -> io::Result<ShutdownReport> {
        self.end_blocking(Manner::Close, grace)
    }

    /// [`Stack::shutdown`] without blocking the calling thread, for any runtime: also for the one that
    /// carries the packets of a channel device, and for a task on a worker of this stack. Such a task
    /// gets the result in the last turn of its worker. If the future is dropped, the stack ends all
    /// the same.
    ///
    /// ```no_run
    /// # async fn example(stack: &netstack::net::Stack) -> std::io::Result<()> {
    /// let report = stack.shutdown_async(std::time::Duration::from_secs(5)).await?;
    /// println!("{} connections were reset", report.reset);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The reason for which the stack ended, if nobody asked for it; or no thread could be started.
    pub async fn shutdown_async(&self, grace: Duration) -> io::Result<ShutdownReport> {
        self.end_async(Manner::Close, grace).await
    }

    /// Stops accepting, lets connections finish what they transfer, closes them, and stops the workers.
    ///
    /// A connection is finished when it has been quiet for 100 ms: everything that was written was
    /// acknowledged, and everything that was received was read. When half of the grace is over, the
    /// other connections are closed as [`Stack::shutdown`] does. At its end those that are left are
    /// reset.
    ///
    /// Blocks the calling thread. On a runtime use [`Stack::drain_async`].
    ///
    /// # Errors
    /// As [`Stack::shutdown`].
    pub fn drain(&self, grace: Duration) -> io::Result<ShutdownReport> {
        self.end_blocking(Manner::Drain, grace)
    }

    /// [`Stack::drain`] without blocking the calling thread, as [`Stack::shutdown_async`].
    ///
    /// # Errors
    /// As [`Stack::shutdown_async`].
    pub async fn drain_async(&self, grace: Duration) -> io::Result<ShutdownReport> {
        self.end_async(Manner::Drain, grace).await
    }

    /// Resets every connection and stops the workers. Waits for them, except on a worker's thread.
    ///
    /// Drops every service and every task on a worker, and with them the handles of the stack that
    /// they own. A service that owns a [`Stack`] keeps it running until then.
    ///
    /// # Errors
    /// The reason for which the stack ended before, if nobody asked for it.
    pub fn abort(&self) -> io::Result<()> {
        shutdown::end(&self.host, EndReason::Aborted);
        self.host.workers.stop();
        if worklist::current_mailbox().is_none() {
            self.join_workers();
        }
        self.ended(0).map(drop)
    }

    /// Waits until the stack ended, whatever the reason, and returns the reason. Every call on the
    /// stack and on its sockets fails from then on. The workers may still be finishing.
    ///
    /// ```no_run
    /// # async fn example(stack: netstack::net::Stack) {
    /// let reason = stack.closed().await;
    /// if !reason.is_wanted() {
    ///     eprintln!("{reason}");
    /// }
    /// # }
    /// ```
    pub async fn closed(&self) -> EndReason {
        let ending = &self.host.ending;
        wait(|wait| ending.poll(wait), |ticket| ending.forget(ticket)).await
    }

    fn end_blocking(&self, manner: Manner, grace: Duration) -> io::Result<ShutdownReport> {
        if worklist::current_mailbox().is_some() {
            return Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                "shutdown: a task on a worker cannot wait for that worker; use the async form",
            ));
        }
        let reset = self.close_within(manner, grace);
        self.host.workers.stop();
        self.join_workers();
        self.ended(reset)
    }

    async fn end_async(&self, manner: Manner, grace: Duration) -> io::Result<ShutdownReport> {
        // The worker drops its tasks when it stops: this one has to know before.
        let before_stop = self.host.workers.current().is_some();
        let outcome = Arc::new(Outcome::default());
        let (stack, result) = (self.clone(), Arc::clone(&outcome));
        std::thread::Builder::new()
            .name("netstack-shutdown".to_owned())
            .spawn(move || {
                let reset = stack.close_within(manner, grace);
                if before_stop {
                    result.set(reset);
                }
                stack.host.workers.stop();
                stack.join_workers();
                result.set(reset);
            })?;
        let reset = std::future::poll_fn(|cx| outcome.poll(cx)).await;
        self.ended(reset)
    }

    /// Closes what is open, resets what is left after `grace`, and ends the stack. Returns the number
    /// of connections that were reset.
    fn close_within(&self, manner: Manner, grace: Duration) -> usize {
        let host = &self.host;
        let clock = Clock::start();
        let start = clock.now();
        shutdown::begin(host);
        let mut draining = (manner == Manner::Drain).then(Draining::default);
        if draining.is_none() {
            control::close_all(host);
        }
        while control::open_count(host) > 0 && host.ending.reason().is_none() {
            let waited = clock.now() - start;
            if waited >= grace {
                break;
            }
            if waited >= grace / 2 && draining.take().is_some() {
                control::close_all(host);
            }
            if let Some(draining) = &mut draining {
                draining.close_finished(host, clock.now());
            }
            std::thread::sleep(STEP.min(grace - waited));
        }
        let reset = control::open_count(host);
        if reset > 0 {
            tracing::warn!(reset, ?grace, "connections did not close in time: reset");
        }
        shutdown::end(host, EndReason::Shutdown);
        reset
    }

    pub(super) fn join_workers(&self) {
        for join in self.take_joins() {
            // A panic of a worker is caught on its thread and is the reason of the end.
            let _ = join.join();
        }
    }

    /// Returns the report of an end that the program asked for.
    fn ended(&self, reset: usize) -> io::Result<ShutdownReport> {
        match self.host.ending.reason() {
            Some(reason) if !reason.is_wanted() => Err(reason.clone().into()),
            _ => {
                tracing::info!(reset, "stack stopped");
                Ok(ShutdownReport { reset })
            }
        }
    }
}

/// The number of connections that were reset, on its way to the task that waits for it.
#[derive(Default)]
struct Outcome {
    reset: OnceLock<usize>,
    waiting: AtomicWaker,
}

impl Outcome {
    /// Sets the number, if it is not known yet, and wakes the task.
    fn set(&self, reset: usize) {
        let _ = self.reset.set(reset);
        self.waiting.wake();
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<usize> {
        self.waiting.register(cx.waker());
        self.reset
            .get()
            .map_or(Poll::Pending, |&reset| Poll::Ready(reset))
    }
}
