//! One incomplete datagram: the bytes of its fragments, and the ranges that they cover.

use core::ops::Range;

use bytes::Bytes;
use packet::Payload;

use super::FragmentIn;
use super::check::MAX_HEADER;
use super::rewrite::{
    combine_ecn, ecn_of, rewrite_ipv4, rewrite_ipv6, set_ecn, write_ipv4_checksum,
};
use crate::base::DropReason;
use crate::ip::fragment::FRAGMENT_HEADER;

/// Longest quote of a first fragment, in bytes: the room in the largest ICMP error (1,280 bytes for IPv6,
/// less its headers).
const MAX_QUOTE: usize = 1232;

/// The range of one fragment in the datagram, and the position of its bytes in the buffer.
#[derive(Clone, Copy)]
struct Piece {
    start: u16,
    end: u16,
    /// Position in the buffer, which holds at most 65,535 bytes of datagram and one header.
    at: u32,
}

/// The outcome of [`Datagram::insert`].
pub(super) enum Insert {
    /// The fragment was kept; others are missing.
    Kept,
    /// The fragment was kept, and the datagram is complete.
    Complete,
    /// The fragment is an exact duplicate.
    Duplicate,
    /// The fragment was refused, and `fragments_lost` earlier ones were discarded.
    Refused {
        reason: DropReason,
        fragments_lost: u32,
    },
}

/// The fragments of one datagram.
pub(super) struct Datagram {
    /// The bytes of the fragments in order of arrival. Those of the first fragment follow its headers.
    buffer: Vec<u8>,
    /// Sorted by `start`, never overlapping.
    pieces: Vec<Piece>,
    /// Length of the datagram, known once its last fragment has arrived.
    total: Option<u16>,
    /// Largest end of a fragment.
    furthest: u16,
    /// Number of bytes covered by fragments.
    covered: u32,
    /// Range of the first fragment's headers in `buffer`.
    header: Option<Range<u32>>,
    /// The ECN codepoints of the fragments: bit n for codepoint n.
    ecn_seen: u8,
    /// Upper-layer protocol of the first fragment.
    proto: u8,
    ipv6: bool,
    /// True after an overlap or contradiction: all further fragments are dropped.
    refused: bool,
}

impl Datagram {
    pub(super) fn new() -> Self {
        Self {
            buffer: Vec::new(),
            pieces: Vec::new(),
            total: None,
            furthest: 0,
            covered: 0,
            header: None,
            ecn_seen: 0,
            proto: 0,
            ipv6: false,
            refused: false,
        }
    }

    /// Returns the memory held, in bytes.
    pub(super) fn held(&self) -> usize {
        self.buffer.capacity() + self.pieces.capacity() * size_of::<Piece>()
    }

    /// Returns the number of fragments held.
    pub(super) fn count(&self) -> u32 {
        // At most 8,192, because each but the last has at least 8 bytes.
        self.pieces.len() as u32
    }

    /// Returns `true` if the datagram was discarded.
    pub(super) fn is_refused(&self) -> bool {
        self.refused
    }

    /// Adds a fragment that passed [`check`](super::check::check).
    pub(super) fn insert(&mut self, fragment: &FragmentIn<'_>) -> Insert {
        if self.refused {
            return Insert::Refused {
                reason: DropReason::FragmentOverlap,
                fragments_lost: 0,
            };
        }
        let Some(payload) = fragment.packet.get(fragment.payload.clone()) else {
            return self.refuse(DropReason::FragmentInvalid);
        };
        let start = fragment.offset;
        // `check` bounded the sum.
        let end = start.saturating_add(payload.len() as u16);
        let at = self.pieces.partition_point(|piece| piece.start < start);
        if let Some(piece) = self.pieces.get(at)
            && piece.start == start
            && piece.end == end
            && self.bytes_of(*piece) == Some(payload)
            && (fragment.more || self.total == Some(end))
        {
            return Insert::Duplicate;
        }
        let overlaps_before = at
            .checked_sub(1)
            .and_then(|before| self.pieces.get(before))
            .is_some_and(|piece| piece.end > start);
        let overlaps_after = self.pieces.get(at).is_some_and(|piece| piece.start < end);
        if overlaps_before || overlaps_after {
            return self.refuse(DropReason::FragmentOverlap);
        }
        let contradicts = if fragment.more {
            self.total.is_some_and(|total| end >= total)
        } else {
            self.total.is_some() || self.furthest > end
        };
        if contradicts {
            return self.refuse(DropReason::FragmentInvalid);
        }
        self.keep(fragment, payload, start, end, at);
        if self
            .total
            .is_some_and(|total| u32::from(total) == self.covered)
        {
            Insert::Complete
        } else {
            Insert::Kept
        }
    }

