//! Runs of UDP datagrams that leave as one packet: whoever takes it cuts them apart again, a kernel where they are delivered.
//!
//! A write costs more than all else that is done for a small datagram. An answer to each datagram of a burst, or a
//! program that sends to one peer, leaves datagrams behind each other whose headers are the same to the last bit. They
//! are handed over as one packet with segmentation offload, which stands for just these datagrams.

use packet::build::Head;
use packet::checksum::{self, Checksum};
use packet::frame::{ChecksumOffload, SegmentKind, SegmentOffload, TxOffload, TxPacket};

const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
/// Most datagrams in a run: as many as the kernel sends with one call itself (`UDP_MAX_SEGMENTS` of Linux 6.2).
pub(in crate::device) const DATAGRAMS_MAX: usize = 64;
/// Most bytes of a run with its headers: the length field of IPv4.
const BYTES_MAX: usize = 65_535;

/// Returns the number of packets at the front of `batch` that one packet can stand for, at least 1 if there are any.
pub(in crate::device) fn len_of(batch: &[TxPacket]) -> usize {
    let Some((first, others)) = batch.split_first() else {
        return 0;
    };
    // Segments of TCP, mostly: their headers need no look.
    if first.offload.segment.is_some() {
        return 1;
    }
    if !others.first().is_some_and(|next| continues(first, next)) || !can_begin(first) {
        return 1;
    }
    let most = (BYTES_MAX - first.head.len()) / first.payload.len_bytes();
    let most = most.clamp(1, DATAGRAMS_MAX);
    let same = others.iter().take_while(|next| continues(first, next));
    1 + same.take(most - 1).count()
}

/// Returns true if a packet is a whole datagram whose headers say nothing that only one datagram may say.
fn can_begin(packet: &TxPacket) -> bool {
    let head = packet.head.as_slice();
    let ip_len = match head.first() {
        // Neither "more fragments" nor an offset.
        Some(0x45)
            if head
                .get(6..8)
                .is_some_and(|at| at[0] & 0x3f == 0 && at[1] == 0) =>
        {
            IPV4_LEN
        }
        Some(version) if version >> 4 == 6 => IPV6_LEN,
        _ => return false,
    };
    head.len() == ip_len + packet::udp::LEN
        && packet.offload.checksum == Some(ChecksumOffload::udp(ip_len as u16))
        && packet.offload.segment.is_none()
        && packet.payload.len() == 1
}

/// Returns true if two packets differ in nothing but the bytes that they carry. The headers of datagrams with an
/// identification of their own differ in it.
#[inline]
fn continues(first: &TxPacket, next: &TxPacket) -> bool {
    first.head.as_slice() == next.head.as_slice()
        && first.offload == next.offload
        && first.payload.len_bytes() == next.payload.len_bytes()
        && next.payload.len() == 1
}

/// Returns the headers of the packet that stands for `count` datagrams like `first`, and the request to cut it.
/// `None` if [`len_of`] did not allow that.
pub(in crate::device) fn join(first: &TxPacket, count: usize) -> Option<(Head, TxOffload)> {
    let size = first.payload.len_bytes();
    let mut head = first.head.clone();
    let bytes = head.as_mut_slice();
    let header_len = bytes.len();
    let ip_len = header_len.checked_sub(packet::udp::LEN)?;
    let udp_len = u16::try_from(packet::udp::LEN + size * count).ok()?;
    let total_len = u16::try_from(ip_len).ok()?.checked_add(udp_len)?;
    let (ip, udp) = bytes.split_at_mut_checked(ip_len)?;
    if ip_len == IPV4_LEN {
        ip.get_mut(2..4)?.copy_from_slice(&total_len.to_be_bytes());
        ip.get_mut(10..12)?.fill(0);
        let sum = checksum::of(ip);
        ip.get_mut(10..12)?.copy_from_slice(&sum.to_be_bytes());
    } else {
        ip.get_mut(4..6)?.copy_from_slice(&udp_len.to_be_bytes());
    }
    let udp: &mut [u8; packet::udp::LEN] = udp.try_into().ok()?;
    let old_len = u16::from_be_bytes([udp[4], udp[5]]);
    // The field holds the sum of the pseudo-header, of which the length is a part.
    let mut sum = Checksum::new();
    sum.add_u16(u16::from_be_bytes([udp[6], udp[7]]));
    sum.add_u16(!old_len);
    sum.add_u16(udp_len);
    udp[4..6].copy_from_slice(&udp_len.to_be_bytes());
    udp[6..8].copy_from_slice(&sum.partial().to_be_bytes());
    let segment = SegmentOffload {
        kind: SegmentKind::Udp,
        size: u16::try_from(size).ok()?,
        header_len: u16::try_from(header_len).ok()?,
    };
    let offload = TxOffload {
        checksum: first.offload.checksum,
        segment: Some(segment),
    };
    Some((head, offload))
}

#[cfg(test)]
pub(in crate::device) mod tests {
    use std::net::SocketAddr;

