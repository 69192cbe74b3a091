//! Single packets that leave in one batch, in one slab of the stack.

use bytes::Bytes;
use packet::SlabMut;
use packet::frame::TxPacket;

use super::super::linear::{self, InvalidOffload};
use super::buffer::Lender;
use super::run::Run;

/// Bytes from which packets of one batch share a slab: as long as the program keeps one of them, it keeps the slab.
const SHARED_BYTES_MIN: usize = 8 << 10;
/// Most bytes in one slab.
const SHARED_BYTES_MAX: usize = 65_535;

/// Packets that were written into one slab. Kept from one batch to the next, for its allocation.
#[derive(Debug, Default)]
pub(super) struct Burst {
    slab: Option<SlabMut>,
    /// The lengths of the packets in it.
    lens: Vec<usize>,
    /// The sum of them.
    written: usize,
}

impl Burst {
    /// Takes a slab if `bytes` of packets are worth one, and the stack has one.
    pub(super) fn begin(&mut self, bytes: usize, lender: &Lender) {
        if bytes >= SHARED_BYTES_MIN {
            self.slab = lender.lend(bytes.min(SHARED_BYTES_MAX));
        }
    }

    /// Writes a packet. Returns `None` if there is no room for it.
    pub(super) fn push(&mut self, packet: &TxPacket) -> Option<Result<(), InvalidOffload>> {
        let len = packet.len();
        let out = self
            .slab
            .as_mut()?
            .as_mut_slice()
            .get_mut(self.written..self.written + len)?;
        let result = linear::write_to(packet, out);
        if result.is_ok() {
            self.lens.push(len);
            self.written += len;
        }
        Some(result)
    }

    /// Ends the burst. Passes its packets to `each`, those of one length that follow each other as one run.
    pub(super) fn finish(&mut self, mut each: impl FnMut(Run)) {
        let Some(slab) = self.slab.take() else {
            return;
        };
        let mut bytes = Bytes::from(slab.freeze(0..self.written));
        for packets in self.lens.chunk_by(|one, next| one == next) {
            let Some(&len) = packets.first() else {
                continue;
            };
            each(Run::new(bytes.split_to(len * packets.len()), len));
        }
        self.lens.clear();
        self.written = 0;
    }
}
