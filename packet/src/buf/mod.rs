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
//! Owns buffers only: it never looks into a packet, and waits for nothing but another thread's push
//! or pop of one slab. Each thread has its own stock of slabs at rest, the one used last on top. What
//! each operation takes and gives back is checked by a ghost ledger while tests run: see [`Audit`].
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

mod ledger;
mod payload;
mod pool;
mod shelf;
mod slab;

pub use ledger::{Audit, Violation};
pub use payload::Payload;
pub use pool::Pool;
pub use slab::SlabMut;

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
    /// What the ghost ledgers of both pools say: large, small. See [`Pool::audit`].
    pub fn audit(&self) -> [Audit; 2] {
        [self.large.audit(), self.small.audit()]
    }

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

    fn address(slab: &mut SlabMut) -> usize {
        slab.as_mut_slice().as_ptr().addr()
    }

    #[test]
    fn the_slab_used_last_is_taken_first() {
        let pool = Pool::new(64, 8);
        let mut slabs: Vec<_> = (0..4).map_while(|_| pool.take()).collect();
        let addresses: Vec<_> = slabs.iter_mut().map(address).collect();
        assert_eq!((pool.in_use(), slabs.len()), (4, 4));
        slabs.into_iter().for_each(drop);
        assert_eq!(pool.in_use(), 0);
        // Nothing new is made while slabs rest.
        let mut again: Vec<_> = (0..4).map_while(|_| pool.take()).collect();
        let found: Vec<_> = again.iter_mut().map(address).collect();
        assert!(found.iter().eq(addresses.iter().rev()));
    }

    #[test]
    fn a_slab_goes_home_whoever_drops_it() {
        let pool = Pool::new(64, 1);
        let mut slab = pool.take().expect("first");
        let first = address(&mut slab);
        let payload = slab.freeze(0..8);
        std::thread::scope(|scope| {
            scope.spawn(move || drop(payload));
        });
        // Another thread finds it too, although it is at home here: the cap counts slabs, not shelves.
        for _ in 0..2 {
            let pool = pool.clone();
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    let mut slab = pool.take().expect("the only one");
                    assert_eq!(address(&mut slab), first);
                    assert!(pool.take().is_none());
                });
            });
        }
        assert_eq!(address(&mut pool.take().expect("back")), first);
        assert_eq!(pool.in_use(), 0);
    }

    /// Two threads let go of the same slab in the same moment: whether it is kept or freed, none is lost.
    #[test]
    fn no_slab_is_lost_between_two_last_holders() {
        const ROUNDS: usize = 20_000;
        const SLABS: usize = 3;
        let pool = Pool::new(64, SLABS);
        let turn = std::sync::atomic::AtomicUsize::new(0);
        let (sender, receiver) = std::sync::mpsc::sync_channel::<Payload>(1);
        let mut made = std::collections::HashSet::new();
        std::thread::scope(|scope| {
            let turn = &turn;
            scope.spawn(move || {
                for (round, payload) in receiver.into_iter().enumerate() {
                    turn.store(2 * round + 1, std::sync::atomic::Ordering::Release);
                    while turn.load(std::sync::atomic::Ordering::Acquire) < 2 * round + 2 {
                        std::hint::spin_loop();
                    }
                    drop(payload);
                }
            });
            for round in 0..ROUNDS {
                let mut slab = loop {
                    match pool.take() {
                        Some(slab) => break slab,
                        // The other side has not let go yet.
                        None => std::thread::yield_now(),
                    }
                };
                made.insert(address(&mut slab));
                let payload = slab.freeze(0..8);
                sender.send(payload.clone()).expect("the other side lives");
                while turn.load(std::sync::atomic::Ordering::Acquire) < 2 * round + 1 {
                    std::hint::spin_loop();
                }
                turn.store(2 * round + 2, std::sync::atomic::Ordering::Release);
                drop(payload);
            }
            drop(sender);
        });
        println!("{} allocations in {ROUNDS} rounds", made.len());
        assert_eq!(pool.in_use(), 0);
        assert!(pool.audit().is_clean(), "{:?}", pool.audit());
        let all: Vec<_> = (0..SLABS).map_while(|_| pool.take()).collect();
        assert_eq!(all.len(), SLABS, "every one can still be had");
        assert!(pool.take().is_none());
    }

    #[test]
    fn scarce_is_a_quarter_or_less() {
        for (max, first_scarce) in [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (8, 6), (100, 75)] {
            let pool = Pool::new(1, max);
            let mut held = Vec::new();
            assert!(!pool.is_scarce(), "{max}");
            for used in 1..=max {
                held.push(pool.take().expect("below the cap"));
                assert_eq!(pool.is_scarce(), used >= first_scarce, "{used} of {max}");
            }
            held.pop();
            assert_eq!(pool.is_scarce(), max > first_scarce, "{max}");
        }
        assert!(Pool::new(1, 0).take().is_none());
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
                    let mut held: Vec<Payload> = Vec::new();
                    let mut state = seed * 0x9e37_79b9;
                    for _ in 0..STEPS {
                        state ^= state << 13;
                        state ^= state >> 7;
                        state ^= state << 17;
                        let at = state as usize % held.len().max(1);
                        match state >> 32 & 7 {
                            0 | 1 => {
                                if let Some(mut slab) = pool.take() {
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
                            4 if !held.is_empty() => drop(held.swap_remove(at)),
                            5 if !held.is_empty() => held.truncate(at),
                            6 if !held.is_empty() => {
                                // Written anew, if nobody else sees it.
                                match held.swap_remove(at).into_mut() {
                                    Ok(mut slab) => {
                                        slab.as_mut_slice().fill(seed as u8);
                                        held.push(slab.freeze(8..40));
                                    }
                                    Err(payload) => held.push(payload),
                                }
                            }
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
    }

    #[test]
    fn exhaustion_is_an_answer() {
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
    fn slices_stay_within_their_slab() {
        let buffers = Buffers::new(64, 1, 1);
        let data: Vec<u8> = (0..64).collect();
        let mut payload = buffers.copy(&data).expect("slab");
        assert_eq!(&payload.split_to(10)[..], &data[..10]);
        assert_eq!(&payload[..], &data[10..]);
        assert_eq!(&payload.slice(2..4)[..], &data[12..14]);
        assert_eq!(&payload.slice(50..99)[..], &data[60..]);
        assert!(payload.slice(99..100).is_empty());
        payload.truncate(100);
        payload.advance(50);
        assert_eq!(&payload[..], &data[60..]);
        payload.advance(9);
        assert_eq!((payload.len(), payload.is_empty()), (0, true));
        assert_eq!(&payload.split_to(5)[..], b"");
        // Both forms of memory.
        let whole = Payload::from(bytes::Bytes::from(data.clone()));
        let part = bytes::Bytes::from(whole.slice(3..9));
        assert_eq!(part, data[3..9]);
        drop(payload);
        let part = bytes::Bytes::from(buffers.copy(&data).expect("slab").slice(3..9));
        assert_eq!(part, data[3..9]);
        assert_eq!(buffers.small().in_use(), 1);
        drop(part);
        assert_eq!(buffers.small().in_use(), 0);
        // Nothing pins no slab.
        let empty = buffers.copy(&data).expect("slab").slice(5..5);
        let chunks = crate::Chunks::from(empty);
        assert!(chunks.is_empty());
        assert_eq!(buffers.small().in_use(), 0);
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
