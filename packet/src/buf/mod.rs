//! Pooled packet buffers.
//!
//! * **Define.** A slab of bytes is either held by exactly one [`SlabMut`], which may write to it, or
//!   shared by any number of [`Payload`]s, which are read-only slices. A [`Pool`] never has more slabs
//!   than its cap.
//! * **Enforce.** Fields are private. [`SlabMut::freeze`], which consumes the writable handle, is the
//!   only way to a shared slice. The last holder's drop gives the slab back. One atomic counter
//!   enforces the cap.
//! * **Consume.** The stack queues `Payload`s for reassembly and retransmission without a copy, and
//!   counts a `None` from [`Pool::take`] as a dropped packet: memory does not grow with traffic.
//!
//! Each thread has its own free list of slabs and takes the one used last first. A thread waits at most
//! while another one pushes or pops a single slab. While tests run, a ledger checks every operation:
//! see [`Audit`].
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

mod free_list;
mod ledger;
mod payload;
mod pool;
mod slab;
mod thread_slot;

pub use ledger::{Audit, Violation};
pub use payload::Payload;
pub use pool::Pool;
pub use slab::SlabMut;

/// The pools of a stack: large slabs, which hold the largest packet of its device, and small slabs, into
/// which short payloads are copied so that they do not keep a large slab in use.
///
/// - **Define:** beside them a *reserve* of large slabs can be set aside for receiving. Packets are
///   received into it when the pools are exhausted, so a stack always hears the acknowledgments and
///   resets that free its memory.
/// - **Enforce:** only the methods that take a slab to receive into reach the reserve, and each payload of it says so:
///   [`Payload::is_lent`].
/// - **Consume:** code that would keep a payload beyond the turn in which it was received keeps a copy in
///   ordinary slabs ([`keep`](Self::keep)), or drops the payload. So the reserve is free again at the end of the
///   turn, whatever the state of the pools.
#[derive(Clone, Debug)]
pub struct Buffers {
    large: Pool,
    small: Pool,
    reserve: Pool,
}

/// Length of a small slab, in bytes. It holds a packet of Ethernet's MTU with room to spare.
pub const SMALL_SLAB_BYTES: usize = 2048;

/// Bytes that a flow may keep queued in one direction while few slabs are left.
pub const FAIR_SHARE_BYTES: usize = 64 << 10;

/// Bytes that a flow may always keep queued in one direction: a few segments.
pub const FLOOR_BYTES: usize = 4 << 10;

impl Buffers {
    /// Returns what the ledgers of the large and the small pool recorded, and that of the reserve: see
    /// [`Pool::audit`].
    pub fn audit(&self) -> [Audit; 3] {
        [self.large.audit(), self.small.audit(), self.reserve.audit()]
    }

    /// Creates a pool of `max_large` slabs of `large_bytes` and a pool of `max_small` slabs of
    /// [`SMALL_SLAB_BYTES`].
    pub fn new(large_bytes: usize, max_large: usize, max_small: usize) -> Self {
        Self {
            large: Pool::new(large_bytes, max_large),
            small: Pool::new(SMALL_SLAB_BYTES, max_small),
            reserve: Pool::lending(large_bytes, 0),
        }
    }

    /// Sets `slabs` large slabs aside for receiving when all others are in use.
    #[must_use]
    pub fn with_reserve(self, slabs: usize) -> Self {
        Self {
            reserve: Pool::lending(self.large.slab_bytes(), slabs),
            ..self
        }
    }

    /// Takes a slab of at least `bytes` to receive a packet into: of the smallest pool that has one, else
    /// of the reserve. Returns `None` if the reserve is in use, too, or no slab is that long.
    ///
    /// ```
    /// use packet::Buffers;
    ///
    /// let buffers = Buffers::new(65_600, 1, 0).with_reserve(1);
    /// let held = buffers.large().take();
    /// let lent = buffers.take_to_receive(65_000).unwrap().freeze(0..3);
    /// assert!(lent.is_lent() && buffers.take_to_receive(1).is_none());
    /// assert!(buffers.keep(lent).is_none(), "there is no memory to keep a copy in");
    /// drop(held);
    /// assert!(!buffers.take_to_receive(1).unwrap().freeze(0..1).is_lent());
    /// ```
    pub fn take_to_receive(&self, bytes: usize) -> Option<SlabMut> {
        let small = (bytes <= self.small.slab_bytes()).then(|| self.small.take());
        if let Some(Some(slab)) = small {
            return Some(slab);
        }
        if bytes > self.large.slab_bytes() {
            return None;
        }
        self.take_large_to_receive()
    }

    /// Takes a large slab to receive a packet into, else one of the reserve. Returns `None` if the reserve is
    /// in use, too.
    pub fn take_large_to_receive(&self) -> Option<SlabMut> {
        self.large.take().or_else(|| self.reserve.take())
    }

