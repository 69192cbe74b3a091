//! A UDP socket as pure state: a bounded queue of datagrams, a peer, an error to report.
//!
//! * **Define.** The queue holds at most so many datagrams and pins at most so many bytes of
//!   memory, counted as held and not as received.
//! * **Enforce.** [`Socket::deliver`] is the only way in; small datagrams are copied out of the
//!   receive slab, so that 64 bytes do not pin 64 KiB.
//! * **Consume.** The stack delivers without asking about memory; what does not fit is one counted
//!   [`DropReason::UdpQueueFull`].
//!
//! Knows no tables, no wakers, no lock. Sections: RFC 768, RFC 1122 section 4.1.3, RFC 8085
//! section 5.1.

use core::net::{IpAddr, SocketAddr};
use std::collections::VecDeque;

use bytes::Bytes;
use packet::{Buffers, Payload};

use super::error::{SendError, SocketError};
use crate::base::DropReason;

/// Payloads from this length on keep the slab they came in; shorter ones are copied out.
pub const KEEP_SLAB_BYTES: usize = 16 << 10;

/// The most payload of a datagram over IPv4, in bytes: 65,535 less both headers.
pub const MAX_PAYLOAD_V4: usize = 65_507;
/// The most payload of a datagram over IPv6, in bytes: 65,535 less the UDP header.
pub const MAX_PAYLOAD_V6: usize = 65_527;

/// A datagram as received.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// Who sent it.
    pub from: SocketAddr,
    /// Which of our addresses it was sent to (may be a broadcast or multicast address).
    pub to: IpAddr,
    /// What it carries.
    pub payload: Payload,
    /// Memory that it was counted for, in bytes.
    cost: usize,
}

/// The outcome of [`Socket::deliver_segmented`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentedDelivery {
    /// Datagrams queued.
    pub delivered: u32,
    /// Datagrams discarded, each under `reason`.
    pub dropped: u32,
    /// Why.
    pub reason: DropReason,
}

/// One UDP socket, bound, perhaps connected.
#[derive(Debug)]
pub struct Socket {
    local: SocketAddr,
    remote: Option<SocketAddr>,
    queue: VecDeque<Datagram>,
    /// Memory that the queue pins, in bytes.
    queued_bytes: usize,
    max_datagrams: usize,
    max_bytes: usize,
    error: Option<SocketError>,
}

impl Socket {
    /// A socket bound to `local` that queues at most `max_datagrams` datagrams and `max_bytes`
    /// bytes of memory (at least one datagram, whatever its size).
    pub fn new(local: SocketAddr, max_datagrams: usize, max_bytes: usize) -> Self {
        Self {
            local,
            remote: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            max_datagrams: max_datagrams.max(1),
            max_bytes,
            error: None,
        }
    }

    /// What it is bound to; the address may be unspecified.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// What it is connected to.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    /// Connects: from now on only `remote` is heard, and `local` (chosen by the stack) is where
    /// it is answered from. What was queued from others before is dropped, as it could no longer
    /// be told apart; returns how many datagrams that were.
    pub fn connect(&mut self, local: SocketAddr, remote: SocketAddr) -> usize {
        self.local = local;
        self.remote = Some(remote);
        self.error = None;
        let before = self.queue.len();
        self.queue.retain(|d| d.from == remote);
        self.queued_bytes = self.queue.iter().map(|d| d.cost).sum();
        before - self.queue.len()
    }

    /// Ends the connection; the socket stays bound to `local`.
    pub fn disconnect(&mut self, local: SocketAddr) {
        self.local = local;
        self.remote = None;
        self.error = None;
    }

    /// Takes in a datagram. `payload` is a slice of the receive slab.
    ///
    /// # Errors
    /// [`DropReason::UdpNoSocket`] if the socket is connected to somebody else,
    /// [`DropReason::UdpQueueFull`] if the queue has no room.
    pub fn deliver(
        &mut self,
        from: SocketAddr,
        to: IpAddr,
        payload: Payload,
        buffers: &Buffers,
    ) -> Result<(), DropReason> {
        if !self.accepts_from(from) {
            return Err(DropReason::UdpNoSocket);
        }
        // Asked before copying, so that a full socket costs nothing.
        if !self.has_room(payload.len()) {
            return Err(DropReason::UdpQueueFull);
        }
        let payload = copied_out(payload, buffers);
        let memory = payload.pinned_bytes();
        self.enqueue(from, to, payload, memory)
    }

