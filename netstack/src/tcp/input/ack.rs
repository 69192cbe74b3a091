//! The acknowledgment of a segment, and the window that it offers (RFC 9293 section 3.10.7.4 fifth,
//! RFC 5961 section 5, RFC 5681, RFC 6298).

use core::time::Duration;

use packet::tcp::TcpFlags;

use super::acceptable::challenge;
use crate::base::congestion::{Acked, Loss, Lost};
use crate::base::{DropReason, Instant};
use crate::tcp::cc::Recovering;
use crate::tcp::context::Context;
use crate::tcp::ecn::Delivered;
use crate::tcp::event::{Event, Spurious};
use crate::tcp::handshake::MAX_ECHOED_MILLIS;
use crate::tcp::outcome::{Readiness, TcpError};
use crate::tcp::phase::{Phase, PhaseEvent};
use crate::tcp::segment::Segment;
use crate::tcp::send::inflight::{Ack, Mode, Progress};
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
    if seg.ack().after(nxt + u32::from(probed)) || seg.ack().before(oldest_ack(tcb)) {
        challenge(tcb, now);
        return Err(DropReason::TcpBadAck);
    }
    if seg.ack().before(una) {
        // An old ACK, overtaken by a later one. The payload may still be new.
        return Ok(Readiness::empty());
    }
    if seg.ack().after(nxt) {
        tcb.flight.on_probe_accepted(now);
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
    let flight = tcb.flight.outstanding().max(tcb.turn_flight);
    let progress = if tcb
        .flight
        .is_settled(seg.ack(), seg.options().sack.as_slice())
    {
        Progress::default()
    } else {
        let bare = seg.ack() == una
            && seg.payload().is_empty()
            && !seg.has(TcpFlags::FIN)
            && !window_changed;
        take_news(tcb, seg, bare, flight, cx)
    };
    tcb.on_marks(seg, &progress, flight, cx);

    if tcb.flight.outstanding() == 0 && tcb.peer.wnd > 0 && was_closed {
        // The window opened: the waiting was due to the window, not to the path.
        tcb.backoff.reset();
    }
    if tcb.peer.wnd == 0 || progress.acked > 0 {
        // The peer is alive, even if its window is closed.
        tcb.retries = 0;
    }
    if progress.acked > 0 {
        let readiness = on_una_advanced(tcb, cx);
        tcb.arm_loss_timer(true, now);
        return Ok(readiness);
    }
    let recovers = tcb.flight.mode() != Mode::Open && progress.delivered > 0;
    tcb.arm_loss_timer(recovers, now);
    let persists = tcb.timers.retransmit != Instant::FAR_FUTURE;
    if window_changed && persists && tcb.flight.outstanding() == 0 && tcb.peer.wnd > 0 {
        // The window opened, and the timer becomes the override of silly window avoidance. It is never
        // put off: a window that grows by crumbs would hold the data for ever.
        tcb.timers.retransmit = tcb.timers.retransmit.min(now + tcb.rto());
    }
    Ok(Readiness::empty())
}

/// Returns the oldest acknowledgment that the peer may have sent: SND.UNA - MAX.SND.WND (RFC 5961 section 5.2), but never
/// one from before the connection, which no peer sends.
fn oldest_ack(tcb: &Tcb) -> SeqNum {
    let una = tcb.flight.una();
    let fin = u64::from(una.after(tcb.queue.end()));
    let acked = u32::try_from(tcb.stats.bytes_out + fin).unwrap_or(u32::MAX);
    una.back(acked.min(tcb.peer.max))
}

/// Takes what an acknowledgment tells of the bytes in flight. `bare`: it may be a duplicate ACK. `flight` bytes were in
/// flight before this turn.
fn take_news(
    tcb: &mut Tcb,
    seg: &Segment,
    bare: bool,
    flight: u32,
    cx: &mut Context<'_>,
) -> Progress {
    let now = cx.now();
    let was_loss = tcb.flight.mode() == Mode::Loss;
    let echoed = echoed_age(tcb, seg, now);
    let input = Ack {
        ack: seg.ack(),
        blocks: seg.options().sack.as_slice(),
        bare,
        echoed_millis: echoed.map(|age| millis_at(now, age)),
        path: tcb.path_view(),
    };
    let progress = tcb.flight.on_ack(&input, cx);
    count_news(tcb, &progress);
    measure(tcb, &progress, echoed, was_loss, now);
    judge(tcb, &progress, echoed, was_loss, cx);
    tcb.search_on_ack(&progress, cx);
    tcb.control_congestion(&progress, flight, cx);
    progress
}

