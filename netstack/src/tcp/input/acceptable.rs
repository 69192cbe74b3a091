//! The acceptability of a segment: PAWS, sequence number, RST, SYN, presence of ACK (RFC 9293
//! section 3.10.7.4 first to fourth, RFC 7323 section 5, RFC 5961 sections 3 and 4).
//!
//! A segment that is out of window, or that RFC 5961 challenges, is discarded here, and the reply
//! that it gets (an ACK, a challenge ACK, none) is noted. Payload and acknowledgment are not looked
//! at.

use core::time::Duration;

use packet::tcp::TcpFlags;

use crate::base::{DropReason, Instant};
use crate::tcp::outcome::TcpError;
use crate::tcp::phase::Phase;
use crate::tcp::segment::Segment;
use crate::tcp::seq::SeqNum;
use crate::tcp::tcb::{Flags, Tcb, secs};

/// A timestamp older than this says nothing: the peer's clock may have wrapped (RFC 7323 section
/// 5.5).
const TIMESTAMP_STALE: Duration = Duration::from_secs(24 * 24 * 3600);

/// The decision about a segment of a synchronised connection.
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

/// The result of the checks that SYN-RECEIVED and all synchronised states share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::tcp) enum Verdict {
    /// The segment is acceptable and has the ACK bit.
    Acceptable,
    /// A reset at exactly RCV.NXT, the only valid one (RFC 5961 section 3).
    Reset,
    /// The segment is discarded, for this reason; the sender may get an ACK.
    Discard(DropReason, Reply),
}

/// The reason for an ACK in reply to a discarded segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::tcp) enum Reply {
    /// No reply.
    None,
    /// The segment fails PAWS.
    Paws,
    /// The segment is out of window.
    OutOfWindow,
    /// A challenge ACK (RFC 5961).
    Challenge,
}

/// Applies the four cases of the acceptability test (RFC 9293 section 3.4, table 6): false if the segment is
/// out of window.
pub(in crate::tcp) fn in_window(seq: SeqNum, len: u32, nxt: SeqNum, window: u32) -> bool {
    if window == 0 {
        // Without a window only what begins at RCV.NXT can matter: its payload is not taken, but its
        // acknowledgment may be.
        return seq == nxt;
    }
    let edge = nxt + window;
    seq.within(nxt, edge) || (len > 0 && (seq + (len - 1)).within(nxt, edge))
}

/// Returns true if a segment with timestamp `val` is older than one whose timestamp was `recent`.
pub(in crate::tcp) fn is_older(val: u32, recent: u32) -> bool {
    SeqNum(val).before(SeqNum(recent))
}

/// Makes the checks of RFC 9293 section 3.10.7.4, first to fourth, and of the presence of an ACK.
/// `fails_paws`: by its timestamp the segment is an old duplicate.
#[inline]
pub(in crate::tcp) fn judge(seg: &Segment, fails_paws: bool, nxt: SeqNum, window: u32) -> Verdict {
    let (rst, syn) = (seg.has(TcpFlags::RST), seg.has(TcpFlags::SYN));
    // PAWS does not apply to resets (RFC 7323 section 5.2).
    if fails_paws && !rst {
        return Verdict::Discard(DropReason::TcpPaws, Reply::Paws);
    }
    // A bare ACK at the right edge carries nothing that the window is for, and its acknowledgment counts.
    // Table 6 rejects it; a peer that filled the window sends nothing else (Linux takes it, too).
    let at_edge = seg.seq_len() == 0 && !rst && seg.seq() == nxt + window;
    // First: the sequence number. A reset out of window gets no reply; a SYN is challenged, whatever
    // its sequence number (RFC 5961 section 4).
    if !at_edge && !in_window(seg.seq(), seg.seq_len(), nxt, window) {
        return match (rst, syn) {
            (true, _) => Verdict::Discard(DropReason::TcpNotAcceptable, Reply::None),
            (false, true) => Verdict::Discard(DropReason::TcpChallenged, Reply::OutOfWindow),
            (false, false) => Verdict::Discard(DropReason::TcpNotAcceptable, Reply::OutOfWindow),
        };
    }
    // Second: the RST bit. Third, security and precedence, is obsolete.
    if rst && seg.seq() == nxt {
        return Verdict::Reset;
    }
    // Fourth: the SYN bit.
    if rst || syn {
        return Verdict::Discard(DropReason::TcpChallenged, Reply::Challenge);
    }
    // Fifth: the ACK bit.
    if !seg.has(TcpFlags::ACK) {
        return Verdict::Discard(DropReason::TcpNotAcceptable, Reply::None);
    }
    Verdict::Acceptable
}

