//! The surplus area of a UDP datagram: what lies between the end of the UDP length and the end of the IP payload, and
//! the options in it (RFC 9868).
//!
//! * **Define.** A [`Surplus`] is a surplus area whose checksum is right and whose options have lengths that fit.
//! * **Enforce.** [`Surplus::parse`] is the only constructor.
//! * **Consume.** [`Surplus::options`] needs no further check.
//!
//! The area never belongs to the payload: [`UdpView::payload`](super::UdpView::payload) ends at the UDP length,
//! whatever follows. A receiver without options ignores the area, and a malformed one is ignored by every
//! receiver.
//!
//! ```
//! use packet::udp::surplus::{Surplus, UdpOption};
//!
//! // At an even offset, of a datagram with a checksum: the option checksum, and a maximum datagram size of 1,480.
//! let area = [0xf6, 0x2d, 4, 4, 0x05, 0xc8];
//! let surplus = Surplus::parse(8, true, &area).unwrap();
//! let options: Vec<_> = surplus.options().collect();
//! assert_eq!(options, [UdpOption { kind: 4, data: &[0x05, 0xc8] }]);
//! ```

use crate::checksum::Checksum;

/// Most options other than padding that an area may have. More of them are work that a peer makes for nothing (RFC
/// 9868 section 25.3).
pub const MAX_OPTIONS: usize = 32;

/// Kinds of options.
mod kind {
    pub(super) const END: u8 = 0;
    pub(super) const NOP: u8 = 1;
    pub(super) const FRAGMENT: u8 = 3;
    /// The first kind that changes what the user data means.
    pub(super) const FIRST_UNSAFE: u8 = 192;
}

/// The reason to ignore a surplus area.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum SurplusError {
    /// It is too short for the option checksum.
    #[error("surplus area is too short for its checksum")]
    TooShort,
    /// The byte in front of the option checksum, by which that is aligned, is not zero.
    #[error("surplus area begins with a byte that is not zero")]
    Alignment,
    /// The option checksum is wrong.
    #[error("option checksum is wrong")]
    Checksum,
    /// The option checksum is missing in a datagram that has a checksum.
    #[error("option checksum is missing")]
    MissingChecksum,
    /// An option is shorter than its header or longer than the area.
    #[error("option length is below 2 or exceeds the surplus area")]
    Length,
    /// Bytes behind the end of the options are not zero.
    #[error("bytes behind the end of the options are not zero")]
    BehindEnd,
    /// There are two fragment options, or one in a datagram with user data.
    #[error("fragment option twice, or with user data")]
    Fragment,
    /// There are more than [`MAX_OPTIONS`].
    #[error("too many options")]
    TooMany,
}

/// An option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UdpOption<'a> {
    /// Its kind.
    pub kind: u8,
    /// The bytes behind its length.
    pub data: &'a [u8],
}

/// A surplus area with valid options.
#[derive(Clone, Copy, Debug)]
pub struct Surplus<'a> {
    options: &'a [u8],
    has_unsafe: bool,
}

impl<'a> Surplus<'a> {
    /// Parses `area`, the bytes behind the UDP length of a datagram whose length field is `udp_len`. `is_checked` says
    /// whether the datagram has a UDP checksum.
    ///
    /// # Errors
    /// The first fault found. The whole area is to be ignored then, and the user data to be delivered.
    pub fn parse(udp_len: u16, is_checked: bool, area: &'a [u8]) -> Result<Self, SurplusError> {
        // IP headers have an even length, so that the UDP length says where the next word begins.
        let (padding, aligned) = area
            .split_at_checked(usize::from(udp_len % 2))
            .ok_or(SurplusError::TooShort)?;
        let Some((ocs, options)) = aligned.split_first_chunk::<2>() else {
            return Err(SurplusError::TooShort);
        };
        if padding.iter().any(|byte| *byte != 0) {
            return Err(SurplusError::Alignment);
        }
        if *ocs != [0, 0] {
            let mut sum = Checksum::new();
            sum.add_bytes(aligned);
            // As long as an IP payload at most.
            sum.add_u16(area.len() as u16);
            if !sum.is_valid() {
                return Err(SurplusError::Checksum);
            }
        } else if is_checked {
            return Err(SurplusError::MissingChecksum);
        }
        let has_unsafe = check(options, usize::from(udp_len) > super::LEN)?;
        Ok(Self {
            options,
            has_unsafe,
        })
    }

    /// Returns `true` if there is an option that changes what the user data means. A receiver that does not know it drops
    /// the user data, if there is any (RFC 9868 section 12).
    pub fn has_unsafe(&self) -> bool {
        self.has_unsafe
    }

    /// Iterates over the options, without padding.
    pub fn options(&self) -> impl Iterator<Item = UdpOption<'a>> + use<'a> {
        let mut rest = self.options;
        std::iter::from_fn(move || {
            loop {
                let (step, behind) = next(rest).ok()?;
                rest = behind;
                match step {
                    Step::End => return None,
                    Step::Nop => {}
                    Step::Option(option) => return Some(option),
                }
            }
        })
    }
}

/// One step through an area of options.
enum Step<'a> {
    End,
    Nop,
    Option(UdpOption<'a>),
}

