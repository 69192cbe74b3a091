//! Pooled packet buffers: who may write a slab, who may read it, and when it comes back.
//!
//! * **Define.** A slab of bytes is either held by exactly one [`SlabMut`] (writable) or shared
//!   by any number of [`Payload`]s (read-only slices). A [`Pool`] never has more than its cap of
//!   slabs alive.
//! * **Enforce.** Fields are private; the only way from writable to shared is [`SlabMut::freeze`],
//!   which consumes; the last holder's drop hands the slab back; the cap is one atomic counter.
//! * **Consume.** The stack queues `Payload`s for reassembly and retransmission without a copy, and
//!   treats `None` from [`Pool::take`] as a counted drop: memory does not grow with traffic.
//!
//! Owns buffers only: it never looks into a packet and never blocks.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use crossbeam_queue::ArrayQueue;

/// One allocation of a pool. Not nameable outside: it is seen as [`SlabMut`] or [`Payload`].
struct Slab {
    bytes: Box<[u8]>,
    pool: Arc<PoolInner>,
}

impl Drop for Slab {
    fn drop(&mut self) {
        self.pool.alive.fetch_sub(1, Ordering::AcqRel);
    }
}

struct PoolInner {
    /// Slabs at rest. Every one of them is uniquely owned by the queue.
    free: ArrayQueue<Arc<Slab>>,
    slab_bytes: usize,
    max_slabs: usize,
    /// Slabs that exist, at rest or in use.
    alive: AtomicUsize,
}

/// A bounded set of equal slabs; cheap to clone, shared between threads.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<PoolInner>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("slab_bytes", &self.inner.slab_bytes)
            .field("max_slabs", &self.inner.max_slabs)
            .field("in_use", &self.in_use())
            .finish()
    }
}

impl Pool {
    /// A pool whose slabs are `slab_bytes` long, of which at most `max_slabs` exist at a time.
    /// Nothing is allocated before it is first needed.
    pub fn new(slab_bytes: usize, max_slabs: usize) -> Self {
        Self {
            inner: Arc::new(PoolInner {
                free: ArrayQueue::new(max_slabs.max(1)),
                slab_bytes,
                max_slabs,
                alive: AtomicUsize::new(0),
            }),
        }
    }

    /// A writable slab, or `None` when all of them are in use.
    pub fn take(&self) -> Option<SlabMut> {
        if let Some(slab) = self.inner.free.pop() {
            return Some(SlabMut { slab: Some(slab) });
        }
        self.inner
            .alive
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |alive| {
                (alive < self.inner.max_slabs).then_some(alive + 1)
            })
            .ok()?;
        Some(SlabMut {
            slab: Some(Arc::new(Slab {
                bytes: vec![0; self.inner.slab_bytes].into_boxed_slice(),
                pool: Arc::clone(&self.inner),
            })),
        })
    }

    /// Length of each slab, in bytes.
    pub fn slab_bytes(&self) -> usize {
        self.inner.slab_bytes
    }

    /// How many slabs may exist.
    pub fn max_slabs(&self) -> usize {
        self.inner.max_slabs
    }

    /// How many slabs are held by somebody now.
    pub fn in_use(&self) -> usize {
        self.inner
            .alive
            .load(Ordering::Acquire)
            .saturating_sub(self.inner.free.len())
    }
}

/// Gives a slab back to its pool if this was the last holder.
fn release(mut slab: Arc<Slab>) {
    // Two last holders that let go at the same moment may both see the other; then the slab is
    // freed instead of kept, and its drop lowers the count: correct, merely not recycled.
    if Arc::get_mut(&mut slab).is_some() {
        let pool = Arc::clone(&slab.pool);
        // The queue has room for every slab of the pool, so this cannot fail.
        let _ = pool.free.push(slab);
    }
}

/// A slab that only its holder can see: the one writable form.
pub struct SlabMut {
    /// `None` only after `freeze` or `drop` took it.
    slab: Option<Arc<Slab>>,
}

impl fmt::Debug for SlabMut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlabMut({})", self.len())
    }
}

