//! Locks whose order is checked at run time, for code that cannot pass a context on.
//!
//! A [`lockdep::Mutex`](Mutex) has a level of a domain, as a [`crate::Mutex`] has, and is acquired
//! without a context. With debug assertions, and so in tests, and with the feature `lockdep`, each
//! acquisition that waits is compared with what the thread holds, of these locks and of the typed
//! ones; one that is out of order panics, with both chains of acquisition, before it waits. In
//! release builds without the feature it is the raw lock: the same instructions.
//!
//! - **Define:** in a checked build, a thread waits for a lock of this module only if all that it
//!   holds of the domain comes before it in the declared order; and for a typed lock only if
//!   all locks of this module that it holds come before that.
//! - **Enforce:** the thread's slot lists every guard. An acquisition that waits looks first.
//! - **Consume:** a test that walks a path finds its wrong orders, whether or not another thread
//!   is there to make a deadlock of them.
//!
//! A path that no test walks is not checked: where a context can be passed, the typed locks are
//! better.
//! A thread that holds locks of more than eight domains, or of one domain in more than thirty turns
//! from one level to another, is compared with the first of them only.
//!
//! ```
//! # mod levels { lockorder::lock_order! {
//! #     pub domain App; level Table, Observers; App => Table => Observers; } }
//! use levels::{App, Observers, Table};
//! use lockorder::{Key, Mutex, lockdep};
//!
//! static TABLE: Mutex<Table, u32> = Mutex::new(0);
//! // A callback that is called from anywhere.
//! static CALLS: lockdep::Mutex<Observers, u32> = lockdep::Mutex::new(0);
//! fn changed() {
//!     *CALLS.lock() += 1;
//! }
//!
//! Key::<App>::run(|key| TABLE.with(&mut key.ctx(), |_, _| changed()));
//! ```

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use lock_api::{RawMutex, RawRwLock};

use crate::ctx::OnThisThread;
use crate::hold::{Hold, acquire, acquire_now};
use crate::{DefaultRawMutex, DefaultRawRwLock, Level};

/// A mutex of level `L` that is acquired without a context. See the [module](self).
pub struct Mutex<L, T: ?Sized, R = DefaultRawMutex> {
    level: PhantomData<fn() -> L>,
    inner: lock_api::Mutex<R, T>,
}

impl<L, T, R: RawMutex> Mutex<L, T, R> {
    /// Creates a free mutex.
    #[inline]
    pub const fn new(value: T) -> Self {
        Mutex {
            level: PhantomData,
            inner: lock_api::Mutex::new(value),
        }
    }

    /// Returns the value. Owning the mutex proves that it is free.
    #[inline]
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<L: Level, T: ?Sized, R: RawMutex> Mutex<L, T, R> {
    /// Acquires the lock, blocking the thread.
    ///
    /// # Panics
    ///
    /// In a checked build, if the thread holds a lock that `L` does not come after.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn lock(&self) -> MutexGuard<'_, L, T, R> {
        let (inner, hold) = acquire(|| self.inner.try_lock(), || self.inner.lock());
        MutexGuard {
            inner,
            hold,
            thread: PhantomData,
        }
    }

    /// Acquires the lock if it is free now. In any order: it does not wait.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, L, T, R>> {
        let (inner, hold) = acquire_now(self.inner.try_lock())?;
        Some(MutexGuard {
            inner,
            hold,
            thread: PhantomData,
        })
    }
}

/// A reader-writer lock of level `L` that is acquired without a context. See the [module](self).
pub struct RwLock<L, T: ?Sized, R = DefaultRawRwLock> {
    level: PhantomData<fn() -> L>,
    inner: lock_api::RwLock<R, T>,
}

impl<L, T, R: RawRwLock> RwLock<L, T, R> {
    /// Creates a free lock.
    #[inline]
    pub const fn new(value: T) -> Self {
        RwLock {
            level: PhantomData,
            inner: lock_api::RwLock::new(value),
        }
    }

