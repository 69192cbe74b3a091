//! The end of the peer's stream (RFC 9293 section 3.10.7.4 eighth).
//!
//! A FIN counts when everything before it has arrived. One that came early is remembered by its
//! place; the first one seen wins.

use packet::tcp::TcpFlags;

use crate::tcp::context::Context;
use crate::tcp::outcome::Readiness;
use crate::tcp::phase::PhaseEvent;
use crate::tcp::segment::Segment;
use crate::tcp::seq::SeqNum;
use crate::tcp::tcb::{Flags, Tcb};

/// Where the segment's FIN is, if it has one.
pub(super) fn position(seg: &Segment) -> Option<SeqNum> {
    seg.has(TcpFlags::FIN)
        .then(|| seg.seq() + seg.payload_len())
}

/// Takes the FIN at `fin`, or the one that was remembered, if it is next.
pub(super) fn process(tcb: &mut Tcb, fin: Option<SeqNum>, cx: &mut Context<'_>) -> Readiness {
    if !tcb.phase.may_receive() {
        if fin.is_some() {
            // The same FIN again: its sender did not hear us.
            tcb.ack.on_urgent();
        }
        return Readiness::empty();
    }
    if let Some(fin) = fin
        && tcb.fin_at.is_none()
        && fin.at_or_after(tcb.window.nxt)
        && fin.at_or_before(tcb.window.edge())
    {
        // Nothing that was kept may lie beyond the end.
        let beyond = tcb
            .assembler
            .as_ref()
            .and_then(|board| board.end())
            .is_some_and(|end| end.after(fin));
        if !beyond {
            tcb.fin_at = Some(fin);
            tcb.ack.on_urgent();
        }
    }
    if tcb.fin_at != Some(tcb.window.nxt) {
        return Readiness::empty();
    }
    tcb.fin_at = None;
    tcb.assembler = None;
    tcb.window.nxt += 1;
    tcb.flags.insert(Flags::FIN_RECEIVED);
    tcb.ack.on_urgent();
    tcb.transition(PhaseEvent::FinReceived, cx) | Readiness::PEER_CLOSED | Readiness::READABLE
}
