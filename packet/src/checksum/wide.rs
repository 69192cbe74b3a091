//! The summing loops: native-order 32-bit words into 64-bit lanes, folded at the end.

/// The one's complement sum of `bytes` as native-order 16-bit words, carries folded to 32 bits. An
/// odd last octet counts as if a zero followed.
#[inline]
pub(super) fn sum(bytes: &[u8]) -> u32 {
    fold32(sum_portable(bytes))
}

/// [`sum`] of `from`, which is copied to `to`; both are equally long.
pub(super) fn copy_and_sum(from: &[u8], to: &mut [u8]) -> u32 {
    to.copy_from_slice(from);
    sum(to)
}

#[inline]
const fn fold32(sum: u64) -> u32 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    sum as u32
}

#[inline(always)]
fn sum_portable(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut sum = 0u64;
    for word in words {
        sum += u64::from(u32::from_ne_bytes(*word));
    }
    sum + sum_tail(rest)
}

/// The last 0 to 3 octets.
#[inline(always)]
fn sum_tail(rest: &[u8]) -> u64 {
    u64::from(match *rest {
        [a] => u32::from_ne_bytes([a, 0, 0, 0]),
        [a, b] => u32::from_ne_bytes([a, b, 0, 0]),
        [a, b, c, ..] => u32::from_ne_bytes([a, b, c, 0]),
        [] => 0,
    })
}
