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
mod own;
mod payload;
mod pool;
mod slab;
mod store;
mod thread_slot;

pub use account::{Account, Held, Refused};
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
    /// The pressure on it.
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

    /// Returns true if `slab` is one of these buffers. A device that serves one stack after the other asks: what it has kept
    /// counts against the memory of the stack that it came from.
    ///
    /// ```
    /// use packet::Buffers;
    ///
    /// let (mine, others) = (Buffers::new(4_096, 4, 4), Buffers::new(4_096, 4, 4));
    /// let slab = mine.large().take().unwrap();
    /// assert!(mine.owns(&slab) && !others.owns(&slab));
    /// ```
    pub fn owns(&self, slab: &SlabMut) -> bool {
        [&self.large, &self.small, &self.exact, &self.reserve]
            .iter()
            .any(|pool| pool.owns(slab))
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

    /// Changes how many bytes the buffers together may take, the reserve included. What is in use stays in use, though it may
    /// be more; nothing more is granted then.
    ///
    /// ```
    /// use packet::Buffers;
    ///
    /// let buffers = Buffers::with_limit(65_600, 4 << 20, 2);
    /// let kept = buffers.copy(&[7; 60_000]);
    /// buffers.set_limit(0);
    /// let reserve = buffers.memory_use().limit;
    /// assert!((2 * 65_600..3 * 65_600).contains(&reserve));
    /// assert!(kept.is_some() && buffers.copy(&[7; 60_000]).is_none());
    /// ```
    pub fn set_limit(&self, limit: usize) {
        let rest = limit.saturating_sub(self.reserve_bytes);
        self.budget.set_limit(rest);
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

    /// Copies `pieces`, one after the other, into one piece of memory: a large slab if they fill a part of it that is worth
    /// keeping it for, else memory of their own length. Returns `None` if the budget has no more.
    ///
    /// ```
    /// let buffers = packet::Buffers::new(2048, 4, 4);
    /// let whole = buffers.gather([&b"head"[..], b"er, ", b"payload"].into_iter()).unwrap();
    /// assert_eq!(&whole[..], b"header, payload");
    /// ```
    pub fn gather<'a>(&self, pieces: impl Iterator<Item = &'a [u8]> + Clone) -> Option<Payload> {
        let len = pieces.clone().map(<[u8]>::len).sum();
        let is_long = len >= memory::KEEP_BYTES && len <= self.large.slab_bytes();
        let large = is_long.then(|| self.take_large()).flatten();
        let mut slab = large.or_else(|| self.take_exact(len))?;
        let mut rest = slab.as_mut_slice();
        for piece in pieces {
            let (to, behind) = rest.split_at_mut_checked(piece.len())?;
            to.copy_from_slice(piece);
            rest = behind;
        }
        Some(slab.freeze(0..len))
    }

    /// Takes a slab of at least `bytes` to receive a packet into: of the smallest pool that has one, else
    /// of the reserve. Returns `None` if the reserve is in use, too. If no slab is that long, because the link has
    /// learned to carry larger packets since, takes memory of that length, or returns `None` if the budget has no more.
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
            return self.take_exact(bytes);
        }
        self.take_large_to_receive()
    }

    /// Takes a slab of at least `bytes`, at most those of a large slab, for somebody who fills it with a packet in a time of
    /// his own. It is never one of the reserve. Returns `None` if there is none, and while memory is not at ease: a
    /// holder that nobody can make hold less gets no more then.
    ///
    /// ```
    /// use packet::Buffers;
    ///
    /// let buffers = Buffers::new(65_600, 1, 1).with_reserve(1);
    /// let slab = buffers.take_to_fill(60_000).unwrap();
    /// assert!(buffers.owns(&slab) && buffers.take_to_fill(60_000).is_none());
    /// assert!(buffers.take_to_fill(1_500).is_some());
    /// ```
    pub fn take_to_fill(&self, bytes: usize) -> Option<SlabMut> {
        if !self.is_at_ease() {
            return None;
        }
        if bytes <= SMALL_SLAB_BYTES {
            self.take_small()
        } else if bytes <= self.large.slab_bytes() {
            self.take_large()
        } else {
            None
        }
    }

    /// Takes a large slab to receive a packet into, else one of the reserve. Returns `None` if the reserve is
    /// in use, too.
    pub fn take_large_to_receive(&self) -> Option<SlabMut> {
        self.take_large().or_else(|| self.reserve.take())
    }

    /// Copies a received packet into the smallest slab that holds it, else into the reserve; into memory of its own
    /// length if no slab is that long. Returns `None` if there is no memory.
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
mod tests;
