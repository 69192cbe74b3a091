//! Rest: an open connection on which nothing happens keeps only what it cannot do without.
//!
//! * **Define.** A [`Resting`] is an established connection with nothing unread, unsent, in flight or out
//!   of order, no reply owed, and no timer but keepalive.
//! * **Enforce.** [`Tcp::rest`] takes the numbers out of such a connection and frees the rest of it. The
//!   pattern there names every field of the control block: a new one does not compile until somebody
//!   decides if it is kept.
//! * **Consume.** Any entry that needs the control block makes it anew ([`Tcp::tcb_mut`]); the others
//!   answer from the few numbers. Nobody outside `tcp` sees the difference, but in memory.

use core::time::Duration;
use std::sync::Arc;

use packet::buf::Account;

use super::block::Block;
use super::cc::RestingController;
use super::ecn::RestingEcn;
use super::outcome::Unreachable;
use super::output::delayed_ack::{DelayedAck, PAUSE};
use super::phase::Phase;
use super::recv::dsack::Duplicates;
use super::recv::ring::Ring;
use super::recv::window::RestingWindow;
use super::reorder::Reordering;
use super::reply_limit::ReplyLimit;
use super::rto::Backoff;
use super::rtt::RttEstimator;
use super::send::inflight::Inflight;
use super::send::queue::SendQueue;
use super::send::window::SendWindow;
use super::send_times::RestingTimes;
use super::seq::SeqNum;
use super::settings::{Agreed, Settings};
use super::sockopt::seed;
use super::stats::{SegmentStats, Stats};
use super::tcb::{Flags, Tcb};
use super::timers::Timers;
use super::{Stage, Tcp};
use crate::base::congestion::Start;
use crate::base::{Instant, TcpConfig};

/// Idle time after which a connection rests: longer than the round trips of a conversation, and so short that of many
/// connections that are opened and used one after the other only few are awake at a time.
const REST_AFTER: Duration = Duration::from_millis(100);
const _: () = assert!(REST_AFTER.as_millis() >= PAUSE.as_millis());

/// Marks that a connection may have while it rests. All others stand for work.
const KEPT: Flags = Flags::SENT
    .union(Flags::UNREAD_DROPPED)
    .union(Flags::INTERACTIVE)
    .union(Flags::RTT_OUTDATED);

/// Holds the state that a connection keeps while it rests.
#[derive(Clone, Debug)]
pub(super) struct Resting {
    pub(super) cfg: Arc<TcpConfig>,
    pub(super) settings: Settings,
    pub(super) agreed: Agreed,
    flags: Flags,
    soft_error: Option<Unreachable>,
    una: SeqNum,
    peer: SendWindow,
    reorder: Reordering,
    cc: RestingController,
    ecn: RestingEcn,
    rtt: RttEstimator,
    backoff: Backoff,
    last_sent: Instant,
    window: RestingWindow,
    reply_limit: ReplyLimit,
    last_heard: Instant,
    ts_offset: u32,
    ts_recent: u32,
    ts_recent_at_secs: u32,
    /// The keepalive timer.
    pub(super) life: Instant,
    pub(super) stats: Stats,
    segments: SegmentStats,
    send_times: RestingTimes,
    hinted_ssthresh: u32,
}

impl Resting {
    fn of(tcb: Tcb) -> Self {
        let Tcb {
            cfg,
            settings,
            agreed,
            phase: _,
            flags,
            error: _,
            soft_error,
            queue: _,
            flight,
            peer,
            cc,
            ecn,
            rtt,
            backoff,
            retries: _,
            small_end: _,
            last_sent,
            turn_flight: _,
            ring: _,
            assembler: _,
            window,
            fin_at: _,
            ack: _,
            reply_limit,
            duplicates: _,
            last_ack_sent: _,
            last_heard,
            keepalives: _,
            ts_offset,
            ts_recent,
            ts_recent_at_secs,
            episode_at: _,
            resent_at: _,
            timers,
            deliver_to: _,
            stats,
            segments,
            send_times,
            // Empty: an idle connection keeps no memory from others.
            account: _,
            awake_since: _,
            wants_path_metrics: _,
            hinted_ssthresh,
            // What it found is in `agreed`, and in the cache.
            search: _,
            proven_mss: _,
            least_mss: _,
        } = tcb;
        Self {
            cfg,
            settings,
            agreed,
            flags: flags & KEPT,
            soft_error,
            una: flight.una(),
            reorder: flight.reordering(),
            peer,
            cc: cc.rest(),
            ecn: ecn.rest(),
            rtt,
            backoff,
            last_sent,
            window: window.rest(),
            reply_limit,
            last_heard,
            ts_offset,
            ts_recent,
            ts_recent_at_secs,
            life: timers.life,
            stats,
            segments,
            // Nothing waits to be sent: the time does not matter.
            send_times: send_times.rest(last_sent),
            hinted_ssthresh,
        }
    }

