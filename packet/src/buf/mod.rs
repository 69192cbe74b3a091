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

mod account;
mod budget;
mod free_list;
mod ledger;
mod memory;
mod payload;
mod pool;
mod slab;
mod store;
mod thread_slot;

pub use account::{Account, Held, Lent};
pub use budget::{Charge, FLOOR_BYTES, Level};
pub use ledger::{Audit, Violation};
pub use memory::Memory;
pub use payload::Payload;
pub use pool::Pool;
pub use slab::SlabMut;

use std::sync::Arc;

use budget::{Budget, UNLIMITED};
use slab::cost;

/// The memory of a stack: large slabs, which hold the largest packet of its device; small slabs, into which
/// short payloads are copied; memory of any length, for payloads that are copied while memory is short.
///
/// - **Define:** all of it is counted against one budget in bytes. A *reserve* of large slabs is set aside for
///   receiving: packets are received into it when there is nothing else, so a stack always hears the
///   acknowledgments and resets that free its memory.
/// - **Enforce:** only the methods that take a slab to receive into reach the reserve, and each payload of it says so:
///   [`Payload::is_lent`]. [`Account::hold`] refuses it.
/// - **Consume:** code that keeps a payload beyond the turn in which it was received holds it through the
///   [`Memory`] of its flow: as it is, or a copy. So the reserve is free again at the end of the turn, whatever
///   the state of the memory.
#[derive(Clone, Debug)]
pub struct Buffers {
    large: Pool,
    small: Pool,
    exact: Pool,
    reserve: Pool,
    budget: Arc<Budget>,
    reserve_bytes: usize,
}

/// The state of a stack's memory at one moment, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryUse {
    /// The most that buffers may take, the reserve included.
    pub limit: usize,
    /// Taken from the system: in use or free, the reserve included.
    pub allocated: usize,
    /// In use, without the reserve.
    pub used: usize,
    /// How short memory is.
    pub level: Level,
}

/// Length of a small slab, in bytes. It holds a packet of Ethernet's MTU with room to spare.
pub const SMALL_SLAB_BYTES: usize = 2048;

/// Unused slabs that each thread keeps after a peak: large ones, small ones.
const KEPT_SLABS: [usize; 2] = [8, 128];

impl Buffers {
    /// Returns what the ledgers recorded: those of the large and the small slabs, of the memory of other
    /// lengths, and of the reserve. See [`Pool::audit`].
    pub fn audit(&self) -> [Audit; 4] {
        [&self.large, &self.small, &self.exact, &self.reserve].map(Pool::audit)
    }

    /// Creates a pool of `max_large` slabs of `large_bytes` and a pool of `max_small` slabs of
    /// [`SMALL_SLAB_BYTES`], without a limit of bytes.
    pub fn new(large_bytes: usize, max_large: usize, max_small: usize) -> Self {
        Self::counted(large_bytes, max_large, max_small, UNLIMITED)
    }

    /// Creates buffers that together take at most `limit` bytes, of which `reserve` large slabs are set aside
    /// for receiving.
    ///
    /// ```
    /// use packet::Buffers;
    /// use packet::buf::Level;
    ///
    /// let buffers = Buffers::with_limit(65_600, 4 << 20, 2);
    /// let taken: Vec<_> = std::iter::from_fn(|| buffers.copy(&[7; 60_000])).collect();
    /// assert!(buffers.memory_use().allocated <= 4 << 20);
    /// assert!(buffers.copy(&[7; 60_000]).is_none());
    /// assert!(buffers.copy_received(&[7; 60_000]).unwrap().is_lent());
    /// assert_eq!(buffers.note_level().0, Level::Limit);
    /// drop(taken);
    /// assert_eq!(buffers.note_level().0, Level::Ease);
    /// ```
    pub fn with_limit(large_bytes: usize, limit: usize, reserve: usize) -> Self {
        let reserve_bytes = reserve.saturating_mul(cost(large_bytes));
        let rest = limit.saturating_sub(reserve_bytes);
        Self::counted(large_bytes, usize::MAX, usize::MAX, rest).with_reserve(reserve)
    }

    fn counted(large_bytes: usize, max_large: usize, max_small: usize, limit: usize) -> Self {
        let budget = Budget::new(limit);
        Self {
            large: Pool::counted(large_bytes, max_large, false, &budget),
            small: Pool::counted(SMALL_SLAB_BYTES, max_small, false, &budget),
            exact: Pool::counted(0, usize::MAX, false, &budget),
            reserve: Pool::new(large_bytes, 0),
            budget,
            reserve_bytes: 0,
        }
    }

