//! Contexts: the level last acquired on this thread, as a type.
//!
//! - **Define:** while a `LockCtx<'k, L>` can be used, every lock of `L`'s domain that this
//!   thread holds is of `L`, or of a level that comes before `L`, and no other context of
//!   the domain can be used on this thread.
//! - **Enforce:** a context is made from `&mut Key` (the root) or, by an acquisition, from
//!   `&mut` of its parent, whose borrow it keeps; it is neither `Copy`, `Clone` nor `Send`.
//! - **Consume:** an acquisition of `M` takes `&mut LockCtx<'_, L>` and asks for
//!   `L: LockBefore<M>`: everything held comes before `M` then.

use core::fmt;
use core::marker::PhantomData;

use crate::set::Permit;
use crate::{LockBefore, Place};

/// The right to acquire whatever comes after `L`. Zero-sized.
///
/// `L` is the level last acquired, or the domain's type when nothing is held.
pub struct LockCtx<'k, L> {
    level: PhantomData<fn() -> L>,
    /// Borrows the parent exclusively; neither `Send` nor `Sync`.
    parent: PhantomData<(&'k mut (), *mut ())>,
}

impl<'k, L> LockCtx<'k, L> {
    /// A context, where an acquisition (or the key) has established what it says.
    #[inline]
    pub(crate) const fn mint() -> Self {
        LockCtx {
            level: PhantomData,
            parent: PhantomData,
        }
    }

    /// The same context for a shorter time, for functions that take a context by value.
    #[inline]
    pub fn reborrow(&mut self) -> LockCtx<'_, L> {
        LockCtx::mint()
    }

    /// The right to acquire several locks of one later level, while `self` is borrowed.
    ///
    /// The permit itself does not keep the borrow: whoever asks for one must borrow the
    /// context for as long as what is acquired with it is held.
    #[inline]
    pub(crate) fn permit<'p, M>(&self) -> Permit<'p, M>
    where
        L: LockBefore<M>,
    {
        Permit::mint()
    }

    /// Goes on to a later level without acquiring anything, for functions that want the
    /// context of just that level. What is given up comes back with the borrow's end.
    #[inline]
    pub fn descend<M>(&mut self) -> LockCtx<'_, M>
    where
        L: LockBefore<M>,
    {
        LockCtx::mint()
    }
}

impl<L: Place> fmt::Debug for LockCtx<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockCtx<{}>", L::NAME)
    }
}

/// Makes a guard `!Send`, whatever its raw lock says, and leaves it `Sync`.
///
/// A guard on another thread would be a lock that the other thread holds without its
/// contexts knowing.
pub(crate) type OnThisThread = PhantomData<NotSend>;

/// See [`OnThisThread`].
pub(crate) struct NotSend(#[allow(dead_code)] *const ());

// SAFETY: the type is only ever the parameter of a `PhantomData`: there is no value to share.
unsafe impl Sync for NotSend {}
