//! CUBIC: the window follows a cubic function of the time since the last loss (RFC 9438).
//!
//! Windows are in segments and times in seconds here, as in the RFC; `Window` is in bytes.

use core::time::Duration;

use super::window::{Avoidance, Kept};
use crate::base::Instant;
use crate::base::congestion::{Acked, Saved, Window};

/// The constant C, which sets how aggressive the growth is (RFC 9438 section 5).
const C: f64 = 0.4;
/// Multiplicative decrease factor β (section 4.6).
const BETA: f64 = 0.7;
/// Additive increase α of the Reno-friendly region: as fast as Reno with that decrease (section
/// 4.3).
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);

/// Shortest time without acknowledgments that is taken for a rest of the application.
const LEAST_REST: Duration = Duration::from_millis(100);

/// The state of one congestion avoidance stage: the time between two losses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cubic {
    /// The plateau, in segments: the window before the last reduction, or less by fast convergence. Zero: no loss yet.
    w_max: f32,
    /// Seconds from the start of the epoch to `w_max`.
    k: f32,
    /// Estimate of Reno's window, in segments.
    w_est: f32,
    /// Window before the last reduction as it was, in segments (`cwnd_prior`).
    prior: f32,
    /// Seconds from the start of the epoch to the last acknowledgment.
    last: f32,
    /// Bytes of growth not applied yet.
    rest: f32,
    /// Start of this epoch; far future: it starts with the next acknowledgment.
    epoch: Instant,
}

impl Default for Cubic {
    fn default() -> Self {
        Self {
            w_max: 0.0,
            k: 0.0,
            w_est: 0.0,
            prior: 0.0,
            last: 0.0,
            rest: 0.0,
            epoch: Instant::FAR_FUTURE,
        }
    }
}

impl Avoidance for Cubic {
    const KEPT: Kept = Kept {
        after_loss: 70,
        after_marks: 85,
    };

    fn new(saved: Option<&Saved>) -> Self {
        saved.map_or_else(Self::default, Self::restored)
    }

    fn avoid(&mut self, window: &mut Window, acked: Acked) {
        let mss = f64::from(acked.mss.max(1));
        let cwnd = f64::from(window.cwnd) / mss;
        if self.epoch == Instant::FAR_FUTURE {
            self.epoch = acked.now;
            self.last = 0.0;
            self.rest = 0.0;
            self.w_est = cwnd as f32;
            if f64::from(self.w_max) <= cwnd {
                // After a timeout, or before any loss, the plateau is at the current window
                // (sections 4.8, 4.10).
                self.w_max = cwnd as f32;
                self.k = 0.0;
            } else {
                self.k = ((f64::from(self.w_max) - cwnd) / C).cbrt() as f32;
            }
        }
        self.skip_idle(&acked);
        let t = acked.now.saturating_since(self.epoch).as_secs_f64();
        let segments = f64::from(acked.bytes) / mss;
        // Once it has made up for the reduction, it grows as Reno does (section 4.3).
        let alpha = if self.w_est < self.prior { ALPHA } else { 1.0 };
        self.w_est += (alpha * segments / cwnd.max(1.0)) as f32;

        let ahead = t + acked.srtt.as_secs_f64() - f64::from(self.k);
        // The target is at most 1.5 times the window (section 4.2), however long ago the epoch
        // began.
        let target = (C * ahead * ahead * ahead + f64::from(self.w_max)).clamp(cwnd, 1.5 * cwnd);
        let mut growth = (target - cwnd) / cwnd.max(1.0) * segments * mss;
        let friendly = (f64::from(self.w_est) - cwnd) * mss;
        growth = growth.max(friendly).max(0.0) + f64::from(self.rest);
        // Growth is never faster than in slow start.
        let whole = growth.floor().min(f64::from(acked.bytes));
        self.rest = (growth - whole).clamp(0.0, 1.0) as f32;
        window.cwnd = window.cwnd.saturating_add(whole as u32);
    }

    fn reduce(&mut self, window: &Window, flight: u32, mss: u32) -> u32 {
        // The part of the window that was in use.
        let used = window.cwnd.min(flight.max(window.cwnd / 2));
        let now = (f64::from(used) / f64::from(mss.max(1))) as f32;
        // Fast convergence (section 4.7): the comparison is with the plateau as it was lowered, so that a window that
        // shrinks a little with each loss does not give way each time.
        self.w_max = if now < self.w_max {
            now * (1.0 + BETA as f32) / 2.0
        } else {
            now
        };
        self.prior = now;
        self.epoch = Instant::FAR_FUTURE;
        (f64::from(used) * BETA) as u32
    }

    fn restart(&mut self, timeout: bool) {
        self.epoch = Instant::FAR_FUTURE;
        if timeout {
            self.w_max = 0.0;
        }
    }

    fn save(&self) -> Saved {
        let nanos = self.epoch.as_nanos();
        Saved([
            self.w_max.to_bits(),
            0,
            self.k.to_bits(),
            self.w_est.to_bits(),
            self.prior.to_bits(),
            self.last.to_bits(),
            (nanos >> 32) as u32,
            nanos as u32,
        ])
    }
}

