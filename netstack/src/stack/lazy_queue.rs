//! A bounded queue that takes its memory with the first entry: a stack that never uses it does not pay for it.

use std::sync::OnceLock;

use crossbeam_queue::ArrayQueue;

/// A queue for any number of producers and consumers, with room for a fixed number of entries.
pub(super) struct LazyQueue<T> {
    entries: OnceLock<ArrayQueue<T>>,
    capacity: usize,
}

impl<T> LazyQueue<T> {
    /// Creates a queue for at most `capacity` entries, at least one.
    pub(super) const fn new(capacity: usize) -> Self {
        Self {
            entries: OnceLock::new(),
            capacity,
        }
    }

    /// Appends an entry.
    ///
    /// # Errors
    /// The entry, if there is no room.
    pub(super) fn push(&self, entry: T) -> Result<(), T> {
        self.entries
            .get_or_init(|| ArrayQueue::new(self.capacity.max(1)))
            .push(entry)
    }

    /// Takes the oldest entry.
    pub(super) fn pop(&self) -> Option<T> {
        self.entries.get()?.pop()
    }

    /// Returns the number of entries.
    pub(super) fn len(&self) -> usize {
        self.entries.get().map_or(0, ArrayQueue::len)
    }

    /// Returns true if there is no entry.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.get().is_none_or(ArrayQueue::is_empty)
    }

    /// Returns true if there is no room for an entry.
    pub(super) fn is_full(&self) -> bool {
        self.entries.get().is_some_and(ArrayQueue::is_full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_out_in_order_and_no_more_than_the_capacity_go_in() {
        let queue = LazyQueue::new(2);
        assert!(queue.is_empty() && !queue.is_full());
        assert_eq!((queue.pop(), queue.len()), (None, 0));
        assert_eq!(
            (queue.push(1), queue.push(2), queue.push(3)),
            (Ok(()), Ok(()), Err(3))
        );
        assert!(queue.is_full());
        assert_eq!(queue.len(), 2);
        assert_eq!(
            (queue.pop(), queue.pop(), queue.pop()),
            (Some(1), Some(2), None)
        );
        assert!(queue.is_empty());
    }
}
