//! TIME-WAIT, as small as it can be (RFC 9293 sections 3.6.1 and 3.10.7.4, RFC 1337, RFC 6191).
//!
//! * **Define.** A [`TimeWait`] is what is left of a connection that both sides have closed: the numbers
//!   from which late segments are answered.
//! * **Enforce.** [`Tcp::retire`] makes one, of a connection that has nothing left to send. The
//!   connection is CLOSED from then on.
//! * **Consume.** The stack keeps these values in a bounded queue. The connection, with what the
//!   application has not read yet, belongs to the application alone.

use packet::tcp::{TcpFlags, TcpOptions, Timestamps};

use super::context::Context;
use super::ecn::{Ace, final_flags};
use super::input::acceptable::{Reply, Verdict, is_older, judge};
use super::phase::{Phase, PhaseEvent};
use super::reply_limit::ReplyLimit;
use super::segment::{Segment, SegmentOut};
use super::seq::SeqNum;
use super::settings::MAX_SCALE;
use super::tcb::Tcb;
use super::{Stage, Tcp};
use crate::base::{DropReason, Instant};

/// A connection in TIME-WAIT.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub struct TimeWait {
    snd_nxt: SeqNum,
    rcv_nxt: SeqNum,
    /// RCV.WND, in bytes.
    window: u32,
    ts_offset: u32,
    ts_recent: u32,
    reply_limit: ReplyLimit,
    recv_scale: u8,
    timestamps: bool,
    /// The field of Accurate ECN.
    ace: Option<Ace>,
}

/// The effect of a segment on a connection in TIME-WAIT.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TimeWaitStep {
    /// The reason for which the segment was discarded.
    pub drop: Option<DropReason>,
    /// An ACK is due: [`TimeWait::ack`].
    pub answer: bool,
    /// The peer repeats its FIN, since it did not get our ACK: 2 MSL begin anew.
    pub restart: bool,
    /// The peer reset the connection: TIME-WAIT ends.
    pub end: bool,
}

/// An acknowledgment this far below SND.NXT is older than any window (RFC 5961 section 5).
const OLDEST_ACK: u32 = 1 << 30;

impl TimeWait {
    fn of(tcb: &Tcb) -> Self {
        Self {
            snd_nxt: tcb.flight.nxt(),
            rcv_nxt: tcb.window.nxt,
            window: tcb.window.offered(),
            ts_offset: tcb.ts_offset,
            ts_recent: tcb.ts_recent,
            reply_limit: ReplyLimit::default(),
            recv_scale: tcb.agreed.recv_scale,
            timestamps: tcb.agreed.timestamps,
            ace: tcb.ecn.final_field(),
        }
    }

    /// Returns it after a checkpoint; `None` if no connection leaves this.
    pub fn restored(&self) -> Option<Self> {
        (self.recv_scale <= MAX_SCALE).then_some(*self)
    }

    pub(super) fn snd_nxt(&self) -> SeqNum {
        self.snd_nxt
    }

    pub(super) fn rcv_nxt(&self) -> SeqNum {
        self.rcv_nxt
    }

    /// Returns the latest timestamp of the peer, if both sides use them.
    pub(super) fn ts_recent(&self) -> Option<u32> {
        self.timestamps.then_some(self.ts_recent)
    }

    /// Takes a segment that may not [`reuse`](Self::reuse) the connection.
    pub fn on_segment(&mut self, seg: &Segment, now: Instant) -> TimeWaitStep {
        let fails_paws = match (self.ts_recent(), seg.options().timestamps) {
            (Some(recent), Some(ts)) => is_older(ts.val, recent),
            (Some(_), None) => true,
            (None, _) => false,
        };
        let has_fin = seg.has(TcpFlags::FIN);
        match judge(seg, fails_paws, self.rcv_nxt, self.window) {
            Verdict::Acceptable => self.on_acceptable(seg, now),
            Verdict::Reset => TimeWaitStep {
                end: true,
                ..TimeWaitStep::default()
            },
            Verdict::Discard(reason, reply) => {
                let could_loop = seg.payload().is_empty() && !has_fin;
                let end = seg.seq() + seg.payload_len();
                let repeated_fin = has_fin && (end + 1).at_or_before(self.rcv_nxt);
                TimeWaitStep {
                    drop: Some(reason),
                    answer: match reply {
                        Reply::None => false,
                        Reply::Challenge => self.reply_limit.permit(now),
                        Reply::Paws | Reply::OutOfWindow => {
                            !could_loop || self.reply_limit.permit(now)
                        }
                    },
                    restart: reply == Reply::OutOfWindow && repeated_fin,
                    end: false,
                }
            }
        }
    }

    fn on_acceptable(&mut self, seg: &Segment, now: Instant) -> TimeWaitStep {
        let oldest = self.snd_nxt.back(OLDEST_ACK);
        if seg.ack().after(self.snd_nxt) || seg.ack().before(oldest) {
            return TimeWaitStep {
                drop: Some(DropReason::TcpBadAck),
                answer: self.reply_limit.permit(now),
                ..TimeWaitStep::default()
            };
        }
        if let Some(ts) = seg.options().timestamps
            && seg.seq().at_or_before(self.rcv_nxt)
        {
            self.ts_recent = ts.val;
        }
        // The peer sends nothing after its FIN.
        let beyond_fin = !seg.payload().is_empty();
        TimeWaitStep {
            drop: beyond_fin.then_some(DropReason::TcpNotAcceptable),
            answer: beyond_fin || seg.has(TcpFlags::FIN),
            ..TimeWaitStep::default()
        }
    }

