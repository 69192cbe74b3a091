//! A packet that passes by, as an observer sees it: nothing of it is copied unless the observer wants it.

use std::borrow::Cow;

use packet::frame::TxPacket;

use super::linear;
use crate::base::{Discarded, Instant};

/// The direction of a packet, as the stack sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Received from the device.
    In,
    /// Sent to the device.
    Out,
}

/// A packet that passes by, from its IP header on. A super-segment is one packet.
#[derive(Clone, Copy, Debug)]
pub struct SeenPacket<'a> {
    /// The time of its arrival, or of the batch that it leaves in.
    pub at: Instant,
    /// The reason, if the stack has discarded it.
    pub discarded: Option<Discarded>,
    content: Content<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Content<'a> {
    Received(&'a [u8]),
    Sent {
        packet: &'a TxPacket,
        /// The place of the transport checksum and its value, if it is left to the device.
        checksum: Option<(usize, [u8; 2])>,
    },
}

impl<'a> SeenPacket<'a> {
    /// Describes a packet that was received.
    pub fn received(at: Instant, bytes: &'a [u8]) -> Self {
        Self {
            at,
            discarded: None,
            content: Content::Received(bytes),
        }
    }

    /// Describes a packet that is sent. Returns `None` if the work on it that is left to the device lies outside of it: the
    /// device drops such a packet, and counts it.
    pub fn sent(at: Instant, packet: &'a TxPacket) -> Option<Self> {
        let checksum = linear::checksum_of(packet).ok()?;
        Some(Self {
            at,
            discarded: None,
            content: Content::Sent { packet, checksum },
        })
    }

    /// Returns the direction.
    pub fn direction(&self) -> Direction {
        match self.content {
            Content::Received(_) => Direction::In,
            Content::Sent { .. } => Direction::Out,
        }
    }

    /// Returns the length of the whole packet, in bytes.
    pub fn len(&self) -> usize {
        match self.content {
            Content::Received(bytes) => bytes.len(),
            Content::Sent { packet, .. } => packet.len(),
        }
    }

    /// Returns true if the packet has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the first `most` bytes, for a look at the headers. The checksum of a sent packet may be missing. Copies
    /// only where the headers lie in several pieces.
    pub fn beginning(&self, most: usize) -> Cow<'a, [u8]> {
        let (whole, in_pieces) = match self.content {
            Content::Received(bytes) => (bytes, false),
            Content::Sent { packet, .. } => (packet.head.as_slice(), !packet.payload.is_empty()),
        };
        match whole.get(..most) {
            Some(beginning) => Cow::Borrowed(beginning),
            None if in_pieces => Cow::Owned(self.copy(most)),
            None => Cow::Borrowed(whole),
        }
    }

    /// Copies the first `most` bytes. The checksum of a sent packet is complete; that of a received one is as the device
    /// delivered it, and may be partial if the device vouched for it.
    ///
    /// ```
    /// use netstack::base::Instant;
    /// use netstack::device::observe::SeenPacket;
    ///
    /// let packet = SeenPacket::received(Instant::ZERO, b"any bytes");
    /// assert_eq!((packet.len(), packet.copy(3)), (9, b"any".to_vec()));
    /// ```
    pub fn copy(&self, most: usize) -> Vec<u8> {
        let keep = self.len().min(most);
        let (packet, checksum) = match self.content {
            Content::Received(bytes) => return bytes.get(..keep).unwrap_or(bytes).to_vec(),
            Content::Sent { packet, checksum } => (packet, checksum),
        };
        let mut copy = Vec::with_capacity(keep);
        for piece in std::iter::once(packet.head.as_slice()).chain(packet.payload.slices()) {
            let room = keep - copy.len();
            copy.extend_from_slice(piece.get(..room).unwrap_or(piece));
        }
        if let Some((at, sum)) = checksum {
            for (at, byte) in (at..).zip(sum) {
                if let Some(place) = copy.get_mut(at) {
                    *place = byte;
                }
            }
        }
        copy
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use packet::Payload;
    use packet::frame::ChecksumOffload;

    use super::*;

    /// A packet in three pieces of odd lengths, whose checksum is left to the device.
    fn sent(at: u16) -> TxPacket {
        let mut packet = TxPacket::default();
        let head = packet.head.prepend(9).expect("room");
        head.copy_from_slice(b"..head\x12\x34!");
        for piece in [&b"first"[..], b"second piece"] {
            let piece = Payload::from(Bytes::from_static(piece));
            packet.payload.push(piece).expect("room");
        }
        packet.offload.checksum = Some(ChecksumOffload {
            start: 2,
            offset: at,
        });
        packet
    }

    #[test]
    fn the_checksum_is_that_of_the_whole_packet_however_little_is_kept() {
        let packet = sent(4);
        let mut whole = Vec::new();
        linear::write(&packet, &mut whole).expect("fits");
        let seen = SeenPacket::sent(Instant::ZERO, &packet).expect("fits");
        assert_eq!(seen.direction(), Direction::Out);
        for most in 0..40 {
            let keep = most.min(whole.len());
            assert_eq!(seen.copy(most), whole[..keep], "{most} bytes");
            assert_eq!(seen.beginning(most).len(), keep);
        }
        assert_eq!(&*seen.beginning(6), b"..head");
        assert!(SeenPacket::sent(Instant::ZERO, &sent(90)).is_none());
    }
}
