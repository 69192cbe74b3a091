//! Values of the program that may only be dropped, cloned or called with nothing locked.
//!
//! A waker's `clone` and `drop`, the destructor of a service's closure, and the owner of a `Bytes`
//! are code of the program: they may call back into the stack.
//!
//! * **Define.** A [`Foreign`] value can be moved, stored and forgotten about under a lock.
//! * **Enforce.** Its destructor asks for this thread's key. If the key is free, nothing is locked and
//!   the value is dropped at once; otherwise it is kept in a thread-local list until [`drop_deferred`]
//!   runs, which takes place whenever the thread's key is free again. A waker is cloned by
//!   `waiters::Waiter::poll` alone, between two attempts and outside the lock.
//! * **Consume.** No code path has to remember to carry wakers, listeners or payloads out of a lock.

use std::cell::{Cell, RefCell};
use std::task::Waker;

use bytes::Bytes;
use lockorder::Key;
use packet::Payload;

use super::contain::contain;
use super::levels::StackLocks;

/// Something whose destructor is code of the program.
pub(crate) type Deferred = Box<dyn Send>;

thread_local! {
    /// Values that were dropped on this thread while it was inside the stack.
    static DROPPED: RefCell<Vec<Dropped>> = const { RefCell::new(Vec::new()) };
    /// True while `DROPPED` may hold a value. Read at each call into the stack: unlike the list it needs no
    /// destructor, so reading it is one load.
    static ANY_DROPPED: Cell<bool> = const { Cell::new(false) };
}

/// A value to be dropped later. Wakers and payloads, the frequent ones, need no box.
enum Dropped {
    Waker(#[expect(dead_code, reason = "kept to be dropped")] Waker),
    Bytes(#[expect(dead_code, reason = "kept to be dropped")] Bytes),
    Other(#[expect(dead_code, reason = "kept to be dropped")] Deferred),
}

/// A kind of value that [`Foreign`] can hold.
pub(crate) trait ForeignValue: Sized {
    /// Stores the value for later.
    fn defer(self) -> DeferredValue;
}

/// A value on its way to the thread's list.
pub(crate) struct DeferredValue(Dropped);

impl ForeignValue for Waker {
    fn defer(self) -> DeferredValue {
        DeferredValue(Dropped::Waker(self))
    }
}

impl ForeignValue for Bytes {
    fn defer(self) -> DeferredValue {
        DeferredValue(Dropped::Bytes(self))
    }
}

impl ForeignValue for Deferred {
    fn defer(self) -> DeferredValue {
        DeferredValue(Dropped::Other(self))
    }
}

/// Holds a value of the program, or nothing.
pub(crate) struct Foreign<T: ForeignValue>(Option<T>);

impl<T: ForeignValue> Foreign<T> {
    /// Holds `value`.
    pub(crate) const fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// Holds nothing.
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// Returns the value for inspection.
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }

    /// Takes the value out. The caller sees to it that nothing is locked when it is dropped.
    pub(crate) fn take(&mut self) -> Option<T> {
        self.0.take()
    }
}

impl<T: ForeignValue> From<Option<T>> for Foreign<T> {
    fn from(value: Option<T>) -> Self {
        Self(value)
    }
}

impl<T: ForeignValue> Drop for Foreign<T> {
    fn drop(&mut self) {
        let Some(value) = self.0.take() else {
            return;
        };
        match Key::<StackLocks>::take() {
            // Nothing is locked on this thread. The key goes back first: the value may need it.
            Some(key) => {
                drop(key);
                contain("a destructor", || drop(value));
            }
            None => {
                let DeferredValue(value) = value.defer();
                // At thread exit the list may be gone; then there is no worker and no lock either.
                let _ = DROPPED.try_with(|dropped| dropped.borrow_mut().push(value));
                ANY_DROPPED.set(true);
            }
        }
    }
}

/// Returns true if something was dropped inside the stack on this thread and not let go yet.
#[inline]
pub(crate) fn has_deferred() -> bool {
    ANY_DROPPED.get()
}

/// Drops what was dropped inside the stack on this thread. The thread's key must be free.
#[inline]
pub(crate) fn drop_deferred() {
    if has_deferred() {
        drop_list();
    }
}

#[cold]
fn drop_list() {
    loop {
        ANY_DROPPED.set(false);
        // Taken out first: destructors may enter the stack, and leave more behind.
        let dropped = DROPPED
            .try_with(|dropped| {
                let mut dropped = dropped.borrow_mut();
                if dropped.is_empty() {
                    None
                } else {
                    Some(std::mem::take(&mut *dropped))
                }
            })
            .ok()
            .flatten();
        match dropped {
            Some(dropped) => {
                for value in dropped {
                    contain("a destructor", || drop(value));
                }
            }
            None => return,
        }
    }
}

/// Wakes tasks. Runs code of the program: nothing may be locked.
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        contain("a waker", || waker.wake());
    }
}

