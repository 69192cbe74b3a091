//! The handshake: SYN-SENT and SYN-RECEIVED (RFC 9293 sections 3.5 and 3.10.7).
//!
//! * **Define.** Each state is a type of its own: [`SynSent`] knows nothing of the peer,
//!   [`SynReceived`] its sequence number and its offers.
//! * **Enforce.** A handler consumes the state and returns the next one; an [`Established`] can be
//!   built only here.
//! * **Consume.** `Tcb::new` takes an [`Established`], so no connection works with numbers that
//!   were not agreed on.
//!
//! Payload of a SYN-ACK is taken. That of a SYN is taken with a valid Fast Open cookie, or where a connection waits for
//! it (a simultaneous open). Otherwise it is not acknowledged: nothing is kept of it, since anybody can send a SYN, and
//! the peer sends it again after the handshake.

mod cookie;
mod early;
mod fast_open;
mod fast_opened;
mod half_open;
mod pending;
mod syn_received;
mod syn_sent;

pub use cookie::{COOKIE_LIFE, CookieSecrets, Flow as CookieFlow, NotRecalled};
pub use early::{FastConnect, FastOpenNews};
pub use fast_open::{CookieCheck, FAST_OPEN_KEY_LIFE, FastOpenSecrets};
pub use fast_opened::FastAccept;
pub(super) use fast_opened::FastOpened;
pub use half_open::{Answer, HalfOpen, Step};
pub use pending::{FastOpenPlace, FastOpenQueue};
pub(super) use syn_received::{SynReceived, complete};
pub(super) use syn_sent::SynSent;

use core::time::Duration;
use std::sync::Arc;

use packet::tcp::{TcpFlags, TcpOptions, Timestamps};

use super::context::Context;
use super::ecn::{Ecn, negotiate};
use super::event::Event;
use super::outcome::{Readiness, State, TcpError, Unreachable};
use super::segment::{Segment, SegmentOut};
use super::seq::SeqNum;
use super::settings::{Agreed, DEFAULT_MSS, Settings, scale_for};
use super::{Open, Stage};
use crate::base::{Instant, TcpConfig};
use early::EarlyData;

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
    pub(super) ecn: Ecn,
    /// Round-trip time of the handshake, if it was unambiguous.
    pub(super) rtt: Option<Duration>,
    /// True if a SYN had to be sent again.
    pub(super) lossy: bool,
    /// Private, so that only this module builds one.
    _sealed: (),
}

/// Longest round trip that an echoed timestamp may claim.
pub(super) const MAX_ECHOED_MILLIS: u32 = 600_000;

/// Returns the window field of a SYN, which is never scaled.
fn syn_window(cfg: &TcpConfig) -> u16 {
    u16::try_from(cfg.recv_buffer_initial).unwrap_or(u16::MAX)
}

/// Returns our timestamp clock (TSval).
fn ts_at(now: Instant, offset: u32) -> u32 {
    (now.as_millis() as u32).wrapping_add(offset)
}

/// Returns everything that our SYN can offer.
fn syn_options(cfg: &TcpConfig, mss: u16, ts_now: u32) -> TcpOptions {
    TcpOptions {
        mss: Some(mss),
        window_scale: cfg.window_scaling.then(|| scale_for(cfg)),
        sack_permitted: cfg.sack,
        timestamps: cfg.timestamps.then_some(Timestamps {
            val: ts_now,
            ecr: 0,
        }),
        ..TcpOptions::default()
    }
}

/// A handshake at its end: both SYNs are known, and ours is acknowledged.
#[derive(Debug)]
struct Shake {
    /// The state that ends.
    from: State,
    irs: SeqNum,
    ts_offset: u32,
    path_mss: u16,
    ecn: Ecn,
    /// Time since our SYN was sent, for the last time if it was sent again.
    since_syn: Duration,
    /// Our SYN was sent once.
    sent_once: bool,
    /// An echoed timestamp is the time of our SYN.
    may_use_echo: bool,
    /// Our SYN had to be sent again.
    lossy: bool,
}