impl SlabMut {
    /// All of the slab's bytes; what an earlier user wrote is still there.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        match self.slab.as_mut().and_then(Arc::get_mut) {
            Some(slab) => &mut slab.bytes,
            None => &mut [],
        }
    }

    /// All of the slab's bytes, to read.
    pub fn as_slice(&self) -> &[u8] {
        self.slab.as_ref().map_or(&[], |slab| &slab.bytes)
    }

    /// Length in bytes: the pool's slab size.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// True for a pool of zero-length slabs.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the writing: `range` of the slab as a shareable slice (clamped to the slab).
    pub fn freeze(mut self, range: Range<usize>) -> Payload {
        let len = self.len();
        let end = range.end.min(len);
        let start = range.start.min(end);
        match self.slab.take() {
            Some(slab) => Payload {
                start: start as u32,
                end: end as u32,
                repr: Repr::Slab(slab),
            },
            None => Payload::default(),
        }
    }
}

impl Drop for SlabMut {
    fn drop(&mut self) {
        if let Some(slab) = self.slab.take() {
            release(slab);
        }
    }
}

/// Two variants, so that the whole is no larger than a `Bytes`: nothing at all is an empty `Bytes`,
/// which owns no memory.
#[derive(Clone)]
enum Repr {
    Slab(Arc<Slab>),
    Bytes(Bytes),
}

impl Default for Repr {
    fn default() -> Self {
        Self::Bytes(Bytes::new())
    }
}

/// A read-only, reference-counted slice of a slab, or of memory the application brought.
///
/// Cloning and slicing copy no bytes. When the last `Payload` of a slab is dropped, the slab is
/// back in its pool.
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
            Repr::Slab(slab) => &slab.bytes,
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

    /// Memory that this payload keeps from being reused, in bytes (the whole slab).
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
        let end = self.end as usize;
        let room = slab.bytes.len() - end;
        let count = room.min(data.len());
        slab.bytes[end..end + count].copy_from_slice(&data[..count]);
        self.end += count as u32;
        count
    }
}

/// The two sizes of slab that a stack uses: one that holds the largest packet of its device, and a
/// small one into which short payloads are copied so that they do not pin a large one.
#[derive(Clone, Debug)]
pub struct Buffers {
    large: Pool,
    small: Pool,
}

/// Length of a small slab, in bytes: an Ethernet-sized packet with headers fits.
pub const SMALL_SLAB_BYTES: usize = 2048;

impl Buffers {
    /// Pools of `large_bytes` slabs and of [`SMALL_SLAB_BYTES`] slabs, each with its own cap.
    pub fn new(large_bytes: usize, max_large: usize, max_small: usize) -> Self {
        Self {
            large: Pool::new(large_bytes, max_large),
            small: Pool::new(SMALL_SLAB_BYTES, max_small),
        }
    }

    /// The pool of large slabs.
    pub fn large(&self) -> &Pool {
        &self.large
    }

    /// The pool of small slabs.
    pub fn small(&self) -> &Pool {
        &self.small
    }

    /// Copies `data` into the smallest slab that holds it; `None` when it fits no slab or the pool
    /// is exhausted.
    pub fn copy(&self, data: &[u8]) -> Option<Payload> {
        let pool = if data.len() <= self.small.slab_bytes() {
            &self.small
        } else if data.len() <= self.large.slab_bytes() {
            &self.large
        } else {
            return None;
        };
        let mut slab = pool.take()?;
        slab.as_mut_slice()[..data.len()].copy_from_slice(data);
        Some(slab.freeze(0..data.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_holder_gives_the_slab_back() {
        let pool = Pool::new(64, 1);
        let slab = pool.take().expect("first");
        assert!(pool.take().is_none(), "the cap holds");
        let one = slab.freeze(0..10);
        let two = one.slice(2..4);
        drop(one);
        assert_eq!(pool.in_use(), 1);
        drop(two);
        assert_eq!(pool.in_use(), 0);
        assert!(pool.take().is_some());
    }

    #[test]
    fn append_needs_sole_ownership() {
        let pool = Pool::new(8, 1);
        let mut slab = pool.take().expect("slab");
        slab.as_mut_slice()[..2].copy_from_slice(b"ab");
        let mut payload = slab.freeze(0..2);
        assert_eq!(payload.try_append(b"cd"), 2);
        let shared = payload.clone();
        assert_eq!(payload.try_append(b"ef"), 0);
        drop(shared);
        assert_eq!(payload.try_append(b"efghij"), 4);
        assert_eq!(&payload[..], b"abcdefgh");
    }
}
