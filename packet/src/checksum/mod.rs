//! The internet checksum (RFC 1071, RFC 1624).
//!
//! [`of`] and [`verify`] sum one slice. [`Checksum`] is a sum in progress, over several pieces.
//! [`update_u16`] and its siblings adjust a checksum when a field changes.
//!
//! Sums are kept in the machine's byte order, which does not change the result (RFC 1071 section 2 B).
//! Checksums, as returned by [`of`] and [`Checksum::finish`], are numbers in host order.
//!
//! ```
//! use packet::checksum::{self, Checksum};
//!
//! let words = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
//! assert_eq!(checksum::of(&words), !0xddf2);
//!
//! let mut pieces = Checksum::new();
//! pieces.add_bytes(&words[..3]);
//! pieces.add_bytes(&words[3..]);
//! assert_eq!(pieces.finish(), checksum::of(&words));
//! ```

mod implementation;
mod wide;

use core::net::IpAddr;

use zerocopy::IntoBytes;

use crate::IpProto;
use crate::ip::Ipv4Header;

pub use implementation::Implementation;

/// The device's verdict on a received packet's transport checksum.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum RxChecksum {
    /// The device did not verify the checksum, so the parser does.
    #[default]
    Unknown,
    /// The device vouches for the packet: it verified the checksum, or the packet never left this
    /// machine and its checksum field holds only a partial sum.
    Vouched,
}

/// A checksum in progress, over pieces of any length.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Checksum {
    /// The one's complement sum in native byte order, carries not folded. Every addition is below
    /// 2^32, so 2^32 of them fit.
    sum: u64,
    /// `true` if the number of bytes added is odd.
    odd: bool,
}

impl Checksum {
    /// Creates an empty sum.
    #[inline]
    pub const fn new() -> Self {
        Self { sum: 0, odd: false }
    }

    /// Appends `bytes`, also after an odd number of bytes.
    #[inline]
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        let sum = wide::sum(bytes);
        self.add_native(sum, bytes.len());
    }

    /// Appends the bytes that `piece` summed, also after an odd number of bytes.
    ///
    /// ```
    /// use packet::checksum::{self, Checksum};
    ///
    /// let (mut front, mut back, mut copy) = (Checksum::new(), Checksum::new(), [0; 4]);
    /// front.add_bytes(b"odd");
    /// back.copy_and_add(b"even", &mut copy);
    /// front.append(back);
    /// assert_eq!(front.finish(), checksum::of(b"oddeven"));
    /// ```
    #[inline]
    pub fn append(&mut self, piece: Checksum) {
        let sum = fold(piece.sum);
        self.sum += u64::from(if self.odd { sum.swap_bytes() } else { sum });
        self.odd ^= piece.odd;
    }

    /// Copies `from` to the front of `to` and appends the bytes copied to the sum. Returns the number
    /// of bytes: the length of the shorter slice.
    pub fn copy_and_add(&mut self, from: &[u8], to: &mut [u8]) -> usize {
        let len = from.len().min(to.len());
        let (Some(from), Some(to)) = (from.get(..len), to.get_mut(..len)) else {
            return 0;
        };
        let sum = wide::copy_and_sum(from, to);
        self.add_native(sum, len);
        len
    }

    #[inline]
    fn add_native(&mut self, sum: u32, len: usize) {
        let sum = if self.odd {
            u64::from(fold(u64::from(sum)).swap_bytes())
        } else {
            u64::from(sum)
        };
        self.sum += sum;
        self.odd ^= !len.is_multiple_of(2);
    }

    /// Adds a 16-bit number in host order, as if its two bytes were on the wire at an even offset.
    #[inline]
    pub fn add_u16(&mut self, number: u16) {
        self.sum += u64::from(number.to_be());
    }

    /// Adds a 32-bit number in host order, as if its four bytes were on the wire at an even offset.
    #[inline]
    pub fn add_u32(&mut self, number: u32) {
        self.sum += u64::from(number.to_be());
    }

    /// Adds the sum of a piece that starts at an even offset.
    #[inline]
    pub fn add(&mut self, other: Checksum) {
        self.sum += u64::from(fold(other.sum));
    }

    /// Returns the folded sum without the final complement, in host order. A device that finishes the
    /// checksum expects this value in the checksum field.
    #[inline]
    pub fn partial(&self) -> u16 {
        u16::from_be(fold(self.sum))
    }

    /// Returns the checksum, in host order: the complement of the folded sum.
    #[inline]
    pub fn finish(&self) -> u16 {
        !self.partial()
    }

    /// Returns `true` if the sum over the data and its checksum field is that of undamaged data.
    #[inline]
    pub fn is_valid(&self) -> bool {
        fold(self.sum) == 0xffff
    }
}

