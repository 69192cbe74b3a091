//! The options that connections use: MSS (RFC 9293), window scale and timestamps (RFC 7323), SACK
//! (RFC 2018), and those of [`rare`](super::rare). [`TcpOptionIter`](super::TcpOptionIter) reads all others.

use super::fast_open::FastOpen;
use super::rare::{AccEcn, UserTimeout};
use super::raw::{TcpOption, kind, next, write_option};

/// The timestamps option (RFC 7323 section 3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Timestamps {
    /// Timestamp of the sender's clock.
    pub val: u32,
    /// Echo of the receiver's timestamp; valid only with the ACK flag.
    pub ecr: u32,
}

/// Largest number of blocks that fit into a header.
const MAX_SACK_BLOCKS: usize = 4;

/// Up to four selectively acknowledged ranges `(left, right)`: the first sequence number of the
/// range, and the first one after it (RFC 2018 section 3).
///
/// A SYN has no blocks, and only a SYN has a Fast Open option: they share their place, so that segments stay small.
#[derive(Clone, Copy, Default)]
pub struct SackBlocks {
    blocks: [(u32, u32); MAX_SACK_BLOCKS],
    len: u8,
    /// Zero, or the mark of a Fast Open option in `blocks`; then `len` is zero.
    fast_open: u8,
}

impl SackBlocks {
    /// Creates an empty list.
    pub const fn new() -> Self {
        Self {
            blocks: [(0, 0); MAX_SACK_BLOCKS],
            len: 0,
            fast_open: 0,
        }
    }

    fn of_fast_open(option: FastOpen) -> Self {
        let (bytes, fast_open) = option.pack();
        let mut packed = Self::new();
        let (words, _) = bytes.as_chunks::<8>();
        for (block, &[l0, l1, l2, l3, r0, r1, r2, r3]) in packed.blocks.iter_mut().zip(words) {
            *block = (
                u32::from_be_bytes([l0, l1, l2, l3]),
                u32::from_be_bytes([r0, r1, r2, r3]),
            );
        }
        packed.fast_open = fast_open;
        packed
    }

    fn fast_open(&self) -> Option<FastOpen> {
        if self.fast_open == 0 {
            return None;
        }
        let mut bytes = [0; 16];
        let (words, _) = bytes.as_chunks_mut::<8>();
        for (word, (left, right)) in words.iter_mut().zip(self.blocks) {
            *word = (u64::from(left) << 32 | u64::from(right)).to_be_bytes();
        }
        FastOpen::unpack(bytes, self.fast_open)
    }

    /// Appends a block. Returns `false` if there are four already.
    #[inline]
    pub fn push(&mut self, left: u32, right: u32) -> bool {
        match self.blocks.get_mut(usize::from(self.len)) {
            Some(slot) => {
                *slot = (left, right);
                self.len += 1;
                self.fast_open = 0;
                true
            }
            None => false,
        }
    }

    /// Returns the blocks, in the option's order.
    #[inline]
    pub fn as_slice(&self) -> &[(u32, u32)] {
        self.blocks.get(..usize::from(self.len)).unwrap_or(&[])
    }

    /// Returns the number of blocks: 0 to 4.
    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Returns `true` if there are no blocks.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl PartialEq for SackBlocks {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice() && self.fast_open() == other.fast_open()
    }
}

impl Eq for SackBlocks {}

impl core::fmt::Debug for SackBlocks {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.fast_open() {
            Some(option) => option.fmt(f),
            None => f.debug_list().entries(self.as_slice()).finish(),
        }
    }
}

/// The values of the options that connections use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcpOptions {
    /// Maximum segment size (kind 2), in bytes of payload; only on a SYN.
    pub mss: Option<u16>,
    /// Window scale (kind 3): the shift as it was sent, although RFC 7323 limits its use to 14; only on
    /// a SYN.
    pub window_scale: Option<u8>,
    /// SACK permitted (kind 4); only on a SYN.
    pub sack_permitted: bool,
    /// Timestamps (kind 8).
    pub timestamps: Option<Timestamps>,
    /// SACK blocks (kind 5). Only as many are written as fit beside the other options.
    pub sack: SackBlocks,
    /// User timeout (kind 28).
    pub user_timeout: Option<UserTimeout>,
    /// Accurate ECN (kinds 172 and 174). Written only if it fits beside the other options.
    pub acc_ecn: Option<AccEcn>,
    /// Length of the authentication option (kind 29, RFC 5925), in bytes; 0 means none. It is written last, its
    /// identifiers and code as zeros, and SACK blocks, Accurate ECN and Fast Open get the room that it leaves.
    pub authentication_len: u8,
}

