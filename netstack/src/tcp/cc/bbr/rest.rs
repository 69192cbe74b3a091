//! The parts of the model that outlive a rest of the connection, and its marks of time, which a rest keeps as few bits.

use core::time::Duration;

use super::{Bbr, State};
use crate::base::Instant;
use crate::base::congestion::Saved;

/// The marks of time, until the first event tells the time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Clock {
    /// They are set to the time of the first event.
    Unset,
    /// Those from before the connection became idle, in milliseconds, modulo 2^32: `min_rtt_stamp`,
    /// `probe_rtt_min_stamp`, and the time of the next probe.
    Saved([u32; 3]),
    /// They are valid.
    Running,
}

/// Longest wait for the next probe.
const MAX_PROBE_WAIT_MILLIS: u32 = 3_000;

/// Returns the low bits of a time, in milliseconds.
fn low_millis(at: Instant) -> u32 {
    at.as_millis() as u32
}

/// Returns the time at or before `now` that [`low_millis`] was taken of.
fn past(low: u32, now: Instant) -> Instant {
    let age = low_millis(now).wrapping_sub(low);
    Instant::from_millis(now.as_millis().saturating_sub(age.into()))
}

impl Bbr {
    /// Takes up the model that was saved when the connection became idle.
    pub(super) fn restore(
        &mut self,
        &Saved([high, low, longterm, least, probed, clock @ ..]): &Saved,
    ) {
        let rtt = |micros: u32| (micros > 0).then(|| Duration::from_micros(u64::from(micros)));
        if let Some(least) = rtt(least) {
            self.min_rtt = Some(least);
            self.probe_rtt_min_delay = Some(rtt(probed).unwrap_or(least));
            self.clock = Clock::Saved(clock);
        }
        let bw = u64::from(high) << 32 | u64::from(low);
        if bw == 0 {
            return;
        }
        self.full_bw_reached = true;
        self.state = State::Cruise;
        self.max_bw.update(bw);
        self.bw = bw;
        self.inflight_longterm = longterm;
        self.set_pacing_rate_with_gain(1.0);
    }

    /// Sets the marks of time when the first event comes.
    pub(super) fn start_clock(&mut self, now: Instant) {
        let clock = core::mem::replace(&mut self.clock, Clock::Running);
        if let Clock::Running = clock {
            return;
        }
        self.aggregation.start = now;
        self.min_rtt_stamp = now;
        self.probe_rtt_min_stamp = now;
        self.cycle_stamp = now;
        self.pick_probe_wait();
        if let Clock::Saved([min_rtt, probe_rtt, next_probe]) = clock {
            self.min_rtt_stamp = past(min_rtt, now);
            self.probe_rtt_min_stamp = past(probe_rtt, now);
            if self.full_bw_reached {
                // Passed if it is further ahead than any wait.
                let wait = next_probe.wrapping_sub(low_millis(now));
                let wait = if wait > MAX_PROBE_WAIT_MILLIS {
                    0
                } else {
                    wait
                };
                self.probe_wait = Duration::from_millis(wait.into());
            }
        }
    }

    /// Returns what outlives idle time.
    pub(super) fn saved(&self) -> Saved {
        let bw = match self.full_bw_reached {
            true => self.max_bw.get(),
            false => 0,
        };
        let micros = |rtt: Option<Duration>| {
            let micros = rtt.map_or(0, |rtt| rtt.as_micros());
            u32::try_from(micros).unwrap_or(u32::MAX)
        };
        let (min_rtt, clock) = match self.clock {
            Clock::Unset => (None, [0; 3]),
            Clock::Saved(clock) => (self.min_rtt, clock),
            Clock::Running => {
                let next_probe = self.cycle_stamp + self.probe_wait;
                let marks = [self.min_rtt_stamp, self.probe_rtt_min_stamp, next_probe];
                (self.min_rtt, marks.map(low_millis))
            }
        };
        let [min_rtt_at, probe_rtt_at, next_probe] = clock;
        Saved([
            (bw >> 32) as u32,
            bw as u32,
            self.inflight_longterm,
            micros(min_rtt),
            micros(self.probe_rtt_min_delay),
            min_rtt_at,
            probe_rtt_at,
            next_probe,
        ])
    }
}
