//! SYN-RECEIVED of a passive open whose SYN had data and a valid cookie (RFC 7413 section 4.2.2): the application has the
//! connection, and data flows both ways, although the SYN-ACK is not acknowledged.
//!
//! * **Define.** A [`FastOpened`] is a control block, and the handshake that it lacks.
//! * **Enforce.** The handshake has its own timer: the SYN-ACK alone is sent again until it is acknowledged, without the
//!   option and without data. The block's timers begin when the handshake is done.
//! * **Consume.** The place in the listener's queue of such connections goes with the handshake.

use std::sync::Arc;

use packet::Buffers;
use packet::tcp::{FastOpen, TcpFlags};

use super::half_open::{Answer, HalfOpen, Step};
use super::pending::FastOpenPlace;
use crate::base::congestion::Start;
use crate::base::{DropReason, Instant, TcpConfig};
use crate::tcp::block::Block;
use crate::tcp::cc::Controller;
use crate::tcp::context::Context;
use crate::tcp::event::Event;
use crate::tcp::input::acceptable::{self, Reply, Verdict};
use crate::tcp::outcome::{Readiness, SegmentOutcome, State, TcpError};
use crate::tcp::phase::Phase;
use crate::tcp::segment::{Segment, SegmentOut, reset_for};
use crate::tcp::settings::Settings;
use crate::tcp::sockopt::seed;
use crate::tcp::tcb::{Flags, Tcb};
use crate::tcp::{Stage, Tcp};

/// An open connection whose SYN-ACK is not acknowledged.
#[derive(Debug)]
pub(in crate::tcp) struct FastOpened {
    pub(in crate::tcp) block: Box<Block>,
    half: HalfOpen,
    timer: Instant,
    syn_due: bool,
    /// A challenge ACK must be sent.
    ack_due: bool,
    /// A new cookie for the first SYN-ACK.
    cookie: Option<FastOpen>,
    place: FastOpenPlace,
}

/// The grant of a listener to a SYN with a valid cookie.
#[derive(Debug)]
pub struct FastAccept {
    /// A new cookie, if the one that came is old.
    pub cookie: Option<FastOpen>,
    /// The connection's place.
    pub place: FastOpenPlace,
    /// Largest segment that the path to the peer carries.
    pub path_mss: u16,
}

impl Tcp {
    /// Opens passively by `syn`, which has a valid cookie: the connection takes its data and is in SYN-RECEIVED, with the
    /// SYN-ACK due. `half` is the handshake of that SYN.
    pub fn accept_early<'a>(
        half: &HalfOpen,
        grant: FastAccept,
        cfg: &Arc<TcpConfig>,
        mut syn: Segment,
        cx: impl Into<Context<'a>>,
        buffers: &Buffers,
    ) -> (Self, SegmentOutcome) {
        let cx = &mut cx.into();
        cx.emit(|| Event::StateChanged {
            from: State::Closed,
            to: State::SynReceived,
        });
        let settings = Settings::new(cfg);
        let done = half.open_early(grant.path_mss, cfg, settings, &syn);
        let mut tcb = Tcb::new(done, cx.now());
        tcb.segments.delivered = 0;
        let outcome = tcb.on_syn_payload(&mut syn, cx, buffers);
        tcb.settings.syn_data = tcb.stats.bytes_in > 0;
        let opened = FastOpened {
            block: Block::boxed(tcb),
            half: *half,
            timer: cx.now() + half.timeout(cfg),
            syn_due: true,
            ack_due: false,
            cookie: grant.cookie,
            place: grant.place,
        };
        let stage = Stage::FastOpened(Box::new(opened));
        (Self { stage }, outcome)
    }
}

impl FastOpened {
    /// Returns the state: SYN-RECEIVED, until the application closes.
    pub(in crate::tcp) fn state(&self) -> State {
        match self.block.phase {
            Phase::Established => State::SynReceived,
            phase => phase.state(),
        }
    }

