//! A UDP socket as pure state: a bounded queue of datagrams, a peer, and a pending error.
//!
//! The queue has a limit of datagrams and of memory. Memory is counted as held, not as received: small
//! datagrams are copied out of the receive slab, so that 64 bytes do not pin 64 KiB. Datagrams that
//! exceed a limit are dropped under [`DropReason::UdpQueueFull`].
//!
//! Sections: RFC 768, RFC 1122 section 4.1.3, RFC 8085 section 5.1.

use core::net::SocketAddr;
use std::collections::VecDeque;

use packet::buf::{Account, Held};
use packet::{Buffers, Payload};

use super::datagram::{
    Datagram, KEEP_SLAB_BYTES, SEGMENTS_MAX, SegmentedDelivery, Segments, copied_out,
};
use super::destination::check_destination;
use super::error::{SendError, SocketError};
use crate::base::DropReason;
use crate::ip::peer::{PeerNet, draw_crowding};

/// A datagram in the queue.
#[derive(Debug)]
struct Queued {
    from: SocketAddr,
    to: SocketAddr,
    payload: Held,
    /// Memory counted for it, in bytes.
    cost: usize,
}

/// The part of its life that a socket is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    /// It accepts datagrams.
    Open,
    /// Its place was given to another flow: it accepts nothing, and reports that for ever.
    Displaced,
    /// Its flow was idle for too long: it accepts nothing, and reports that for ever.
    Idle,
    /// The application let go of it: it accepts nothing.
    Closed,
}

/// A UDP socket that is bound, and connected or not.
///
/// ```
/// use netstack::udp::Socket;
/// use packet::{Buffers, Payload};
///
/// let buffers = Buffers::new(2048, 16, 16);
/// let mut socket = Socket::new("10.0.0.1:53".parse()?, 8, 1 << 20);
/// let payload = Payload::from(bytes::Bytes::from_static(b"question"));
/// socket.deliver("10.0.0.9:4000".parse()?, "10.0.0.1:53".parse()?, payload, &buffers).expect("room");
///
/// let datagram = socket.recv().expect("delivered");
/// assert_eq!(&datagram.payload[..], b"question");
/// assert_eq!(socket.destination(Some(datagram.from), 100)?, datagram.from);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Socket {
    local: SocketAddr,
    remote: Option<SocketAddr>,
    queue: VecDeque<Queued>,
    account: Account,
    /// Memory that the queue holds, in bytes.
    queued_bytes: usize,
    max_datagrams: usize,
    max_bytes: usize,
    error: Option<SocketError>,
    life: Life,
    /// Datagrams displaced by those of other senders, not yet counted.
    displaced: u32,
    /// State of the draw of a sample.
    draw: u64,
    /// Datagrams queued, and datagrams dropped, since the socket was made.
    totals: (u64, u64),
}

impl Socket {
    /// Creates a socket bound to `local` that queues at most `max_datagrams` datagrams and `max_bytes`
    /// bytes of memory, but always at least one datagram.
    pub fn new(local: SocketAddr, max_datagrams: usize, max_bytes: usize) -> Self {
        Self {
            local,
            remote: None,
            queue: VecDeque::new(),
            account: Account::default(),
            queued_bytes: 0,
            max_datagrams: max_datagrams.max(1),
            max_bytes,
            error: None,
            life: Life::Open,
            displaced: 0,
            draw: u64::from(local.port()),
            totals: (0, 0),
        }
    }

    /// Returns how many datagrams were queued, and how many dropped, since the socket was made.
    pub fn totals(&self) -> (u64, u64) {
        self.totals
    }

    /// Sets the most bytes of memory that the queue holds. What is queued stays.
    pub fn set_max_bytes(&mut self, max_bytes: usize) {
        self.max_bytes = max_bytes;
    }

