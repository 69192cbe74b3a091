//! The payload of a segment (RFC 9293 section 3.10.7.4 seventh).
//!
//! Payload left of RCV.NXT is old, and payload right of the window's edge is too early; both are
//! cut off. The rest is delivered if it is next, or kept in the out-of-order queue. Urgent data is
//! data in the stream (RFC 9293 section 3.8.5).

use packet::buf::Memory;
use packet::{Buffers, Payload};

use crate::base::{DropReason, Instant};
use crate::tcp::context::Context;
use crate::tcp::outcome::Readiness;
use crate::tcp::output::delayed_ack::Arrived;
use crate::tcp::phase::Phase;
use crate::tcp::recv::assembler::Assembler;
use crate::tcp::segment::Segment;
use crate::tcp::seq::SeqNum;
use crate::tcp::tcb::{Flags, Tcb};

/// Takes the payload of an acceptable segment. The second value is the reason for which some of it
/// was discarded.
pub(super) fn process(
    tcb: &mut Tcb,
    seg: &mut Segment,
    cx: &mut Context<'_>,
    buffers: &Buffers,
) -> (Readiness, Option<DropReason>) {
    if seg.payload().is_empty() {
        return (Readiness::empty(), None);
    }
    if !tcb.phase.may_receive() {
        // The peer sends no data after its FIN; old data was rejected before.
        tcb.ack.set_due();
        return (Readiness::empty(), Some(DropReason::TcpNotAcceptable));
    }
    let nxt = tcb.window.nxt;
    let size = match seg.gso_size() {
        0 => tcb.payload_mss(),
        size => u32::from(size),
    };
    let is_merged = seg.gso_size() != 0;
    let seq = seg.seq();
    let payload = seg.take_payload();
    let full = payload.len();
    let (start, payload) = trim(tcb, seq, payload);
    if payload.is_empty() {
        tcb.ack.set_due();
        return (Readiness::empty(), Some(DropReason::TcpNoBuffer));
    }
    if tcb.flags.contains(Flags::RECV_CLOSED) {
        // RFC 9293 section 3.6.1: the application is gone, and the sender must know.
        tcb.reset_after_sending(cx);
        let readiness = if tcb.phase == Phase::Closed {
            Readiness::CLOSED
        } else {
            Readiness::empty()
        };
        return (readiness, Some(DropReason::TcpDataAfterClose));
    }
    if start.after(nxt) {
        // What was not merged is one segment of the wire, although it may be longer than ours.
        let segments = if is_merged {
            (payload.len() as u32).div_ceil(size.max(1))
        } else {
            1
        };
        let losses = tcb.stats.losses_mut();
        losses.out_of_order = losses.out_of_order.wrapping_add(segments);
        note_out_of_order(tcb, segments);
        return (Readiness::empty(), keep(tcb, start, payload, buffers));
    }
    let kept = deliver(tcb, payload, buffers);
    let Ok(len) = kept else {
        tcb.ack.set_due();
        return (Readiness::empty(), kept.err());
    };
    tcb.stats.bytes_in += u64::from(len);
    if start == seq {
        // What was cut off in front is the first duplicate of this segment.
        note_overlap(tcb, start, start + len);
    }
    tcb.window.nxt += len;
    if full > len as usize || tcb.assembler.is_some() {
        // Some was cut off, or a gap shrank: the peer is told at once.
        tcb.ack.set_due();
    }
    collect(tcb);
    limit_window(tcb, buffers);
    note_advance(tcb);
    owe_ack(tcb, len, size, cx.now());
    (Readiness::READABLE, None)
}

/// Owes an ACK for `len` bytes in order, of wire segments of `size` bytes: at once, or within the delay.
#[inline]
pub(in crate::tcp) fn owe_ack(tcb: &mut Tcb, len: u32, size: u32, now: Instant) {
    let replies = tcb.flags.contains(Flags::INTERACTIVE);
    let arrived = Arrived {
        len,
        size,
        now,
        quick: if replies { 0 } else { tcb.cfg.quick_acks },
    };
    if !tcb.ack.on_payload(arrived) && tcb.timers.delayed_ack == Instant::FAR_FUTURE {
        tcb.timers.delayed_ack = now + tcb.ack.delay(tcb.cfg.delayed_ack);
    }
}

