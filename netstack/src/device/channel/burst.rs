//! Single packets that leave in one batch, in one slab of the stack.

use bytes::Bytes;
use packet::SlabMut;
use packet::frame::TxPacket;

use super::super::linear::{self, InvalidOffload};
use super::buffer::Lender;
use super::out_memory::SLAB_BYTES_MIN;
use super::run::{RUN_BYTES_MAX, RUN_PACKETS_MAX, Run};

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
        if bytes >= SLAB_BYTES_MIN {
            self.slab = lender.lend(bytes.min(RUN_BYTES_MAX));
        }
    }

    /// Returns true if it has a slab.
    pub(super) fn is_open(&self) -> bool {
        self.slab.is_some()
    }

    /// Writes a packet. Returns `None` if there is no room for it.
    pub(super) fn push(&mut self, packet: &TxPacket) -> Option<Result<(), InvalidOffload>> {
        let len = packet.len();
        if self.written + len > RUN_BYTES_MAX {
            return None;
        }
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
        for equal in self.lens.chunk_by(|one, next| one == next) {
            for packets in equal.chunks(RUN_PACKETS_MAX) {
                let len = packets.first().copied().unwrap_or(0);
                each(Run::new(bytes.split_to(len * packets.len()), len));
            }
        }
        self.lens.clear();
        self.written = 0;
    }
}
