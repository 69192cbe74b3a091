//! The inverse of cutting: datagrams that one super-packet can stand for.
//!
//! The kernel takes a super-packet for one packet as long as it can, so a burst of small datagrams crosses a device in one call.
//! It cuts it into the same datagrams again where they are delivered.

use packet::frame::SegmentKind;

use super::frame::{Checksum, Cut, Frame, UDP_CHECKSUM_AT, UDP_LEN, V4_LEN, V6_LEN};

/// Most datagrams of a super-packet: as many as Linux before 6.9 sends in one call (`UDP_MAX_SEGMENTS`).
const DATAGRAMS_MAX: usize = 64;
/// Most bytes of a super-packet: what the length field of IPv4 holds.
const BYTES_MAX: usize = 65_535;
/// The protocol number of UDP.
const UDP: u8 = 17;
/// "More fragments" and the offset, in the first byte of their field.
const FRAGMENT_BITS: u8 = 0x3f;

impl Frame {
    /// Returns how many frames at the front of `frames` one super-packet can stand for: 1 if [`Frame::join`] would return
    /// `None`, 0 if there are none.
    ///
    /// They are UDP datagrams of one flow, with the same headers and as many bytes of payload; the last one may have fewer. IPv4
    /// identifications count up by one, as they do when a super-packet is cut, or are the same in datagrams that are never
    /// fragmented (RFC 6864 section 4.1: they mean nothing there). The checksum is left to whoever needs it.
    pub fn joinable(frames: &[Self]) -> usize {
        let Some((first, others)) = frames.split_first() else {
            return 0;
        };
        let Some(udp) = Datagram::of(first) else {
            return 1;
        };
        let most = ((BYTES_MAX - udp.header_len()) / udp.payload_len()).clamp(1, DATAGRAMS_MAX);
        let mut count = 1;
        for next in others.iter().take(most - 1) {
            let Some(next) = Datagram::of(next).filter(|next| next.continues(&udp, count)) else {
                break;
            };
            count += 1;
            if next.payload_len() < udp.payload_len() {
                break;
            }
        }
        count
    }

    /// Returns the super-packet that stands for all of `frames`; `None` if there is none ([`Frame::joinable`]), or only one
    /// frame.
    pub fn join(frames: &[Self]) -> Option<Self> {
        if frames.len() < 2 || Self::joinable(frames) < frames.len() {
            return None;
        }
        let first = Datagram::of(frames.first()?)?;
        let cut = Cut {
            kind: SegmentKind::Udp,
            transport_at: first.transport_at,
            header_len: first.header_len(),
            size: first.payload_len(),
        };
        let mut bytes = Vec::with_capacity(cut.header_len + cut.size * frames.len());
        bytes.extend_from_slice(first.bytes.get(..cut.header_len)?);
        for frame in frames {
            bytes.extend_from_slice(frame.bytes().get(cut.header_len..)?);
        }
        cut.rewrite(&mut bytes, 0, true)?;
        cut.write_pseudo_sum(&mut bytes)?;
        Some(Self {
            bytes,
            checksum: frames.first()?.checksum(),
            cut: Some(cut),
        })
    }
}

/// A whole UDP datagram with no IP options, whose checksum is left to somebody else.
struct Datagram<'a> {
    bytes: &'a [u8],
    transport_at: usize,
}

