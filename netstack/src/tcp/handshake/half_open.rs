//! SYN-RECEIVED of a passive open, as small as it can be: what the peer's SYN said, and what our SYN-ACK
//! answers (RFC 9293 section 3.10.7.4, as far as it concerns this state).
//!
//! * **Define.** A [`HalfOpen`] is a handshake that lacks the acknowledgment of our SYN. It is a plain
//!   value of a few words: anybody can cause one with a single packet, so no connection is made for it.
//! * **Enforce.** [`HalfOpen::on_segment`] only judges a segment. [`Tcp::complete`](crate::tcp::Tcp::complete)
//!   makes the connection, of a segment that was judged [`Step::Complete`].
//! * **Consume.** The stack keeps these values in a bounded queue and sends the answers. `SynReceived`
//!   wraps one for handshakes that are connections already: those of a simultaneous open.

use core::time::Duration;
use std::sync::Arc;

use packet::buf::FLOOR_BYTES;
use packet::tcp::{TcpFlags, TcpOptions, Timestamps};

use super::{Established, Shake, syn_options, syn_window, ts_at};
use crate::base::{DropReason, Instant, TcpConfig};
use crate::tcp::Open;
use crate::tcp::context::Context;
use crate::tcp::ecn::{Ecn, EcnMode, negotiate};
use crate::tcp::input::acceptable::{self, Reply};
use crate::tcp::outcome::State;
use crate::tcp::reply_limit::ReplyLimit;
use crate::tcp::segment::{Segment, SegmentOut};
use crate::tcp::seq::SeqNum;
use crate::tcp::settings::{Agreed, MAX_SCALE, Settings};

bitflags::bitflags! {
    /// Options of the peer's SYN, and marks.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    #[cfg_attr(
        feature = "checkpoint",
        derive(serde::Serialize, serde::Deserialize),
        serde(try_from = "u8", into = "u8")
    )]
    struct Marks: u8 {
        const MSS = 1;
        const SCALE = 1 << 1;
        const SACK = 1 << 2;
        const TIMESTAMPS = 1 << 3;
        /// `key_id` is valid.
        const AUTHENTICATED = 1 << 4;
        /// The SYN-ACK was sent more than once: its round trip is ambiguous.
        const AMBIGUOUS = 1 << 5;
        /// Rebuilt from a SYN cookie: the time of the SYN-ACK is not known.
        const COOKIE = 1 << 6;
        /// The SYN-ACK offers a small window, since memory is short.
        const LITTLE_WINDOW = 1 << 7;
    }
}

#[cfg(feature = "checkpoint")]
impl From<Marks> for u8 {
    fn from(marks: Marks) -> Self {
        marks.bits()
    }
}

#[cfg(feature = "checkpoint")]
impl TryFrom<u8> for Marks {
    type Error = &'static str;

    fn try_from(bits: u8) -> Result<Self, Self::Error> {
        Self::from_bits(bits).ok_or("marks that no handshake has")
    }
}

/// A passive open whose SYN-ACK is not acknowledged.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub struct HalfOpen {
    iss: SeqNum,
    irs: SeqNum,
    ts_offset: u32,
    /// Timestamp of the peer's SYN.
    peer_ts: u32,
    /// Time of the first SYN-ACK, in microseconds, modulo 2^32. It counts for a handshake without
    /// retransmission only, which is over long before it wraps.
    sent_micros: u32,
    /// The MSS that our SYN announces.
    mss: u16,
    peer_mss: u16,
    peer_scale: u8,
    marks: Marks,
    retries: u8,
    reply_limit: ReplyLimit,
    ecn: negotiate::Answer,
    /// Number of the key that verified the SYN. No checkpoint has handshakes with one.
    #[cfg_attr(feature = "checkpoint", serde(skip))]
    key_id: u8,
}

/// The decision about a segment that arrived for a [`HalfOpen`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The handshake goes on. The segment may be discarded for a reason, and gets an answer.
    Stay(Option<DropReason>, Answer),
    /// The peer reset the handshake.
    Reset,
    /// The segment acknowledges our SYN: see [`Tcp::complete`](crate::tcp::Tcp::complete).
    Complete,
}

/// The answer to a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// No answer.
    None,
    /// The SYN-ACK again: [`HalfOpen::syn_ack`].
    SynAck,
    /// An ACK of the peer's SYN: [`HalfOpen::ack`].
    Ack,
    /// A reset: [`reset_for`](crate::tcp::reset_for).
    Reset,
}