    /// Returns the value. Owning the lock proves that it is free.
    #[inline]
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<L: Level, T: ?Sized, R: RawRwLock> RwLock<L, T, R> {
    /// Acquires the lock shared, blocking the thread.
    ///
    /// # Panics
    ///
    /// As [`Mutex::lock`].
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn read(&self) -> RwLockReadGuard<'_, L, T, R> {
        let (inner, hold) = acquire(|| self.inner.try_read(), || self.inner.read());
        RwLockReadGuard {
            inner,
            hold,
            thread: PhantomData,
        }
    }

    /// Acquires the lock exclusively, blocking the thread.
    ///
    /// # Panics
    ///
    /// As [`Mutex::lock`].
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn write(&self) -> RwLockWriteGuard<'_, L, T, R> {
        let (inner, hold) = acquire(|| self.inner.try_write(), || self.inner.write());
        RwLockWriteGuard {
            inner,
            hold,
            thread: PhantomData,
        }
    }

    /// Acquires the lock shared if that is possible now. In any order: it does not wait.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, L, T, R>> {
        let (inner, hold) = acquire_now(self.inner.try_read())?;
        Some(RwLockReadGuard {
            inner,
            hold,
            thread: PhantomData,
        })
    }

    /// Acquires the lock exclusively if it is free now. In any order: it does not wait.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub fn try_write(&self) -> Option<RwLockWriteGuard<'_, L, T, R>> {
        let (inner, hold) = acquire_now(self.inner.try_write())?;
        Some(RwLockWriteGuard {
            inner,
            hold,
            thread: PhantomData,
        })
    }
}

macro_rules! guards {
    ($($(#[$attribute:meta])* $name:ident, $raw:ident, $default:ident;)*) => {$(
        $(#[$attribute])*
        #[must_use = "the lock is released when its guard is dropped"]
        pub struct $name<'a, L: Level, T: ?Sized, R: $raw = $default> {
            /// Dropped first: what is timed includes the release.
            inner: lock_api::$name<'a, R, T>,
            #[allow(dead_code)]
            hold: Hold<L, true>,
            #[allow(dead_code)]
            thread: OnThisThread,
        }

        impl<L: Level, T: ?Sized, R: $raw> Deref for $name<'_, L, T, R> {
            type Target = T;

            #[inline]
            fn deref(&self) -> &T {
                &self.inner
            }
        }

        impl<L: Level, T: ?Sized + fmt::Debug, R: $raw> fmt::Debug for $name<'_, L, T, R> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (**self).fmt(f)
            }
        }
    )*};
}

guards! {
    /// A held [`Mutex`], released on drop.
    MutexGuard, RawMutex, DefaultRawMutex;
    /// A [`RwLock`] held shared, released on drop.
    RwLockReadGuard, RawRwLock, DefaultRawRwLock;
    /// A [`RwLock`] held exclusively, released on drop.
    RwLockWriteGuard, RawRwLock, DefaultRawRwLock;
}

impl<L: Level, T: ?Sized, R: RawMutex> DerefMut for MutexGuard<'_, L, T, R> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<L: Level, T: ?Sized, R: RawRwLock> DerefMut for RwLockWriteGuard<'_, L, T, R> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

macro_rules! common {
    ($lock:ident, $raw:ident, $name:literal) => {
        impl<L, T: Default, R: $raw> Default for $lock<L, T, R> {
            fn default() -> Self {
                $lock::new(T::default())
            }
        }

        /// Does not show the value: that would be an acquisition.
        impl<L: Level, T: ?Sized, R: $raw> fmt::Debug for $lock<L, T, R> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct($name)
                    .field("level", &L::NAME)
                    .field("locked", &self.inner.is_locked())
                    .finish_non_exhaustive()
            }
        }
    };
}

common!(Mutex, RawMutex, "lockdep::Mutex");
common!(RwLock, RawRwLock, "lockdep::RwLock");
