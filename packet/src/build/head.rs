//! Headers in a small inline buffer.

use core::fmt;

/// Capacity in bytes: 40 (IPv6) + 60 (TCP with all options) + 60 to spare.
const CAPACITY: usize = 160;

/// The headers of a packet in a fixed inline buffer, written back to front.
///
/// ```
/// use packet::build::Head;
///
/// let mut head = Head::new();
/// head.prepend(2).unwrap().copy_from_slice(b"cd");
/// head.prepend(2).unwrap().copy_from_slice(b"ab");
/// assert_eq!(head.as_slice(), b"abcd");
/// assert!(head.prepend(157).is_none());
/// ```
#[derive(Clone)]
pub struct Head {
    /// The bytes in front of `start` are zero.
    bytes: [u8; CAPACITY],
    start: u8,
}

impl Head {
    /// Capacity for headers, in bytes.
    pub const CAPACITY: usize = CAPACITY;

    /// Creates a head without headers.
    #[inline]
    pub const fn new() -> Self {
        Self {
            bytes: [0; CAPACITY],
            start: CAPACITY as u8,
        }
    }

    /// Adds `len` zero bytes in front of the headers and returns them to be written. Returns `None` and
    /// changes nothing if there is no room.
    #[inline]
    pub fn prepend(&mut self, len: usize) -> Option<&mut [u8]> {
        let end = usize::from(self.start);
        let start = end.checked_sub(len)?;
        self.start = start as u8;
        self.bytes.get_mut(start..end)
    }

    /// Returns the headers so far.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(usize::from(self.start)..).unwrap_or(&[])
    }

    /// Returns the headers so far, for changes in place.
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.bytes
            .get_mut(usize::from(self.start)..)
            .unwrap_or(&mut [])
    }

    /// Returns the length of the headers so far, in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        CAPACITY - usize::from(self.start)
    }

    /// Returns `true` if there are no headers yet.
    #[inline]
    pub fn is_empty(&self) -> bool {
        usize::from(self.start) == CAPACITY
    }

    /// Returns the room that is left, in bytes.
    #[inline]
    pub fn room(&self) -> usize {
        usize::from(self.start)
    }
}

impl Default for Head {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Head {}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head({:02x?})", self.as_slice())
    }
}
