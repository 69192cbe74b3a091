//! Whether a segment may be looked at further: PAWS, sequence number, RST, SYN, presence of ACK
//! (RFC 9293 section 3.10.7.4 first to fourth, RFC 7323 section 5, RFC 5961 sections 3 and 4).
//!
//! Decides, and notes that a reply is owed; it never touches text or acknowledgment.

use core::time::Duration;

use packet::tcp::TcpFlags;

use crate::base::{DropReason, Instant};
use crate::tcp::outcome::TcpError;
use crate::tcp::phase::Phase;
use crate::tcp::segment::Segment;
use crate::tcp::seq::SeqNum;
use crate::tcp::tcb::Tcb;

/// A timestamp older than this says nothing: the peer's clock may have wrapped (RFC 7323 section
/// 5.5).
const TIMESTAMP_STALE: Duration = Duration::from_secs(24 * 24 * 3600);

/// What to do with a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::tcp) enum Acceptability {
    /// On to the acknowledgment.
    Process,
    /// Discard it, for this reason.
    Discard(DropReason),
    /// A valid reset: the connection ends with this error.
    Reset(TcpError),
    /// A valid reset of a connection that both sides had closed.
    ResetSilently,
}

/// The four cases of the acceptability test (RFC 9293 section 3.4, table 6).
pub(in crate::tcp) fn in_window(seq: SeqNum, len: u32, nxt: SeqNum, window: u32) -> bool {
    if window == 0 {
        // Without a window only what begins at RCV.NXT can matter: its text is not taken, but its
        // acknowledgment may be.
        return seq == nxt;
    }
    let edge = nxt + window;
    seq.within(nxt, edge) || (len > 0 && (seq + (len - 1)).within(nxt, edge))
}

/// Judges `seg`.
pub(in crate::tcp) fn check(tcb: &mut Tcb, seg: &Segment, now: Instant) -> Acceptability {
    let rst = seg.has(TcpFlags::RST);
    if let Some(reason) = paws(tcb, seg, now)
        && !rst
    {
        reply(tcb, seg, now);
        return Acceptability::Discard(reason);
    }
    let nxt = tcb.window.nxt;
    if !in_window(seg.seq(), seg.seq_len(), nxt, tcb.window.offered()) {
        if !rst {
            on_unacceptable(tcb, seg, now);
        }
        let reason = if seg.has(TcpFlags::SYN) && !rst {
            DropReason::TcpChallenged
        } else {
            DropReason::TcpNotAcceptable
        };
        return Acceptability::Discard(reason);
    }
    if rst {
        if seg.seq() != nxt {
            challenge(tcb, now);
            return Acceptability::Discard(DropReason::TcpChallenged);
        }
        return match tcb.phase {
            Phase::Closing | Phase::LastAck | Phase::TimeWait => Acceptability::ResetSilently,
            _ => Acceptability::Reset(TcpError::Reset),
        };
    }
    if seg.has(TcpFlags::SYN) {
        challenge(tcb, now);
        return Acceptability::Discard(DropReason::TcpChallenged);
    }
    if !seg.has(TcpFlags::ACK) {
        return Acceptability::Discard(DropReason::TcpNotAcceptable);
    }
    // TS.Recent follows the segment that the next acknowledgment will answer (RFC 7323 section 4.3).
    if tcb.agreed.timestamps
        && let Some(ts) = seg.options().timestamps
        && seg.seq().at_or_before(tcb.last_ack_sent)
        && SeqNum(ts.val).at_or_after(SeqNum(tcb.ts_recent))
    {
        tcb.ts_recent = ts.val;
        tcb.ts_recent_at = now;
    }
    Acceptability::Process
}

/// Protection against wrapped sequence numbers: `Some` if the segment fails it.
fn paws(tcb: &mut Tcb, seg: &Segment, now: Instant) -> Option<DropReason> {
    if !tcb.agreed.timestamps {
        return None;
    }
    match seg.options().timestamps {
        None => Some(DropReason::TcpPaws),
        Some(ts) => {
            let old = SeqNum(ts.val).before(SeqNum(tcb.ts_recent));
            if old && now.saturating_since(tcb.ts_recent_at) > TIMESTAMP_STALE {
                tcb.ts_recent = ts.val;
                tcb.ts_recent_at = now;
                return None;
            }
            old.then_some(DropReason::TcpPaws)
        }
    }
}

/// An acknowledgment that answers an attack, or a peer that lost its memory (RFC 5961).
pub(in crate::tcp) fn challenge(tcb: &mut Tcb, now: Instant) {
    if tcb.reply_limit.permit(now) {
        tcb.ack.on_urgent();
    }
}

/// An acknowledgment in reply to what was not acceptable. Text is always answered: its sender
/// waits, and has a timer. What carries none could be an answer to our answer.
fn reply(tcb: &mut Tcb, seg: &Segment, now: Instant) {
    let could_loop = seg.payload().is_empty() && !seg.has(TcpFlags::FIN);
    if !could_loop || tcb.reply_limit.permit(now) {
        tcb.ack.on_urgent();
    }
}

fn on_unacceptable(tcb: &mut Tcb, seg: &Segment, now: Instant) {
    let nxt = tcb.window.nxt;
    let end = seg.seq() + seg.payload_len();
    if seg.seq().before(end) && end.at_or_before(nxt) {
        tcb.dsack = Some((seg.seq(), end));
    }
    if tcb.phase == Phase::TimeWait && seg.has(TcpFlags::FIN) && (end + 1).at_or_before(nxt) {
        // The peer did not hear our last acknowledgment.
        tcb.timers.life = now + tcb.cfg.time_wait;
    }
    reply(tcb, seg, now);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_6() {
        let nxt = SeqNum(u32::MAX - 1);
        // No text, no window.
        assert!(in_window(nxt, 0, nxt, 0));
        assert!(!in_window(nxt + 1, 0, nxt, 0));
        assert!(!in_window(nxt.back(1), 0, nxt, 0));
        // No text, a window.
        assert!(in_window(nxt + 9, 0, nxt, 10));
        assert!(!in_window(nxt + 10, 0, nxt, 10));
        assert!(!in_window(nxt.back(1), 0, nxt, 10));
        // Text, a window: either end inside.
        assert!(in_window(nxt.back(5), 6, nxt, 10));
        assert!(!in_window(nxt.back(5), 5, nxt, 10));
        assert!(in_window(nxt + 9, 100, nxt, 10));
        assert!(!in_window(nxt + 10, 100, nxt, 10));
    }
}