/// Reads the first option of `options`. Returns it with the bytes behind it.
fn next(options: &[u8]) -> Result<(Step<'_>, &[u8]), SurplusError> {
    let Some((&kind, behind)) = options.split_first() else {
        return Ok((Step::End, &[]));
    };
    let (header_len, len) = match (kind, behind) {
        (kind::END, _) => return Ok((Step::End, behind)),
        (kind::NOP, _) => return Ok((Step::Nop, behind)),
        (_, [255, high, low, ..]) => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        (_, [255, ..] | []) => return Err(SurplusError::Length),
        (_, [len, ..]) => (2, usize::from(*len)),
    };
    let (option, rest) = options.split_at_checked(len).ok_or(SurplusError::Length)?;
    let data = option.get(header_len..).ok_or(SurplusError::Length)?;
    Ok((Step::Option(UdpOption { kind, data }), rest))
}

/// Checks all options. Returns whether one of them is unsafe.
fn check(options: &[u8], has_user_data: bool) -> Result<bool, SurplusError> {
    let (mut rest, mut count, mut fragments, mut has_unsafe) = (options, 0, 0, false);
    loop {
        let (step, behind) = next(rest)?;
        rest = behind;
        match step {
            Step::End => break,
            Step::Nop => continue,
            Step::Option(option) => {
                fragments += usize::from(option.kind == kind::FRAGMENT);
                has_unsafe |= option.kind >= kind::FIRST_UNSAFE;
            }
        }
        count += 1;
        if count > MAX_OPTIONS {
            return Err(SurplusError::TooMany);
        }
    }
    if fragments > 1 || fragments == 1 && has_user_data {
        return Err(SurplusError::Fragment);
    }
    // A fragment's data are behind its options.
    if fragments == 0 && rest.iter().any(|byte| *byte != 0) {
        return Err(SurplusError::BehindEnd);
    }
    Ok(has_unsafe)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds an area of options behind a datagram of `udp_len` bytes, with its checksum.
    fn area(udp_len: u16, options: &[u8]) -> Vec<u8> {
        let padding = usize::from(udp_len % 2);
        let mut area = vec![0; padding + 2];
        area.extend(options);
        let mut sum = Checksum::new();
        sum.add_bytes(&area[padding..]);
        sum.add_u16(area.len() as u16);
        area[padding..padding + 2].copy_from_slice(&sum.finish().to_be_bytes());
        area
    }

    fn error(udp_len: u16, options: &[u8]) -> Option<SurplusError> {
        Surplus::parse(udp_len, true, &area(udp_len, options)).err()
    }

    #[test]
    fn options_are_read_at_even_and_odd_offsets() {
        for udp_len in [8, 9, 100, 101] {
            let area = area(udp_len, &[1, 4, 4, 5, 0xc8, 1, 200, 2, 0, 0, 0]);
            let surplus = Surplus::parse(udp_len, true, &area).expect("valid");
            let options: Vec<_> = surplus.options().collect();
            let expected = [(4, &[5, 0xc8][..]), (200, &[])];
            assert_eq!(
                options,
                expected.map(|(kind, data)| UdpOption { kind, data })
            );
            assert!(surplus.has_unsafe());
            // One byte wrong, wherever.
            for at in 0..area.len() {
                let mut damaged = area.clone();
                damaged[at] ^= 0x40;
                assert!(Surplus::parse(udp_len, true, &damaged).is_err(), "{at}");
            }
        }
    }

    #[test]
    fn the_extended_format() {
        let mut long = vec![127, 255, 1, 4];
        long.extend([7; 256]);
        let area = area(8, &long);
        let surplus = Surplus::parse(8, true, &area).expect("valid");
        let option = surplus.options().next().expect("an option");
        assert_eq!((option.kind, option.data.len()), (127, 256));
        assert!(!surplus.has_unsafe());
    }

    #[test]
    fn what_is_ignored() {
        use SurplusError::{
            Alignment, BehindEnd, Checksum, Fragment, Length, MissingChecksum, TooMany, TooShort,
        };
        let parse = |udp_len, area: &[u8]| Surplus::parse(udp_len, true, area).err();
        for (udp_len, short) in [(8, &[][..]), (8, &[0]), (9, &[]), (9, &[0, 0])] {
            assert_eq!(parse(udp_len, short), Some(TooShort));
        }
        let mut shifted = area(9, &[0, 0]);
        shifted[0] = 1;
        assert_eq!(parse(9, &shifted), Some(Alignment));
        assert_eq!(parse(8, &[1, 2, 3, 4]), Some(Checksum));
        assert_eq!(parse(8, &[0, 0, 0, 0]), Some(MissingChecksum));
        assert!(
            Surplus::parse(8, false, &[0, 0, 0, 0]).is_ok(),
            "both unused"
        );
        for options in [
            &[4][..],
            &[4, 1],
            &[4, 0],
            &[4, 5, 0, 0],
            &[4, 255],
            &[4, 255, 0],
            &[4, 255, 0, 3],
            &[4, 255, 0, 9, 0, 0],
        ] {
            assert_eq!(error(8, options), Some(Length), "{options:?}");
        }
        assert_eq!(error(8, &[0, 0, 7]), Some(BehindEnd));
        let fragment = [3, 10, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(error(8, &[&fragment[..], &[0], b"data"].concat()), None);
        assert_eq!(error(9, &fragment), Some(Fragment), "user data");
        assert_eq!(error(8, &[fragment, fragment].concat()), Some(Fragment));
        assert_eq!(error(8, &[9, 2].repeat(MAX_OPTIONS)), None);
        assert_eq!(error(8, &[9, 2].repeat(MAX_OPTIONS + 1)), Some(TooMany));
        assert_eq!(error(8, &[1; 1_000]), None, "padding costs nothing");
    }
}
