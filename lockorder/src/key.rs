//! Keys: the right of a thread to lock in a domain.
//!
//! - **Define:** on a thread, at most one `Key<D>` that can be used exists at any time, and
//!   `&mut Key<D>` proves that the thread holds no lock of `D` by a live guard.
//! - **Enforce:** keys are made by [`Key::take`] alone (and by an unsafe constructor whose
//!   caller vouches for the same); they are neither `Send` nor `Clone`; a context borrows
//!   its key exclusively, and every guard borrows its context.
//! - **Consume:** [`Key::ctx`] starts a chain of contexts at the root, which is right only
//!   because nothing is held; functions that must not run under a lock take `&mut Key<D>`.

use core::fmt;
use core::marker::PhantomData;

use crate::Domain;
use crate::ctx::LockCtx;

/// A thread's key to a domain: zero-sized, one per thread and domain.
///
/// `&mut Key<D>` is also the proof that this thread holds nothing of the domain. What must
/// not run under a lock (waking a task, a system call, a user's callback) takes it as an
/// argument, and cannot be called under a lock then.
pub struct Key<D: Domain> {
    domain: PhantomData<fn() -> D>,
    /// Neither `Send` nor `Sync`: a key belongs to the thread that took it.
    thread: PhantomData<*mut ()>,
}

// SAFETY: the condition holds for no `D`: see the same implementation of `LockCtx`.
unsafe impl<D: Domain + crate::ctx::sealed::OnAnyThread> Send for Key<D> {}

impl<D: Domain> Key<D> {
    /// Returns the value, once its uniqueness is established.
    #[inline]
    const fn mint() -> Self {
        Key {
            domain: PhantomData,
            thread: PhantomData,
        }
    }

    /// Makes a key that the caller vouches for.
    ///
    /// For targets without thread-locals. With `std`, `take` is the safe way.
    ///
    /// # Safety
    ///
    /// The caller must see to it that, as long as this key lives, no other key of `D` is used
    /// in the same thread of execution, and that code on this key's thread is not interrupted
    /// by code that uses another key of `D` and may wait for a lock of `D` (an interrupt
    /// handler, on bare metal: give those a domain of their own).
    ///
    /// # Robustness
    ///
    /// With `std`, the calling thread's slot of `D` counts as taken from here on, and becomes
    /// free when the key is dropped. Breaking the contract makes deadlocks possible, never
    /// undefined behaviour: every lock still excludes.
    #[inline]
    #[must_use]
    pub unsafe fn assume() -> Self {
        #[cfg(feature = "std")]
        D::__slot(|slot| slot.force());
        Self::mint()
    }

    /// Returns the context of the root: nothing is held, every level may be acquired.
    ///
    /// # Panics
    ///
    /// In the closure of a [`Leaf`](crate::Leaf) of the domain, which a key can reach through a
    /// thread-local.
    ///
    /// With debug assertions (or the feature `lockdep` or `track`), if a guard of the domain was
    /// leaked on this thread (`mem::forget`, a reference cycle): its lock is held for ever, and
    /// the next acquisition waits as long. The closure forms leave no guard to leak.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn ctx(&mut self) -> LockCtx<'_, D> {
        #[cfg(feature = "std")]
        if D::__slot(|slot| slot.in_leaf()) {
            in_leaf(D::NAME);
        }
        #[cfg(all(
            feature = "std",
            any(debug_assertions, feature = "lockdep", feature = "track")
        ))]
        assert!(
            D::__slot(|slot| slot.held.ordered() == 0),
            "a guard of lock domain `{}` was leaked: its lock is held for ever",
            D::NAME
        );
        LockCtx::mint()
    }
}

#[cfg(feature = "std")]
impl<D: Domain> Key<D> {
    /// Takes the calling thread's key of the domain. Returns `None` while it is out.
    ///
    /// Dropping the key gives it back. A key that is leaked (`mem::forget`) is not given
    /// back: the thread can then lock nothing of the domain any more.
    #[inline]
    #[must_use]
    pub fn take() -> Option<Self> {
        D::__slot(|slot| slot.claim()).then(Self::mint)
    }