    /// Returns the most bytes of memory that the queue holds.
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Returns the local address and port; the address may be unspecified.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Returns the peer, if the socket is connected.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    /// Connects the socket to `remote`, with the source address `local` that the stack selected. Only
    /// datagrams from `remote` are accepted from now on. Drops queued datagrams from other senders and
    /// returns their number.
    pub fn connect(&mut self, local: SocketAddr, remote: SocketAddr) -> usize {
        self.local = local;
        self.remote = Some(remote);
        self.error = None;
        let before = self.queue.len();
        self.queue.retain(|d| d.from == remote);
        self.queued_bytes = self.queue.iter().map(|d| d.cost).sum();
        before - self.queue.len()
    }

    /// Disconnects the socket, which stays bound to `local`.
    pub fn disconnect(&mut self, local: SocketAddr) {
        self.local = local;
        self.remote = None;
        self.error = None;
    }

    /// Queues a datagram. `payload` is a slice of the receive slab.
    ///
    /// # Errors
    /// [`DropReason::UdpNoSocket`] if the socket is connected to another peer,
    /// [`DropReason::UdpQueueFull`] if the queue has no room.
    pub fn deliver(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        payload: Payload,
        buffers: &Buffers,
    ) -> Result<(), DropReason> {
        let delivered = self.try_deliver(from, to, payload, buffers);
        self.totals.1 += u64::from(delivered.is_err());
        delivered
    }

    fn try_deliver(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        payload: Payload,
        buffers: &Buffers,
    ) -> Result<(), DropReason> {
        if !self.accepts_from(from) {
            return Err(DropReason::UdpNoSocket);
        }
        // Checked before the copy, so that a full socket costs little.
        if let Some(reason) = self.refusal(payload.len(), buffers) {
            self.displace_for(from);
            if self.refusal(payload.len(), buffers).is_some() {
                return Err(reason);
            }
        }
        let memory = buffers.charging(&self.account);
        let Some(payload) = copied_out(payload, memory) else {
            return Err(DropReason::MemoryLimit);
        };
        let pinned = payload.pinned_bytes();
        self.enqueue(from, to, payload, pinned)
    }

