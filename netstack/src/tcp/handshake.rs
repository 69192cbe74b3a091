//! Before the connection: SYN-SENT and SYN-RECEIVED (RFC 9293 sections 3.5 and 3.10.7).
//!
//! * **Define.** Each state is a type of its own, with what is known in it: in [`SynSent`] nothing
//!   about the peer, in [`SynReceived`] its sequence number and its offers.
//! * **Enforce.** A handler consumes the state and returns the next one; an [`Established`] can be
//!   built only here.
//! * **Consume.** `Conn::new` takes an [`Established`], so no connection works with numbers that were
//!   not agreed upon.
//!
//! Text and FIN on a SYN are not acknowledged: the peer sends them again once the handshake is done.

use core::time::Duration;
use std::sync::Arc;

use super::conn::Conn;
use super::input::acceptable;
use super::outcome::{Events, Outcome, TcpError, Unreachable};
use super::output::delayed_ack::ReplyLimit;
use super::segment::{Segment, SegmentOut, reset_for};
use super::seq::SeqNum;
use super::settings::{Agreed, Settings, scale_for};
use super::{Open, Stage};
use crate::base::{DropReason, Instant, TcpConfig};
use packet::Buffers;
use packet::tcp::{TcpFlags, TcpOptions, Timestamps};

/// A handshake that is done.
#[derive(Debug)]
pub(super) struct Established {
    pub(super) cfg: Arc<TcpConfig>,
    pub(super) settings: Settings,
    pub(super) agreed: Agreed,
    /// First octet that we send.
    pub(super) una: SeqNum,
    /// First octet that we expect.
    pub(super) rcv_nxt: SeqNum,
    /// Window that our SYN offered, in bytes.
    pub(super) offered: u32,
    /// The peer's window, scaled, and the segment that told it.
    pub(super) peer_window: u32,
    pub(super) peer_seq: SeqNum,
    pub(super) ts_offset: u32,
    pub(super) ts_recent: u32,
    /// Round-trip time of the handshake, if it was unambiguous.
    pub(super) rtt: Option<Duration>,
    /// A SYN had to be sent again.
    pub(super) lossy: bool,
}

/// Longest round trip that an echoed timestamp may claim.
pub(super) const MAX_ECHOED_MILLIS: u32 = 600_000;

/// What both states share.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) cfg: Arc<TcpConfig>,
    pub(super) settings: Settings,
    iss: SeqNum,
    ts_offset: u32,
    mss: u16,
    sent_at: Instant,
    timer: Instant,
    retries: u8,
    /// A SYN, or SYN-ACK, is to be sent.
    syn_due: bool,
    soft_error: Option<Unreachable>,
}

/// SYN-SENT.
#[derive(Debug)]
pub(super) struct SynSent {
    pub(super) opening: Opening,
}

/// SYN-RECEIVED.
#[derive(Debug)]
pub(super) struct SynReceived {
    pub(super) opening: Opening,
    irs: SeqNum,
    peer: TcpOptions,
    /// Ours was the first SYN (a simultaneous open).
    active: bool,
    /// The application closed already.
    pub(super) closing: bool,
    ack_due: bool,
    reply_limit: ReplyLimit,
}

impl Opening {
    fn new(cfg: &Arc<TcpConfig>, open: Open, now: Instant) -> Self {
        Self {
            cfg: Arc::clone(cfg),
            settings: Settings::new(cfg),
            iss: open.isn,
            ts_offset: open.ts_offset,
            mss: open.mss,
            sent_at: now,
            timer: now + cfg.rto_initial,
            retries: 0,
            syn_due: true,
            soft_error: None,
        }
    }

    /// Window field of a SYN: never scaled.
    fn window(&self) -> u16 {
        u16::try_from(self.cfg.recv_buffer_initial).unwrap_or(u16::MAX)
    }

    fn ts_now(&self, now: Instant) -> u32 {
        (now.as_millis() as u32).wrapping_add(self.ts_offset)
    }

    fn options(&self, now: Instant) -> TcpOptions {
        TcpOptions {
            mss: Some(self.mss),
            window_scale: self.cfg.window_scaling.then(|| scale_for(&self.cfg)),
            sack_permitted: self.cfg.sack,
            timestamps: self.cfg.timestamps.then(|| Timestamps {
                val: self.ts_now(now),
                ecr: 0,
            }),
            ..TcpOptions::default()
        }
    }

