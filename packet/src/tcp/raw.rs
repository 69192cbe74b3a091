//! Reads and writes single TCP options (IANA "TCP Option Kind Numbers").

use super::fast_open::{EXPERIMENT, is_cookie};
use super::options::{SackBlocks, Timestamps};
use super::rare::AccEcn;

/// Option kinds.
pub(super) mod kind {
    pub(crate) const END: u8 = 0;
    pub(crate) const NOP: u8 = 1;
    pub(crate) const MSS: u8 = 2;
    pub(crate) const WINDOW_SCALE: u8 = 3;
    pub(crate) const SACK_PERMITTED: u8 = 4;
    pub(crate) const SACK: u8 = 5;
    pub(crate) const TIMESTAMPS: u8 = 8;
    pub(crate) const MD5: u8 = 19;
    pub(crate) const USER_TIMEOUT: u8 = 28;
    pub(crate) const AUTHENTICATION: u8 = 29;
    pub(crate) const FAST_OPEN: u8 = 34;
    pub(crate) const ACC_ECN_0: u8 = 172;
    pub(crate) const ACC_ECN_1: u8 = 174;
    pub(crate) const EXPERIMENT: u8 = 254;
}

/// A TCP option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TcpOption<'a> {
    /// Padding of one byte (kind 1).
    Nop,
    /// Maximum segment size, in bytes (kind 2, RFC 9293 section 3.7.1).
    Mss(u16),
    /// Window scale: the shift of the window field (kind 3, RFC 7323 section 2).
    WindowScale(u8),
    /// SACK permitted (kind 4, RFC 2018).
    SackPermitted,
    /// Selective acknowledgement (kind 5, RFC 2018, RFC 2883).
    Sack(SackBlocks),
    /// Timestamps (kind 8, RFC 7323 section 3).
    Timestamps(Timestamps),
    /// User timeout (kind 28, RFC 5482).
    UserTimeout {
        /// `true` if the timeout is in minutes, `false` if it is in seconds.
        minutes: bool,
        /// The timeout, 15 bits.
        value: u16,
    },
    /// Fast Open: a request for a cookie (empty) or the cookie, 4 to 16 bytes (kind 34, RFC 7413).
    FastOpen(&'a [u8]),
    /// The same as an experimental option (kind 254), as old hosts have it.
    FastOpenExperimental(&'a [u8]),
    /// Accurate ECN (kinds 172 and 174, RFC 9768).
    AccEcn(AccEcn),
    /// MD5 signature, 16 bytes (kind 19, RFC 2385): recognised, not verified.
    Md5(&'a [u8]),
    /// Authentication (kind 29, RFC 5925): recognised, not verified.
    Authentication {
        /// Identifier of the key that made the code.
        key_id: u8,
        /// Identifier of the key that the sender is ready to receive with.
        next_key_id: u8,
        /// The message authentication code.
        code: &'a [u8],
    },
    /// Any other option.
    Unknown {
        /// Option kind.
        kind: u8,
        /// The bytes after the option's length field.
        data: &'a [u8],
    },
}

/// An iterator over the options of a header. It ends at the first malformed option; [`try_next`]
/// reports the error.
///
/// [`try_next`]: Self::try_next
///
/// ```
/// use packet::tcp::{TcpOption, TcpOptionIter};
///
/// let options = [1, 3, 3, 7, 34, 2, 0, 0];
/// let found: Vec<_> = TcpOptionIter::new(&options).collect();
/// assert_eq!(
///     found,
///     [TcpOption::Nop, TcpOption::WindowScale(7), TcpOption::FastOpen(&[])]
/// );
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TcpOptionIter<'a> {
    all: usize,
    rest: &'a [u8],
}

impl<'a> TcpOptionIter<'a> {
    /// Creates an iterator over `options`, the bytes between the fixed header and the payload.
    pub fn new(options: &'a [u8]) -> Self {
        Self {
            all: options.len(),
            rest: options,
        }
    }

    /// Returns the bytes behind the options that were read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Returns the next option, or `None` at the end.
    ///
    /// # Errors
    /// Returns the offset within the options at which they are malformed, and ends the iteration.
    pub fn try_next(&mut self) -> Result<Option<TcpOption<'a>>, usize> {
        let at = self.all - self.rest.len();
        match next(self.rest) {
            Ok(Some((option, rest))) => {
                self.rest = rest;
                Ok(Some(option))
            }
            Ok(None) => {
                self.rest = &[];
                Ok(None)
            }
            Err(within) => {
                self.rest = &[];
                Err(at + within)
            }
        }
    }
}