/// Decides about `seg`, and notes which reply is owed.
pub(in crate::tcp) fn check(tcb: &mut Tcb, seg: &Segment, now: Instant) -> Acceptability {
    let fails_paws = fails_paws(tcb, seg, now);
    match judge(seg, fails_paws, tcb.window.nxt, tcb.window.offered()) {
        Verdict::Acceptable => Acceptability::Process,
        Verdict::Reset => match tcb.phase {
            Phase::Closing | Phase::LastAck | Phase::TimeWait => Acceptability::ResetSilently,
            _ => Acceptability::Reset(TcpError::Reset),
        },
        Verdict::Discard(reason, reply) => {
            match reply {
                Reply::None => {}
                Reply::Paws => acknowledge(tcb, seg, now),
                Reply::OutOfWindow => on_out_of_window(tcb, seg, now),
                Reply::Challenge => challenge(tcb, now),
            }
            if repeats_syn_ack(tcb, seg) && tcb.ack.is_due() {
                tcb.ecn.acknowledge_syn_ack(seg);
            }
            Acceptability::Discard(reason)
        }
    }
}

/// Returns true if `seg` is the SYN-ACK of the handshake again: our ACK of it was lost, and nothing has been exchanged
/// since. Any other one may be forged, and must not decide about feedback (RFC 9768 section 3.1.5).
fn repeats_syn_ack(tcb: &Tcb, seg: &Segment) -> bool {
    let received_nothing = tcb.stats.bytes_in == 0
        && tcb.assembler.is_none()
        && !tcb.flags.contains(Flags::FIN_RECEIVED);
    seg.has(TcpFlags::SYN | TcpFlags::ACK)
        && received_nothing
        && seg.seq() + 1 == tcb.window.nxt
        && seg.ack() == tcb.flight.una()
}

/// Updates TS.Recent, which follows the segment that the next acknowledgment will answer (RFC 7323
/// section 4.3). Only for a segment whose acknowledgment was accepted, too: a blind attacker, who must
/// guess that as well, could otherwise make every segment of the peer look old.
pub(super) fn update_ts_recent(tcb: &mut Tcb, seg: &Segment, now: Instant) {
    if tcb.agreed.timestamps
        && let Some(ts) = seg.options().timestamps
        && seg.seq().at_or_before(tcb.last_ack_sent)
        && (!is_older(ts.val, tcb.ts_recent) || is_stale(tcb, now))
    {
        tcb.ts_recent = ts.val;
        tcb.ts_recent_at_secs = secs(now);
    }
}

/// Returns true if `seg` fails PAWS, the protection against wrapped sequence numbers (RFC 7323 section
/// 5): it has no timestamp although both sides agreed on them, or an old one.
///
/// A retransmission that fills a gap makes TS.Recent later than the timestamps of segments that were sent before it
/// and are late. So while there is a gap, a segment may be as old as the last one before the gap: what
/// belongs above it was sent later, and what remains of the sequence numbers of the last 4 GiB was sent earlier, unless
/// much has arrived since there is a gap.
fn fails_paws(tcb: &Tcb, seg: &Segment, now: Instant) -> bool {
    if !tcb.agreed.timestamps {
        return false;
    }
    let Some(ts) = seg.options().timestamps else {
        return true;
    };
    let board = tcb.assembler.as_ref();
    let before_gap = board.map(|board| board.ts_before());
    is_older(ts.val, before_gap.unwrap_or(tcb.ts_recent)) && !is_stale(tcb, now)
}

/// Returns true if TS.Recent is too old to be compared with.
fn is_stale(tcb: &Tcb, now: Instant) -> bool {
    u64::from(secs(now).saturating_sub(tcb.ts_recent_at_secs)) > TIMESTAMP_STALE.as_secs()
}

