//! The implementations of the summing loop, one for each vector width, and the choice between them.
//!
//! The program chooses the widest implementation that the processor supports when it first needs one.
//! All of them return the same sum.
//!
//! The vector loops treat a 16-bit word as a signed number by subtracting 32,768 from it ([`BIAS`]). A
//! single instruction then multiplies words by one, adds pairs and widens the sums to 32 bits. The
//! end of the loop adds what was subtracted. The 32-bit lanes cannot overflow within a block of
//! [`BLOCK_BYTES`].

#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::*;

use multiversion::multiversion;
use multiversion::target::match_target;
#[cfg(target_arch = "x86_64")]
use zerocopy::transmute;

use super::fold;
use super::wide::{sum_aligned, sum_short};

/// Number of bytes that the vector loops sum in one set of lanes: 32,768 words of at most 32,768 add up
/// to 2^30.
#[cfg(target_arch = "x86_64")]
const BLOCK_BYTES: usize = 65_536;

/// The number that is added to each word to make it signed.
#[cfg(target_arch = "x86_64")]
const BIAS: i16 = i16::MIN;

/// An implementation of the loop that sums long inputs.
///
/// ```
/// use packet::checksum::{self, Implementation};
///
/// let bytes = [0xa5; 1500];
/// for implementation in Implementation::ALL {
///     // `None` means that this processor lacks the instructions.
///     assert!(implementation.checksum(&bytes).is_none_or(|sum| sum == checksum::of(&bytes)));
/// }
/// assert!(Implementation::chosen().checksum(&bytes).is_some());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Implementation {
    /// Portable Rust, which every processor runs.
    Portable,
    /// AVX2, 32 bytes at a time.
    Avx2,
    /// AVX-512 with dot products of 16-bit words, 64 bytes at a time. It is used only on processors that
    /// do not lower their clock for such wide vectors.
    Avx512,
}

impl Implementation {
    /// All implementations, narrowest first.
    pub const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// Returns the implementation that this module uses on this processor.
    pub fn chosen() -> Self {
        chosen()
    }

    /// Computes the checksum of `bytes` with this implementation, in host order. Returns `None` if the
    /// processor lacks the instructions.
    ///
    /// This is for tests and measurements: [`of`](super::of) chooses the implementation itself.
    pub fn checksum(self, bytes: &[u8]) -> Option<u16> {
        let sum = match self {
            Self::Portable => portable,
            Self::Avx2 => {
                avx2_or_none(&[])?;
                |bytes: &[u8]| avx2_or_none(bytes).unwrap_or(0)
            }
            Self::Avx512 => {
                avx512_or_none(&[])?;
                |bytes: &[u8]| avx512_or_none(bytes).unwrap_or(0)
            }
        };
        Some(!u16::from_be(fold(sum_aligned(bytes, sum))))
    }
}

/// Returns the sum of `bytes` as native-order words, without folding the carries.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vnni", "x86_64+avx2"))]
pub(super) fn sum(bytes: &[u8]) -> u64 {
    match_target! {
        "x86_64+avx512f+avx512bw+avx512vnni" => avx512(bytes),
        "x86_64+avx2" => avx2(bytes),
        _ => portable(bytes),
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vnni", "x86_64+avx2"))]
fn chosen() -> Implementation {
    match_target! {
        "x86_64+avx512f+avx512bw+avx512vnni" => Implementation::Avx512,
        "x86_64+avx2" => Implementation::Avx2,
        _ => Implementation::Portable,
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vnni"))]
fn avx512_or_none(bytes: &[u8]) -> Option<u64> {
    match_target! {
        "x86_64+avx512f+avx512bw+avx512vnni" => Some(avx512(bytes)),
        _ => { let _ = bytes; None },
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn avx2_or_none(bytes: &[u8]) -> Option<u64> {
    match_target! {
        "x86_64+avx2" => Some(avx2(bytes)),
        _ => { let _ = bytes; None },
    }
}

/// Adds 32-bit words to a 64-bit sum, in a form that the compiler can vectorise.
#[inline(always)]
fn portable(bytes: &[u8]) -> u64 {
    let (whole, rest) = bytes.split_at(bytes.len() & !127);
    let (words, _) = whole.as_chunks::<4>();
    let mut sum = 0;
    for word in words {
        sum += u64::from(u32::from_ne_bytes(*word));
    }
    sum + sum_short(rest)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn avx512(bytes: &[u8]) -> u64 {
    let (bias, one) = (_mm512_set1_epi16(BIAS), _mm512_set1_epi16(1));
    let mut total = 0;
    for bytes in bytes.chunks(BLOCK_BYTES) {
        let mut lanes = [_mm512_setzero_si512(); 4];
        let mut add = |lane: usize, vector: &[u8; 64]| {
            let words: __m512i = transmute!(*vector);
            if let Some(lane) = lanes.get_mut(lane) {
                *lane = _mm512_dpwssd_epi32(*lane, _mm512_xor_si512(words, bias), one);
            }
        };
        let (blocks, rest) = bytes.as_chunks::<256>();
        for block in blocks {
            let (vectors, _) = block.as_chunks::<64>();
            for (lane, vector) in vectors.iter().enumerate() {
                add(lane, vector);
            }
        }
        let (vectors, rest) = rest.as_chunks::<64>();
        for (lane, vector) in vectors.iter().enumerate() {
            add(lane, vector);
        }
        let [a, b, c, d] = lanes;
        let all = _mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d));
        let words = (bytes.len() - rest.len()) / 2;
        total += unbiased(_mm512_reduce_add_epi32(all), words) + sum_short(rest);
    }
    total
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(bytes: &[u8]) -> u64 {
    let (bias, one) = (_mm256_set1_epi16(BIAS), _mm256_set1_epi16(1));
    let mut total = 0;
    for bytes in bytes.chunks(BLOCK_BYTES) {
        let mut lanes = [_mm256_setzero_si256(); 4];
        let mut add = |lane: usize, vector: &[u8; 32]| {
            let words: __m256i = transmute!(*vector);
            if let Some(lane) = lanes.get_mut(lane) {
                let pairs = _mm256_madd_epi16(_mm256_xor_si256(words, bias), one);
                *lane = _mm256_add_epi32(*lane, pairs);
            }
        };
        let (blocks, rest) = bytes.as_chunks::<128>();
        for block in blocks {
            let (vectors, _) = block.as_chunks::<32>();
            for (lane, vector) in vectors.iter().enumerate() {
                add(lane, vector);
            }
        }
        let (vectors, rest) = rest.as_chunks::<32>();
        for (lane, vector) in vectors.iter().enumerate() {
            add(lane, vector);
        }
        let [a, b, c, d] = lanes;
        let all = _mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d));
        let half = _mm_add_epi32(
            _mm256_castsi256_si128(all),
            _mm256_extracti128_si256(all, 1),
        );
        let quarter = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0b01_00_11_10));
        let one = _mm_add_epi32(quarter, _mm_shuffle_epi32(quarter, 0b10_11_00_01));
        let words = (bytes.len() - rest.len()) / 2;
        total += unbiased(_mm_cvtsi128_si32(one), words) + sum_short(rest);
    }
    total
}

/// Returns the sum of `words` words, given the sum of the same words as signed numbers.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn unbiased(sum: i32, words: usize) -> u64 {
    // Not negative, because no signed word is below -32,768. At most `BLOCK_BYTES / 2` words.
    (i64::from(sum) - i64::from(BIAS) * words as i64) as u64
}