    /// The retransmission timer: `Err` when there were enough.
    fn on_timeout(&mut self, now: Instant) -> Result<(), TcpError> {
        if self.timer > now {
            return Ok(());
        }
        if self.retries >= self.cfg.syn_retries {
            return Err(self
                .soft_error
                .map_or(TcpError::TimedOut, TcpError::Unreachable));
        }
        self.retries += 1;
        let rto = self
            .cfg
            .rto_initial
            .saturating_mul(1 << self.retries.min(16))
            .min(self.cfg.rto_max);
        self.timer = now + rto;
        self.syn_due = true;
        Ok(())
    }

    pub(super) fn iss(&self) -> SeqNum {
        self.iss
    }

    pub(super) fn timer(&self) -> Instant {
        self.timer
    }

    pub(super) fn retries(&self) -> u8 {
        self.retries
    }

    pub(super) fn mss(&self) -> u16 {
        self.mss
    }

    pub(super) fn set_mss(&mut self, mss: u16) {
        self.mss = self.mss.min(mss);
    }

    pub(super) fn note_soft_error(&mut self, error: Unreachable) {
        self.soft_error = Some(error);
    }

    /// Both SYNs are known and ours is acknowledged by `seg`.
    fn establish(self, irs: SeqNum, peer: &TcpOptions, seg: &Segment, now: Instant) -> Established {
        let agreed = Agreed::new(&self.cfg, self.mss, peer);
        let scale = if seg.has(TcpFlags::SYN) {
            0
        } else {
            agreed.send_scale
        };
        // A SYN that was sent again tells its time only by the timestamp that came back.
        let echoed = seg
            .options
            .timestamps
            .filter(|_| agreed.timestamps)
            .map(|ts| self.ts_now(now).wrapping_sub(ts.ecr))
            .filter(|millis| *millis <= MAX_ECHOED_MILLIS)
            .map(|millis| Duration::from_millis(u64::from(millis)));
        let rtt = if self.retries == 0 {
            Some(now.saturating_since(self.sent_at))
        } else {
            echoed
        };
        Established {
            una: self.iss + 1,
            rcv_nxt: irs + 1,
            offered: u32::from(self.window()),
            peer_window: u32::from(seg.window) << scale,
            peer_seq: seg.seq,
            ts_offset: self.ts_offset,
            ts_recent: peer.timestamps.map_or(0, |ts| ts.val),
            rtt,
            lossy: self.retries > 0,
            settings: self.settings,
            agreed,
            cfg: self.cfg,
        }
    }
}

fn closed(error: TcpError, reason: Option<DropReason>) -> (Stage, Outcome) {
    let outcome = Outcome {
        events: Events::ERROR | Events::CLOSED | Events::READABLE | Events::WRITABLE,
        drop: reason,
        rst: None,
    };
    (Stage::closed(Some(error), None), outcome)
}

impl SynSent {
    /// An active open: the SYN is due.
    pub(super) fn new(cfg: &Arc<TcpConfig>, open: Open, now: Instant) -> Self {
        Self {
            opening: Opening::new(cfg, open, now),
        }
    }

    /// RFC 9293 section 3.10.7.3.
    pub(super) fn on_segment(self, seg: &Segment, now: Instant) -> (Stage, Outcome) {
        let iss = self.opening.iss;
        let acked = seg.has(TcpFlags::ACK);
        // First: the ACK bit. Only our SYN can be acknowledged.
        if acked && seg.ack != iss + 1 {
            let outcome = Outcome {
                rst: reset_for(seg),
                ..Outcome::dropped(DropReason::TcpBadAck)
            };
            return (Stage::SynSent(self), outcome);
        }
        // Second: the RST bit.
        if seg.has(TcpFlags::RST) {
            if acked {
                return closed(TcpError::Refused, None);
            }
            let outcome = Outcome::dropped(DropReason::TcpNotAcceptable);
            return (Stage::SynSent(self), outcome);
        }
        // Fourth: the SYN bit.
        if !seg.has(TcpFlags::SYN) {
            let outcome = Outcome::dropped(DropReason::TcpNotAcceptable);
            return (Stage::SynSent(self), outcome);
        }
        if acked {
            let done = self.opening.establish(seg.seq, &seg.options, seg, now);
            let mut conn = Conn::new(done, now);
            conn.ack.on_urgent();
            let outcome = Outcome {
                events: Events::ESTABLISHED | Events::WRITABLE | Events::TRANSMIT,
                ..Outcome::default()
            };
            return (Stage::Open(conn), outcome);
        }
        // A simultaneous open: our SYN goes out again, as a SYN-ACK.
        let mut opening = self.opening;
        opening.syn_due = true;
        let received = SynReceived {
            opening,
            irs: seg.seq,
            peer: seg.options,
            active: true,
            closing: false,
            ack_due: false,
            reply_limit: ReplyLimit::default(),
        };
        let outcome = Outcome {
            events: Events::TRANSMIT,
            ..Outcome::default()
        };
        (Stage::SynReceived(received), outcome)
    }

