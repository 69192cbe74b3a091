//! The end of the peer's stream (RFC 9293 section 3.10.7.4 eighth).
//!
//! A FIN counts when everything before it has arrived. The sequence number of one that arrives
//! ahead of a gap is kept; the first FIN wins.

use packet::tcp::TcpFlags;

use crate::tcp::context::Context;
use crate::tcp::outcome::Readiness;
use crate::tcp::phase::PhaseEvent;
use crate::tcp::segment::Segment;
use crate::tcp::seq::SeqNum;
use crate::tcp::tcb::{Flags, Tcb};

/// Returns the sequence number of the segment's FIN, if it has one.
pub(super) fn position(seg: &Segment) -> Option<SeqNum> {
    seg.has(TcpFlags::FIN)
        .then(|| seg.seq() + seg.payload_len())
}

/// Takes the FIN at `fin`, or the one that was kept, if it is next.
pub(in crate::tcp) fn process(
    tcb: &mut Tcb,
    fin: Option<SeqNum>,
    cx: &mut Context<'_>,
) -> Readiness {
    if !tcb.phase.may_receive() {
        if fin.is_some() {
            // The same FIN again: its sender did not get our ACK.
            tcb.ack.set_due();
        }
        return Readiness::empty();
    }
    if let Some(fin) = fin
        && tcb.fin_at.is_none()
        && fin.at_or_after(tcb.window.nxt)
        && fin.at_or_before(tcb.window.edge())
    {
        // A FIN below bytes that are kept already is a lie.
        let beyond = tcb
            .assembler
            .as_ref()
            .and_then(|board| board.end())
            .is_some_and(|end| end.after(fin));
        if !beyond {
            tcb.fin_at = Some(fin);
            tcb.ack.set_due();
        }
    }
    if tcb.fin_at != Some(tcb.window.nxt) {
        return Readiness::empty();
    }
    tcb.fin_at = None;
    tcb.assembler = None;
    tcb.window.nxt += 1;
    tcb.flags.insert(Flags::FIN_RECEIVED);
    tcb.ack.set_due();
    tcb.transition(PhaseEvent::FinReceived, cx) | Readiness::PEER_CLOSED | Readiness::READABLE
}
