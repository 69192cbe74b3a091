//! Compaction: keeps received bytes without the large buffers in which they arrived.
//!
//! A packet arrives in a slab made for the largest packet. A payload that fills a good part of its
//! slab stays there; a short one is copied behind the previous one, so that a peer that sends byte
//! by byte cannot pin 64 KiB with each of them.

use std::collections::VecDeque;

use packet::{Buffers, Payload};

/// Length, in bytes, from which a payload keeps its slab.
const KEEP_BYTES: usize = 16 << 10;

/// A payload also keeps a slab that is at most this many times as long.
const KEEP_RATIO: usize = 3;

/// Returns true if `data` keeps its slab when it is queued.
pub(crate) fn fills_its_slab(data: &Payload) -> bool {
    data.len() >= KEEP_BYTES || data.len().saturating_mul(KEEP_RATIO) >= data.pinned_bytes()
}

/// Appends `data` to `queue`, in place or copied; returns the memory that this pins, in bytes.
/// Never fails: when the small slabs are exhausted, the payload stays in its own slab, whose number
/// is bounded, too.
pub(crate) fn push(queue: &mut VecDeque<Payload>, data: Payload, buffers: &Buffers) -> usize {
    if data.is_empty() {
        return 0;
    }
    let mut pinned = 0;
    if fills_its_slab(&data) {
        pinned += data.pinned_bytes();
        queue.push_back(data);
        return pinned;
    }
    let mut rest = data;
    if let Some(tail) = queue.back_mut() {
        // A large slab at the tail may have plenty of room, but is worth more to the device.
        if tail.pinned_bytes() <= buffers.small().slab_bytes() {
            let taken = tail.try_append(&rest);
            rest.advance(taken);
        }
    }
    while !rest.is_empty() {
        let count = rest.len().min(buffers.small().slab_bytes());
        match buffers.copy(rest.get(..count).unwrap_or(&[])) {
            Some(copy) if !copy.is_empty() => {
                rest.advance(copy.len());
                pinned += copy.pinned_bytes();
                queue.push_back(copy);
            }
            _ => {
                pinned += rest.pinned_bytes();
                queue.push_back(rest);
                break;
            }
        }
    }
    pinned
}

/// Copies `data` into small slabs, all of it or nothing.
pub(crate) fn copy_small(data: &[u8], buffers: &Buffers) -> Option<VecDeque<Payload>> {
    data.chunks(buffers.small().slab_bytes().max(1))
        .map(|part| buffers.copy(part))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(buffers: &Buffers, bytes: &[u8]) -> Payload {
        let mut slab = buffers.large().take().expect("slab");
        slab.as_mut_slice()[..bytes.len()].copy_from_slice(bytes);
        slab.freeze(0..bytes.len())
    }

    #[test]
    fn bytes_share_small_slabs_and_large_payloads_stay() {
        let buffers = Buffers::new(65_536, 4, 8);
        let mut queue = VecDeque::new();
        for i in 0..3_000u32 {
            let data = received(&buffers, &[i as u8]);
            push(&mut queue, data, &buffers);
        }
        assert_eq!(buffers.large().in_use(), 0);
        assert_eq!(buffers.small().in_use(), 2);
        let data = received(&buffers, &[9; 20_000]);
        push(&mut queue, data, &buffers);
        assert_eq!(buffers.large().in_use(), 1);
        let data = received(&buffers, &[8; 5_000]);
        push(&mut queue, data, &buffers);
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
        let mut queue = VecDeque::new();
        let data = received(&buffers, b"abc");
        push(&mut queue, data, &buffers);
        assert_eq!(&queue[0][..], b"abc");
    }
}
