//! A thread's slot: whether the thread's key of a domain is out.
//!
//! - **Define:** in each thread there is one slot per domain. Its bits say whether a `Key<D>` (or
//!   a synchronous section of a task) can be used, whether a task's scope is being polled and
//!   which one, and whether the closure of a [`Leaf`](crate::Leaf) runs.
//! - **Enforce:** the macro declares the thread-local; the only functions that change it are
//!   private to the crate, and called by keys, scopes and leaf locks only.
//! - **Consume:** [`Key::take`](crate::Key::take) refuses unless the slot is free, so there are
//!   never two chains of contexts on one thread.

use core::cell::Cell;

/// A key is out, or a section runs.
const TAKEN: u8 = 1;
/// A scope of the domain is being polled, and is not in a section.
#[cfg(feature = "tokio")]
const TASK: u8 = 2;
/// The closure of a leaf lock of the domain runs.
const LEAF: u8 = 4;

/// The state of a thread's slot. Only this crate can do anything with it.
#[derive(Debug)]
pub struct Slot {
    state: Cell<u8>,
    /// The scope that is being polled, by the address of its token; 0 for none.
    #[cfg(feature = "tokio")]
    scope: Cell<usize>,
    /// The guards of the domain that live on this thread.
    #[cfg(any(debug_assertions, feature = "lockdep", feature = "track"))]
    pub(crate) held: crate::held::Held,
}

impl Slot {
    /// Returns a free slot.
    #[doc(hidden)]
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Slot {
            state: Cell::new(0),
            #[cfg(feature = "tokio")]
            scope: Cell::new(0),
            #[cfg(any(debug_assertions, feature = "lockdep", feature = "track"))]
            held: crate::held::Held::new(),
        }
    }

    /// Takes the slot for a key, if it is free.
    #[inline]
    pub(crate) fn claim(&self) -> bool {
        let free = self.state.get() == 0;
        if free {
            self.state.set(TAKEN);
        }
        free
    }

    /// Takes the slot again for the key that lent it, unless another key was taken meanwhile.
    /// A lent key can be out in the closure of a leaf lock, whose bit stays.
    #[inline]
    pub(crate) fn reclaim(&self) -> bool {
        let free = self.state.get() & !LEAF == 0;
        if free {
            self.state.set(self.state.get() | TAKEN);
        }
        free
    }

    /// Takes the slot for a key that an unsafe constructor vouches for.
    #[inline]
    pub(crate) fn force(&self) {
        self.state.set(self.state.get() | TAKEN);
    }

    /// Gives the slot back.
    #[inline]
    pub(crate) fn release(&self) {
        self.state.set(self.state.get() & !TAKEN);
    }

    /// Begins the closure of a leaf lock, unless one runs already.
    #[inline]
    pub(crate) fn enter_leaf(&self) -> bool {
        let free = !self.in_leaf();
        if free {
            self.state.set(self.state.get() | LEAF);
        }
        free
    }

    /// Ends the closure of a leaf lock.
    #[inline]
    pub(crate) fn leave_leaf(&self) {
        self.state.set(self.state.get() & !LEAF);
    }

    /// Returns whether the closure of a leaf lock runs.
    #[inline]
    pub(crate) fn in_leaf(&self) -> bool {
        self.state.get() & LEAF != 0
    }
}

/// The transitions for scopes.
#[cfg(feature = "tokio")]
impl Slot {
    /// Makes the slot a scope's for a poll, if it is free.
    pub(crate) fn enter_scope(&self, scope: usize) -> bool {
        let free = self.state.get() == 0;
        if free {
            self.state.set(TASK);
            self.scope.set(scope);
        }
        free
    }

    /// Ends the poll of that scope, if it is the one that is being polled.
    pub(crate) fn leave_scope(&self, scope: usize) {
        if self.polls(scope) {
            self.state.set(self.state.get() & !TASK);
            self.scope.set(0);
        }
    }

    /// Returns whether that scope is being polled here, outside of a section and a leaf's closure.
    pub(crate) fn polls(&self, scope: usize) -> bool {
        self.state.get() == TASK && self.scope.get() == scope
    }

    /// Begins a section of that scope: on the thread that polls it, or on one where nothing of
    /// the domain is out. Returns the state to go back to.
    pub(crate) fn enter_section(&self, scope: usize) -> Option<u8> {
        let before = self.state.get();
        if before != 0 && !self.polls(scope) {
            return None;
        }
        self.state.set(TAKEN);
        Some(before)
    }

    /// Ends a section.
    pub(crate) fn leave_section(&self, before: u8) {
        self.state.set(before);
    }
}