    pub(in crate::tcp) fn timer(&self) -> Instant {
        self.timer
    }

    /// Returns how often the SYN-ACK was sent again.
    pub(in crate::tcp) fn retries(&self) -> u8 {
        self.half.retries()
    }

    /// Returns our initial sequence number.
    pub(in crate::tcp) fn iss(&self) -> crate::tcp::SeqNum {
        self.half.iss()
    }

    /// Ends the handshake without a result: what is left to do is the control block's.
    pub(in crate::tcp) fn into_stage(self) -> Stage {
        Stage::Open(self.block)
    }

    /// Takes a segment (RFC 9293 section 3.10.7.4, as far as it concerns SYN-RECEIVED).
    pub(in crate::tcp) fn on_segment(
        mut self: Box<Self>,
        seg: &mut Segment,
        cx: &mut Context<'_>,
        buffers: &Buffers,
    ) -> (Stage, SegmentOutcome) {
        if self.block.phase == Phase::Closed {
            let outcome = self.block.on_segment(seg, cx, buffers);
            return (self.into_stage(), outcome);
        }
        let repeats_syn = seg.has(TcpFlags::SYN)
            && !seg.has(TcpFlags::ACK)
            && !seg.has(TcpFlags::RST)
            && seg.seq() == self.half.irs();
        if repeats_syn {
            let outcome = self.on_syn_again(seg, cx.now());
            return (Stage::FastOpened(self), outcome);
        }
        let cfg = &self.block.cfg;
        let fails_paws = match (self.half.timestamps(cfg), seg.options().timestamps) {
            (Some(recent), Some(ts)) => acceptable::is_older(ts.val, recent),
            _ => false,
        };
        let (nxt, window) = (self.block.window.nxt, self.block.window.offered());
        let acked = seg.ack().at_or_after(self.block.flight.una())
            && seg.ack().at_or_before(self.block.flight.nxt());
        match acceptable::judge(seg, fails_paws, nxt, window) {
            Verdict::Acceptable if acked => self.establish(seg, cx, buffers),
            Verdict::Acceptable => {
                let outcome = SegmentOutcome {
                    rst: reset_for(seg),
                    ..SegmentOutcome::dropped(DropReason::TcpBadAck)
                };
                (Stage::FastOpened(self), outcome)
            }
            Verdict::Reset => {
                let Self {
                    mut block, place, ..
                } = *self;
                place.hold(cx.now());
                let readiness = block.fail(TcpError::Reset, cx);
                (Stage::Open(block), SegmentOutcome::of(readiness))
            }
            Verdict::Discard(reason, reply) => {
                if reply != Reply::None {
                    self.ack_due |= self.block.reply_limit.permit(cx.now());
                }
                (Stage::FastOpened(self), SegmentOutcome::dropped(reason))
            }
        }
    }

    /// Takes the peer's SYN again: our SYN-ACK was lost, or is late.
    fn on_syn_again(&mut self, seg: &Segment, now: Instant) -> SegmentOutcome {
        let cfg = Arc::clone(&self.block.cfg);
        let Step::Stay(drop, answer) = self.half.on_segment(&cfg, seg, now) else {
            return SegmentOutcome::default();
        };
        self.syn_due |= answer == Answer::SynAck;
        SegmentOutcome {
            drop,
            rst: reset_for(seg).filter(|_| answer == Answer::Reset),
            ..SegmentOutcome::default()
        }
    }

