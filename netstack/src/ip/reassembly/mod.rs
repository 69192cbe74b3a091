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
#[cfg(test)]
mod tests;

use core::net::IpAddr;
use core::ops::Range;
use std::collections::HashMap;

use packet::Payload;

use self::datagram::{Datagram, Insert};
use super::key::HashKey;
use crate::base::time::Duration;
use crate::base::{DropReason, Instant};

/// The share of slots and of bytes that one source may hold: one in this many.
const SOURCE_SHARE: usize = 4;

/// What the largest datagram takes when it is cut into the most fragments: 65,535 bytes, a header,
/// and 8,192 ranges, each as its vector grows.
const ROOM_FOR_ONE: usize = 192 << 10;

/// One fragment as received. Its packet was header-checked; both families.
#[derive(Clone, Debug)]
pub struct FragmentIn<'a> {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Upper-layer protocol: the IPv4 header's, or what the IPv6 fragment header says. It is part
    /// of what identifies an IPv4 datagram (RFC 791), not of an IPv6 one (RFC 8200), for which only
    /// that of the first fragment counts.
    pub proto: u8,
    /// Identification: 16 bits of IPv4, 32 of IPv6.
    pub id: u32,
    /// Where this fragment's bytes belong in the datagram, in bytes.
    pub offset: u16,
    /// Whether more fragments follow.
    pub more: bool,
    /// The whole packet as received, trailing padding cut off.
    pub packet: &'a [u8],
    /// Where in `packet` the fragment's bytes are. For IPv6 the fragment header is the 8 bytes
    /// before it.
    pub payload: Range<usize>,
}

/// What became of one fragment.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Kept; others are missing.
    Pending,
    /// It was the last one missing: the whole packet, with the first fragment's headers set right
    /// (length, no fragment fields or header, IPv4 checksum) and its ECN field combined from all
    /// (RFC 3168 section 5.3). It is to be parsed like a received one.
    Complete(Payload),
    /// Discarded.
    Drop(DropReason),
    /// Discarded, and an ICMP Parameter Problem that points at this octet of the packet should be
    /// sent, if the general rules allow one (RFC 8200 section 4.5).
    ParameterProblem {
        /// Octet of the fragment's packet.
        pointer: u32,
        /// ICMPv6 code: 0 erroneous field, 3 incomplete header chain (RFC 7112).
        code: u8,
    },
}

/// What [`Reassembly::on_fragment`] answers.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// This fragment's fate.
    pub verdict: Verdict,
    /// Earlier fragments that were discarded because of it.
    pub discarded: Option<Discarded>,
}

/// Packets kept until now and discarded without becoming a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Discarded {
    /// Why; count it once for each.
    pub reason: DropReason,
    /// How many fragments.
    pub fragments: u32,
}

