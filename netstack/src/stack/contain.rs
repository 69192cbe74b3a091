//! Panics of the program's code: caught, reported and counted.
//!
//! * **Define.** A panic in a task, a service, a waker, a subscriber, a device or a destructor ends at
//!   most what that code belongs to. The worker that called it goes on.
//! * **Enforce.** The stack calls such code through [`contain`] or [`catch`].
//! * **Consume.** One bad connection does not take the others with it.
//!
//! The unwinding leaves no state of the stack half changed: nothing is locked while such code runs.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// Panics that were caught on this thread and are not counted by a stack yet.
    static CAUGHT: Cell<u64> = const { Cell::new(0) };
}

/// Runs `f`, which is code of the program, described by `what`. `None` if it panicked.
#[inline]
pub(crate) fn contain<R>(what: &'static str, f: impl FnOnce() -> R) -> Option<R> {
    catch(what, f).ok()
}

/// Runs `f`, which is code of the program, described by `what`.
///
/// # Errors
/// It panicked: the message.
#[inline]
pub(crate) fn catch<R>(what: &'static str, f: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|panic| {
        let message = message_of(panic);
        tracing::error!(%message, "{what} of the program panicked; the stack goes on without it");
        // At thread exit the count may be gone, like the worker that would read it.
        let _ = CAUGHT.try_with(|caught| caught.set(caught.get() + 1));
        message
    })
}

/// Returns how many panics were caught on this thread since the last call.
#[inline]
pub(crate) fn take_caught() -> u64 {
    CAUGHT.try_with(Cell::take).unwrap_or(0)
}

/// Returns the message of a panic.
pub(crate) fn message_of(panic: Box<dyn Any + Send>) -> String {
    let message = match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(message), _) => message.clone(),
        (None, Some(message)) => (*message).to_owned(),
        (None, None) => "no message".to_owned(),
    };
    // The value is the program's, too: its destructor may panic, and so may that of the next value.
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(again);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_are_caught_counted_and_described() {
        assert_eq!(take_caught(), 0);
        assert_eq!(contain("a test", || 7), Some(7));
        assert_eq!(
            catch("a test", || panic!("bad {}", 1)),
            Err::<(), _>("bad 1".into())
        );
        assert_eq!(
            catch("a test", || panic!("bad")),
            Err::<(), _>("bad".into())
        );
        assert_eq!((take_caught(), take_caught()), (2, 0));
    }

    #[test]
    fn a_panic_whose_value_panics_when_dropped_is_caught() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                std::panic::panic_any(Bomb);
            }
        }
        let caught = catch("a test", || std::panic::panic_any(Bomb));
        assert_eq!(caught, Err::<(), _>("no message".into()));
    }
}
