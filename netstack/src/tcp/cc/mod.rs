//! Congestion control: the number of bytes that may be in the network (RFC 5681).
//!
//! * **Define.** A [`Window`] is the congestion window and the slow start threshold, in bytes.
//! * **Enforce.** It changes only through [`Controller`], which does what all algorithms share (slow
//!   start, floors, validation) and asks one [`CongestionControl`] for the rest.
//! * **Consume.** `output::select` keeps the pipe below [`Controller::cwnd`].
//!
//! Loss detection is elsewhere (`reorder`). Slow start counts bytes (RFC 3465) with no limit per
//! ACK: one ACK stands for a super-segment of up to 44 segments here, and a limit of two segments
//! would make growth linear. The burst that the limit guards against cannot come from ACK division
//! or a lying peer, since only bytes count that were outstanding and newly delivered. After a
//! timeout without SACK one ACK can cover many bytes that had arrived long before; there the limit
//! of two segments holds. The first slow start ends by HyStart++ (RFC 9406), before a queue overflows.

mod cubic;
mod hystart;
mod prr;
mod reno;

use core::time::Duration;

use super::context::Context;
use super::event::{Event, WindowChange};
use super::seq::SeqNum;
use crate::base::Instant;
use cubic::Cubic;
use hystart::{Growth, HyStart};
use prr::Prr;
pub(super) use prr::Recovering;
use reno::Reno;

/// A congestion control algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub enum Algorithm {
    /// CUBIC (RFC 9438).
    #[default]
    Cubic,
    /// Reno (RFC 5681).
    Reno,
}

/// Largest congestion window: beyond the largest window that a peer can offer.
const MAX_CWND: u32 = 1 << 30;

/// Congestion window and slow start threshold, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Window {
    pub(super) cwnd: u32,
    pub(super) ssthresh: u32,
}

/// An acknowledgment outside of a fast recovery.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Acked {
    /// Bytes delivered.
    pub(super) bytes: u32,
    pub(super) now: Instant,
    pub(super) srtt: Duration,
    pub(super) mss: u32,
    /// The round trip of what was sent last of it.
    pub(super) rtt: Option<Duration>,
    /// SND.UNA and SND.NXT after it.
    pub(super) una: SeqNum,
    pub(super) nxt: SeqNum,
}

/// The part in which algorithms differ.
trait CongestionControl {
    /// Grows the window in congestion avoidance.
    fn avoid(&mut self, window: &mut Window, acked: Acked);
    /// Returns the slow start threshold after a loss, with `flight` bytes in the network.
    fn reduce(&mut self, window: &Window, flight: u32, mss: u32) -> u32;
    /// Ends the epoch, after a timeout or idle time.
    fn restart(&mut self, timeout: bool);
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Cubic(Cubic),
    Reno(Reno),
}

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

    /// Returns how far a window of `cwnd` bytes may grow.
    fn ceiling(&self, slow_start: bool) -> u32 {
        if self.limited {
            MAX_CWND
        } else if slow_start {
            self.flight.saturating_mul(2)
        } else {
            0
        }
    }
}

/// Congestion control of one connection.
#[derive(Clone, Debug)]
pub(super) struct Controller {
    kind: Kind,
    window: Window,
    initial: u32,
    /// Use of the window in the present round trip.
    usage: Usage,
    /// The end of the first slow start.
    hystart: HyStart,
    /// State before the last reduction, until the connection was idle.
    before: Option<Box<(Kind, Window)>>,
    /// Limits transmissions during a fast recovery.
    prr: Prr,
}

/// Holds the congestion control of a connection that rests: without a recovery, and with nothing to undo.
#[derive(Clone, Copy, Debug)]
pub(super) struct RestingController {
    kind: Kind,
    window: Window,
    initial: u32,
    usage: Usage,
}

impl RestingController {
    /// Makes the congestion control anew.
    pub(super) fn wake(self) -> Controller {
        Controller {
            kind: self.kind,
            window: self.window,
            initial: self.initial,
            usage: self.usage,
            // A slow start that goes on is measured from here.
            hystart: HyStart::new(self.usage.end),
            before: None,
            prr: Prr::default(),
        }
    }
}

impl Controller {
    /// Returns what is needed while nothing is in flight.
    pub(super) fn rest(&self) -> RestingController {
        RestingController {
            kind: self.kind,
            window: self.window,
            initial: self.initial,
            usage: self.usage,
        }
    }

    /// Creates a window of `initial` bytes, in slow start, for a stream that begins at `una`.
    pub(super) fn new(algorithm: Algorithm, initial: u32, una: SeqNum) -> Self {
        Self {
            kind: Kind::of(algorithm),
            window: Window {
                cwnd: initial,
                ssthresh: MAX_CWND,
            },
            initial,
            usage: Usage::none(una),
            hystart: HyStart::new(una),
            before: None,
            prr: Prr::default(),
        }
    }

    /// Changes the algorithm; the window stays.
    pub(super) fn switch(&mut self, algorithm: Algorithm) {
        self.kind = Kind::of(algorithm);
    }

    /// Returns the congestion window, in bytes.
    pub(super) fn cwnd(&self) -> u32 {
        self.window.cwnd
    }

