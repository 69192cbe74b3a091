//! The acknowledgment of a segment, and the window that it offers (RFC 9293 section 3.10.7.4 fifth,
//! RFC 5961 section 5, RFC 5681, RFC 6298).

use core::time::Duration;

use packet::tcp::TcpFlags;

use super::acceptable::challenge;
use crate::base::{DropReason, Instant};
use crate::tcp::cc::Acked;
use crate::tcp::context::Context;
use crate::tcp::event::Event;
use crate::tcp::handshake::MAX_ECHOED_MILLIS;
use crate::tcp::outcome::{Readiness, TcpError};
use crate::tcp::phase::{Phase, PhaseEvent};
use crate::tcp::segment::Segment;
use crate::tcp::send::inflight::{Mode, Progress};
use crate::tcp::seq::SeqNum;
use crate::tcp::tcb::{Flags, Tcb};

/// Takes the acknowledgment of an acceptable segment. With `Err`, the segment is discarded.
pub(super) fn process(
    tcb: &mut Tcb,
    seg: &Segment,
    cx: &mut Context<'_>,
) -> Result<Readiness, DropReason> {
    let now = cx.now();
    let una = tcb.flight.una();
    let nxt = tcb.flight.nxt();
    let probed = tcb.flags.contains(Flags::PROBE_SENT);
    if seg.ack().after(nxt + u32::from(probed)) || seg.ack().before(una.back(tcb.peer.max)) {
        challenge(tcb, now);
        return Err(DropReason::TcpBadAck);
    }
    if seg.ack().before(una) {
        // An old ACK, overtaken by a later one. The payload may still be new.
        return Ok(Readiness::empty());
    }
    if seg.ack().after(nxt) {
        tcb.flight.on_probe_accepted();
    }
    if seg.ack().after(nxt) || tcb.flight.outstanding() > 0 {
        tcb.flags.remove(Flags::PROBE_SENT);
    }

    let scaled = u32::from(seg.window()) << tcb.agreed.send_scale;
    let was_closed = tcb.peer.wnd == 0;
    let window_changed = tcb
        .peer
        .update(scaled, seg.seq(), seg.ack(), seg.ack().after(una));
    if window_changed {
        report_window(was_closed, tcb.peer.wnd, cx);
    }
    let duplicate = seg.ack() == una
        && tcb.flight.outstanding() > 0
        && seg.payload().is_empty()
        && !seg.has(TcpFlags::FIN)
        && !window_changed;
    let flight = tcb.flight.outstanding().max(tcb.turn_flight);
    let mss = tcb.payload_mss();
    let progress = tcb
        .flight
        .on_ack(seg.ack(), seg.options().sack.as_slice(), duplicate, mss, cx);
    measure(tcb, seg, progress, now);
    if progress.acked > 0 {
        judge(tcb, seg, progress, cx);
    }
    control_congestion(tcb, progress, flight, mss, cx);

    if tcb.flight.outstanding() == 0 && tcb.peer.wnd > 0 && was_closed {
        // The window opened: the waiting was due to the window, not to the path.
        tcb.backoff.reset();
    }
    if tcb.peer.wnd == 0 || progress.acked > 0 {
        // The peer is alive, even if its window is closed.
        tcb.retries = 0;
    }
    if progress.acked > 0 {
        return Ok(on_una_advanced(tcb, cx));
    }
    let persists = tcb.timers.retransmit != Instant::FAR_FUTURE;
    if window_changed && persists && tcb.flight.outstanding() == 0 && tcb.peer.wnd > 0 {
        // The window opened, and the timer becomes the override of silly window avoidance. It is never
        // put off: a window that grows by crumbs would hold the data for ever.
        tcb.timers.retransmit = tcb.timers.retransmit.min(now + tcb.rto());
    }
    Ok(Readiness::empty())
}

/// Frees the acknowledged bytes, forgets soft errors, restarts the retransmission timer (RFC 6298 section 5.3), and takes
/// the acknowledgment of our FIN.
fn on_una_advanced(tcb: &mut Tcb, cx: &mut Context<'_>) -> Readiness {
    // The path works: an earlier report of the network explains nothing any more.
    tcb.soft_error = None;
    let before = tcb.queue.len();
    tcb.queue.advance(tcb.flight.una());
    // Small segments below are acknowledged; a mark far behind would compare as if it were ahead.
    tcb.small_end = tcb.small_end.max(tcb.flight.una());
    tcb.stats.bytes_out += (before - tcb.queue.len()) as u64;
    tcb.timers.retransmit = if tcb.flight.outstanding() > 0 {
        cx.now() + tcb.rto()
    } else {
        Instant::FAR_FUTURE
    };
    let readiness = writable(tcb);
    if tcb.flight.una().after(tcb.queue.end()) {
        return readiness | tcb.transition(PhaseEvent::FinAcked, cx);
    }
    readiness
}

