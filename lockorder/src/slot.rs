//! A thread's slot: whether the thread's key of a domain is out.
//!
//! - **Define:** in each thread there is one slot per domain, and at most one `Key<D>` that
//!   can be used exists while it is taken; none while it is free.
//! - **Enforce:** the macro declares the thread-local; the only functions that change it are
//!   private to the crate and called by `Key` only.
//! - **Consume:** `Key::take` refuses while the slot is taken, which is all that makes two
//!   chains of contexts on one thread impossible.

use core::cell::Cell;

/// The state of a thread's slot. Only this crate can do anything with it.
#[derive(Debug)]
pub struct Slot {
    taken: Cell<bool>,
}

impl Slot {
    /// A free slot.
    #[doc(hidden)]
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Slot {
            taken: Cell::new(false),
        }
    }

    /// Takes the slot, if it is free.
    #[inline]
    pub(crate) fn claim(&self) -> bool {
        !self.taken.replace(true)
    }

    /// Frees the slot.
    #[inline]
    pub(crate) fn release(&self) {
        self.taken.set(false);
    }
}

/// The part of a [`Domain`](crate::Domain) implementation that depends on this crate's
/// features and not on those of the crate that declares the domain.
#[cfg(feature = "std")]
#[doc(hidden)]
#[macro_export]
macro_rules! __domain_slot {
    () => {
        #[inline]
        fn __slot<R>(f: impl ::core::ops::FnOnce(&$crate::__private::Slot) -> R) -> R {
            // Without a destructor, hence usable in the destructors of other thread-locals.
            ::std::thread_local! {
                static SLOT: $crate::__private::Slot = const { $crate::__private::Slot::new() };
            }
            SLOT.with(f)
        }
    };
}

/// See the other form.
#[cfg(not(feature = "std"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __domain_slot {
    () => {};
}
