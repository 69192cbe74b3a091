//! The part of a guard beside the raw lock's own guard. In a release build it is empty.
//!
//! - **Define:** a `Hold<L>` lives exactly as long as its guard holds a lock of level `L`.
//! - **Enforce:** it is made by an acquisition and is a private field of the guard.
//! - **Consume:** with debug assertions or the feature `lockdep`, the thread's slot lists its
//!   holds, and acquisitions that wait are checked against the list. With the feature `track`,
//!   waiting and holding are timed.

use core::marker::PhantomData;

use crate::Level;

/// See the module. `UNORDERED` holds were acquired without a context.
pub(crate) struct Hold<L: Level, const UNORDERED: bool = false> {
    level: PhantomData<fn() -> L>,
    #[cfg(feature = "track")]
    since: crate::track::Since,
}

impl<L: Level, const UNORDERED: bool> Hold<L, UNORDERED> {
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    fn begin(#[cfg(feature = "track")] waited: Option<core::time::Duration>) -> Self {
        #[cfg(all(
            feature = "std",
            any(debug_assertions, feature = "lockdep", feature = "track")
        ))]
        begin_listed::<L, UNORDERED>(
            #[cfg(any(debug_assertions, feature = "lockdep"))]
            core::panic::Location::caller(),
        );
        Hold {
            level: PhantomData,
            #[cfg(feature = "track")]
            since: crate::track::acquired::<L>(waited),
        }
    }

    /// Suspends the hold while its lock is released for a time, until what is returned is dropped.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
    pub(crate) fn pause(&mut self) -> Paused<'_, L, UNORDERED> {
        #[cfg(all(
            feature = "std",
            any(debug_assertions, feature = "lockdep", feature = "track")
        ))]
        self.end_listed();
        Paused {
            hold: self,
            #[cfg(all(feature = "std", any(debug_assertions, feature = "lockdep")))]
            at: core::panic::Location::caller(),
        }
    }

    /// Ends the hold of a lock that has been released.
    #[inline]
    pub(crate) fn end(self) {}
}

#[cfg(all(
    feature = "std",
    any(debug_assertions, feature = "lockdep", feature = "track")
))]
fn begin_listed<L: Level, const UNORDERED: bool>(
    #[cfg(any(debug_assertions, feature = "lockdep"))] at: &'static core::panic::Location<'static>,
) {
    let entry = crate::held::Entry::new(
        L::INDEX,
        #[cfg(any(debug_assertions, feature = "lockdep"))]
        UNORDERED,
        #[cfg(any(debug_assertions, feature = "lockdep"))]
        at,
    );
    <L::Domain as crate::Domain>::__slot(|slot| slot.held.push(entry));
    #[cfg(any(debug_assertions, feature = "lockdep"))]
    crate::check::begin::<L::Domain>(at);
}

#[cfg(all(
    feature = "std",
    any(debug_assertions, feature = "lockdep", feature = "track")
))]
impl<L: Level, const UNORDERED: bool> Drop for Hold<L, UNORDERED> {
    #[inline]
    fn drop(&mut self) {
        self.end_listed();
    }
}

/// A [`Hold`] that is suspended.
pub(crate) struct Paused<'h, L: Level, const UNORDERED: bool> {
    #[allow(dead_code)]
    hold: &'h mut Hold<L, UNORDERED>,
    #[cfg(all(feature = "std", any(debug_assertions, feature = "lockdep")))]
    at: &'static core::panic::Location<'static>,
}

#[cfg(all(
    feature = "std",
    any(debug_assertions, feature = "lockdep", feature = "track")
))]
impl<L: Level, const UNORDERED: bool> Drop for Paused<'_, L, UNORDERED> {
    fn drop(&mut self) {
        begin_listed::<L, UNORDERED>(
            #[cfg(any(debug_assertions, feature = "lockdep"))]
            self.at,
        );
        #[cfg(feature = "track")]
        {
            self.hold.since = crate::track::acquired::<L>(None);
        }
    }
}

#[cfg(all(
    feature = "std",
    any(debug_assertions, feature = "lockdep", feature = "track")
))]
impl<L: Level, const UNORDERED: bool> Hold<L, UNORDERED> {
    fn end_listed(&self) {
        #[cfg(feature = "track")]
        crate::track::released::<L>(self.since);
        <L::Domain as crate::Domain>::__slot(|slot| {
            slot.held.remove(
                L::INDEX,
                #[cfg(any(debug_assertions, feature = "lockdep"))]
                UNORDERED,
            );
        });
        #[cfg(any(debug_assertions, feature = "lockdep"))]
        crate::check::end::<L::Domain>();
    }
}

/// Checks an acquisition that is about to wait. Nothing, in a release build.
#[inline]
#[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
pub(crate) fn before_waiting<L: Level, const UNORDERED: bool>() {
    #[cfg(all(feature = "std", any(debug_assertions, feature = "lockdep")))]
    crate::check::before_waiting::<L>(UNORDERED, core::panic::Location::caller());
}

/// Acquires by `wait`; `now` is the attempt that does not wait.
#[cfg(not(feature = "track"))]
#[inline]
#[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
pub(crate) fn acquire<L: Level, G, const UNORDERED: bool>(
    _now: impl FnOnce() -> Option<G>,
    wait: impl FnOnce() -> G,
) -> (G, Hold<L, UNORDERED>) {
    before_waiting::<L, UNORDERED>();
    (wait(), Hold::begin())
}

/// Acquires by `wait`, which may give up; `now` is the attempt that does not wait.
#[cfg(not(feature = "track"))]
#[inline]
#[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
pub(crate) fn acquire_within<L: Level, G>(
    _now: impl FnOnce() -> Option<G>,
    wait: impl FnOnce() -> Option<G>,
) -> Option<(G, Hold<L>)> {
    before_waiting::<L, false>();
    let guard = wait()?;
    Some((guard, Hold::begin()))
}

/// Acquires by `wait`; `now` is the attempt that does not wait.
#[cfg(feature = "track")]
#[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
pub(crate) fn acquire<L: Level, G, const UNORDERED: bool>(
    now: impl FnOnce() -> Option<G>,
    wait: impl FnOnce() -> G,
) -> (G, Hold<L, UNORDERED>) {
    before_waiting::<L, UNORDERED>();
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
#[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
pub(crate) fn acquire_within<L: Level, G>(
    now: impl FnOnce() -> Option<G>,
    wait: impl FnOnce() -> Option<G>,
) -> Option<(G, Hold<L>)> {
    before_waiting::<L, false>();
    match now() {
        Some(guard) => Some((guard, Hold::begin(None))),
        None => {
            let (guard, waited) = crate::track::wait::<L, _>(wait);
            let guard = guard?;
            Some((guard, Hold::begin(Some(waited))))
        }
    }
}

/// Acquires by an attempt that does not wait.
#[inline]
#[cfg_attr(any(debug_assertions, feature = "lockdep"), track_caller)]
pub(crate) fn acquire_now<L: Level, G, const UNORDERED: bool>(
    guard: Option<G>,
) -> Option<(G, Hold<L, UNORDERED>)> {
    let guard = guard?;
    let hold = Hold::begin(
        #[cfg(feature = "track")]
        None,
    );
    Some((guard, hold))
}
