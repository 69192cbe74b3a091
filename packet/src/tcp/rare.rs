//! Options that few segments carry: user timeout (RFC 5482), Fast Open (RFC 7413), authentication (RFC 5925),
//! Accurate ECN (RFC 9768). Their values own their bytes, so that they outlive the packet.

use super::raw::TcpOption;

/// The user timeout option (RFC 5482 section 3.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct UserTimeout {
    /// `true` if the timeout is in minutes, `false` if it is in seconds.
    pub minutes: bool,
    /// The timeout, 15 bits.
    pub value: u16,
}

/// Longest cookie and longest authentication code, in bytes.
const MAX_BYTES: usize = 16;

/// Up to 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Short {
    bytes: [u8; MAX_BYTES],
    len: u8,
}

impl Short {
    fn new(data: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_BYTES];
        bytes.get_mut(..data.len())?.copy_from_slice(data);
        Some(Self {
            bytes,
            len: data.len() as u8,
        })
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

/// The Fast Open option (RFC 7413 section 4.1.1): a cookie of 4 to 16 bytes, or a request for one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FastOpen(Short);

impl FastOpen {
    /// The request for a cookie.
    pub const REQUEST: Self = Self(Short {
        bytes: [0; MAX_BYTES],
        len: 0,
    });

    /// Creates the option with this cookie, or the request if it is empty. Returns `None` unless the cookie is empty
    /// or an even number of bytes from 4 to 16.
    pub fn new(cookie: &[u8]) -> Option<Self> {
        let is_valid = cookie.is_empty() || (cookie.len() >= 4 && cookie.len().is_multiple_of(2));
        Short::new(cookie).filter(|_| is_valid).map(Self)
    }

    /// Returns the cookie; empty for a request.
    pub fn cookie(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Returns the length of the option, in bytes.
    pub(super) fn len(&self) -> usize {
        2 + usize::from(self.0.len)
    }
}

impl core::fmt::Debug for FastOpen {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("FastOpen").field(&self.cookie()).finish()
    }
}

/// The authentication option (RFC 5925 section 2.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Authentication {
    /// Identifier of the key that made the code.
    pub key_id: u8,
    /// Identifier of the key that the sender is ready to receive with.
    pub next_key_id: u8,
    code: Short,
}

impl Authentication {
    /// Creates the option with this message authentication code; `None` if the code is longer than 16 bytes.
    pub fn new(key_id: u8, next_key_id: u8, code: &[u8]) -> Option<Self> {
        Short::new(code).map(|code| Self {
            key_id,
            next_key_id,
            code,
        })
    }

    /// Returns the message authentication code.
    pub fn code(&self) -> &[u8] {
        self.code.as_slice()
    }

    /// Returns the length of the option, in bytes.
    pub(super) fn len(&self) -> usize {
        4 + usize::from(self.code.len)
    }

    pub(super) fn option(&self) -> TcpOption<'_> {
        TcpOption::Authentication {
            key_id: self.key_id,
            next_key_id: self.next_key_id,
            code: self.code(),
        }
    }
}

impl core::fmt::Debug for Authentication {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Authentication({}, {})", self.key_id, self.next_key_id)
    }
}

/// Bits of a counter in the Accurate ECN option.
const FIELD_MASK: u32 = (1 << 24) - 1;
const MAX_FIELDS: usize = 3;

/// The Accurate ECN option (RFC 9768 section 3.2.3): up to three counters of payload bytes, modulo 2^24.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct AccEcn {
    /// Order 1: the counter of ECT(1) comes first, that of ECT(0) last. Order 0 is the reverse.
    ect1_first: bool,
    fields: [u32; MAX_FIELDS],
    len: u8,
}

impl AccEcn {
    /// Creates the option with the first `fields` of the counters of ECT(0), CE and ECT(1) in this order, or, with
    /// `ect1_first`, in the reverse one.
    pub fn new(ect1_first: bool, ect0: u32, ce: u32, ect1: u32, fields: usize) -> Self {
        let all = if ect1_first {
            [ect1, ce, ect0]
        } else {
            [ect0, ce, ect1]
        };
        let len = fields.min(MAX_FIELDS);
        let mut kept = [0; MAX_FIELDS];
        for (kept, field) in kept.iter_mut().zip(all).take(len) {
            *kept = field & FIELD_MASK;
        }
        Self {
            ect1_first,
            fields: kept,
            len: len as u8,
        }
    }

