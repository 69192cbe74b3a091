//! Bytes in order that the application has not read.
//!
//! * **Define.** A [`Ring`] is the run of received bytes that ends just below RCV.NXT.
//! * **Enforce.** Bytes enter only at the end, in sequence, and leave only at the front.
//! * **Consume.** The application reads them in place (`front`, then `consume`) or takes whole slices.
//!
//! An empty ring holds no slab.

use std::collections::VecDeque;

use bytes::Bytes;
use packet::Payload;
use packet::buf::{Held, Memory};

use super::compact;
use crate::tcp::concat::concat;

/// Slots that an empty ring may keep allocated.
const IDLE_SLOTS: usize = 32;

/// The queue of received bytes.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    chunks: VecDeque<Held>,
    len: usize,
}

impl Ring {
    /// Returns the number of unread bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Appends the next bytes in sequence; returns how many, which is all unless there is no memory.
    pub(crate) fn push(&mut self, data: Payload, memory: Memory<'_>) -> usize {
        let kept = compact::push(&mut self.chunks, data, memory).bytes;
        self.len += kept;
        kept
    }

    /// Moves what leaves a part of its slab unused into memory of its own length; returns how many bytes
    /// were copied.
    pub(crate) fn compact(&mut self, memory: Memory<'_>) -> usize {
        self.chunks
            .iter_mut()
            .map(|chunk| memory.compact(chunk))
            .sum()
    }

    /// Appends the next bytes in sequence, which were compacted before.
    pub(crate) fn extend(&mut self, mut run: VecDeque<Held>) {
        self.len += run.iter().map(|held| held.len()).sum::<usize>();
        if self.chunks.is_empty() {
            self.chunks = run;
        } else {
            self.chunks.append(&mut run);
        }
    }

    /// Returns the first contiguous bytes; empty if there are none.
    pub(crate) fn front(&self) -> &[u8] {
        self.chunks.front().map_or(&[], |chunk| chunk)
    }

    /// Drops up to `count` bytes at the front; returns how many were dropped.
    pub(crate) fn consume(&mut self, count: usize) -> usize {
        let count = count.min(self.len);
        let mut left = count;
        while left > 0 {
            let Some(front) = self.chunks.front_mut() else {
                break;
            };
            if left < front.len() {
                front.advance(left);
                break;
            }
            left -= front.len();
            self.chunks.pop_front();
        }
        self.len -= count;
        self.trim();
        count
    }

    /// Copies bytes from the front to `out`, without taking them; returns how many.
    pub(crate) fn copy_to(&self, out: &mut [u8]) -> usize {
        let mut count = 0;
        for chunk in &self.chunks {
            let room = out.get_mut(count..).unwrap_or_default();
            if room.is_empty() {
                break;
            }
            let part = chunk.len().min(room.len());
            if let (Some(to), Some(from)) = (room.get_mut(..part), chunk.get(..part)) {
                to.copy_from_slice(from);
            }
            count += part;
        }
        count
    }

    /// Takes the first slice.
    pub(crate) fn pop(&mut self) -> Option<Payload> {
        let chunk = self.chunks.pop_front()?;
        self.len -= chunk.len();
        self.trim();
        Some(chunk.into_payload())
    }

    /// Returns a copy of everything.
    pub(crate) fn bytes(&self) -> Bytes {
        concat(self.chunks.iter().map(|held| &**held))
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Checks that the slices are as long as the ring says.
    #[cfg(any(test, feature = "invariants"))]
    pub(crate) fn check(&self) {
        if !crate::tcp::invariants::walk_is_due(self.chunks.len()) {
            return;
        }
        assert!(self.chunks.iter().all(|chunk| !chunk.is_empty()));
        assert_eq!(
            self.chunks.iter().map(|chunk| chunk.len()).sum::<usize>(),
            self.len
        );
    }

    fn trim(&mut self) {
        if self.chunks.is_empty() && self.chunks.capacity() > IDLE_SLOTS {
            self.chunks = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use packet::Buffers;
    use packet::buf::Account;

    use super::*;

    #[test]
    fn reads_what_was_pushed() {
        let buffers = Buffers::new(65_536, 4, 8);
        let account = Account::default();
        let mut ring = Ring::default();
        for part in [&b"hello"[..], &[1; 4_000], b"end"] {
            let data = buffers.copy(part).expect("slab");
            ring.push(data, buffers.charging(&account));
        }
        assert_eq!(ring.len(), 4_008);
        let mut seen = [0; 5_000];
        assert_eq!(ring.copy_to(&mut seen), 4_008, "from every slice");
        assert_eq!(
            (&seen[..6], &seen[4_004..4_008]),
            (&b"hello\x01"[..], &b"\x01end"[..])
        );
        assert_eq!(ring.copy_to(&mut seen[..7]), 7);
        assert_eq!((ring.copy_to(&mut []), ring.len()), (0, 4_008));
        assert_eq!(&ring.front()[..5], b"hello");
        assert_eq!(ring.consume(5), 5);
        assert_eq!(ring.consume(3_999), 3_999);
        let mut rest = Vec::new();
        while let Some(chunk) = ring.pop() {
            rest.extend_from_slice(&chunk);
        }
        assert_eq!(rest, b"\x01end");
        assert_eq!((ring.len(), ring.consume(7)), (0, 0));
        assert_eq!(buffers.small().in_use() + buffers.large().in_use(), 0);
    }
}
