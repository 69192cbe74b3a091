//! The shareable form of a slab, and of memory that the application brought.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::Bytes;

use super::slab::{Slab, SlabMut, release};

/// Two variants, so that the whole is no larger than a `Bytes`: nothing at all is an empty `Bytes`,
/// which owns no memory.
enum Repr {
    Slab(Arc<Slab>),
    Bytes(Bytes),
}

impl Default for Repr {
    fn default() -> Self {
        Self::Bytes(Bytes::new())
    }
}

impl Clone for Repr {
    fn clone(&self) -> Self {
        match self {
            Self::Slab(slab) => {
                slab.ghost.share();
                Self::Slab(Arc::clone(slab))
            }
            Self::Bytes(bytes) => Self::Bytes(bytes.clone()),
        }
    }
}

/// A read-only, reference-counted slice of a slab, or of memory the application brought.
///
/// Cloning and slicing copy no bytes. When the last `Payload` of a slab is dropped, the slab goes back
/// to its pool. (If the last two are dropped by two threads in the same moment, it may be freed
/// instead, and the pool makes another one when it needs it.)
#[derive(Default)]
pub struct Payload {
    repr: Repr,
    start: u32,
    end: u32,
}

impl Clone for Payload {
    fn clone(&self) -> Self {
        Self {
            repr: self.repr.clone(),
            start: self.start,
            end: self.end,
        }
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        if let Repr::Slab(slab) = std::mem::take(&mut self.repr) {
            slab.ghost.give_back_shared();
            release(slab);
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.len())
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let all: &[u8] = match &self.repr {
            Repr::Slab(slab) => {
                slab.ghost.read_shared();
                &slab.bytes
            }
            Repr::Bytes(bytes) => bytes,
        };
        all.get(self.start as usize..self.end as usize)
            .unwrap_or(&[])
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Bytes> for Payload {
    /// Zero-copy. Bytes beyond `u32::MAX` are cut off; the stack never holds that much in one piece.
    fn from(bytes: Bytes) -> Self {
        let end = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Self {
            repr: Repr::Bytes(bytes),
            start: 0,
            end,
        }
    }
}

impl From<Payload> for Bytes {
    /// Zero-copy (one small allocation for the owner's reference count).
    fn from(payload: Payload) -> Self {
        match &payload.repr {
            Repr::Bytes(bytes) => bytes.slice(payload.start as usize..payload.end as usize),
            Repr::Slab(_) => Bytes::from_owner(payload),
        }
    }
}

impl Payload {
    /// `start..end` lies within the slab.
    pub(super) fn of_slab(slab: Arc<Slab>, start: usize, end: usize) -> Self {
        Self {
            repr: Repr::Slab(slab),
            start: start as u32,
            end: end as u32,
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// True if there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// `range` of this slice, sharing the memory (clamped).
    pub fn slice(&self, range: Range<usize>) -> Payload {
        let mut part = self.clone();
        part.truncate(range.end);
        part.advance(range.start);
        part
    }

    /// Drops `count` bytes at the front (clamped).
    pub fn advance(&mut self, count: usize) {
        self.start += count.min(self.len()) as u32;
    }

    /// Keeps the first `len` bytes (no effect if shorter already).
    pub fn truncate(&mut self, len: usize) {
        self.end = self.start + len.min(self.len()) as u32;
    }

    /// Splits off and returns the first `at` bytes (clamped); `self` keeps the rest.
    pub fn split_to(&mut self, at: usize) -> Payload {
        let head = self.slice(0..at);
        self.advance(at);
        head
    }

    /// True if the memory is a slab of a pool; false if the application brought it.
    pub fn is_pooled(&self) -> bool {
        matches!(self.repr, Repr::Slab(_))
    }

    /// Memory that this payload keeps from being reused, in bytes: the whole slab. Of memory that the
    /// application brought, only the slice is known.
    pub fn pinned_bytes(&self) -> usize {
        match &self.repr {
            Repr::Slab(slab) => slab.bytes.len(),
            Repr::Bytes(bytes) => bytes.len(),
        }
    }

    /// Appends as much of `data` as fits behind this slice in its slab, if nobody else holds the
    /// slab; returns how many bytes were taken. `0` is an answer, not an error: start a new slab.
    pub fn try_append(&mut self, data: &[u8]) -> usize {
        let Repr::Slab(slab) = &mut self.repr else {
            return 0;
        };
        let Some(slab) = Arc::get_mut(slab) else {
            return 0;
        };
        slab.ghost.append();
        let Some(room) = slab.bytes.get_mut(self.end as usize..) else {
            return 0;
        };
        let count = room.len().min(data.len());
        let (Some(room), Some(data)) = (room.get_mut(..count), data.get(..count)) else {
            return 0;
        };
        room.copy_from_slice(data);
        self.end += count as u32;
        count
    }

    /// The slab as writable memory again, if it is one and nobody else holds it.
    ///
    /// # Errors
    /// The payload comes back as it was.
    pub fn into_mut(mut self) -> Result<SlabMut, Payload> {
        if let Repr::Slab(slab) = &mut self.repr
            && Arc::get_mut(slab).is_some()
            && let Repr::Slab(slab) = std::mem::take(&mut self.repr)
        {
            return Ok(SlabMut::thaw(slab));
        }
        Err(self)
    }
}
