//! Connections that know their four-tuple: a table that does not keep it a second time.
//!
//! A slot is a pointer and a tag of one byte, so an idle connection costs the table 10 to 21 bytes.

use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::flow::FlowKey;
use crate::ip::key::HashKey;

/// A value that knows its four-tuple.
pub trait HasFlow {
    /// Returns the four-tuple, which never changes.
    fn flow(&self) -> &FlowKey;
}

impl<T: HasFlow> HasFlow for Arc<T> {
    fn flow(&self) -> &FlowKey {
        (**self).flow()
    }
}

/// A four-tuple and its keyed hash, computed once for all tables that are asked.
#[derive(Clone, Copy, Debug)]
pub struct HashedFlow {
    flow: FlowKey,
    hash: u64,
}

impl HashedFlow {
    /// Computes the hash of `flow`.
    #[inline]
    pub fn new(flow: FlowKey, secret: &HashKey) -> Self {
        Self {
            flow,
            hash: secret.hash(&flow),
        }
    }

    /// Returns the four-tuple.
    #[inline]
    pub fn flow(&self) -> &FlowKey {
        &self.flow
    }

    /// Returns the hash.
    #[inline]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Returns the shard of the flow, in `0..shards` (0 if there is at most one).
    ///
    /// Uses the middle bits of the hash. The tables of the shards use the lowest ones for their buckets
    /// and the highest seven as tags, so both stay as different within a shard as in one table.
    #[inline]
    pub fn shard(&self, shards: usize) -> usize {
        let middle = u64::from((self.hash >> 24) as u32);
        // A 32-bit number times the shard count, divided by 2^32: uniform without a division.
        ((middle * shards as u64) >> 32) as usize
    }
}

/// Values by the four-tuple that they know. Its owner bounds it.
#[derive(Debug)]
pub struct FlowSet<T> {
    values: HashTable<T>,
    secret: HashKey,
}

impl<T: HasFlow> FlowSet<T> {
    /// Creates an empty set. Does not allocate before the first value. Four-tuples must be hashed with
    /// the same secret.
    pub fn new(secret: HashKey) -> Self {
        Self {
            values: HashTable::new(),
            secret,
        }
    }

    /// Returns the value of a four-tuple.
    #[inline]
    pub fn get(&self, flow: &HashedFlow) -> Option<&T> {
        self.values
            .find(flow.hash, |value| *value.flow() == flow.flow)
    }

    /// Adds a value.
    ///
    /// # Errors
    /// The value, if there is one with its four-tuple already.
    pub fn insert(&mut self, value: T) -> Result<(), T> {
        let secret = &self.secret;
        let hash_of = |value: &T| secret.hash(value.flow());
        let hash = hash_of(&value);
        let same = |other: &T| other.flow() == value.flow();
        match self.values.entry(hash, same, hash_of) {
            Entry::Occupied(_) => Err(value),
            Entry::Vacant(vacant) => {
                vacant.insert(value);
                Ok(())
            }
        }
    }

    /// Removes the value of a four-tuple. Frees memory once seven eighths of it are unused, so that a
    /// flood of connections leaves no memory allocated.
    pub fn remove(&mut self, flow: &HashedFlow) -> Option<T> {
        let same = |value: &T| *value.flow() == flow.flow;
        let (value, _) = self.values.find_entry(flow.hash, same).ok()?.remove();
        let capacity = self.values.capacity();
        if capacity > 64 && self.values.len() < capacity / 8 {
            let secret = &self.secret;
            self.values
                .shrink_to(capacity / 2, |value| secret.hash(value.flow()));
        }
        Some(value)
    }

    /// Returns a value near a random place; `None` if there is none near it.
    pub fn sample(&self, random: u64) -> Option<&T> {
        near(&self.values, random)
    }

    /// Returns the number of values.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Returns true if there are no values.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns all values, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.values.iter()
    }
}

/// Returns a value near a random place of a table; `None` if there is none near it.
pub(super) fn near<T>(values: &HashTable<T>, random: u64) -> Option<&T> {
    /// The tables are at least an eighth full, so a value is hardly ever farther away.
    const NEAR: usize = 64;
    let buckets = values.num_buckets();
    let first = ((u128::from(random) * buckets as u128) >> 64) as usize;
    (first..first + NEAR.min(buckets)).find_map(|at| values.get_bucket(at % buckets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    #[derive(Debug, PartialEq, Eq)]
    struct Value(FlowKey, u32);

    impl HasFlow for Value {
        fn flow(&self) -> &FlowKey {
            &self.0
        }
    }

    fn secret() -> HashKey {
        HashKey::random(&mut Rng::from_u64(9))
    }

    fn flow(n: u32) -> FlowKey {
        let local = "10.0.0.1:80".parse().expect("an address");
        FlowKey::new(local, ([10, 1, (n >> 8) as u8, n as u8], 9).into())
    }

    #[test]
    fn each_four_tuple_is_there_once_and_memory_is_given_back() {
        let secret = secret();
        let mut set = FlowSet::new(secret);
        let hashed = |n| HashedFlow::new(flow(n), &secret);
        for n in 0..10_000 {
            assert_eq!(set.insert(Value(flow(n), n)), Ok(()));
        }
        assert_eq!(set.insert(Value(flow(7), 1)), Err(Value(flow(7), 1)));
        assert_eq!(set.get(&hashed(7)), Some(&Value(flow(7), 7)));
        assert_eq!(set.get(&hashed(10_000)), None);
        let grown = set.values.capacity();
        for n in 0..10_000 {
            assert_eq!(set.remove(&hashed(n)), Some(Value(flow(n), n)));
        }
        assert_eq!(set.remove(&hashed(1)), None);
        assert!(set.is_empty() && set.values.capacity() * 64 < grown);
    }

    #[test]
    fn a_sample_is_of_everything() {
        let mut set = FlowSet::new(secret());
        let mut rng = Rng::from_u64(4);
        assert_eq!(set.sample(rng.u64()), None);
        for n in 0..100 {
            assert_eq!(set.insert(Value(flow(n), n)), Ok(()));
        }
        let mut seen = [0; 100];
        for _ in 0..10_000 {
            let Value(_, n) = set.sample(rng.u64()).expect("a value");
            seen[*n as usize] += 1;
        }
        assert!(seen.iter().all(|count| *count > 10), "{seen:?}");
    }

    #[test]
    fn shards_are_even() {
        let secret = secret();
        let mut counts = [0u32; 7];
        for n in 0..70_000 {
            counts[HashedFlow::new(flow(n % 65_536), &secret).shard(7)] += 1;
        }
        assert!(
            counts.iter().all(|c| (9_300..=10_700).contains(c)),
            "{counts:?}"
        );
        let any = HashedFlow::new(flow(1), &secret);
        assert_eq!((any.shard(1), any.shard(0)), (0, 0));
    }

    #[test]
    fn within_a_shard_the_tags_of_the_table_differ() {
        let secret = secret();
        let tags: std::collections::BTreeSet<u64> = (0..65_536)
            .map(|n| HashedFlow::new(flow(n), &secret))
            .filter(|hashed| hashed.shard(64) == 3)
            .map(|hashed| hashed.hash() >> 57)
            .collect();
        assert_eq!(tags.len(), 128);
    }
}