    /// Sets `slabs` large slabs aside for receiving when all others are in use.
    #[must_use]
    pub fn with_reserve(self, slabs: usize) -> Self {
        let large_bytes = self.large.slab_bytes();
        let reserve_bytes = slabs.saturating_mul(cost(large_bytes));
        Self {
            reserve: Pool::counted(large_bytes, slabs, true, &Budget::new(reserve_bytes)),
            reserve_bytes,
            ..self
        }
    }

    /// Returns the state of the memory.
    pub fn memory_use(&self) -> MemoryUse {
        MemoryUse {
            limit: self.budget.limit().saturating_add(self.reserve_bytes),
            allocated: self.budget.allocated() + self.reserve_bytes,
            used: self.used(),
            level: self.level(),
        }
    }

    fn used(&self) -> usize {
        let free = self.large.free_bytes() + self.small.free_bytes();
        self.budget.allocated().saturating_sub(free)
    }

    /// Returns how short memory was when the level was noted last.
    #[inline]
    pub fn level(&self) -> Level {
        self.budget.level()
    }

    /// Notes how short memory is; returns that, and the level before. Of all threads that note a change at the
    /// same time, one sees it.
    pub fn note_level(&self) -> (Level, Level) {
        if self.level() == Level::Ease && self.budget.is_surely_at_ease() {
            return (Level::Ease, Level::Ease);
        }
        self.budget.note(self.used())
    }

    /// Returns true while nobody has to hold less.
    pub fn is_at_ease(&self) -> bool {
        self.budget.is_surely_at_ease() || self.budget.level_at(self.used()) == Level::Ease
    }

    /// Returns how many bytes one flow may hold: a part of all while memory is at ease, else a part of what is
    /// left. The more flows hold their share, the less is left: all get the same, and something remains for the
    /// next one.
    pub fn share(&self) -> usize {
        if self.budget.is_surely_at_ease() {
            return self.budget.share_at_ease();
        }
        self.budget.share(self.used())
    }

    /// Returns how many bytes must go before the [limit](Level::Limit) is left.
    pub fn excess(&self) -> usize {
        self.budget.excess(self.used())
    }

    /// Returns a charge of no bytes against the budget, for memory that is no slab.
    pub fn charge(&self) -> Charge {
        Charge::new(&self.budget)
    }

    /// Frees the slabs that nobody needed since the last call, but a few for each thread. Returns the number
    /// of slabs freed.
    pub fn trim(&self) -> usize {
        let [large, small] = KEPT_SLABS;
        self.large.trim(large) + self.small.trim(small)
    }

    /// Returns true if [`trim`](Self::trim) has something to free, now or at its next call.
    pub fn is_trimmable(&self) -> bool {
        let [large, small] = KEPT_SLABS;
        self.large.is_trimmable(large) || self.small.is_trimmable(small)
    }

    /// Takes a large slab, for which unused small ones may have to be freed.
    pub(super) fn take_large(&self) -> Option<SlabMut> {
        let bytes = cost(self.large.slab_bytes());
        self.large
            .take()
            .or_else(|| (self.small.free_unused(bytes) > 0).then(|| self.large.take())?)
    }

    /// Takes a small slab, for which unused large ones may have to be freed.
    pub(super) fn take_small(&self) -> Option<SlabMut> {
        let bytes = cost(SMALL_SLAB_BYTES);
        self.small
            .take()
            .or_else(|| (self.large.free_unused(bytes) > 0).then(|| self.small.take())?)
    }

    /// Takes memory of `bytes`, for which unused slabs may have to be freed.
    pub(super) fn take_exact(&self, bytes: usize) -> Option<SlabMut> {
        let mut missing = cost(bytes);
        for pool in [&self.large, &self.small] {
            if let Some(slab) = self.exact.take_exact(bytes) {
                return Some(slab);
            }
            missing = missing.saturating_sub(pool.free_unused(missing));
        }
        self.exact.take_exact(bytes)
    }