    /// Parses the bytes behind the length field. What is left behind whole counters is padding.
    pub(super) fn parse(ect1_first: bool, data: &[u8]) -> Self {
        let mut fields = [0; MAX_FIELDS];
        let mut len = 0;
        let (whole, _) = data.as_chunks::<3>();
        for (field, &[high, middle, low]) in fields.iter_mut().zip(whole) {
            *field = u32::from_be_bytes([0, high, middle, low]);
            len += 1;
        }
        Self {
            ect1_first,
            fields,
            len,
        }
    }

    fn field(&self, at: usize) -> Option<u32> {
        self.fields
            .get(..usize::from(self.len))
            .and_then(|fields| fields.get(at).copied())
    }

    /// Returns the counter of bytes that arrived with ECT(0), if there is one.
    pub fn ect0(&self) -> Option<u32> {
        self.field(if self.ect1_first { 2 } else { 0 })
    }

    /// Returns the counter of bytes that arrived with CE, if there is one.
    pub fn ce(&self) -> Option<u32> {
        self.field(1)
    }

    /// Returns the counter of bytes that arrived with ECT(1), if there is one.
    pub fn ect1(&self) -> Option<u32> {
        self.field(if self.ect1_first { 0 } else { 2 })
    }

    /// Returns `true` if the counter of ECT(1) comes first.
    pub fn is_ect1_first(&self) -> bool {
        self.ect1_first
    }

    /// Returns the counters in the option's order.
    pub(super) fn fields(&self) -> &[u32] {
        self.fields.get(..usize::from(self.len)).unwrap_or(&[])
    }

    /// Returns the length of the option, in bytes.
    pub(super) fn len(&self) -> usize {
        2 + 3 * usize::from(self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TcpOptions, Timestamps};
    use super::*;

    fn round_trip(options: TcpOptions) -> TcpOptions {
        let mut bytes = vec![0; options.encoded_len()];
        assert!(bytes.len() <= 40 && bytes.len().is_multiple_of(4));
        options.write(&mut bytes);
        TcpOptions::parse(&bytes).expect("valid")
    }

    #[test]
    fn each_of_them_is_read_as_it_was_written() {
        let options = TcpOptions {
            mss: Some(1_460),
            user_timeout: Some(UserTimeout {
                minutes: true,
                value: 0x7fff,
            }),
            fast_open: FastOpen::new(&[7; 8]),
            acc_ecn: Some(AccEcn::new(true, 1, 0x01ff_ffff, 3, 3)),
            ..TcpOptions::default()
        };
        let read = round_trip(options);
        assert_eq!(read, options);
        let counters = read.acc_ecn.expect("counters");
        let values = (counters.ect0(), counters.ce(), counters.ect1());
        assert_eq!(values, (Some(1), Some(0xff_ffff), Some(3)));
        let options = TcpOptions {
            timestamps: Some(Timestamps { val: 1, ecr: 2 }),
            auth: Authentication::new(61, 84, &[9; 12]),
            ..TcpOptions::default()
        };
        assert_eq!(round_trip(options), options);
        assert_eq!(options.encoded_len(), 28);
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut options = TcpOptions {
            mss: Some(1_460),
            window_scale: Some(7),
            sack_permitted: true,
            timestamps: Some(Timestamps::default()),
            auth: Authentication::new(1, 1, &[9; 12]),
            fast_open: FastOpen::new(&[7; 8]),
            acc_ecn: Some(AccEcn::new(false, 1, 2, 3, 3)),
            ..TcpOptions::default()
        };
        let read = round_trip(options);
        assert_eq!((read.auth, read.fast_open), (options.auth, None));
        assert_eq!(read.acc_ecn, None);
        options.auth = None;
        let read = round_trip(options);
        assert_eq!((read.fast_open, read.acc_ecn), (options.fast_open, None));
    }

    #[test]
    fn counters_are_read_from_any_length() {
        let read = |data: &[u8]| AccEcn::parse(false, data);
        assert_eq!(read(&[]).ect0(), None);
        assert_eq!(read(&[0, 1, 2, 9]).ect0(), Some(0x102));
        let long = read(&[0, 0, 1, 0, 0, 2, 0, 0, 3, 0, 0, 4]);
        assert_eq!((long.ce(), long.ect1()), (Some(2), Some(3)));
        assert_eq!(long.len(), 11);
    }

    #[test]
    fn a_cookie_has_an_even_length_within_bounds() {
        for len in 0..=18 {
            let valid = len == 0 || (4..=16).contains(&len) && len % 2 == 0;
            assert_eq!(FastOpen::new(&vec![1; len]).is_some(), valid, "{len}");
        }
    }
}