    /// Queues the datagrams that the device coalesced into one (UDP GRO): each has `gso_size` bytes
    /// of `payload`, the last may have fewer. A long payload stays in its slab, whose memory the
    /// datagrams share; the queue hands them out in order, so at most one slab at a time is held for
    /// less than it was counted for.
    pub fn deliver_segmented(
        &mut self,
        from: SocketAddr,
        to: IpAddr,
        payload: Payload,
        gso_size: u16,
        buffers: &Buffers,
    ) -> SegmentedDelivery {
        let size = usize::from(gso_size).max(1);
        // At most 65,535: one for each byte.
        let count = payload.len().div_ceil(size).max(1);
        let shared =
            (payload.len() >= KEEP_SLAB_BYTES).then(|| payload.pinned_bytes().div_ceil(count));
        let mut outcome = SegmentedDelivery {
            delivered: 0,
            dropped: 0,
            reason: DropReason::UdpQueueFull,
        };
        for n in 0..count {
            let datagram = payload.slice(n * size..(n + 1) * size);
            let result = match shared {
                Some(memory) if self.accepts_from(from) => self.enqueue(from, to, datagram, memory),
                _ => self.deliver(from, to, datagram, buffers),
            };
            match result {
                Ok(()) => outcome.delivered += 1,
                Err(reason) => {
                    // Each of the rest would fail for the same reason.
                    outcome.dropped = (count - n) as u32;
                    outcome.reason = reason;
                    break;
                }
            }
        }
        outcome
    }

    /// True if datagrams from `from` are for this socket.
    fn accepts_from(&self, from: SocketAddr) -> bool {
        self.remote.is_none_or(|remote| remote == from)
    }

    /// Whether a datagram that takes `memory` bytes fits; the first always does.
    fn has_room(&self, memory: usize) -> bool {
        self.queue.is_empty()
            || self.queue.len() < self.max_datagrams && self.queued_bytes + memory <= self.max_bytes
    }

    fn enqueue(
        &mut self,
        from: SocketAddr,
        to: IpAddr,
        payload: Payload,
        memory: usize,
    ) -> Result<(), DropReason> {
        let cost = memory + size_of::<Datagram>();
        if !self.has_room(cost) {
            return Err(DropReason::UdpQueueFull);
        }
        self.queued_bytes += cost;
        self.queue.push_back(Datagram {
            from,
            to,
            payload,
            cost,
        });
        Ok(())
    }

    /// The oldest datagram.
    pub fn recv(&mut self) -> Option<Datagram> {
        let datagram = self.queue.pop_front()?;
        self.queued_bytes = self.queued_bytes.saturating_sub(datagram.cost);
        if self.queue.is_empty() && self.queue.capacity() > 64 {
            // An idle socket holds no memory for the burst it once had.
            self.queue.shrink_to(16);
        }
        Some(datagram)
    }

    /// The oldest datagram, left in the queue.
    pub fn peek(&self) -> Option<&Datagram> {
        self.queue.front()
    }

    /// Datagrams queued.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Memory that the queue pins, in bytes.
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// True if [`Socket::recv`] or [`Socket::take_error`] has something.
    pub fn is_readable(&self) -> bool {
        !self.queue.is_empty() || self.error.is_some()
    }

    /// Takes in an ICMP error about a datagram sent to `remote`. Only a connected socket reports
    /// it, once: to others it would not say whom it concerns. True if there is now something to
    /// report.
    pub fn on_error(&mut self, remote: SocketAddr, error: SocketError) -> bool {
        let concerned = self.remote == Some(remote);
        if concerned {
            self.error = Some(error);
        }
        concerned
    }

    /// The error to report, once.
    pub fn take_error(&mut self) -> Option<SocketError> {
        self.error.take()
    }

    /// Where a datagram of `len` bytes goes: `to` if given, else the connected peer.
    ///
    /// # Errors
    /// A [`SendError`] that says what is wrong with the request.
    pub fn destination(&self, to: Option<SocketAddr>, len: usize) -> Result<SocketAddr, SendError> {
        let to = to.or(self.remote).ok_or(SendError::NotConnected)?;
        if to.is_ipv4() != self.local.is_ipv4() {
            return Err(SendError::Family);
        }
        if to.port() == 0 {
            return Err(SendError::PortZero);
        }
        let max = if to.is_ipv4() {
            MAX_PAYLOAD_V4
        } else {
            MAX_PAYLOAD_V6
        };
        if len > max {
            return Err(SendError::TooLong { len, max });
        }
        Ok(to)
    }
}

/// A short payload out of the large slab it came in: into a small slab, or, when those are too
/// short or used up, into memory of its own length. Long payloads keep their slab.
fn copied_out(payload: Payload, buffers: &Buffers) -> Payload {
    let len = payload.len();
    if len == 0 {
        return Payload::default();
    }
    if len >= KEEP_SLAB_BYTES || payload.pinned_bytes() <= len.max(buffers.small().slab_bytes()) {
        return payload;
    }
    if len <= buffers.small().slab_bytes()
        && let Some(copy) = buffers.copy(&payload)
    {
        return copy;
    }
    Payload::from(Bytes::copy_from_slice(&payload))
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
