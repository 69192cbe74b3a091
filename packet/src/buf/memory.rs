//! The memory of one flow: what it takes, and what it may keep.

use super::account::{Account, Held, Refused};
use super::budget::{FLOOR_BYTES, Level};
use super::payload::Payload;
use super::slab::SlabMut;
use super::{Buffers, SMALL_SLAB_BYTES};

/// Length of a payload, in bytes, from which it keeps the slab that it came in while memory is at ease.
pub(super) const KEEP_BYTES: usize = 16 << 10;

/// A payload also keeps a slab that is at most this many times as long.
const KEEP_RATIO: usize = 3;

/// Longest payload, in bytes, that takes a small slab while memory is short: the next ones may join it there.
const JOIN_BYTES: usize = SMALL_SLAB_BYTES / 2;

/// The buffers of a stack and the account of one flow, which is charged for all that is held through it.
#[derive(Clone, Copy, Debug)]
pub struct Memory<'a> {
    buffers: &'a Buffers,
    account: &'a Account,
}

impl Buffers {
    /// Returns these buffers as the memory of one flow.
    pub fn charging<'a>(&'a self, account: &'a Account) -> Memory<'a> {
        Memory {
            buffers: self,
            account,
        }
    }
}

impl Memory<'_> {
    /// Returns the account.
    pub fn account(&self) -> &Account {
        self.account
    }

    /// Returns true while memory is at ease: nobody has to hold less.
    pub fn is_at_ease(&self) -> bool {
        self.buffers.is_at_ease()
    }

    /// Returns how many bytes the flow may queue in a direction in which it has `queued` bytes queued: up to its
    /// share of the memory, and always up to [`FLOOR_BYTES`].
    pub fn room(&self, queued: usize) -> usize {
        let floor = FLOOR_BYTES.saturating_sub(queued);
        floor.max(self.share_left())
    }

    /// Returns how many bytes the flow may hold that it could do without: up to its share of the memory, and
    /// nothing at the limit.
    pub fn spare_room(&self) -> usize {
        if self.buffers.level() == Level::Limit {
            return 0;
        }
        self.share_left()
    }

    fn share_left(&self) -> usize {
        self.buffers.share().saturating_sub(self.account.pinned())
    }

    /// Returns true if `payload` should be copied out of its slab rather than held: it leaves most of the
    /// slab unused, or memory is short and it leaves some of it unused, or the slab is lent.
    pub fn is_wasteful(&self, payload: &Payload) -> bool {
        if payload.is_lent() {
            return true;
        }
        if !payload.is_pooled() {
            return false;
        }
        let (len, pinned) = (payload.len(), payload.pinned_bytes());
        if self.is_at_ease() {
            len < KEEP_BYTES && len.saturating_mul(KEEP_RATIO) < pinned
        } else {
            len + len / 4 + SMALL_SLAB_BYTES < pinned
        }
    }

    /// Holds `payload` as it is. Memory of the program is counted from now on.
    ///
    /// # Errors
    /// The memory is lent and must be copied, or it is the program's and the budget has no more.
    pub fn hold(&self, payload: Payload) -> Result<Held, Refused> {
        let payload = self
            .buffers
            .count_own(payload, Some(self.account))
            .map_err(Refused)?;
        self.account.hold(payload)
    }

    /// Holds `payload`, as it is or in memory of a better size. Returns `None` if it is lent, and there is no
    /// memory for a copy.
    pub fn keep(&self, payload: Payload) -> Option<Held> {
        if self.is_wasteful(&payload)
            && let Some(copy) = self.copy(&payload)
        {
            return Some(copy);
        }
        self.hold(payload).ok()
    }

    /// Holds a copy of `bytes`: in a small slab if it is short, else in memory of its own length while memory
    /// is short, else in a large slab.
    pub fn copy(&self, bytes: &[u8]) -> Option<Held> {
        let at_ease = self.is_at_ease();
        let limit = if at_ease {
            SMALL_SLAB_BYTES
        } else {
            JOIN_BYTES
        };
        let small = (bytes.len() <= limit)
            .then(|| self.buffers.take_small())
            .flatten();
        let payload = match small {
            Some(slab) => super::filled(slab, bytes)?,
            None if at_ease && bytes.len() > SMALL_SLAB_BYTES => self.buffers.copy(bytes)?,
            None => self.buffers.copy_exact(bytes)?,
        };
        self.hold(payload).ok()
    }

    /// Holds a copy of `bytes` in memory of its own length.
    pub fn copy_exact(&self, bytes: &[u8]) -> Option<Held> {
        self.hold(self.buffers.copy_exact(bytes)?).ok()
    }

    /// Moves `held` into memory of its own length if it leaves a part of its slab unused. Returns the number
    /// of bytes copied.
    pub fn compact(&self, held: &mut Held) -> usize {
        let len = held.len();
        if !held.is_pooled() || len + len / 8 + 256 >= held.pinned_bytes() {
            return 0;
        }
        match self.copy_exact(held) {
            Some(copy) => {
                *held = copy;
                len
            }
            None => 0,
        }
    }

    /// Takes a small slab to write to, or memory of `bytes` if there is none.
    pub fn take_small(&self, bytes: usize) -> Option<SlabMut> {
        self.buffers
            .take_small()
            .or_else(|| self.buffers.take_exact(bytes.min(SMALL_SLAB_BYTES)))
    }

    /// Takes memory for `bytes` of a long queue: a large slab while memory is at ease, else memory of that
    /// length.
    pub fn take_long(&self, bytes: usize) -> Option<SlabMut> {
        let large = self
            .is_at_ease()
            .then(|| self.buffers.take_large())
            .flatten();
        large.or_else(|| {
            let longest = self.buffers.large().slab_bytes().max(SMALL_SLAB_BYTES);
            self.buffers.take_exact(bytes.min(longest))
        })
    }
}