impl HalfOpen {
    /// Takes in `syn`, a SYN without ACK, RST and FIN that came to a listener (RFC 9293 section
    /// 3.10.7.2). The SYN-ACK is due at once.
    pub fn new(cfg: &TcpConfig, open: Open, syn: &Segment, now: Instant) -> Self {
        Self {
            ecn: negotiate::Answer::to(cfg, syn),
            ..Self::of(open, syn.seq(), syn.options(), now)
        }
    }

    pub(super) fn of(open: Open, irs: SeqNum, peer: &TcpOptions, now: Instant) -> Self {
        let mut marks = Marks::empty();
        marks.set(Marks::MSS, peer.mss.is_some());
        marks.set(Marks::SCALE, peer.window_scale.is_some());
        marks.set(Marks::SACK, peer.sack_permitted);
        marks.set(Marks::TIMESTAMPS, peer.timestamps.is_some());
        Self {
            iss: open.isn,
            irs,
            ts_offset: open.ts_offset,
            peer_ts: peer.timestamps.map_or(0, |ts| ts.val),
            sent_micros: micros(now),
            mss: open.mss,
            peer_mss: peer.mss.unwrap_or(0),
            peer_scale: peer.window_scale.unwrap_or(0),
            marks,
            retries: 0,
            reply_limit: ReplyLimit::default(),
            ecn: negotiate::Answer::default(),
            key_id: 0,
        }
    }

    /// Marks the handshake as one whose SYN-ACK was a cookie: when it was sent is not known.
    pub(super) fn of_cookie(open: Open, irs: SeqNum, peer: &TcpOptions, now: Instant) -> Self {
        let mut half = Self::of(open, irs, peer, now);
        half.marks.insert(Marks::COOKIE);
        half
    }

    /// Uses ECN with classic feedback, for which a cookie has one bit.
    pub(super) fn with_classic_ecn(self, classic: bool) -> Self {
        let mode = if classic {
            EcnMode::Classic
        } else {
            EcnMode::Off
        };
        Self {
            ecn: negotiate::Answer::of(mode, 0),
            ..self
        }
    }

    /// Returns the mode of ECN.
    #[cfg(test)]
    pub(super) fn ecn_mode(&self) -> EcnMode {
        self.ecn.mode()
    }

    /// Creates a handshake with this sequence number of ours, for tests that need any.
    #[cfg(test)]
    pub(crate) fn example(isn: SeqNum) -> Self {
        let open = Open {
            isn,
            ts_offset: 0,
            mss: 1_460,
            path_mss: 1_460,
        };
        Self::of(open, SeqNum(0), &TcpOptions::default(), Instant::ZERO)
    }

    /// Notes that SYNs of ours were sent again before this handshake began.
    pub(super) fn set_retries(&mut self, retries: u8) {
        self.retries = retries;
    }

    /// Returns the peer's initial sequence number.
    pub fn irs(&self) -> SeqNum {
        self.irs
    }

    /// Returns it after a checkpoint; `None` if no SYN leaves this.
    pub fn restored(&self) -> Option<Self> {
        let others = Marks::COOKIE | Marks::AUTHENTICATED;
        let is_one = self.peer_scale <= MAX_SCALE && !self.marks.intersects(others);
        (is_one && self.mss > 0).then_some(*self)
    }

    /// Begins the handshake anew: its SYN-ACK may have been sent before.
    pub fn again(&mut self) {
        self.retries = 0;
        self.marks.insert(Marks::AMBIGUOUS);
    }

    /// Begins the handshake at `now`, which is later than the SYN: its SYN-ACK is due.
    pub fn begin(&mut self, now: Instant) {
        self.sent_micros = micros(now);
    }

    /// Returns our initial sequence number.
    pub fn iss(&self) -> SeqNum {
        self.iss
    }

    /// Returns the MSS that our SYN announces.
    pub fn mss(&self) -> u16 {
        self.mss
    }

    /// Makes the SYN-ACK offer no more than what each flow may always queue: memory is short. Call it before the
    /// SYN-ACK is sent for the first time.
    #[must_use]
    pub fn with_little_window(mut self) -> Self {
        self.marks.insert(Marks::LITTLE_WINDOW);
        self
    }

    /// Returns the window that the SYN-ACK offers.
    fn first_window(&self, cfg: &TcpConfig) -> u16 {
        let window = syn_window(cfg);
        if self.marks.contains(Marks::LITTLE_WINDOW) {
            window.min(FLOOR_BYTES as u16)
        } else {
            window
        }
    }

    /// Returns how often the SYN-ACK was sent again because its timer expired.
    pub fn retries(&self) -> u8 {
        self.retries
    }

