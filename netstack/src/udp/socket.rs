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
}

/// What an ICMP error told us about a peer (RFC 1122 section 4.1.3.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SocketError {
    /// Nobody listens on the peer's port.
    #[error("connection refused")]
    Refused,
    /// The peer's host cannot be reached.
    #[error("host unreachable")]
    HostUnreachable,
    /// The peer's network cannot be reached.
    #[error("network unreachable")]
    NetUnreachable,
    /// Something on the way forbids it.
    #[error("administratively prohibited")]
    Prohibited,
    /// The datagram was larger than the path carries.
    #[error("datagram larger than the path's MTU of {mtu} bytes")]
    TooBig {
        /// The path MTU, in bytes.
        mtu: u16,
    },
    /// A header field that somebody on the way did not understand.
    #[error("parameter problem")]
    Protocol,
}

/// Why a datagram cannot be sent as asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// No destination given and the socket is not connected.
    #[error("no destination: connect the socket or name one")]
    NotConnected,
    /// The destination's family is not the socket's.
    #[error("destination is of another address family than the socket")]
    Family,
    /// Port 0 cannot be sent to.
    #[error("destination port is 0")]
    PortZero,
    /// Longer than a datagram can be.
    #[error("{len} bytes do not fit in a datagram: at most {most}")]
    TooLong {
        /// Bytes asked for.
        len: usize,
        /// Most that fit.
        most: usize,
    },
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
        self.queued_bytes = self.queue.iter().map(cost).sum();
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
        if self.remote.is_some_and(|remote| remote != from) {
            return Err(DropReason::UdpNoSocket);
        }
        if self.queue.len() >= self.max_datagrams
            || self.queued_bytes + payload.len() > self.max_bytes && !self.queue.is_empty()
        {
            return Err(DropReason::UdpQueueFull);
        }
        let datagram = Datagram {
            from,
            to,
            payload: copied_out(payload, buffers),
        };
        let cost = cost(&datagram);
        if self.queued_bytes + cost > self.max_bytes && !self.queue.is_empty() {
            return Err(DropReason::UdpQueueFull);
        }
        self.queued_bytes += cost;
        self.queue.push_back(datagram);
        Ok(())
    }

    /// The oldest datagram.
    pub fn recv(&mut self) -> Option<Datagram> {
        let datagram = self.queue.pop_front()?;
        self.queued_bytes = self.queued_bytes.saturating_sub(cost(&datagram));
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
        let most = if to.is_ipv4() {
            MAX_PAYLOAD_V4
        } else {
            MAX_PAYLOAD_V6
        };
        if len > most {
            return Err(SendError::TooLong { len, most });
        }
        Ok(to)
    }
}

