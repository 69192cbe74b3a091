//! The virtio-net header: ten bytes in front of each packet of an offloading TUN device, and of a packet channel with
//! that framing.
//!
//! The stack skips checksums that the header vouches for, and cuts super-segments at `gso_size`, without
//! further checks: [`Header::check`] refuses a header that contradicts its packet.
//!
//! The fields are in native byte order, which is a TUN device's default.

use packet::checksum::RxChecksum;
use packet::frame::{SegmentKind, TxOffload};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Length of the header, in bytes.
pub(in crate::device) const HEADER_BYTES: usize = size_of::<Header>();

/// Largest packet behind a header, in bytes: an IPv6 header and its largest payload.
pub(in crate::device) const SUPER_PACKET_BYTES: usize = 65_535 + 40;

/// The checksum field holds the sum of the pseudo-header only.
const FLAG_NEEDS_CSUM: u8 = 1;
/// The transport checksum was verified.
const FLAG_DATA_VALID: u8 = 2;

const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
/// Flag beside a TCP type: only the first segment carries CWR (RFC 3168).
const GSO_ECN: u8 = 0x80;

const PROTO_TCP: u8 = 6;
const PROTO_UDP: u8 = 17;
/// Offset of the flags in a TCP header, in bytes.
const TCP_FLAGS_AT: usize = 13;
const TCP_CWR: u8 = 0x80;

/// The kernel's `struct virtio_net_hdr`.
#[derive(
    Clone, Copy, Default, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub(in crate::device) struct Header {
    flags: u8,
    gso_type: u8,
    hdr_len: u16,
    gso_size: u16,
    csum_start: u16,
    csum_offset: u16,
}

impl Header {
    /// Splits what was read into the header and the packet behind it. Returns `None` if it is too short
    /// for a header and one more byte.
    pub(in crate::device) fn split(read: &[u8]) -> Option<(Self, &[u8])> {
        let (header, packet) = Self::read_from_prefix(read).ok()?;
        (!packet.is_empty()).then_some((header, packet))
    }

    /// Checks the header against the packet behind it. Returns whether the checksum is vouched for,
    /// and the size of the segments in a super-segment (0: it is none), or `None` if the two
    /// contradict each other.
    pub(in crate::device) fn check(&self, packet: &[u8]) -> Option<(RxChecksum, u16)> {
        let partial = self.flags & FLAG_NEEDS_CSUM != 0;
        if partial {
            let end = usize::from(self.csum_start) + usize::from(self.csum_offset) + 2;
            if end > packet.len() {
                return None;
            }
        }
        let checksum = if partial || self.flags & FLAG_DATA_VALID != 0 {
            RxChecksum::Vouched
        } else {
            RxChecksum::Unknown
        };
        let gso_size = match self.gso_type & !GSO_ECN {
            GSO_NONE if self.gso_type == GSO_NONE => 0,
            // The checksum of a super-segment is always partial: each segment will have its own.
            kind if partial && self.gso_size > 0 && kind_fits(kind, packet) => self.gso_size,
            _ => return None,
        };
        Some((checksum, gso_size))
    }

    /// Returns the header for a packet that begins with `head` and requests `offload`.
    pub(in crate::device) fn for_sending(offload: &TxOffload, head: &[u8]) -> Self {
        let mut header = Self::default();
        if let Some(checksum) = &offload.checksum {
            header.flags = FLAG_NEEDS_CSUM;
            header.csum_start = checksum.start;
            header.csum_offset = checksum.offset;
        }
        if let Some(segment) = &offload.segment {
            header.gso_type = match segment.kind {
                SegmentKind::Tcp4 => GSO_TCPV4,
                SegmentKind::Tcp6 => GSO_TCPV6,
                SegmentKind::Udp => GSO_UDP_L4,
            };
            let flags_at = usize::from(header.csum_start) + TCP_FLAGS_AT;
            if segment.kind != SegmentKind::Udp
                && head.get(flags_at).is_some_and(|flags| flags & TCP_CWR != 0)
            {
                header.gso_type |= GSO_ECN;
            }
            header.gso_size = segment.size;
            // The bytes that the kernel stores contiguously: all the headers, and no payload.
            header.hdr_len = segment.header_len;
        }
        header
    }
}

