//! Pooled packet buffers: who may write a slab, who may read it, and when it comes back.
//!
//! * **Define.** A slab of bytes is either held by exactly one [`SlabMut`] (writable) or shared
//!   by any number of [`Payload`]s (read-only slices). A [`Pool`] never has more than its cap of
//!   slabs alive.
//! * **Enforce.** Fields are private; the only way from writable to shared is [`SlabMut::freeze`],
//!   which consumes; the last holder's drop hands the slab back; the cap is one atomic counter.
//! * **Consume.** The stack queues `Payload`s for reassembly and retransmission without a copy, and
//!   treats `None` from [`Pool::take`] as a counted drop: memory does not grow with traffic.
//!
//! Owns buffers only: it never looks into a packet and never blocks. What each operation takes and
//! gives back is checked by a ghost ledger while tests run: see [`Audit`].
//!
//! ```
//! use packet::Buffers;
//!
//! let buffers = Buffers::new(65_600, 16, 64);
//! let payload = buffers.copy(b"hello").unwrap();
//! let part = payload.slice(1..3);
//! drop(payload);
//! assert_eq!(&part[..], b"el");
//! assert_eq!(buffers.small().in_use(), 1);
//! ```

mod cache;
mod ledger;
mod payload;
mod pool;

pub use cache::PoolCache;
pub use ledger::{Audit, Violation};
pub use payload::Payload;
pub use pool::{Pool, SlabMut};

/// The two sizes of slab that a stack uses: one that holds the largest packet of its device, and a
/// small one into which short payloads are copied so that they do not pin a large one.
#[derive(Clone, Debug)]
pub struct Buffers {
    large: Pool,
    small: Pool,
}

/// Length of a small slab, in bytes: an Ethernet-sized packet with headers fits.
pub const SMALL_SLAB_BYTES: usize = 2048;

impl Buffers {
    /// Pools of `large_bytes` slabs and of [`SMALL_SLAB_BYTES`] slabs, each with its own cap.
    pub fn new(large_bytes: usize, max_large: usize, max_small: usize) -> Self {
        Self {
            large: Pool::new(large_bytes, max_large),
            small: Pool::new(SMALL_SLAB_BYTES, max_small),
        }
    }

    /// The pool of large slabs.
    pub fn large(&self) -> &Pool {
        &self.large
    }

    /// The pool of small slabs.
    pub fn small(&self) -> &Pool {
        &self.small
    }

