//! Linear packets: contiguous bytes with a complete checksum, for devices without offload.

use packet::checksum::{Checksum, RxChecksum};
use packet::frame::{ChecksumOffload, TxPacket};

/// Offset of the checksum in a UDP header, in bytes.
const UDP_CHECKSUM_AT: u16 = 6;

/// The packet's offload request lies outside the packet, or is for segmentation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct InvalidOffload;

/// Replaces the content of `out` by the packet, with a complete checksum.
#[cfg(any(test, all(feature = "tun", target_os = "linux")))]
pub(super) fn write(packet: &TxPacket, out: &mut Vec<u8>) -> Result<(), InvalidOffload> {
    if packet.offload.segment.is_some() {
        return Err(InvalidOffload);
    }
    join(packet, out)
}

/// Writes the packet, with a complete checksum, into `out`, which is as long. The payload is summed as it is copied.
pub(super) fn write_to(packet: &TxPacket, out: &mut [u8]) -> Result<(), InvalidOffload> {
    if packet.offload.segment.is_some() || out.len() != packet.len() {
        return Err(InvalidOffload);
    }
    let head = packet.head.as_slice();
    let checksum = packet.offload.checksum.as_ref();
    let start = checksum.map_or(head.len(), |checksum| checksum.start.into());
    let covered = head.get(start..).ok_or(InvalidOffload)?;
    let mut sum = Checksum::new();
    sum.add_bytes(covered);
    let (to, mut behind) = out.split_at_mut_checked(head.len()).ok_or(InvalidOffload)?;
    to.copy_from_slice(head);
    for piece in packet.payload.slices() {
        let (to, rest) = behind
            .split_at_mut_checked(piece.len())
            .ok_or(InvalidOffload)?;
        match checksum {
            Some(_) => _ = sum.copy_and_add(piece, to),
            None => to.copy_from_slice(piece),
        }
        behind = rest;
    }
    if let Some(checksum) = checksum {
        let at = start + usize::from(checksum.offset);
        let field = out.get_mut(at..at + 2).ok_or(InvalidOffload)?;
        field.copy_from_slice(&field_of(checksum, sum));
    }
    Ok(())
}

/// Like [`write()`], but accepts a super-segment and leaves it whole, larger than the MTU.
fn join(packet: &TxPacket, out: &mut Vec<u8>) -> Result<(), InvalidOffload> {
    out.clear();
    out.reserve(packet.len());
    out.extend_from_slice(packet.head.as_slice());
    for piece in packet.payload.slices() {
        out.extend_from_slice(piece);
    }
    match &packet.offload.checksum {
        Some(checksum) => finish(checksum, out),
        None => Ok(()),
    }
}

/// Completes a checksum whose field holds the partial sum of the pseudo-header.
fn finish(checksum: &ChecksumOffload, packet: &mut [u8]) -> Result<(), InvalidOffload> {
    let covered = packet
        .get_mut(checksum.start.into()..)
        .ok_or(InvalidOffload)?;
    let mut sum = Checksum::new();
    sum.add_bytes(covered);
    let at = usize::from(checksum.offset);
    let field = covered.get_mut(at..at + 2).ok_or(InvalidOffload)?;
    field.copy_from_slice(&field_of(checksum, sum));
    Ok(())
}

/// Returns the checksum's field for the sum of what it covers.
fn field_of(checksum: &ChecksumOffload, sum: Checksum) -> [u8; 2] {
    let sum = match sum.finish() {
        // In UDP, zero means that there is no checksum (RFC 768).
        0 if checksum.offset == UDP_CHECKSUM_AT => 0xffff,
        sum => sum,
    };
    sum.to_be_bytes()
}

/// Returns the place of the transport checksum and its value, without a copy of the packet; `None` if it is complete.
pub(super) fn checksum_of(packet: &TxPacket) -> Result<Option<(usize, [u8; 2])>, InvalidOffload> {
    let Some(checksum) = &packet.offload.checksum else {
        return Ok(None);
    };
    let mut before = usize::from(checksum.start);
    let at = before + usize::from(checksum.offset);
    if at + 2 > packet.len() {
        return Err(InvalidOffload);
    }
    let mut sum = Checksum::new();
    for piece in std::iter::once(packet.head.as_slice()).chain(packet.payload.slices()) {
        sum.add_bytes(piece.get(before..).unwrap_or_default());
        before = before.saturating_sub(piece.len());
    }
    Ok(Some((at, field_of(checksum, sum))))
}

/// A linear packet on an in-memory link, with the metadata that its receiver gets.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    bytes: Vec<u8>,
    checksum: RxChecksum,
    gso_size: u16,
}

