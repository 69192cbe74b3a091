//! Read-only, shared slices of slabs and of the application's memory.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::Bytes;

use super::account::Account;
use super::own::Own;
use super::slab::{Slab, SlabMut, release};

/// A pointer: payloads are moved often.
#[derive(Default)]
enum Repr {
    /// No memory.
    #[default]
    None,
    Slab(Arc<Slab>),
    Own(Arc<Own>),
}

impl Clone for Repr {
    fn clone(&self) -> Self {
        match self {
            Self::None => Self::None,
            Self::Slab(slab) => {
                slab.entry.share();
                Self::Slab(Arc::clone(slab))
            }
            Self::Own(own) => Self::Own(Arc::clone(own)),
        }
    }
}

/// A read-only, reference-counted slice of a slab, or of memory that the application provided.
///
/// Cloning and slicing copy no bytes. When the last `Payload` of a slab is dropped, the slab goes back
/// to its pool. If two threads drop the last two at the same moment, the slab may be freed instead;
/// the pool then allocates another one when it needs it.
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
    // Most places of a list of pieces are empty, and dropped with it.
    #[inline]
    fn drop(&mut self) {
        if matches!(self.repr, Repr::Slab(_)) {
            self.give_back();
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
                slab.entry.read_shared();
                &slab.bytes
            }
            Repr::Own(own) => own.bytes(),
            Repr::None => &[],
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
    /// Wraps `bytes` without copying them, in one small allocation. A length beyond `u32::MAX` is cut off: the stack
    /// never holds that much in one piece.
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            return Self::default();
        }
        Self::of_own(Own::new(bytes))
    }
}

impl From<Payload> for Bytes {
    /// Converts without copying the bytes. A slice of a slab costs one small allocation, which holds
    /// the owner.
    fn from(payload: Payload) -> Self {
        match &payload.repr {
            Repr::None => Bytes::new(),
            Repr::Own(own) if !own.is_watched() => own
                .bytes()
                .slice(payload.start as usize..payload.end as usize),
            Repr::Own(_) | Repr::Slab(_) => Bytes::from_owner(payload),
        }
    }
}

impl Payload {
    /// Wraps `start..end` of `slab`, which must lie within it.
    pub(super) fn of_slab(slab: Arc<Slab>, start: usize, end: usize) -> Self {
        Self {
            repr: Repr::Slab(slab),
            start: start as u32,
            end: end as u32,
        }
    }

    pub(super) fn of_own(own: Own) -> Self {
        let end = u32::try_from(own.bytes().len()).unwrap_or(u32::MAX);
        Self {
            repr: Repr::Own(Arc::new(own)),
            start: 0,
            end,
        }
    }

    /// Returns the program's memory if this is all of it, and nobody else has a part.
    pub(super) fn whole_own(&mut self) -> Option<&mut Own> {
        let len = self.len();
        match &mut self.repr {
            Repr::Own(own) if own.bytes().len() == len => Arc::get_mut(own),
            _ => None,
        }
    }

    /// Passes the program's memory to `dropper` when the last slice of the result is dropped, instead of dropping it
    /// there. Returns slabs as they are.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// use bytes::Bytes;
    /// use packet::Payload;
    ///
    /// static DROPPED_BYTES: AtomicUsize = AtomicUsize::new(0);
    /// let payload = Payload::from(Bytes::from_static(b"hello"));
    /// let payload = payload.dropped_by(|bytes| {
    ///     DROPPED_BYTES.fetch_add(bytes.len(), Ordering::Relaxed);
    /// });
    /// let slice = payload.slice(0..2);
    /// drop(payload);
    /// assert_eq!(DROPPED_BYTES.load(Ordering::Relaxed), 0);
    /// drop(slice);
    /// assert_eq!(DROPPED_BYTES.load(Ordering::Relaxed), 5);
    /// ```
    pub fn dropped_by(mut self, dropper: fn(Bytes)) -> Self {
        if let Repr::Own(own) = &mut self.repr {
            if own.has_dropper() {
                return self;
            }
            if let Some(own) = Arc::get_mut(own) {
                own.set_dropper(dropper);
                return self;
            }
            // Whoever has the other slices may drop them where they like.
            let mut own = Own::new(self.into());
            own.set_dropper(dropper);
            return Self::of_own(own);
        }
        self
    }

    fn give_back(&mut self) {
        if let Repr::Slab(slab) = std::mem::take(&mut self.repr) {
            slab.entry.give_back_shared();
            release(slab);
        }
    }