impl<'a> Iterator for TcpOptionIter<'a> {
    type Item = TcpOption<'a>;

    fn next(&mut self) -> Option<TcpOption<'a>> {
        self.try_next().ok().flatten()
    }
}

/// Returns the first option of `options` and the bytes after it, or the offset of the wrong byte: the
/// kind if the length is missing, the length if it fits neither the kind nor the space.
pub(super) fn next(options: &[u8]) -> Result<Option<(TcpOption<'_>, &[u8])>, usize> {
    let Some((&kind, behind_kind)) = options.split_first() else {
        return Ok(None);
    };
    match kind {
        kind::END => return Ok(None),
        kind::NOP => return Ok(Some((TcpOption::Nop, behind_kind))),
        _ => {}
    }
    let Some(&len) = behind_kind.first() else {
        return Err(0);
    };
    let Some((option, rest)) = options.split_at_checked(usize::from(len)) else {
        return Err(1);
    };
    let Some(data) = option.get(2..) else {
        return Err(1);
    };
    let option = match (kind, data) {
        (kind::MSS, &[high, low]) => TcpOption::Mss(u16::from_be_bytes([high, low])),
        (kind::WINDOW_SCALE, &[shift]) => TcpOption::WindowScale(shift),
        (kind::SACK_PERMITTED, &[]) => TcpOption::SackPermitted,
        (kind::SACK, _) => TcpOption::Sack(sack(data).ok_or(1usize)?),
        (kind::TIMESTAMPS, &[v0, v1, v2, v3, e0, e1, e2, e3]) => {
            TcpOption::Timestamps(Timestamps {
                val: u32::from_be_bytes([v0, v1, v2, v3]),
                ecr: u32::from_be_bytes([e0, e1, e2, e3]),
            })
        }
        (kind::USER_TIMEOUT, &[high, low]) => TcpOption::UserTimeout {
            minutes: high & 0x80 != 0,
            value: u16::from_be_bytes([high & 0x7f, low]),
        },
        // Options that connections do not use are ignored if their values make no sense, not refused
        // (RFC 9293 section 3.1, MUST-6). Cookies are 4 to 16 bytes long, an even number (RFC 7413
        // section 4.1.1).
        (kind::FAST_OPEN, _) if data.is_empty() || is_cookie(data) => TcpOption::FastOpen(data),
        (kind::EXPERIMENT, [n0, n1, cookie @ ..])
            if [*n0, *n1] == EXPERIMENT && (cookie.is_empty() || is_cookie(cookie)) =>
        {
            TcpOption::FastOpenExperimental(cookie)
        }
        (kind::ACC_ECN_0, _) => TcpOption::AccEcn(AccEcn::parse(false, data)),
        (kind::ACC_ECN_1, _) => TcpOption::AccEcn(AccEcn::parse(true, data)),
        (kind::MD5, _) if data.len() == 16 => TcpOption::Md5(data),
        (kind::AUTHENTICATION, &[key_id, next_key_id, ref code @ ..]) => {
            TcpOption::Authentication {
                key_id,
                next_key_id,
                code,
            }
        }
        (kind::MSS | kind::WINDOW_SCALE | kind::SACK_PERMITTED | kind::TIMESTAMPS, _) => {
            return Err(1);
        }
        _ => TcpOption::Unknown { kind, data },
    };
    Ok(Some((option, rest)))
}

