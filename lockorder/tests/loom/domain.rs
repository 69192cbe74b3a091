//! The domain by hand, because its slot is loom's: `Dom => Outer => Inner`.

use lockorder::graph::{Graph, LevelInfo};
use lockorder::{Domain, Level, LockAfter, Place};

pub(crate) enum Dom {}
pub(crate) enum Outer {}
pub(crate) enum Inner {}

// SAFETY: the root; the order of the levels is strict; the slot is a thread-local.
unsafe impl Domain for Dom {
    const GRAPH: &'static Graph = &Graph::__new(
        &[
            LevelInfo::__new("Dom", "", 0),
            LevelInfo::__new("Outer", "", 1),
            LevelInfo::__new("Inner", "", 2),
        ],
        &[],
        &[0, 0b1, 0b11],
    );

    fn __slot<R>(f: impl FnOnce(&lockorder::__private::Slot) -> R) -> R {
        loom::thread_local! {
            static SLOT: lockorder::__private::Slot = lockorder::__private::Slot::new();
        }
        SLOT.with(f)
    }

    lockorder::__domain_stats! { 3 }
}

macro_rules! place {
    ($place:ident $index:literal) => {
        // SAFETY: the place in the graph above.
        unsafe impl Place for $place {
            type Domain = Dom;
            const NAME: &'static str = stringify!($place);
            const INDEX: usize = $index;
        }
    };
}
place!(Dom 0);
place!(Outer 1);
place!(Inner 2);
// SAFETY: levels, not the root.
unsafe impl Level for Outer {}
// SAFETY: levels, not the root.
unsafe impl Level for Inner {}
// SAFETY: the closure of Dom => Outer => Inner.
unsafe impl LockAfter<Dom> for Outer {}
// SAFETY: the closure of Dom => Outer => Inner.
unsafe impl LockAfter<Dom> for Inner {}
// SAFETY: the closure of Dom => Outer => Inner.
unsafe impl LockAfter<Outer> for Inner {}