    pub(super) fn on_timeout(mut self, now: Instant) -> (Stage, Events) {
        match self.opening.on_timeout(now) {
            Ok(()) => {
                let events = transmit_if(self.opening.syn_due);
                (Stage::SynSent(self), events)
            }
            Err(error) => {
                let (stage, outcome) = closed(error, None);
                (stage, outcome.events)
            }
        }
    }

    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<SegmentOut> {
        let opening = &mut self.opening;
        if !core::mem::take(&mut opening.syn_due) {
            return None;
        }
        Some(SegmentOut {
            seq: opening.iss,
            flags: TcpFlags::SYN,
            window: opening.window(),
            options: opening.options(now),
            mss: opening.mss,
            ..SegmentOut::default()
        })
    }
}

fn transmit_if(due: bool) -> Events {
    if due {
        Events::TRANSMIT
    } else {
        Events::empty()
    }
}

impl SynReceived {
    /// A passive open: `syn` came to a listener, and the SYN-ACK is due.
    pub(super) fn new(cfg: &Arc<TcpConfig>, open: Open, syn: &Segment, now: Instant) -> Self {
        Self {
            opening: Opening::new(cfg, open, now),
            irs: syn.seq,
            peer: syn.options,
            active: false,
            closing: false,
            ack_due: false,
            reply_limit: ReplyLimit::default(),
        }
    }

    /// RFC 9293 section 3.10.7.4, as far as it concerns SYN-RECEIVED.
    pub(super) fn on_segment(
        mut self,
        mut seg: Segment,
        now: Instant,
        buffers: &Buffers,
    ) -> (Stage, Outcome) {
        let nxt = self.irs + 1;
        // The peer's SYN again. With our SYN acknowledged it is the other half of a simultaneous
        // open: what is new in it is the ACK. Without, our SYN-ACK was lost.
        if seg.has(TcpFlags::SYN) && seg.seq == self.irs && !seg.has(TcpFlags::RST) {
            if !seg.has(TcpFlags::ACK) {
                self.opening.syn_due |= self.reply_limit.permit(now);
                return self.stay(Outcome {
                    events: Events::TRANSMIT,
                    ..Outcome::default()
                });
            }
            if seg.ack == self.opening.iss + 1 {
                let done = self.opening.establish(self.irs, &self.peer, &seg, now);
                return finish(done, self.closing, None, true, now, buffers);
            }
        }
        // First: the sequence number, with PAWS before it.
        if let (Some(recent), Some(ts)) = (self.peer.timestamps, seg.options.timestamps) {
            let old = SeqNum(ts.val).before(SeqNum(recent.val));
            if self.opening.cfg.timestamps && old && !seg.has(TcpFlags::RST) {
                return self.answer(DropReason::TcpPaws, now);
            }
        }
        let window = u32::from(self.opening.window());
        if !acceptable::in_window(seg.seq, seg.seq_len(), nxt, window) {
            if seg.has(TcpFlags::RST) {
                return self.stay(Outcome::dropped(DropReason::TcpNotAcceptable));
            }
            return self.answer(DropReason::TcpNotAcceptable, now);
        }
        // Second: the RST bit.
        if seg.has(TcpFlags::RST) {
            if seg.seq != nxt {
                return self.answer(DropReason::TcpChallenged, now);
            }
            let error = if self.active {
                TcpError::Refused
            } else {
                TcpError::Reset
            };
            return closed(error, None);
        }
        // Fourth: the SYN bit (RFC 5961 section 4).
        if seg.has(TcpFlags::SYN) {
            return self.answer(DropReason::TcpChallenged, now);
        }
        // Fifth: the ACK bit.
        if !seg.has(TcpFlags::ACK) {
            return self.stay(Outcome::dropped(DropReason::TcpNotAcceptable));
        }
        if seg.ack != self.opening.iss + 1 {
            return self.stay(Outcome {
                rst: reset_for(&seg),
                ..Outcome::dropped(DropReason::TcpBadAck)
            });
        }
        let done = self.opening.establish(self.irs, &self.peer, &seg, now);
        seg.flags.remove(TcpFlags::SYN);
        finish(done, self.closing, Some(seg), false, now, buffers)
    }