/// Tells the subscriber that the peer's window closed or opened.
fn report_window(was_closed: bool, window: u32, cx: &mut Context<'_>) {
    match (was_closed, window) {
        (false, 0) => cx.emit(|| Event::PeerWindowClosed),
        (true, 1..) => cx.emit(|| Event::PeerWindowOpened { window }),
        _ => {}
    }
}

/// Returns WRITABLE if the application waits for room and there is enough of it.
fn writable(tcb: &mut Tcb) -> Readiness {
    let wanted = tcb.flags.contains(Flags::WANT_WRITE);
    if wanted && tcb.send_room() >= tcb.cfg.send_buffer / 4 {
        tcb.flags.remove(Flags::WANT_WRITE);
        Readiness::WRITABLE
    } else {
        Readiness::empty()
    }
}

/// Takes a round-trip sample from the timed segment, or else from the echoed timestamp. An echo
/// from before the last recovery or timeout tells when the original was sent, but perhaps not which
/// copy caused this acknowledgment: if an earlier one was lost, the sample would contain our
/// timeout.
fn measure(tcb: &mut Tcb, seg: &Segment, progress: Progress, now: Instant) {
    let echoed = || {
        let ts = seg.options().timestamps?;
        let usable = tcb.agreed.timestamps && progress.acked > 0 && !tcb.flight.is_timing();
        let millis = tcb.ts_now(now).wrapping_sub(ts.ecr);
        let clean = SeqNum(ts.ecr).at_or_after(SeqNum(tcb.resent_ts));
        (usable && clean && millis <= MAX_ECHOED_MILLIS)
            .then(|| Duration::from_millis(u64::from(millis)))
    };
    if let Some(rtt) = progress.rtt.or_else(echoed) {
        tcb.rtt.sample(rtt);
        tcb.backoff.reset();
    }
}

/// Judges a recovery or timeout by the first acknowledgment after it: if its timestamp echoes the
/// original, nothing had been lost (the Eifel detection of RFC 3522), and the reduction is undone.
fn judge(tcb: &mut Tcb, seg: &Segment, progress: Progress, cx: &mut Context<'_>) {
    if !tcb.flags.contains(Flags::UNDECIDED) {
        return;
    }
    tcb.flags.remove(Flags::UNDECIDED);
    let original = tcb.agreed.timestamps
        && seg
            .options()
            .timestamps
            .is_some_and(|ts| SeqNum(ts.ecr).before(SeqNum(tcb.episode_ts)));
    if original {
        cx.emit(|| Event::Undone);
        if !progress.entered_recovery {
            tcb.flight.undo(cx);
        }
        tcb.cc.undo(cx);
        tcb.stats.undone = tcb.stats.undone.wrapping_add(1);
    }
}

fn control_congestion(
    tcb: &mut Tcb,
    progress: Progress,
    flight: u32,
    mss: u32,
    cx: &mut Context<'_>,
) {
    if progress.entered_recovery {
        tcb.cc.on_loss(flight, mss, cx);
        tcb.stats.recoveries += 1;
        tcb.begin_episode(cx.now());
        return;
    }
    if progress.left_recovery {
        let pipe = tcb.flight.pipe();
        tcb.cc.on_recovered(pipe, cx);
        return;
    }
    if progress.acked == 0 {
        return;
    }
    let bytes = match tcb.flight.mode() {
        Mode::Open => progress.acked,
        Mode::Recovery => return,
        Mode::Loss if tcb.agreed.sack => progress.delivered,
        Mode::Loss => progress.acked.min(2 * mss),
    };
    let acked = Acked {
        bytes,
        now: cx.now(),
        srtt: tcb.rtt.srtt().unwrap_or_default(),
        mss,
    };
    tcb.cc.on_ack(acked, cx);
}

impl Tcb {
    /// Marks the beginning of a recovery or of a series of timeouts: everything sent before now is an
    /// original.
    pub(in crate::tcp) fn begin_episode(&mut self, now: Instant) {
        self.episode_ts = self.ts_now(now);
        self.resent_ts = self.episode_ts;
        self.flags.insert(Flags::UNDECIDED);
    }

    /// Ends a connection that the peer resets after both sides had closed.
    pub(super) fn on_reset_while_closing(&mut self, cx: &mut Context<'_>) -> Readiness {
        let unsent = self.phase != Phase::TimeWait && self.flight.outstanding() > 0;
        if unsent && self.queue.len() > 0 {
            // The peer did not read all of our bytes.
            return self.fail(TcpError::Reset, cx);
        }
        self.transition(PhaseEvent::Abort, cx)
    }
}