/// Length of an authentication option without its code, in bytes.
const AUTHENTICATION_HEAD: u8 = 4;

/// Returns `true` if `len` is the length of a SACK option with one to four blocks, and `behind`, the
/// bytes after the length field, hold all of it.
fn is_sack_len(len: u8, behind: &[u8]) -> bool {
    matches!(len, 10 | 18 | 26 | 34) && behind.len() + 2 >= usize::from(len)
}

/// The start of the options that nearly every segment carries: two no-operations, then timestamps.
const ALIGNED_TIMESTAMPS: [u8; 4] = [kind::NOP, kind::NOP, kind::TIMESTAMPS, 10];

/// Length of these options, in bytes.
const ALIGNED_TIMESTAMPS_LEN: usize = 12;

impl TcpOptions {
    /// Parses the options of a header. If an option appears twice, the last one counts.
    ///
    /// # Errors
    /// Returns the offset within `options` at which they are malformed.
    #[inline]
    pub fn parse(options: &[u8]) -> Result<Self, usize> {
        if options.is_empty() {
            return Ok(Self::default());
        }
        if let Some((word, [v0, v1, v2, v3, e0, e1, e2, e3])) = options.split_first_chunk::<4>()
            && *word == ALIGNED_TIMESTAMPS
        {
            return Ok(Self {
                timestamps: Some(Timestamps {
                    val: u32::from_be_bytes([*v0, *v1, *v2, *v3]),
                    ecr: u32::from_be_bytes([*e0, *e1, *e2, *e3]),
                }),
                ..Self::default()
            });
        }
        Self::parse_any(options)
    }

    /// Parses options in any order. The loop reads the options that connections use itself and leaves
    /// other options, and all errors, to the parser of single options.
    #[inline(never)]
    fn parse_any(options: &[u8]) -> Result<Self, usize> {
        let mut found = Self::default();
        let mut rest = options;
        loop {
            rest = match *rest {
                [] | [kind::END, ..] => return Ok(found),
                [kind::NOP, ref behind @ ..] => behind,
                [kind::MSS, 4, high, low, ref behind @ ..] => {
                    found.mss = Some(u16::from_be_bytes([high, low]));
                    behind
                }
                [kind::WINDOW_SCALE, 3, shift, ref behind @ ..] => {
                    found.window_scale = Some(shift);
                    behind
                }
                [kind::SACK_PERMITTED, 2, ref behind @ ..] => {
                    found.sack_permitted = true;
                    behind
                }
                #[rustfmt::skip]
                [kind::TIMESTAMPS, 10, v0, v1, v2, v3, e0, e1, e2, e3, ref behind @ ..] => {
                    found.timestamps = Some(Timestamps {
                        val: u32::from_be_bytes([v0, v1, v2, v3]),
                        ecr: u32::from_be_bytes([e0, e1, e2, e3]),
                    });
                    behind
                }
                [kind::SACK, len, ref behind @ ..] if is_sack_len(len, behind) => {
                    let (data, behind) = behind.split_at(usize::from(len) - 2);
                    found.sack = SackBlocks::new();
                    let (blocks, _) = data.as_chunks::<8>();
                    for &[l0, l1, l2, l3, r0, r1, r2, r3] in blocks {
                        let left = u32::from_be_bytes([l0, l1, l2, l3]);
                        let right = u32::from_be_bytes([r0, r1, r2, r3]);
                        found.sack.push(left, right);
                    }
                    behind
                }
                _ => {
                    let at = options.len() - rest.len();
                    match next(rest).map_err(|within| at + within)? {
                        Some((option, behind)) => {
                            found.take_rare(option);
                            behind
                        }
                        None => return Ok(found),
                    }
                }
            };
        }
    }

    /// Keeps an option that few segments carry.
    fn take_rare(&mut self, option: TcpOption<'_>) {
        match option {
            TcpOption::UserTimeout { minutes, value } => {
                self.user_timeout = Some(UserTimeout { minutes, value });
            }
            TcpOption::AccEcn(counters) => self.acc_ecn = Some(counters),
            TcpOption::Authentication { code, .. } => {
                self.authentication_len = AUTHENTICATION_HEAD + code.len() as u8;
            }
            TcpOption::FastOpen(cookie) if self.sack.is_empty() => {
                self.set_fast_open(FastOpen::new(cookie));
            }
            TcpOption::FastOpenExperimental(cookie) if self.sack.is_empty() => {
                let option = FastOpen::new(cookie);
                self.set_fast_open(option.map(|option| option.with_experimental(true)));
            }
            _ => {}
        }
    }

