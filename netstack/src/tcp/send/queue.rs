//! The send queue: bytes that the application wrote and the peer has not acknowledged.
//!
//! * **Define.** A [`SendQueue`] is a contiguous run of bytes, kept as slices of slabs, each with
//!   its sequence number.
//! * **Enforce.** Bytes are added only at the end and dropped only at the front.
//! * **Consume.** A segment, first sent or retransmitted, is a few reference-counted slices found by
//!   binary search: no byte is copied after `push`, nothing is allocated per segment.
//!
//! The queue does not know which bytes were sent or lost. An empty queue holds no slab.

use std::collections::VecDeque;

use bytes::Bytes;
use packet::Payload;
use packet::buf::{Held, Memory, Refused};

use crate::tcp::concat::concat;
#[cfg(any(test, feature = "invariants"))]
use crate::tcp::invariants::walk_is_due;
use crate::tcp::seq::SeqNum;
use packet::frame::{Chunks, MAX_CHUNKS};

/// Longest write, in bytes, that goes into a small slab while little is queued.
const SMALL_WRITE: usize = 2_048;

/// Longest payload, in bytes, that is copied behind the last slice if its slab has room.
const SHORT_PAYLOAD: usize = 512;

/// Queue length, in bytes, from which every write goes into large slabs: the application is faster
/// than the network, and a full super-segment should need few slices.
const BUSY_QUEUE: usize = 8_192;

/// Slots that an empty queue may keep allocated.
const IDLE_SLOTS: usize = 32;

#[derive(Debug)]
struct Chunk {
    seq: SeqNum,
    data: Held,
}

/// The queue. Its first byte is SND.UNA.
#[derive(Debug)]
pub(crate) struct SendQueue {
    chunks: VecDeque<Chunk>,
    /// The sequence number after the last byte.
    end: SeqNum,
    /// Index of the slice that was found last: most segments begin in it, or in the next one.
    found: u32,
}

impl SendQueue {
    /// Creates an empty queue whose first byte will be `start`.
    pub(crate) fn new(start: SeqNum) -> Self {
        Self {
            chunks: VecDeque::new(),
            end: start,
            found: 0,
        }
    }

    /// Returns the number of bytes queued.
    pub(crate) fn len(&self) -> usize {
        (self.end - self.start()) as usize
    }

    /// Returns the sequence number of the first byte.
    fn start(&self) -> SeqNum {
        self.chunks.front().map_or(self.end, |chunk| chunk.seq)
    }

    /// Returns the sequence number after the last byte queued, which is that of the FIN.
    pub(crate) fn end(&self) -> SeqNum {
        self.end
    }

    /// Copies as much of `data` as `room` and the memory of the flow allow; returns how much.
    pub(crate) fn push(&mut self, data: &[u8], room: usize, memory: Memory<'_>) -> usize {
        let room = room.min(memory.room(self.len()));
        let mut rest = data.get(..data.len().min(room)).unwrap_or(data);
        let wanted = rest.len();
        if let Some(tail) = self.chunks.back_mut() {
            let taken = tail.data.try_append(rest);
            self.end += taken as u32;
            rest = rest.get(taken..).unwrap_or(&[]);
        }
        while !rest.is_empty() {
            let long = rest.len() > SMALL_WRITE || self.len() >= BUSY_QUEUE;
            let slab = long
                .then(|| memory.take_long(rest.len()))
                .flatten()
                .or_else(|| memory.take_small(rest.len()));
            let Some(mut slab) = slab else {
                break;
            };
            let count = rest.len().min(slab.len());
            if let (Some(to), Some(from)) =
                (slab.as_mut_slice().get_mut(..count), rest.get(..count))
            {
                to.copy_from_slice(from);
            }
            if count == 0 || !self.hold(slab.freeze(0..count), memory) {
                break;
            }
            rest = rest.get(count..).unwrap_or(&[]);
        }
        wanted - rest.len()
    }

    /// Appends `data` without a copy, unless it is so short that a slice of its own costs more, or memory is
    /// short and `data` leaves much of its slab unused.
    ///
    /// # Errors
    /// All of `data`, if it is memory of the program and there is no more for it.
    pub(crate) fn append(&mut self, data: Payload, memory: Memory<'_>) -> Result<(), Payload> {
        if data.is_empty() {
            return Ok(());
        }
        let is_wasteful = !memory.is_at_ease() && memory.is_wasteful(&data);
        let mut held = match is_wasteful.then(|| memory.copy(&data)).flatten() {
            Some(copy) => copy,
            None => memory.hold(data).map_err(|Refused(data)| data)?,
        };
        if held.len() <= SHORT_PAYLOAD
            && let Some(tail) = self.chunks.back_mut()
        {
            let taken = tail.data.try_append(&held);
            held.advance(taken);
            self.end += taken as u32;
        }
        if !held.is_empty() {
            self.add(held);
        }
        Ok(())
    }

