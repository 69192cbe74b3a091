//! Packets that leave the stack together.

use bytes::Bytes;

/// Most bytes of several packets in a run: the payload of the longest datagram.
pub(in crate::device) const RUN_BYTES_MAX: usize = 65_507;
/// Most packets in a run: what one call of UDP with segmentation offload takes on any Linux.
pub(in crate::device) const RUN_PACKETS_MAX: usize = 64;

/// Packets that follow each other in one piece of memory. All have one length but the last, which may be shorter.
/// Iterating takes them out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    bytes: Bytes,
    packet_len: usize,
    /// Length of the longest packet on the link that this stands for, in bytes.
    largest: usize,
}

impl Run {
    /// Creates a run of the packets in `bytes`, each of `packet_len` bytes but the last.
    pub(in crate::device) fn new(bytes: Bytes, packet_len: usize) -> Self {
        Self {
            bytes,
            packet_len,
            largest: packet_len,
        }
    }

    /// Creates a run of one packet behind a header of the device, which stands for packets of at most `largest` bytes on
    /// the link.
    pub(super) fn framed(bytes: Bytes, largest: usize) -> Self {
        Self {
            packet_len: bytes.len(),
            bytes,
            largest,
        }
    }

    /// Returns the length of the longest packet on the link, in bytes.
    pub(super) fn largest(&self) -> usize {
        self.largest
    }

    /// Returns the first `count` packets.
    pub(super) fn first(mut self, count: usize) -> Self {
        self.bytes.truncate(count.saturating_mul(self.packet_len));
        self
    }

    /// Returns the packets, one after the other.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the length of each packet but the last, in bytes. A carrier that sends the run in one call gives it as the
    /// segment size (UDP GSO).
    pub fn packet_len(&self) -> usize {
        self.packet_len
    }

    /// Returns the number of packets.
    pub fn packets(&self) -> usize {
        self.bytes.len().div_ceil(self.packet_len.max(1))
    }

    /// Returns true if no packet is left.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl Iterator for Run {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.bytes.is_empty() {
            return None;
        }
        let len = self.packet_len.clamp(1, self.bytes.len());
        Some(self.bytes.split_to(len))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.packets(), Some(self.packets()))
    }
}
