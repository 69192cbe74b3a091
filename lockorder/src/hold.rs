//! What a guard carries beside the raw lock's own guard: nothing, in a release build.
//!
//! - **Define:** a `Hold<L>` lives exactly as long as its guard holds a lock of level `L`.
//! - **Enforce:** it is made by an acquisition and is a private field of the guard.
//! - **Consume:** with debug assertions, the thread's slot counts its holds, and
//!   `Key::ctx` asserts that the count is zero, which finds guards that were leaked. With
//!   the feature `track`, waiting and holding are timed.

use core::marker::PhantomData;

use crate::Level;

/// See the module.
pub(crate) struct Hold<L: Level> {
    level: PhantomData<fn() -> L>,
    #[cfg(feature = "track")]
    since: crate::track::Since,
}

impl<L: Level> Hold<L> {
    #[inline]
    fn begin(#[cfg(feature = "track")] waited: Option<core::time::Duration>) -> Self {
        #[cfg(all(feature = "std", any(debug_assertions, feature = "track")))]
        <L::Domain as crate::Domain>::__slot(|slot| slot.enter(L::INDEX));
        Hold {
            level: PhantomData,
            #[cfg(feature = "track")]
            since: crate::track::acquired::<L>(waited),
        }
    }

    /// The lock has been released.
    #[inline]
    pub(crate) fn end(self) {}
}

#[cfg(all(feature = "std", any(debug_assertions, feature = "track")))]
impl<L: Level> Drop for Hold<L> {
    #[inline]
    fn drop(&mut self) {
        #[cfg(feature = "track")]
        crate::track::released::<L>(self.since);
        <L::Domain as crate::Domain>::__slot(|slot| slot.leave(L::INDEX));
    }
}

/// Acquires by `wait`; `now` is the attempt that does not wait.
#[cfg(not(feature = "track"))]
#[inline]
pub(crate) fn acquire<L: Level, G>(
    _now: impl FnOnce() -> Option<G>,
    wait: impl FnOnce() -> G,
) -> (G, Hold<L>) {
    (wait(), Hold::begin())
}

/// Acquires by `wait`, which may give up; `now` is the attempt that does not wait.
#[cfg(not(feature = "track"))]
#[inline]
pub(crate) fn acquire_within<L: Level, G>(
    _now: impl FnOnce() -> Option<G>,
    wait: impl FnOnce() -> Option<G>,
) -> Option<(G, Hold<L>)> {
    wait().map(|guard| (guard, Hold::begin()))
}

/// Acquires by `wait`; `now` is the attempt that does not wait.
#[cfg(feature = "track")]
pub(crate) fn acquire<L: Level, G>(
    now: impl FnOnce() -> Option<G>,
    wait: impl FnOnce() -> G,
) -> (G, Hold<L>) {
    match now() {
        Some(guard) => (guard, Hold::begin(None)),
        None => {
            let (guard, waited) = crate::track::wait::<L, _>(wait);
            (guard, Hold::begin(Some(waited)))
        }
    }
}

/// Acquires by `wait`, which may give up; `now` is the attempt that does not wait.
#[cfg(feature = "track")]
pub(crate) fn acquire_within<L: Level, G>(
    now: impl FnOnce() -> Option<G>,
    wait: impl FnOnce() -> Option<G>,
) -> Option<(G, Hold<L>)> {
    match now() {
        Some(guard) => Some((guard, Hold::begin(None))),
        None => {
            let (guard, waited) = crate::track::wait::<L, _>(wait);
            guard.map(|guard| (guard, Hold::begin(Some(waited))))
        }
    }
}

/// Acquires by an attempt that does not wait.
#[inline]
pub(crate) fn acquire_now<L: Level, G>(guard: Option<G>) -> Option<(G, Hold<L>)> {
    guard.map(|guard| {
        (
            guard,
            Hold::begin(
                #[cfg(feature = "track")]
                None,
            ),
        )
    })
}