/// Counts what an acknowledgment tells.
fn count_news(tcb: &mut Tcb, progress: &Progress) {
    let mss = tcb.payload_mss();
    // A FIN has a segment of its own only if it is alone.
    let fin = u32::from(tcb.fin_sent() && tcb.flight.una() == tcb.flight.nxt());
    let len = match progress.delivered {
        len @ ..=1 => len,
        len => len - fin,
    };
    tcb.segments.on_delivered(len, mss);
    if progress.is_duplicate_reported || progress.is_reordered {
        let losses = tcb.stats.losses_mut();
        let count = |counter: &mut u32, is: bool| *counter = counter.wrapping_add(u32::from(is));
        count(
            &mut losses.duplicates_reported,
            progress.is_duplicate_reported,
        );
        count(&mut losses.reordered, progress.is_reordered);
    }
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
    tcb.ecn.forget_old(tcb.flight.una());
    tcb.stats.bytes_out += (before - tcb.queue.len()) as u64;
    tcb.stats.on_progress(cx.now());
    tcb.timers.retransmit = if tcb.flight.outstanding() > 0 {
        cx.now() + tcb.rto()
    } else {
        Instant::FAR_FUTURE
    };
    let readiness = tcb.writable();
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

/// Returns the age of the timestamp that `seg` echoes, if that is credible.
fn echoed_age(tcb: &Tcb, seg: &Segment, now: Instant) -> Option<Duration> {
    let ts = seg.options().timestamps.filter(|_| tcb.agreed.timestamps)?;
    let millis = tcb.ts_now(now).wrapping_sub(ts.ecr);
    (millis <= MAX_ECHOED_MILLIS).then(|| Duration::from_millis(u64::from(millis)))
}

/// Returns the time of a timestamp of ours that is `age` old, in milliseconds.
fn millis_at(now: Instant, age: Duration) -> u64 {
    now.as_millis().saturating_sub(age.as_millis() as u64)
}

/// Takes a round-trip sample from the send time of what is acknowledged, or else from the echoed timestamp.
/// An echo from before the last recovery or timeout tells when the original was sent, but perhaps not which
/// copy caused this acknowledgment: if an earlier one was lost, the sample would contain our timeout. For the same reason what was
/// sent before a timeout is not timed by what arrives after it.
fn measure(
    tcb: &mut Tcb,
    progress: &Progress,
    echoed: Option<Duration>,
    was_loss: bool,
    now: Instant,
) {
    if let Some(rtt) = progress.newest_rtt {
        tcb.rtt.sample_least(rtt, now);
        tcb.flight.permit_probe();
    }
    let only_later = was_loss || tcb.flags.contains(Flags::RTT_OUTDATED);
    let since_timeout = now.saturating_since(tcb.episode_at);
    let counts = |rtt: &Duration| !only_later || *rtt <= since_timeout;
    if let Some(rtt) = progress.rtt_sacked.filter(counts) {
        tcb.take_rtt(rtt);
    }
    let clean = || {
        let is_new = |age: &Duration| millis_at(now, *age) >= tcb.resent_at.as_millis();
        echoed.filter(is_new).filter(|_| progress.rtt_due)
    };
    if let Some(rtt) = progress.rtt.filter(counts).or_else(clean) {
        tcb.take_rtt(rtt);
        tcb.backoff.reset();
        tcb.flight.permit_probe();
        tcb.flight.on_timed();
    }
}

/// Judges a recovery or timeout. The first acknowledgment after it shows that nothing had been lost, if its
/// timestamp echoes the original (the Eifel detection of RFC 3522); what arrives after a timeout does
/// (RFC 5682), or reports of duplicates do (RFC 3708). Then the reduction is undone. `was_loss`: this may end a
/// timeout.
fn judge(
    tcb: &mut Tcb,
    progress: &Progress,
    echoed: Option<Duration>,
    was_loss: bool,
    cx: &mut Context<'_>,
) {
    let mut evidence = if progress.spurious_timeout {
        Some(Spurious::NeverResent)
    } else {
        progress.all_duplicates.then_some(Spurious::Duplicates)
    };
    if progress.acked > 0 && tcb.flags.contains(Flags::UNDECIDED) {
        tcb.flags.remove(Flags::UNDECIDED);
        let began = tcb.episode_at.as_millis();
        let is_original = echoed.is_some_and(|age| {
            let echo = millis_at(cx.now(), age);
            // A copy that an earlier recovery sent may be what is echoed: it says nothing about this one.
            let is_copy = progress
                .head_resent_at
                .is_some_and(|at| echo >= at.as_millis());
            echo < began && !is_copy
        });
        if is_original {
            evidence = evidence.or(Some(Spurious::Timestamp));
        }
    }
    let Some(evidence) = evidence else {
        return;
    };
    cx.emit(|| Event::Undone { evidence });
    if progress.entered_recovery {
        tcb.flight.settle_undo();
    } else {
        tcb.flight.undo(cx);
    }
    // Reports of duplicates tell of lost acknowledgments, and nothing of the path's length (RFC 4015 section 3.1 step 7).
    if was_loss && evidence != Spurious::Duplicates {
        tcb.flags.insert(Flags::RTT_OUTDATED);
    }
    tcb.flags.remove(Flags::UNDECIDED);
    tcb.clear_suspicion(cx);
    tcb.cc.undo(tcb.payload_mss(), cx);
    let losses = tcb.stats.losses_mut();
    losses.undone = losses.undone.wrapping_add(1);
}

impl Tcb {
    /// Lets the congestion window follow an acknowledgment, or the end of a reordering window. `flight` bytes
    /// were in flight before this turn.
    pub(in crate::tcp) fn control_congestion(
        &mut self,
        progress: &Progress,
        flight: u32,
        cx: &mut Context<'_>,
    ) {
        let mss = self.payload_mss();
        let pipe = self.flight.pipe();
        let loss = Loss {
            in_flight: pipe,
            ..Loss::new(flight, mss)
        };
        self.report_lost(cx);
        if progress.entered_recovery {
            self.cc.on_loss(&loss, cx);
            let outstanding = self.flight.outstanding() - self.flight.sacked();
            self.cc.begin_recovery(outstanding + progress.delivered);
            let losses = self.stats.losses_mut();
            losses.recoveries = losses.recoveries.wrapping_add(1);
            self.ecn.on_reduced(self.flight.nxt());
            self.begin_episode(cx.now());
        } else if progress.probe_repaired {
            self.cc.on_loss(&loss, cx);
            self.ecn.on_reduced(self.flight.nxt());
        } else if progress.left_recovery {
            self.cc.on_recovered(pipe, mss, cx);
        }
        let round_start =
            progress.acked > 0 && self.cc.starts_round(self.flight.una(), self.flight.nxt());
        let mode = self.flight.mode();
        if mode == Mode::Recovery {
            self.cc.on_recovering(Recovering {
                arrived: progress.arrived,
                pipe,
                is_safe: progress.acked > 0 && progress.lost == 0,
                mss,
            });
        }
        if progress.delivered == 0 {
            return;
        }
        let ends = progress.probe_repaired || progress.left_recovery;
        let bytes = match mode {
            Mode::Recovery => 0,
            _ if ends || progress.acked == 0 => 0,
            Mode::Open => progress.acked,
            Mode::Loss if self.agreed.sack => progress.delivered,
            // One acknowledgment can cover many bytes that had arrived long before (RFC 5681 section 3.1).
            Mode::Loss => progress.acked.min(2 * mss),
        };
        let acked = Acked {
            now: cx.now(),
            bytes,
            delivered: progress.delivered,
            delivered_total: self.flight.delivered(),
            lost: progress.lost,
            in_flight: pipe,
            mss,
            srtt: self.rtt.srtt().unwrap_or_default(),
            rtt: progress.newest_rtt,
            min_rtt: self.rtt.least(),
            rate: progress.rate,
            round_start,
            selective: self.agreed.sack,
            in_recovery: mode == Mode::Recovery,
            ..Acked::default()
        };
        self.cc.on_ack(acked, cx);
        if self.cc.is_holding_back() {
            self.flight.on_app_limited();
        }
    }

    /// Tells the congestion control which bytes were found to be lost since the last call.
    pub(in crate::tcp) fn report_lost(&mut self, cx: &mut Context<'_>) {
        let mut runs = self.flight.take_lost_runs();
        for run in runs.drain(..) {
            let lost = Lost {
                delivered_total: self.flight.delivered(),
                mss: self.payload_mss(),
                selective: self.agreed.sack,
                ..run
            };
            self.cc.on_lost(&lost, cx);
        }
        self.flight.put_lost_runs(runs);
    }

    /// Reduces the congestion window for marks that an acknowledgment reports, once a round trip; a recovery has
    /// reduced it already.
    fn on_marks(&mut self, seg: &Segment, progress: &Progress, flight: u32, cx: &mut Context<'_>) {
        let delivered = Delivered {
            bytes: progress.delivered,
            mss: self.payload_mss(),
            una: self.flight.una(),
        };
        let packets = self.ecn.on_feedback(seg, delivered);
        if packets == 0 {
            return;
        }
        cx.emit(|| Event::CongestionMarks { packets });
        if self.flight.mode() == Mode::Open && self.ecn.may_reduce() {
            let loss = Loss {
                in_flight: self.flight.pipe(),
                ..Loss::new(flight, delivered.mss)
            };
            self.cc.on_marks(&loss, cx);
            self.ecn.on_reduced(self.flight.nxt());
        }
    }

    /// Takes a measurement of the round-trip time.
    fn take_rtt(&mut self, rtt: Duration) {
        if self.flags.contains(Flags::RTT_OUTDATED) {
            self.flags.remove(Flags::RTT_OUTDATED);
            self.rtt.sample_after_spurious_timeout(rtt);
        } else {
            self.rtt.sample(rtt);
        }
    }

    /// Marks the beginning of a recovery or of a series of timeouts: everything sent before now is an
    /// original.
    pub(in crate::tcp) fn begin_episode(&mut self, now: Instant) {
        self.episode_at = now;
        self.resent_at = now;
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
