//! The choice of the next segment to send.
//!
//! The order is: a reset; duplicate ACKs and reports of duplicates; lost bytes; a path MTU probe; new bytes, as far as both windows, the Nagle algorithm and
//! silly window avoidance allow; the last segment of a recovery (RFC 6675 NextSeg rule 4); a zero
//! window probe; a keepalive probe; an ACK. `select` decides and [`apply`](super::apply) carries it out.
//!
//! Everything counts bytes. A pick may be as long as `max_payload`, a multiple of the segment size
//! unless it ends the queue, so that the device can cut it. A short opening of the window is left
//! to grow while acknowledgments are on their way, because a long super-segment costs as much to
//! handle as a short one.

use packet::tcp::TcpFlags;

use super::mtu_probe::Probing;
use super::pick::{Pick, Size, Why};
use crate::base::Instant;
use crate::tcp::context::Context;
use crate::tcp::event::Event;
use crate::tcp::phase::Phase;
use crate::tcp::segment::SegmentOut;
use crate::tcp::send::inflight::Mode;
use crate::tcp::seq::SeqNum;
use crate::tcp::tcb::{Flags, Tcb};

impl Tcb {
    /// Builds the next segment to send now in `out`, which has no payload. Returns false if there is none.
    pub(in crate::tcp) fn poll_transmit(
        &mut self,
        max_payload: usize,
        cx: &mut Context<'_>,
        out: &mut SegmentOut,
    ) -> bool {
        let now = cx.now();
        if self.is_rst_next() {
            self.reset_after_sending(cx);
        }
        if self.flags.contains(Flags::RST_DUE) {
            self.flags.remove(Flags::RST_DUE);
            let seq = self.bare_seq();
            self.emit_bare(seq, TcpFlags::RST, now, out);
            return true;
        }
        if self.phase == Phase::Closed {
            return false;
        }
        // Duplicate ACKs count only without payload. A D-SACK in a super-segment's header would be
        // repeated in that of every wire segment.
        // So would the user timeout.
        let alone = !self.duplicates.is_empty()
            || self.ack.duplicates() > 0
            || self.flags.contains(Flags::USER_TIMEOUT_DUE)
            || self.ecn.wants_bare();
        if self.ack.is_due() && alone {
            let seq = self.bare_seq();
            self.emit_bare(seq, TcpFlags::empty(), now, out);
            return true;
        }
        if self.phase.may_transmit() {
            self.arm_user_timer(now);
            if self.poll_payload(max_payload, cx, out) {
                return true;
            }
        }
        if self.flags.contains(Flags::KEEPALIVE_DUE) {
            self.flags.remove(Flags::KEEPALIVE_DUE);
            let count = self.keepalives;
            cx.emit(|| Event::KeepaliveProbe { count });
            let seq = self.flight.nxt().back(1);
            self.emit_bare(seq, TcpFlags::empty(), now, out);
            return true;
        }
        if self.ack.is_due() {
            let seq = self.bare_seq();
            self.emit_bare(seq, TcpFlags::empty(), now, out);
            return true;
        }
        self.turn_flight = self.flight.outstanding();
        self.note_send_times(now);
        #[cfg(any(test, feature = "invariants"))]
        self.check_nothing_to_send();
        false
    }

    /// Builds the next segment with payload or FIN. Returns false if none may leave now.
    #[inline]
    fn poll_payload(
        &mut self,
        max_payload: usize,
        cx: &mut Context<'_>,
        out: &mut SegmentOut,
    ) -> bool {
        self.timers.pace = Instant::FAR_FUTURE;
        if self.may_send_payload() && self.select_and_apply(max_payload, cx, out) {
            return true;
        }
        let idle = !self.has_unsent() && self.flight.lost() == 0;
        if idle && self.flight.pipe() < self.cc.cwnd() {
            self.flight.on_app_limited();
        }
        if self.timers.pace == Instant::FAR_FUTURE
            && self.flight.outstanding() == 0
            && self.has_unsent()
            && self.timers.retransmit == Instant::FAR_FUTURE
        {
            // No ACK is on its way that could open the window: start the persist timer.
            self.timers.retransmit = cx.now() + self.rto();
        }
        false
    }

