//! Datagrams being put together from their fragments, both families.
//!
//! * **Define.** What [`Reassembly::on_fragment`] completes is one whole IP packet whose every byte
//!   came from exactly one fragment, of at most 65,535 bytes of datagram.
//! * **Enforce.** A fragment that overlaps another one, ends where it must not, or contradicts the
//!   known length discards the whole datagram; the bytes become visible only when no gap is left.
//! * **Consume.** The receive path parses the completed packet like any other.
//!
//! **Overlaps.** RFC 5722 demands of IPv6 that an overlap discards the datagram with everything
//! still to come; IPv4 gets the same rule, because tolerating overlaps has only ever served attacks.
//! The place is kept, without data, until its time is up, so that late fragments fall on it. An
//! exact duplicate (same range, same bytes) is dropped by itself (RFC 8200 section 4.5).
//!
//! **Bounds.** Slots and bytes are fixed at construction. Bytes are counted as held: the capacity
//! of what was allocated, not the lengths that headers claim. One source (an IPv4 address, an IPv6
//! /64) may hold a quarter of either; beyond that its own oldest datagram goes. When the whole
//! cache is full, datagrams that were already discarded go first, then the oldest: under a flood
//! of fragments that never complete, honest datagrams, which complete within milliseconds, pass.
//!
//! **Cost.** Fragments of one datagram are appended to one growing buffer in the order they come.
//! In the usual order the buffer is the datagram, and completing copies nothing; otherwise one copy
//! sorts it. Lookup is a keyed hash, inserting a binary search over at most 8,192 ranges.
//!
//! Sections: RFC 791 section 3.2, RFC 815, RFC 1122 section 3.3.2, RFC 1858, RFC 3168 section 5.3,
//! RFC 5722, RFC 6946 (atomic fragments never get here), RFC 7112, RFC 8200 section 4.5.

mod datagram;
mod report;
#[cfg(test)]
mod tests;

use core::net::IpAddr;
use std::collections::HashMap;

use self::datagram::{Datagram, Insert};
pub use self::report::{Discarded, FragmentIn, FragmentOutcome, FragmentStatus, TimedOut};
use super::key::HashKey;
use crate::base::time::Duration;
use crate::base::{DropReason, Instant};

/// The share of slots and of bytes that one source may hold: one in this many.
const SOURCE_SHARE: usize = 4;

/// What the largest datagram takes when it is cut into the most fragments: 65,535 bytes, a header,
/// and 8,192 ranges, each as its vector grows.
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

    /// What counts as one source: an IPv4 address, an IPv6 /64.
    fn source(&self) -> u64 {
        match self.src {
            IpAddr::V4(v4) => u64::from(v4.to_bits()),
            IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
        }
    }
}