/// Runs `f` with this thread's key, then drops what was dropped meanwhile.
///
/// The stack never calls out with the key in hand (that takes [`Key::lend`]), so the key can only be
/// missing if a lock of the stack is held on this thread, which no caller of the public interface can
/// do.
pub(crate) fn locked<R>(f: impl FnOnce(&mut Key<StackLocks>) -> R) -> R {
    let result = match Key::<StackLocks>::take() {
        Some(mut key) => f(&mut key),
        None => unreachable!("the stack was called while this thread was inside the stack"),
    };
    drop_deferred();
    result
}

/// Returns `payload` in a form whose memory may be released under a lock: the destructor of memory that the
/// program brought is deferred.
pub(crate) fn releasable(payload: Payload) -> Payload {
    payload.dropped_by(|bytes| drop(Foreign::new(bytes)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    /// Counts its drops, each of which must find the key free.
    struct NeedsKey(Arc<AtomicUsize>);

    impl Drop for NeedsKey {
        fn drop(&mut self) {
            let free = Key::<StackLocks>::take().is_some();
            assert!(free, "dropped inside the stack");
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Wake for NeedsKey {
        fn wake(self: Arc<Self>) {}
    }

    impl AsRef<[u8]> for NeedsKey {
        fn as_ref(&self) -> &[u8] {
            b"abc"
        }
    }

    #[test]
    fn a_value_dropped_inside_the_stack_is_dropped_when_the_key_is_free() {
        let drops = Arc::new(AtomicUsize::new(0));
        let boxed: Deferred = Box::new(NeedsKey(Arc::clone(&drops)));
        let boxed = Foreign::new(boxed);
        let waker = Foreign::new(Waker::from(Arc::new(NeedsKey(Arc::clone(&drops)))));
        let bytes = Bytes::from_owner(NeedsKey(Arc::clone(&drops)));
        let payload = releasable(Payload::from(bytes));
        locked(|_| {
            drop((boxed, waker, payload));
            assert_eq!(drops.load(Ordering::Relaxed), 0);
        });
        assert_eq!(drops.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_value_dropped_outside_the_stack_is_dropped_at_once() {
        let drops = Arc::new(AtomicUsize::new(0));
        let boxed: Deferred = Box::new(NeedsKey(Arc::clone(&drops)));
        drop(Foreign::new(boxed));
        assert_eq!(drops.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_destructor_that_enters_the_stack_and_drops_more_is_served() {
        struct Nested(Arc<AtomicUsize>);
        impl Drop for Nested {
            fn drop(&mut self) {
                let inner: Deferred = Box::new(NeedsKey(Arc::clone(&self.0)));
                let inner = Foreign::new(inner);
                locked(|_| drop(inner));
            }
        }
        let drops = Arc::new(AtomicUsize::new(0));
        let outer: Deferred = Box::new(Nested(Arc::clone(&drops)));
        let outer = Foreign::new(outer);
        locked(|_| drop(outer));
        assert_eq!(drops.load(Ordering::Relaxed), 1);
    }
}
