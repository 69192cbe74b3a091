//! The values of options that few segments carry: user timeout (RFC 5482) and Accurate ECN (RFC 9768).

/// The user timeout option (RFC 5482 section 3.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct UserTimeout {
    /// `true` if the timeout is in minutes, `false` if it is in seconds.
    pub minutes: bool,
    /// The timeout, 15 bits.
    pub value: u16,
}

/// Most counters in an Accurate ECN option.
const MAX_FIELDS: usize = 3;

/// The Accurate ECN option (RFC 9768 section 3.2.3): up to three counters of payload bytes, modulo 2^24.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct AccEcn {
    /// Order 1: the counter of ECT(1) comes first, that of ECT(0) last. Order 0 is the reverse.
    ect1_first: bool,
    /// The counters as they are on the wire, which keeps segments small.
    fields: [[u8; 3]; MAX_FIELDS],
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
        let mut kept = [[0; 3]; MAX_FIELDS];
        for (kept, field) in kept.iter_mut().zip(all).take(len) {
            let [_, low @ ..] = field.to_be_bytes();
            *kept = low;
        }
        Self {
            ect1_first,
            fields: kept,
            len: len as u8,
        }
    }

    /// Parses the bytes behind the length field. What is left behind whole counters is padding.
    pub(super) fn parse(ect1_first: bool, data: &[u8]) -> Self {
        let mut fields = [[0; 3]; MAX_FIELDS];
        let mut len = 0;
        let (whole, _) = data.as_chunks::<3>();
        for (field, counter) in fields.iter_mut().zip(whole) {
            *field = *counter;
            len += 1;
        }
        Self {
            ect1_first,
            fields,
            len,
        }
    }

    fn field(&self, at: usize) -> Option<u32> {
        let &[high, middle, low] = self.fields().get(at)?;
        Some(u32::from_be_bytes([0, high, middle, low]))
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

    /// Returns the counters as they are on the wire, in the option's order.
    pub(super) fn fields(&self) -> &[[u8; 3]] {
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
            acc_ecn: Some(AccEcn::new(true, 1, 0x01ff_ffff, 3, 3)),
            ..TcpOptions::default()
        };
        let read = round_trip(options);
        assert_eq!(read, options);
        let counters = read.acc_ecn.expect("counters");
        let values = (counters.ect0(), counters.ce(), counters.ect1());
        assert_eq!(values, (Some(1), Some(0xff_ffff), Some(3)));
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut options = TcpOptions {
            timestamps: Some(Timestamps::default()),
            user_timeout: Some(UserTimeout::default()),
            acc_ecn: Some(AccEcn::new(false, 1, 2, 3, 3)),
            ..TcpOptions::default()
        };
        options.sack.push(1, 2);
        assert_eq!(round_trip(options), options);
        options.sack.push(3, 4);
        let read = round_trip(options);
        assert_eq!((read.sack, read.acc_ecn), (options.sack, None));
        assert_eq!(read.user_timeout, options.user_timeout);
        options.sack.push(5, 6);
        assert_eq!(round_trip(options).sack.len(), 2);
    }

    #[test]
    fn an_authentication_option_is_last_and_others_get_the_room_that_it_leaves() {
        let mut options = TcpOptions {
            timestamps: Some(Timestamps::default()),
            acc_ecn: Some(AccEcn::new(false, 1, 2, 3, 3)),
            authentication_len: 16,
            ..TcpOptions::default()
        };
        assert_eq!(round_trip(options), options);
        for left in [1, 3, 5] {
            options.sack.push(left, left + 1);
        }
        let mut bytes = vec![0; options.encoded_len()];
        options.write(&mut bytes);
        assert_eq!(bytes.len(), 40);
        assert_eq!(bytes[24..], [&[29, 16][..], &[0; 14]].concat());
        let read = TcpOptions::parse(&bytes).expect("valid");
        assert_eq!((read.sack.len(), read.acc_ecn), (1, None));
        assert_eq!(read.authentication_len, 16);
        // One that cannot be, or does not fit beside what must be, is not written.
        for (mss, len) in [(None, 3), (Some(1_460), 28)] {
            let options = TcpOptions {
                mss,
                timestamps: Some(Timestamps::default()),
                authentication_len: len,
                ..TcpOptions::default()
            };
            assert_eq!(round_trip(options).authentication_len, 0);
        }
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
}