/// Returns `true` if the packet can be a super-segment of that kind.
fn kind_fits(kind: u8, packet: &[u8]) -> bool {
    let version = packet.first().map_or(0, |byte| byte >> 4);
    let v4_proto = packet.get(9).copied();
    match kind {
        GSO_TCPV4 => version == 4 && v4_proto == Some(PROTO_TCP),
        // IPv6 may have extension headers in front of TCP; the parser reads those.
        GSO_TCPV6 => version == 6,
        GSO_UDP_L4 => version == 6 || (version == 4 && v4_proto == Some(PROTO_UDP)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use packet::frame::{ChecksumOffload, SegmentOffload};

    use super::*;
    use crate::base::Rng;

    fn v4(proto: u8, len: usize) -> Vec<u8> {
        let mut packet = vec![0; len];
        packet[0] = 0x45;
        packet[9] = proto;
        packet
    }

    fn v6(len: usize) -> Vec<u8> {
        let mut packet = vec![0; len];
        packet[0] = 0x60;
        packet
    }

    fn tso(gso_type: u8) -> Header {
        Header {
            flags: FLAG_NEEDS_CSUM,
            gso_type,
            hdr_len: 40,
            gso_size: 1460,
            csum_start: 20,
            csum_offset: 16,
        }
    }

    #[test]
    fn the_header_is_ten_bytes_and_needs_a_packet_behind_it() {
        assert_eq!(HEADER_BYTES, 10);
        for len in 0..=10 {
            assert!(Header::split(&vec![0; len]).is_none(), "{len}");
        }
        let (header, packet) = Header::split(&[1, 4, 2, 0, 3, 0, 4, 0, 5, 0, 0x45]).expect("one");
        assert_eq!(packet, [0x45]);
        let expected = Header {
            flags: 1,
            gso_type: 4,
            hdr_len: u16::from_ne_bytes([2, 0]),
            gso_size: u16::from_ne_bytes([3, 0]),
            csum_start: u16::from_ne_bytes([4, 0]),
            csum_offset: u16::from_ne_bytes([5, 0]),
        };
        assert_eq!(header, expected);
    }

    #[test]
    fn checksums_are_vouched_for_when_the_header_says_so() {
        let packet = v4(PROTO_UDP, 28);
        let with = |flags| Header {
            flags,
            csum_start: 20,
            csum_offset: 6,
            ..Header::default()
        };
        assert_eq!(with(0).check(&packet), Some((RxChecksum::Unknown, 0)));
        assert_eq!(
            with(FLAG_DATA_VALID).check(&packet),
            Some((RxChecksum::Vouched, 0))
        );
        assert_eq!(
            with(FLAG_NEEDS_CSUM).check(&packet),
            Some((RxChecksum::Vouched, 0))
        );
        assert_eq!(
            with(FLAG_NEEDS_CSUM).check(&packet[..27]),
            None,
            "field outside"
        );
    }

    #[test]
    fn super_segments_must_look_like_what_they_are_called() {
        let tcp4 = v4(PROTO_TCP, 3000);
        let udp4 = v4(PROTO_UDP, 3000);
        let ip6 = v6(3000);
        let cases = [
            (GSO_TCPV4, &tcp4, true),
            (GSO_TCPV4 | GSO_ECN, &tcp4, true),
            (GSO_TCPV4, &udp4, false),
            (GSO_TCPV4, &ip6, false),
            (GSO_TCPV6, &ip6, true),
            (GSO_TCPV6, &tcp4, false),
            (GSO_UDP_L4, &udp4, true),
            (GSO_UDP_L4, &ip6, true),
            (GSO_UDP_L4, &tcp4, false),
            (3, &udp4, false),
            (GSO_ECN, &tcp4, false),
            (0x7f, &tcp4, false),
        ];
        for (kind, packet, sound) in cases {
            let checked = tso(kind).check(packet);
            assert_eq!(
                checked,
                sound.then_some((RxChecksum::Vouched, 1460)),
                "{kind:#x}"
            );
        }
        let mut sizeless = tso(GSO_TCPV4);
        sizeless.gso_size = 0;
        assert_eq!(sizeless.check(&tcp4), None);
        let mut complete = tso(GSO_TCPV4);
        complete.flags = 0;
        assert_eq!(
            complete.check(&tcp4),
            None,
            "a super-segment has no complete checksum"
        );
    }

    #[test]
    fn no_header_and_no_packet_make_it_panic_or_lie() {
        let seed = 7;
        println!("seed {seed}");
        let mut rng = Rng::from_u64(seed);
        for _ in 0..100_000 {
            let mut read = vec![0; rng.below(90) as usize];
            rng.fill(&mut read);
            let Some((header, packet)) = Header::split(&read) else {
                continue;
            };
            if let Some((checksum, gso_size)) = header.check(packet) {
                assert!(gso_size == 0 || checksum == RxChecksum::Vouched);
                let inside = usize::from(header.csum_start) + usize::from(header.csum_offset) + 2;
                assert!(header.flags & FLAG_NEEDS_CSUM == 0 || inside <= packet.len());
            }
        }
    }

    #[test]
    fn what_is_asked_for_is_what_the_header_says() {
        let mut head = v4(PROTO_TCP, 40);
        let offload = TxOffload {
            checksum: Some(ChecksumOffload {
                start: 20,
                offset: 16,
            }),
            segment: Some(SegmentOffload {
                kind: SegmentKind::Tcp4,
                size: 1460,
                header_len: 40,
            }),
        };
        assert_eq!(Header::for_sending(&offload, &head), tso(GSO_TCPV4));
        head[20 + TCP_FLAGS_AT] = TCP_CWR;
        assert_eq!(
            Header::for_sending(&offload, &head),
            tso(GSO_TCPV4 | GSO_ECN)
        );
        assert_eq!(Header::for_sending(&offload, &[]), tso(GSO_TCPV4));
        assert_eq!(
            Header::for_sending(&TxOffload::default(), &head),
            Header::default()
        );
    }
}