    /// Appends `data` as it is; false if it was lent for a turn, which memory that was taken to be written never is.
    fn hold(&mut self, data: Payload, memory: Memory<'_>) -> bool {
        match memory.hold(data) {
            Ok(held) => {
                self.add(held);
                true
            }
            Err(_) => false,
        }
    }

    fn add(&mut self, data: Held) {
        let seq = self.end;
        self.end += data.len() as u32;
        self.chunks.push_back(Chunk { seq, data });
    }

    /// Moves what leaves a part of its slab unused into memory of its own length; returns how many bytes
    /// were copied.
    pub(crate) fn compact(&mut self, memory: Memory<'_>) -> usize {
        self.chunks
            .iter_mut()
            .map(|chunk| memory.compact(&mut chunk.data))
            .sum()
    }

    /// Returns a copy of everything.
    pub(crate) fn bytes(&self) -> Bytes {
        concat(self.chunks.iter().map(|chunk| &*chunk.data))
    }

    /// Drops the bytes below `una`.
    pub(crate) fn advance(&mut self, una: SeqNum) {
        let una = una.min(self.end);
        while let Some(front) = self.chunks.front_mut() {
            if !una.after(front.seq) {
                break;
            }
            let cut = una.since(front.seq);
            if (cut as usize) < front.data.len() {
                front.data.advance(cut as usize);
                front.seq = una;
                break;
            }
            self.chunks.pop_front();
            self.found = self.found.saturating_sub(1);
        }
        if self.chunks.is_empty() && self.chunks.capacity() > IDLE_SLOTS {
            self.chunks = VecDeque::new();
        }
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        self.chunks = VecDeque::new();
    }

    /// Checks that the slices are one contiguous run.
    #[cfg(any(test, feature = "invariants"))]
    pub(crate) fn check(&self) {
        if !walk_is_due(self.chunks.len()) {
            return;
        }
        let mut at = self.start();
        for chunk in &self.chunks {
            assert!(chunk.seq == at && !chunk.data.is_empty(), "a gap");
            at += chunk.data.len() as u32;
        }
        assert_eq!(at, self.end);
    }

    /// Returns the index of the slice with the byte at `seq`; that of the last slice if that is the end.
    fn index_of(&mut self, seq: SeqNum) -> usize {
        let has = |index: u32| {
            let chunk: Option<&Chunk> = self.chunks.get(index as usize);
            chunk.is_some_and(|chunk| seq - chunk.seq < chunk.data.len() as u32)
        };
        if !has(self.found) {
            self.found = match has(self.found + 1) {
                true => self.found + 1,
                false => self.search(seq),
            };
        }
        self.found as usize
    }

    fn search(&self, seq: SeqNum) -> u32 {
        let behind = self
            .chunks
            .partition_point(|chunk| chunk.seq.at_or_before(seq));
        behind.saturating_sub(1) as u32
    }

    /// Returns how many of the `want` bytes from `seq` on fit into the slices of one segment.
    pub(crate) fn span(&mut self, seq: SeqNum, want: u32) -> u32 {
        let want = want.min(self.end.since(seq));
        let first = self.index_of(seq);
        let mut total = 0u32;
        let mut skip = 0;
        for (i, chunk) in self.chunks.range(first..).take(MAX_CHUNKS).enumerate() {
            if i == 0 {
                skip = seq.since(chunk.seq);
            }
            total = total.saturating_add(chunk.data.len() as u32);
            if total.saturating_sub(skip) >= want {
                return want;
            }
        }
        total.saturating_sub(skip)
    }

