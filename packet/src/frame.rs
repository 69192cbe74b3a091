//! Packets as they go through the stack: received in a slab, sent as headers and pieces of payload.
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

/// Most pieces of payload in one packet.
pub const MAX_CHUNKS: usize = 6;

/// Pieces of payload in order, without an allocation: at most [`MAX_CHUNKS`].
#[derive(Clone, Default)]
pub struct Chunks {
    pieces: [Payload; MAX_CHUNKS],
    count: u8,
    bytes: usize,
}

impl Chunks {
    /// No pieces.
    #[inline]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a piece; an empty one takes no room.
    ///
    /// # Errors
    /// The piece comes back if there are [`MAX_CHUNKS`] already.
    #[inline]
    pub fn push(&mut self, piece: Payload) -> Result<(), Payload> {
        if piece.is_empty() {
            return Ok(());
        }
        match self.pieces.get_mut(usize::from(self.count)) {
            Some(slot) => {
                self.bytes += piece.len();
                self.count += 1;
                *slot = piece;
                Ok(())
            }
            None => Err(piece),
        }
    }

    /// The pieces, in order.
    #[inline]
    pub fn as_slice(&self) -> &[Payload] {
        self.pieces.get(..usize::from(self.count)).unwrap_or(&[])
    }

    /// The pieces, in order.
    #[inline]
    pub fn iter(&self) -> core::slice::Iter<'_, Payload> {
        self.as_slice().iter()
    }

    /// The bytes of the pieces, in order: what the builders in [`build`](crate::build) take.
    #[inline]
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.iter().map(|piece| &piece[..])
    }

    /// Length of all pieces together, in octets.
    #[inline]
    pub fn len_bytes(&self) -> usize {
        self.bytes
    }

    /// How many pieces there are.
    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// True if there are no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// True if no further piece finds room.
    #[inline]
    pub fn is_full(&self) -> bool {
        usize::from(self.count) == MAX_CHUNKS
    }

    /// Lets go of all pieces.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// All bytes, copied together.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len_bytes());
        for piece in self.slices() {
            all.extend_from_slice(piece);
        }
        all
    }
}

impl From<Payload> for Chunks {
    fn from(piece: Payload) -> Self {
        let mut chunks = Self::new();
        // There is room for one.
        let _ = chunks.push(piece);
        chunks
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

/// The device is to complete a transport checksum: the field holds the pseudo-header's sum.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ChecksumOffload {
    /// Offset in the packet at which summing begins: the transport header, in octets.
    pub start: u16,
    /// Offset of the checksum field from `start`, in octets.
    pub offset: u16,
}

/// How the device cuts a packet that is longer than the MTU.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SegmentKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP over either version.
    Udp,
}

/// The device is to cut the packet into segments.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SegmentOffload {
    /// What is cut.
    pub kind: SegmentKind,
    /// Payload octets in each segment but the last.
    pub size: u16,
    /// Length of all headers in front of the payload, in octets.
    pub header_len: u16,
}

/// What is left to the device.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct TxOffload {
    /// A checksum to complete.
    pub checksum: Option<ChecksumOffload>,
    /// Segments to cut.
    pub segment: Option<SegmentOffload>,
}

/// A packet to send: headers inline, payload shared.
#[derive(Clone, Default, Debug)]
pub struct TxPacket {
    /// The headers, IP header first.
    pub head: Head,
    /// What follows the headers.
    pub payload: Chunks,
    /// What is left to the device.
    pub offload: TxOffload,
}

impl TxPacket {
    /// Length of headers and payload, in octets.
    #[inline]
    pub fn len(&self) -> usize {
        self.head.len() + self.payload.len_bytes()
    }

    /// True if there is nothing in it.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Headers and payload, copied together.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len());
        all.extend_from_slice(self.head.as_slice());
        for piece in self.payload.slices() {
            all.extend_from_slice(piece);
        }
        all
    }
}

/// A packet received: bytes in a slab, and what the device said about them.
#[derive(Clone, Default, Debug)]
pub struct RxPacket {
    /// The packet, from the first octet of its IP header.
    pub data: Payload,
    /// What the device said about the transport checksum.
    pub checksum: RxChecksum,
    /// Payload octets of the segments that the device put together; 0 if it is one as sent.
    pub gso_size: u16,
    /// When it was read from the device, in nanoseconds on the stack's clock.
    pub arrived_nanos: u64,
}