impl<'a> Datagram<'a> {
    fn of(frame: &'a Frame) -> Option<Self> {
        let bytes = frame.bytes();
        let is_whole_v4 = |bytes: &[u8]| {
            let fragment = bytes.get(6..8)?;
            Some(bytes.get(9) == Some(&UDP) && fragment[0] & FRAGMENT_BITS == 0 && fragment[1] == 0)
        };
        let transport_at = match bytes.first()? {
            0x45 if is_whole_v4(bytes)? => V4_LEN,
            version if version >> 4 == 6 && bytes.get(6) == Some(&UDP) => V6_LEN,
            _ => return None,
        };
        let left = Checksum::Partial {
            start: u16::try_from(transport_at).ok()?,
            offset: UDP_CHECKSUM_AT as u16,
        };
        let length = |at: usize| {
            let field = bytes.get(at..at + 2)?;
            Some(usize::from(u16::from_be_bytes([field[0], field[1]])))
        };
        let ip_total = match transport_at {
            V4_LEN => length(2)?,
            _ => V6_LEN + length(4)?,
        };
        let udp_len = length(transport_at + 4)?;
        let is_plain = frame.checksum() == left
            && frame.segments() == 1
            && udp_len > UDP_LEN
            && transport_at + udp_len == bytes.len()
            && ip_total == bytes.len();
        is_plain.then_some(Self {
            bytes,
            transport_at,
        })
    }

    fn header_len(&self) -> usize {
        self.transport_at + UDP_LEN
    }

    fn payload_len(&self) -> usize {
        self.bytes.len() - self.header_len()
    }

    fn identification(&self) -> u16 {
        let field = self.bytes.get(4..6).unwrap_or(&[0, 0]);
        u16::from_be_bytes([field[0], field[1]])
    }

    /// Returns true if this one may be number `index` of the super-packet that begins with `first`.
    fn continues(&self, first: &Self, index: usize) -> bool {
        let same =
            |range: std::ops::Range<usize>| self.bytes.get(range.clone()) == first.bytes.get(range);
        let ports = self.transport_at..self.transport_at + 4;
        self.transport_at == first.transport_at
            && self.payload_len() <= first.payload_len()
            && same(ports)
            && match self.transport_at {
                // All but the lengths, the identification and the header checksum.
                V4_LEN => same(0..2) && same(6..10) && same(12..20) && self.follows(first, index),
                _ => same(0..4) && same(6..V6_LEN),
            }
    }

