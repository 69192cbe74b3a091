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

// SAFETY: the condition holds for no `L`, so this makes no context `Send`. It is here for the
// compiler's words: without it they are about a raw pointer.
unsafe impl<L: sealed::OnAnyThread> Send for LockCtx<'_, L> {}

pub(crate) mod sealed {
    /// Types that may leave their thread. It has no implementation; its errors explain that.
    #[diagnostic::on_unimplemented(
        message = "a lock context or key stays on its thread",
        label = "carries the lock context or key of one thread to another",
        note = "another thread has a key of its own: take it there with `Key::take` or `Key::with`",
        note = "the closure of a `Leaf` carries none either: nothing is acquired in it"
    )]
    pub trait OnAnyThread {}

    /// Only the contexts of this crate are contexts.
    pub trait Sealed {}
}

/// The argument of an acquisition: a [`LockCtx`], or a mutable reference to one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a lock context",
    label = "expected a `LockCtx`",
    note = "a `Key` gives the context of the root: pass `&mut key.ctx()`",
    note = "under a lock, pass the context that came with the lock"
)]
pub trait Context: sealed::Sealed {
    /// The level last acquired, or the domain when nothing is held.
    type Place;
}

impl<P> sealed::Sealed for LockCtx<'_, P> {}
impl<P> Context for LockCtx<'_, P> {
    type Place = P;
}

impl<C: Context> sealed::Sealed for &mut C {}
impl<C: Context> Context for &mut C {
    type Place = C::Place;
}

impl<'k, L> LockCtx<'k, L> {
    /// Returns a context, where an acquisition (or the key) has established what it says.
    #[inline]
    pub(crate) const fn mint() -> Self {
        LockCtx {
            level: PhantomData,
            parent: PhantomData,
        }
    }

    /// Returns the same context for a shorter time, for functions that take a context by value.
    #[inline]
    pub fn reborrow(&mut self) -> LockCtx<'_, L> {
        LockCtx::mint()
    }

    /// Goes on to a later level without acquiring anything, for functions that want the
    /// context of just that level. What is given up comes back with the borrow's end.
    ///
    /// A trait object cannot have a method that is generic over the caller's level. Let it take
    /// the context of one level, and call it through this:
    ///
    /// ```
    /// # mod levels { lockorder::lock_order! {
    /// #     pub domain App; level Table, Callback, Log; App => Table => Callback => Log; } }
    /// use levels::{App, Callback, Log, Table};
    /// use lockorder::{Key, LockCtx, Mutex};
    ///
    /// trait OnChange {
    ///     // May acquire whatever comes after `Callback`.
    ///     fn changed(&self, ctx: &mut LockCtx<'_, Callback>);
    /// }
    ///
    /// struct Logger(Mutex<Log, Vec<&'static str>>);
    /// impl OnChange for Logger {
    ///     fn changed(&self, ctx: &mut LockCtx<'_, Callback>) {
    ///         self.0.with(ctx, |lines, _| lines.push("changed"));
    ///     }
    /// }
    ///
    /// static TABLE: Mutex<Table, u32> = Mutex::new(0);
    /// let observer: Box<dyn OnChange> = Box::new(Logger(Mutex::new(Vec::new())));
    /// let mut key = Key::<App>::take().expect("the key is free");
    /// TABLE.with(&mut key.ctx(), |table, ctx| {
    ///     *table += 1;
    ///     observer.changed(&mut ctx.descend());
    /// });
    /// ```
    #[inline]
    pub fn descend<M>(&mut self) -> LockCtx<'_, M>
    where
        L: LockBefore<M>,
    {
        LockCtx::mint()
    }

    /// Turns the context into that of a later level, for as long as it was good for.
    #[inline]
    pub fn into_descend<M>(self) -> LockCtx<'k, M>
    where
        L: LockBefore<M>,
    {
        LockCtx::mint()
    }

    /// Runs `f` with the thread's key of another domain, all of whose locks come after `L`.
    ///
    /// The edge `L => extern D` of the domain's declaration allows it. Returns `None`, without
    /// running `f`, while the thread's key of `D` is out.
    ///
    /// ```
    /// mod net { // a library
    ///     pub mod levels { lockorder::lock_order! { pub domain Net; level Conn; Net => Conn; } }
    ///     static CONN: lockorder::Mutex<levels::Conn, u32> = lockorder::Mutex::new(1);
    ///     pub fn send(key: &mut lockorder::Key<levels::Net>) -> u32 {
    ///         CONN.with(&mut key.ctx(), |sent, _| *sent)
    ///     }
    /// }
    /// mod levels { // the program that uses it
    ///     lockorder::lock_order! {
    ///         pub domain App;
    ///         level Session;
    ///         App => Session => extern crate::net::levels::Net;
    ///     }
    /// }
    /// # fn main() {
    /// use lockorder::{Key, Mutex};
    /// static SESSION: Mutex<levels::Session, u32> = Mutex::new(0);
    /// let mut key = Key::<levels::App>::take().expect("the key is free");
    /// SESSION.with(&mut key.ctx(), |session, ctx| {
    ///     *session = ctx.enter(net::send).expect("the library's key is free");
    /// });
    /// # }
    /// ```
    #[cfg(feature = "std")]
    #[inline]
    pub fn enter<D, R>(&mut self, f: impl FnOnce(&mut crate::Key<D>) -> R) -> Option<R>
    where
        D: crate::DomainAfter<L>,
    {
        crate::Key::with(f)
    }
}

/// Returns the context below an acquisition of level `M`.
#[inline]
pub(crate) fn child<'k, C: Context, M>(_ctx: &'k mut C) -> LockCtx<'k, M>
where
    C::Place: LockBefore<M>,
{
    LockCtx::mint()
}

/// Returns the right to acquire several locks of one later level, while the context is borrowed.
///
/// The permit itself does not keep the borrow: the caller must borrow the context for as long as
/// the locks acquired with it are held.
#[inline]
pub(crate) fn permit<'p, C: Context, M>(_ctx: &C) -> Permit<'p, M>
where
    C::Place: LockBefore<M>,
{
    Permit::mint()
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
