//! Fragmentation: the ranges of a datagram's fragments, and their identification.
//!
//! [`super::send`] builds packets from these plans.
//!
//! * **Define.** The fragments of a [`FragmentPlan`] cover the datagram without gap or overlap (RFC 5722),
//!   all but the last are multiples of 8 bytes, and none exceeds the MTU.
//! * **Enforce.** [`FragmentPlan::new`] is the only constructor, and the iterator the only reader.
//! * **Consume.** The sender builds each fragment without checking its range again.
//!
//! Sections: RFC 791 section 3.2, RFC 8200 section 4.5, RFC 6864 section 4, RFC 7739 section 5.

use core::net::IpAddr;
use core::ops::Range;

use super::key::HashKey;
use crate::base::Rng;

/// Length of the IPv4 header without options, in bytes.
pub const IPV4_HEADER: usize = 20;
/// Length of the fixed IPv6 header, in bytes.
pub const IPV6_HEADER: usize = 40;
/// Length of the IPv6 fragment header, in bytes.
pub const FRAGMENT_HEADER: usize = 8;

/// The reason why a datagram cannot be fragmented.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FragmentError {
    /// The transport header and payload, of this many bytes, exceed IP's length field.
    #[error("{0} bytes do not fit in an IP datagram: send less")]
    TooLong(usize),
    /// The MTU leaves no room for 8 bytes of a fragment.
    #[error("an MTU of {0} bytes has no room for a fragment: raise it")]
    MtuTooSmall(u16),
}

/// One fragment of a plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FragmentPart {
    /// Range of the datagram (transport header and payload) in the fragment. The start is the fragment
    /// offset in bytes, a multiple of 8.
    pub range: Range<usize>,
    /// True if more fragments follow.
    pub more: bool,
}

/// The fragments of one datagram, in order.
///
/// ```
/// use netstack::ip::fragment::FragmentPlan;
///
/// let ipv6 = false;
/// let ranges: Vec<_> = FragmentPlan::new(ipv6, 3_000, 1_500)?.map(|part| part.range).collect();
/// assert_eq!(ranges, [0..1_480, 1_480..2_960, 2_960..3_000]);
/// # Ok::<(), netstack::ip::fragment::FragmentError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FragmentPlan {
    /// Length of the transport header and payload, in bytes.
    len: usize,
    /// Bytes in each fragment but the last: a multiple of 8.
    step: usize,
    /// Start of the next fragment.
    next: usize,
}

/// Returns the largest length of transport header and payload in one datagram, in bytes. The 16-bit length
/// field of IPv4 includes its own header, that of IPv6 does not.
pub const fn max_datagram(ipv6: bool) -> usize {
    if ipv6 {
        u16::MAX as usize
    } else {
        u16::MAX as usize - IPV4_HEADER
    }
}

impl FragmentPlan {
    /// Plans the fragments of `len` bytes (transport header and payload), in packets of at most `mtu`
    /// bytes.
    ///
    /// # Errors
    /// A [`FragmentError`] if no datagram can be that long or the MTU has no room for a fragment.
    pub fn new(ipv6: bool, len: usize, mtu: u16) -> Result<Self, FragmentError> {
        if len > max_datagram(ipv6) {
            return Err(FragmentError::TooLong(len));
        }
        let headers = if ipv6 {
            IPV6_HEADER + FRAGMENT_HEADER
        } else {
            IPV4_HEADER
        };
        let step = usize::from(mtu).saturating_sub(headers) & !7;
        if step == 0 {
            return Err(FragmentError::MtuTooSmall(mtu));
        }
        Ok(Self { len, step, next: 0 })
    }

    /// Returns the number of fragments left.
    pub fn remaining(&self) -> usize {
        self.len.saturating_sub(self.next).div_ceil(self.step)
    }
}

impl Iterator for FragmentPlan {
    type Item = FragmentPart;

    fn next(&mut self) -> Option<FragmentPart> {
        if self.next >= self.len {
            return None;
        }
        let end = (self.next + self.step).min(self.len);
        let part = FragmentPart {
            range: self.next..end,
            more: end < self.len,
        };
        self.next = end;
        Some(part)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining(), Some(self.remaining()))
    }
}

/// A generator of the identifications of fragmented datagrams. A peer cannot predict those of another
/// destination, and a destination sees none twice before the counter wraps.
///
/// A keyed hash of the addresses gives each pair its own start, and a small table of counters, selected by
/// a second hash, separates the increments (RFC 7739 section 5.3). The counters step by one, so that the 16
/// bits of IPv4 wrap as late as possible. Datagrams that are not fragmented need no identification
/// (RFC 6864 section 4.1).
#[derive(Clone, Debug)]
pub struct Identification {
    offset_key: HashKey,
    counter_key: HashKey,
    counters: [u32; COUNTERS],
    /// The generator's part of the numbers, in `0..parts`.
    index: u32,
    parts: u32,
}

const COUNTERS: usize = 64;

impl Identification {
    /// Creates a generator with new secrets and random counters.
    pub fn new(rng: &mut Rng) -> Self {
        Self {
            offset_key: HashKey::random(rng),
            counter_key: HashKey::random(rng),
            counters: core::array::from_fn(|_| rng.u32()),
            index: 0,
            parts: 1,
        }
    }