    /// Queues the datagrams that the device coalesced into one (UDP GRO): each has `gso_size` bytes
    /// of `payload`, the last may have fewer. A long payload stays in its slab, whose memory the
    /// datagrams share, unless it is lent; the queue hands them out in order, so at most one slab at a time is held for
    /// less than it was counted for.
    pub fn deliver_segmented(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        payload: Payload,
        gso_size: u16,
        buffers: &Buffers,
    ) -> SegmentedDelivery {
        let size = usize::from(gso_size).max(1);
        // At most 65,535, one per byte.
        let count = payload.len().div_ceil(size).max(1);
        let account = self.account.clone();
        let memory = buffers.charging(&account);
        let shared = (payload.len() >= KEEP_SLAB_BYTES && memory.is_at_ease())
            .then(|| payload.pinned_bytes().div_ceil(count));
        let mut outcome = SegmentedDelivery {
            delivered: 0,
            dropped: 0,
            reason: DropReason::UdpQueueFull,
        };
        for n in 0..count {
            let datagram = payload.slice(n * size..(n + 1) * size);
            let shared = shared.filter(|_| self.accepts_from(from));
            let result = match shared.zip(memory.hold(datagram.clone()).ok()) {
                Some((cost, held)) => self.enqueue(from, to, held, cost),
                None => self.try_deliver(from, to, datagram, buffers),
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
        self.totals.1 += u64::from(outcome.dropped);
        outcome
    }

    /// Returns the reason why a datagram of `len` bytes is refused, if it is.
    fn refusal(&self, len: usize, buffers: &Buffers) -> Option<DropReason> {
        if !self.has_room(len) {
            Some(DropReason::UdpQueueFull)
        } else if buffers.charging(&self.account).room(self.queued_bytes) < len {
            Some(DropReason::MemoryShare)
        } else {
            None
        }
    }

    /// Drops the newest datagram that a sample shows of the sender that crowds others out, if there is one, to make
    /// room for one of `from`.
    fn displace_for(&mut self, from: SocketAddr) {
        let (queue, random) = (&self.queue, &mut self.draw);
        let draw = || {
            // Knuth's MMIX generator; the upper bits are the good ones.
            *random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let at = ((u128::from(*random) * queue.len() as u128) >> 64) as usize;
            let datagram = queue.get(at)?;
            Some((at, PeerNet::of(datagram.from.ip())))
        };
        let newest = draw_crowding(PeerNet::of(from.ip()), draw, usize::max);
        if let Some(displaced) = newest.and_then(|at| self.queue.remove(at)) {
            self.queued_bytes = self.queued_bytes.saturating_sub(displaced.cost);
            self.displaced += 1;
            self.totals.1 += 1;
        }
    }

    /// Returns how many queued datagrams made room for those of other senders since the last call.
    pub fn take_displaced(&mut self) -> u32 {
        core::mem::take(&mut self.displaced)
    }

    /// Returns `true` if the socket accepts datagrams from `from`.
    fn accepts_from(&self, from: SocketAddr) -> bool {
        self.life == Life::Open && self.remote.is_none_or(|remote| remote == from)
    }

    /// Returns `true` if a datagram that holds `memory` bytes fits. The first always does.
    fn has_room(&self, memory: usize) -> bool {
        self.queue.is_empty()
            || self.queue.len() < self.max_datagrams && self.queued_bytes + memory <= self.max_bytes
    }

    fn enqueue(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        payload: Held,
        pinned: usize,
    ) -> Result<(), DropReason> {
        let cost = pinned + size_of::<Queued>();
        if !self.has_room(cost) {
            self.displace_for(from);
        }
        if !self.has_room(cost) {
            return Err(DropReason::UdpQueueFull);
        }
        self.totals.0 += 1;
        self.queued_bytes += cost;
        self.queue.push_back(Queued {
            from,
            to,
            payload,
            cost,
        });
        Ok(())
    }

    /// Removes and returns the oldest datagram.
    pub fn recv(&mut self) -> Option<Datagram> {
        let datagram = self.queue.pop_front()?;
        self.queued_bytes = self.queued_bytes.saturating_sub(datagram.cost);
        if self.queue.is_empty() && self.queue.capacity() > 64 {
            // An idle socket keeps no memory of an earlier burst.
            self.queue.shrink_to(16);
        }
        Some(Datagram {
            from: datagram.from,
            to: datagram.to,
            payload: datagram.payload.into_payload(),
        })
    }

    /// Removes and returns the oldest datagram with those behind it that the device handed over with it.
    pub fn recv_segments(&mut self) -> Option<Segments> {
        let Datagram {
            from,
            to,
            mut payload,
        } = self.recv()?;
        let each = payload.len();
        for _ in 1..SEGMENTS_MAX {
            let continues = |next: &Queued| {
                let is_alike = next.from == from && next.to == to;
                is_alike
                    && (1..=each).contains(&next.payload.len())
                    && next.payload.continues(&payload)
            };
            if !self.queue.front().is_some_and(continues) {
                break;
            }
            let Some(next) = self.recv() else { break };
            let is_last = next.payload.len() < each;
            if payload.extend_over(next.payload).is_err() || is_last {
                break;
            }
        }
        Some(Segments {
            from,
            to,
            payload,
            // No datagram is longer.
            segment: u16::try_from(each).unwrap_or(u16::MAX),
        })
    }

    /// Moves what the queue holds out of slabs that it does not fill, and drops the newest datagrams beyond
    /// `share` bytes of memory, but not the first. Returns how many bytes were copied, and how many datagrams
    /// were dropped.
    pub fn give_up_memory(&mut self, share: usize, buffers: &Buffers) -> (usize, usize) {
        let account = self.account.clone();
        let memory = buffers.charging(&account);
        let mut copied = 0;
        for datagram in &mut self.queue {
            let bytes = memory.compact(&mut datagram.payload);
            if bytes > 0 {
                copied += bytes;
                let cost = datagram.payload.pinned_bytes() + size_of::<Queued>();
                self.queued_bytes = (self.queued_bytes + cost).saturating_sub(datagram.cost);
                datagram.cost = cost;
            }
        }
        let mut dropped = 0;
        while self.queued_bytes > share
            && self.queue.len() > 1
            && let Some(newest) = self.queue.pop_back()
        {
            self.queued_bytes = self.queued_bytes.saturating_sub(newest.cost);
            dropped += 1;
        }
        (copied, dropped)
    }

    /// Returns the memory that the socket keeps others from using, in bytes: its queue, and what the
    /// application took and has not dropped.
    pub fn pinned(&self) -> usize {
        self.account.pinned()
    }

    /// Returns the payload of the oldest datagram without removing it.
    pub fn peek(&self) -> Option<&[u8]> {
        self.queue.front().map(|datagram| &*datagram.payload)
    }

    /// Returns the datagrams that wait, oldest first: sender, destination, payload.
    pub fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, SocketAddr, &[u8])> {
        let queue = self.queue.iter();
        queue.map(|datagram| (datagram.from, datagram.to, &*datagram.payload))
    }

    /// Returns the sender of the oldest datagram.
    pub fn peek_sender(&self) -> Option<SocketAddr> {
        self.queue.front().map(|datagram| datagram.from)
    }

    /// Returns the number of queued datagrams.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Returns the memory that the queue holds, in bytes.
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Returns `true` if [`Socket::recv`] or [`Socket::take_error`] would return `Some`.
    pub fn is_readable(&self) -> bool {
        !self.queue.is_empty() || self.error.is_some() || self.final_error().is_some()
    }

    /// Ends a flow whose place is needed: the socket has no peer any more, accepts nothing, and reports
    /// [`SocketError::Displaced`] from now on. Drops its queue, and returns the number of datagrams in it.
    pub fn displace(&mut self) -> usize {
        self.end(Life::Displaced)
    }

    /// Ends a flow that is idle: the socket has no peer any more, accepts nothing, and reports [`SocketError::Idle`] from
    /// now on. Returns false, and changes nothing, if it has a datagram that was not received.
    pub fn end_idle(&mut self) -> bool {
        let is_idle = self.queue.is_empty() && self.life == Life::Open;
        if is_idle {
            self.end(Life::Idle);
        }
        is_idle
    }

    /// Returns the error that the socket reports for ever.
    fn final_error(&self) -> Option<SocketError> {
        match self.life {
            Life::Displaced => Some(SocketError::Displaced),
            Life::Idle => Some(SocketError::Idle),
            Life::Open | Life::Closed => None,
        }
    }

    /// Closes the socket: it has no peer any more, and accepts nothing. Drops its queue, and returns the number of
    /// datagrams in it.
    pub fn close(&mut self) -> usize {
        self.end(Life::Closed)
    }

    fn end(&mut self, life: Life) -> usize {
        self.life = life;
        self.remote = None;
        self.queued_bytes = 0;
        core::mem::take(&mut self.queue).len()
    }

    /// Records an ICMP error about a datagram sent to `remote`, and returns `true` if the socket reports
    /// it. Only a socket connected to `remote` does: to the user of another it would not name the peer.
    pub fn on_error(&mut self, remote: SocketAddr, error: SocketError) -> bool {
        let concerned = self.remote == Some(remote);
        if concerned {
            self.error = Some(error);
        }
        concerned
    }

    /// Removes and returns the pending error. A flow that was ended returns [`SocketError::Displaced`] or
    /// [`SocketError::Idle`] every time.
    pub fn take_error(&mut self) -> Option<SocketError> {
        self.final_error().or_else(|| self.error.take())
    }

    /// Returns the destination of a datagram with `len` bytes of payload: `to` if given, else the peer.
    ///
    /// # Errors
    /// A [`SendError`] if the datagram cannot be sent.
    pub fn destination(&self, to: Option<SocketAddr>, len: usize) -> Result<SocketAddr, SendError> {
        check_destination(self.local, to.or(self.remote), len)
    }
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