    /// Builds the ACK that answers a segment.
    pub fn ack(&self, now: Instant) -> SegmentOut {
        let val = (now.as_millis() as u32).wrapping_add(self.ts_offset);
        SegmentOut {
            seq: self.snd_nxt,
            ack: self.rcv_nxt,
            flags: TcpFlags::ACK | final_flags(self.ace),
            window: u16::try_from(self.window >> self.recv_scale).unwrap_or(u16::MAX),
            options: TcpOptions {
                timestamps: self.ts_recent().map(|ecr| Timestamps { val, ecr }),
                ..TcpOptions::default()
            },
            ..SegmentOut::default()
        }
    }
}

/// The end of a connection in TIME-WAIT.
impl Tcp {
    /// Takes the TIME-WAIT of a connection out of it, if it is in that state and has nothing left to
    /// send: the numbers, and the time at which they may be forgotten. The connection is CLOSED then, as
    /// on Linux; what it received stays readable.
    pub fn retire<'a>(&mut self, cx: impl Into<Context<'a>>) -> Option<(TimeWait, Instant)> {
        let cx = &mut cx.into();
        self.checked(|tcp| {
            let Stage::Open(tcb) = &mut tcp.stage else {
                return None;
            };
            if tcb.phase != Phase::TimeWait || tcb.ack.is_owed() {
                return None;
            }
            let retired = (TimeWait::of(tcb), tcb.timers.life);
            tcb.transition(PhaseEvent::Expired, cx);
            Some(retired)
        })
    }

    /// Returns the connection's TIME-WAIT if it is in that state and was not retired yet.
    pub fn time_wait(&self) -> Option<TimeWait> {
        let tcb = self.tcb()?;
        (tcb.phase == Phase::TimeWait).then(|| TimeWait::of(tcb))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::reply_limit::REPLIES_PER_SECOND;
    use crate::tcp::segment::SegmentParts;

    const NXT: SeqNum = SeqNum(u32::MAX - 5);
    const RCV: SeqNum = SeqNum(3);

    fn time_wait() -> TimeWait {
        TimeWait {
            snd_nxt: NXT,
            rcv_nxt: RCV,
            window: 1_000,
            ts_offset: 70,
            ts_recent: 500,
            reply_limit: ReplyLimit::default(),
            recv_scale: 3,
            timestamps: true,
            ace: None,
        }
    }

    fn parts(seq: SeqNum, flags: TcpFlags, ts: u32) -> SegmentParts {
        SegmentParts {
            seq,
            ack: NXT,
            flags,
            options: TcpOptions {
                timestamps: Some(Timestamps { val: ts, ecr: 0 }),
                ..TcpOptions::default()
            },
            ..SegmentParts::default()
        }
    }

    fn step(parts: SegmentParts) -> TimeWaitStep {
        time_wait().on_segment(&parts.into(), Instant::from_millis(9))
    }

    #[test]
    fn it_is_small_and_its_ack_says_what_the_connection_said() {
        assert_eq!(size_of::<TimeWait>(), 28);
        let ack = time_wait().ack(Instant::from_millis(9));
        assert_eq!((ack.seq, ack.ack, ack.window), (NXT, RCV, 125));
        assert_eq!(ack.flags, TcpFlags::ACK);
        let ts = ack.options.timestamps.map(|ts| (ts.val, ts.ecr));
        assert_eq!(ts, Some((79, 500)));
    }

    #[test]
    fn a_repeated_fin_is_answered_and_starts_the_wait_anew() {
        let fin = TcpFlags::FIN | TcpFlags::ACK;
        let repeated = step(parts(RCV.back(1), fin, 500));
        assert!(repeated.answer && repeated.restart && !repeated.end);
        // With the payload before it.
        let mut long = parts(RCV.back(4), fin, 501);
        long.payload = bytes::Bytes::from_static(b"end").into();
        assert!(step(long).restart);
        // An old duplicate by its timestamp is answered, and no sign of the peer's need.
        let old = step(parts(RCV.back(1), fin, 499));
        assert!(old.answer && !old.restart);
        assert_eq!(old.drop, Some(DropReason::TcpPaws));
    }

    #[test]
    fn only_a_reset_in_place_ends_it() {
        let rst = |seq| step(parts(seq, TcpFlags::RST, 500));
        assert!(rst(RCV).end);
        let challenged = rst(RCV + 1);
        assert!(challenged.answer && !challenged.end);
        assert_eq!(challenged.drop, Some(DropReason::TcpChallenged));
        let blind = rst(RCV + 5_000);
        assert!(!blind.answer && !blind.end);
    }

    #[test]
    fn data_after_the_fin_and_bad_acks_are_discarded() {
        let mut data = parts(RCV, TcpFlags::ACK, 500);
        data.payload = bytes::Bytes::from_static(b"more").into();
        let late = step(data);
        assert!(late.answer && late.drop == Some(DropReason::TcpNotAcceptable));
        let mut bad = parts(RCV, TcpFlags::ACK, 500);
        bad.ack = NXT + 1;
        assert_eq!(step(bad).drop, Some(DropReason::TcpBadAck));
        let plain = step(parts(RCV, TcpFlags::ACK, 500));
        assert_eq!(plain, TimeWaitStep::default());
    }

    #[test]
    fn answers_to_empty_segments_are_limited() {
        let mut time_wait = time_wait();
        let answered = (0..100)
            .filter(|_| {
                let syn = parts(RCV, TcpFlags::SYN, 400).into();
                time_wait.on_segment(&syn, Instant::from_millis(7)).answer
            })
            .count();
        assert_eq!(answered, usize::from(REPLIES_PER_SECOND));
    }
}
