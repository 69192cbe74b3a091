//! Packets behind a virtio-net header, for carriers that take super-packets.

use packet::checksum::RxChecksum;
use packet::frame::TxPacket;
use zerocopy::IntoBytes as _;

use super::super::udp_runs;
use super::super::virtio::{HEADER_BYTES, Header};
use super::buffer::Lender;
use super::out_memory::OutMemory;
use super::run::Run;
use crate::base::DropReason;

/// A packet of the program, as its header describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Described {
    /// The carrier vouches for its checksum.
    pub(super) is_vouched: bool,
    /// Bytes of payload in each of several that were merged; 0: it is one.
    pub(super) gso_size: u16,
}

/// Reads the header in front of a packet.
///
/// # Errors
/// There is no header, or it contradicts the packet.
pub(super) fn read(framed: &[u8]) -> Result<Described, DropReason> {
    let (header, packet) = Header::split(framed).ok_or(DropReason::DeviceTruncated)?;
    let (checksum, gso_size) = header.check(packet).ok_or(DropReason::DeviceHeader)?;
    Ok(Described {
        is_vouched: checksum == RxChecksum::Vouched,
        gso_size,
    })
}

/// Puts the packet at the front of `packets` behind its header, in one piece of memory, with the datagrams behind it that one
/// packet can stand for. Returns it, and how many packets of the stack it is; `None` if there is no packet.
pub(super) fn frame(
    packets: &[TxPacket],
    memory: &mut OutMemory,
    lender: &Lender,
) -> Option<(Run, usize)> {
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
    let pieces = run.iter().take(count);
    let payloads = pieces.flat_map(|packet| packet.payload.slices());
    let all = [header.as_bytes(), head].into_iter().chain(payloads);
    let len = HEADER_BYTES + head.len() + payload;
    let framed = memory.fill(len, lender, |out| write_all(all, out).ok_or(()));
    let largest = match offload.segment {
        Some(segment) => head.len() + usize::from(segment.size).min(payload),
        None => head.len() + payload,
    };
    Some((Run::framed(framed.ok()?, largest), count))
}

/// Writes `pieces` into `out`, one behind the other. Returns `None` if it is too short.
fn write_all<'a>(pieces: impl Iterator<Item = &'a [u8]>, mut out: &mut [u8]) -> Option<()> {
    for piece in pieces {
        let (to, behind) = out.split_at_mut_checked(piece.len())?;
        to.copy_from_slice(piece);
        out = behind;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use packet::Payload;
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

    fn framed(packet: TxPacket) -> (Run, usize) {
        frame(&[packet], &mut OutMemory::new(), &Lender::default()).expect("a packet")
    }

    #[test]
    fn a_packet_of_one_stack_is_a_packet_for_another() {
        for (payload, segment, largest) in [(0, 0, 40), (900, 0, 940), (5_000, 1_460, 1_500)] {
            let sent = packet(payload, segment);
            let (framed, count) = framed(sent.clone());
            assert_eq!(count, 1);
            assert_eq!((framed.largest(), framed.packets()), (largest, 1));
            let described = Described {
                is_vouched: true,
                gso_size: segment,
            };
            assert_eq!(read(framed.bytes()), Ok(described));
            assert!(framed.bytes()[HEADER_BYTES..] == sent.to_vec());
        }
    }

    #[test]
    fn a_header_is_believed_only_if_it_fits_its_packet() {
        assert_eq!(read(&[0; 10]), Err(DropReason::DeviceTruncated));
        let bare = Described {
            is_vouched: false,
            gso_size: 0,
        };
        assert_eq!(read(&[0; 30]), Ok(bare), "no claims");
        let bytes = |sent: TxPacket| framed(sent).0.bytes().to_vec();
        // A super-segment of UDP, which the packet is not.
        let mut super_segment = bytes(packet(5_000, 1_460));
        super_segment[1] = 5;
        assert_eq!(read(&super_segment), Err(DropReason::DeviceHeader));
        // The checksum lies beyond the end.
        let cut_off = &bytes(packet(0, 0))[..40];
        assert_eq!(read(cut_off), Err(DropReason::DeviceHeader));
    }
}
