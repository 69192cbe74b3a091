//! The common part of the algorithms that have a window and no rate: slow start, HyStart++, the undoing of a
//! reduction, and the window after idle time.
//!
//! Slow start counts bytes (RFC 3465) with no limit per ACK: one ACK stands for a super-segment of up to 44 segments here, and a
//! limit of two segments would make growth linear. The burst that the limit guards against cannot come from ACK
//! division or a lying peer, since only bytes count that were outstanding and newly delivered.
//!
//! A window that was not used does not grow: the path is not known to carry it (RFC 5681, RFC 9438 section
//! 5.8). In slow start it grows to twice what was in flight.

use core::time::Duration;

use super::MAX_CWND;
use super::filled::Filled;
use super::hystart::{Growth, HyStart};
use crate::base::congestion::{Acked, CongestionControl, Idle, Loss, Saved, Start, Window};

/// The part in which the algorithms differ.
pub(super) trait Avoidance: Copy + core::fmt::Debug + Send {
    /// Creates the state of a connection, with what was saved when it became idle.
    fn new(saved: Option<&Saved>) -> Self;
    /// Grows the window in congestion avoidance.
    fn avoid(&mut self, window: &mut Window, acked: Acked);
    /// Returns the slow start threshold after a loss, with `flight` bytes in the network.
    fn reduce(&mut self, window: &Window, flight: u32, mss: u32) -> u32;
    /// The part of the window that is kept after a loss, and after marks, in percent (RFC 8511 section 4).
    const KEPT: Kept;
    /// Ends the epoch, after a timeout or idle time.
    fn restart(&mut self, timeout: bool);
    /// Returns what is worth keeping while the connection is idle.
    fn save(&self) -> Saved;
}

/// The parts of the window that reductions keep, in percent.
pub(super) struct Kept {
    pub(super) after_loss: u32,
    pub(super) after_marks: u32,
}

/// Time without use after which a window is worth nothing (RFC 7661 section 4.4, the non-validated phase).
const NON_VALIDATED_PERIOD: Duration = Duration::from_secs(300);

/// An algorithm with a window, slow start and congestion avoidance.
#[derive(Debug)]
pub(super) struct WindowBased<A> {
    avoidance: A,
    /// The end of the first slow start.
    hystart: HyStart,
    filled: Filled,
    /// The slow start threshold is from `filled`.
    is_filled: bool,
    /// A round trip began, and `hystart` has not learnt of it yet.
    round_started: bool,
    /// State before the last reduction, until the connection was idle.
    before: Option<(A, Window)>,
}

impl<A: Avoidance> WindowBased<A> {
    pub(super) fn new(start: &Start) -> Self {
        Self {
            avoidance: A::new(start.saved.as_ref()),
            hystart: HyStart::default(),
            filled: Filled::default(),
            is_filled: false,
            round_started: false,
            before: None,
        }
    }

    /// Returns how slow start grows: by HyStart++ before a loss (RFC 9406 section 4.3), and until the path is full.
    fn growth(&mut self, window: &Window, acked: &Acked) -> Growth {
        if window.ssthresh < MAX_CWND && !self.is_filled {
            return Growth::Full;
        }
        let round_start = core::mem::take(&mut self.round_started);
        let growth = self.hystart.on_ack(acked.rtt, round_start);
        if self.is_filled {
            return growth;
        }
        let end = self.filled.on_ack(acked);
        self.is_filled = end.is_some();
        end.map_or(growth, Growth::UpTo)
    }

    fn reduce(&mut self, window: &mut Window, loss: &Loss) {
        self.before = Some((self.avoidance, *window));
        self.is_filled = false;
        let ssthresh = self.avoidance.reduce(window, loss.flight, loss.mss);
        window.ssthresh = ssthresh.max(2 * loss.mss);
    }
}

/// Returns how far the window may grow.
fn ceiling(acked: &Acked, slow_start: bool) -> u32 {
    if acked.is_limited {
        MAX_CWND
    } else if slow_start {
        acked.used.saturating_mul(2)
    } else {
        0
    }
}

impl<A: Avoidance> CongestionControl for WindowBased<A> {
    fn on_ack(&mut self, window: &mut Window, acked: &Acked) {
        self.round_started |= acked.round_start;
        let slow_start = window.cwnd < window.ssthresh;
        let ceiling = ceiling(acked, slow_start);
        if window.cwnd >= ceiling {
            return;
        }
        let mut acked = *acked;
        if slow_start {
            // A SACK gives a sample, too: with a gap open, acknowledgments that advance are late.
            let growth = self.growth(window, &acked);
            let most = ceiling.min(window.ssthresh).min(MAX_CWND);
            let grow = match growth {
                Growth::Full => acked.bytes,
                Growth::Divided(divisor) => acked.bytes / divisor,
                Growth::Over => {
                    window.ssthresh = window.cwnd;
                    0
                }
                Growth::UpTo(bytes) => {
                    // What is above it only waits in the queue.
                    window.ssthresh = bytes.max(4 * acked.mss);
                    window.cwnd = window.cwnd.min(window.ssthresh);
                    0
                }
            };
            let grow = grow.min(most.saturating_sub(window.cwnd));
            window.cwnd += grow;
            acked.bytes -= grow;
        }
        let avoids = window.cwnd >= window.ssthresh && acked.is_limited;
        if avoids && acked.bytes > 0 && window.cwnd < MAX_CWND {
            self.avoidance.avoid(window, acked);
        }
    }

