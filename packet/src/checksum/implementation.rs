//! The loops that sum long pieces, one for each vector width, and the choice between them.
//!
//! Each loop is compiled for its instructions, and the widest one that the processor has is chosen
//! when the program first needs one. All of them answer the same: a test runs each that the processor
//! has over every length and offset.
//!
//! The vector loops count a 16-bit word as the signed number that is 32,768 less, for then one
//! instruction multiplies by one, adds pairs and widens; what was taken off is added at the end. A
//! lane of 32 bits is far from full after the [`MOST`] octets that go into one turn.

#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::*;

use multiversion::multiversion;
use multiversion::target::match_target;
#[cfg(target_arch = "x86_64")]
use zerocopy::transmute;

use super::fold;
use super::wide::{by_kernel, sum_short};

/// Octets after which the lanes are emptied: 32,768 words of at most 32,768 are 2^30.
#[cfg(target_arch = "x86_64")]
const MOST: usize = 65_536;

/// What the vector loops take off each word.
#[cfg(target_arch = "x86_64")]
const BIAS: i16 = i16::MIN;

/// A loop that sums long pieces.
///
/// ```
/// use packet::checksum::{self, Kernel};
///
/// let bytes = [0xa5; 1500];
/// for kernel in Kernel::ALL {
///     // `None` from a kernel that this processor has no instructions for.
///     assert!(kernel.checksum(&bytes).is_none_or(|sum| sum == checksum::of(&bytes)));
/// }
/// assert!(Kernel::chosen().checksum(&bytes).is_some());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kernel {
    /// Plain code, which every processor runs.
    Portable,
    /// 32 octets at a time: AVX2.
    Avx2,
    /// 64 octets at a time: AVX-512 with its dot products of 16-bit words (and what else multiversion
    /// wants of a processor on which wide vectors do not lower the clock).
    Avx512,
}

impl Kernel {
    /// All of them, the narrowest first.
    pub const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// The one that [`of`](super::of) and its kin use on this processor.
    pub fn chosen() -> Self {
        chosen()
    }

    /// The checksum of `bytes` by this kernel, in host order; `None` if the processor cannot run it.
    /// For tests and measurements: [`of`](super::of) chooses by itself.
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
        Some(!u16::from_be(fold(by_kernel(bytes, sum))))
    }
}

/// The sum of `bytes` as native-order words, carries not folded.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vnni", "x86_64+avx2"))]
pub(super) fn sum(bytes: &[u8]) -> u64 {
    match_target! {
        "x86_64+avx512f+avx512bw+avx512vnni" => avx512(bytes),
        "x86_64+avx2" => avx2(bytes),
        _ => portable(bytes),
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vnni", "x86_64+avx2"))]
fn chosen() -> Kernel {
    match_target! {
        "x86_64+avx512f+avx512bw+avx512vnni" => Kernel::Avx512,
        "x86_64+avx2" => Kernel::Avx2,
        _ => Kernel::Portable,
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

/// Words of 32 bits into sums of 64, as wide as the compiler makes it; the rest a word at a time.
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
    for bytes in bytes.chunks(MOST) {
        let mut lanes = [_mm512_setzero_si512(); 4];
        let mut add = |lane: usize, octets: &[u8; 64]| {
            let words: __m512i = transmute!(*octets);
            if let Some(lane) = lanes.get_mut(lane) {
                *lane = _mm512_dpwssd_epi32(*lane, _mm512_xor_si512(words, bias), one);
            }
        };
        let (blocks, rest) = bytes.as_chunks::<256>();
        for block in blocks {
            let (vectors, _) = block.as_chunks::<64>();
            for (lane, octets) in vectors.iter().enumerate() {
                add(lane, octets);
            }
        }
        let (vectors, rest) = rest.as_chunks::<64>();
        for (lane, octets) in vectors.iter().enumerate() {
            add(lane, octets);
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
    for bytes in bytes.chunks(MOST) {
        let mut lanes = [_mm256_setzero_si256(); 4];
        let mut add = |lane: usize, octets: &[u8; 32]| {
            let words: __m256i = transmute!(*octets);
            if let Some(lane) = lanes.get_mut(lane) {
                let pairs = _mm256_madd_epi16(_mm256_xor_si256(words, bias), one);
                *lane = _mm256_add_epi32(*lane, pairs);
            }
        };
        let (blocks, rest) = bytes.as_chunks::<128>();
        for block in blocks {
            let (vectors, _) = block.as_chunks::<32>();
            for (lane, octets) in vectors.iter().enumerate() {
                add(lane, octets);
            }
        }
        let (vectors, rest) = rest.as_chunks::<32>();
        for (lane, octets) in vectors.iter().enumerate() {
            add(lane, octets);
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

/// The sum of `words` words, given the sum of what is left of each when the bias was taken off.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn unbiased(sum: i32, words: usize) -> u64 {
    // At least 0: no word is less than -32,768. Words are at most half of `MOST`.
    (i64::from(sum) - i64::from(BIAS) * words as i64) as u64
}
