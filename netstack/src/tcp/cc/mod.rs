//! Congestion control: the number of bytes that may be in the network (RFC 5681), and their pace.
//!
//! * **Define.** A [`Window`] is the congestion window and the slow start threshold, in bytes.
//! * **Enforce.** It changes only through [`Controller`], which asks the connection's
//!   [`CongestionControl`] and keeps the floors; it also notes the use of the window and limits a
//!   recovery (PRR).
//! * **Consume.** `output::select` keeps the pipe below [`Controller::cwnd`], and sends no earlier than
//!   [`Controller::paced_until`] says.
//!
//! Loss detection is elsewhere (`reorder`). `window` has what CUBIC and NewReno share, `bbr` is a model of the
//! path. The interface is in `base::congestion`, so that the configuration can name an algorithm.

mod algorithms;
mod bbr;
mod cubic;
mod filled;
mod hystart;
mod kept;
mod pacing;
mod prr;
mod reno;
mod window;

use core::num::NonZeroU64;
use core::time::Duration;

use super::context::Context;
use super::event::{Event, WindowChange};
use super::seq::SeqNum;
use crate::base::Instant;
use crate::base::congestion::{
    Acked, Algorithm, CongestionControl, Idle, Loss, Lost, Saved, Start, Window,
};
use algorithms::AlgorithmState;
pub use algorithms::UnknownAlgorithm;
pub(super) use kept::KeptController;
use pacing::Pacer;
use prr::Prr;
pub(super) use prr::Recovering;

/// Largest congestion window: beyond the largest window that a peer can offer.
const MAX_CWND: u32 = 1 << 30;

/// The use that was made of the window in one round trip: a window that was not used must not grow
/// (congestion window validation, RFC 7661 section 4.4 in its simplest form).
///
/// It counts until everything that was sent in it is acknowledged, so that each acknowledgment of a
/// turn, and each of a round trip, grows the window.
#[derive(Clone, Copy, Debug)]
struct Usage {
    /// The window was the limit for sending.
    limited: bool,
    /// Maximum of the bytes in flight.
    flight: u32,
    /// SND.NXT when this was noted.
    end: SeqNum,
}

impl Usage {
    fn none(at: SeqNum) -> Self {
        Self {
            limited: false,
            flight: 0,
            end: at,
        }
    }

    /// Notes the use at one time, with `una..nxt` outstanding.
    fn note(&mut self, limited: bool, flight: u32, una: SeqNum, nxt: SeqNum) {
        let next_round = una.at_or_after(self.end);
        if limited || next_round || (!self.limited && flight > self.flight) {
            *self = Self {
                limited,
                flight,
                end: nxt,
            };
        }
    }
}

/// Congestion control of one connection.
#[derive(Debug)]
pub(super) struct Controller {
    algorithm: AlgorithmState,
    window: Window,
    initial: u32,
    /// Use of the window in the present round trip.
    usage: Usage,
    /// End of the present round trip.
    round_end: SeqNum,
    /// Limits transmissions during a fast recovery.
    prr: Prr,
    pacer: Pacer,
    /// An algorithm without a rate of its own is paced, too.
    paces_windows: bool,
}

/// Holds the congestion control of a connection that rests: without a recovery, and with nothing to undo.
#[derive(Clone, Copy, Debug)]
pub(super) struct RestingController {
    saved: Saved,
    window: Window,
    initial: u32,
}

impl RestingController {
    /// Makes the congestion control anew, with nothing in flight beyond `una`. `start` says how.
    pub(super) fn wake(
        self,
        algorithm: Algorithm,
        start: Start,
        una: SeqNum,
        pacing: bool,
    ) -> Controller {
        let start = Start {
            initial: self.initial,
            saved: Some(self.saved),
            ..start
        };
        Controller {
            algorithm: AlgorithmState::new(algorithm, &start),
            window: self.window,
            initial: self.initial,
            usage: Usage::none(una),
            round_end: una,
            prr: Prr::default(),
            pacer: Pacer::default(),
            paces_windows: pacing,
        }
    }
}

