//! Values whose destructors need locks, dropped later.
//!
//! - **Define:** the values that [`drop_all`](Deferred::drop_all) drops are dropped by a thread that
//!   holds nothing of the domain.
//! - **Enforce:** it takes `&mut Key<D>` and lends the key to the destructors.
//! - **Consume:** a destructor takes the thread's key and locks as any other code. To put a value
//!   in takes no lock, so it is possible anywhere.

use core::fmt;
use core::marker::PhantomData;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};
use std::boxed::Box;

use crate::{Domain, Key};

/// A list of values that are to be dropped while nothing of the domain `D` is held.
///
/// Let it live where no lock protects it, in a `static` for instance: values that are still in the
/// list when the list itself is dropped are dropped there, whatever is held.
///
/// ```
/// # mod levels { lockorder::lock_order! {
/// #     pub domain App; level Registry, Table; App => Registry => Table; } }
/// use levels::{App, Registry, Table};
/// use lockorder::{Deferred, Key, Mutex};
///
/// static REGISTERED: Mutex<Registry, u32> = Mutex::new(1);
/// static TABLE: Mutex<Table, Vec<Entry>> = Mutex::new(Vec::new());
/// static GARBAGE: Deferred<App, Entry> = Deferred::new();
///
/// struct Entry;
/// impl Drop for Entry {
///     fn drop(&mut self) {
///         // `Registry` comes before `Table`: never under the table's lock.
///         Key::<App>::run(|key| REGISTERED.with(&mut key.ctx(), |count, _| *count -= 1));
///     }
/// }
///
/// let mut key = Key::<App>::take().expect("the key is free");
/// TABLE.with(&mut key.ctx(), |table, _| {
///     table.push(Entry);
///     table.drain(..).for_each(|entry| GARBAGE.push(entry));
/// });
/// assert_eq!(GARBAGE.drop_all(&mut key), 1);
/// assert_eq!(REGISTERED.with(&mut key.ctx(), |count, _| *count), 0);
/// ```
pub struct Deferred<D, T> {
    /// The value put in last; each node owns the next one.
    head: AtomicPtr<Node<T>>,
    domain: PhantomData<fn() -> D>,
    values: PhantomData<T>,
}

struct Node<T> {
    value: T,
    next: *mut Node<T>,
}

// SAFETY: a value goes in by one thread and comes out, whole, by another; no two threads ever see
// the same one, and no reference to one is given out.
unsafe impl<D, T: Send> Send for Deferred<D, T> {}
// SAFETY: as above.
unsafe impl<D, T: Send> Sync for Deferred<D, T> {}

impl<D, T> Deferred<D, T> {
    /// Creates an empty list.
    #[must_use]
    pub const fn new() -> Self {
        Deferred {
            head: AtomicPtr::new(ptr::null_mut()),
            domain: PhantomData,
            values: PhantomData,
        }
    }

    /// Puts a value in. Takes no lock, and waits for nothing.
    pub fn push(&self, value: T) {
        let node = Box::into_raw(Box::new(Node {
            value,
            next: self.head.load(Ordering::Relaxed),
        }));
        loop {
            // SAFETY: the node is this thread's own until it is the head.
            let next = unsafe { (*node).next };
            let swapped =
                self.head
                    .compare_exchange_weak(next, node, Ordering::Release, Ordering::Relaxed);
            match swapped {
                Ok(_) => return,
                // SAFETY: as above. Nodes are only ever taken all at once, so a head that equals
                // `next` is the node that it was.
                Err(now) => unsafe { (*node).next = now },
            }
        }
    }

    /// Returns whether the list was empty at some moment of the call.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.head.load(Ordering::Relaxed).is_null()
    }

    /// Takes all values out, the one put in last first. Where they are dropped is the caller's choice;
    /// those that the iterator still has are dropped with it.
    pub fn take_all(&self) -> impl Iterator<Item = T> + use<D, T> {
        Taken {
            next: self.head.swap(ptr::null_mut(), Ordering::Acquire),
        }
    }
}

impl<D: Domain, T> Deferred<D, T> {
    /// Drops the values that are in the list now, and returns how many there were. The key is
    /// lent to their destructors.
    pub fn drop_all(&self, key: &mut Key<D>) -> usize {
        let values = self.take_all();
        key.lend(|| values.map(drop).count())
    }
}

/// Nodes that were taken out, and not yet given on.
struct Taken<T> {
    next: *mut Node<T>,
}

impl<T> Iterator for Taken<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.next.is_null() {
            return None;
        }
        // SAFETY: the nodes were made by `push` from boxes, and were taken off the list all at
        // once: they are this iterator's own.
        let node = unsafe { Box::from_raw(self.next) };
        self.next = node.next;
        Some(node.value)
    }
}

impl<T> Drop for Taken<T> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

impl<D, T> Drop for Deferred<D, T> {
    fn drop(&mut self) {
        self.take_all().for_each(drop);
    }
}

impl<D, T> Default for Deferred<D, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<D, T> fmt::Debug for Deferred<D, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred")
            .field("empty", &self.is_empty())
            .finish_non_exhaustive()
    }
}
