//! Packets that a stack sends to itself: they never reach the device.
//!
//! They are taken in at the beginning of the next turn, like packets that were received, and in memory of the same
//! budget. One turn produces no more of them than it sends, and the next one takes them all, so they need no
//! limit of their own.

use packet::buf::SMALL_SLAB_BYTES;
use packet::frame::{RxPacket, TxPacket};
use packet::{Buffers, RxChecksum};

use crate::base::counters::{Counter, DropReason};
use crate::base::{Counters, Instant};

/// The packets on their way from one turn to the next.
#[derive(Default)]
pub(super) struct Loopback {
    waiting: Vec<RxPacket>,
    /// Kept for its allocation.
    scratch: Vec<u8>,
}

impl Loopback {
    /// Returns true if no packet waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes the packets that were sent in this turn over, and leaves `sent` empty.
    pub(super) fn fill(
        &mut self,
        sent: &mut Vec<TxPacket>,
        buffers: &Buffers,
        counters: &Counters,
        now: Instant,
    ) {
        counters.add(Counter::Looped, sent.len() as u64);
        for packet in sent.drain(..) {
            match self.received(&packet, buffers, now) {
                Some(packet) => self.waiting.push(packet),
                None => counters.drop_packet(DropReason::NoReceiveBuffer),
            }
        }
    }

    /// Returns a sent packet as it is received. Nothing can have damaged it on the way, so its checksum need not
    /// be computed.
    fn received(&mut self, packet: &TxPacket, buffers: &Buffers, now: Instant) -> Option<RxPacket> {
        let bytes = &mut self.scratch;
        bytes.clear();
        bytes.extend_from_slice(packet.head.as_slice());
        for piece in packet.payload.slices() {
            bytes.extend_from_slice(piece);
        }
        // A large slab may be much longer than the packet, or shorter: the link has another MTU.
        let small = (bytes.len() <= SMALL_SLAB_BYTES).then(|| buffers.copy(bytes));
        let data = small.flatten().or_else(|| buffers.copy_exact(bytes))?;
        let segment = packet.offload.segment.as_ref();
        Some(RxPacket {
            data,
            checksum: RxChecksum::Vouched,
            gso_size: segment.map_or(0, |segment| segment.size),
            arrived_nanos: now.as_nanos(),
        })
    }

    /// Takes the packets out, oldest first.
    pub(super) fn take(&mut self) -> Vec<RxPacket> {
        std::mem::take(&mut self.waiting)
    }

    /// Puts the emptied list back for its allocation.
    pub(super) fn put_back(&mut self, emptied: Vec<RxPacket>) {
        if self.waiting.is_empty() {
            self.waiting = emptied;
        }
    }
}
