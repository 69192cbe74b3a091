//! A lock for code that no context reaches.
//!
//! - **Define:** while the closure of a [`Leaf`] runs, its thread acquires nothing else of the
//!   leaf's domain.
//! - **Enforce:** the closure gets no context and can capture none, because it must be `Send`
//!   and contexts, keys and guards are not. The thread's slot says that a leaf is held: no key can
//!   be taken then, a key that lies in a thread-local gives no context, a task's context gives no
//!   section, and no other leaf can be entered.
//!   Debug builds also refuse to wait for a lock of another domain there, and for a leaf of another
//!   domain if the two have been taken the other way round.
//! - **Consume:** a thread that waits for a leaf waits for one that waits for nothing. So a leaf
//!   comes after every level, without being one.

use core::fmt;
use core::marker::PhantomData;

use lock_api::RawMutex;

use crate::{DefaultRawMutex, Domain};

/// A mutex of a domain that is acquired without a key or a context, below every level.
///
/// For destructors, panic hooks, loggers, and callbacks whose signature is not yours. What it
/// protects should be small: a counter, a buffer, a list of things to do later.
///
/// ```
/// # mod levels { lockorder::lock_order! { pub domain App; level Pool; App => Pool; } }
/// use lockorder::{Key, Leaf, Mutex};
///
/// static FREE_SLOTS: Leaf<levels::App, u32> = Leaf::new(3);
/// static POOL: Mutex<levels::Pool, Option<Slot>> = Mutex::new(Some(Slot));
///
/// struct Slot;
/// impl Drop for Slot {
///     fn drop(&mut self) {
///         // Whatever is held where this value dies.
///         FREE_SLOTS.with(|free| *free += 1).expect("not in the closure of a leaf");
///     }
/// }
///
/// Key::<levels::App>::run(|key| POOL.with(&mut key.ctx(), |pool, _| *pool = None));
/// assert_eq!(FREE_SLOTS.with(|free| *free), Ok(4));
/// ```
///
/// A context cannot be carried into the closure:
///
/// ```compile_fail
/// # mod levels { lockorder::lock_order! { pub domain App; level Pool; App => Pool; } }
/// # use lockorder::{Key, Leaf, Mutex};
/// # static FREE_SLOTS: Leaf<levels::App, u32> = Leaf::new(3);
/// # static POOL: Mutex<levels::Pool, u32> = Mutex::new(0);
/// # let mut key = Key::<levels::App>::take().unwrap();
/// let mut ctx = key.ctx();
/// FREE_SLOTS.with(|_| POOL.with(&mut ctx, |_, _| ()));
/// ```
pub struct Leaf<D, T: ?Sized, R = DefaultRawMutex> {
    domain: PhantomData<fn() -> D>,
    inner: lock_api::Mutex<R, T>,
}

impl<D, T, R: RawMutex> Leaf<D, T, R> {
    /// Creates a free lock.
    #[inline]
    pub const fn new(value: T) -> Self {
        Leaf {
            domain: PhantomData,
            inner: lock_api::Mutex::new(value),
        }
    }

    /// Returns the value. Owning the lock proves that it is free.
    #[inline]
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<D: Domain, T: ?Sized, R: RawMutex> Leaf<D, T, R> {
    /// Acquires the lock, blocking the thread, for the time of `f`.
    ///
    /// # Errors
    ///
    /// [`InLeaf`], without running `f`, in the closure of a leaf of the same domain (a panic hook
    /// that runs while a leaf is held, say).
    ///
    /// # Panics
    ///
    /// In a checked build, in the closure of a leaf of another domain, if threads have taken the two
    /// the other way round.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn with<Ret>(&self, f: impl FnOnce(&mut T) -> Ret + Send) -> Result<Ret, InLeaf> {
        struct Leave<D: Domain>(PhantomData<fn() -> D>);
        impl<D: Domain> Drop for Leave<D> {
            #[inline]
            fn drop(&mut self) {
                D::__slot(|slot| slot.leave_leaf());
                #[cfg(any(debug_assertions, feature = "lockdep"))]
                crate::check::leave_leaf();
            }
        }

        if !D::__slot(|slot| slot.enter_leaf()) {
            return Err(InLeaf);
        }
        let _leave = Leave::<D>(PhantomData);
        #[cfg(any(debug_assertions, feature = "lockdep"))]
        crate::check::enter_leaf::<D>(core::panic::Location::caller());
        let mut guard = self.inner.lock();
        Ok(f(&mut guard))
    }
}

impl<D, T: ?Sized, R: RawMutex> Leaf<D, T, R> {
    /// Returns the value. The exclusive borrow proves that the lock is free.
    #[inline]
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }
}

impl<D, T: Default, R: RawMutex> Default for Leaf<D, T, R> {
    fn default() -> Self {
        Leaf::new(T::default())
    }
}

impl<D: Domain, T: ?Sized, R: RawMutex> fmt::Debug for Leaf<D, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf")
            .field("domain", &D::NAME)
            .field("locked", &self.inner.is_locked())
            .finish_non_exhaustive()
    }
}

/// A leaf lock was wanted in the closure of one of the same domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InLeaf;

impl fmt::Display for InLeaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a leaf lock of this domain is held on this thread: leave its closure first")
    }
}

impl core::error::Error for InLeaf {}
