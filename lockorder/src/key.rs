//! Keys: the right of a thread to lock in a domain.
//!
//! - **Define:** on a thread, at most one `Key<D>` that can be used exists at any time, and
//!   whoever has `&mut Key<D>` knows that the thread holds no lock of `D` by a live guard.
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

impl<D: Domain> Key<D> {
    /// The value, once its uniqueness is established.
    #[inline]
    const fn mint() -> Self {
        Key {
            domain: PhantomData,
            thread: PhantomData,
        }
    }

    /// A key that nothing but the caller vouches for.
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

    /// The context of the root: nothing is held, every level may be acquired.
    ///
    /// # Panics
    ///
    /// With debug assertions (or the feature `track`), if a guard of the domain was leaked on
    /// this thread (`mem::forget`, a reference cycle): its lock is held for ever, and whoever
    /// wants it next will wait as long. The closure forms leave no guard to leak.
    #[inline]
    pub fn ctx(&mut self) -> LockCtx<'_, D> {
        #[cfg(all(feature = "std", any(debug_assertions, feature = "track")))]
        assert!(
            D::__slot(|slot| slot.held()) == 0,
            "a guard of lock domain `{}` was leaked: its lock is held for ever",
            D::NAME
        );
        LockCtx::mint()
    }
}

#[cfg(feature = "std")]
impl<D: Domain> Key<D> {
    /// The calling thread's key of the domain, or `None` while it is out.
    ///
    /// Dropping the key gives it back. A key that is leaked (`mem::forget`) is not given
    /// back: the thread can then lock nothing of the domain any more.
    #[inline]
    #[must_use]
    pub fn take() -> Option<Self> {
        D::__slot(|slot| slot.claim()).then(Self::mint)
    }

    /// Takes the key, runs `f`, and gives the key back. `None`, without running `f`, while
    /// the key is out.
    ///
    /// ```
    /// # mod levels { lockorder::lock_order! { pub domain App; level Config; App => Config; } }
    /// use lockorder::{Key, Mutex};
    /// static NAME: Mutex<levels::Config, &str> = Mutex::new("netstack");
    /// let length = Key::<levels::App>::with(|key| NAME.with(&mut key.ctx(), |name, _| name.len()));
    /// assert_eq!(length, Some(8));
    /// ```
    #[inline]
    pub fn with<R>(f: impl FnOnce(&mut Key<D>) -> R) -> Option<R> {
        Self::take().map(|mut key| f(&mut key))
    }

    /// Calls out: gives the thread's slot back while `f` runs, so that code that knows
    /// nothing of this key (a waker, a task, a callback) can take the thread's key itself.
    ///
    /// Nothing is held: that is what `&mut self` proves. While `f` runs this key is borrowed
    /// and cannot be used, so the thread never has two that can.
    ///
    /// # Aborts
    ///
    /// If a key taken inside `f` is still alive when `f` ends (returned, stored in a
    /// thread-local, leaked), by return or by unwinding, there would be two usable keys on
    /// the thread, and the order would be worth nothing. The process is aborted then, with a
    /// message: unwinding would hand both keys to whoever catches it.
    #[inline]
    pub fn lend<R>(&mut self, f: impl FnOnce() -> R) -> R {
        /// Takes the slot again at the end of `f`, however it ends.
        struct Reclaim<D: Domain>(PhantomData<fn() -> D>);

        impl<D: Domain> Drop for Reclaim<D> {
            #[inline]
            fn drop(&mut self) {
                if !D::__slot(|slot| slot.claim()) {
                    outlived(D::NAME);
                }
            }
        }

        D::__slot(|slot| slot.release());
        let _reclaim = Reclaim::<D>(PhantomData);
        f()
    }
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