    /// Selects a segment, and builds it unless it waits for its departure. Returns true if it was built.
    fn select_and_apply(
        &mut self,
        max_payload: usize,
        cx: &mut Context<'_>,
        out: &mut SegmentOut,
    ) -> bool {
        let now = cx.now();
        let options = self.options_out(now);
        let header = u32::try_from(options.encoded_len()).unwrap_or(40);
        let segment = u32::from(self.agreed.mss).saturating_sub(header).max(1);
        // A device that cuts nothing allows less than a segment: then one segment at a time.
        let most = if self.ecn.forbids_cutting() {
            segment
        } else {
            u32::try_from(max_payload).unwrap_or(u32::MAX).max(segment)
        };
        let rate = self.cc.pacing_rate(self.rtt.srtt_nanos());
        let quantum = self.cc.quantum(rate, segment);
        let size = Size {
            segment,
            most: most.min(quantum.max(segment)),
            is_paced: quantum < most,
            rate,
        };
        self.restart_after_idle(cx);
        let Some(pick) = self.select(size, now) else {
            return false;
        };
        if pick.is_paced()
            && let Some(at) = self.cc.paced_until(rate, self.rtt.srtt(), now)
        {
            self.timers.pace = at;
            return false;
        }
        self.apply(pick, options, size, cx, out);
        true
    }

    /// Returns true if there may be payload or a FIN to send, for the first time or again.
    fn may_send_payload(&self) -> bool {
        self.has_unsent()
            || self.flight.lost() > 0
            || self.flags.contains(Flags::TAIL_PROBE_DUE)
            || self.flight.mode() != Mode::Open
    }

    /// Returns the sequence number of a segment without payload: SND.NXT, or the highest number that the
    /// peer accepts, if it took back window that was used (RFC 9293 section 3.8.6, MUST-34). The window
    /// field is rounded down by less than one unit, which is no taking back.
    fn bare_seq(&self) -> SeqNum {
        let nxt = self.flight.nxt();
        let edge = self.flight.una() + self.peer.wnd;
        if nxt.since(edge) < 1 << self.agreed.send_scale {
            nxt
        } else {
            edge
        }
    }

    /// Adapts the congestion window to idle time (RFC 5681 section 4.1, RFC 7661).
    fn restart_after_idle(&mut self, cx: &mut Context<'_>) {
        let now = cx.now();
        if self.flags.contains(Flags::SENT)
            && self.flight.outstanding() == 0
            && self.has_unsent()
            && now.saturating_since(self.last_sent) > self.rto()
        {
            let idle = now.saturating_since(self.last_sent);
            self.cc.on_idle(idle, self.rto(), self.payload_mss(), cx);
            self.last_sent = now;
        }
    }

    fn select(&mut self, size: Size, now: Instant) -> Option<Pick> {
        let pipe = self.flight.pipe();
        let room = match self.cc.room(pipe) {
            room if pipe == 0 => room.max(size.segment),
            room => room,
        };
        if self.flags.contains(Flags::TAIL_PROBE_DUE) {
            self.flags.remove(Flags::TAIL_PROBE_DUE);
            if self.may_probe() {
                return self.select_tail_probe(size);
            }
        }
        if self.flight.tests_timeout() {
            if let Some(pick) = self.select_fresh(room, size) {
                return Some(pick);
            }
            if !self.flight.end_timeout_test() {
                return None;
            }
        }
        if let Some((start, end)) = self.flight.next_lost() {
            if room < end - start {
                self.note_limited();
            }
            return self.select_again(start, end, room, size);
        }
        if self.search.is_some() {
            match self.select_mtu_probe(room, size, now) {
                Probing::Now(pick) => return Some(pick),
                Probing::Wait => return None,
                Probing::No => {}
            }
        }
        if let Some(pick) = self.select_fresh(room, size) {
            return Some(pick);
        }
        if self.flight.mode() == Mode::Recovery
            && room >= size.segment
            && let Some((start, end)) = self.flight.rescue(size.segment)
        {
            return self
                .select_again(start, end, room, size)
                .map(|pick| pick.because(Why::Rescue));
        }
        if self.flags.contains(Flags::PROBE_DUE) && self.flight.outstanding() == 0 {
            return Some(self.select_probe(size));
        }
        None
    }

    /// Picks a loss probe: a new segment, whatever the congestion window, or else one that was sent
    /// (RFC 8985 section 7.3).
    fn select_tail_probe(&mut self, size: Size) -> Option<Pick> {
        let one = Size {
            most: size.segment,
            ..size
        };
        if let Some(Pick::Fresh { len, fin, .. }) = self.select_fresh(u32::MAX, one) {
            return Some(Pick::Fresh {
                len,
                fin,
                probe: true,
            });
        }
        let (start, end) = self.flight.probe_range(size.segment);
        self.select_again(start, end, size.segment, one)
            .map(|pick| pick.because(Why::TailProbe))
    }