/// Folds the carries of a sum into 16 bits.
#[inline]
const fn fold(sum: u64) -> u16 {
    let (sum, carry) = (sum as u32).overflowing_add((sum >> 32) as u32);
    let sum = sum.wrapping_add(carry as u32);
    // The upper half of the result is the sum of both halves and their carry.
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}

/// Returns the checksum of `bytes`, in host order.
#[inline]
pub fn of(bytes: &[u8]) -> u16 {
    !u16::from_be(fold(u64::from(wide::sum(bytes))))
}

/// Returns `true` if the checksum field in `bytes` is right.
#[inline]
pub fn verify(bytes: &[u8]) -> bool {
    fold(u64::from(wide::sum(bytes))) == 0xffff
}

/// Verifies the checksum of an IPv4 header without options, as [`verify`] does but without a loop. The
/// header must not be all zeros, which its version rules out.
#[inline]
pub(crate) fn verify_ipv4_fixed(header: &Ipv4Header) -> bool {
    let ([first, second], rest) = header.as_bytes().as_chunks::<8>() else {
        return false;
    };
    let [a, b, c, d] = *rest else {
        return false;
    };
    let sum = add_with_carry(u64::from_ne_bytes(*first), u64::from_ne_bytes(*second));
    let sum = add_with_carry(sum, u64::from(u32::from_ne_bytes([a, b, c, d])));
    // Folding keeps the remainder modulo 0xffff. Of all sums but zero, only those with the remainder 0
    // fold to 0xffff.
    sum.is_multiple_of(0xffff)
}

/// Adds in one's complement: the carry is added to the sum.
#[inline]
const fn add_with_carry(a: u64, b: u64) -> u64 {
    let (sum, carry) = a.overflowing_add(b);
    // After a carry the sum is at most 2^64 - 2.
    sum.wrapping_add(carry as u64)
}

/// Returns the sum of the pseudo-header of TCP, UDP and ICMPv6 (RFC 9293 section 3.1, RFC 768, RFC 8200
/// section 8.1). `len` is the length of the transport header and its payload, in bytes.
#[inline]
pub fn pseudo_header(src: IpAddr, dst: IpAddr, proto: IpProto, len: u32) -> Checksum {
    let mut sum = Checksum::new();
    add_addr(&mut sum, src);
    add_addr(&mut sum, dst);
    sum.add_u32(u32::from(proto.0));
    sum.add_u32(len);
    sum
}

/// Returns `true` if the checksum of `bytes`, a transport header and its payload, is right. The checksum
/// covers the pseudo-header of `src`, `dst` and `proto` as well.
#[inline]
pub fn verify_transport(src: IpAddr, dst: IpAddr, proto: IpProto, bytes: &[u8]) -> bool {
    // An IP payload is at most 65,535 bytes long; a longer slice is never valid.
    let Ok(len) = u16::try_from(bytes.len()) else {
        return false;
    };
    is_valid_with(pseudo_header(src, dst, proto, u32::from(len)).sum, bytes)
}

/// Kept out of line so that the callers stay small where the device vouches for the checksum.
#[inline(never)]
fn is_valid_with(sum: u64, bytes: &[u8]) -> bool {
    fold(sum + u64::from(wide::sum(bytes))) == 0xffff
}

#[inline]
fn add_addr(sum: &mut Checksum, addr: IpAddr) {
    match addr {
        IpAddr::V4(addr) => sum.sum += u64::from(u32::from_ne_bytes(addr.octets())),
        IpAddr::V6(addr) => {
            let octets = addr.octets();
            let (words, _) = octets.as_chunks::<4>();
            for word in words {
                sum.sum += u64::from(u32::from_ne_bytes(*word));
            }
        }
    }
}

/// Updates `checksum` after a 16-bit field that it covers changed from `old` to `new` (RFC 1624
/// equation 3).
#[inline]
pub const fn update_u16(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(!checksum as u64 + !old as u64 + new as u64)
}

/// Updates `checksum` after a 32-bit field at an even offset changed from `old` to `new`.
#[inline]
pub const fn update_u32(checksum: u16, old: u32, new: u32) -> u16 {
    !fold(!checksum as u64 + !old as u64 + new as u64)
}

/// Updates `checksum` after bytes at an even offset changed from `old` to `new`. The slices should be
/// equally long; bytes of the longer one that have no counterpart are ignored.
pub fn update_bytes(checksum: u16, old: &[u8], new: &[u8]) -> u16 {
    let len = old.len().min(new.len());
    let (old, new) = (old.get(..len).unwrap_or(old), new.get(..len).unwrap_or(new));
    let old = u16::from_be(fold(u64::from(wide::sum(old))));
    let new = u16::from_be(fold(u64::from(wide::sum(new))));
    update_u16(checksum, old, new)
}
