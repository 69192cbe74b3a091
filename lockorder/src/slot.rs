//! A thread's slot: whether the thread's key of a domain is out.
//!
//! - **Define:** in each thread there is one slot per domain. While it is taken there is one
//!   `Key<D>`, or one synchronous section of a task, that can be used; while it is free or a
//!   task's, there is none.
//! - **Enforce:** the macro declares the thread-local; the only functions that change it are
//!   private to the crate, and called by `Key` and by tasks only.
//! - **Consume:** `Key::take` refuses unless the slot is free, which is all that makes two
//!   chains of contexts on one thread impossible.

use core::cell::Cell;

/// What a thread's slot says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Taken,
    /// A task of the domain is being polled, and is not in a synchronous section.
    #[cfg(feature = "tokio")]
    Task,
}

/// The state of a thread's slot. Only this crate can do anything with it.
#[derive(Debug)]
pub struct Slot {
    state: Cell<State>,
    /// How many guards of the domain live on this thread.
    #[cfg(any(debug_assertions, feature = "track"))]
    held: Cell<usize>,
    /// The levels of the latest of them, for the longest chain.
    #[cfg(feature = "track")]
    chain: Cell<crate::track::Chain>,
}

impl Slot {
    /// A free slot.
    #[doc(hidden)]
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Slot {
            state: Cell::new(State::Free),
            #[cfg(any(debug_assertions, feature = "track"))]
            held: Cell::new(0),
            #[cfg(feature = "track")]
            chain: Cell::new(crate::track::Chain::new()),
        }
    }

    /// Takes the slot for a key, if it is free.
    #[inline]
    pub(crate) fn claim(&self) -> bool {
        let free = self.state.get() == State::Free;
        if free {
            self.state.set(State::Taken);
        }
        free
    }

    /// Takes the slot for a key that an unsafe constructor vouches for.
    #[inline]
    pub(crate) fn force(&self) {
        self.state.set(State::Taken);
    }

    /// Frees the slot.
    #[inline]
    pub(crate) fn release(&self) {
        self.state.set(State::Free);
    }

    /// A guard of the domain begins.
    #[cfg(any(debug_assertions, feature = "track"))]
    #[inline]
    pub(crate) fn enter(&self, _level: usize) {
        self.held.set(self.held.get() + 1);
        #[cfg(feature = "track")]
        self.chain.set(self.chain.get().with(_level));
    }

    /// A guard of the domain ends.
    #[cfg(any(debug_assertions, feature = "track"))]
    #[inline]
    pub(crate) fn leave(&self, _level: usize) {
        self.held.set(self.held.get().saturating_sub(1));
        #[cfg(feature = "track")]
        self.chain.set(self.chain.get().without(_level));
    }

    /// How many guards of the domain live on this thread.
    #[cfg(any(debug_assertions, feature = "track"))]
    #[inline]
    pub(crate) fn held(&self) -> usize {
        self.held.get()
    }

    /// The levels held on this thread, in the order of their acquisition.
    #[cfg(feature = "track")]
    #[inline]
    pub(crate) fn chain(&self) -> crate::track::Chain {
        self.chain.get()
    }
}

/// The transitions for tasks.
#[cfg(feature = "tokio")]
impl Slot {
    /// Makes the slot a task's for a poll, if it is free.
    pub(crate) fn enter_task(&self) -> bool {
        let free = self.state.get() == State::Free;
        if free {
            self.state.set(State::Task);
        }
        free
    }

    /// Begins a synchronous section, unless the thread's key is out (or in one already).
    /// Says whether the slot was a task's.
    pub(crate) fn enter_section(&self) -> Option<bool> {
        match self.state.get() {
            State::Taken => None,
            before => {
                self.state.set(State::Taken);
                Some(before == State::Task)
            }
        }
    }

    /// Ends a synchronous section.
    pub(crate) fn leave_section(&self, was_task: bool) {
        self.state
            .set(if was_task { State::Task } else { State::Free });
    }
}
