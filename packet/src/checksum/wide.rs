//! Sums of inputs of any length: short ones a word at a time, long ones by the widest
//! [`Implementation`](super::Implementation) that the processor supports.

use super::{fold, implementation};

/// Shortest input that is worth the call of a vector loop, in bytes. Headers and small datagrams are
/// shorter.
const LONG_BYTES: usize = 128;

/// Shortest input for which aligning the loop to cache lines pays, in bytes.
const ALIGN_FROM_BYTES: usize = 4096;

/// Length of a cache line, in bytes. A load that crosses two lines costs two loads.
const CACHE_LINE_BYTES: usize = 64;

/// Number of bytes to copy before summing them, while they are still in the first-level cache.
const COPY_BLOCK_BYTES: usize = 4096;

/// Returns the one's complement sum of `bytes` as native-order 16-bit words, with the carries folded to
/// 32 bits. An odd last byte is padded with a zero.
#[inline]
pub(super) fn sum(bytes: &[u8]) -> u32 {
    fold32(if bytes.len() < LONG_BYTES {
        sum_short(bytes)
    } else {
        sum_long(bytes)
    })
}

/// Copies `from` to `to`, which is equally long, and returns its [`sum`].
pub(super) fn copy_and_sum(from: &[u8], to: &mut [u8]) -> u32 {
    let mut total = 0;
    let blocks = from.chunks(COPY_BLOCK_BYTES);
    for (from, to) in blocks.zip(to.chunks_mut(COPY_BLOCK_BYTES)) {
        // Every block but the last has an even length, so the sums add up.
        to.copy_from_slice(from);
        total += u64::from(sum(from));
    }
    fold32(total)
}

#[inline]
const fn fold32(sum: u64) -> u32 {
    let (sum, carry) = (sum as u32).overflowing_add((sum >> 32) as u32);
    sum.wrapping_add(carry as u32)
}

fn sum_long(bytes: &[u8]) -> u64 {
    sum_aligned(bytes, implementation::sum)
}

/// Sums `bytes` with `sum_loop`. If the input is long, the loop starts at the first cache line
/// boundary, and the bytes in front of it are summed separately.
pub(super) fn sum_aligned(bytes: &[u8], sum_loop: impl Fn(&[u8]) -> u64) -> u64 {
    if bytes.len() < ALIGN_FROM_BYTES {
        sum_loop(bytes)
    } else {
        sum_from_boundary(bytes, sum_loop)
    }
}

fn sum_from_boundary(bytes: &[u8], sum_loop: impl Fn(&[u8]) -> u64) -> u64 {
    let head_len = bytes.as_ptr().align_offset(CACHE_LINE_BYTES);
    let Some((head, rest)) = bytes.split_at_checked(head_len) else {
        return sum_loop(bytes);
    };
    let rest = sum_loop(rest);
    // After an odd number of bytes, the high and low byte of each word are swapped (RFC 1071
    // section 2 B).
    let rest = match head_len % 2 {
        0 => rest,
        _ => u64::from(fold(rest).swap_bytes()),
    };
    sum_short(head) + rest
}

/// Returns the sum, computed a word at a time.
#[inline(always)]
pub(super) fn sum_short(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut sum = 0;
    for word in words {
        let word = u64::from_ne_bytes(*word);
        sum += (word >> 32) + (word & 0xffff_ffff);
    }
    sum + sum_tail(rest)
}

/// Returns the sum of the last 0 to 7 bytes.
#[inline(always)]
fn sum_tail(rest: &[u8]) -> u64 {
    let (words, rest) = rest.as_chunks::<4>();
    let mut sum = 0;
    for word in words {
        sum += u64::from(u32::from_ne_bytes(*word));
    }
    sum + u64::from(match *rest {
        [a] => u32::from_ne_bytes([a, 0, 0, 0]),
        [a, b] => u32::from_ne_bytes([a, b, 0, 0]),
        [a, b, c, ..] => u32::from_ne_bytes([a, b, c, 0]),
        [] => 0,
    })
}