    /// Ends the handshake: `seg` acknowledges our SYN, and perhaps data.
    fn establish(
        self,
        seg: &mut Segment,
        cx: &mut Context<'_>,
        buffers: &Buffers,
    ) -> (Stage, SegmentOutcome) {
        let Self {
            mut block,
            half,
            place,
            ..
        } = self;
        drop(place);
        let tcb: &mut Tcb = &mut block;
        // That of our SYN.
        tcb.segments.delivered += 1;
        cx.emit(|| Event::StateChanged {
            from: State::SynReceived,
            to: tcb.phase.state(),
        });
        tcb.ecn = half.agree(seg, tcb.flight.una());
        // An acknowledgment of data may have waited for the data.
        if let Some(rtt) = half.round_trip(cx.now())
            && seg.ack() == tcb.flight.una()
        {
            tcb.rtt.sample(rtt);
            tcb.rtt.sample_least(rtt, cx.now());
        } else if half.retries() > 0 {
            // RFC 6298 section 5.7.
            tcb.backoff.grow();
            tcb.backoff.grow();
        }
        tcb.timers.retransmit = if tcb.flight.outstanding() > 0 {
            cx.now() + tcb.rto()
        } else {
            Instant::FAR_FUTURE
        };
        let outcome = tcb.on_segment(seg, cx, buffers);
        (Stage::Open(block), outcome)
    }

    pub(in crate::tcp) fn on_timeout(
        mut self: Box<Self>,
        cx: &mut Context<'_>,
    ) -> (Stage, Readiness) {
        if self.block.phase == Phase::Closed {
            return (self.into_stage(), Readiness::empty());
        }
        if self.timer > cx.now() {
            return (Stage::FastOpened(self), Readiness::empty());
        }
        let cfg = Arc::clone(&self.block.cfg);
        if !self.half.on_timeout(cfg.syn_retries, cx.now()) {
            let error = self.block.timeout_error();
            let readiness = self.block.fail(error, cx);
            return (self.into_stage(), readiness);
        }
        let count = self.half.retries();
        cx.emit(|| Event::RetransmissionTimeout { count });
        self.begin_with_one_segment();
        self.timer = cx.now() + self.half.timeout(&cfg);
        self.syn_due = true;
        (Stage::FastOpened(self), Readiness::empty())
    }

    /// Makes the initial window one segment: the SYN-ACK was lost (RFC 5681 section 3.1).
    fn begin_with_one_segment(&mut self) {
        let tcb: &mut Tcb = &mut self.block;
        let (una, mss) = (tcb.flight.una(), u32::from(tcb.agreed.mss));
        let start = Start::new(mss, mss, None, seed(una, tcb.ts_offset))
            .tolerating(tcb.cfg.bbr_loss_percent);
        tcb.cc = Controller::new(tcb.settings.algorithm, &start, una, tcb.cfg.pacing);
    }

    pub(in crate::tcp) fn poll_transmit(
        &mut self,
        max_payload: usize,
        cx: &mut Context<'_>,
        out: &mut SegmentOut,
    ) -> bool {
        let tcb: &mut Tcb = &mut self.block;
        tcb.awake_since = tcb.awake_since.min(cx.now());
        if !core::mem::take(&mut self.syn_due) || tcb.phase == Phase::Closed {
            // A peer in SYN-SENT drops any other ACK: window updates wait for the handshake.
            tcb.ack.on_sent();
            if core::mem::take(&mut self.ack_due) {
                tcb.ack.set_due();
            }
            return tcb.poll_transmit(max_payload, cx, out);
        }
        let mut syn_ack = self.half.syn_ack(&tcb.cfg, cx.now());
        syn_ack.options.set_fast_open(self.cookie.take());
        syn_ack.ack = tcb.window.nxt;
        // Never scaled, and no more than was offered before the SYN's data came.
        syn_ack.window = u16::try_from(tcb.window.offered()).unwrap_or(u16::MAX);
        tcb.last_ack_sent = tcb.window.nxt;
        tcb.ack.on_sent();
        tcb.timers.delayed_ack = Instant::FAR_FUTURE;
        *out = syn_ack;
        true
    }

    /// Returns true if [`poll_transmit`](Self::poll_transmit) may have a segment.
    pub(in crate::tcp) fn wants_transmit(&self) -> bool {
        self.syn_due
            || self.ack_due
            || self.block.flags.contains(Flags::RST_DUE)
            || self.block.has_unsent()
    }
}
