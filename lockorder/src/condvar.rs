//! Condition variables that are waited on with nothing else held.
//!
//! - **Define:** a thread that waits on a [`Condvar`] holds no lock of the domain: the one lock
//!   that it names is released for the time of the wait.
//! - **Enforce:** a wait takes `&mut` of a [`HeldMutex`] whose parent is the root ([`Root`]), so
//!   nothing earlier is held, and nothing later either, because that would borrow it.
//! - **Consume:** the threads that can notify, whatever they need of the domain for it, do not
//!   wait for this thread.

// The gate below every lock: it is held for no longer than it takes to go to sleep, and nothing is
// waited for under it.
#![allow(clippy::disallowed_types)]

use core::fmt;
use core::time::Duration;
use std::sync::PoisonError;
use std::time::Instant;

use lock_api::RawMutex;

use crate::by_value::HeldMutex;
use crate::{Domain, Level};

#[cfg(feature = "loom")]
use loom::sync::{Condvar as Signal, Mutex as Gate, MutexGuard as GateGuard};
#[cfg(not(feature = "loom"))]
use std::sync::{Condvar as Signal, Mutex as Gate, MutexGuard as GateGuard};

/// The place where nothing is held: a domain. Implemented for every domain, and nothing else.
#[diagnostic::on_unimplemented(
    message = "a condition variable may not be waited on while holding `{Self}`",
    label = "acquired while `{Self}` is held, which would stay held during the wait",
    note = "take the lock with the context of the root: `mutex.hold(key.ctx())`"
)]
pub trait Root: Domain {}
impl<D: Domain> Root for D {}

/// A condition variable: threads wait on it until another thread notifies them.
///
/// A wait releases the mutex and acquires it again. It can end without a notification, so the
/// condition has to be looked at again; [`wait_while`](Condvar::wait_while) does that.
///
/// The waits are for mutexes held at the root of their domain ([`Mutex::hold`](crate::Mutex::hold)
/// with [`Key::ctx`](crate::Key::ctx)). A wait under another lock does not compile. In a
/// `TaskCtx::sync` section a wait blocks the thread, as any lock does there.
///
/// ```
/// # mod levels { lockorder::lock_order! { pub domain App; level Queue; App => Queue; } }
/// use lockorder::{Condvar, Key, Mutex};
/// use std::collections::VecDeque;
///
/// static QUEUE: Mutex<levels::Queue, VecDeque<u32>> = Mutex::new(VecDeque::new());
/// static FILLED: Condvar = Condvar::new();
///
/// let consumer = std::thread::spawn(|| {
///     Key::<levels::App>::run(|key| {
///         let mut queue = QUEUE.hold(key.ctx());
///         FILLED.wait_while(&mut queue, |queue| queue.is_empty());
///         queue.pop_front()
///     })
/// });
/// Key::<levels::App>::run(|key| QUEUE.with(&mut key.ctx(), |queue, _| queue.push_back(7)));
/// FILLED.notify_one();
/// assert_eq!(consumer.join().expect("no panic"), Some(7));
/// ```
pub struct Condvar {
    /// Closes the moment between the release of the mutex and the wait, in which a notification
    /// would be lost: a waiter takes it before it releases the mutex, a notifier takes it before
    /// it notifies.
    gate: Gate<()>,
    signal: Signal,
}

impl Condvar {
    /// Creates a condition variable without waiting threads.
    #[must_use]
    #[cfg(not(feature = "loom"))]
    pub const fn new() -> Self {
        Condvar {
            gate: Gate::new(()),
            signal: Signal::new(),
        }
    }

    /// Creates a condition variable without waiting threads, in a model.
    #[must_use]
    #[cfg(feature = "loom")]
    pub fn new() -> Self {
        Condvar {
            gate: Gate::new(()),
            signal: Signal::new(),
        }
    }

    fn close_gate(&self) -> GateGuard<'_, ()> {
        // Nothing panics under it.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until notified, or without a reason.
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn wait<P, L, T, R>(&self, held: &mut HeldMutex<'_, P, L, T, R>)
    where
        P: Root,
        L: Level,
        T: ?Sized,
        R: RawMutex,
    {
        self.park(held, |gate| {
            drop(
                self.signal
                    .wait(gate)
                    .unwrap_or_else(PoisonError::into_inner),
            );
        });
    }

    /// Waits while `condition` is true of the value.
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn wait_while<P, L, T, R>(
        &self,
        held: &mut HeldMutex<'_, P, L, T, R>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) where
        P: Root,
        L: Level,
        T: ?Sized,
        R: RawMutex,
    {
        while condition(held) {
            self.wait(held);
        }
    }

    /// Waits until notified, without a reason, or until `timeout` has passed.
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn wait_for<P, L, T, R>(
        &self,
        held: &mut HeldMutex<'_, P, L, T, R>,
        timeout: Duration,
    ) -> WaitResult
    where
        P: Root,
        L: Level,
        T: ?Sized,
        R: RawMutex,
    {
        self.park(held, |gate| {
            let (gate, result) = self
                .signal
                .wait_timeout(gate, timeout)
                .unwrap_or_else(PoisonError::into_inner);
            drop(gate);
            WaitResult {
                timed_out: result.timed_out(),
            }
        })
    }

    /// Waits while `condition` is true of the value, for no longer than `timeout`. The result
    /// says whether the condition was still true at the end.
    // The time-out is the operating system's to keep; nothing is decided by this clock but that.
    #[allow(clippy::disallowed_methods)]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn wait_while_for<P, L, T, R>(
        &self,
        held: &mut HeldMutex<'_, P, L, T, R>,
        mut condition: impl FnMut(&mut T) -> bool,
        timeout: Duration,
    ) -> WaitResult
    where
        P: Root,
        L: Level,
        T: ?Sized,
        R: RawMutex,
    {
        let begin = Instant::now();
        loop {
            if !condition(held) {
                return WaitResult { timed_out: false };
            }
            match timeout.checked_sub(begin.elapsed()) {
                Some(left) if !left.is_zero() => {
                    self.wait_for(held, left);
                }
                _ => return WaitResult { timed_out: true },
            }
        }
    }

    /// Wakes one thread that waits.
    pub fn notify_one(&self) {
        drop(self.close_gate());
        self.signal.notify_one();
    }

    /// Wakes every thread that waits.
    pub fn notify_all(&self) {
        drop(self.close_gate());
        self.signal.notify_all();
    }

    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    fn park<P, L, T, R, U>(
        &self,
        held: &mut HeldMutex<'_, P, L, T, R>,
        sleep: impl FnOnce(GateGuard<'_, ()>) -> U,
    ) -> U
    where
        P: Root,
        L: Level,
        T: ?Sized,
        R: RawMutex,
    {
        #[cfg(any(debug_assertions, feature = "lockdep"))]
        crate::check::alone::<P>();
        crate::hold::before_waiting::<L, false>();
        let gate = self.close_gate();
        HeldMutex::unlocked_for(held, || sleep(gate))
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}

/// How a wait with a time-out ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitResult {
    timed_out: bool,
}

impl WaitResult {
    /// Returns whether the time passed before what was waited for happened.
    #[must_use]
    pub fn timed_out(self) -> bool {
        self.timed_out
    }
}
