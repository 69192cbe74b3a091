//! A packet in one piece, its checksum finished: for devices that take bytes and nothing else.

use packet::checksum::{Checksum, RxChecksum};
use packet::frame::{ChecksumOffload, TxPacket};

/// Where the checksum is in a UDP header, in bytes.
const UDP_CHECKSUM_AT: u16 = 6;

/// The packet describes itself wrongly, or asks for what a linear packet cannot have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unfit;

/// Replaces what is in `out` by the packet, with a checksum that a receiver can verify.
pub(super) fn write(packet: &TxPacket, out: &mut Vec<u8>) -> Result<(), Unfit> {
    if packet.offload.segment.is_some() {
        return Err(Unfit);
    }
    join(packet, out)
}

/// [`write`] that leaves a super-segment whole, as one packet larger than any MTU.
fn join(packet: &TxPacket, out: &mut Vec<u8>) -> Result<(), Unfit> {
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

/// Adds what is covered to the partial sum that is in the checksum field already.
fn finish(checksum: &ChecksumOffload, packet: &mut [u8]) -> Result<(), Unfit> {
    let covered = packet.get_mut(checksum.start.into()..).ok_or(Unfit)?;
    let mut sum = Checksum::new();
    sum.add_bytes(covered);
    let at = usize::from(checksum.offset);
    let field = covered.get_mut(at..at + 2).ok_or(Unfit)?;
    // No checksum at all is what zero means to UDP (RFC 768).
    let sum = match sum.finish() {
        0 if checksum.offset == UDP_CHECKSUM_AT => 0xffff,
        sum => sum,
    };
    field.copy_from_slice(&sum.to_be_bytes());
    Ok(())
}

/// A packet on an in-memory link.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    bytes: Vec<u8>,
    checksum: RxChecksum,
    gso_size: u16,
}

impl Frame {
    /// The packet in one piece; a super-segment stays one.
    pub(super) fn new(packet: &TxPacket) -> Result<Self, Unfit> {
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

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn checksum(&self) -> RxChecksum {
        self.checksum
    }

    pub(super) fn gso_size(&self) -> u16 {
        self.gso_size
    }

    /// Nobody vouches for the checksum any more.
    pub(super) fn distrust(&mut self) {
        self.checksum = RxChecksum::Unknown;
    }

    /// Flips one bit, chosen by `chance`. One alone: an internet checksum always finds that.
    pub(super) fn flip_bit(&mut self, chance: u32) {
        self.distrust();
        let bits = self.bytes.len() as u64 * 8;
        let bit = (u64::from(chance) * bits) >> 32;
        if let Some(byte) = self.bytes.get_mut((bit / 8) as usize) {
            *byte ^= 1 << (bit % 8);
        }
    }
}