/// Memory that a queued datagram costs.
fn cost(datagram: &Datagram) -> usize {
    datagram.payload.pinned_bytes() + size_of::<Datagram>()
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
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect(text)
    }

    fn received(buffers: &Buffers, len: usize) -> Payload {
        let slab = buffers.large().take().expect("slab");
        slab.freeze(0..len)
    }

    const TO: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 1));

    fn socket(max_datagrams: usize, max_bytes: usize) -> Socket {
        Socket::new(addr("10.0.0.1:53"), max_datagrams, max_bytes)
    }

    #[test]
    fn short_payloads_let_go_of_the_slab() {
        let buffers = Buffers::new(65_600, 4, 2);
        let mut s = socket(16, 1 << 20);
        let cases = [
            (0, 0),
            (1, 2_048),
            (2_048, 2_048),
            // The small slabs are used up, or too short: memory of its own.
            (100, 100),
            (9_000, 9_000),
            (KEEP_SLAB_BYTES - 1, KEEP_SLAB_BYTES - 1),
            (KEEP_SLAB_BYTES, 65_600),
            (65_507, 65_600),
        ];
        for (len, pinned) in cases {
            let before = s.queued_bytes();
            s.deliver(addr("10.0.0.9:7"), TO, received(&buffers, len), &buffers)
                .expect("room");
            let cost = s.queued_bytes() - before - size_of::<Datagram>();
            assert_eq!(cost, pinned, "{len}");
        }
        assert_eq!(buffers.large().in_use(), 2);
        for (len, _) in cases {
            assert_eq!(s.recv().map(|d| d.payload.len()), Some(len));
        }
        assert_eq!((s.queued_bytes(), s.queued()), (0, 0));
        assert_eq!(buffers.large().in_use() + buffers.small().in_use(), 0);
    }

    #[test]
    fn the_queue_is_bounded_by_datagrams_and_by_memory() {
        let buffers = Buffers::new(65_600, 64, 64);
        let from = addr("10.0.0.9:7");
        let mut s = socket(3, 1 << 20);
        for n in 0..5 {
            let result = s.deliver(from, TO, received(&buffers, 10), &buffers);
            assert_eq!(result.is_ok(), n < 3);
        }
        let mut s = socket(1_000, 3 * (2_048 + size_of::<Datagram>()));
        for n in 0..5 {
            let result = s.deliver(from, TO, received(&buffers, 10), &buffers);
            let expected = if n < 3 {
                Ok(())
            } else {
                Err(DropReason::UdpQueueFull)
            };
            assert_eq!(result, expected);
        }
        s.recv().expect("one");
        assert_eq!(
            s.deliver(from, TO, received(&buffers, 10), &buffers),
            Ok(())
        );
        // However small the limit, one datagram of any size passes.
        let mut s = socket(0, 0);
        assert_eq!(
            s.deliver(from, TO, received(&buffers, 65_507), &buffers),
            Ok(())
        );
        assert_eq!(
            s.deliver(from, TO, received(&buffers, 0), &buffers),
            Err(DropReason::UdpQueueFull)
        );
    }

    #[test]
    fn a_connected_socket_hears_only_its_peer() {
        let buffers = Buffers::new(65_600, 4, 8);
        let (peer, other) = (addr("10.0.0.9:7"), addr("10.0.0.8:7"));
        let mut s = socket(16, 1 << 20);
        for from in [peer, other, peer] {
            s.deliver(from, TO, received(&buffers, 10), &buffers)
                .expect("room");
        }
        assert!(!s.on_error(peer, SocketError::Refused), "not connected");
        assert_eq!(s.connect(addr("10.0.0.1:53"), peer), 1);
        assert_eq!(s.queued(), 2);
        assert_eq!(s.queued_bytes(), 2 * (2_048 + size_of::<Datagram>()));
        assert_eq!(
            s.deliver(other, TO, received(&buffers, 1), &buffers),
            Err(DropReason::UdpNoSocket)
        );
        assert!(!s.on_error(other, SocketError::Refused));
        assert!(s.on_error(peer, SocketError::Refused));
        assert!(s.is_readable());
        assert_eq!(s.take_error(), Some(SocketError::Refused));
        assert_eq!(s.take_error(), None, "told once");
        s.disconnect(addr("0.0.0.0:53"));
        assert_eq!(s.remote(), None);
        assert!(
            s.deliver(other, TO, received(&buffers, 1), &buffers)
                .is_ok()
        );
    }

    #[test]
    fn destinations() {
        let mut s = socket(1, 1);
        let peer = addr("10.0.0.9:7");
        let cases = [
            (None, 0, Err(SendError::NotConnected)),
            (Some(peer), 65_507, Ok(peer)),
            (
                Some(peer),
                65_508,
                Err(SendError::TooLong {
                    len: 65_508,
                    most: 65_507,
                }),
            ),
            (Some(addr("10.0.0.9:0")), 1, Err(SendError::PortZero)),
            (Some(addr("[fd77::1]:7")), 1, Err(SendError::Family)),
        ];
        for (to, len, expected) in cases {
            assert_eq!(s.destination(to, len), expected);
        }
        s.connect(addr("10.0.0.1:53"), peer);
        assert_eq!(s.destination(None, 1), Ok(peer));
        let other = addr("10.0.0.8:9");
        assert_eq!(s.destination(Some(other), 1), Ok(other));
        let v6 = Socket::new(addr("[fd77::1]:53"), 1, 1);
        assert_eq!(
            v6.destination(Some(addr("[fd77::2]:7")), 65_527),
            Ok(addr("[fd77::2]:7"))
        );
        assert!(v6.destination(Some(addr("[fd77::2]:7")), 65_528).is_err());
    }
}