impl Controller {
    /// Brings the window within its bounds for segments of `mss` bytes.
    pub(super) fn fit(&mut self, mss: u32) {
        let Window { cwnd, ssthresh } = self.window;
        let least = mss.min(MAX_CWND / 2);
        self.window = Window {
            cwnd: cwnd.clamp(least, MAX_CWND.max(self.initial)),
            ssthresh: ssthresh.max(2 * least),
        };
    }

    /// Returns what is needed while nothing is in flight.
    pub(super) fn rest(&self) -> RestingController {
        RestingController {
            saved: self.algorithm.get().save(),
            window: self.window,
            initial: self.initial,
        }
    }

    /// Creates the window of a connection, in slow start, for a stream that begins at `una`.
    pub(super) fn new(algorithm: Algorithm, start: &Start, una: SeqNum, pacing: bool) -> Self {
        Self {
            algorithm: AlgorithmState::new(algorithm, start),
            window: Window {
                cwnd: start.initial,
                ssthresh: MAX_CWND,
            },
            initial: start.initial,
            usage: Usage::none(una),
            round_end: una,
            prr: Prr::default(),
            pacer: Pacer::default(),
            paces_windows: pacing,
        }
    }

    /// Changes the algorithm; the window stays.
    pub(super) fn switch(&mut self, algorithm: Algorithm, start: Start) {
        let start = Start {
            initial: self.initial,
            ..start
        };
        self.algorithm = AlgorithmState::new(algorithm, &start);
    }

    /// Returns the congestion window, in bytes.
    pub(super) fn cwnd(&self) -> u32 {
        self.window.cwnd
    }

    /// Returns the slow start threshold, in bytes.
    pub(super) fn ssthresh(&self) -> u32 {
        self.window.ssthresh
    }

    /// Takes the threshold that an earlier connection found on this path for a hint: slow start ends there. One
    /// below the initial window is none.
    pub(super) fn expect_ssthresh(&mut self, ssthresh: u32) {
        if self.window.ssthresh == MAX_CWND && ssthresh >= self.initial {
            self.window.ssthresh = ssthresh.min(MAX_CWND);
        }
    }

    /// Returns the threshold that losses, or HyStart++, found: at least half of the window that was reached.
    pub(super) fn found_ssthresh(&self) -> Option<u32> {
        let Window { cwnd, ssthresh } = self.window;
        (ssthresh < MAX_CWND).then(|| ssthresh.max(cwnd / 2))
    }

    /// Returns how many bytes may be sent now, with `pipe` bytes in flight.
    pub(super) fn room(&self, pipe: u32) -> u32 {
        self.prr
            .allowed()
            .unwrap_or_else(|| self.window.cwnd.saturating_sub(pipe))
    }

    /// Notes that `len` bytes were sent, for the first time or again.
    pub(super) fn on_transmit(&mut self, len: u32) {
        self.prr.on_sent(len);
    }

    /// Returns the pacing rate in bytes a second, if there is one: the algorithm's own, or else one that sends
    /// the window in the first quarter of the round trip in slow start, and in five sixths of it later. During a
    /// recovery, what arrives sets the pace, and half an initial window is no burst.
    /// `srtt_nanos`: the smoothed round trip, zero if there is none.
    pub(super) fn pacing_rate(&self, srtt_nanos: u64) -> Option<u64> {
        if let Some(rate) = self.algorithm.pacing_rate() {
            return Some(rate.get());
        }
        let Window { cwnd, ssthresh } = self.window;
        let is_small = cwnd <= self.initial / 2;
        // Within a tick of the timers a whole window may leave at once.
        let is_short = srtt_nanos <= pacing::TICK.as_nanos() as u64;
        if !self.paces_windows || is_small || is_short || self.prr.allowed().is_some() {
            return None;
        }
        let percent = if cwnd < ssthresh / 2 { 400 } else { 120 };
        // At most 2^30 × 400 × 10^7, less than 2^62.
        let rate = u64::from(cwnd) * percent * 10_000_000 / srtt_nanos;
        Some(rate).filter(|rate| *rate > 0)
    }

    /// Returns the most bytes that should leave together at this rate.
    pub(super) fn quantum(&self, rate: Option<u64>, mss: u32) -> u32 {
        rate.map_or(u32::MAX, |rate| pacing::quantum(rate, mss))
    }

