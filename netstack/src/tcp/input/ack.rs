//! What a segment acknowledges, and the window that it offers (RFC 9293 section 3.10.7.4 fifth,
//! RFC 5961 section 5, RFC 5681, RFC 6298).

use core::time::Duration;

use packet::tcp::TcpFlags;

use super::acceptable::challenge;
use crate::base::{DropReason, Instant};
use crate::tcp::cc::Acked;
use crate::tcp::conn::{Conn, Flags};
use crate::tcp::handshake::MAX_ECHOED_MILLIS;
use crate::tcp::outcome::Events;
use crate::tcp::phase::{Phase, PhaseEvent};
use crate::tcp::segment::Segment;
use crate::tcp::send::inflight::{Mode, Progress};
use crate::tcp::seq::SeqNum;

/// Takes the acknowledgment of an acceptable segment. `Err`: the segment goes no further.
pub(super) fn process(conn: &mut Conn, seg: &Segment, now: Instant) -> Result<Events, DropReason> {
    let una = conn.flight.una();
    let nxt = conn.flight.nxt();
    let probed = conn.flags.contains(Flags::PROBE_SENT);
    if seg.ack.after(nxt + u32::from(probed)) || seg.ack.before(una.back(conn.peer.max)) {
        challenge(conn, now);
        return Err(DropReason::TcpBadAck);
    }
    if seg.ack.before(una) {
        // Overtaken by a later one. Its text may be news all the same.
        return Ok(Events::empty());
    }
    if seg.ack.after(nxt) {
        conn.flight.on_probe_accepted();
    }
    if seg.ack.after(nxt) || conn.flight.outstanding() > 0 {
        conn.flags.remove(Flags::PROBE_SENT);
    }

    let scaled = u32::from(seg.window) << conn.agreed.send_scale;
    let was_closed = conn.peer.wnd == 0;
    let window_changed = conn.peer.update(scaled, seg.seq, seg.ack);
    let duplicate = seg.ack == una
        && conn.flight.outstanding() > 0
        && seg.payload.is_empty()
        && !seg.has(TcpFlags::FIN)
        && !window_changed;
    let flight = conn.flight.outstanding();
    let mss = conn.payload_mss();
    let progress = conn
        .flight
        .on_ack(seg.ack, seg.options.sack.as_slice(), duplicate, mss, now);
    measure(conn, seg, progress, now);
    if progress.acked > 0 {
        judge(conn, seg, progress);
    }
    control_congestion(conn, progress, flight, mss, now);

    let mut events = Events::empty();
    if conn.flight.outstanding() == 0 && conn.peer.wnd > 0 && was_closed {
        // The window opened: what waited was the window's fault, not the path's.
        conn.backoff.reset();
    }
    if conn.peer.wnd == 0 || progress.acked > 0 {
        // The peer is there, whatever it lets us send.
        conn.retries = 0;
    }
    if progress.acked > 0 {
        let before = conn.queue.len();
        conn.queue.advance(conn.flight.una());
        conn.stats.bytes_out += (before - conn.queue.len()) as u64;
        conn.timers.retransmit = if conn.flight.outstanding() > 0 {
            now + conn.rto()
        } else {
            Instant::FAR_FUTURE
        };
        events |= writable(conn);
        if conn.flight.una().after(conn.queue.end()) {
            let before = conn.phase;
            conn.phase = before.apply(PhaseEvent::FinAcked);
            if conn.phase != before {
                events |= conn.on_phase_changed(now);
            }
        }
    } else if window_changed && conn.flight.outstanding() == 0 && conn.peer.wnd > 0 {
        // The persist timer has done its work; what it waited for is selected anew.
        conn.timers.retransmit = Instant::FAR_FUTURE;
    }
    Ok(events)
}

/// WRITABLE once there is room worth waking for.
fn writable(conn: &mut Conn) -> Events {
    let wanted = conn.flags.contains(Flags::WANT_WRITE);
    if wanted && conn.send_room() >= conn.cfg.send_buffer / 4 {
        conn.flags.remove(Flags::WANT_WRITE);
        Events::WRITABLE
    } else {
        Events::empty()
    }
}

/// One round-trip time, from the timed segment or else from the echoed timestamp. An echo from
/// before the last recovery or timeout says when the original was sent, but perhaps not what
/// caused this acknowledgment: if an earlier one was lost, the sample would contain our timeout.
fn measure(conn: &mut Conn, seg: &Segment, progress: Progress, now: Instant) {
    let echoed = || {
        let ts = seg.options.timestamps?;
        let usable = conn.agreed.timestamps && progress.acked > 0 && !conn.flight.is_timing();
        let millis = conn.ts_now(now).wrapping_sub(ts.ecr);
        let clean = SeqNum(ts.ecr).at_or_after(SeqNum(conn.resent_ts));
        (usable && clean && millis <= MAX_ECHOED_MILLIS)
            .then(|| Duration::from_millis(u64::from(millis)))
    };
    if let Some(rtt) = progress.rtt.or_else(echoed) {
        conn.rtt.sample(rtt);
        conn.backoff.reset();
    }
}

/// The first acknowledgment after something was resent says, by the timestamp that it echoes, which
/// copy it answers: the original, then nothing had been lost (RFC 3522).
fn judge(conn: &mut Conn, seg: &Segment, progress: Progress) {
    if !conn.flags.contains(Flags::UNDECIDED) {
        return;
    }
    conn.flags.remove(Flags::UNDECIDED);
    let original = conn.agreed.timestamps
        && seg
            .options
            .timestamps
            .is_some_and(|ts| SeqNum(ts.ecr).before(SeqNum(conn.episode_ts)));
    if original {
        if !progress.entered_recovery {
            conn.flight.undo();
        }
        conn.cc.undo();
        conn.stats.undone = conn.stats.undone.wrapping_add(1);
    }
}

fn control_congestion(conn: &mut Conn, progress: Progress, flight: u32, mss: u32, now: Instant) {
    if progress.entered_recovery {
        conn.cc.on_loss(flight, mss);
        conn.stats.recoveries += 1;
        conn.begin_episode(now);
        return;
    }
    if progress.left_recovery {
        let pipe = conn.flight.pipe();
        conn.cc.on_recovered(pipe);
        return;
    }
    if progress.acked == 0 {
        return;
    }
    let bytes = match conn.flight.mode() {
        Mode::Open => progress.acked,
        Mode::Recovery => return,
        Mode::Loss if conn.agreed.sack => progress.delivered,
        Mode::Loss => progress.acked.min(2 * mss),
    };
    let pipe = conn.flight.pipe();
    let acked = Acked {
        bytes,
        now,
        srtt: conn.rtt.srtt().unwrap_or_default(),
        mss,
    };
    conn.cc.on_ack(acked, pipe);
}

impl Conn {
    /// A recovery begins, or a timeout came: what was sent before now is an original.
    pub(in crate::tcp) fn begin_episode(&mut self, now: Instant) {
        self.episode_ts = self.ts_now(now);
        self.resent_ts = self.episode_ts;
        self.flags.insert(Flags::UNDECIDED);
    }

    /// A reset of a connection that both sides had closed: it is simply over.
    pub(super) fn on_reset_while_closing(&mut self, now: Instant) -> Events {
        let unsent = self.phase != Phase::TimeWait && self.flight.outstanding() > 0;
        if unsent && self.queue.len() > 0 {
            // Bytes of ours were not read.
            return self.fail(crate::tcp::outcome::TcpError::Reset);
        }
        self.phase = self.phase.apply(PhaseEvent::Abort);
        self.on_phase_changed(now)
    }
}
