//! Handshakes of authenticated peers (TCP-AO, RFC 5925), as far as they differ from others.

use packet::tcp::TcpFlags;

use super::{HalfOpen, Marks};
use crate::tcp::input::acceptable::is_older;
use crate::tcp::segment::Segment;

impl HalfOpen {
    /// Notes the number of the key that verified the SYN, if the connection is authenticated (TCP-AO, RFC 5925).
    #[must_use]
    pub fn with_key_id(mut self, key_id: Option<u8>) -> Self {
        self.marks.set(Marks::AUTHENTICATED, key_id.is_some());
        self.key_id = key_id.unwrap_or(0);
        self
    }

    /// Returns the number of the key that verified the SYN, if the connection is authenticated.
    pub fn key_id(&self) -> Option<u8> {
        self.marks
            .contains(Marks::AUTHENTICATED)
            .then_some(self.key_id)
    }

    /// Returns true if an authentic SYN of the peer succeeds this handshake. A peer that began anew cannot verify a challenge
    /// ACK, which knows the old numbers only, so it never resets the handshake. The timestamp tells that the SYN is no
    /// repeated one.
    pub fn is_succeeded_by(&self, syn: &Segment) -> bool {
        let is_newer = || {
            let ts = syn.options().timestamps;
            let ts = ts.filter(|_| self.marks.contains(Marks::TIMESTAMPS));
            ts.is_some_and(|ts| ts.val != self.peer_ts && !is_older(ts.val, self.peer_ts))
        };
        self.key_id().is_some()
            && syn.has(TcpFlags::SYN)
            && !syn
                .flags()
                .intersects(TcpFlags::ACK | TcpFlags::RST | TcpFlags::FIN)
            && syn.seq() != self.irs
            && is_newer()
    }
}