    /// Returns the Fast Open option (kind 34, or 254 with the number of RFC 7413); only on a SYN.
    #[inline]
    pub fn fast_open(&self) -> Option<FastOpen> {
        self.sack.fast_open()
    }

    /// Sets the Fast Open option, or takes it away. It has the place of the SACK blocks, which a SYN has not: setting one
    /// takes the other away.
    pub fn set_fast_open(&mut self, option: Option<FastOpen>) {
        if let Some(option) = option {
            self.sack = SackBlocks::of_fast_open(option);
        } else if self.sack.fast_open != 0 {
            self.sack = SackBlocks::new();
        }
    }

    /// Returns the length of the Fast Open option, with the no-operations behind it, beside `used` bytes.
    #[cold]
    fn fast_open_len(&self, used: usize) -> usize {
        let len = self
            .fast_open()
            .map_or(0, |option| option.wire_len().next_multiple_of(4));
        if used + len <= self.room() { len } else { 0 }
    }

    /// Returns the length of the options on the wire, in bytes: 0 to 40, a multiple of 4.
    #[inline]
    pub fn encoded_len(&self) -> usize {
        if self.only_timestamps().is_some() {
            return ALIGNED_TIMESTAMPS_LEN;
        }
        let fixed = self.fixed_len();
        let fixed = fixed + self.sack_len(fixed);
        fixed + self.acc_ecn_len(fixed) + self.authentication_room()
    }

    /// Returns the timestamps, if there is nothing else: so it is in almost every segment.
    #[inline]
    fn only_timestamps(&self) -> Option<Timestamps> {
        let is_plain = self.mss.is_none()
            && self.window_scale.is_none()
            && !self.sack_permitted
            && self.sack.len == 0
            && self.sack.fast_open == 0
            && self.user_timeout.is_none()
            && self.acc_ecn.is_none()
            && self.authentication_len == 0;
        self.timestamps.filter(|_| is_plain)
    }

    /// Returns the length of the authentication option, with the no-operations in front of it. It is not written if it
    /// does not fit beside what must be.
    #[inline]
    fn authentication_room(&self) -> usize {
        if self.authentication_len == 0 {
            return 0;
        }
        let len = usize::from(self.authentication_len).next_multiple_of(4);
        let fits = self.authentication_len >= AUTHENTICATION_HEAD
            && self.always_len() + len <= super::MAX_OPTIONS_LEN;
        if fits { len } else { 0 }
    }

    /// Returns the room of all other options, in bytes.
    #[inline]
    fn room(&self) -> usize {
        super::MAX_OPTIONS_LEN - self.authentication_room()
    }

    /// Returns the length of the Accurate ECN option beside `used` bytes, with the no-operations in front of it.
    #[inline]
    fn acc_ecn_len(&self, used: usize) -> usize {
        let Some(counters) = &self.acc_ecn else {
            return 0;
        };
        let len = counters.len().next_multiple_of(4);
        if used + len <= self.room() { len } else { 0 }
    }

    /// Returns the length of all options but SACK blocks, Accurate ECN and authentication, in bytes.
    #[inline]
    fn fixed_len(&self) -> usize {
        let used = self.always_len();
        if self.sack.fast_open == 0 {
            used
        } else {
            used + self.fast_open_len(used)
        }
    }

    /// Returns the length of the options that are written whatever the others are, in bytes.
    #[inline]
    fn always_len(&self) -> usize {
        let mss = if self.mss.is_some() { 4 } else { 0 };
        let scale = if self.window_scale.is_some() { 4 } else { 0 };
        // SACK permitted replaces the two no-operations in front of the timestamps.
        let stamps = match (self.sack_permitted, self.timestamps.is_some()) {
            (_, true) => 12,
            (true, false) => 4,
            (false, false) => 0,
        };
        let timeout = if self.user_timeout.is_some() { 4 } else { 0 };
        mss + scale + stamps + timeout
    }

    /// Returns the length of the SACK option with the no-operations in front of it, in bytes.
    #[inline]
    fn sack_len(&self, fixed: usize) -> usize {
        match self.sack_fitting(fixed) {
            0 => 0,
            count => 4 + 8 * count,
        }
    }