/// Parses the data of a SACK option: one to four blocks.
fn sack(data: &[u8]) -> Option<SackBlocks> {
    let (blocks, []) = data.as_chunks::<8>() else {
        return None;
    };
    let mut sack = SackBlocks::new();
    for &[l0, l1, l2, l3, r0, r1, r2, r3] in blocks {
        let left = u32::from_be_bytes([l0, l1, l2, l3]);
        if !sack.push(left, u32::from_be_bytes([r0, r1, r2, r3])) {
            return None;
        }
    }
    (!sack.is_empty()).then_some(sack)
}

/// Writes one option to the front of `out`, without padding, and returns its length.
///
/// Returns `None` and leaves `out` unchanged if the option does not fit, or if its value is not valid
/// for its kind, so that [`TcpOptionIter`] would not read it back.
pub fn write_option(option: TcpOption<'_>, out: &mut [u8]) -> Option<usize> {
    let mut buffer = [0u8; super::MAX_OPTIONS_LEN];
    let mut len = 0;
    let mut put = |bytes: &[u8]| -> Option<()> {
        buffer
            .get_mut(len..)?
            .get_mut(..bytes.len())?
            .copy_from_slice(bytes);
        len += bytes.len();
        Some(())
    };
    match option {
        TcpOption::Nop => put(&[kind::NOP])?,
        TcpOption::Mss(mss) => {
            put(&[kind::MSS, 4])?;
            put(&mss.to_be_bytes())?;
        }
        TcpOption::WindowScale(shift) => put(&[kind::WINDOW_SCALE, 3, shift])?,
        TcpOption::SackPermitted => put(&[kind::SACK_PERMITTED, 2])?,
        TcpOption::Sack(sack) => {
            put(&[kind::SACK, 2 + 8 * sack.len() as u8])?;
            for (left, right) in sack.as_slice() {
                put(&left.to_be_bytes())?;
                put(&right.to_be_bytes())?;
            }
        }
        TcpOption::Timestamps(Timestamps { val, ecr }) => {
            put(&[kind::TIMESTAMPS, 10])?;
            put(&val.to_be_bytes())?;
            put(&ecr.to_be_bytes())?;
        }
        TcpOption::UserTimeout { value, .. } if value > 0x7fff => return None,
        TcpOption::UserTimeout { minutes, value } => {
            put(&[kind::USER_TIMEOUT, 4])?;
            let value = value | (u16::from(minutes) << 15);
            put(&value.to_be_bytes())?;
        }
        TcpOption::FastOpen(cookie) => {
            put(&[kind::FAST_OPEN, option_len(cookie.len())?])?;
            put(cookie)?;
        }
        TcpOption::FastOpenExperimental(cookie) => {
            put(&[kind::EXPERIMENT, option_len(cookie.len() + 2)?])?;
            put(&EXPERIMENT)?;
            put(cookie)?;
        }
        TcpOption::AccEcn(counters) => {
            let kind = if counters.is_ect1_first() {
                kind::ACC_ECN_1
            } else {
                kind::ACC_ECN_0
            };
            put(&[kind, counters.len() as u8])?;
            for field in counters.fields() {
                put(field)?;
            }
        }
        TcpOption::Md5(digest) => {
            put(&[kind::MD5, option_len(digest.len())?])?;
            put(digest)?;
        }
        TcpOption::Authentication {
            key_id,
            next_key_id,
            code,
        } => {
            let len = option_len(code.len() + 2)?;
            put(&[kind::AUTHENTICATION, len, key_id, next_key_id])?;
            put(code)?;
        }
        TcpOption::Unknown { kind, data } => {
            put(&[kind, option_len(data.len())?])?;
            put(data)?;
        }
    }
    let written = buffer.get(..len)?;
    // This refuses, for example, an `Unknown` option of a known kind.
    if next(written) != Ok(Some((option, &[]))) {
        return None;
    }
    out.get_mut(..len)?.copy_from_slice(written);
    Some(len)
}

/// Returns the value of the length field of an option with `data_len` bytes of data.
fn option_len(data_len: usize) -> Option<u8> {
    u8::try_from(data_len.checked_add(2)?)
        .ok()
        .filter(|len| usize::from(*len) <= super::MAX_OPTIONS_LEN)
}