/// Cuts off what is old, and what lies beyond the window or the peer's FIN.
fn trim(tcb: &mut Tcb, mut start: SeqNum, mut payload: Payload) -> (SeqNum, Payload) {
    let nxt = tcb.window.nxt;
    if start.before(nxt) {
        let old = nxt - start;
        tcb.note_duplicate(start, nxt.min(start + payload.len() as u32));
        payload.advance(old as usize);
        start = nxt;
        tcb.ack.set_due();
    }
    let mut limit = tcb.window.edge();
    if let Some(fin) = tcb.fin_at {
        limit = limit.min(fin);
    }
    payload.truncate(limit.since(start) as usize);
    (start, payload)
}

/// Queues the payload that is next for the application; returns how many bytes, at least one. While memory
/// is short that may be less than all: the peer sends the rest again.
fn deliver(tcb: &mut Tcb, mut payload: Payload, buffers: &Buffers) -> Result<u32, DropReason> {
    let memory = buffers.charging(&tcb.account);
    payload.truncate(memory.room(tcb.ring.len()));
    if payload.is_empty() {
        limit_window(tcb, buffers);
        return Err(DropReason::MemoryShare);
    }
    match tcb.ring.push(payload, memory) {
        0 => Err(DropReason::MemoryLimit),
        kept => Ok(kept as u32),
    }
}

/// Offers no more than the flow's share of the memory.
fn limit_window(tcb: &mut Tcb, buffers: &Buffers) {
    let unread = tcb.ring.len();
    let room = buffers.charging(&tcb.account).room(unread);
    tcb.window.limit_to(room.saturating_add(unread));
}

/// Owes duplicate ACKs for `segments` of the wire ahead of a gap. Without SACK the sender counts them, else a super-segment
/// is one range and one ACK.
fn note_out_of_order(tcb: &mut Tcb, segments: u32) {
    let segments = if tcb.agreed.sack { 1 } else { segments };
    tcb.ack
        .on_out_of_order(u8::try_from(segments).unwrap_or(u8::MAX));
}

/// Keeps no more duplicate ACKs due than there are ranges to report: RCV.NXT advanced.
fn note_advance(tcb: &mut Tcb) {
    let ranges = match &tcb.assembler {
        Some(board) if tcb.agreed.sack => board.ranges(),
        _ => 0,
    };
    tcb.ack.on_advance(u8::try_from(ranges).unwrap_or(u8::MAX));
}

/// Keeps payload that is ahead of a gap.
fn keep(
    tcb: &mut Tcb,
    start: SeqNum,
    mut payload: Payload,
    buffers: &Buffers,
) -> Option<DropReason> {
    let limits = tcb.assembler_limits();
    let memory: Memory<'_> = buffers.charging(&tcb.account);
    payload.truncate(memory.spare_room());
    if payload.is_empty() {
        return Some(DropReason::MemoryOutOfOrder);
    }
    note_overlap(tcb, start, start + payload.len() as u32);
    let memory: Memory<'_> = buffers.charging(&tcb.account);
    let (ts_recent, nxt) = (tcb.ts_recent, tcb.window.nxt);
    let board = tcb
        .assembler
        .get_or_insert_with(|| Box::new(Assembler::new(ts_recent, nxt)));
    let kept = board.insert(start, &payload, limits, memory);
    if board.is_empty() {
        tcb.assembler = None;
    }
    // Without anything kept it has nothing new, or there is no room for it.
    (kept == 0).then_some(DropReason::TcpNoBuffer)
}

/// Notes the first part of `left..right` that waits already: only the first duplicate of a segment is reported
/// (RFC 2883 section 4.2).
fn note_overlap(tcb: &mut Tcb, left: SeqNum, right: SeqNum) {
    let board = tcb.assembler.as_ref();
    if let Some((left, right)) = board.and_then(|board| board.first_overlap(left, right)) {
        tcb.note_duplicate(left, right);
    }
}

/// Moves the bytes that are next now from the out-of-order queue to the application.
fn collect(tcb: &mut Tcb) {
    let Some(board) = tcb.assembler.as_mut() else {
        return;
    };
    while let Some((run, end)) = board.take_from(tcb.window.nxt) {
        tcb.stats.bytes_in += u64::from(end - tcb.window.nxt);
        tcb.window.nxt = end;
        tcb.ring.extend(run);
    }
    if board.is_empty() {
        tcb.assembler = None;
    } else {
        board.on_advanced(tcb.window.nxt, tcb.ts_recent);
    }
}
