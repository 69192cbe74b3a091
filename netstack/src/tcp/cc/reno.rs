//! Reno: one more segment per round trip, half the window after a loss (RFC 5681 section 3.1).

use super::window::{Avoidance, Kept};
use crate::base::congestion::{Acked, Saved, Window};

/// Bytes acknowledged towards the next segment of growth (RFC 3465).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reno {
    counted: u32,
}

impl Avoidance for Reno {
    const KEPT: Kept = Kept {
        after_loss: 50,
        after_marks: 80,
    };

    fn new(_saved: Option<&Saved>) -> Self {
        Self::default()
    }

    fn avoid(&mut self, window: &mut Window, acked: Acked) {
        self.counted = self.counted.saturating_add(acked.bytes);
        while self.counted >= window.cwnd.max(1) {
            self.counted -= window.cwnd.max(1);
            window.cwnd = window.cwnd.saturating_add(acked.mss);
        }
    }

    fn reduce(&mut self, _window: &Window, flight: u32, _mss: u32) -> u32 {
        self.counted = 0;
        flight / 2
    }

    fn restart(&mut self, _timeout: bool) {
        self.counted = 0;
    }

    fn save(&self) -> Saved {
        Saved::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Instant;
    use core::time::Duration;

    #[test]
    fn one_segment_per_window() {
        let mut reno = Reno::default();
        let mut window = Window {
            cwnd: 10_000,
            ssthresh: 5_000,
        };
        let acked = Acked {
            bytes: 5_000,
            now: Instant::ZERO,
            srtt: Duration::from_millis(1),
            mss: 1_000,
            ..Acked::default()
        };
        reno.avoid(&mut window, acked);
        assert_eq!(window.cwnd, 10_000);
        reno.avoid(&mut window, acked);
        assert_eq!(window.cwnd, 11_000);
        assert_eq!(reno.reduce(&window, 11_000, 1_000), 5_500);
    }
}