impl Shake {
    /// Ends the handshake by `seg`. `peer` are the options of the peer's SYN.
    fn establish(
        self,
        cfg: &Arc<TcpConfig>,
        settings: Settings,
        peer: &TcpOptions,
        seg: &Segment,
        cx: &mut Context<'_>,
    ) -> Established {
        let (from, to) = (self.from, State::Established);
        cx.emit(|| Event::StateChanged { from, to });
        let agreed = Agreed::new(cfg, self.path_mss, peer);
        let scale = if seg.has(TcpFlags::SYN) {
            0
        } else {
            agreed.send_scale
        };
        let ts_now = ts_at(cx.now(), self.ts_offset);
        // A SYN that was sent again can be timed only by the echoed timestamp. The echo of an earlier one proves nothing: its
        // answer may have been lost, and this one answers the last.
        let echoed = seg
            .options()
            .timestamps
            .filter(|_| agreed.timestamps && self.may_use_echo)
            .map(|ts| u64::from(ts_now.wrapping_sub(ts.ecr)))
            .filter(|millis| u128::from(*millis) <= self.since_syn.as_millis() + 1)
            .map(Duration::from_millis);
        let elapsed = self.sent_once.then_some(self.since_syn);
        Established {
            // More than the SYN, if it carried data.
            una: seg.ack(),
            rcv_nxt: self.irs + 1,
            offered: u32::from(syn_window(cfg)),
            peer_window: u32::from(seg.window()) << scale,
            peer_seq: seg.seq(),
            ts_offset: self.ts_offset,
            ts_recent: peer.timestamps.map_or(0, |ts| ts.val),
            rtt: elapsed.or(echoed),
            ecn: self.ecn,
            lossy: self.lossy,
            settings,
            agreed,
            cfg: Arc::clone(cfg),
            _sealed: (),
        }
    }
}

/// An active open before the peer's SYN is known.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) cfg: Arc<TcpConfig>,
    pub(super) settings: Settings,
    iss: SeqNum,
    ts_offset: u32,
    mss: u16,
    path_mss: u16,
    /// Time of the last SYN.
    sent_at: Instant,
    timer: Instant,
    retries: u8,
    /// A SYN or SYN-ACK must be sent.
    syn_due: bool,
    pub(super) soft_error: Option<Unreachable>,
    /// The data of the first SYN, and the data that follows the handshake.
    early: Option<Box<EarlyData>>,
}

impl Opening {
    fn new(cfg: &Arc<TcpConfig>, open: Open, now: Instant) -> Self {
        Self {
            cfg: Arc::clone(cfg),
            settings: Settings::new(cfg),
            iss: open.isn,
            ts_offset: open.ts_offset,
            mss: open.mss.min(cfg.max_mss),
            path_mss: open.path_mss,
            sent_at: now,
            timer: now + cfg.rto_initial,
            retries: 0,
            syn_due: true,
            soft_error: None,
            early: None,
        }
    }

    /// Returns how many bytes the SYN carried.
    fn early_sent(&self) -> u32 {
        self.early.as_ref().map_or(0, |early| early.sent())
    }

    /// Returns true if `seg` acknowledges our SYN, and nothing that was not sent with it.
    fn is_acked_by(&self, seg: &Segment) -> bool {
        let first = self.iss + 1;
        seg.ack().within(first, first + self.early_sent() + 1)
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
        self.sent_at = now;
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

    /// Learns what the path carries. A SYN that was longer goes again at once, without what made it long (RFC 7413
    /// section 4.1.3.1).
    pub(super) fn set_path_mss(&mut self, mss: u16) {
        self.path_mss = self.path_mss.min(mss);
        if self.early_sent() > 0
            && self.retries == 0
            && let Some(early) = &mut self.early
        {
            early.give_up();
            self.syn_due = true;
        }
    }

    /// Ends the handshake: both SYNs are known, and `seg` acknowledges ours.
    fn establish(
        self,
        irs: SeqNum,
        peer: &TcpOptions,
        seg: &Segment,
        cx: &mut Context<'_>,
    ) -> Established {
        let shake = Shake {
            from: State::SynSent,
            irs,
            ts_offset: self.ts_offset,
            path_mss: self.path_mss,
            ecn: negotiate::agree(negotiate::offer(&self.cfg, 0), seg, seg.ack()),
            since_syn: cx.now().saturating_since(self.sent_at),
            sent_once: self.retries == 0,
            may_use_echo: true,
            lossy: self.retries > 0,
        };
        shake.establish(&self.cfg, self.settings, peer, seg, cx)
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