    fn keep(&mut self, fragment: &FragmentIn<'_>, payload: &[u8], start: u16, end: u16, at: usize) {
        self.ipv6 = fragment.src.is_ipv6();
        if !fragment.more {
            self.total = Some(end);
        }
        self.furthest = self.furthest.max(end);
        self.covered += u32::from(end - start);
        self.ecn_seen |= 1 << ecn_of(fragment.packet);
        self.grow(fragment.packet.len());
        if start == 0 {
            let header = fragment.packet.get(..fragment.payload.start).unwrap_or(&[]);
            // The buffer has less than 2^17 bytes.
            let header_at = self.buffer.len() as u32;
            self.buffer.extend_from_slice(header);
            self.header = Some(header_at..self.buffer.len() as u32);
            self.proto = fragment.proto;
        }
        let piece = Piece {
            start,
            end,
            at: self.buffer.len() as u32,
        };
        self.buffer.extend_from_slice(payload);
        self.pieces.insert(at, piece);
    }

    /// Reserves room for `more` bytes. Doubles the capacity, so that the cost of copying stays linear, up to
    /// about the size of the largest datagram.
    fn grow(&mut self, more: usize) {
        let needed = self.buffer.len() + more;
        if needed > self.buffer.capacity() {
            let doubled = (self.buffer.capacity() * 2).min(usize::from(u16::MAX) + MAX_HEADER);
            self.buffer
                .reserve_exact(needed.max(doubled) - self.buffer.len());
        }
    }

    fn bytes_of(&self, piece: Piece) -> Option<&[u8]> {
        let at = piece.at as usize;
        self.buffer
            .get(at..at + usize::from(piece.end - piece.start))
    }

    /// Discards all fragments and refuses those still to come.
    fn refuse(&mut self, reason: DropReason) -> Insert {
        let fragments_lost = self.count();
        self.buffer = Vec::new();
        self.pieces = Vec::new();
        self.refused = true;
        Insert::Refused {
            reason,
            fragments_lost,
        }
    }

    /// Returns the first fragment as received, truncated to the longest quote of an ICMP error.
    pub(super) fn into_first(self) -> Option<Payload> {
        let header = self.header?;
        let first = self.pieces.first().filter(|piece| piece.start == 0)?;
        // The bytes follow the headers.
        let end = first.at as usize + usize::from(first.end);
        let quote = self.buffer.get(header.start as usize..end)?;
        let quote = quote.get(..MAX_QUOTE).unwrap_or(quote);
        Some(Payload::from(Bytes::copy_from_slice(quote)))
    }

    /// Returns the whole packet, or `None` if RFC 3168 section 5.3 requires that it is dropped because of
    /// the congestion marks of its fragments.
    pub(super) fn finish(self) -> Option<Payload> {
        let ecn = combine_ecn(self.ecn_seen)?;
        let header = self.header.clone()?;
        let total = self.total?;
        let header = header.start as usize..header.end as usize;
        let in_order = header.start == 0
            && self
                .pieces
                .iter()
                .all(|piece| piece.at as usize == header.end + usize::from(piece.start));
        let header_len = header.len();
        let mut packet = if in_order {
            self.buffer
        } else {
            let mut sorted = Vec::with_capacity(header_len + usize::from(total));
            sorted.extend_from_slice(self.buffer.get(header)?);
            for piece in &self.pieces {
                sorted.extend_from_slice(self.bytes_of(*piece)?);
            }
            sorted
        };
        let skip = if self.ipv6 {
            rewrite_ipv6(&mut packet, header_len, self.proto)?;
            FRAGMENT_HEADER
        } else {
            rewrite_ipv4(&mut packet, header_len)?;
            0
        };
        set_ecn(packet.get_mut(skip..)?, self.ipv6, ecn);
        if !self.ipv6 {
            write_ipv4_checksum(packet.get_mut(..header_len)?);
        }
        let mut packet = Payload::from(Bytes::from(packet));
        packet.advance(skip);
        Some(packet)
    }
}
