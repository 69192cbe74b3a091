//! Tasks: futures that a worker polls, and how to tell their wakers from the program's.

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{RawWakerVTable, Waker};

/// A task that a worker runs.
pub type TaskFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

static OWN_VTABLE: OnceLock<&'static RawWakerVTable> = OnceLock::new();

/// Declares `waker` to be that of a worker's task. All of them share one table of functions.
pub fn declare_own(waker: &Waker) {
    OWN_VTABLE.get_or_init(|| waker.vtable());
}

/// Returns true if `waker` is that of a worker's task. Cloning it increments a count, and runs no code of the
/// program.
#[inline]
pub(crate) fn is_own(waker: &Waker) -> bool {
    OWN_VTABLE
        .get()
        .is_some_and(|vtable| std::ptr::eq(*vtable, waker.vtable()))
}