    /// Returns the time from one SYN-ACK to the next (RFC 6298 section 5.5).
    pub fn timeout(&self, cfg: &TcpConfig) -> Duration {
        cfg.rto_initial
            .saturating_mul(1 << self.retries.min(16))
            .min(cfg.rto_max)
    }

    /// Handles the retransmission timer at `now`: true if the SYN-ACK must be sent again, false if it was sent
    /// again `limit` times and the handshake is given up.
    pub fn on_timeout(&mut self, limit: u8, now: Instant) -> bool {
        let goes_on = self.retries < limit;
        if goes_on {
            self.retries += 1;
            self.sent_micros = micros(now);
        }
        goes_on
    }

    /// Judges a segment (RFC 9293 section 3.10.7.4, as far as it concerns SYN-RECEIVED).
    pub fn on_segment(&mut self, cfg: &TcpConfig, seg: &Segment, now: Instant) -> Step {
        self.on_segment_after(0, cfg, seg, now)
    }

    /// Judges a segment when our SYN carried `sent` bytes, of which the peer may acknowledge a part.
    pub(super) fn on_segment_after(
        &mut self,
        sent: u32,
        cfg: &TcpConfig,
        seg: &Segment,
        now: Instant,
    ) -> Step {
        let acks_syn = seg.ack().within(self.iss + 1, self.iss + 2 + sent);
        // The peer's SYN again. If it acknowledges ours, it is the second half of a simultaneous open,
        // and only the ACK is new. If it does not, our SYN-ACK was lost.
        if seg.has(TcpFlags::SYN) && seg.seq() == self.irs && !seg.has(TcpFlags::RST) {
            if !seg.has(TcpFlags::ACK) {
                self.marks.insert(Marks::AMBIGUOUS);
                self.sent_micros = micros(now);
                if !self.ecn.again(cfg, seg) {
                    let reason = DropReason::TcpNotAcceptable;
                    return Step::Stay(Some(reason), self.limited(Answer::Reset, now));
                }
                return Step::Stay(None, self.limited(Answer::SynAck, now));
            }
            if acks_syn {
                return Step::Complete;
            }
        }
        let fails_paws = match (self.timestamps(cfg), seg.options().timestamps) {
            (Some(recent), Some(ts)) => acceptable::is_older(ts.val, recent),
            _ => false,
        };
        let window = u32::from(self.first_window(cfg));
        match acceptable::judge(seg, fails_paws, self.irs + 1, window) {
            acceptable::Verdict::Acceptable if acks_syn => Step::Complete,
            acceptable::Verdict::Acceptable => {
                Step::Stay(Some(DropReason::TcpBadAck), Answer::Reset)
            }
            acceptable::Verdict::Reset => Step::Reset,
            acceptable::Verdict::Discard(reason, Reply::None) => {
                Step::Stay(Some(reason), Answer::None)
            }
            acceptable::Verdict::Discard(reason, _) => {
                Step::Stay(Some(reason), self.limited(Answer::Ack, now))
            }
        }
    }

    /// Returns `answer` within the limit of such answers, and none beyond it.
    fn limited(&mut self, answer: Answer, now: Instant) -> Answer {
        if self.reply_limit.permit(now) {
            answer
        } else {
            Answer::None
        }
    }

    /// Returns the peer's timestamp if both sides use them.
    pub(super) fn timestamps(&self, cfg: &TcpConfig) -> Option<u32> {
        (cfg.timestamps && self.marks.contains(Marks::TIMESTAMPS)).then_some(self.peer_ts)
    }

    /// Returns the options of the peer's SYN.
    pub fn peer(&self) -> TcpOptions {
        let has = |mark| self.marks.contains(mark);
        TcpOptions {
            mss: has(Marks::MSS).then_some(self.peer_mss),
            window_scale: has(Marks::SCALE).then_some(self.peer_scale),
            sack_permitted: has(Marks::SACK),
            timestamps: has(Marks::TIMESTAMPS).then_some(Timestamps {
                val: self.peer_ts,
                ecr: 0,
            }),
            ..TcpOptions::default()
        }
    }