    use packet::build::{IpFields, TxChecksum, prepend_ip, prepend_udp};
    use packet::frame::Chunks;
    use packet::udp::UdpHeader;
    use packet::{IpProto, Payload};

    use super::*;

    /// Returns a datagram whose checksum is left to the device.
    pub(in crate::device) fn datagram(from: &str, to: &str, payload: &[u8]) -> TxPacket {
        let (from, to): (SocketAddr, SocketAddr) =
            (from.parse().expect("a"), to.parse().expect("a"));
        let payload = Chunks::from(Payload::from(bytes::Bytes::copy_from_slice(payload)));
        let header = UdpHeader {
            src_port: from.port(),
            dst_port: to.port(),
            len: 0,
        };
        let (src, dst, len) = (from.ip(), to.ip(), payload.len_bytes());
        let mut head = Head::new();
        let slices = payload.slices();
        prepend_udp(
            &mut head,
            &header,
            src,
            dst,
            slices,
            len,
            TxChecksum::Partial,
        )
        .expect("UDP");
        let fields = IpFields {
            src,
            dst,
            proto: IpProto::UDP,
            ttl: 64,
            traffic_class: 0,
            ident: 0,
            dont_fragment: true,
            flow_label: 9,
        };
        prepend_ip(&mut head, &fields, len).expect("IP");
        let ip_len = if src.is_ipv4() { IPV4_LEN } else { IPV6_LEN };
        TxPacket {
            head,
            payload,
            offload: TxOffload {
                checksum: Some(ChecksumOffload::udp(ip_len as u16)),
                segment: None,
            },
        }
    }

    const FLOWS: [(&str, &str); 2] = [
        ("10.0.0.1:7", "10.0.0.2:4000"),
        ("[fd00::1]:7", "[fd00::2]:4000"),
    ];

    #[test]
    fn equal_datagrams_become_the_headers_of_a_long_one() {
        for (from, to) in FLOWS {
            for (size, count) in [(1, 2), (64, 31), (1_000, 64), (32_000, 2)] {
                let first = datagram(from, to, &vec![7; size]);
                let (head, offload) = join(&first, count).expect("a run");
                let long = datagram(from, to, &vec![7; size * count]);
                assert_eq!(head, long.head, "{size} × {count}");
                assert_eq!(offload.checksum, long.offload.checksum);
                let segment = offload.segment.expect("segments");
                assert_eq!(usize::from(segment.size), size);
                assert_eq!(usize::from(segment.header_len), head.len());
            }
        }
    }

    #[test]
    fn a_run_ends_with_the_flow_the_length_and_what_one_packet_may_be() {
        for (from, to) in FLOWS {
            let plain = |payload: &[u8]| datagram(from, to, payload);
            assert_eq!(len_of(&[]), 0);
            assert_eq!(len_of(&[plain(b"a")]), 1);
            assert_eq!(
                len_of(&[plain(b"a"), plain(b"b"), plain(b"cc"), plain(b"d")]),
                2
            );
            let other = if from.starts_with('[') {
                "[fd00::2]:4001"
            } else {
                "10.0.0.2:4001"
            };
            assert_eq!(len_of(&[plain(b"a"), datagram(from, other, b"b")]), 1);
            assert_eq!(len_of(&vec![plain(b"a"); 200]), DATAGRAMS_MAX);
            assert_eq!(len_of(&vec![plain(&[7; 20_000]); 5]), 3);
            assert_eq!(len_of(&vec![plain(&[7; 60_000]); 5]), 1);
        }
    }

    #[test]
    fn what_is_not_a_plain_datagram_is_alone() {
        for (from, to) in FLOWS {
            let with = |change: &dyn Fn(&mut TxPacket)| {
                let mut packet = datagram(from, to, b"abc");
                change(&mut packet);
                len_of(&vec![packet; 3])
            };
            assert_eq!(with(&|_| ()), 3);
            assert_eq!(with(&|packet| packet.offload.checksum = None), 1);
            assert_eq!(with(&|packet| packet.payload.clear()), 1, "empty ones");
            assert_eq!(
                with(&|packet| {
                    packet.offload.segment = Some(SegmentOffload {
                        kind: SegmentKind::Udp,
                        size: 1,
                        header_len: packet.head.len() as u16,
                    });
                }),
                1
            );
            let two = || Payload::from(bytes::Bytes::from_static(b"x"));
            assert_eq!(with(&|packet| packet.payload.push(two()).expect("room")), 1);
            if from.starts_with("10") {
                assert_eq!(with(&|packet| packet.head.as_mut_slice()[6] |= 0x20), 1);
                assert_eq!(with(&|packet| packet.head.as_mut_slice()[7] = 3), 1);
                assert_eq!(with(&|packet| packet.head.as_mut_slice()[6] |= 0x40), 3);
            }
            // An identification of its own.
            let (a, mut b) = (datagram(from, to, b"a"), datagram(from, to, b"b"));
            b.head.as_mut_slice()[5] ^= 1;
            assert_eq!(len_of(&[a, b]), 1);
        }
    }
}
