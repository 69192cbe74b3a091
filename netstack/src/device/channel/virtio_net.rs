//! Packets behind a virtio-net header, for carriers that take super-packets.

use bytes::{Bytes, BytesMut};
use packet::buf::SMALL_SLAB_BYTES;
use packet::checksum::RxChecksum;
use packet::frame::TxPacket;
use packet::{Buffers, Payload};
use zerocopy::IntoBytes as _;

use super::super::coalesce::Merged;
use super::super::udp_runs;
use super::super::virtio::{HEADER_BYTES, Header};
use super::run::Run;
use crate::base::DropReason;

/// A packet of the program without its header.
#[derive(Debug)]
pub(super) enum Received {
    /// A single packet, whose checksum the stack verifies.
    Bare(Bytes),
    /// A packet for whose checksum the carrier vouches, or several merged ones.
    Vouched {
        /// The packet.
        packet: Bytes,
        /// Bytes of payload in each of several; 0: it is one.
        gso_size: u16,
    },
}

/// Takes the header off a packet.
///
/// # Errors
/// There is no header, or it contradicts the packet.
pub(super) fn open(mut framed: Bytes) -> Result<Received, DropReason> {
    let (header, packet) = Header::split(&framed).ok_or(DropReason::DeviceTruncated)?;
    let (checksum, gso_size) = header.check(packet).ok_or(DropReason::DeviceHeader)?;
    let packet = framed.split_off(HEADER_BYTES);
    Ok(match checksum {
        RxChecksum::Unknown => Received::Bare(packet),
        RxChecksum::Vouched => Received::Vouched { packet, gso_size },
    })
}

/// Copies a packet for whose checksum the carrier vouches into the stack's memory. Returns `None` if there is none.
pub(super) fn take_in(packet: &Bytes, gso_size: u16, buffers: &Buffers) -> Option<Merged> {
    let long = (packet.len() > SMALL_SLAB_BYTES)
        .then(|| buffers.gather(std::iter::once(&packet[..])))
        .flatten();
    let data: Payload = long.or_else(|| buffers.copy_received(packet))?;
    Some(Merged {
        data,
        checksum: RxChecksum::Vouched,
        gso_size,
    })
}

/// Puts the packet at the front of `packets` behind its header, in one piece of `memory`, with the datagrams behind it that one
/// packet can stand for. Returns it, and how many packets of the stack it is; `None` if there is no packet.
pub(super) fn frame(packets: &[TxPacket], memory: &mut BytesMut) -> Option<(Run, usize)> {
    let count = udp_runs::len_of(packets);
    let run = packets.get(..count)?;
    let first = run.first()?;
    let joined = (count > 1).then(|| udp_runs::join(first, count)).flatten();
    let (head, offload) = match &joined {
        Some((head, offload)) => (head.as_slice(), offload),
        None => (first.head.as_slice(), &first.offload),
    };
    let count = if joined.is_some() { count } else { 1 };
    let header = Header::for_sending(offload, head);
    let payload: usize = run
        .iter()
        .take(count)
        .map(|packet| packet.payload.len_bytes())
        .sum();
    memory.reserve(HEADER_BYTES + head.len() + payload);
    memory.extend_from_slice(header.as_bytes());
    memory.extend_from_slice(head);
    for packet in run.iter().take(count) {
        for piece in packet.payload.slices() {
            memory.extend_from_slice(piece);
        }
    }
    let largest = match offload.segment {
        Some(segment) => head.len() + usize::from(segment.size).min(payload),
        None => head.len() + payload,
    };
    Some((Run::framed(memory.split().freeze(), largest), count))
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use packet::build::Head;
    use packet::frame::{ChecksumOffload, SegmentKind, SegmentOffload, TxOffload};

    use super::*;

    /// Builds a packet of TCP over IPv4 with `payload` bytes behind its headers, as far as a device reads it.
    fn packet(payload: usize, segment: u16) -> TxPacket {
        let mut head = Head::new();
        let bytes = head.prepend(40).expect("room");
        (bytes[0], bytes[9]) = (0x45, 6);
        TxPacket {
            head,
            payload: Payload::from(Bytes::from(vec![7; payload])).into(),
            offload: TxOffload {
                checksum: Some(ChecksumOffload::tcp(20)),
                segment: (segment > 0).then_some(SegmentOffload {
                    kind: SegmentKind::Tcp4,
                    size: segment,
                    header_len: 40,
                }),
            },
        }
    }

    #[test]
    fn a_packet_of_one_stack_is_a_packet_for_another() {
        for (payload, segment, largest) in [(0, 0, 40), (900, 0, 940), (5_000, 1_460, 1_500)] {
            let sent = packet(payload, segment);
            let (framed, count) = frame(from_ref(&sent), &mut BytesMut::new()).expect("a packet");
            assert_eq!(count, 1);
            assert_eq!((framed.largest(), framed.packets()), (largest, 1));
            let received = open(framed.bytes().clone()).expect("it fits its header");
            let Received::Vouched { packet, gso_size } = received else {
                panic!("{received:?}");
            };
            assert_eq!(gso_size, segment);
            assert!(packet == sent.to_vec());
        }
    }

    #[test]
    fn a_header_is_believed_only_if_it_fits_its_packet() {
        assert_eq!(
            open(Bytes::from(vec![0; 10])).expect_err("no packet"),
            DropReason::DeviceTruncated
        );
        let bare = open(Bytes::from(vec![0; 30])).expect("no claims");
        assert!(matches!(bare, Received::Bare(packet) if packet.len() == 20));
        // A super-segment of UDP, which the packet is not.
        let framed = |sent: TxPacket| {
            let framed = frame(&[sent], &mut BytesMut::new());
            framed.expect("a packet").0.bytes().to_vec()
        };
        let mut super_segment = framed(packet(5_000, 1_460));
        super_segment[1] = 5;
        let error = open(super_segment.into()).expect_err("it is TCP");
        assert_eq!(error, DropReason::DeviceHeader);
        // The checksum lies beyond the end.
        let cut_off = framed(packet(0, 0))[..40].to_vec();
        assert_eq!(
            open(cut_off.into()).expect_err("cut off"),
            DropReason::DeviceHeader
        );
    }

    #[test]
    fn a_long_packet_takes_one_slab_and_none_waits_for_memory_that_is_not_there() {
        let buffers = Buffers::with_limit(65_600, 70_000, 0);
        let long = Bytes::from(vec![7; 60_000]);
        let kept = take_in(&long, 1_400, &buffers).expect("memory");
        assert_eq!((kept.data.len(), kept.gso_size), (60_000, 1_400));
        assert!(take_in(&long, 1_400, &buffers).is_none());
        let short = Bytes::from_static(&[7; 100]);
        assert!(take_in(&short, 0, &buffers).is_some());
    }
}
