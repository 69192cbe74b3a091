//! Reassembly of fragmented datagrams, both families.
//!
//! * **Define.** A packet that [`Reassembly::on_fragment`] completes is one whole IP packet of at most
//!   65,535 bytes of datagram, each byte of which came from exactly one fragment.
//! * **Enforce.** A fragment that overlaps another one, or contradicts the known length, discards the whole
//!   datagram; the bytes leave the cache only when there is no gap.
//! * **Consume.** The receive path parses the completed packet like any other.
//!
//! **Overlaps.** RFC 5722 requires that an overlap discards an IPv6 datagram with all fragments still to
//! come. IPv4 gets the same rule, because only attacks depend on overlaps. The slot stays, without data,
//! until the timeout, so that it discards late fragments. An exact duplicate (same range, same bytes) is
//! dropped alone (RFC 8200 section 4.5).
//!
//! **Bounds.** The most slots and bytes are fixed at construction. Bytes are counted as held: the allocated
//! capacity, not the lengths in headers. A source (an IPv4 address, an IPv6 /64) may hold a quarter of
//! either; beyond that its own oldest datagram is evicted. When the whole cache is full, datagrams that
//! were discarded already are evicted first, then the oldest. So a flood of fragments that never complete
//! does not starve regular datagrams, which complete within milliseconds.
//!
//! **Cost.** Fragments of a datagram are appended to one growing buffer in order of arrival. If they arrive
//! in order, the buffer is the datagram, and completion copies nothing; otherwise one copy sorts it. A
//! lookup is a keyed hash, an insertion a binary search of at most 8,192 ranges.
//!
//! Sections: RFC 791 section 3.2, RFC 815, RFC 1122 section 3.3.2, RFC 1858, RFC 3168 section 5.3,
//! RFC 5722, RFC 6946 (atomic fragments never get here), RFC 7112, RFC 8200 section 4.5.

mod check;
mod datagram;
mod report;
mod rewrite;
#[cfg(test)]
mod tests;

use core::net::IpAddr;
use std::collections::HashMap;

use packet::ip::IpVersion;

use self::datagram::{Datagram, Insert};
pub use self::report::{Discarded, FragmentIn, FragmentOutcome, FragmentStatus, TimedOut};
use super::key::HashKey;
use super::peer::PeerNet;
use crate::base::time::Duration;
use crate::base::{DropReason, Instant};

/// The reciprocal of the share of slots and bytes that one source may hold.
const SOURCE_SHARE: usize = 4;

/// Memory of the largest datagram in the most fragments: 65,535 bytes, a header, and 8,192 ranges, with
/// the spare capacity of growing vectors.
const LARGEST_DATAGRAM_HELD_BYTES: usize = 192 << 10;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Key {
    src: IpAddr,
    dst: IpAddr,
    id: u32,
    /// 0 for IPv6.
    proto: u8,
}

impl Key {
    fn version(&self) -> IpVersion {
        IpVersion::of_addr(self.src)
    }

    fn of(fragment: &FragmentIn<'_>) -> Self {
        Self {
            src: fragment.src,
            dst: fragment.dst,
            id: fragment.id,
            proto: if fragment.src.is_ipv4() {
                fragment.proto
            } else {
                0
            },
        }
    }

    /// Returns the source that the limits apply to: an IPv4 address or an IPv6 /64.
    fn source(&self) -> PeerNet {
        PeerNet::of(self.src)
    }
}

/// The slots and bytes that one source holds.
#[derive(Clone, Copy, Default)]
struct Share {
    slots: usize,
    bytes: usize,
}

struct Slot {
    key: Key,
    expires: Instant,
    datagram: Datagram,
}

/// A bounded cache of incomplete datagrams.
pub struct Reassembly {
    /// Free slots are `None`; never longer than `max_slots`.
    slots: Vec<Option<Slot>>,
    by_key: HashMap<Key, u32, HashKey>,
    /// The shares of the sources that hold slots, so never more entries than slots.
    by_source: HashMap<PeerNet, Share, HashKey>,
    /// Indices of the slots in use, oldest datagram first. All have the same timeout, so this is also the
    /// order of expiry.
    order: Vec<u32>,
    /// Indices of the free slots.
    free: Vec<u32>,
    bytes: usize,
    /// Slots of discarded datagrams, kept without data.
    refused: usize,
    max_slots: usize,
    max_bytes: usize,
    timeout: Duration,
}

impl core::fmt::Debug for Reassembly {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Reassembly")
            .field("datagrams", &self.order.len())
            .field("bytes", &self.bytes)
            .finish()
    }
}

