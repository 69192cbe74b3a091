//! The parts of a [`Domain`](crate::Domain) implementation that depend on this crate's
//! features, and not on those of the crate that declares the domain: `lock_order!` leaves
//! them to these macros, which the features choose here.

/// The thread-local slot.
#[cfg(feature = "std")]
#[doc(hidden)]
#[macro_export]
macro_rules! __domain_slot {
    ($levels:literal) => {
        #[inline]
        fn __slot<R>(f: impl $crate::__private::FnOnce(&$crate::__private::Slot) -> R) -> R {
            // Without a destructor, hence usable in the destructors of other thread-locals. By
            // this crate's path: `extern crate other as std` would give `::std` another meaning.
            $crate::__private::thread_local! {
                static SLOT: $crate::__private::Slot = const { $crate::__private::Slot::new() };
            }
            SLOT.with(f)
        }

        $crate::__domain_stats! { $levels }
    };
}

/// See the other form.
#[cfg(not(feature = "std"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __domain_slot {
    ($levels:literal) => {};
}

/// The tables of the feature `track`.
#[cfg(feature = "track")]
#[doc(hidden)]
#[macro_export]
macro_rules! __domain_stats {
    ($levels:literal) => {
        fn __stats() -> &'static $crate::__private::DomainStats {
            static LEVELS: [$crate::__private::LevelStats; $levels] =
                [const { $crate::__private::LevelStats::new() }; $levels];
            static STATS: $crate::__private::DomainStats =
                $crate::__private::DomainStats::new(&LEVELS);
            &STATS
        }
    };
}

/// See the other form.
#[cfg(not(feature = "track"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __domain_stats {
    ($levels:literal) => {};
}