    /// Returns the time for which the next segment must wait at a rate; `None` if it may leave now.
    pub(super) fn paced_until(
        &mut self,
        rate: Option<u64>,
        srtt: Option<Duration>,
        now: Instant,
    ) -> Option<Instant> {
        rate?;
        self.pacer.wait(srtt, now)
    }

    /// Notes that `len` bytes leave at `now`, at a rate. `alone`: nothing was in flight.
    pub(super) fn on_paced(&mut self, len: u32, alone: bool, rate: Option<u64>, now: Instant) {
        let Some(rate) = rate else {
            return;
        };
        if alone && self.algorithm.pacing_rate().is_none() {
            self.pacer.allow_burst(self.initial, rate, now);
        }
        self.pacer.on_sent(len, rate);
    }

    /// Handles the first transmission after nothing was in flight and nothing to be sent.
    pub(super) fn on_restart(&mut self, mss: u32, cx: &mut Context<'_>) {
        let now = cx.now();
        self.change(mss, cx, |algorithm, window| {
            algorithm.on_restart(window, now);
            WindowChange::Idle
        });
    }

    /// Begins to spread the reduction of [`on_loss`](Self::on_loss) over the bytes that arrive: `flight` of
    /// them may, in this recovery (RFC 9937 section 6.1).
    pub(super) fn begin_recovery(&mut self, flight: u32) {
        if self.algorithm.get().reduces_proportionally() {
            self.prr.begin(flight);
        }
    }

    /// Takes an acknowledgment during a fast recovery.
    pub(super) fn on_recovering(&mut self, ack: Recovering) {
        self.prr.on_ack(ack, self.window.ssthresh);
    }

    /// Notes that `pipe` bytes are in flight after a transmission, with `una..nxt` outstanding.
    pub(super) fn on_sent(&mut self, pipe: u32, una: SeqNum, nxt: SeqNum) {
        self.usage.note(pipe >= self.window.cwnd, pipe, una, nxt);
    }

    /// Notes that there was more to send and the peer had room, but the congestion window was full
    /// with `pipe` bytes. During a recovery its rate is the limit, which says nothing about the window.
    pub(super) fn on_limited(&mut self, pipe: u32, una: SeqNum, nxt: SeqNum) {
        if self.prr.allowed().is_none() {
            self.usage.note(true, pipe, una, nxt);
        }
    }

    /// Notes an acknowledgment after which `una..nxt` is outstanding. Returns true if a round trip begins with
    /// it: the first of what was sent since the last one began was acknowledged.
    pub(super) fn starts_round(&mut self, una: SeqNum, nxt: SeqNum) -> bool {
        let starts = una.at_or_after(self.round_end);
        if starts {
            self.round_end = nxt;
        }
        starts
    }

    /// Lets the window follow an acknowledgment that delivered something.
    pub(super) fn on_ack(&mut self, acked: Acked, cx: &mut Context<'_>) {
        let acked = Acked {
            is_limited: self.usage.limited,
            used: self.usage.flight,
            ..acked
        };
        self.change(acked.mss, cx, |algorithm, window| {
            let slow_start = window.cwnd < window.ssthresh;
            algorithm.on_ack(window, &acked);
            match slow_start && window.cwnd < window.ssthresh {
                true => WindowChange::SlowStart,
                false => WindowChange::CongestionAvoidance,
            }
        });
    }

    /// Takes a run of bytes that was found to be lost.
    pub(super) fn on_lost(&mut self, lost: &Lost, cx: &mut Context<'_>) {
        self.change(lost.mss, cx, |algorithm, window| {
            algorithm.on_lost(window, lost);
            WindowChange::Loss
        });
    }

    /// Reduces the window when a fast recovery begins.
    pub(super) fn on_loss(&mut self, loss: &Loss, cx: &mut Context<'_>) {
        self.usage.limited = false;
        self.change(loss.mss, cx, |algorithm, window| {
            algorithm.on_loss(window, loss);
            WindowChange::Loss
        });
    }

    /// Returns true if what is sent may be marked instead of dropped.
    pub(super) fn answers_marks(&self) -> bool {
        self.algorithm.answers_marks()
    }