    /// Appends the `len` bytes from `seq` on to `out`, sharing the memory. `len` is at most what
    /// [`span`](Self::span) returned.
    pub(crate) fn gather(&mut self, seq: SeqNum, len: u32, out: &mut Chunks) {
        let mut at = seq;
        let mut left = len as usize;
        if left == 0 {
            return;
        }
        let first = self.index_of(seq);
        for chunk in self.chunks.range(first..) {
            let skip = at.since(chunk.seq) as usize;
            let count = chunk.data.len().saturating_sub(skip).min(left);
            if out.push(chunk.data.slice(skip..skip + count)).is_err() {
                break;
            }
            at += count as u32;
            left -= count;
            if left == 0 {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use packet::Buffers;
    use packet::buf::Account;

    use super::*;
    use crate::base::Rng;

    fn gathered(queue: &mut SendQueue, seq: SeqNum, len: u32) -> Vec<u8> {
        let mut chunks = Chunks::new();
        queue.gather(seq, len, &mut chunks);
        chunks.iter().flat_map(|c| c.iter().copied()).collect()
    }

    #[test]
    fn small_writes_share_a_slab_and_large_ones_take_large_slabs() {
        let buffers = Buffers::new(65_536, 4, 4);
        let account = Account::default();
        let mut queue = SendQueue::new(SeqNum(u32::MAX - 10));
        for _ in 0..20 {
            assert_eq!(
                queue.push(b"0123456789", 1 << 20, buffers.charging(&account)),
                10
            );
        }
        assert_eq!(buffers.small().in_use(), 1);
        assert_eq!(queue.len(), 200);
        queue.advance(SeqNum(u32::MAX - 10) + 195);
        assert_eq!(
            gathered(&mut queue, SeqNum(u32::MAX - 10) + 195, 5),
            b"56789"
        );
        queue.advance(queue.end());
        assert_eq!((queue.len(), buffers.small().in_use()), (0, 0));
        assert_eq!(
            queue.push(&[7; 5_000], 1 << 20, buffers.charging(&account)),
            5_000
        );
        assert_eq!(buffers.large().in_use(), 1);
        queue.clear();
        assert_eq!(buffers.large().in_use(), 0);
    }

    #[test]
    fn exhausted_pools_still_let_an_empty_queue_move() {
        // Room for one large slab, and for two of 2 KiB with what each of them takes beside its contents.
        let buffers = Buffers::with_limit(4_096, 4_096 + 2 * 2_048 + 3 * 128, 0);
        let _held = (buffers.large().take(), buffers.small().take());
        let account = Account::default();
        let mut queue = SendQueue::new(SeqNum(0));
        assert_eq!(
            queue.push(&[1; 10_000], 1 << 20, buffers.charging(&account)),
            SMALL_WRITE
        );
        assert_eq!(
            queue.push(&[1; 10_000], 1 << 20, buffers.charging(&account)),
            0
        );
    }

    /// A retransmission looks far in front of what was found last, and acknowledgments move all of it.
    #[test]
    fn a_place_is_found_wherever_the_last_one_was() {
        let buffers = Buffers::new(16_384, 64, 64);
        let account = Account::default();
        let base = SeqNum(u32::MAX - 2_500);
        let mut queue = SendQueue::new(base);
        for byte in 0..10 {
            let slice = Payload::from(Bytes::from(vec![byte; 1_000]));
            let appended = queue.append(slice, buffers.charging(&account));
            assert!(appended.is_ok());
        }
        for at in [9_000, 0, 999, 1_000, 5_500, 8_999, 2_000, 9_999] {
            assert_eq!(gathered(&mut queue, base + at, 1), [(at / 1_000) as u8]);
        }
        queue.advance(base + 4_500);
        for at in [9_999, 4_500, 5_000, 4_999] {
            assert_eq!(gathered(&mut queue, base + at, 1), [(at / 1_000) as u8]);
        }
        assert_eq!(queue.span(base + 4_500, 10_000), 5_500);
        queue.clear();
        assert_eq!((queue.len(), queue.span(queue.end(), 10)), (0, 0));
    }

    #[test]
    fn any_range_reads_back() {
        for seed in 0..100 {
            let mut rng = Rng::from_u64(seed);
            let buffers = Buffers::new(16_384, 64, 64);
            let base = SeqNum(rng.u32());
            let account = Account::default();
            let mut queue = SendQueue::new(base);
            let mut model: Vec<u8> = Vec::new();
            let mut acked = 0usize;
            for _ in 0..40 {
                let mut data = vec![0; 1 + rng.below(6_000) as usize];
                rng.fill(&mut data);
                let room = 100_000 - (model.len() - acked);
                let taken = queue.push(&data, room, buffers.charging(&account));
                assert!(taken <= room);
                model.extend_from_slice(&data[..taken]);
                let outstanding = (model.len() - acked) as u32;
                let from = acked as u32 + rng.below(outstanding + 1);
                let want = rng.below(20_000).min(model.len() as u32 - from);
                let span = queue.span(base + from, want);
                assert!(span <= want && (want == 0 || span > 0), "seed {seed}");
                assert_eq!(
                    gathered(&mut queue, base + from, span),
                    &model[from as usize..(from + span) as usize],
                    "seed {seed}"
                );
                acked += rng.below(outstanding + 1) as usize;
                queue.advance(base + acked as u32);
                assert_eq!(queue.len(), model.len() - acked);
            }
        }
    }
}