    /// Returns the length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Returns `true` if the slice has no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Returns `range` of this slice, which shares the memory. The range is clamped to the slice.
    pub fn slice(&self, range: Range<usize>) -> Payload {
        let mut part = self.clone();
        part.truncate(range.end);
        part.advance(range.start);
        part
    }

    /// Removes `count` bytes from the front, or all of them if there are fewer.
    pub fn advance(&mut self, count: usize) {
        self.start += count.min(self.len()) as u32;
    }

    /// Keeps the first `len` bytes. It has no effect on a slice that is shorter.
    pub fn truncate(&mut self, len: usize) {
        self.end = self.start + len.min(self.len()) as u32;
    }

    /// Splits off and returns the first `at` bytes, or all of them if there are fewer; `self` keeps the
    /// rest.
    pub fn split_to(&mut self, at: usize) -> Payload {
        if at >= self.len() {
            return std::mem::take(self);
        }
        let head = self.slice(0..at);
        self.advance(at);
        head
    }

    /// Returns true if `next` is the slice of the same memory that begins where this one ends.
    pub fn is_continued_by(&self, next: &Self) -> bool {
        let is_same = match (&self.repr, &next.repr) {
            (Repr::Slab(own), Repr::Slab(other)) => Arc::ptr_eq(own, other),
            (Repr::Own(own), Repr::Own(other)) => Arc::ptr_eq(own, other),
            _ => false,
        };
        is_same && self.end == next.start
    }

    /// Extends this slice over `next`.
    ///
    /// ```
    /// let buffers = packet::Buffers::new(2_048, 1, 1);
    /// let mut payload = buffers.copy(b"hello").unwrap();
    /// let mut front = payload.split_to(2);
    /// front.extend_over(payload).unwrap();
    /// assert_eq!(&front[..], b"hello");
    /// ```
    ///
    /// # Errors
    /// Returns `next` if it does not continue this slice ([`Payload::is_continued_by`]).
    pub fn extend_over(&mut self, next: Self) -> Result<(), Self> {
        if !self.is_continued_by(&next) {
            return Err(next);
        }
        self.end = next.end;
        Ok(())
    }

    /// Charges the slab, if it is one, to `account` instead of the account before.
    pub(super) fn charge_to(&self, account: &Account) {
        if let Repr::Slab(slab) = &self.repr {
            slab.charge_to(account);
        }
    }

    /// Returns true if the memory is lent for one turn only, because it was received into the reserve
    /// of [`Buffers`](super::Buffers): keep a copy or drop it, but do not keep it.
    pub fn is_lent(&self) -> bool {
        matches!(&self.repr, Repr::Slab(slab) if slab.lent)
    }

    /// Returns true if the memory is a slab of a pool, false if the application provided it.
    pub fn is_pooled(&self) -> bool {
        matches!(self.repr, Repr::Slab(_))
    }

    /// Returns the number of bytes that this slice keeps from being reused: the length of the whole
    /// slab, or of the [`Bytes`] that the application provided.
    pub fn pinned_bytes(&self) -> usize {
        match &self.repr {
            Repr::Slab(slab) => slab.bytes.len(),
            Repr::Own(own) => own.bytes().len(),
            Repr::None => 0,
        }
    }

    /// Returns how many bytes of the memory that this slice pins lie in front of it.
    ///
    /// ```
    /// let buffers = packet::Buffers::new(2_048, 1, 1);
    /// let mut payload = buffers.copy(b"hello").unwrap();
    /// payload.advance(2);
    /// assert_eq!((payload.offset(), payload.pinned_bytes()), (2, 2_048));
    /// ```
    pub fn offset(&self) -> usize {
        self.start as usize
    }

    /// Appends as many of `bytes` as fit after this slice in its slab, and returns how many were
    /// appended. Returns 0 if the slab is full, if it has another holder, or if the memory is not a
    /// slab: the caller then starts a new slab.
    pub fn try_append(&mut self, bytes: &[u8]) -> usize {
        let Repr::Slab(slab) = &mut self.repr else {
            return 0;
        };
        let Some(slab) = Arc::get_mut(slab) else {
            return 0;
        };
        slab.entry.append();
        let Some(room) = slab.bytes.get_mut(self.end as usize..) else {
            return 0;
        };
        let count = room.len().min(bytes.len());
        let (Some(room), Some(bytes)) = (room.get_mut(..count), bytes.get(..count)) else {
            return 0;
        };
        room.copy_from_slice(bytes);
        self.end += count as u32;
        count
    }

    /// Converts back to a writable slab.
    ///
    /// # Errors
    /// Returns the payload unchanged if the slab has another holder or the memory is not a slab.
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