impl Reassembly {
    /// Creates a cache of at most `max_slots` datagrams and `max_bytes` bytes held (at least 192 KiB, so
    /// that the largest datagram fits in any fragmentation). A datagram expires `timeout`, which must not
    /// be zero, after its first fragment. Does not allocate before the first fragment.
    pub fn new(max_slots: usize, max_bytes: usize, timeout: Duration, key: HashKey) -> Self {
        Self {
            slots: Vec::new(),
            by_key: HashMap::with_hasher(key),
            by_source: HashMap::with_hasher(key),
            order: Vec::new(),
            free: Vec::new(),
            bytes: 0,
            refused: 0,
            max_slots: max_slots.clamp(1, u32::MAX as usize),
            max_bytes: max_bytes.max(LARGEST_DATAGRAM_HELD_BYTES),
            timeout,
        }
    }

    /// Returns the number of slots in use, which includes those of discarded datagrams.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Returns `true` if no slot is in use.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Returns the memory held for fragments, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds one fragment. Copies its bytes out of the receive buffer, so that 1 KiB of fragment does not
    /// hold a slab of 64 KiB.
    pub fn on_fragment(&mut self, now: Instant, fragment: &FragmentIn<'_>) -> FragmentOutcome {
        if let Err(status) = check::check(fragment) {
            return FragmentOutcome::new(status, DropReason::FragmentInvalid, 0);
        }
        let key = Key::of(fragment);
        let mut discarded = 0;
        let index = match self.by_key.get(&key).copied() {
            Some(index) => index,
            None => {
                discarded += self.make_slot(&key);
                self.open(key, now + self.timeout)
            }
        };
        // A late fragment must not complete an expired datagram, even if the timer that discards it has not
        // run yet.
        let in_time = self.slot(index).is_some_and(|slot| slot.expires > now);
        let Some(slot) = self.slot_mut(index).filter(|_| in_time) else {
            let reason = DropReason::FragmentTimeout;
            return FragmentOutcome::new(FragmentStatus::Drop(reason), reason, 0);
        };
        let (before, was_refused) = (slot.datagram.held(), slot.datagram.is_refused());
        let inserted = slot.datagram.insert(fragment);
        let (held, is_refused) = (slot.datagram.held(), slot.datagram.is_refused());
        self.account(&key, before, held);
        self.refused += usize::from(is_refused && !was_refused);
        match inserted {
            Insert::Kept => {
                let (evicted, survived) = self.fit(index);
                let status = if survived {
                    FragmentStatus::Pending
                } else {
                    FragmentStatus::Drop(DropReason::FragmentNoMemory)
                };
                FragmentOutcome::new(status, DropReason::FragmentNoMemory, discarded + evicted)
            }
            Insert::Complete => self.complete(index),
            Insert::Duplicate => {
                let status = FragmentStatus::Drop(DropReason::FragmentDuplicate);
                FragmentOutcome::new(status, DropReason::FragmentNoMemory, discarded)
            }
            // No eviction is lost here: it comes with a new datagram only, which has no fragment to overlap.
            Insert::Refused {
                reason,
                fragments_lost,
            } => FragmentOutcome::new(FragmentStatus::Drop(reason), reason, fragments_lost),
        }
    }

    /// Removes a datagram whose fragments are all there, and returns its packet.
    fn complete(&mut self, index: u32) -> FragmentOutcome {
        let reason = DropReason::FragmentInvalid;
        let Some(Slot { datagram, .. }) = self.remove(index) else {
            return FragmentOutcome::new(FragmentStatus::Drop(reason), reason, 0);
        };
        let earlier = datagram.count().saturating_sub(1);
        match datagram.finish() {
            Some(packet) => FragmentOutcome::new(FragmentStatus::Complete(packet), reason, 0),
            None => FragmentOutcome::new(FragmentStatus::Drop(reason), reason, earlier),
        }
    }