/// A datagram whose time was up.
#[derive(Clone, Debug)]
pub struct TimedOut {
    /// How many fragments are discarded, each under [`DropReason::FragmentTimeout`].
    pub fragments: u32,
    /// The first fragment as received, if it came: what a Time Exceeded message (code 1) quotes
    /// (RFC 1122 section 3.3.2). Without it no message is sent.
    pub first: Option<Payload>,
}

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
    /// Places in use, oldest datagram first: they all have the same time to live, so this is also
    /// the order in which they expire.
    order: Vec<u32>,
    /// Places in `slots` that are `None`.
    free: Vec<u32>,
    bytes: usize,
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
            order: Vec::new(),
            free: Vec::new(),
            bytes: 0,
            max_slots: max_slots.clamp(1, u32::MAX as usize),
            max_bytes: max_bytes.max(ROOM_FOR_ONE),
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
    pub fn on_fragment(&mut self, now: Instant, fragment: &FragmentIn<'_>) -> Outcome {
        if let Err(verdict) = datagram::check(fragment) {
            return Outcome {
                verdict,
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
            return Outcome {
                verdict: Verdict::Drop(DropReason::FragmentTimeout),
                discarded: None,
            };
        };
        let before = slot.datagram.held();
        let inserted = slot.datagram.insert(fragment);
        let held = slot.datagram.held();
        self.bytes = (self.bytes + held).saturating_sub(before);
        let verdict = match inserted {
            Insert::Kept => {
                let (dropped, survived) = self.fit(place);
                discarded += dropped;
                if survived {
                    Verdict::Pending
                } else {
                    Verdict::Drop(DropReason::FragmentNoMemory)
                }
            }
            Insert::Complete => match self.remove(place).and_then(|s| s.datagram.finish()) {
                Some(packet) => Verdict::Complete(packet),
                None => Verdict::Drop(DropReason::FragmentInvalid),
            },
            Insert::Duplicate => Verdict::Drop(DropReason::FragmentDuplicate),
            Insert::Refused {
                reason,
                fragments_lost,
            } => {
                return Outcome {
                    verdict: Verdict::Drop(reason),
                    // Displacing and overlapping do not meet: a datagram that was opened just
                    // now has nothing to overlap with.
                    discarded: (fragments_lost > 0).then_some(Discarded {
                        reason,
                        fragments: fragments_lost,
                    }),
                };
            }
        };
        Outcome {
            verdict,
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
        let (held, oldest) = self.held_by(source, None);
        if held >= share
            && let Some(place) = oldest
        {
            discarded += self.evict(place);
        }
        if self.order.len() >= self.max_slots
            && let Some(place) = self.oldest(None)
        {
            discarded += self.evict(place);
        }
        discarded
    }

    /// Slots of one source, and the oldest of them other than `keep`.
    fn held_by(&self, source: u64, keep: Option<u32>) -> (usize, Option<u32>) {
        let mut held = 0;
        let mut oldest = None;
        for place in &self.order {
            if self.slot(*place).is_some_and(|s| s.key.source() == source) {
                held += 1;
                if oldest.is_none() && Some(*place) != keep {
                    oldest = Some(*place);
                }
            }
        }
        (held, oldest)
    }

    /// The place to give up first, other than `keep`: one without data, else the oldest.
    fn oldest(&self, keep: Option<u32>) -> Option<u32> {
        let candidates = || self.order.iter().copied().filter(|p| Some(*p) != keep);
        candidates()
            .find(|p| self.slot(*p).is_some_and(|s| s.datagram.count() == 0))
            .or_else(|| candidates().next())
    }

    /// Brings the bytes held back under the limits after `grown` grew: first within its source's
    /// share, then within the whole. Returns how many earlier fragments that cost, and whether
    /// `grown` itself survived.
    fn fit(&mut self, grown: u32) -> (u32, bool) {
        let mut discarded = 0;
        let Some(source) = self.slot(grown).map(|s| s.key.source()) else {
            return (0, false);
        };
        let share = (self.max_bytes / SOURCE_SHARE).max(ROOM_FOR_ONE);
        // Each round frees a slot, so the rounds are bounded by the slots. Only when the cache is
        // more than a quarter full can a source be over its share.
        while self.bytes > share && self.bytes_of(source) > share {
            match self.held_by(source, Some(grown)).1 {
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

    fn bytes_of(&self, source: u64) -> usize {
        self.order
            .iter()
            .filter_map(|place| self.slot(*place))
            .filter(|slot| slot.key.source() == source)
            .map(|slot| slot.datagram.held())
            .sum()
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
        self.order.push(place);
        place
    }

    fn remove(&mut self, place: u32) -> Option<Slot> {
        let slot = self.slots.get_mut(place as usize)?.take()?;
        self.by_key.remove(&slot.key);
        self.order.retain(|p| *p != place);
        self.free.push(place);
        self.bytes = self.bytes.saturating_sub(slot.datagram.held());
        Some(slot)
    }
}
