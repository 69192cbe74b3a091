//! The Fast Open option (RFC 7413 section 4.1.1).

/// Largest cookie, in bytes.
const MAX_COOKIE: usize = 16;

/// Number that marks a Fast Open option among the experimental ones (RFC 6994; section 8 of RFC 7413).
pub(super) const EXPERIMENT: [u8; 2] = [0xf9, 0x89];

/// The Fast Open option: a request for a cookie, or a cookie.
///
/// ```
/// use packet::tcp::FastOpen;
///
/// assert!(FastOpen::REQUEST.cookie().is_empty());
/// assert_eq!(FastOpen::new(&[1; 8]).unwrap().cookie(), [1; 8]);
/// // Cookies are 4 to 16 bytes long, an even number.
/// assert_eq!(FastOpen::new(&[1; 5]), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FastOpen {
    bytes: [u8; MAX_COOKIE],
    len: u8,
    experimental: bool,
}

impl FastOpen {
    /// The request for a cookie.
    pub const REQUEST: Self = Self {
        bytes: [0; MAX_COOKIE],
        len: 0,
        experimental: false,
    };

    /// Creates the option with a cookie, or, if `cookie` is empty, a request for one. `None` unless a cookie may be that
    /// long.
    pub fn new(cookie: &[u8]) -> Option<Self> {
        if !cookie.is_empty() && !is_cookie(cookie) {
            return None;
        }
        let mut option = Self::REQUEST;
        option
            .bytes
            .get_mut(..cookie.len())?
            .copy_from_slice(cookie);
        option.len = cookie.len() as u8;
        Some(option)
    }

    /// Returns the same option as an experimental one (kind 254) or with the assigned kind 34. Old hosts know the former
    /// only.
    #[must_use]
    pub fn with_experimental(self, experimental: bool) -> Self {
        Self {
            experimental,
            ..self
        }
    }

    /// Returns true if the option is (or will be) an experimental one.
    pub fn is_experimental(&self) -> bool {
        self.experimental
    }

    /// Returns the cookie; empty for a request.
    pub fn cookie(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }

    /// Returns true if this is a request for a cookie.
    pub fn is_request(&self) -> bool {
        self.len == 0
    }

    /// Returns the length of the option on the wire, in bytes.
    pub(super) fn wire_len(self) -> usize {
        let fixed = if self.experimental { 4 } else { 2 };
        fixed + usize::from(self.len)
    }

    /// Packs the option for [`SackBlocks`](super::SackBlocks): cookie, and a mark that is not zero.
    pub(super) fn pack(self) -> ([u8; MAX_COOKIE], u8) {
        (
            self.bytes,
            (1 + self.len) | (u8::from(self.experimental) << 7),
        )
    }

    /// Takes an option back from where [`pack`](Self::pack) put it.
    pub(super) fn unpack(bytes: [u8; MAX_COOKIE], mark: u8) -> Option<Self> {
        let len = (mark & 0x7f).checked_sub(1)?;
        Some(Self {
            bytes,
            len,
            experimental: mark & 0x80 != 0,
        })
    }
}

impl core::fmt::Debug for FastOpen {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let name = if self.experimental {
            "FastOpenExperimental"
        } else {
            "FastOpen"
        };
        f.debug_tuple(name).field(&self.cookie()).finish()
    }
}

/// Returns true if a cookie may be that long.
pub(super) fn is_cookie(data: &[u8]) -> bool {
    (4..=MAX_COOKIE).contains(&data.len()) && data.len().is_multiple_of(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::{SackBlocks, TcpOptions};

    /// RFC 7413 section 4.1.1: on the wire and back, beside the options of a SYN.
    #[test]
    fn an_option_survives_the_wire() {
        for len in [0, 4, 6, 8, 10, 12, 14, 16] {
            for experimental in [false, true] {
                let cookie: Vec<u8> = (1..=len).collect();
                let option = FastOpen::new(&cookie).expect("a valid length");
                let option = option.with_experimental(experimental);
                let mut options = TcpOptions {
                    mss: Some(1_460),
                    window_scale: Some(7),
                    sack_permitted: true,
                    timestamps: Some(crate::tcp::Timestamps { val: 1, ecr: 2 }),
                    ..TcpOptions::default()
                };
                options.set_fast_open(Some(option));
                assert_eq!(options.fast_open(), Some(option));
                let mut bytes = [0; super::super::MAX_OPTIONS_LEN];
                let wire = &mut bytes[..options.encoded_len()];
                options.write(wire);
                assert_eq!(TcpOptions::parse(wire), Ok(options), "{option:?}");
            }
        }
    }

    #[test]
    fn a_cookie_of_no_valid_length_is_no_option() {
        for len in [1, 2, 3, 5, 7, 17, 18] {
            let mut wire = vec![34, len + 2];
            wire.extend(vec![7; usize::from(len)]);
            assert_eq!(TcpOptions::parse(&wire), Ok(TcpOptions::default()), "{len}");
        }
        // Another experiment.
        let other = [254, 8, 0, 1, 1, 2, 3, 4];
        assert_eq!(TcpOptions::parse(&other), Ok(TcpOptions::default()));
    }

    #[test]
    fn a_segment_has_blocks_or_a_cookie() {
        let mut options = TcpOptions::default();
        options.set_fast_open(FastOpen::new(&[3; 8]));
        assert!(options.sack.is_empty());
        assert!(options.sack.push(1, 2));
        assert_eq!(options.fast_open(), None);
        assert_eq!(options.sack.as_slice(), [(1, 2)]);
        options.set_fast_open(None);
        assert_eq!(options.sack.as_slice(), [(1, 2)]);
        options.set_fast_open(Some(FastOpen::REQUEST));
        assert_eq!(options.sack.as_slice(), []);
        assert_ne!(options.sack, SackBlocks::new());
    }
}