    /// Returns when [`Reassembly::on_timeout`] must be called next, or `None` if no slot is in use.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.order
            .first()
            .and_then(|index| self.slot(*index))
            .map(|slot| slot.expires)
    }

    /// Discards one datagram that has expired at `now`. Must be called until it returns `None`.
    pub fn on_timeout(&mut self, now: Instant) -> Option<TimedOut> {
        loop {
            let index = *self.order.first()?;
            if self.slot(index)?.expires > now {
                return None;
            }
            let slot = self.remove(index)?;
            // Discarded datagrams were counted when they were discarded.
            if slot.datagram.count() > 0 {
                return Some(TimedOut {
                    version: slot.key.version(),
                    fragments: slot.datagram.count(),
                    first: slot.datagram.into_first(),
                });
            }
        }
    }

    /// Gives up one datagram, because memory is short: one that was discarded already, else the oldest. Returns
    /// the number of its fragments that are lost, or `None` if there is no datagram.
    pub fn evict_first(&mut self) -> Option<u32> {
        let index = self.oldest()?;
        Some(self.evict(index))
    }

    fn slot(&self, index: u32) -> Option<&Slot> {
        self.slots.get(index as usize)?.as_ref()
    }

    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot> {
        self.slots.get_mut(index as usize)?.as_mut()
    }

    /// Frees a slot for one more datagram of this source if necessary, and returns the number of fragments
    /// discarded for it.
    fn make_slot(&mut self, key: &Key) -> u32 {
        let mut discarded = 0;
        let share = (self.max_slots / SOURCE_SHARE).max(1);
        let source = key.source();
        if self.share_of(source).slots >= share
            && let Some(index) = self.oldest_of(source, None)
        {
            discarded += self.evict(index);
        }
        if self.order.len() >= self.max_slots
            && let Some(index) = self.oldest()
        {
            discarded += self.evict(index);
        }
        discarded
    }

    fn share_of(&self, source: PeerNet) -> Share {
        self.by_source.get(&source).copied().unwrap_or_default()
    }

    /// Returns the oldest slot of one source, other than `keep`.
    fn oldest_of(&self, source: PeerNet, keep: Option<u32>) -> Option<u32> {
        self.order.iter().copied().find(|index| {
            Some(*index) != keep && self.slot(*index).is_some_and(|s| s.key.source() == source)
        })
    }

    /// Returns the slot to evict first: the oldest of a discarded datagram, else the oldest.
    fn oldest(&self) -> Option<u32> {
        let discarded = |index: &u32| self.slot(*index).is_some_and(|s| s.datagram.is_refused());
        let first = self.order.first().copied();
        if self.refused == 0 {
            return first;
        }
        self.order.iter().copied().find(discarded).or(first)
    }

    /// Evicts datagrams until the limits hold again after `grown` grew: first that of its source, then that
    /// of the cache. Returns the number of earlier fragments discarded, and `true` if `grown` is kept.
    fn fit(&mut self, grown: u32) -> (u32, bool) {
        let mut discarded = 0;
        let Some(source) = self.slot(grown).map(|s| s.key.source()) else {
            return (0, false);
        };
        let share = (self.max_bytes / SOURCE_SHARE).max(LARGEST_DATAGRAM_HELD_BYTES);
        // Each round frees a slot, so the rounds are bounded by the slots.
        while self.share_of(source).bytes > share {
            match self.oldest_of(source, Some(grown)) {
                Some(index) => discarded += self.evict(index),
                None => break,
            }
        }
        while self.bytes > self.max_bytes {
            match self.oldest_with_bytes(grown) {
                Some(index) => discarded += self.evict(index),
                None => {
                    // It alone exceeds the limit. The caller counts the newest fragment.
                    let lost = self.evict(grown);
                    return (discarded + lost.saturating_sub(1), false);
                }
            }
        }
        (discarded, true)
    }

    fn oldest_with_bytes(&self, keep: u32) -> Option<u32> {
        self.order
            .iter()
            .copied()
            .find(|p| *p != keep && self.slot(*p).is_some_and(|s| s.datagram.held() > 0))
    }

    fn evict(&mut self, index: u32) -> u32 {
        self.remove(index).map_or(0, |slot| slot.datagram.count())
    }

    /// Records that the datagram of `key` grew or shrank from `before` to `held` bytes.
    fn account(&mut self, key: &Key, before: usize, held: usize) {
        self.bytes = (self.bytes + held).saturating_sub(before);
        if let Some(share) = self.by_source.get_mut(&key.source()) {
            share.bytes = (share.bytes + held).saturating_sub(before);
        }
    }

    fn open(&mut self, key: Key, expires: Instant) -> u32 {
        let slot = Some(Slot {
            key,
            expires,
            datagram: Datagram::new(),
        });
        let index = match self.free.pop() {
            Some(index) => {
                if let Some(free) = self.slots.get_mut(index as usize) {
                    *free = slot;
                }
                index
            }
            None => {
                self.slots.push(slot);
                // Bounded by `max_slots`, which fits.
                (self.slots.len() - 1) as u32
            }
        };
        self.by_key.insert(key, index);
        self.by_source.entry(key.source()).or_default().slots += 1;
        self.order.push(index);
        index
    }

    fn remove(&mut self, index: u32) -> Option<Slot> {
        let slot = self.slots.get_mut(index as usize)?.take()?;
        self.by_key.remove(&slot.key);
        // Found at once if it is the oldest, as is usual when there are many.
        if let Some(at) = self.order.iter().position(|p| *p == index) {
            self.order.remove(at);
        }
        self.free.push(index);
        self.account(&slot.key, slot.datagram.held(), 0);
        self.refused = self
            .refused
            .saturating_sub(usize::from(slot.datagram.is_refused()));
        let source = slot.key.source();
        if let Some(share) = self.by_source.get_mut(&source) {
            share.slots = share.slots.saturating_sub(1);
            if share.slots == 0 {
                self.by_source.remove(&source);
            }
        }
        Some(slot)
    }
}
