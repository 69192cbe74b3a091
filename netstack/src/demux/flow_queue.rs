//! Small values by four-tuple that wait for a deadline: handshakes that are half open, connections in
//! TIME-WAIT.
//!
//! * **Define.** A [`FlowQueue`] is a slab of entries, an index by four-tuple, and lists of entries, each
//!   in the order of deadlines.
//! * **Enforce.** An entry is put at the end of a list. If each list has one waiting time of its own, the
//!   entry that waits least is always at a list's head.
//! * **Consume.** A timer costs two links and no cell of a timer wheel. The entry to be given up first is
//!   found without a search.

use std::ops::Range;

use hashbrown::HashTable;

use super::flow::FlowKey;
use super::flow_set::HashedFlow;
use crate::base::Instant;
use crate::ip::key::HashKey;

const NONE: u32 = u32::MAX;

/// Most slots of an empty queue: connections that come one after the other need no new memory each.
const KEPT_SLOTS: usize = 4;

/// Names an entry until it is removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryId(u32);

/// An entry and its place in a list.
#[derive(Debug)]
struct Slot<T> {
    deadline: Instant,
    next: u32,
    prev: u32,
    flow: FlowKey,
    list: u8,
    /// `None` in a free slot.
    value: Option<T>,
}

#[derive(Clone, Copy, Debug)]
struct List {
    head: u32,
    tail: u32,
}

/// Values by four-tuple in `LISTS` lists by deadline. Its owner bounds it: it grows without a limit of
/// its own, and frees its memory, but for a few entries, when it is empty.
#[derive(Debug)]
pub struct FlowQueue<T, const LISTS: usize> {
    slots: Vec<Slot<T>>,
    free: u32,
    index: HashTable<u32>,
    lists: [List; LISTS],
    secret: HashKey,
}

impl<T, const LISTS: usize> FlowQueue<T, LISTS> {
    /// Memory of one entry in the slab, in bytes.
    pub const ENTRY_BYTES: usize = size_of::<Slot<T>>();

