//! Packets that a stack sends to itself: they never reach the device.
//!
//! They are taken in at the beginning of the next turn, like packets that were received, and in memory of the same
//! budget. One turn produces no more of them than it sends, and the next one takes them all, so they need no
//! limit of their own.

use packet::buf::SMALL_SLAB_BYTES;
use packet::frame::{RxPacket, TxPacket};
use packet::{Buffers, Payload, RxChecksum};

use crate::base::counters::{Counter, DropReason};
use crate::base::{Counters, Instant};

/// The packets on their way from one turn to the next.
#[derive(Default)]
pub(super) struct Loopback {
    waiting: Vec<RxPacket>,
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
            match received(&packet, buffers, now) {
                Some(packet) => self.waiting.push(packet),
                None => counters.drop_packet(DropReason::NoReceiveBuffer),
            }
        }
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

/// Returns a sent packet as it is received. Nothing can have damaged it on the way, so its checksum need not
/// be computed.
fn received(packet: &TxPacket, buffers: &Buffers, now: Instant) -> Option<RxPacket> {
    let segment = packet.offload.segment.as_ref();
    Some(RxPacket {
        data: joined(packet, buffers)?,
        checksum: RxChecksum::Vouched,
        gso_size: segment.map_or(0, |segment| segment.size),
        arrived_nanos: now.as_nanos(),
    })
}

/// Copies a packet into a small slab, or else into memory of its own length: a large slab may be much longer than the
/// packet, or shorter, since the link has another MTU.
fn joined(packet: &TxPacket, buffers: &Buffers) -> Option<Payload> {
    let head = packet.head.as_slice();
    let len = head.len() + packet.payload.len_bytes();
    if len <= SMALL_SLAB_BYTES {
        let mut small = [0; SMALL_SLAB_BYTES];
        let (front, mut rest) = small.split_at_mut_checked(head.len())?;
        front.copy_from_slice(head);
        for piece in packet.payload.slices() {
            let (to, behind) = rest.split_at_mut_checked(piece.len())?;
            to.copy_from_slice(piece);
            rest = behind;
        }
        if let Some(copy) = buffers.copy(small.get(..len)?) {
            return Some(copy);
        }
    }
    buffers.gather(std::iter::once(head).chain(packet.payload.slices()))
}