    /// Copies `bytes` into memory of their own length. Returns `None` if the budget has no more.
    pub fn copy_exact(&self, bytes: &[u8]) -> Option<Payload> {
        filled(self.take_exact(bytes.len())?, bytes)
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
    /// let account = packet::buf::Account::default();
    /// assert!(account.hold(lent).is_err(), "it is lent for a turn only");
    /// drop(held);
    /// assert!(!buffers.take_to_receive(1).unwrap().freeze(0..1).is_lent());
    /// ```
    pub fn take_to_receive(&self, bytes: usize) -> Option<SlabMut> {
        let small = (bytes <= SMALL_SLAB_BYTES).then(|| self.take_small());
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
        self.take_large().or_else(|| self.reserve.take())
    }

    /// Copies a received packet into the smallest slab that holds it, else into the reserve. Returns `None`
    /// if the reserve is in use, too, or no slab is that long.
    pub fn copy_received(&self, bytes: &[u8]) -> Option<Payload> {
        self.take_to_receive(bytes.len())
            .and_then(|slab| filled(slab, bytes))
    }

    /// Returns the reserve.
    pub fn reserve(&self) -> &Pool {
        &self.reserve
    }

    /// Returns the pool of large slabs.
    pub fn large(&self) -> &Pool {
        &self.large
    }

    /// Returns the memory of other lengths: the number of pieces in use, and their ledger.
    pub fn exact(&self) -> &Pool {
        &self.exact
    }

    /// Returns the pool of small slabs.
    pub fn small(&self) -> &Pool {
        &self.small
    }

    /// Copies `bytes` into the smallest slab that holds them. Returns `None` if they fit into no slab or
    /// all slabs of that size are in use.
    pub fn copy(&self, bytes: &[u8]) -> Option<Payload> {
        if bytes.len() <= SMALL_SLAB_BYTES {
            filled(self.take_small()?, bytes)
        } else if bytes.len() <= self.large.slab_bytes() {
            filled(self.take_large()?, bytes)
        } else {
            None
        }
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
    fn memory_of_one_size_is_freed_for_another() {
        let buffers = Buffers::with_limit(65_536, 300_000, 0);
        let large: Vec<_> = std::iter::from_fn(|| buffers.take_large()).collect();
        assert_eq!(large.len(), 4);
        drop(large);
        let used = |buffers: &Buffers| (buffers.memory_use().used, buffers.memory_use().allocated);
        assert_eq!(used(&buffers), (0, 4 * cost(65_536)));
        let small: Vec<_> = std::iter::from_fn(|| buffers.copy(b"x")).collect();
        assert_eq!(small.len(), 300_000 / cost(SMALL_SLAB_BYTES));
        drop(small);
        let exact = buffers.copy_exact(&[1; 200_000]).expect("freed for it");
        assert!(used(&buffers).1 <= 300_000);
        assert!(buffers.copy_exact(&[1; 200_000]).is_none());
        drop(exact);
        assert_eq!(buffers.memory_use().used, 0);
    }

    #[test]
    fn a_peak_is_given_back_to_the_system() {
        let buffers = Buffers::with_limit(65_536, 64 << 20, 0);
        let peak: Vec<_> = (0..200).map_while(|_| buffers.copy(&[1; 60_000])).collect();
        drop(peak);
        assert_eq!(buffers.trim(), 0, "all were needed since the last time");
        assert!(buffers.is_trimmable());
        // Of the rest, one is needed.
        drop(buffers.copy(&[1; 60_000]));
        let [kept, _] = KEPT_SLABS;
        assert_eq!(buffers.trim(), 200 - kept);
        assert_eq!(buffers.memory_use().allocated, kept * cost(65_536));
        assert_eq!((buffers.trim(), buffers.is_trimmable()), (0, false));
    }

    /// Any number of greedy flows get the same share, and there is something left for the next one.
    #[test]
    fn greedy_flows_leave_something_for_the_next_one() {
        for flows in [1, 10, 100, 1_000] {
            let buffers = Buffers::with_limit(65_536, 16 << 20, 4);
            let accounts: Vec<Account> = (0..flows).map(|_| Account::default()).collect();
            let mut held = Vec::new();
            for _ in 0..3_000 {
                for account in &accounts {
                    let memory = buffers.charging(account);
                    if memory.room(usize::MAX) >= 1_000 {
                        held.extend(memory.copy(&[3; 1_000]));
                    }
                }
            }
            buffers.note_level();
            let state = buffers.memory_use();
            assert!(state.level < Level::Limit, "{flows} flows: {state:?}");
            let pinned: Vec<usize> = accounts.iter().map(Account::pinned).collect();
            let (least, most) = (pinned.iter().min(), pinned.iter().max());
            assert!(
                most <= least.map(|least| least + 3 * 2_200).as_ref(),
                "{flows}: {least:?} to {most:?}"
            );
            let next = Account::default();
            assert!(buffers.charging(&next).room(0) >= FLOOR_BYTES);
            assert!(buffers.charging(&next).copy(&[1; FLOOR_BYTES]).is_some());
        }
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
