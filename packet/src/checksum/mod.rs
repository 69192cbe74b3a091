//! The internet checksum (RFC 1071, RFC 1624): sums in wide words, over pieces, updated in place.
//!
//! Sums are kept in the machine's own byte order, which the one's complement sum does not mind
//! (RFC 1071 section 2 B); only [`Checksum::finish`] and [`Checksum::partial`] speak of numbers as
//! they are on the wire.
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

mod kernel;
mod wide;

use core::net::IpAddr;

use zerocopy::IntoBytes;

use crate::IpProto;
use crate::ip::Ipv4Header;

pub use kernel::Kernel;

/// What the device said about a received packet's transport checksum.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum RxChecksum {
    /// Nothing: it is to be verified.
    #[default]
    Unknown,
    /// The device vouches for it: it was verified below, or the packet never left this machine and
    /// its checksum field holds only a partial sum.
    Vouched,
}

/// A sum in the making, over pieces of any length in order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Checksum {
    /// One's complement sum in native byte order, carries not folded. Every addition is below
    /// 2^32, so 2^32 of them fit.
    sum: u64,
    /// Whether an odd number of octets was added.
    odd: bool,
}

impl Checksum {
    /// The sum of nothing.
    #[inline]
    pub const fn new() -> Self {
        Self { sum: 0, odd: false }
    }

    /// Adds `bytes` behind what was added before, at odd offsets too.
    #[inline]
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        let sum = wide::sum(bytes);
        self.add_native(sum, bytes.len());
    }

    /// Adds what `piece` summed up, behind what was added before, at odd offsets too.
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

    /// Copies `from` to the front of `to` and adds it; answers how many octets that were (the
    /// shorter of both).
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

    /// Adds a 16-bit number, given in host order, as if its two octets were on the wire at an even
    /// offset.
    #[inline]
    pub fn add_u16(&mut self, number: u16) {
        self.sum += u64::from(number.to_be());
    }

    /// Adds a 32-bit number, given in host order, as if it were on the wire at an even offset.
    #[inline]
    pub fn add_u32(&mut self, number: u32) {
        self.sum += u64::from(number.to_be());
    }

    /// Adds the sum of another piece that began at an even offset.
    #[inline]
    pub fn add(&mut self, other: Checksum) {
        self.sum += u64::from(fold(other.sum));
    }

    /// The folded sum without the final complement, in host order: what an offloading device wants
    /// to find in the checksum field.
    #[inline]
    pub fn partial(&self) -> u16 {
        u16::from_be(fold(self.sum))
    }

    /// The checksum, in host order: the complement of the folded sum.
    #[inline]
    pub fn finish(&self) -> u16 {
        !self.partial()
    }

    /// Whether the sum says that nothing was damaged, its checksum field having been added as it was.
    #[inline]
    pub fn is_valid(&self) -> bool {
        fold(self.sum) == 0xffff
    }
}

/// Folds the carries in: halves added with their carry, twice.
#[inline]
const fn fold(sum: u64) -> u16 {
    let (sum, carry) = (sum as u32).overflowing_add((sum >> 32) as u32);
    let sum = sum.wrapping_add(carry as u32);
    // The upper half of this is the sum of both halves and its carry.
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}

/// The checksum of `bytes`, in host order.
#[inline]
pub fn of(bytes: &[u8]) -> u16 {
    !u16::from_be(fold(u64::from(wide::sum(bytes))))
}

/// Whether `bytes`, checksum field included, sum up as they should.
#[inline]
pub fn verify(bytes: &[u8]) -> bool {
    fold(u64::from(wide::sum(bytes))) == 0xffff
}

/// [`verify`] for an IPv4 header without options: two long words and a short one, no loop. It is not
/// all zeros: its version is not.
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
    // Folding keeps the remainder, and of all sums but zero only those of remainder 0 fold to 0xffff.
    sum.is_multiple_of(0xffff)
}

/// One's complement addition: the carry comes back in.
#[inline]
const fn add_with_carry(a: u64, b: u64) -> u64 {
    let (sum, carry) = a.overflowing_add(b);
    // After a carry the sum is at most 2^64 - 2.
    sum.wrapping_add(carry as u64)
}

/// The sum of the pseudo-header that TCP, UDP and ICMPv6 put in front (RFC 9293 section 3.1,
/// RFC 768, RFC 8200 section 8.1). `len` is that of the transport header and payload, in octets.
#[inline]
pub fn pseudo_header(src: IpAddr, dst: IpAddr, proto: IpProto, len: u32) -> Checksum {
    let mut sum = Checksum::new();
    add_addr(&mut sum, src);
    add_addr(&mut sum, dst);
    sum.add_u32(u32::from(proto.0));
    sum.add_u32(len);
    sum
}

/// Whether `bytes`, a transport header and its payload, sum up as they should together with the
/// pseudo-header.
#[inline]
pub fn verify_transport(src: IpAddr, dst: IpAddr, proto: IpProto, bytes: &[u8]) -> bool {
    // An IP payload is at most 65,535 octets long; of a longer slice no checksum is right.
    let Ok(len) = u16::try_from(bytes.len()) else {
        return false;
    };
    is_valid_with(pseudo_header(src, dst, proto, u32::from(len)).sum, bytes)
}

/// Out of line, so that what calls it stays small where the device vouches.
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

/// The checksum after a 16-bit field that it covers went from `old` to `new` (RFC 1624 equation 3).
#[inline]
pub const fn update_u16(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(!checksum as u64 + !old as u64 + new as u64)
}

/// The checksum after a 32-bit field at an even offset went from `old` to `new`.
#[inline]
pub const fn update_u32(checksum: u16, old: u32, new: u32) -> u16 {
    !fold(!checksum as u64 + !old as u64 + new as u64)
}

/// The checksum after octets at an even offset went from `old` to `new`, which are equally long.
/// Of unequal lengths, only the common part counts.
pub fn update_bytes(checksum: u16, old: &[u8], new: &[u8]) -> u16 {
    let len = old.len().min(new.len());
    let (old, new) = (old.get(..len).unwrap_or(old), new.get(..len).unwrap_or(new));
    let old = u16::from_be(fold(u64::from(wide::sum(old))));
    let new = u16::from_be(fold(u64::from(wide::sum(new))));
    update_u16(checksum, old, new)
}
