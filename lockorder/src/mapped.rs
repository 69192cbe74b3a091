//! Guards of a part of a value.

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use lock_api::{RawMutex, RawMutexFair, RawRwLock, RawRwLockFair};

use crate::ctx::OnThisThread;
use crate::hold::Hold;
use crate::{DefaultRawMutex, DefaultRawRwLock, Level};

macro_rules! mapped {
    ($(#[$attribute:meta])* $name:ident, $raw:ident, $fair:ident, $default:ident, [$($mut:tt)*]) => {
        $(#[$attribute])*
        #[must_use = "the lock is released when its guard is dropped"]
        pub struct $name<'k, L: Level, T: ?Sized, R: $raw = $default> {
            /// Dropped first: what is timed includes the release.
            inner: lock_api::$name<'k, R, T>,
            hold: Hold<L>,
            thread: OnThisThread,
        }

        impl<'k, L: Level, T: ?Sized, R: $raw> $name<'k, L, T, R> {
            #[inline]
            pub(crate) fn new(inner: lock_api::$name<'k, R, T>, hold: Hold<L>) -> Self {
                $name {
                    inner,
                    hold,
                    thread: PhantomData,
                }
            }

            /// Turns the guard into one of a smaller part.
            #[inline]
            pub fn map<U: ?Sized>(
                guard: Self,
                f: impl FnOnce(&$($mut)* T) -> &$($mut)* U,
            ) -> $name<'k, L, U, R> {
                let $name { inner, hold, .. } = guard;
                $name::new(lock_api::$name::map(inner, f), hold)
            }

            /// Releases the lock and hands it to the thread that has waited longest.
            #[inline]
            pub fn unlock_fair(guard: Self)
            where
                R: $fair,
            {
                let $name { inner, hold, .. } = guard;
                lock_api::$name::unlock_fair(inner);
                hold.end();
            }
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
    };
}

mapped! {
    /// A part of a held [`Mutex`](crate::Mutex): see [`MutexGuard::map`](crate::MutexGuard::map).
    MappedMutexGuard, RawMutex, RawMutexFair, DefaultRawMutex, [mut]
}
mapped! {
    /// A part of a [`RwLock`](crate::RwLock) held shared.
    MappedRwLockReadGuard, RawRwLock, RawRwLockFair, DefaultRawRwLock, []
}
mapped! {
    /// A part of a [`RwLock`](crate::RwLock) held exclusively.
    MappedRwLockWriteGuard, RawRwLock, RawRwLockFair, DefaultRawRwLock, [mut]
}

impl<L: Level, T: ?Sized, R: RawMutex> DerefMut for MappedMutexGuard<'_, L, T, R> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<L: Level, T: ?Sized, R: RawRwLock> DerefMut for MappedRwLockWriteGuard<'_, L, T, R> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}