    fn follows(&self, first: &Self, index: usize) -> bool {
        let (own, begin) = (self.identification(), first.identification());
        let never_fragmented = self.bytes.get(6).is_some_and(|flags| flags & 0x40 != 0);
        own == begin.wrapping_add(index as u16) || (never_fragmented && own == begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a super-packet of datagrams from `sizes`, whose checksum is left to the device.
    fn datagrams(is_v4: bool, size: u16, payload: usize) -> Frame {
        let ip_len = if is_v4 { V4_LEN } else { V6_LEN };
        let mut bytes = vec![0; ip_len + UDP_LEN + payload];
        let total = bytes.len() as u16;
        if is_v4 {
            bytes[0] = 0x45;
            bytes[2..4].copy_from_slice(&total.to_be_bytes());
            bytes[4..6].copy_from_slice(&0xfffe_u16.to_be_bytes());
            (bytes[8], bytes[9]) = (64, UDP);
            bytes[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        } else {
            bytes[0] = 0x60;
            bytes[4..6].copy_from_slice(&(total - V6_LEN as u16).to_be_bytes());
            (bytes[6], bytes[7]) = (UDP, 64);
            (bytes[8], bytes[24], bytes[39]) = (0xfd, 0xfd, 2);
        }
        let udp_len = (UDP_LEN + payload) as u16;
        bytes[ip_len..ip_len + 4].copy_from_slice(&[0x30, 0x39, 0, 7]);
        bytes[ip_len + 4..ip_len + 6].copy_from_slice(&udp_len.to_be_bytes());
        for (at, byte) in bytes[ip_len + UDP_LEN..].iter_mut().enumerate() {
            *byte = at as u8;
        }
        let checksum = Checksum::Partial {
            start: ip_len as u16,
            offset: UDP_CHECKSUM_AT as u16,
        };
        let whole = Frame::new(bytes, checksum, size);
        // Has the sums of its headers written.
        let cut = whole.cut.expect("several datagrams");
        let mut bytes = whole.into_bytes();
        cut.rewrite(&mut bytes, 0, true).expect("headers");
        cut.write_pseudo_sum(&mut bytes).expect("headers");
        Frame::new(bytes, checksum, size)
    }

    fn cut(whole: &Frame) -> Vec<Frame> {
        (0..whole.segments())
            .map(|index| {
                let one = whole.run(index..index + 1);
                Frame::new(one.bytes().to_vec(), one.checksum(), 0)
            })
            .collect()
    }

    #[test]
    fn what_is_joined_is_what_was_cut() {
        for is_v4 in [true, false] {
            for (size, payload) in [
                (1, 2),
                (64, 64 * 60),
                (64, 64 * 64),
                (1_400, 44 * 1_400),
                (1_000, 2_001),
            ] {
                let whole = datagrams(is_v4, size, payload);
                let parts = cut(&whole);
                assert_eq!(Frame::joinable(&parts), parts.len(), "{size} {payload}");
                assert_eq!(Frame::join(&parts), Some(whole), "{size} {payload}");
            }
        }
    }

    #[test]
    fn a_super_packet_ends_with_the_flow_the_length_and_the_count() {
        for is_v4 in [true, false] {
            let many = cut(&datagrams(is_v4, 10, 10 * 100));
            assert_eq!(Frame::joinable(&many), DATAGRAMS_MAX);
            assert_eq!(Frame::join(&many), None, "not all of them");
            let large = cut(&datagrams(is_v4, 20_000, 60_000));
            assert_eq!(Frame::joinable(&large), 3);
            assert_eq!(Frame::joinable(&[&large[..], &large[..1]].concat()), 3);
            // A shorter one is the last one.
            let short = cut(&datagrams(is_v4, 10, 25));
            assert_eq!(Frame::joinable(&[&short[..], &short[..]].concat()), 3);
            assert_eq!(Frame::joinable(&short[2..]), 1);
            assert_eq!(Frame::joinable(&[]), 0);
        }
    }

    #[test]
    fn what_differs_in_its_headers_stays_alone() {
        for is_v4 in [true, false] {
            let ip_len = if is_v4 { V4_LEN } else { V6_LEN };
            let two = || cut(&datagrams(is_v4, 10, 20));
            let with = |change: &dyn Fn(&mut Vec<u8>, &mut Checksum)| {
                let mut pair = two();
                let mut bytes = pair[1].bytes().to_vec();
                let mut checksum = pair[1].checksum();
                change(&mut bytes, &mut checksum);
                pair[1] = Frame::new(bytes, checksum, 0);
                Frame::joinable(&pair)
            };
            assert_eq!(with(&|_, _| ()), 2);
            assert_eq!(with(&|_, checksum| *checksum = Checksum::Complete), 1);
            assert_eq!(with(&|_, checksum| *checksum = Checksum::Vouched), 1);
            for at in 0..ip_len + UDP_LEN {
                let is_derived = match at {
                    // The sums are written anew.
                    10 | 11 if is_v4 => true,
                    at => (ip_len + 6..ip_len + 8).contains(&at),
                };
                let expected = if is_derived { 2 } else { 1 };
                assert_eq!(with(&|bytes, _| bytes[at] ^= 1), expected, "{is_v4} {at}");
            }
            assert_eq!(with(&|bytes, _| bytes.truncate(ip_len + UDP_LEN)), 1);
        }
    }

    #[test]
    fn identifications_count_up_or_mean_nothing() {
        let same = |flags: u8| {
            let mut pair = cut(&datagrams(true, 10, 20));
            for frame in &mut pair {
                let mut bytes = frame.bytes().to_vec();
                (bytes[4], bytes[5], bytes[6]) = (0, 0, flags);
                *frame = Frame::new(bytes, frame.checksum(), 0);
            }
            Frame::joinable(&pair)
        };
        assert_eq!(same(0x40), 2, "never fragmented");
        assert_eq!(same(0), 1);
        assert_eq!(same(0x60), 1, "a fragment");
    }
}
