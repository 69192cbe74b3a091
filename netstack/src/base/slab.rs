//! Values by small numbers, in one allocation that becomes smaller, too, when most of the values are gone.
//!
//! The numbers are stable and reused. Insertion, access and removal take bounded time. The memory behind the last value is given
//! back, a part with each removal.

use core::ops::{Index, IndexMut};

/// The end of the list of free slots.
const NONE: u32 = u32::MAX;
/// Slots that one removal gives back at most.
const STEP: usize = 1_024;
/// Slots whose memory is kept whatever the number of values.
const KEPT: usize = 1_024;

#[derive(Debug)]
enum Slot<T> {
    /// Free, with its neighbours in the list of free slots.
    Free {
        next: u32,
        prev: u32,
    },
    Used(T),
}

/// Values by the numbers that [`Slab::insert`] gives them.
///
/// ```
/// use netstack::base::Slab;
///
/// let mut slab = Slab::new();
/// let (a, b) = (slab.insert("a"), slab.insert("b"));
/// assert_eq!(slab[b], "b");
/// assert_eq!(slab.remove(a), Some("a"));
/// assert_eq!(slab.remove(a), None);
/// assert_eq!(slab.len(), 1);
/// ```
#[derive(Debug)]
pub struct Slab<T> {
    slots: Vec<Slot<T>>,
    /// The first free slot.
    free: u32,
    len: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Slab<T> {
    /// Creates an empty slab. Does not allocate before the first value.
    pub const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
            len: 0,
        }
    }

    /// Returns the number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if there are no values.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the number of values that fit into the memory that is allocated.
    pub fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    /// Returns the number that the next value will have.
    pub fn next_id(&self) -> u32 {
        if self.free == NONE {
            self.slots.len() as u32
        } else {
            self.free
        }
    }

    /// Adds a value and returns its number, below 2^32 - 1.
    ///
    /// # Panics
    ///
    /// Panics if there are 2^32 - 1 values.
    pub fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        let id = self.free;
        if id != NONE {
            self.unlink(id);
            self.slots[id as usize] = Slot::Used(value);
            return id;
        }
        let id = self.slots.len() as u32;
        assert_ne!(id, NONE, "a slab is full");
        self.slots.push(Slot::Used(value));
        id
    }

    /// Returns a value.
    pub fn get(&self, id: u32) -> Option<&T> {
        match self.slots.get(id as usize)? {
            Slot::Used(value) => Some(value),
            Slot::Free { .. } => None,
        }
    }

    /// Returns a value.
    pub fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        match self.slots.get_mut(id as usize)? {
            Slot::Used(value) => Some(value),
            Slot::Free { .. } => None,
        }
    }

    /// Returns all values, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Used(value) => Some(value),
            Slot::Free { .. } => None,
        })
    }

    /// Removes all values, in the order of their numbers.
    pub fn drain(&mut self) -> impl Iterator<Item = T> {
        let slots = core::mem::take(self).slots;
        slots.into_iter().filter_map(|slot| match slot {
            Slot::Used(value) => Some(value),
            Slot::Free { .. } => None,
        })
    }

    /// Removes a value.
    pub fn remove(&mut self, id: u32) -> Option<T> {
        let free = Slot::Free {
            next: self.free,
            prev: NONE,
        };
        let slot = self.slots.get_mut(id as usize)?;
        if matches!(slot, Slot::Free { .. }) {
            return None;
        }
        let Slot::Used(value) = core::mem::replace(slot, free) else {
            return None;
        };
        self.set_prev(self.free, id);
        self.free = id;
        self.len -= 1;
        self.truncate();
        Some(value)
    }

    /// Gives up to [`STEP`] slots behind the last value back, and all of them when there is no value.
    fn truncate(&mut self) {
        if self.len == 0 {
            self.slots.clear();
            self.free = NONE;
        }
        for _ in 0..STEP {
            let Some(Slot::Free { .. }) = self.slots.last() else {
                break;
            };
            self.unlink(self.slots.len() as u32 - 1);
            self.slots.pop();
        }
        let (len, capacity) = (self.slots.len(), self.slots.capacity());
        if capacity > KEPT && len < capacity / 4 {
            self.slots.shrink_to((2 * len).max(KEPT));
        }
    }

    /// Takes a slot out of the list of free ones.
    fn unlink(&mut self, id: u32) {
        let Some(&Slot::Free { next, prev }) = self.slots.get(id as usize) else {
            return;
        };
        self.set_prev(next, prev);
        match self.slots.get_mut(prev as usize) {
            Some(Slot::Free { next: of_prev, .. }) => *of_prev = next,
            _ => self.free = next,
        }
    }

    /// Notes which free slot comes before slot `id` in the list.
    fn set_prev(&mut self, id: u32, before: u32) {
        if let Some(Slot::Free { prev, .. }) = self.slots.get_mut(id as usize) {
            *prev = before;
        }
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    /// # Panics
    ///
    /// Panics if there is no such value.
    fn index(&self, id: u32) -> &T {
        self.get(id).expect("a value with this number")
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, id: u32) -> &mut T {
        self.get_mut(id).expect("a value with this number")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::base::Rng;

    /// Whatever is inserted and removed, a slab has the values that a map has.
    #[test]
    fn a_slab_is_a_map() {
        for seed in 0..20 {
            let mut rng = Rng::from_u64(seed);
            let (mut slab, mut map) = (Slab::new(), BTreeMap::new());
            for number in 0..40_000_u32 {
                // Peaks of thousands of values, and hardly any between them.
                let grows = number / 5_000 % 2 == 0;
                if rng.below(10) < if grows { 8 } else { 1 } {
                    let id = slab.insert(number);
                    assert_eq!(map.insert(id, number), None, "seed {seed}");
                } else if let Some((&id, _)) = map.range(rng.below(5_000)..).next() {
                    assert_eq!(slab.remove(id), map.remove(&id), "seed {seed}");
                    assert_eq!(slab.remove(id), None);
                }
                assert_eq!(slab.len(), map.len());
            }
            assert!(map.iter().all(|(id, value)| slab[*id] == *value));
            assert!(slab.drain().eq(map.into_values()));
        }
    }

    #[test]
    fn memory_follows_the_number_of_values_down() {
        let mut slab = Slab::new();
        let peak: Vec<u32> = (0..100_000).map(|n| slab.insert(n)).collect();
        for id in &peak[10..] {
            slab.remove(*id);
        }
        // Each removal gives a part back.
        for _ in 0..100 {
            let id = slab.insert(0);
            slab.remove(id);
        }
        assert!(slab.capacity() <= 2 * KEPT, "{}", slab.capacity());
        assert!((0..10).all(|id| slab[id] == id));
        // A value at the end keeps the memory before it, until it goes.
        for n in 0..50_000 {
            slab.insert(n);
        }
        let last = slab.len() as u32 - 1;
        let others: Vec<u32> = (0..last).filter_map(|id| slab.remove(id)).collect();
        assert_eq!(others.len(), last as usize);
        assert!(slab.capacity() > 50_000);
        slab.remove(last);
        assert!(
            slab.is_empty() && slab.capacity() <= KEPT,
            "{}",
            slab.capacity()
        );
    }
}
