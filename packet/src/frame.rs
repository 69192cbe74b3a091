//! Packets on their way through a stack: [`RxPacket`] is received in a slab, [`TxPacket`] is sent as
//! headers and pieces of payload.
//!
//! ```
//! use packet::Payload;
//! use packet::frame::Chunks;
//!
//! let mut chunks = Chunks::new();
//! chunks.push(Payload::from(bytes::Bytes::from_static(b"hello "))).unwrap();
//! chunks.push(Payload::from(bytes::Bytes::from_static(b"world"))).unwrap();
//! assert_eq!((chunks.len(), chunks.len_bytes()), (2, 11));
//! assert_eq!(chunks.to_vec(), b"hello world");
//! ```

use core::fmt;

use crate::buf::Payload;
use crate::build::Head;
pub use crate::checksum::RxChecksum;

/// Largest number of payload pieces in one packet.
pub const MAX_CHUNKS: usize = 6;

/// A list of up to [`MAX_CHUNKS`] payload pieces, stored inline.
#[derive(Clone, Default)]
pub struct Chunks {
    pieces: Pieces,
    bytes: usize,
}

/// Most packets have one piece or none: they neither make nor drop the other places.
// A box for the longer form would allocate for each packet that has it.
#[allow(clippy::large_enum_variant)]
#[derive(Clone)]
enum Pieces {
    /// One piece, or none if it is empty.
    One(Payload),
    /// The first `count` of `all`.
    Many {
        all: [Payload; MAX_CHUNKS],
        count: u8,
    },
}

impl Default for Pieces {
    fn default() -> Self {
        Self::One(Payload::default())
    }
}

impl Chunks {
    /// Creates an empty list.
    #[inline]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a piece. An empty piece is dropped and takes no place.
    ///
    /// # Errors
    /// Returns the piece if the list is full.
    #[inline]
    pub fn push(&mut self, piece: Payload) -> Result<(), Payload> {
        if piece.is_empty() {
            return Ok(());
        }
        let len = piece.len();
        match &mut self.pieces {
            Pieces::One(only) if only.is_empty() => *only = piece,
            Pieces::One(only) => {
                let first = core::mem::take(only);
                let none = Payload::default;
                let all = [first, piece, none(), none(), none(), none()];
                self.pieces = Pieces::Many { all, count: 2 };
            }
            Pieces::Many { all, count } => match all.get_mut(usize::from(*count)) {
                Some(slot) => {
                    *slot = piece;
                    *count += 1;
                }
                None => return Err(piece),
            },
        }
        self.bytes += len;
        Ok(())
    }

    /// Returns the pieces, in order.
    #[inline]
    pub fn as_slice(&self) -> &[Payload] {
        match &self.pieces {
            Pieces::One(only) if only.is_empty() => &[],
            Pieces::One(only) => core::slice::from_ref(only),
            Pieces::Many { all, count } => all.get(..usize::from(*count)).unwrap_or(&[]),
        }
    }

    /// Iterates over the pieces, in order.
    #[inline]
    pub fn iter(&self) -> core::slice::Iter<'_, Payload> {
        self.as_slice().iter()
    }

    /// Iterates over the bytes of the pieces, in order, as the functions in [`build`](crate::build)
    /// expect them.
    #[inline]
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.iter().map(|piece| &piece[..])
    }

    /// Returns the length of all pieces together, in bytes.
    #[inline]
    pub fn len_bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the number of pieces.
    #[inline]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Returns `true` if there are no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Returns `true` if the list has no place for another piece.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.len() == MAX_CHUNKS
    }

    /// Removes all pieces.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Copies all bytes into one vector.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len_bytes());
        for piece in self.slices() {
            all.extend_from_slice(piece);
        }
        all
    }
}

impl From<Payload> for Chunks {
    #[inline]
    fn from(piece: Payload) -> Self {
        if piece.is_empty() {
            return Self::default();
        }
        Self {
            bytes: piece.len(),
            pieces: Pieces::One(piece),
        }
    }
}

impl<'a> IntoIterator for &'a Chunks {
    type Item = &'a Payload;
    type IntoIter = core::slice::Iter<'a, Payload>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A request to the device to finish a transport checksum, whose field holds the sum of the
/// pseudo-header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ChecksumOffload {
    /// Offset of the transport header, where summing starts, in bytes.
    pub start: u16,
    /// Offset of the checksum field from `start`, in bytes.
    pub offset: u16,
}

/// The protocol by which the device cuts a packet that is longer than the MTU.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SegmentKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP over either version.
    Udp,
}

/// A request to the device to cut the packet into segments.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SegmentOffload {
    /// The protocol of the segments.
    pub kind: SegmentKind,
    /// Number of payload bytes in each segment but the last.
    pub size: u16,
    /// Length of all headers in front of the payload, in bytes.
    pub header_len: u16,
}

/// Work on a packet that is left to the device.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct TxOffload {
    /// The checksum to finish.
    pub checksum: Option<ChecksumOffload>,
    /// The segments to cut the packet into.
    pub segment: Option<SegmentOffload>,
}

/// A packet to send: headers inline, payload shared.
#[derive(Clone, Default, Debug)]
pub struct TxPacket {
    /// The headers, IP header first.
    pub head: Head,
    /// The payload.
    pub payload: Chunks,
    /// Work that is left to the device.
    pub offload: TxOffload,
}

impl TxPacket {
    /// Returns the length of the headers and payload, in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.head.len() + self.payload.len_bytes()
    }

    /// Returns `true` if the packet has no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies headers and payload into one vector.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len());
        all.extend_from_slice(self.head.as_slice());
        for piece in self.payload.slices() {
            all.extend_from_slice(piece);
        }
        all
    }
}

/// A received packet, with what the device reported about it.
#[derive(Clone, Default, Debug)]
pub struct RxPacket {
    /// The bytes of the packet, from the start of its IP header.
    pub data: Payload,
    /// The device's verdict on the transport checksum.
    pub checksum: RxChecksum,
    /// Number of payload bytes in each segment that the device merged into this packet; 0 for a packet
    /// as it was sent.
    pub gso_size: u16,
    /// Time at which the packet was read from the device, in nanoseconds on the stack's clock.
    pub arrived_nanos: u64,
}
