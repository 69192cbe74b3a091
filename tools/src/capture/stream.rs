//! The bytes of one direction of a session, put in order.

use std::collections::BTreeMap;

/// The bytes of one direction, from the first byte after the SYN on.
///
/// Positions are 64-bit offsets in the stream: unlike sequence numbers, they do not wrap.
#[derive(Clone, Debug)]
pub struct Stream {
    isn: u32,
    /// Payloads by the offset of their first byte; byte 0 is the first after the SYN.
    pieces: BTreeMap<u64, Vec<u8>>,
    /// Offset after the last byte, if a FIN gave it.
    end: Option<u64>,
    /// The furthest offset seen, from which new sequence numbers are unwrapped.
    furthest: u64,
    /// Bytes that arrived twice with different contents.
    conflicts: u64,
}

impl Stream {
    /// Creates an empty stream after a SYN with sequence number `isn`.
    pub fn new(isn: u32) -> Self {
        Self {
            isn,
            pieces: BTreeMap::new(),
            end: None,
            furthest: 0,
            conflicts: 0,
        }
    }

    /// Returns the sequence number of the SYN.
    pub fn isn(&self) -> u32 {
        self.isn
    }

    /// Returns the offset of sequence number `seq`, the one nearest to the furthest offset seen; `None`
    /// for the SYN itself and anything before it.
    pub fn offset(&self, seq: u32) -> Option<u64> {
        let near = self.isn.wrapping_add(1).wrapping_add(self.furthest as u32);
        let distance = i64::from(seq.wrapping_sub(near) as i32);
        self.furthest.checked_add_signed(distance)
    }

    /// Adds a segment's payload at `seq`.
    pub fn add(&mut self, seq: u32, payload: &[u8]) {
        let Some(offset) = self.offset(seq) else {
            return;
        };
        // An empty segment may lie one past the end: an ACK after the FIN.
        if payload.is_empty() {
            return;
        }
        self.furthest = self.furthest.max(offset + payload.len() as u64);
        match self.pieces.get_mut(&offset) {
            Some(piece) if piece.len() >= payload.len() => {
                let differing = piece.iter().zip(payload).filter(|(a, b)| a != b);
                self.conflicts += differing.count() as u64;
            }
            _ => {
                self.pieces.insert(offset, payload.to_vec());
            }
        }
    }

    /// Adds a FIN with sequence number `seq`.
    pub fn add_fin(&mut self, seq: u32) {
        self.end = self.end.or(self.offset(seq));
    }

    /// Returns the offset after the last byte, if a FIN ended the stream.
    pub fn end(&self) -> Option<u64> {
        self.end
    }

    /// Returns the furthest offset that a segment reached.
    pub fn furthest(&self) -> u64 {
        self.furthest
    }

    /// Returns the number of bytes that a later segment had with other contents than an earlier one.
    pub fn conflicts(&self) -> u64 {
        self.conflicts
    }

    /// Returns the bytes from the start up to the first missing one.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out: Vec<u8> = Vec::new();
        for (offset, piece) in &self.pieces {
            let have = out.len() as u64;
            if *offset > have {
                break;
            }
            let known = (have - offset) as usize;
            out.extend_from_slice(piece.get(known..).unwrap_or_default());
        }
        out
    }

    /// Returns the number of bytes that are known, each counted once, behind gaps too.
    pub fn distinct(&self) -> u64 {
        let mut known = 0;
        let mut upto = 0;
        for (offset, piece) in &self.pieces {
            let end = offset + piece.len() as u64;
            known += end.saturating_sub(upto.max(*offset));
            upto = upto.max(end);
        }
        known
    }

    /// Returns the offset of the first missing byte, if any is missing.
    pub fn first_gap(&self) -> Option<u64> {
        let have = self.bytes().len() as u64;
        let expected = self.end.unwrap_or(0).max(self.furthest);
        (have < expected).then_some(have)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_segments_in_order_across_the_wrap() {
        let isn = u32::MAX - 3;
        let seq = |offset: u32| isn.wrapping_add(1).wrapping_add(offset);
        let mut stream = Stream::new(isn);
        stream.add(seq(0), b"ab");
        stream.add(seq(4), b"ef");
        assert_eq!(stream.bytes(), b"ab");
        assert_eq!(stream.first_gap(), Some(2));
        assert_eq!(stream.distinct(), 4);
        stream.add(seq(1), b"bcdef");
        stream.add(seq(0), b"ab");
        stream.add_fin(seq(6));
        assert_eq!(stream.bytes(), b"abcdef");
        assert_eq!(stream.first_gap(), None);
        assert_eq!(stream.end(), Some(6));
        assert_eq!(stream.offset(isn), None);
        assert_eq!(stream.conflicts(), 0);
        stream.add(seq(0), b"xb");
        assert_eq!(stream.conflicts(), 1);
    }

    #[test]
    fn a_missing_tail_is_a_gap() {
        let mut stream = Stream::new(0);
        stream.add(1, b"ab");
        stream.add_fin(5);
        assert_eq!(stream.first_gap(), Some(2));
    }
}