/// What one source holds.
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
    /// Free places are `None`; never longer than `max_slots`.
    slots: Vec<Option<Slot>>,
    by_key: HashMap<Key, u32, HashKey>,
    /// Of every source that holds something: at most as many as there are slots.
    by_source: HashMap<u64, Share, HashKey>,
    /// Places in use, oldest datagram first: they all have the same time to live, so this is also
    /// the order in which they expire.
    order: Vec<u32>,
    /// Places in `slots` that are `None`.
    free: Vec<u32>,
    bytes: usize,
    /// Datagrams that were discarded and are only remembered.
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
    /// A cache of at most `max_slots` datagrams and `max_bytes` bytes held (at least 192 KiB, so
    /// that one largest datagram fits however it is cut); each datagram lives `timeout` from its
    /// first fragment and must not be zero. Allocates nothing until the first fragment.
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

    /// Datagrams under way, those discarded but still remembered included.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// True if nothing is held.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Bytes of memory held for fragments.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes in one fragment. Its bytes are copied out of the receive buffer, so that 1 KiB of
    /// fragment does not pin 64 KiB of slab.
    pub fn on_fragment(&mut self, now: Instant, fragment: &FragmentIn<'_>) -> FragmentOutcome {
        if let Err(status) = datagram::check(fragment) {
            return FragmentOutcome {
                status,
                discarded: None,
            };
        }
        let key = Key::of(fragment);
        let mut discarded = 0;
        let place = match self.by_key.get(&key).copied() {
            Some(place) => place,
            None => {
                discarded += self.make_slot(&key);
                self.open(key, now + self.timeout)
            }
        };
        // A datagram whose time is up must not be completed by a late fragment, even if the timer
        // that discards it has not run yet.
        let in_time = self.slot(place).is_some_and(|slot| slot.expires > now);
        let Some(slot) = self.slot_mut(place).filter(|_| in_time) else {
            return FragmentOutcome {
                status: FragmentStatus::Drop(DropReason::FragmentTimeout),
                discarded: None,
            };
        };
        let (before, was_refused) = (slot.datagram.held(), slot.datagram.is_refused());
        let inserted = slot.datagram.insert(fragment);
        let (held, is_refused) = (slot.datagram.held(), slot.datagram.is_refused());
        self.account(&key, before, held);
        self.refused += usize::from(is_refused && !was_refused);
        let status = match inserted {
            Insert::Kept => {
                let (dropped, survived) = self.fit(place);
                discarded += dropped;
                if survived {
                    FragmentStatus::Pending
                } else {
                    FragmentStatus::Drop(DropReason::FragmentNoMemory)
                }
            }
            Insert::Complete => match self.remove(place).and_then(|s| s.datagram.finish()) {
                Some(packet) => FragmentStatus::Complete(packet),
                None => FragmentStatus::Drop(DropReason::FragmentInvalid),
            },
            Insert::Duplicate => FragmentStatus::Drop(DropReason::FragmentDuplicate),
            Insert::Refused {
                reason,
                fragments_lost,
            } => {
                return FragmentOutcome {
                    status: FragmentStatus::Drop(reason),
                    // Displacing and overlapping do not meet: a datagram that was opened just
                    // now has nothing to overlap with.
                    discarded: (fragments_lost > 0).then_some(Discarded {
                        reason,
                        fragments: fragments_lost,
                    }),
                };
            }
        };
        FragmentOutcome {
            status,
            discarded: (discarded > 0).then_some(Discarded {
                reason: DropReason::FragmentNoMemory,
                fragments: discarded,
            }),
        }
    }

    /// When [`Reassembly::on_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.order
            .first()
            .and_then(|place| self.slot(*place))
            .map(|slot| slot.expires)
    }

    /// Discards one datagram whose time is up at `now`; call until `None`.
    pub fn on_timeout(&mut self, now: Instant) -> Option<TimedOut> {
        loop {
            let place = *self.order.first()?;
            if self.slot(place)?.expires > now {
                return None;
            }
            let slot = self.remove(place)?;
            // Discarded datagrams were counted when they were discarded.
            if slot.datagram.count() > 0 {
                return Some(TimedOut {
                    fragments: slot.datagram.count(),
                    first: slot.datagram.into_first(),
                });
            }
        }
    }

    fn slot(&self, place: u32) -> Option<&Slot> {
        self.slots.get(place as usize)?.as_ref()
    }

    fn slot_mut(&mut self, place: u32) -> Option<&mut Slot> {
        self.slots.get_mut(place as usize)?.as_mut()
    }

    /// Makes room for one more datagram of this source; returns how many fragments that cost.
    fn make_slot(&mut self, key: &Key) -> u32 {
        let mut discarded = 0;
        let share = (self.max_slots / SOURCE_SHARE).max(1);
        let source = key.source();
        if self.share_of(source).slots >= share
            && let Some(place) = self.oldest_of(source, None)
        {
            discarded += self.evict(place);
        }
        if self.order.len() >= self.max_slots
            && let Some(place) = self.oldest()
        {
            discarded += self.evict(place);
        }
        discarded
    }

    fn share_of(&self, source: u64) -> Share {
        self.by_source.get(&source).copied().unwrap_or_default()
    }

    /// The oldest place of one source, other than `keep`.
    fn oldest_of(&self, source: u64, keep: Option<u32>) -> Option<u32> {
        self.order.iter().copied().find(|place| {
            Some(*place) != keep && self.slot(*place).is_some_and(|s| s.key.source() == source)
        })
    }

    /// The place to give up first: one that is only remembered, else the oldest.
    fn oldest(&self) -> Option<u32> {
        let remembered = |place: &u32| self.slot(*place).is_some_and(|s| s.datagram.is_refused());
        let first = self.order.first().copied();
        if self.refused == 0 {
            return first;
        }
        self.order.iter().copied().find(remembered).or(first)
    }

    /// Brings the bytes held back under the limits after `grown` grew: first within its source's
    /// share, then within the whole. Returns how many earlier fragments that cost, and whether
    /// `grown` itself survived.
    fn fit(&mut self, grown: u32) -> (u32, bool) {
        let mut discarded = 0;
        let Some(source) = self.slot(grown).map(|s| s.key.source()) else {
            return (0, false);
        };
        let share = (self.max_bytes / SOURCE_SHARE).max(LARGEST_DATAGRAM_HELD_BYTES);
        // Each round frees a slot, so the rounds are bounded by the slots.
        while self.share_of(source).bytes > share {
            match self.oldest_of(source, Some(grown)) {
                Some(place) => discarded += self.evict(place),
                None => break,
            }
        }
        while self.bytes > self.max_bytes {
            match self.oldest_with_bytes(grown) {
                Some(place) => discarded += self.evict(place),
                None => {
                    // It alone is too much. The newest fragment is the caller's to count.
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

    fn evict(&mut self, place: u32) -> u32 {
        self.remove(place).map_or(0, |slot| slot.datagram.count())
    }

    /// A datagram of `key` went from `before` to `held` bytes.
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
        let place = match self.free.pop() {
            Some(place) => {
                if let Some(free) = self.slots.get_mut(place as usize) {
                    *free = slot;
                }
                place
            }
            None => {
                self.slots.push(slot);
                // Bounded by `max_slots`, which fits.
                (self.slots.len() - 1) as u32
            }
        };
        self.by_key.insert(key, place);
        self.by_source.entry(key.source()).or_default().slots += 1;
        self.order.push(place);
        place
    }

    fn remove(&mut self, place: u32) -> Option<Slot> {
        let slot = self.slots.get_mut(place as usize)?.take()?;
        self.by_key.remove(&slot.key);
        // Found at once when it is the oldest, as it mostly is when there are many.
        if let Some(at) = self.order.iter().position(|p| *p == place) {
            self.order.remove(at);
        }
        self.free.push(place);
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