    /// Builds the SYN-ACK.
    pub fn syn_ack(&self, cfg: &TcpConfig, now: Instant) -> SegmentOut {
        let mut options = syn_options(cfg, self.mss.min(cfg.max_mss), ts_at(now, self.ts_offset));
        // Options that the peer's SYN did not offer must not be sent.
        if !self.marks.contains(Marks::SCALE) {
            options.window_scale = None;
        }
        options.sack_permitted &= self.marks.contains(Marks::SACK);
        options.timestamps = self.timestamps_out(cfg, now);
        options.acc_ecn = self.ecn.option(self.retries);
        SegmentOut {
            seq: self.iss,
            ack: self.irs + 1,
            flags: TcpFlags::SYN | TcpFlags::ACK | self.ecn.flags(self.retries),
            window: self.first_window(cfg),
            options,
            mss: self.mss,
            ..SegmentOut::default()
        }
    }

    /// Builds an ACK of the peer's SYN.
    pub fn ack(&self, cfg: &TcpConfig, now: Instant) -> SegmentOut {
        self.bare(TcpFlags::ACK, cfg, now)
    }

    /// Builds the reset of an aborted handshake.
    pub fn reset(&self, cfg: &TcpConfig, now: Instant) -> SegmentOut {
        self.bare(TcpFlags::RST | TcpFlags::ACK, cfg, now)
    }

    fn timestamps_out(&self, cfg: &TcpConfig, now: Instant) -> Option<Timestamps> {
        self.timestamps(cfg).map(|ecr| Timestamps {
            val: ts_at(now, self.ts_offset),
            ecr,
        })
    }

    fn bare(&self, flags: TcpFlags, cfg: &TcpConfig, now: Instant) -> SegmentOut {
        SegmentOut {
            seq: self.iss + 1,
            ack: self.irs + 1,
            flags,
            window: self.first_window(cfg),
            options: TcpOptions {
                timestamps: self.timestamps_out(cfg, now),
                ..TcpOptions::default()
            },
            mss: self.mss,
            ..SegmentOut::default()
        }
    }

    /// Ends the handshake: `seg` acknowledges our SYN. `path_mss`: the largest segment that the path carries.
    pub(in crate::tcp) fn establish(
        &self,
        path_mss: u16,
        cfg: &Arc<TcpConfig>,
        settings: Settings,
        seg: &Segment,
        cx: &mut Context<'_>,
    ) -> Established {
        let has = |mark| self.marks.contains(mark);
        let shake = Shake {
            from: State::SynReceived,
            irs: self.irs,
            ts_offset: self.ts_offset,
            path_mss,
            ecn: self.agree(seg, self.iss + 1),
            since_syn: self.since_sent(cx.now()),
            sent_once: self.is_sent_once(),
            may_use_echo: !has(Marks::COOKIE),
            lossy: self.retries > 0,
        };
        Established {
            offered: self.first_window(cfg).into(),
            ..shake.establish(cfg, settings, &self.peer(), seg, cx)
        }
    }

    /// Returns the time since the SYN-ACK, if it was sent once.
    pub(super) fn round_trip(&self, now: Instant) -> Option<Duration> {
        self.is_sent_once().then(|| self.since_sent(now))
    }

    fn is_sent_once(&self) -> bool {
        self.retries == 0 && !self.marks.intersects(Marks::AMBIGUOUS | Marks::COOKIE)
    }

    /// Returns the time since the last SYN-ACK.
    fn since_sent(&self, now: Instant) -> Duration {
        Duration::from_micros(u64::from(micros(now).wrapping_sub(self.sent_micros)))
    }

    /// Returns the use of ECN after `seg`, which acknowledges our SYN.
    pub(super) fn agree(&self, seg: &Segment, una: SeqNum) -> Ecn {
        self.ecn.agree(seg, self.retries, una)
    }

    /// Begins a connection before our SYN is acknowledged: `syn`, which has a valid Fast Open cookie, is all that is known.
    pub(super) fn open_early(
        &self,
        path_mss: u16,
        cfg: &Arc<TcpConfig>,
        settings: Settings,
        syn: &Segment,
    ) -> Established {
        Established {
            agreed: Agreed::new(cfg, path_mss, &self.peer()),
            una: self.iss + 1,
            rcv_nxt: self.irs + 1,
            offered: self.first_window(cfg).into(),
            peer_window: syn.window().into(),
            peer_seq: syn.seq(),
            ts_offset: self.ts_offset,
            ts_recent: self.peer_ts,
            // Nothing is agreed on before the handshake is done.
            ecn: Ecn::new(EcnMode::Off, self.iss + 1),
            rtt: None,
            lossy: false,
            settings,
            cfg: Arc::clone(cfg),
            _sealed: (),
        }
    }
}

fn micros(now: Instant) -> u32 {
    (now.as_nanos() / 1_000) as u32
}

mod authenticated;
#[cfg(test)]
mod tests;
