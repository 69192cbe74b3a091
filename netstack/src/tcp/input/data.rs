//! The text of a segment (RFC 9293 section 3.10.7.4 seventh).
//!
//! What lies left of RCV.NXT is old and right of the window's edge is too early; the rest is
//! delivered if it is next, or kept. The urgent pointer changes nothing: urgent data is data in
//! the stream (RFC 6093).

use packet::Buffers;

use crate::base::{DropReason, Instant};
use crate::tcp::conn::{Conn, Flags};
use crate::tcp::outcome::Events;
use crate::tcp::recv::assembler::Assembler;
use crate::tcp::recv::compact;
use crate::tcp::segment::Segment;

/// Unread bytes that a connection may always have, however few slabs are left.
const FAIR_QUEUE_BYTES: usize = 64 << 10;

/// Takes the text of an acceptable segment. The reason is why some of it was discarded.
pub(super) fn process(
    conn: &mut Conn,
    seg: Segment,
    now: Instant,
    buffers: &Buffers,
) -> (Events, Option<DropReason>) {
    if seg.payload.is_empty() {
        return (Events::empty(), None);
    }
    if !conn.phase.may_receive() {
        // Text after the peer's FIN cannot be: what is old of it was sorted out before.
        conn.ack.on_urgent();
        return (Events::empty(), Some(DropReason::TcpNotAcceptable));
    }
    let nxt = conn.window.nxt;
    let size = match seg.gso_size {
        0 => conn.payload_mss(),
        size => u32::from(size),
    };
    let mut payload = seg.payload;
    let mut start = seg.seq;
    let full = payload.len();
    if start.before(nxt) {
        let old = nxt - start;
        conn.dsack = Some((start, nxt.min(start + payload.len() as u32)));
        payload.advance(old as usize);
        start = nxt;
        conn.ack.on_urgent();
    }
    let mut limit = conn.window.edge();
    if let Some(fin) = conn.fin_at {
        limit = limit.min(fin);
    }
    payload.truncate(limit.since(start) as usize);
    if payload.is_empty() {
        conn.ack.on_urgent();
        return (Events::empty(), Some(DropReason::TcpNoBuffer));
    }
    if conn.flags.contains(Flags::RECV_CLOSED) {
        // RFC 9293 section 3.6.1: nobody will read this; the sender must know.
        conn.abort();
        return (
            Events::CLOSED | Events::TRANSMIT,
            Some(DropReason::TcpDataAfterClose),
        );
    }
    if must_wait(conn, start, &payload, buffers) {
        conn.ack.on_urgent();
        return (Events::empty(), Some(DropReason::TcpNoBuffer));
    }
    if start.after(nxt) {
        return (Events::empty(), keep(conn, start, &payload, buffers));
    }
    let len = payload.len() as u32;
    conn.stats.bytes_in += u64::from(len);
    conn.window.nxt += len;
    conn.ring.push(payload, buffers);
    if full > len as usize || conn.assembler.is_some() {
        // Something was cut off, or a gap shrank: the peer should know at once.
        conn.ack.on_urgent();
    }
    collect(conn);
    if !conn.ack.on_text(len, size) && conn.timers.delayed_ack == Instant::FAR_FUTURE {
        conn.timers.delayed_ack = now + conn.cfg.delayed_ack;
    }
    (Events::READABLE, None)
}

/// Whether text that pins a large slab has to come again, because few are left: what is ahead of a
/// gap, and what adds to a queue that the application is slow to read. So slow readers cannot take
/// the slab that everybody else's next segment needs.
fn must_wait(
    conn: &Conn,
    start: crate::tcp::seq::SeqNum,
    payload: &packet::Payload,
    buffers: &Buffers,
) -> bool {
    payload.pinned_bytes() > buffers.small().slab_bytes()
        && compact::fills_its_slab(payload)
        && (start.after(conn.window.nxt) || conn.ring.len() >= FAIR_QUEUE_BYTES)
        && buffers.large().is_scarce()
}

/// Keeps text that is ahead of a gap.
fn keep(
    conn: &mut Conn,
    start: crate::tcp::seq::SeqNum,
    payload: &packet::Payload,
    buffers: &Buffers,
) -> Option<DropReason> {
    conn.ack.on_urgent();
    let limits = conn.assembler_limits();
    let board = conn
        .assembler
        .get_or_insert_with(|| Box::new(Assembler::default()));
    let known = board.len();
    let kept = board.insert(start, payload, limits, buffers);
    if board.is_empty() {
        conn.assembler = None;
    }
    if kept > 0 {
        return None;
    }
    if known > 0 && conn.dsack.is_none() {
        // Nothing new in it, or no room for it.
        conn.dsack = Some((start, start + payload.len() as u32)).filter(|&(l, r)| {
            conn.assembler
                .as_ref()
                .is_some_and(|board| board.covers(l, r))
        });
    }
    Some(DropReason::TcpNoBuffer)
}

/// Moves what has become next from the out-of-order queue to the application.
fn collect(conn: &mut Conn) {
    let Some(board) = conn.assembler.as_mut() else {
        return;
    };
    while let Some((run, end)) = board.take_from(conn.window.nxt) {
        conn.stats.bytes_in += u64::from(end - conn.window.nxt);
        conn.window.nxt = end;
        conn.ring.extend(run);
    }
    if board.is_empty() {
        conn.assembler = None;
    }
}
