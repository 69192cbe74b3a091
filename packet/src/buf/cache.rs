//! A worker's own stock of slabs in front of a shared pool.

use super::payload::Payload;
use super::pool::{Pool, SlabMut};

/// Slabs that one worker keeps for itself, so that taking and giving back does not touch memory that
/// other workers touch. What is in stock counts as in use by the pool, so the cap holds over all.
///
/// ```
/// use packet::buf::{Pool, PoolCache};
///
/// let mut cache = PoolCache::new(Pool::new(2048, 8), 2);
/// let packet = cache.take().unwrap().freeze(0..60);
/// let kept = packet.slice(20..60);
/// cache.give_payload(packet); // Still shared: it goes back when `kept` does.
/// assert_eq!(cache.stocked(), 0);
/// cache.give_payload(kept);
/// assert_eq!(cache.stocked(), 1);
/// ```
#[derive(Debug)]
pub struct PoolCache {
    pool: Pool,
    stock: Vec<SlabMut>,
    max_stock: usize,
}

impl PoolCache {
    /// An empty stock of at most `max_stock` slabs of `pool`.
    pub fn new(pool: Pool, max_stock: usize) -> Self {
        Self {
            stock: Vec::new(),
            pool,
            max_stock,
        }
    }

    /// The pool behind it.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// How many slabs are in stock.
    pub fn stocked(&self) -> usize {
        self.stock.len()
    }

    /// A writable slab: from stock, or else from the pool; `None` when that is exhausted.
    pub fn take(&mut self) -> Option<SlabMut> {
        self.stock.pop().or_else(|| self.pool.take())
    }

    /// Puts a slab in stock, or gives it back to its pool if the stock is full or it is another's.
    pub fn give(&mut self, slab: SlabMut) {
        if self.stock.len() < self.max_stock && self.pool.is_home_of(&slab) {
            self.stock.push(slab);
        }
    }

    /// Puts the payload's slab in stock if nobody else holds it; otherwise just lets go of it.
    pub fn give_payload(&mut self, payload: Payload) {
        if let Ok(slab) = payload.into_mut() {
            self.give(slab);
        }
    }

    /// Gives the whole stock back to the pool: for a worker that goes idle.
    pub fn flush(&mut self) {
        self.stock.clear();
    }
}