impl Frame {
    /// Copies the packet. A super-segment stays whole.
    pub(super) fn new(packet: &TxPacket) -> Result<Self, InvalidOffload> {
        let mut bytes = Vec::new();
        join(packet, &mut bytes)?;
        let checksum = match &packet.offload.checksum {
            Some(_) => RxChecksum::Vouched,
            None => RxChecksum::Unknown,
        };
        Ok(Self {
            bytes,
            checksum,
            gso_size: packet
                .offload
                .segment
                .as_ref()
                .map_or(0, |segment| segment.size),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn checksum(&self) -> RxChecksum {
        self.checksum
    }

    pub(super) fn gso_size(&self) -> u16 {
        self.gso_size
    }

    /// Makes the receiver verify the checksum.
    pub(super) fn set_checksum_unknown(&mut self) {
        self.checksum = RxChecksum::Unknown;
    }

    /// Flips the bit that `chance` selects. An Internet checksum detects every single flipped bit.
    pub(super) fn flip_bit(&mut self, chance: u32) {
        self.set_checksum_unknown();
        let bits = self.bytes.len() as u64 * 8;
        let bit = (u64::from(chance) * bits) >> 32;
        if let Some(byte) = self.bytes.get_mut((bit / 8) as usize) {
            *byte ^= 1 << (bit % 8);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use packet::frame::{SegmentKind, SegmentOffload, TxOffload};
    use packet::{Payload, checksum};

    use super::*;

    fn packet(bytes: &'static [u8], checksum: Option<ChecksumOffload>) -> TxPacket {
        let (head, tail) = bytes.split_at(bytes.len().min(8));
        let mut packet = TxPacket::default();
        packet
            .head
            .prepend(head.len())
            .expect("room")
            .copy_from_slice(head);
        packet
            .payload
            .push(Payload::from(Bytes::from_static(tail)))
            .expect("room");
        packet.offload.checksum = checksum;
        packet
    }

    /// Writes a packet in both ways, which must agree.
    fn written(packet: &TxPacket) -> Result<Vec<u8>, InvalidOffload> {
        let mut out = vec![9; 100];
        let grown = write(packet, &mut out).map(|()| out);
        let mut room = vec![9; packet.len()];
        let filled = write_to(packet, &mut room).map(|()| room);
        assert_eq!(grown, filled);
        grown
    }

    #[test]
    fn the_checksum_is_finished_in_place() {
        const BYTES: &[u8] = b"....abcdefghi\x12\x34klm";
        let offload = ChecksumOffload {
            start: 4,
            offset: 9,
        };
        let out = written(&packet(BYTES, Some(offload))).expect("fits");
        // What was in the field has become part of the sum.
        let mut expected = BYTES.to_vec();
        let sum = checksum::of(&expected[4..]);
        expected[13..15].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(out, expected);
        assert_eq!(written(&packet(BYTES, None)).expect("as it is"), BYTES);
        assert!(
            write_to(&packet(BYTES, None), &mut [0; 3]).is_err(),
            "too short"
        );
    }

    #[test]
    fn udp_never_says_that_it_has_no_checksum() {
        // The words before the field sum up to all ones.
        const BYTES: &[u8] = &[0xff, 0xff, 0, 0, 0, 0, 0, 0];
        for (start, offset, expected) in [(0, 6, [0xff, 0xff]), (0, 4, [0, 0])] {
            let offload = ChecksumOffload { start, offset };
            let out = written(&packet(BYTES, Some(offload))).expect("fits");
            let at = usize::from(offset);
            assert_eq!(out[at..at + 2], expected);
        }
    }

    #[test]
    fn a_checksum_outside_the_packet_is_refused() {
        const BYTES: &[u8] = b"0123456789";
        for (start, offset) in [
            (11, 0),
            (10, 0),
            (9, 0),
            (0, 9),
            (0, u16::MAX),
            (u16::MAX, 0),
        ] {
            let offload = ChecksumOffload { start, offset };
            let result = written(&packet(BYTES, Some(offload)));
            assert_eq!(result, Err(InvalidOffload), "{start} {offset}");
        }
    }

    #[test]
    fn super_segments_stay_whole_on_a_link_and_go_nowhere_else() {
        let mut packet = packet(b"0123456789", None);
        packet.offload = TxOffload {
            checksum: None,
            segment: Some(SegmentOffload {
                kind: SegmentKind::Udp,
                size: 3,
                header_len: 4,
            }),
        };
        assert_eq!(written(&packet), Err(InvalidOffload));
        let frame = Frame::new(&packet).expect("whole");
        assert_eq!((frame.bytes(), frame.gso_size()), (&b"0123456789"[..], 3));
    }

    #[test]
    fn any_single_flipped_bit_breaks_the_checksum() {
        const BYTES: &[u8] = b"01\0\0XY456789abcd";
        let offload = ChecksumOffload {
            start: 0,
            offset: 2,
        };
        let frame = Frame::new(&packet(BYTES, Some(offload))).expect("fits");
        assert!(checksum::verify(frame.bytes()));
        for bit in 0..128_u32 {
            let mut frame = frame.clone();
            frame.flip_bit(bit << 25);
            assert!(!checksum::verify(frame.bytes()), "bit {bit}");
            assert_eq!(frame.checksum(), RxChecksum::Unknown);
        }
    }
}
