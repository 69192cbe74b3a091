//! The summing loops: native-order 32-bit words into 64-bit lanes, folded at the end.
//!
//! The loop is plain code which the compiler turns into vector code; it is compiled once for each
//! vector width, and the widest that the processor has is chosen when the program runs. Short
//! pieces, such as headers, are summed without that call.

use multiversion::multiversion;

/// Octets that the widest vector loop takes in one turn.
const BLOCK: usize = 128;

/// How much is copied at a time before it is summed: it is still in the first-level cache then.
const COPY: usize = 4096;

/// The one's complement sum of `bytes` as native-order 16-bit words, carries folded to 32 bits. An
/// odd last octet counts as if a zero followed.
#[inline]
pub(super) fn sum(bytes: &[u8]) -> u32 {
    fold32(if bytes.len() < BLOCK {
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

/// A word at a time, for headers.
#[inline(always)]
fn sum_short(bytes: &[u8]) -> u64 {
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

/// A plain loop that the compiler makes a vector loop of, for the length that it has no remainder
/// for, and the rest a word at a time.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2"))]
fn sum_long(bytes: &[u8]) -> u64 {
    let (whole, rest) = bytes.split_at(bytes.len() & !(BLOCK - 1));
    let (words, _) = whole.as_chunks::<4>();
    let mut sum = 0;
    for word in words {
        sum += u64::from(u32::from_ne_bytes(*word));
    }
    sum + sum_short(rest)
}
