//! Sums of pieces of any length: short ones a word at a time, long ones by the processor's widest
//! [`kernel`](super::kernel).

use super::{fold, kernel};

/// Pieces below this many octets are summed without the call of a kernel: headers, small datagrams.
const LONG: usize = 128;

/// From this many octets on it pays to let the kernel begin at a multiple of [`LINE`].
const ALIGN_FROM: usize = 4096;

/// Length of a cache line, in octets: a load across two of them costs two.
const LINE: usize = 64;

/// How much is copied at a time before it is summed: it is still in the first-level cache then.
const COPY: usize = 4096;

/// The one's complement sum of `bytes` as native-order 16-bit words, carries folded to 32 bits. An
/// odd last octet counts as if a zero followed.
#[inline]
pub(super) fn sum(bytes: &[u8]) -> u32 {
    fold32(if bytes.len() < LONG {
        sum_short(bytes)
    } else {
        sum_long(bytes)
    })
}

/// [`sum`] of `from`, which is copied to `to`; both are equally long.
pub(super) fn copy_and_sum(from: &[u8], to: &mut [u8]) -> u32 {
    let mut total = 0;
    for (from, to) in from.chunks(COPY).zip(to.chunks_mut(COPY)) {
        // All but the last piece are of even length.
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
    by_kernel(bytes, kernel::sum)
}

/// The sum by `kernel`, which begins at a multiple of [`LINE`] if there is much to sum.
pub(super) fn by_kernel(bytes: &[u8], kernel: impl Fn(&[u8]) -> u64) -> u64 {
    if bytes.len() < ALIGN_FROM {
        kernel(bytes)
    } else {
        aligned(bytes, kernel)
    }
}

/// `kernel` of all octets from the first multiple of [`LINE`] on, and what is in front of it.
fn aligned(bytes: &[u8], kernel: impl Fn(&[u8]) -> u64) -> u64 {
    let head_len = bytes.as_ptr().align_offset(LINE);
    let Some((head, rest)) = bytes.split_at_checked(head_len) else {
        return kernel(bytes);
    };
    let rest = kernel(rest);
    // Behind an odd number of octets, high and low octets have changed places (RFC 1071 section 2 B).
    let rest = match head_len % 2 {
        0 => rest,
        _ => u64::from(fold(rest).swap_bytes()),
    };
    sum_short(head) + rest
}

/// A word at a time.
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

/// The last 0 to 7 octets.
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