    fn on_loss(&mut self, window: &mut Window, loss: &Loss) {
        self.reduce(window, loss);
        window.cwnd = window.ssthresh.min(window.cwnd.max(2 * loss.mss));
    }

    fn answers_marks(&self) -> bool {
        true
    }

    fn on_marks(&mut self, window: &mut Window, loss: &Loss) {
        let lost = self.avoidance.reduce(window, loss.flight, loss.mss);
        let kept = u64::from(lost) * u64::from(A::KEPT.after_marks) / u64::from(A::KEPT.after_loss);
        // No more than the window.
        let kept = kept.min(u64::from(window.cwnd)) as u32;
        window.ssthresh = kept.max(2 * loss.mss);
        window.cwnd = window.ssthresh.min(window.cwnd.max(2 * loss.mss));
        // Marks are no guess: there is nothing to undo.
        self.before = None;
    }

    fn on_timeout(&mut self, window: &mut Window, loss: &Loss) {
        if loss.first {
            self.reduce(window, loss);
        }
        self.avoidance.restart(true);
        window.cwnd = loss.mss;
    }

    fn on_undo(&mut self, window: &mut Window) {
        if let Some((avoidance, before)) = self.before.take() {
            self.avoidance = avoidance;
            window.cwnd = window.cwnd.max(before.cwnd);
            window.ssthresh = window.ssthresh.max(before.ssthresh);
        }
    }

    /// Keeps a window for some minutes if its use is paced (RFC 7661 section 4.4), and halves it otherwise with
    /// each timeout that passes (RFC 2861). The threshold remembers it.
    fn on_idle(&mut self, window: &mut Window, idle: &Idle) {
        self.before = None;
        self.filled = Filled::default();
        self.is_filled = false;
        self.avoidance.restart(false);
        let halvings = if !idle.is_paced {
            idle.time.as_nanos() / idle.rto.as_nanos().max(1)
        } else {
            u128::from(idle.time >= NON_VALIDATED_PERIOD)
        };
        if window.cwnd <= idle.initial || halvings == 0 {
            return;
        }
        window.ssthresh = window.ssthresh.max(window.cwnd - window.cwnd / 4);
        window.cwnd = window
            .cwnd
            .checked_shr(u32::try_from(halvings).unwrap_or(u32::MAX))
            .unwrap_or(0)
            .max(idle.initial);
    }

    fn save(&self) -> Saved {
        self.avoidance.save()
    }
}

#[cfg(test)]
mod tests {
    use super::super::reno::Reno;
    use super::*;

    const MSS: u32 = 1_460;
    const RTO: Duration = Duration::from_millis(200);

    fn after_idle(time: Duration, is_paced: bool) -> Window {
        let mut algorithm = WindowBased::<Reno>::new(&Start::default());
        let mut window = Window {
            cwnd: 100 * MSS,
            ssthresh: 50 * MSS,
        };
        algorithm.on_idle(&mut window, &Idle::new(time, RTO, 10 * MSS, is_paced));
        window
    }

    #[test]
    fn rfc2861_3_1_the_window_halves_with_each_timeout_of_idle_time() {
        for (timeouts, cwnd) in [(1, 50), (2, 25), (3, 12), (4, 10), (1_000, 10)] {
            let window = after_idle(RTO * timeouts, false);
            assert_eq!(window.cwnd / MSS, cwnd, "{timeouts}");
            assert_eq!(window.ssthresh, 75 * MSS);
        }
    }

    #[test]
    fn rfc9406_4_2_an_acknowledgment_that_does_not_advance_gives_a_sample() {
        let mut algorithm = WindowBased::<Reno>::new(&Start::default());
        let mut window = Window {
            cwnd: 100 * MSS,
            ssthresh: MAX_CWND,
        };
        let mut take = |bytes: u32, millis: u64, round_start: bool| {
            let before = window.cwnd;
            let acked = Acked {
                bytes,
                rtt: Some(Duration::from_millis(millis)),
                round_start,
                is_limited: true,
                mss: MSS,
                ..Acked::default()
            };
            algorithm.on_ack(&mut window, &acked);
            window.cwnd - before
        };
        for i in 0..20 {
            take(MSS, 20, i == 0);
        }
        assert_eq!(take(4 * MSS, 20, true), 4 * MSS);
        for _ in 0..20 {
            assert_eq!(take(0, 30, false), 0);
        }
        // The segment before the gap is late.
        assert_eq!(take(4 * MSS, 50, false), MSS);
    }

    #[test]
    fn rfc7661_4_4_a_paced_sender_keeps_the_window_for_five_minutes() {
        let kept = after_idle(Duration::from_secs(299), true);
        assert_eq!((kept.cwnd, kept.ssthresh), (100 * MSS, 50 * MSS));
        let over = after_idle(Duration::from_secs(300), true);
        assert_eq!((over.cwnd, over.ssthresh), (50 * MSS, 75 * MSS));
    }
}