    /// Reduces the window for congestion marks. The caller sees to it that this happens once a round trip.
    pub(super) fn on_marks(&mut self, loss: &Loss, cx: &mut Context<'_>) {
        self.usage.limited = false;
        self.change(loss.mss, cx, |algorithm, window| {
            algorithm.on_marks(window, loss);
            WindowChange::Marks
        });
    }

    /// Bounds the window at the end of a recovery with `pipe` bytes in flight, so that the bytes
    /// acknowledged at its end do not become a burst of more than an initial window.
    pub(super) fn on_recovered(&mut self, pipe: u32, mss: u32, cx: &mut Context<'_>) {
        let initial = self.initial;
        self.prr.end();
        self.change(mss, cx, |algorithm, window| {
            algorithm.on_recovered(window, pipe, initial);
            WindowChange::Recovered
        });
    }

    /// Reduces the window after a retransmission timeout.
    pub(super) fn on_timeout(&mut self, loss: &Loss, cx: &mut Context<'_>) {
        self.prr.end();
        // The lost segment has waited for long enough. Nothing that was sent before is in the network any more.
        self.pacer = Pacer::default();
        self.usage.limited = false;
        self.usage.flight = 0;
        self.change(loss.mss, cx, |algorithm, window| {
            algorithm.on_timeout(window, loss);
            WindowChange::Timeout
        });
    }

    /// Undoes the last reduction after a spurious recovery or timeout (RFC 4015 section 3).
    pub(super) fn undo(&mut self, mss: u32, cx: &mut Context<'_>) {
        self.prr.end();
        self.change(mss, cx, |algorithm, window| {
            algorithm.on_undo(window);
            WindowChange::Undone
        });
    }

    /// Returns true if what is sent now must not count as a sample of what the path can carry.
    pub(super) fn is_holding_back(&self) -> bool {
        self.algorithm.is_holding_back()
    }

    /// Adapts the window to `time` without a transmission, which was more than `rto`.
    pub(super) fn on_idle(
        &mut self,
        time: Duration,
        rto: Duration,
        mss: u32,
        cx: &mut Context<'_>,
    ) {
        let is_paced = self.paces_windows || self.algorithm.pacing_rate().is_some();
        let idle = Idle::new(time, rto, self.initial, is_paced);
        self.change(mss, cx, |algorithm, window| {
            algorithm.on_idle(window, &idle);
            WindowChange::Idle
        });
    }

    /// Keeps the window within its bounds for segments that have become longer: `mss` bytes of payload.
    pub(super) fn on_larger_segments(&mut self, mss: u32) {
        let least = mss.min(MAX_CWND / 2);
        self.window.cwnd = self.window.cwnd.max(least);
        self.window.ssthresh = self.window.ssthresh.max(2 * least);
    }

    /// Lets the algorithm change the window, keeps it within its bounds for segments of `mss` bytes, and tells
    /// the subscriber if it is another one than before.
    #[inline]
    fn change(
        &mut self,
        mss: u32,
        cx: &mut Context<'_>,
        call: impl FnOnce(&mut dyn CongestionControl, &mut Window) -> WindowChange,
    ) {
        let before = self.window;
        // Only a subscriber needs to know.
        let rate_before = cx.has_subscriber().then(|| self.algorithm.pacing_rate());
        let reason = call(self.algorithm.get_mut(), &mut self.window);
        if let Some(rate_before) = rate_before {
            let rate = self.algorithm.pacing_rate();
            if rate != rate_before {
                let rate = rate.map(NonZeroU64::get);
                cx.emit(|| Event::PacingRate { rate });
            }
        }
        if self.window == before {
            return;
        }
        self.fit(mss);
        let Window { cwnd, ssthresh } = self.window;
        cx.emit(|| Event::CongestionWindow {
            cwnd,
            ssthresh,
            reason,
        });
    }

    /// Checks the bounds of the window, for segments of `mss` bytes.
    #[cfg(any(test, feature = "invariants"))]
    pub(super) fn check(&self, mss: u32) {
        let Window { cwnd, ssthresh } = self.window;
        assert!(cwnd >= mss, "cwnd {cwnd} is less than a segment");
        assert!(cwnd <= MAX_CWND.max(self.initial));
        assert!(
            ssthresh >= 2 * mss,
            "ssthresh {ssthresh} (RFC 5681 section 3.1)"
        );
    }
}

#[cfg(test)]
mod tests;
