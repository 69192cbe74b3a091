//! The sending of the segment that was chosen: what it changes in the connection, and its timers.

use packet::tcp::{TcpFlags, TcpOptions};

use super::emit::Content;
use super::pick::{Pick, Size, Why};
use crate::base::Instant;
use crate::tcp::context::Context;
use crate::tcp::event::Event;
use crate::tcp::segment::SegmentOut;
use crate::tcp::seq::SeqNum;
use crate::tcp::tcb::{Flags, Tcb};

/// The place of a segment in the sequence space.
#[derive(Clone, Copy)]
struct Span {
    seq: SeqNum,
    len: u32,
    fin: bool,
}

impl Tcb {
    /// Sends a pick: builds the segment in `out`, and notes what follows from it.
    #[inline]
    pub(super) fn apply(
        &mut self,
        pick: Pick,
        options: TcpOptions,
        size: Size,
        cx: &mut Context<'_>,
        out: &mut SegmentOut,
    ) {
        let now = cx.now();
        let alone = self.flight.outstanding() == 0;
        self.flags.remove(Flags::PROBE_DUE);
        self.flags.insert(Flags::SENT);
        self.last_sent = now;
        let Span { seq, len, fin } = match pick {
            Pick::Fresh { len, fin, probe } => self.apply_fresh(len, fin, probe, size, cx),
            Pick::Again { seq, len, fin, why } => {
                self.apply_again(Span { seq, len, fin }, why, size, cx)
            }
            Pick::MtuProbe { len, mss } => self.apply_mtu_probe(len, mss, now),
            Pick::Probe => self.apply_probe(cx),
        };
        self.cc.on_paced(len, alone, size.rate, now);
        if self.flight.outstanding() > 0 && self.timers.retransmit == Instant::FAR_FUTURE {
            self.timers.retransmit = now + self.rto();
        }
        self.arm_loss_timer(true, now);
        self.turn_flight = self.turn_flight.max(self.flight.outstanding());
        let last = len > 0 && seq + len == self.queue.end();
        let mut flags = TcpFlags::empty();
        flags.set(TcpFlags::FIN, fin);
        flags.set(TcpFlags::PSH, last);
        let fresh = len > 0 && matches!(pick, Pick::Fresh { .. } | Pick::MtuProbe { .. });
        let mss = match pick {
            Pick::MtuProbe { len, .. } => len,
            _ => size.segment,
        };
        let content = Content {
            seq,
            flags,
            len,
            mss,
            fresh,
        };
        self.emit(content, options, out);
        self.queue.gather(seq, len, &mut out.payload);
    }

    /// Notes that the next `len` bytes leave for the first time.
    #[inline]
    fn apply_fresh(
        &mut self,
        len: u32,
        fin: bool,
        probe: bool,
        size: Size,
        cx: &mut Context<'_>,
    ) -> Span {
        let now = cx.now();
        let seq = self.flight.nxt();
        if self.flight.outstanding() == 0 {
            self.timers.retransmit = Instant::FAR_FUTURE;
            if self.flight.is_app_limited() {
                self.cc.on_restart(size.segment, cx);
            }
        }
        if self.ack.is_reply(now, self.cfg.delayed_ack) {
            self.flags.insert(Flags::INTERACTIVE);
        }
        self.flags.remove(Flags::PROBE_SENT);
        self.flight.on_sent(len + u32::from(fin), now);
        if probe {
            self.flight.on_probed();
            let len = len + u32::from(fin);
            cx.emit(|| Event::TailLossProbe { seq, len });
        } else {
            self.cc.on_transmit(len);
        }
        self.note_sent();
        if !len.is_multiple_of(size.segment) {
            self.small_end = self.flight.nxt();
        }
        Span { seq, len, fin }
    }

    /// Notes that something leaves again.
    fn apply_again(&mut self, span: Span, why: Why, size: Size, cx: &mut Context<'_>) -> Span {
        let now = cx.now();
        let Span { seq, len, fin } = span;
        let losses = self.stats.losses_mut();
        losses.retransmits = losses
            .retransmits
            .wrapping_add(len.div_ceil(size.segment).max(1));
        losses.bytes_resent = losses.bytes_resent.saturating_add(u64::from(len));
        let sequence_len = len + u32::from(fin);
        match why {
            Why::Lost => self.flight.on_resent(seq, sequence_len, now),
            Why::Rescue => self.flight.on_rescued(seq, sequence_len, now),
            Why::TailProbe => {
                self.flight.on_probe_resent(seq, sequence_len, now);
                cx.emit(|| Event::TailLossProbe {
                    seq,
                    len: sequence_len,
                });
            }
        }
        if why != Why::TailProbe {
            self.cc.on_transmit(len);
        }
        if seq == self.flight.una() {
            // The timer times the head, which leaves anew now.
            self.timers.retransmit = Instant::FAR_FUTURE;
        }
        self.note_sent();
        span
    }

    /// Notes that the next `len` bytes leave as a path MTU probe.
    fn apply_mtu_probe(&mut self, len: u32, mss: u16, now: Instant) -> Span {
        let seq = self.flight.nxt();
        self.flags.remove(Flags::PROBE_SENT);
        self.flight.on_mtu_probe_sent(len, now);
        self.note_mtu_probe(mss);
        self.cc.on_transmit(len);
        self.note_sent();
        Span {
            seq,
            len,
            fin: false,
        }
    }

    /// Notes that a zero window probe leaves. It is not counted as sent: with the window closed it will hardly be taken.
    fn apply_probe(&mut self, cx: &mut Context<'_>) -> Span {
        self.flags.insert(Flags::PROBE_SENT);
        cx.emit(|| Event::PersistProbe);
        let len = self.unsent().min(1);
        Span {
            seq: self.flight.nxt(),
            len,
            fin: len == 0,
        }
    }
}
