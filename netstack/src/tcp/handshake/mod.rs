//! The handshake: SYN-SENT and SYN-RECEIVED (RFC 9293 sections 3.5 and 3.10.7).
//!
//! * **Define.** Each state is a type of its own: [`SynSent`] knows nothing of the peer,
//!   [`SynReceived`] its sequence number and its offers.
//! * **Enforce.** A handler consumes the state and returns the next one; an [`Established`] can be
//!   built only here.
//! * **Consume.** `Tcb::new` takes an [`Established`], so no connection works with numbers that
//!   were not agreed on.
//!
//! Payload and FIN on a SYN are not acknowledged: the peer sends them again after the handshake.

mod syn_received;
mod syn_sent;

pub(super) use syn_received::SynReceived;
pub(super) use syn_sent::SynSent;

use core::time::Duration;
use std::sync::Arc;

use packet::tcp::{TcpFlags, TcpOptions, Timestamps};

use super::context::Context;
use super::event::Event;
use super::outcome::{Readiness, State, TcpError, Unreachable};
use super::segment::{Segment, SegmentOut};
use super::seq::SeqNum;
use super::settings::{Agreed, Settings, scale_for};
use super::{Open, Stage};
use crate::base::{Instant, TcpConfig};

/// The result of a finished handshake.
#[derive(Debug)]
pub(super) struct Established {
    pub(super) cfg: Arc<TcpConfig>,
    pub(super) settings: Settings,
    pub(super) agreed: Agreed,
    /// Sequence number of the first byte that we send.
    pub(super) una: SeqNum,
    /// Sequence number of the first byte that we expect.
    pub(super) rcv_nxt: SeqNum,
    /// Window that our SYN offered, in bytes.
    pub(super) offered: u32,
    /// The peer's window, scaled, and the sequence number of the segment that offered it.
    pub(super) peer_window: u32,
    pub(super) peer_seq: SeqNum,
    pub(super) ts_offset: u32,
    pub(super) ts_recent: u32,
    /// Round-trip time of the handshake, if it was unambiguous.
    pub(super) rtt: Option<Duration>,
    /// True if a SYN had to be sent again.
    pub(super) lossy: bool,
    /// Private, so that only this module builds one.
    _sealed: (),
}

/// Longest round trip that an echoed timestamp may claim.
pub(super) const MAX_ECHOED_MILLIS: u32 = 600_000;

/// The part that both states share.
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
    /// A SYN or SYN-ACK must be sent.
    syn_due: bool,
    soft_error: Option<Unreachable>,
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

    /// Returns the window field of a SYN, which is never scaled.
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

    /// Handles the retransmission timer; `Err` when the retries are used up.
    fn on_timeout(&mut self, cx: &mut Context<'_>) -> Result<(), TcpError> {
        let now = cx.now();
        if self.timer > now {
            return Ok(());
        }
        if self.retries >= self.cfg.syn_retries {
            return Err(self
                .soft_error
                .map_or(TcpError::TimedOut, TcpError::Unreachable));
        }
        self.retries += 1;
        let count = self.retries;
        cx.emit(|| Event::RetransmissionTimeout { count });
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

    /// Ends the handshake: both SYNs are known, and `seg` acknowledges ours.
    fn establish(
        self,
        from: State,
        irs: SeqNum,
        peer: &TcpOptions,
        seg: &Segment,
        cx: &mut Context<'_>,
    ) -> Established {
        let now = cx.now();
        let to = State::Established;
        cx.emit(|| Event::StateChanged { from, to });
        let agreed = Agreed::new(&self.cfg, self.mss, peer);
        let scale = if seg.has(TcpFlags::SYN) {
            0
        } else {
            agreed.send_scale
        };
        // A SYN that was sent again can be timed only by the echoed timestamp.
        let echoed = seg
            .options()
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
            peer_window: u32::from(seg.window()) << scale,
            peer_seq: seg.seq(),
            ts_offset: self.ts_offset,
            ts_recent: peer.timestamps.map_or(0, |ts| ts.val),
            rtt,
            lossy: self.retries > 0,
            settings: self.settings,
            agreed,
            cfg: self.cfg,
            _sealed: (),
        }
    }
}

/// Ends the handshake in state `from` with `error`; `reset` is still to be sent.
pub(super) fn fail(
    from: State,
    error: TcpError,
    reset: Option<SegmentOut>,
    cx: &mut Context<'_>,
) -> (Stage, Readiness) {
    let to = State::Closed;
    cx.emit(|| Event::StateChanged { from, to });
    cx.emit(|| Event::Ended { error });
    let readiness =
        Readiness::ERROR | Readiness::CLOSED | Readiness::READABLE | Readiness::WRITABLE;
    (Stage::closed(Some(error), reset), readiness)
}