    /// Returns the generator of worker `index` of `parts`. It has the same secrets but generates only every
    /// `parts`-th number, so that no two workers give the same number to datagrams between the same two
    /// hosts before the numbers wrap. With secrets of their own, two workers would collide at random, and
    /// 16 bits are few.
    pub fn for_worker(&self, index: u32, parts: u32) -> Self {
        let parts = parts.max(1);
        Self {
            index: index % parts,
            parts,
            ..self.clone()
        }
    }

    /// Returns the identification of the next fragmented datagram from `src` to `dst`. IPv4 uses its low 16
    /// bits. `proto` is part of the hash, because IPv4 identifications are per protocol (RFC 6864 section
    /// 4.3).
    pub fn next(&mut self, src: IpAddr, dst: IpAddr, proto: u8) -> u32 {
        let flow = (src, dst, proto);
        let at = (self.counter_key.hash(&flow) % COUNTERS as u64) as usize;
        let counter = self.counters.get_mut(at).map_or(0, |counter| {
            *counter = counter.wrapping_add(1);
            *counter
        });
        let own = counter.wrapping_mul(self.parts).wrapping_add(self.index);
        // The low half of the hash is uniform, too.
        (self.offset_key.hash(&flow) as u32).wrapping_add(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn plans_cover_without_gap_or_overlap() {
        let lens = [0, 1, 7, 8, 9, 1400, 1480, 1481, 4_000, 65_515, 65_535];
        for ipv6 in [false, true] {
            for mtu in [68u16, 576, 1280, 1500, 9_000, 65_535] {
                for len in lens {
                    let label = format!("ipv6 {ipv6} mtu {mtu} len {len}");
                    let plan = match FragmentPlan::new(ipv6, len, mtu) {
                        Ok(plan) => plan,
                        Err(FragmentError::TooLong(_)) => {
                            assert!(!ipv6 && len > 65_515, "{label}");
                            continue;
                        }
                        Err(e) => panic!("{label}: {e}"),
                    };
                    let headers = if ipv6 { 48 } else { 20 };
                    let count = plan.remaining();
                    let parts: Vec<_> = plan.collect();
                    assert_eq!(parts.len(), count, "{label}");
                    let mut covered = 0;
                    for (n, part) in parts.iter().enumerate() {
                        assert_eq!(part.range.start, covered, "{label}");
                        assert_eq!(part.range.start % 8, 0, "{label}");
                        assert!(part.range.len() + headers <= usize::from(mtu), "{label}");
                        assert_eq!(part.more, n + 1 < parts.len(), "{label}");
                        assert!(!part.more || part.range.len() % 8 == 0, "{label}");
                        covered = part.range.end;
                    }
                    assert_eq!(covered, len, "{label}");
                }
            }
        }
    }

    #[test]
    fn impossible_plans() {
        let cases = [
            (false, 65_516, 1500, FragmentError::TooLong(65_516)),
            (true, 65_536, 1500, FragmentError::TooLong(65_536)),
            (false, 100, 27, FragmentError::MtuTooSmall(27)),
            (true, 100, 55, FragmentError::MtuTooSmall(55)),
            (false, 100, 0, FragmentError::MtuTooSmall(0)),
        ];
        for (ipv6, len, mtu, error) in cases {
            assert_eq!(FragmentPlan::new(ipv6, len, mtu), Err(error));
        }
        assert!(FragmentPlan::new(false, 100, 28).is_ok());
        assert!(FragmentPlan::new(true, 100, 56).is_ok());
    }

    #[test]
    fn identifications_do_not_repeat_and_do_not_follow_each_other_across_destinations() {
        let seed = 11;
        let mut rng = Rng::from_u64(seed);
        let mut ids = Identification::new(&mut rng);
        let src: IpAddr = [10, 0, 0, 1].into();
        let (a, b): (IpAddr, IpAddr) = ([10, 0, 0, 2].into(), [10, 0, 0, 3].into());
        let mut seen = HashSet::new();
        for _ in 0..65_536 {
            let id = ids.next(src, a, 17);
            assert!(seen.insert(id as u16), "seed {seed}: 16 bits repeat");
        }
        let (x, y) = (ids.next(src, a, 17), ids.next(src, b, 17));
        assert!(x.abs_diff(y) > 64, "seed {seed}: {x} {y}");
        assert_ne!(ids.next(src, a, 1), ids.next(src, a, 17));
    }

    #[test]
    fn workers_share_the_numbers_without_meeting() {
        let seed = 12;
        let mut rng = Rng::from_u64(seed);
        let whole = Identification::new(&mut rng);
        let (src, dst): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        for parts in [1, 2, 4] {
            let mut seen = HashSet::new();
            let mut workers: Vec<_> = (0..parts).map(|n| whole.for_worker(n, parts)).collect();
            // However unevenly they send: all 16 bits of them are used once.
            for (n, worker) in workers.iter_mut().enumerate() {
                for _ in 0..65_536 / parts {
                    let id = worker.next(src, dst, 17) as u16;
                    assert!(seen.insert(id), "seed {seed}: worker {n} of {parts}");
                }
            }
        }
    }
}