/// Owes a challenge ACK, which answers an attack or a peer that has restarted (RFC 5961).
pub(in crate::tcp) fn challenge(tcb: &mut Tcb, now: Instant) {
    if tcb.reply_limit.permit(now) {
        tcb.ack.set_due();
    }
}

/// Owes an ACK in reply to an unacceptable segment. A segment with payload always gets one: its sender
/// has a timer that resends it. One without could itself be a reply to our reply, so those are limited.
fn acknowledge(tcb: &mut Tcb, seg: &Segment, now: Instant) {
    let could_loop = seg.payload().is_empty() && !seg.has(TcpFlags::FIN);
    if !could_loop || tcb.reply_limit.permit(now) {
        tcb.ack.set_due();
    }
}

/// Handles a segment that is out of window.
fn on_out_of_window(tcb: &mut Tcb, seg: &Segment, now: Instant) {
    let nxt = tcb.window.nxt;
    let end = seg.seq() + seg.payload_len();
    if seg.seq().before(end) && end.at_or_before(nxt) {
        tcb.note_duplicate(seg.seq(), end);
    }
    if tcb.phase == Phase::TimeWait && seg.has(TcpFlags::FIN) && (end + 1).at_or_before(nxt) {
        // The peer did not get our last ACK: TIME-WAIT begins anew.
        tcb.timers.life = now + tcb.cfg.time_wait;
    }
    acknowledge(tcb, seg, now);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_6() {
        let nxt = SeqNum(u32::MAX - 1);
        // No payload, no window.
        assert!(in_window(nxt, 0, nxt, 0));
        assert!(!in_window(nxt + 1, 0, nxt, 0));
        assert!(!in_window(nxt.back(1), 0, nxt, 0));
        // No payload, a window.
        assert!(in_window(nxt + 9, 0, nxt, 10));
        assert!(!in_window(nxt + 10, 0, nxt, 10));
        assert!(!in_window(nxt.back(1), 0, nxt, 10));
        // Payload, a window: either end inside.
        assert!(in_window(nxt.back(5), 6, nxt, 10));
        assert!(!in_window(nxt.back(5), 5, nxt, 10));
        assert!(in_window(nxt + 9, 100, nxt, 10));
        assert!(!in_window(nxt + 10, 100, nxt, 10));
    }

    #[test]
    fn resets_and_syns_are_judged_by_their_place() {
        use crate::tcp::segment::SegmentParts;
        let nxt = SeqNum(u32::MAX - 1);
        let verdict = |offset: u32, flags: TcpFlags, fails_paws: bool| {
            let seg = Segment::from(SegmentParts {
                seq: nxt + offset,
                flags,
                ..SegmentParts::default()
            });
            judge(&seg, fails_paws, nxt, 10)
        };
        let (ack, rst, syn) = (TcpFlags::ACK, TcpFlags::RST, TcpFlags::SYN);
        let discard = Verdict::Discard;
        let not_acceptable = DropReason::TcpNotAcceptable;
        let challenged = DropReason::TcpChallenged;
        assert_eq!(verdict(0, ack, false), Verdict::Acceptable);
        assert_eq!(
            verdict(0, ack, true),
            discard(DropReason::TcpPaws, Reply::Paws)
        );
        assert_eq!(
            verdict(11, ack, false),
            discard(not_acceptable, Reply::OutOfWindow)
        );
        assert_eq!(verdict(10, ack, false), Verdict::Acceptable, "the edge");
        assert_eq!(
            verdict(0, TcpFlags::empty(), false),
            discard(not_acceptable, Reply::None)
        );
        assert_eq!(verdict(0, rst, true), Verdict::Reset, "PAWS or not");
        assert_eq!(
            verdict(1, rst, false),
            discard(challenged, Reply::Challenge)
        );
        assert_eq!(
            verdict(10, rst, false),
            discard(not_acceptable, Reply::None)
        );
        assert_eq!(
            verdict(0, syn, false),
            discard(challenged, Reply::Challenge)
        );
        assert_eq!(
            verdict(10, syn, false),
            discard(challenged, Reply::OutOfWindow)
        );
    }
}
