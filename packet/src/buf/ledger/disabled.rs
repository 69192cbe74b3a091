//! The ledger of programs that are built without the feature `ledger`: it takes no space and does
//! nothing.

use super::Audit;

/// A ledger without a record.
pub(in crate::buf) struct Ledger;

impl Ledger {
    pub(in crate::buf) fn new() -> Self {
        Self
    }

    #[inline(always)]
    pub(in crate::buf) fn new_entry(&self) -> Entry {
        Entry
    }

    pub(in crate::buf) fn audit(&self) -> Audit {
        Audit::Unsupported
    }
}

/// An entry without a state.
pub(in crate::buf) struct Entry;

const _: () = assert!(size_of::<Entry>() == 0 && size_of::<Ledger>() == 0);

impl Entry {
    #[inline(always)]
    pub(in crate::buf) fn take(&self) {}

    #[inline(always)]
    pub(in crate::buf) fn freeze(&self) {}

    #[inline(always)]
    pub(in crate::buf) fn thaw(&self) {}

    #[inline(always)]
    pub(in crate::buf) fn share(&self) {}

    #[inline(always)]
    pub(in crate::buf) fn use_owned(&self) {}

    #[inline(always)]
    pub(in crate::buf) fn read_shared(&self) {}

    #[inline(always)]
    pub(in crate::buf) fn append(&self) {}

    #[inline(always)]
    pub(in crate::buf) fn give_back_owned(&self) {}

    #[inline(always)]
    pub(in crate::buf) fn give_back_shared(&self) {}
}
