//! Compaction: keeps received bytes without the large buffers in which they arrived.
//!
//! A packet arrives in a slab made for the largest packet. A payload that fills a good part of its
//! slab stays there; a short one is copied behind the previous one, so that a peer that sends byte
//! by byte cannot pin 64 KiB with each of them. While memory is short, all that does not nearly fill
//! its slab is copied.

use std::collections::VecDeque;

use packet::Payload;
use packet::buf::{Held, Memory, SMALL_SLAB_BYTES};

/// The part of a payload that was kept.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Kept {
    /// Its length, in bytes.
    pub(crate) bytes: usize,
    /// The memory that it pins in addition, in bytes.
    pub(crate) pinned: usize,
}

impl Kept {
    fn add(&mut self, queue: &mut VecDeque<Held>, held: Held) {
        self.bytes += held.len();
        self.pinned += held.pinned_bytes();
        queue.push_back(held);
    }
}

/// Appends `data` to `queue`, in place or copied. Keeps less than all of it only if there is no memory for a
/// copy, and the payload's own memory was lent for a turn.
pub(crate) fn push(queue: &mut VecDeque<Held>, data: Payload, memory: Memory<'_>) -> Kept {
    let mut kept = Kept::default();
    let mut rest = data;
    if memory.is_wasteful(&rest) {
        if let Some(tail) = queue.back_mut() {
            // A large slab at the tail may have plenty of room, but is worth more to the device.
            if tail.pinned_bytes() <= SMALL_SLAB_BYTES {
                let taken = tail.try_append(&rest);
                rest.advance(taken);
                kept.bytes += taken;
            }
        }
        let longest = if memory.is_at_ease() {
            SMALL_SLAB_BYTES
        } else {
            rest.len()
        };
        while !rest.is_empty() {
            let count = rest.len().min(longest);
            match memory.copy(rest.get(..count).unwrap_or(&[])) {
                Some(copy) if !copy.is_empty() => {
                    rest.advance(copy.len());
                    kept.add(queue, copy);
                }
                _ => break,
            }
        }
    }
    if !rest.is_empty()
        && let Ok(held) = memory.hold(rest)
    {
        kept.add(queue, held);
    }
    kept
}

#[cfg(test)]
mod tests {
    use packet::Buffers;
    use packet::buf::Account;

    use super::*;

    fn received(buffers: &Buffers, bytes: &[u8]) -> Payload {
        let mut slab = buffers.large().take().expect("slab");
        slab.as_mut_slice()[..bytes.len()].copy_from_slice(bytes);
        slab.freeze(0..bytes.len())
    }

    #[test]
    fn bytes_share_small_slabs_and_large_payloads_stay() {
        let buffers = Buffers::new(65_536, 4, 8);
        let account = Account::default();
        let mut queue = VecDeque::new();
        for i in 0..3_000u32 {
            let data = received(&buffers, &[i as u8]);
            push(&mut queue, data, buffers.charging(&account));
        }
        assert_eq!(buffers.large().in_use(), 0);
        assert_eq!(buffers.small().in_use(), 2);
        let data = received(&buffers, &[9; 20_000]);
        push(&mut queue, data, buffers.charging(&account));
        assert_eq!(buffers.large().in_use(), 1);
        let data = received(&buffers, &[8; 5_000]);
        push(&mut queue, data, buffers.charging(&account));
        assert_eq!(buffers.large().in_use(), 1);
        let all: Vec<u8> = queue.iter().flat_map(|p| p.iter().copied()).collect();
        assert_eq!(all.len(), 28_000);
        assert!((0..3_000).all(|i| all[i] == i as u8));
        assert!(all[3_000..23_000].iter().all(|b| *b == 9));
        assert!(all[23_000..].iter().all(|b| *b == 8));
    }

    #[test]
    fn without_small_slabs_nothing_is_lost() {
        let buffers = Buffers::new(65_536, 4, 1);
        let _held = buffers.small().take();
        let account = Account::default();
        let mut queue = VecDeque::new();
        let data = received(&buffers, b"abc");
        push(&mut queue, data, buffers.charging(&account));
        assert_eq!(&queue[0][..], b"abc");
    }

    /// Memory that is short is not spent on the unused part of a slab.
    #[test]
    fn under_pressure_all_that_leaves_room_is_copied() {
        let buffers = Buffers::with_limit(65_536, 1 << 20, 1);
        let (account, others) = (Account::default(), Account::default());
        let mut held: Vec<_> = std::iter::from_fn(|| others.hold(received(&buffers, b"x")).ok())
            .take(11)
            .collect();
        buffers.note_level();
        let memory = buffers.charging(&account);
        assert!(!memory.is_at_ease());
        let mut queue = VecDeque::new();
        let kept = push(&mut queue, received(&buffers, &[5; 20_000]), memory);
        assert_eq!((kept.bytes, queue.len()), (20_000, 1));
        assert!(account.pinned() < 21_000, "{account:?}");
        // What is lent is copied or refused.
        while let Some(payload) = buffers
            .copy(&[1; 60_000])
            .or_else(|| buffers.copy_exact(&[1; 500]))
        {
            held.extend(others.hold(payload));
        }
        let lent = buffers.copy_received(&[6; 30_000]).expect("the reserve");
        assert_eq!(push(&mut queue, lent, memory).bytes, 0);
        drop(held);
        let lent = buffers
            .reserve()
            .take()
            .expect("the reserve")
            .freeze(0..30_000);
        assert_eq!(push(&mut queue, lent, memory).bytes, 30_000);
        assert_eq!(buffers.reserve().in_use(), 0);
    }
}