    /// Returns the slow start threshold, in bytes.
    pub(super) fn ssthresh(&self) -> u32 {
        self.window.ssthresh
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

    /// Begins to spread the reduction of [`on_loss`](Self::on_loss) over the bytes that arrive: `flight` of
    /// them may, in this recovery (RFC 9937 section 6.1).
    pub(super) fn begin_recovery(&mut self, flight: u32) {
        self.prr.begin(flight);
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
    /// with `pipe` bytes.
    pub(super) fn on_limited(&mut self, pipe: u32, una: SeqNum, nxt: SeqNum) {
        self.usage.note(true, pipe, una, nxt);
    }

    /// Grows the window: bytes were delivered outside of a fast recovery.
    pub(super) fn on_ack(&mut self, acked: Acked, cx: &mut Context<'_>) {
        let slow_start = self.window.cwnd < self.window.ssthresh;
        let ceiling = self.usage.ceiling(slow_start);
        if self.window.cwnd >= ceiling || acked.bytes == 0 {
            return;
        }
        let before = self.window;
        let mut acked = acked;
        let mut reason = WindowChange::SlowStart;
        if slow_start {
            let most = ceiling.min(self.window.ssthresh).min(MAX_CWND);
            let grow = match self.growth(&acked) {
                Growth::Full => acked.bytes,
                Growth::Divided(divisor) => acked.bytes / divisor,
                Growth::Over => {
                    self.window.ssthresh = self.window.cwnd;
                    0
                }
            };
            let grow = grow.min(most.saturating_sub(self.window.cwnd));
            self.window.cwnd += grow;
            acked.bytes -= grow;
        }
        let avoids = self.window.cwnd >= self.window.ssthresh && self.usage.limited;
        if avoids && acked.bytes > 0 && self.window.cwnd < MAX_CWND {
            self.kind.get().avoid(&mut self.window, acked);
            self.window.cwnd = self.window.cwnd.clamp(acked.mss, MAX_CWND);
            reason = WindowChange::CongestionAvoidance;
        }
        self.report(before, reason, cx);
    }

    /// Returns how slow start grows: by HyStart++ before the threshold is known (RFC 9406 section 4.3).
    fn growth(&mut self, acked: &Acked) -> Growth {
        if self.window.ssthresh < MAX_CWND {
            return Growth::Full;
        }
        self.hystart.on_ack(acked.rtt, acked.una, acked.nxt)
    }

    /// Reduces the window when a fast recovery begins.
    pub(super) fn on_loss(&mut self, flight: u32, mss: u32, cx: &mut Context<'_>) {
        let window = self.window;
        self.before = Some(Box::new((self.kind, window)));
        let ssthresh = self.kind.get().reduce(&window, flight, mss);
        self.window.ssthresh = ssthresh.max(2 * mss);
        self.window.cwnd = self.window.ssthresh.min(self.window.cwnd.max(2 * mss));
        self.usage.limited = false;
        self.report(window, WindowChange::Loss, cx);
    }

    /// Bounds the window at the end of a recovery with `pipe` bytes in flight, so that the bytes
    /// acknowledged at its end do not become a burst of more than an initial window.
    pub(super) fn on_recovered(&mut self, pipe: u32, cx: &mut Context<'_>) {
        let before = self.window;
        self.prr.end();
        self.window.cwnd = self.window.cwnd.min(pipe.saturating_add(self.initial));
        self.report(before, WindowChange::Recovered, cx);
    }

    /// Reduces the window to one segment after a retransmission timeout. `first`: the first timeout
    /// for this data (RFC 5681 section 3.1, equation 4).
    pub(super) fn on_timeout(&mut self, flight: u32, mss: u32, first: bool, cx: &mut Context<'_>) {
        let window = self.window;
        self.prr.end();
        if first {
            self.before = Some(Box::new((self.kind, window)));
            let ssthresh = self.kind.get().reduce(&window, flight, mss);
            self.window.ssthresh = ssthresh.max(2 * mss);
        }
        self.kind.get().restart(true);
        self.window.cwnd = mss;
        self.usage.limited = false;
        self.usage.flight = 0;
        self.report(window, WindowChange::Timeout, cx);
    }

    /// Undoes the last reduction after a spurious recovery or timeout (RFC 4015 section 3).
    pub(super) fn undo(&mut self, cx: &mut Context<'_>) {
        let now = self.window;
        self.prr.end();
        if let Some((kind, window)) = self.before.take().map(|before| *before) {
            self.kind = kind;
            self.window.cwnd = self.window.cwnd.max(window.cwnd);
            self.window.ssthresh = self.window.ssthresh.max(window.ssthresh);
        }
        self.report(now, WindowChange::Undone, cx);
    }

    /// Returns to the initial window after a retransmission timeout without transmission: the
    /// window is stale (RFC 5681 section 4.1).
    pub(super) fn on_idle(&mut self, cx: &mut Context<'_>) {
        let before = self.window;
        if self.window.cwnd > self.initial {
            self.window.ssthresh = self
                .window
                .ssthresh
                .max(self.window.cwnd - self.window.cwnd / 4);
            self.window.cwnd = self.initial;
        }
        self.kind.get().restart(false);
        self.before = None;
        self.report(before, WindowChange::Idle, cx);
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

    /// Tells the subscriber if the window is not `before` any more.
    #[inline]
    fn report(&self, before: Window, reason: WindowChange, cx: &mut Context<'_>) {
        let Window { cwnd, ssthresh } = self.window;
        if self.window != before {
            cx.emit(|| Event::CongestionWindow {
                cwnd,
                ssthresh,
                reason,
            });
        }
    }
}

impl Kind {
    fn of(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Cubic => Self::Cubic(Cubic::default()),
            Algorithm::Reno => Self::Reno(Reno::default()),
        }
    }

    fn get(&mut self) -> &mut dyn CongestionControl {
        match self {
            Self::Cubic(cubic) => cubic,
            Self::Reno(reno) => reno,
        }
    }
}

#[cfg(test)]
mod tests;