    /// Copies `data` into the smallest slab that holds it; `None` when it fits no slab or the pool
    /// is exhausted.
    pub fn copy(&self, data: &[u8]) -> Option<Payload> {
        let pool = if data.len() <= self.small.slab_bytes() {
            &self.small
        } else if data.len() <= self.large.slab_bytes() {
            &self.large
        } else {
            return None;
        };
        let mut slab = pool.take()?;
        slab.as_mut_slice()
            .get_mut(..data.len())?
            .copy_from_slice(data);
        Some(slab.freeze(0..data.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_holder_gives_the_slab_back() {
        let pool = Pool::new(64, 1);
        let slab = pool.take().expect("first");
        assert!(pool.take().is_none(), "the cap holds");
        let one = slab.freeze(0..10);
        let two = one.slice(2..4);
        drop(one);
        assert_eq!(pool.in_use(), 1);
        drop(two);
        assert_eq!(pool.in_use(), 0);
        assert!(pool.take().is_some());
    }

    #[test]
    fn a_pool_is_freed_although_slabs_rest_in_it() {
        let pool = Pool::new(64, 4);
        let (a, b) = (pool.take().expect("a"), pool.take().expect("b"));
        drop(a);
        let held = b.freeze(0..8);
        let weak = pool.downgrade();
        drop(pool);
        assert!(weak.upgrade().is_none(), "slabs do not keep their pool");
        assert_eq!(held.len(), 8);
        drop(held);
    }

    #[test]
    fn a_slab_of_another_pool_goes_home() {
        let (ours, theirs) = (Pool::new(64, 1), Pool::new(64, 1));
        let mut cache = PoolCache::new(ours, 4);
        cache.give(theirs.take().expect("first"));
        assert_eq!((cache.stocked(), theirs.in_use()), (0, 0));
        let slab = cache.take().expect("first");
        assert!(cache.take().is_none());
        cache.give_payload(slab.freeze(0..3));
        assert_eq!((cache.stocked(), cache.pool().in_use()), (1, 1));
        cache.flush();
        assert_eq!(cache.pool().in_use(), 0);
    }

    /// Threads take, share, append, thaw and drop at random; the books balance at the end.
    #[test]
    fn contracts_hold_under_threads() {
        const THREADS: u64 = 4;
        const STEPS: usize = 4000;
        let pool = Pool::new(64, 24);
        let (sender, receiver) = std::sync::mpsc::channel::<Payload>();
        std::thread::scope(|scope| {
            for seed in 1..=THREADS {
                let (pool, sender) = (pool.clone(), sender.clone());
                scope.spawn(move || {
                    let mut cache = PoolCache::new(pool, 2);
                    let mut held: Vec<Payload> = Vec::new();
                    let mut state = seed * 0x9e37_79b9;
                    for _ in 0..STEPS {
                        state ^= state << 13;
                        state ^= state >> 7;
                        state ^= state << 17;
                        let at = state as usize % held.len().max(1);
                        match state >> 32 & 7 {
                            0 | 1 => {
                                if let Some(mut slab) = cache.take() {
                                    slab.as_mut_slice().fill(seed as u8);
                                    held.push(slab.freeze(0..32));
                                }
                            }
                            2 if !held.is_empty() => {
                                let part = held[at].slice(8..16);
                                assert!(part.windows(2).all(|pair| pair[0] == pair[1]));
                                // The other side may drop it at any moment.
                                sender.send(part).expect("receiver lives");
                            }
                            3 if !held.is_empty() => {
                                let byte = held[at][0];
                                held[at].try_append(&[byte; 4]);
                            }
                            4 if !held.is_empty() => cache.give_payload(held.swap_remove(at)),
                            5 if !held.is_empty() => held.truncate(at),
                            6 => cache.flush(),
                            _ => {}
                        }
                    }
                });
            }
            drop(sender);
            scope.spawn(move || receiver.into_iter().for_each(drop));
        });
        assert_eq!(pool.in_use(), 0);
        assert!(pool.audit().is_clean(), "{:?}", pool.audit());
        assert_ne!(pool.audit(), Audit::Unsupported);
    }

    #[test]
    fn exhaustion_allocates_nothing() {
        let buffers = Buffers::new(65_600, 2, 3);
        let held: Vec<_> = (0..3).map_while(|_| buffers.copy(&[1; 100])).collect();
        assert_eq!(held.len(), 3);
        assert!(buffers.copy(&[1; 100]).is_none());
        let large: Vec<_> = (0..2).map_while(|_| buffers.copy(&[1; 3000])).collect();
        assert_eq!(large.len(), 2);
        assert!(buffers.copy(&[1; 3000]).is_none());
        assert!(buffers.copy(&vec![0; 65_601]).is_none());
        drop((held, large));
        assert!(buffers.copy(&[1; 3000]).is_some());
        assert_eq!(buffers.large().in_use() + buffers.small().in_use(), 0);
    }

    #[test]
    fn append_needs_sole_ownership() {
        let pool = Pool::new(8, 1);
        let mut slab = pool.take().expect("slab");
        slab.as_mut_slice()[..2].copy_from_slice(b"ab");
        let mut payload = slab.freeze(0..2);
        assert_eq!(payload.try_append(b"cd"), 2);
        let shared = payload.clone();
        assert_eq!(payload.try_append(b"ef"), 0);
        drop(shared);
        assert_eq!(payload.try_append(b"efghij"), 4);
        assert_eq!(&payload[..], b"abcdefgh");
    }
}
