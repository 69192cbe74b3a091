//! The end of the peer's stream (RFC 9293 section 3.10.7.4 eighth).
//!
//! A FIN counts when everything before it has arrived. One that came early is remembered by its
//! place; the first one seen wins.

use packet::tcp::TcpFlags;

use crate::base::Instant;
use crate::tcp::conn::{Conn, Flags};
use crate::tcp::outcome::Events;
use crate::tcp::phase::PhaseEvent;
use crate::tcp::segment::Segment;
use crate::tcp::seq::SeqNum;

/// Where the segment's FIN is, if it has one.
pub(super) fn position(seg: &Segment) -> Option<SeqNum> {
    seg.flags
        .contains(TcpFlags::FIN)
        .then(|| seg.seq + seg.payload.len() as u32)
}

/// Takes the FIN at `fin`, or the one that was remembered, if it is next.
pub(super) fn process(conn: &mut Conn, fin: Option<SeqNum>, now: Instant) -> Events {
    if !conn.phase.may_receive() {
        if fin.is_some() {
            // The same FIN again: its sender did not hear us.
            conn.ack.on_urgent();
        }
        return Events::empty();
    }
    if let Some(fin) = fin
        && conn.fin_at.is_none()
        && fin.at_or_after(conn.window.nxt)
        && fin.at_or_before(conn.window.edge())
    {
        // Nothing that was kept may lie beyond the end.
        let beyond = conn
            .assembler
            .as_ref()
            .and_then(|board| board.end())
            .is_some_and(|end| end.after(fin));
        if !beyond {
            conn.fin_at = Some(fin);
            conn.ack.on_urgent();
        }
    }
    if conn.fin_at != Some(conn.window.nxt) {
        return Events::empty();
    }
    conn.fin_at = None;
    conn.assembler = None;
    conn.window.nxt += 1;
    conn.flags.insert(Flags::FIN_RECEIVED);
    conn.ack.on_urgent();
    conn.phase = conn.phase.apply(PhaseEvent::FinReceived);
    conn.on_phase_changed(now) | Events::PEER_CLOSED | Events::READABLE
}
