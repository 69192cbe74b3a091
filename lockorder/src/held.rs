//! The guards of a domain that live on a thread, for checks and for diagnostics.
//!
//! - **Define:** a [`Held`] counts the guards that this thread has not dropped, and knows their
//!   levels in the order of their acquisition.
//! - **Enforce:** it lies in the thread's slot and is changed by
//!   [`Hold`](crate::hold::Hold), which lives as long as its guard.
//! - **Consume:** leaked guards are found by the count; `lockdep` and `track` read the levels.
//!
//! In release builds without the features `lockdep` and `track` there is none of this.

use core::cell::Cell;
#[cfg(any(debug_assertions, feature = "lockdep"))]
use core::panic::Location;

/// As many entries are kept. When they are full, neighbours of one level (the rows of a
/// transaction, say) share an entry; a guard that finds no room even so is only counted.
pub(crate) const MOST: usize = 30;

/// One guard, or several of one level, acquired one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// The level's index in the domain's graph.
    pub(crate) level: u16,
    /// How many guards share the entry. The place is that of the first one.
    guards: u16,
    /// True if it was acquired without a context, by a lock of the module `lockdep`.
    #[cfg(any(debug_assertions, feature = "lockdep"))]
    pub(crate) unordered: bool,
    #[cfg(any(debug_assertions, feature = "lockdep"))]
    pub(crate) at: Option<&'static Location<'static>>,
}

impl Entry {
    const NONE: Self = Entry {
        level: 0,
        guards: 0,
        #[cfg(any(debug_assertions, feature = "lockdep"))]
        unordered: false,
        #[cfg(any(debug_assertions, feature = "lockdep"))]
        at: None,
    };

    /// Returns the entry of one guard.
    pub(crate) fn new(
        level: usize,
        #[cfg(any(debug_assertions, feature = "lockdep"))] unordered: bool,
        #[cfg(any(debug_assertions, feature = "lockdep"))] at: &'static Location<'static>,
    ) -> Self {
        Entry {
            level: u16::try_from(level).unwrap_or(u16::MAX),
            guards: 1,
            #[cfg(any(debug_assertions, feature = "lockdep"))]
            unordered,
            #[cfg(any(debug_assertions, feature = "lockdep"))]
            at: Some(at),
        }
    }

    /// Returns the entry of both, if they are of one kind.
    fn with(self, next: Entry) -> Option<Self> {
        #[cfg(any(debug_assertions, feature = "lockdep"))]
        if self.unordered != next.unordered {
            return None;
        }
        if self.level != next.level {
            return None;
        }
        let guards = self.guards.checked_add(next.guards)?;
        Some(Entry { guards, ..self })
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Held {
    count: Cell<usize>,
    /// How many of the entries were acquired without a context.
    #[cfg(any(debug_assertions, feature = "lockdep"))]
    unordered: Cell<usize>,
    listed: Cell<usize>,
    entries: [Cell<Entry>; MOST],
}

impl Held {
    pub(crate) const fn new() -> Self {
        Held {
            count: Cell::new(0),
            #[cfg(any(debug_assertions, feature = "lockdep"))]
            unordered: Cell::new(0),
            listed: Cell::new(0),
            entries: [const { Cell::new(Entry::NONE) }; MOST],
        }
    }

    /// A guard begins.
    pub(crate) fn push(&self, entry: Entry) {
        self.count.set(self.count.get() + 1);
        #[cfg(any(debug_assertions, feature = "lockdep"))]
        self.unordered
            .set(self.unordered.get() + usize::from(entry.unordered));
        if self.listed.get() == MOST {
            self.share();
        }
        let listed = self.listed.get();
        if let Some(place) = self.entries.get(listed) {
            place.set(entry);
            self.listed.set(listed + 1);
        } else if let Some(last) = self.entries.last()
            && let Some(both) = last.get().with(entry)
        {
            last.set(both);
        }
    }

    /// Lets neighbours of one level share an entry.
    fn share(&self) {
        let mut kept = 0;
        for index in 1..self.listed.get() {
            let next = self.entries[index].get();
            match self.entries[kept].get().with(next) {
                Some(both) => self.entries[kept].set(both),
                None => {
                    kept += 1;
                    self.entries[kept].set(next);
                }
            }
        }
        self.listed.set(kept + 1);
    }

    /// A guard ends. Guards can be dropped in any order: the latest of that kind goes.
    pub(crate) fn remove(
        &self,
        level: usize,
        #[cfg(any(debug_assertions, feature = "lockdep"))] unordered: bool,
    ) {
        self.count.set(self.count.get().saturating_sub(1));
        #[cfg(any(debug_assertions, feature = "lockdep"))]
        self.unordered
            .set(self.unordered.get().saturating_sub(usize::from(unordered)));
        let listed = self.listed.get();
        let found = self.entries[..listed].iter().rposition(|entry| {
            let entry = entry.get();
            #[cfg(any(debug_assertions, feature = "lockdep"))]
            if entry.unordered != unordered {
                return false;
            }
            usize::from(entry.level) == level
        });
        if let Some(place) = found {
            let mut entry = self.entries[place].get();
            if entry.guards > 1 {
                entry.guards -= 1;
                self.entries[place].set(entry);
                return;
            }
            for index in place + 1..listed {
                self.entries[index - 1].set(self.entries[index].get());
            }
            self.listed.set(listed - 1);
        }
    }

    /// How many guards live.
    #[cfg(any(debug_assertions, feature = "lockdep"))]
    pub(crate) fn count(&self) -> usize {
        self.count.get()
    }

    /// How many of them were acquired with a context.
    pub(crate) fn ordered(&self) -> usize {
        #[cfg(any(debug_assertions, feature = "lockdep"))]
        let unordered = self.unordered.get();
        #[cfg(not(any(debug_assertions, feature = "lockdep")))]
        let unordered = 0;
        self.count.get().saturating_sub(unordered)
    }

    /// How many of them were acquired without a context.
    #[cfg(any(debug_assertions, feature = "lockdep"))]
    pub(crate) fn unordered(&self) -> usize {
        self.unordered.get()
    }

    /// Returns the listed guards, in the order of their acquisition.
    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = Entry> {
        let listed = self.entries[..self.listed.get()].iter().map(Cell::get);
        listed.flat_map(|entry| core::iter::repeat_n(entry, usize::from(entry.guards)))
    }
}
