//! Datagrams as they are received, and what became of those that a device handed over together.

use core::net::SocketAddr;

use packet::Payload;
use packet::buf::{Held, Memory, SMALL_SLAB_BYTES};

use crate::base::DropReason;

/// Payloads of at least this length keep the slab that they were received in; shorter ones are copied.
pub const KEEP_SLAB_BYTES: usize = 16 << 10;

/// A received datagram.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// The sender.
    pub from: SocketAddr,
    /// The destination, whose address may be a broadcast or multicast address.
    pub to: SocketAddr,
    /// The payload.
    pub payload: Payload,
}

/// Received datagrams of one sender whose payloads lie behind each other in one piece of memory, because the device handed
/// them over together; often it is one.
#[derive(Clone, Debug)]
pub struct Segments {
    /// The sender.
    pub from: SocketAddr,
    /// The destination of all of them.
    pub to: SocketAddr,
    /// The payloads.
    pub payload: Payload,
    /// Bytes of payload of each datagram but the last one, which may have fewer. Of one datagram: all of its bytes.
    pub segment: u16,
}

/// Most datagrams of [`Segments`]: one call can send as many.
pub const SEGMENTS_MAX: usize = 128;

/// The outcome of [`Socket::deliver_segmented`](super::Socket::deliver_segmented).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentedDelivery {
    /// Datagrams queued.
    pub delivered: u32,
    /// Datagrams discarded, each under `reason`.
    pub dropped: u32,
    /// The reason why they were discarded.
    pub reason: DropReason,
}

/// Copies a short payload from the large slab that it was received in, or all that does not fill its slab while
/// memory is short. Holds a long payload as it is. Returns `None` if there is no memory for the copy.
pub(super) fn copied_out(payload: Payload, memory: Memory<'_>) -> Option<Held> {
    let len = payload.len();
    if len == 0 {
        return memory.hold(Payload::default()).ok();
    }
    let fits = len >= KEEP_SLAB_BYTES || payload.pinned_bytes() <= len.max(SMALL_SLAB_BYTES);
    if memory.is_at_ease() && fits && !payload.is_lent() {
        return memory.hold(payload).ok();
    }
    if memory.is_at_ease() && len > SMALL_SLAB_BYTES {
        // A large slab would be as much memory as before.
        return memory.copy_exact(&payload);
    }
    match memory.copy(&payload) {
        Some(copy) => Some(copy),
        None => memory.hold(payload).ok(),
    }
}