    #[inline]
    fn sack_fitting(&self, fixed: usize) -> usize {
        let room = self.room().saturating_sub(fixed);
        self.sack.len().min(room.saturating_sub(4) / 8)
    }

    /// Writes the options to `out`, which is [`encoded_len`](Self::encoded_len) bytes long. Every
    /// group of options begins at a multiple of 4 bytes, with no-operations in front where needed.
    pub(super) fn write(&self, out: &mut [u8]) {
        if let Some(timestamps) = self.only_timestamps()
            && let Ok(out) = <&mut [u8; ALIGNED_TIMESTAMPS_LEN]>::try_from(&mut *out)
        {
            let [[a, b, c, d], [e, f, g, h]] =
                [timestamps.val, timestamps.ecr].map(u32::to_be_bytes);
            let [i, j, k, l] = ALIGNED_TIMESTAMPS;
            *out = [i, j, k, l, a, b, c, d, e, f, g, h];
            return;
        }
        let mut out = out;
        let mut put = |bytes: &[u8]| {
            let taken = core::mem::take(&mut out);
            match taken.split_at_mut_checked(bytes.len()) {
                Some((head, rest)) => {
                    head.copy_from_slice(bytes);
                    out = rest;
                }
                None => debug_assert!(false, "encoded_len is the length that write needs"),
            }
        };
        if let Some(mss) = self.mss {
            let [high, low] = mss.to_be_bytes();
            put(&[kind::MSS, 4, high, low]);
        }
        match (self.sack_permitted, self.timestamps.is_some()) {
            (true, _) if self.timestamps.is_none() => {
                put(&[kind::NOP, kind::NOP, kind::SACK_PERMITTED, 2]);
            }
            (true, _) => put(&[kind::SACK_PERMITTED, 2, kind::TIMESTAMPS, 10]),
            (false, true) => put(&ALIGNED_TIMESTAMPS),
            (false, false) => {}
        }
        if let Some(timestamps) = self.timestamps {
            put(&timestamps.val.to_be_bytes());
            put(&timestamps.ecr.to_be_bytes());
        }
        if let Some(shift) = self.window_scale {
            put(&[kind::NOP, kind::WINDOW_SCALE, 3, shift]);
        }
        if let Some(UserTimeout { minutes, value }) = self.user_timeout {
            let [high, low] = value.min(0x7fff).to_be_bytes();
            put(&[kind::USER_TIMEOUT, 4, high | u8::from(minutes) << 7, low]);
        }
        let fixed = self.fixed_len();
        if let Some(option) = self.fast_open() {
            let without = Self {
                sack: SackBlocks::new(),
                ..*self
            };
            let len = fixed - without.fixed_len();
            let mut padded = [kind::NOP; super::MAX_OPTIONS_LEN];
            let written = if option.is_experimental() {
                TcpOption::FastOpenExperimental(option.cookie())
            } else {
                TcpOption::FastOpen(option.cookie())
            };
            if let Some(padded) = padded.get_mut(..len) {
                write_option(written, padded);
                put(padded);
            }
        }
        let count = self.sack_fitting(fixed);
        if count > 0 {
            put(&[kind::NOP, kind::NOP, kind::SACK, 2 + 8 * count as u8]);
            for (left, right) in self.sack.as_slice().iter().take(count) {
                put(&left.to_be_bytes());
                put(&right.to_be_bytes());
            }
        }
        if let Some(counters) = self.acc_ecn {
            let len = self.acc_ecn_len(fixed + self.sack_len(fixed));
            let mut option = [kind::NOP; super::MAX_OPTIONS_LEN];
            if let Some(unpadded) = option.get_mut(len.saturating_sub(counters.len())..len) {
                write_option(TcpOption::AccEcn(counters), unpadded);
            }
            put(option.get(..len).unwrap_or(&[]));
        }
        let len = self.authentication_room();
        if len > 0 {
            let mut option = [kind::NOP; super::MAX_OPTIONS_LEN];
            let start = len - usize::from(self.authentication_len);
            if let Some(unpadded) = option.get_mut(start..len) {
                unpadded.fill(0);
                for (byte, value) in unpadded
                    .iter_mut()
                    .zip([kind::AUTHENTICATION, self.authentication_len])
                {
                    *byte = value;
                }
            }
            put(option.get(..len).unwrap_or(&[]));
        }
    }
}