    /// Discards the segment and acknowledges what we have, within the limit of such replies.
    fn answer(mut self, reason: DropReason, now: Instant) -> (Stage, Outcome) {
        self.ack_due |= self.reply_limit.permit(now);
        let outcome = Outcome {
            events: transmit_if(self.ack_due),
            ..Outcome::dropped(reason)
        };
        (Stage::SynReceived(self), outcome)
    }

    fn stay(self, outcome: Outcome) -> (Stage, Outcome) {
        (Stage::SynReceived(self), outcome)
    }

    pub(super) fn on_timeout(mut self, now: Instant) -> (Stage, Events) {
        match self.opening.on_timeout(now) {
            Ok(()) => {
                let events = transmit_if(self.opening.syn_due);
                (Stage::SynReceived(self), events)
            }
            Err(error) => {
                let (stage, outcome) = closed(error, None);
                (stage, outcome.events)
            }
        }
    }

    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<SegmentOut> {
        let opening = &mut self.opening;
        if core::mem::take(&mut opening.syn_due) {
            self.ack_due = false;
            let mut options = opening.options(now);
            // Only what the peer's SYN offered may be accepted.
            if self.peer.window_scale.is_none() {
                options.window_scale = None;
            }
            options.sack_permitted &= self.peer.sack_permitted;
            options.timestamps = match (options.timestamps, self.peer.timestamps) {
                (Some(ours), Some(theirs)) => Some(Timestamps {
                    val: ours.val,
                    ecr: theirs.val,
                }),
                _ => None,
            };
            return Some(SegmentOut {
                seq: opening.iss,
                ack: self.irs + 1,
                flags: TcpFlags::SYN | TcpFlags::ACK,
                window: opening.window(),
                options,
                mss: opening.mss,
                ..SegmentOut::default()
            });
        }
        if core::mem::take(&mut self.ack_due) {
            return Some(self.bare(TcpFlags::ACK, now));
        }
        None
    }

    /// The reset of an aborted handshake.
    pub(super) fn reset(&self, now: Instant) -> SegmentOut {
        self.bare(TcpFlags::RST | TcpFlags::ACK, now)
    }

    fn bare(&self, flags: TcpFlags, now: Instant) -> SegmentOut {
        let opening = &self.opening;
        let timestamps = match self.peer.timestamps {
            Some(theirs) if opening.cfg.timestamps => Some(Timestamps {
                val: opening.ts_now(now),
                ecr: theirs.val,
            }),
            _ => None,
        };
        SegmentOut {
            seq: opening.iss + 1,
            ack: self.irs + 1,
            flags,
            window: opening.window(),
            options: TcpOptions {
                timestamps,
                ..TcpOptions::default()
            },
            mss: opening.mss,
            ..SegmentOut::default()
        }
    }
}

/// ESTABLISHED, and on with the rest of the segment.
fn finish(
    done: Established,
    closing: bool,
    rest: Option<Segment>,
    ack_now: bool,
    now: Instant,
    buffers: &Buffers,
) -> (Stage, Outcome) {
    let mut conn = Conn::new(done, now);
    let mut outcome = match rest {
        Some(seg) => conn.on_segment(seg, now, buffers),
        None => Outcome::default(),
    };
    if ack_now {
        conn.ack.on_urgent();
    }
    if closing {
        conn.close(now);
    }
    outcome.events |= Events::ESTABLISHED | Events::WRITABLE | Events::TRANSMIT;
    (Stage::Open(conn), outcome)
}