    /// Creates an empty queue. Does not allocate before the first entry. Four-tuples must be hashed with
    /// the same secret.
    pub fn new(secret: HashKey) -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
            index: HashTable::new(),
            lists: [List {
                head: NONE,
                tail: NONE,
            }; LISTS],
            secret,
        }
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Returns true if there are no entries.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Returns the entry of a four-tuple.
    #[inline]
    pub fn find(&self, flow: &HashedFlow) -> Option<EntryId> {
        let slots = &self.slots;
        self.index
            .find(flow.hash(), |id| slots[*id as usize].flow == *flow.flow())
            .map(|id| EntryId(*id))
    }

    /// Returns an entry's four-tuple and value.
    pub fn get_mut(&mut self, id: EntryId) -> Option<(&FlowKey, &mut T)> {
        let slot = self.slots.get_mut(id.0 as usize)?;
        Some((&slot.flow, slot.value.as_mut()?))
    }

    /// Adds an entry at the end of a list, to wait until `deadline`.
    ///
    /// # Errors
    /// The value, if the four-tuple has an entry already.
    pub fn insert(
        &mut self,
        flow: &HashedFlow,
        list: usize,
        deadline: Instant,
        value: T,
    ) -> Result<EntryId, T> {
        if self.find(flow).is_some() {
            return Err(value);
        }
        let slot = Slot {
            deadline,
            next: NONE,
            prev: NONE,
            flow: *flow.flow(),
            list: 0,
            value: Some(value),
        };
        let id = self.free;
        let id = match self.slots.get_mut(id as usize) {
            Some(free) => {
                self.free = free.next;
                *free = slot;
                id
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        let (slots, secret) = (&self.slots, &self.secret);
        self.index
            .insert_unique(flow.hash(), id, |id| secret.hash(&slots[*id as usize].flow));
        self.link(id, list);
        Ok(EntryId(id))
    }

    /// Calls `visit` with each entry, its four-tuple and its deadline, in no order.
    pub fn for_each(&self, mut visit: impl FnMut(&FlowKey, &T, Instant)) {
        for slot in &self.slots {
            if let Some(value) = &slot.value {
                visit(&slot.flow, value, slot.deadline);
            }
        }
    }

    /// Returns the list that an entry is in.
    pub fn list_of(&self, id: EntryId) -> Option<usize> {
        let slot = self.slots.get(id.0 as usize)?;
        slot.value.as_ref().map(|_| slot.list.into())
    }

    /// Moves an entry to the end of a list, to wait until `deadline`.
    pub fn relist(&mut self, id: EntryId, list: usize, deadline: Instant) {
        if self.get_mut(id).is_some() {
            self.unlink(id.0);
            self.slots[id.0 as usize].deadline = deadline;
            self.link(id.0, list);
        }
    }

    /// Removes an entry.
    pub fn remove(&mut self, id: EntryId) -> Option<(FlowKey, T)> {
        let slot = self.slots.get_mut(id.0 as usize)?;
        let value = slot.value.take()?;
        let flow = slot.flow;
        self.unlink(id.0);
        self.slots[id.0 as usize].next = self.free;
        self.free = id.0;
        if let Ok(entry) = self
            .index
            .find_entry(self.secret.hash(&flow), |other| *other == id.0)
        {
            entry.remove();
        }
        if self.index.is_empty() && self.slots.capacity() > KEPT_SLOTS {
            self.slots = Vec::new();
            self.free = NONE;
            self.index = HashTable::new();
        }
        Some((flow, value))
    }

    /// Returns an entry in a random slot, with its four-tuple; `None` if the slot is free.
    pub fn sample(&self, random: u64) -> Option<(EntryId, &FlowKey)> {
        let at = (u128::from(random) * self.slots.len() as u128) >> 64;
        let slot = self.slots.get(at as usize)?;
        slot.value.as_ref()?;
        Some((EntryId(at as u32), &slot.flow))
    }

    /// Returns when the entry that waits least is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.heads().map(|(deadline, _)| deadline).min()
    }

    /// Returns the entry that waits least, if it is due.
    pub fn due(&self, now: Instant) -> Option<EntryId> {
        let (_, id) = self.heads().find(|(deadline, _)| *deadline <= now)?;
        Some(id)
    }

    /// Returns the entry that waits least.
    pub fn first(&self) -> Option<EntryId> {
        self.heads()
            .min_by_key(|(deadline, _)| *deadline)
            .map(|(_, id)| id)
    }

    /// Returns the entries whose values fulfil `predicate`.
    pub fn matching(&self, predicate: impl Fn(&T) -> bool) -> Vec<EntryId> {
        let fits = |slot: &Slot<T>| slot.value.as_ref().is_some_and(&predicate);
        (0u32..)
            .zip(&self.slots)
            .filter(|(_, slot)| fits(slot))
            .map(|(id, _)| EntryId(id))
            .collect()
    }

    /// Returns the number of slots, free ones included.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Returns the entries in a range of slots: four-tuple, list, deadline, value. A walk over all slots, part by part,
    /// comes to each entry that is there all the time.
    pub fn entries_in(
        &self,
        slots: Range<usize>,
    ) -> impl Iterator<Item = (&FlowKey, usize, Instant, &T)> {
        let end = slots.end.min(self.slots.len());
        let part = self.slots.get(slots.start..end).unwrap_or_default();
        part.iter().filter_map(|slot| {
            let value = slot.value.as_ref()?;
            Some((&slot.flow, slot.list.into(), slot.deadline, value))
        })
    }

    /// Returns the head of each list that is not empty.
    fn heads(&self) -> impl Iterator<Item = (Instant, EntryId)> {
        self.lists
            .iter()
            .filter_map(|list| Some((self.slots.get(list.head as usize)?.deadline, list.head)))
            .map(|(deadline, id)| (deadline, EntryId(id)))
    }

    fn link(&mut self, id: u32, list: usize) {
        // A caller that has more waiting times than lists shares the last one.
        let list = list.min(LISTS - 1);
        let tail = self.lists[list].tail;
        let slot = &mut self.slots[id as usize];
        (slot.list, slot.prev, slot.next) = (list as u8, tail, NONE);
        match self.slots.get_mut(tail as usize) {
            Some(last) => last.next = id,
            None => self.lists[list].head = id,
        }
        self.lists[list].tail = id;
    }

    fn unlink(&mut self, id: u32) {
        let slot = &self.slots[id as usize];
        let (list, prev, next) = (usize::from(slot.list), slot.prev, slot.next);
        match self.slots.get_mut(prev as usize) {
            Some(before) => before.next = next,
            None => self.lists[list].head = next,
        }
        match self.slots.get_mut(next as usize) {
            Some(after) => after.prev = prev,
            None => self.lists[list].tail = prev,
        }
    }

    /// Checks that lists, index and slab agree.
    ///
    /// # Panics
    /// They do not.
    #[cfg(any(test, feature = "invariants"))]
    pub fn check(&self) {
        let mut listed = 0;
        for (number, list) in self.lists.iter().enumerate() {
            let (mut prev, mut at) = (NONE, list.head);
            while at != NONE {
                let slot = &self.slots[at as usize];
                assert_eq!((usize::from(slot.list), slot.prev), (number, prev), "links");
                assert!(slot.value.is_some(), "a free slot in a list");
                let flow = HashedFlow::new(slot.flow, &self.secret);
                assert_eq!(self.find(&flow), Some(EntryId(at)), "the index");
                (prev, at) = (at, slot.next);
                listed += 1;
            }
            assert_eq!(list.tail, prev, "the tail");
        }
        assert_eq!(listed, self.len(), "an entry in no list");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    fn flow(n: u16) -> FlowKey {
        let local = "10.0.0.1:80".parse().expect("an address");
        FlowKey::new(local, ([10, 0, 0, 2], n).into())
    }

    fn hashed(n: u16) -> HashedFlow {
        HashedFlow::new(flow(n), &HashKey::random(&mut Rng::from_u64(3)))
    }

    fn queue() -> FlowQueue<u32, 3> {
        FlowQueue::new(HashKey::random(&mut Rng::from_u64(3)))
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn entries_are_found_by_flow_and_due_by_deadline() {
        let mut queue = queue();
        assert_eq!((queue.first(), queue.next_deadline()), (None, None));
        let a = queue.insert(&hashed(1), 0, at(10), 1).expect("new");
        let b = queue.insert(&hashed(2), 1, at(5), 2).expect("new");
        assert_eq!(queue.insert(&hashed(1), 0, at(11), 3), Err(3));
        assert_eq!(queue.find(&hashed(1)), Some(a));
        assert_eq!(queue.find(&hashed(9)), None);
        assert_eq!(
            (queue.next_deadline(), queue.first()),
            (Some(at(5)), Some(b))
        );
        assert_eq!(queue.due(at(4)), None);
        assert_eq!(queue.due(at(5)), Some(b));
        queue.relist(b, 2, at(50));
        assert_eq!(queue.due(at(49)), Some(a));
        assert_eq!(queue.remove(a), Some((flow(1), 1)));
        assert_eq!(queue.remove(a), None);
        assert_eq!(queue.due(at(50)), Some(b));
        queue.check();
    }

    #[test]
    fn a_walk_in_parts_comes_to_each_entry_once() {
        let mut queue = queue();
        for n in 0..10 {
            let list = usize::from(n % 3);
            assert!(
                queue
                    .insert(&hashed(n), list, at(n.into()), n.into())
                    .is_ok()
            );
        }
        let freed = queue.find(&hashed(4)).expect("an entry");
        queue.remove(freed);
        assert_eq!(queue.slots(), 10);
        let parts = [0..4, 4..8, 8..12, 12..16];
        let seen: Vec<_> = parts
            .into_iter()
            .flat_map(|part| queue.entries_in(part))
            .map(|(key, list, deadline, value)| (*key, list, deadline, *value))
            .collect();
        let all = (0..10).filter(|n| *n != 4);
        let all: Vec<_> = all
            .map(|n| (flow(n), usize::from(n % 3), at(n.into()), u32::from(n)))
            .collect();
        assert_eq!(seen, all);
    }

    #[test]
    fn random_work_keeps_it_consistent() {
        for seed in 0..50 {
            let mut rng = Rng::from_u64(seed);
            let mut queue = queue();
            let mut model = std::collections::BTreeMap::new();
            for step in 0..400u64 {
                let n = rng.below(40) as u16;
                match (rng.below(3), queue.find(&hashed(n))) {
                    (0, Some(id)) => {
                        assert_eq!(queue.remove(id).map(|(_, v)| v), model.remove(&n));
                    }
                    (1, Some(id)) => queue.relist(id, rng.below(4) as usize, at(step)),
                    (_, None) => {
                        let list = rng.below(3) as usize;
                        assert!(
                            queue
                                .insert(&hashed(n), list, at(step), step as u32)
                                .is_ok()
                        );
                        model.insert(n, step as u32);
                    }
                    _ => {}
                }
                queue.check();
                assert_eq!(queue.len(), model.len(), "seed {seed}");
            }
            for (n, value) in model {
                let id = queue.find(&hashed(n)).expect("an entry");
                assert_eq!(queue.get_mut(id), Some((&flow(n), &mut { value })));
            }
        }
    }

    #[test]
    fn an_empty_queue_holds_no_memory() {
        let mut queue = queue();
        for n in 0..1_000 {
            assert!(queue.insert(&hashed(n), 0, at(1), 0).is_ok());
        }
        let all = queue.matching(|_| true);
        assert_eq!(all.len(), 1_000);
        for id in all {
            assert!(queue.remove(id).is_some());
        }
        assert_eq!((queue.slots.capacity(), queue.index.capacity()), (0, 0));
        assert!(queue.is_empty());
        queue.check();
    }

    #[test]
    fn connections_one_after_the_other_share_the_memory_of_a_few_entries() {
        let mut queue = queue();
        for round in 0..3 {
            for n in 0..2_u16 {
                assert!(queue.insert(&hashed(n), 0, at(round), n.into()).is_ok());
            }
            assert!(queue.slots.capacity() <= KEPT_SLOTS);
            for n in 0..2_u16 {
                let id = queue.find(&hashed(n)).expect("an entry");
                assert_eq!(queue.remove(id), Some((flow(n), n.into())));
            }
            assert!(queue.is_empty() && queue.first().is_none());
            assert!(
                queue.slots.capacity() > 0,
                "the memory stays for the next ones"
            );
            queue.check();
        }
    }
}