    pub(super) fn last_active(&self) -> Instant {
        self.last_heard.max(self.last_sent)
    }

    /// Makes the control block anew.
    pub(super) fn wake(self) -> Tcb {
        let pacing = self.cfg.pacing;
        let seed = seed(self.una, self.ts_offset);
        let start = Start::new(u32::from(self.agreed.mss), 0, self.rtt.srtt(), seed)
            .tolerating(self.cfg.bbr_loss_percent);
        // It was last read before the connection rested.
        let window = self.window.wake(self.last_heard);
        Tcb {
            flight: Inflight::after_rest(self.una, self.agreed.sack, self.reorder),
            queue: SendQueue::new(self.una),
            phase: Phase::Established,
            error: None,
            retries: 0,
            turn_flight: 0,
            ring: Ring::default(),
            assembler: None,
            fin_at: None,
            ack: DelayedAck::default(),
            duplicates: Duplicates::default(),
            keepalives: 0,
            timers: Timers {
                life: self.life,
                ..Timers::default()
            },
            deliver_to: self.una,
            account: Account::default(),
            awake_since: Instant::FAR_FUTURE,
            wants_path_metrics: false,
            hinted_ssthresh: self.hinted_ssthresh,
            search: None,
            proven_mss: 0,
            least_mss: 0,
            cfg: self.cfg,
            settings: self.settings,
            agreed: self.agreed,
            flags: self.flags,
            soft_error: self.soft_error,
            peer: self.peer,
            cc: self
                .cc
                .wake(self.settings.algorithm, start, self.una, pacing),
            ecn: self.ecn.wake(self.una),
            rtt: self.rtt,
            backoff: self.backoff,
            // Everything is acknowledged, in both directions.
            small_end: self.una,
            last_ack_sent: window.nxt,
            last_sent: self.last_sent,
            window,
            reply_limit: self.reply_limit,
            last_heard: self.last_heard,
            ts_offset: self.ts_offset,
            ts_recent: self.ts_recent,
            ts_recent_at_secs: self.ts_recent_at_secs,
            // Nothing is in flight that was sent before an earlier recovery.
            episode_at: Instant::ZERO,
            resent_at: Instant::ZERO,
            stats: self.stats,
            segments: self.segments,
            send_times: self.send_times.wake(),
        }
    }
}

impl Tcb {
    /// Returns true if nothing would be lost by resting.
    fn is_idle(&self) -> bool {
        // The user timeout watches what is queued.
        let others = Timers {
            life: Instant::FAR_FUTURE,
            user: Instant::FAR_FUTURE,
            ..self.timers
        };
        self.phase == Phase::Established
            && (KEPT | Flags::UNDECIDED).contains(self.flags)
            && self.queue.len() == 0
            && self.flight.outstanding() == 0
            && self.ring.len() == 0
            && self.assembler.is_none()
            && self.account.pinned() == 0
            && self.fin_at.is_none()
            && self.duplicates.is_empty()
            && !self.ack.is_owed()
            && self.retries == 0
            && self.keepalives == 0
            && others.earliest().is_none()
    }
}

/// Rest.
impl Tcp {
    /// Returns when [`rest`](Self::rest) should be called, if the connection is idle and does not rest.
    pub fn rest_at(&self) -> Option<Instant> {
        // Before the handshake is done there is a SYN-ACK to send again.
        let Stage::Open(tcb) = &self.stage else {
            return None;
        };
        if !tcb.is_idle() {
            return None;
        }
        let had_a_turn = tcb.awake_since != Instant::FAR_FUTURE;
        had_a_turn.then(|| tcb.last_active().max(tcb.awake_since) + REST_AFTER)
    }

    /// Frees what the connection does not need while it is idle, if it has been for a moment. The next
    /// use brings it back.
    pub fn rest(&mut self, now: Instant) {
        if self.rest_at().is_none_or(|at| at > now) {
            return;
        }
        self.checked(|tcp| {
            if let Stage::Open(tcb) = tcp.take_stage() {
                tcp.stage = Stage::Resting(Resting::of(tcb.into_tcb()));
            }
        });
    }

    /// Returns true if the connection rests.
    pub fn is_resting(&self) -> bool {
        matches!(self.stage, Stage::Resting(_))
    }

    /// Ends a rest.
    pub(super) fn wake(&mut self) {
        if self.is_resting()
            && let Stage::Resting(resting) = self.take_stage()
        {
            self.stage = Stage::Open(Block::boxed(resting.wake()));
        }
    }
}
