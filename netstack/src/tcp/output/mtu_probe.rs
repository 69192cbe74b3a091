//! Path MTU probes: when one leaves (RFC 4821 section 7.4).
//!
//! A probe is a segment of new bytes that is larger than the present size, and never shares a super-segment. If it is lost,
//! that must be found by what follows it, so there is enough to follow, and both windows take it.

use super::pick::{Pick, Size};
use crate::base::Instant;
use crate::tcp::send::inflight::Mode;
use crate::tcp::tcb::Tcb;

/// Segments behind a probe whose arrival shows that it is lost, whatever the path reorders, and one more.
const SEGMENTS_BEHIND: u32 = 4;

/// Least congestion window for a probe, in segments (as on Linux).
const LEAST_WINDOW_SEGMENTS: u32 = 11;

/// The answer to the question if a probe leaves.
pub(super) enum Probing {
    /// It leaves now.
    Now(Pick),
    /// It leaves as soon as acknowledgments make room for it; nothing else leaves before.
    Wait,
    /// Other segments leave.
    No,
}

impl Tcb {
    /// Returns true if the peer has SACK, and the congestion window room for probes: one that is due leaves soon.
    pub(in crate::tcp) fn can_probe_mtu(&self) -> bool {
        self.agreed.sack && self.cc.cwnd() >= LEAST_WINDOW_SEGMENTS * self.payload_mss()
    }

    /// Picks a path MTU probe, if one is due and nothing speaks against it.
    pub(super) fn select_mtu_probe(&mut self, room: u32, size: Size, now: Instant) -> Probing {
        let is_quiet = self.agreed.sack
            && self.flight.mode() == Mode::Open
            && self.flight.sacked() == 0
            && !self.flight.has_mtu_probe();
        if !is_quiet || self.fin_sent() {
            return Probing::No;
        }
        let Some(mss) = self.mtu_probe_size(now) else {
            return Probing::No;
        };
        let options = u32::from(self.agreed.mss).saturating_sub(size.segment);
        let len = u32::from(mss).saturating_sub(options);
        let needed = len + SEGMENTS_BEHIND * size.segment;
        let nxt = self.flight.nxt();
        let offered = (self.flight.una() + self.peer.wnd).since(nxt);
        let is_possible = self.cc.cwnd() >= needed.max(LEAST_WINDOW_SEGMENTS * size.segment)
            && self.peer.wnd >= needed
            && self.unsent() >= needed
            && self.queue.span(nxt, len) == len;
        if !is_possible {
            return Probing::No;
        }
        if room >= len && offered >= needed {
            Probing::Now(Pick::MtuProbe { len, mss })
        } else if self.flight.pipe() > 0 {
            self.note_limited();
            Probing::Wait
        } else {
            Probing::No
        }
    }
}