impl Cubic {
    /// Returns the state that [`Avoidance::save`] saved.
    fn restored(&Saved(words): &Saved) -> Self {
        let [w_max, _, k, w_est, prior, last, high, low] = words;
        Self {
            w_max: f32::from_bits(w_max),
            k: f32::from_bits(k),
            w_est: f32::from_bits(w_est),
            prior: f32::from_bits(prior),
            last: f32::from_bits(last),
            rest: 0.0,
            epoch: Instant::from_nanos(u64::from(high) << 32 | u64::from(low)),
        }
    }

    /// Takes the time in which the window was not the limit out of the epoch: the function must not run
    /// ahead while nothing tests the path (section 5.8).
    fn skip_idle(&mut self, acked: &Acked) {
        let t = acked.now.saturating_since(self.epoch);
        let last = Duration::from_secs_f32(self.last.max(0.0));
        let gap = t.saturating_sub(last);
        if gap > (2 * acked.srtt).max(LEAST_REST) {
            self.epoch = self.epoch + (gap - acked.srtt);
        }
        self.last = acked.now.saturating_since(self.epoch).as_secs_f32();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1_000;

    /// One window's worth of acknowledgments.
    fn round(cubic: &mut Cubic, window: &mut Window, now: Instant, rtt: Duration) {
        for _ in 0..window.cwnd / MSS {
            cubic.avoid(
                window,
                Acked {
                    bytes: MSS,
                    now,
                    srtt: rtt,
                    mss: MSS,
                    ..Acked::default()
                },
            );
        }
    }

    #[test]
    fn concave_to_the_old_window_then_convex() {
        let rtt = Duration::from_millis(100);
        let mut cubic = Cubic::default();
        let mut window = Window {
            cwnd: 1_000 * MSS,
            ssthresh: 0,
        };
        window.cwnd = cubic.reduce(&window, 1_000 * MSS, MSS);
        assert_eq!(window.cwnd, 700 * MSS);
        // K = cbrt(300 / 0.4) = 9.09 s.
        let mut now = Instant::ZERO;
        let mut at_k = 0;
        let mut growths = Vec::new();
        for i in 0..200 {
            let before = window.cwnd;
            round(&mut cubic, &mut window, now, rtt);
            growths.push(window.cwnd - before);
            now = now + rtt;
            if i == 90 {
                at_k = window.cwnd;
            }
        }
        assert!((950 * MSS..=1_050 * MSS).contains(&at_k), "{at_k}");
        assert!(growths[5] > growths[80], "concave before the plateau");
        assert!(growths[150] > growths[95], "convex after it");
    }

    #[test]
    fn rfc9438_4_7_a_window_below_the_plateau_lowers_it_once() {
        let mut cubic = Cubic::default();
        let mut reduce = |segments: u32| {
            let window = Window {
                cwnd: segments * MSS,
                ssthresh: 0,
            };
            cubic.reduce(&window, window.cwnd, MSS);
            cubic.w_max
        };
        assert_eq!(reduce(100), 100.0);
        assert!((reduce(90) - 90.0 * 0.85).abs() < 0.01, "another flow came");
        // Less than at the last loss, but more than the plateau: that flow has what it wanted.
        assert_eq!(reduce(89), 89.0);
        assert!((reduce(88) - 88.0 * 0.85).abs() < 0.01);
    }

    #[test]
    fn rfc9438_5_8_the_curve_does_not_run_ahead_while_the_application_rests() {
        let rtt = Duration::from_millis(100);
        let grown = |rest: Duration| {
            let mut cubic = Cubic::default();
            let mut window = Window {
                cwnd: 100 * MSS,
                ssthresh: 0,
            };
            window.cwnd = cubic.reduce(&window, 100 * MSS, MSS);
            let mut now = Instant::from_millis(1_000);
            for i in 0..40 {
                round(&mut cubic, &mut window, now, rtt);
                now = now + if i == 20 { rest } else { rtt };
            }
            window.cwnd
        };
        let (steady, rested) = (grown(rtt), grown(Duration::from_secs(60)));
        assert!(rested.abs_diff(steady) <= 2 * MSS, "{rested} and {steady}");
    }

    #[test]
    fn at_least_reno_on_a_short_path() {
        let rtt = Duration::from_millis(1);
        let mut cubic = Cubic::default();
        let mut window = Window {
            cwnd: 20 * MSS,
            ssthresh: 0,
        };
        window.cwnd = cubic.reduce(&window, 20 * MSS, MSS);
        let start = window.cwnd;
        let mut now = Instant::ZERO;
        for _ in 0..100 {
            round(&mut cubic, &mut window, now, rtt);
            now = now + rtt;
        }
        // AIMD(0.53, 0.7): about half a segment per round trip.
        assert!(window.cwnd >= start + 45 * MSS, "{}", window.cwnd);
    }
}