    /// Copies a received packet into the smallest slab that holds it, else into the reserve. Returns `None`
    /// if the reserve is in use, too, or no slab is that long.
    pub fn copy_received(&self, bytes: &[u8]) -> Option<Payload> {
        self.take_to_receive(bytes.len())
            .and_then(|slab| filled(slab, bytes))
    }

    /// Returns `payload` in memory that may be kept: as it is, or a copy if it is lent. Returns `None` if
    /// there is no slab for the copy.
    pub fn keep(&self, payload: Payload) -> Option<Payload> {
        if payload.is_lent() {
            self.copy(&payload)
        } else {
            Some(payload)
        }
    }

    /// Returns how many bytes one flow may keep queued in one direction: any number while slabs are
    /// plenty, [`FAIR_SHARE_BYTES`] while at most a quarter of either pool is left, and
    /// [`FLOOR_BYTES`] while at most a sixteenth is.
    pub fn fair_share(&self) -> usize {
        let either = |parts| self.large.has_at_most(parts) || self.small.has_at_most(parts);
        if !either(4) {
            usize::MAX
        } else if either(16) {
            FLOOR_BYTES
        } else {
            FAIR_SHARE_BYTES
        }
    }

    /// Returns the reserve.
    pub fn reserve(&self) -> &Pool {
        &self.reserve
    }

    /// Returns the pool of large slabs.
    pub fn large(&self) -> &Pool {
        &self.large
    }

    /// Returns the pool of small slabs.
    pub fn small(&self) -> &Pool {
        &self.small
    }

    /// Copies `bytes` into the smallest slab that holds them. Returns `None` if they fit into no slab or
    /// all slabs of that size are in use.
    pub fn copy(&self, bytes: &[u8]) -> Option<Payload> {
        let pool = if bytes.len() <= self.small.slab_bytes() {
            &self.small
        } else if bytes.len() <= self.large.slab_bytes() {
            &self.large
        } else {
            return None;
        };
        filled(pool.take()?, bytes)
    }
}

/// Writes `bytes` into the slab; `None` if it is too short.
fn filled(mut slab: SlabMut, bytes: &[u8]) -> Option<Payload> {
    slab.as_mut_slice()
        .get_mut(..bytes.len())?
        .copy_from_slice(bytes);
    Some(slab.freeze(0..bytes.len()))
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
    fn unused_slabs_do_not_keep_their_pool_alive() {
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
        // The pool allocates no slab while it has unused ones.
        let mut again: Vec<_> = (0..4).map_while(|_| pool.take()).collect();
        let found: Vec<_> = again.iter_mut().map(address).collect();
        assert!(found.iter().eq(addresses.iter().rev()));
    }

    #[test]
    fn a_slab_returns_no_matter_which_thread_drops_it() {
        let pool = Pool::new(64, 1);
        let mut slab = pool.take().expect("first");
        let first = address(&mut slab);
        let payload = slab.freeze(0..8);
        std::thread::scope(|scope| {
            scope.spawn(move || drop(payload));
        });
        // Another thread can take it too, although it is on this thread's free list.
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

    /// Two threads drop the same slab at the same moment: it may be kept or freed, but the pool can always
    /// hand out its full number of slabs afterwards.
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
                        // The other thread still holds it.
                        None => std::thread::yield_now(),
                    }
                };
                made.insert(address(&mut slab));
                let payload = slab.freeze(0..8);
                sender.send(payload.clone()).expect("the receiver is alive");
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
        assert_eq!(all.len(), SLABS, "the pool still has all its slabs");
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

    /// Threads take, share, append, thaw and drop slabs at random; none is in use at the end.
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
                                // The receiver may drop it at any moment.
                                sender.send(part).expect("the receiver is alive");
                            }
                            3 if !held.is_empty() => {
                                let byte = held[at][0];
                                held[at].try_append(&[byte; 4]);
                            }
                            4 if !held.is_empty() => drop(held.swap_remove(at)),
                            5 if !held.is_empty() => held.truncate(at),
                            6 if !held.is_empty() => {
                                // A slab with one holder can be written again.
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
    fn an_exhausted_pool_returns_none() {
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
        // A payload converts to `Bytes` from both kinds of memory.
        let whole = Payload::from(bytes::Bytes::from(data.clone()));
        let part = bytes::Bytes::from(whole.slice(3..9));
        assert_eq!(part, data[3..9]);
        drop(payload);
        let part = bytes::Bytes::from(buffers.copy(&data).expect("slab").slice(3..9));
        assert_eq!(part, data[3..9]);
        assert_eq!(buffers.small().in_use(), 1);
        drop(part);
        assert_eq!(buffers.small().in_use(), 0);
        // An empty slice keeps no slab in use.
        let empty = buffers.copy(&data).expect("slab").slice(5..5);
        let chunks = crate::Chunks::from(empty);
        assert!(chunks.is_empty());
        assert_eq!(buffers.small().in_use(), 0);
    }

    #[test]
    fn appending_needs_the_only_holder() {
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