    /// Takes the key, runs `f`, and gives the key back. Returns `None`, without running `f`,
    /// while the key is out. [`run`](Key::run) panics instead.
    ///
    /// ```
    /// # mod levels { lockorder::lock_order! { pub domain App; level Config; App => Config; } }
    /// use lockorder::{Key, Mutex};
    /// static NAME: Mutex<levels::Config, &str> = Mutex::new("netstack");
    /// let length = Key::<levels::App>::with(|key| NAME.with(&mut key.ctx(), |name, _| name.len()));
    /// assert_eq!(length, Some(8));
    /// ```
    #[inline]
    #[must_use = "`f` has not run if this is `None`; `Key::run` panics then"]
    pub fn with<R>(f: impl FnOnce(&mut Key<D>) -> R) -> Option<R> {
        Self::take().map(|mut key| f(&mut key))
    }

    /// Takes the key, runs `f`, and gives the key back, where the key is known to be free.
    ///
    /// ```
    /// # mod levels { lockorder::lock_order! { pub domain App; level Config; App => Config; } }
    /// use lockorder::{Key, Mutex};
    /// static LIMIT: Mutex<levels::Config, u32> = Mutex::new(10);
    /// let limit = Key::<levels::App>::run(|key| LIMIT.with(&mut key.ctx(), |limit, _| *limit));
    /// assert_eq!(limit, 10);
    /// ```
    ///
    /// # Panics
    ///
    /// At the caller's place, without running `f`, while the key is out: a function further up
    /// has it, and should pass it on.
    #[inline]
    #[track_caller]
    pub fn run<R>(f: impl FnOnce(&mut Key<D>) -> R) -> R {
        match Self::take() {
            Some(mut key) => f(&mut key),
            None => out(D::NAME),
        }
    }

    /// Calls out: gives the thread's slot back while `f` runs, so that code that knows
    /// nothing of this key (a waker, a task, a callback) can take the thread's key itself.
    ///
    /// `&mut self` proves that nothing is held. While `f` runs this key is borrowed
    /// and cannot be used, so the thread never has two that can.
    ///
    /// # Aborts
    ///
    /// If a key taken inside `f` is still alive when `f` ends (returned, stored in a
    /// thread-local, leaked), by return or by unwinding, there would be two usable keys on
    /// the thread, and the order would be worth nothing. The process is aborted then, with a
    /// message: unwinding would leave both keys with the code that catches it.
    #[inline]
    pub fn lend<R>(&mut self, f: impl FnOnce() -> R) -> R {
        /// Takes the slot again at the end of `f`, however it ends.
        struct Reclaim<D: Domain>(PhantomData<fn() -> D>);

        impl<D: Domain> Drop for Reclaim<D> {
            #[inline]
            fn drop(&mut self) {
                if !D::__slot(|slot| slot.reclaim()) {
                    outlived(D::NAME);
                }
            }
        }

        D::__slot(|slot| slot.release());
        let _reclaim = Reclaim::<D>(PhantomData);
        f()
    }
}

/// Ends the thread: its key is not there.
#[cfg(feature = "std")]
#[cold]
#[inline(never)]
#[track_caller]
fn out(domain: &str) -> ! {
    panic!(
        "the key of lock domain `{domain}` is out on this thread: pass the key or a context on from where it was taken"
    );
}

/// Ends the thread: a key was used in the closure of a leaf lock.
#[cfg(feature = "std")]
#[cold]
#[inline(never)]
#[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
fn in_leaf(domain: &str) -> ! {
    panic!("nothing of lock domain `{domain}` may be acquired in the closure of its leaf lock");
}

/// Ends the process: a key taken in `Key::lend` is alive after it.
#[cfg(feature = "std")]
#[cold]
#[inline(never)]
fn outlived(domain: &str) -> ! {
    std::eprintln!(
        "lockorder: a key of domain `{domain}` that was taken inside `Key::lend` is still alive after it; aborting"
    );
    std::process::abort()
}

impl<D: Domain> Drop for Key<D> {
    #[inline]
    fn drop(&mut self) {
        #[cfg(feature = "std")]
        D::__slot(|slot| slot.release());
    }
}

impl<D: Domain> fmt::Debug for Key<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key<{}>", D::NAME)
    }
}