    /// Notes that the congestion window holds something back.
    pub(super) fn note_limited(&mut self) {
        let flight = &self.flight;
        self.cc
            .on_limited(flight.pipe(), flight.una(), flight.nxt());
    }

    /// Notes that something was sent.
    pub(super) fn note_sent(&mut self) {
        let flight = &self.flight;
        self.cc.on_sent(flight.pipe(), flight.una(), flight.nxt());
    }

    /// Picks as much of `start..end` as fits, to send it again.
    fn select_again(&mut self, start: SeqNum, end: SeqNum, room: u32, size: Size) -> Option<Pick> {
        let want = (end - start).min(size.most);
        let mut allowed = if room >= want {
            want
        } else if room >= size.segment {
            size.whole(room)
        } else if self.flight.is_urgent() {
            want.min(size.segment)
        } else {
            return None;
        };
        if self.peer.wnd == 0 {
            // The peer shrank its window to zero: one segment shows when it opens.
            allowed = allowed.min(size.segment);
        }
        let queued = self.queue.end().since(start).min(allowed);
        let len = self.queue.span(start, queued);
        let fin = len == queued && (start + len) == self.queue.end() && end.after(self.queue.end());
        (len > 0 || fin).then_some(Pick::Again {
            seq: start,
            len,
            fin,
            why: Why::Lost,
        })
    }

    /// Picks new data, our FIN, or both.
    fn select_fresh(&mut self, room: u32, size: Size) -> Option<Pick> {
        if self.fin_sent() {
            return None;
        }
        let nxt = self.flight.nxt();
        let unsent = self.unsent();
        let closing = self.flags.contains(Flags::FIN_QUEUED);
        let offered = (self.flight.una() + self.peer.wnd).since(nxt);
        if unsent == 0 {
            return (closing && offered > 0).then_some(Pick::fresh(0, true));
        }
        let limit = offered.min(room);
        if room < offered && room < unsent {
            self.note_limited();
        }
        let want = limit.min(unsent).min(size.most);
        let len = self.queue.span(nxt, want);
        if len == 0 {
            return None;
        }
        if len == unsent {
            let fin = closing && offered > len;
            let last = closing || self.flags.contains(Flags::RST_QUEUED);
            if len.is_multiple_of(size.segment) || last || self.may_send_small() {
                return Some(Pick::fresh(len, fin));
            }
            let whole = size.whole(len);
            return (whole > 0).then_some(Pick::fresh(whole, false));
        }
        let whole = size.whole(len);
        if whole == 0 {
            // Less than a segment, with more behind it. If the peer's window is the limit, silly
            // window avoidance (RFC 9293 section 3.8.6.2.1) wants half of the largest window seen.
            // If the number of slices is the limit, waiting would not help.
            let sliced = len < want;
            let enough = offered <= room && u64::from(len) * 2 >= u64::from(self.peer.max);
            return (sliced || enough).then_some(Pick::fresh(len, false));
        }
        if self.better_later(whole, limit, size) {
            return None;
        }
        Some(Pick::fresh(whole, false))
    }

    /// Applies the Nagle algorithm (RFC 9293 section 3.7.4) in Minshall's variant: a small segment
    /// waits only while another small one, not any segment, is in flight.
    fn may_send_small(&self) -> bool {
        self.settings.nodelay
            || self.flight.outstanding() == 0
            || self.small_end.at_or_before(self.flight.una())
    }

    /// Returns true if the acknowledgments that are on their way will allow a much longer
    /// super-segment.
    fn better_later(&self, len: u32, limit: u32, size: Size) -> bool {
        let window = self.cc.cwnd().min(self.peer.wnd);
        self.flight.mode() == Mode::Open
            && !size.is_paced
            && self.flight.outstanding() >= 2 * size.segment
            && len < size.whole(size.most)
            && limit < self.unsent()
            && limit < window / 3
    }

    /// Picks what the persist timer sends: a zero window probe, or a small segment into a silly
    /// window.
    fn select_probe(&mut self, size: Size) -> Pick {
        let offered = self.peer.wnd;
        let unsent = self.unsent();
        if offered == 0 {
            return Pick::Probe;
        }
        let len = self
            .queue
            .span(self.flight.nxt(), offered.min(unsent).min(size.segment));
        let fin = len == unsent && self.flags.contains(Flags::FIN_QUEUED) && offered > len;
        Pick::fresh(len, fin)
    }
}
