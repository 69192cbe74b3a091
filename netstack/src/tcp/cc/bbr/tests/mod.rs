//! The rules of the draft one by one, with acknowledgments that a test makes up.

use super::*;
use crate::base::congestion::RateSample;

mod model;
mod phases;
mod rest;

const MSS: u32 = 1_000;
const RTT: Duration = Duration::from_millis(100);
/// Bytes a second that the path carries: 100 segments a round trip.
const BANDWIDTH: u64 = 1_000_000;
const BDP: u32 = 100 * MSS;

/// A connection whose round trips are acknowledged by one acknowledgment each.
struct Flow {
    bbr: Bbr,
    window: Window,
    now: Instant,
    delivered: u32,
    /// Each round trip of `until` is a little shorter than the one before, so that none has to be measured again.
    shorter: Duration,
}

/// The properties of a round trip.
#[derive(Clone, Copy)]
struct Round {
    bytes_per_second: u64,
    rtt: Duration,
    in_flight: u32,
    app_limited: bool,
    lost: u32,
    in_recovery: bool,
    is_limited: bool,
}

impl Round {
    fn full() -> Self {
        Self {
            bytes_per_second: BANDWIDTH,
            rtt: RTT,
            in_flight: BDP,
            app_limited: false,
            lost: 0,
            in_recovery: false,
            is_limited: false,
        }
    }
}

impl Flow {
    fn new() -> Self {
        let start = Start::new(MSS, 10 * MSS, Some(RTT), 1);
        Self {
            bbr: Bbr::new(&start),
            window: Window {
                cwnd: 10 * MSS,
                ssthresh: 1 << 30,
            },
            now: Instant::from_millis(1_000),
            delivered: 0,
            shorter: Duration::ZERO,
        }
    }

    /// A round trip later, what was sent after the last acknowledgment is acknowledged.
    fn round(&mut self, round: Round) {
        self.now = self.now + round.rtt;
        let bytes = (round.bytes_per_second as f64 * round.rtt.as_secs_f64()) as u32;
        let prior_delivered = self.delivered;
        self.delivered = self.delivered.wrapping_add(bytes);
        let acked = Acked {
            now: self.now,
            bytes,
            delivered: bytes,
            delivered_total: self.delivered,
            in_flight: round.in_flight,
            mss: MSS,
            srtt: round.rtt,
            rtt: Some(round.rtt),
            rate: Some(RateSample {
                bytes,
                interval: round.rtt,
                app_limited: round.app_limited,
                prior_delivered,
                sent_in_flight: round.in_flight,
                lost: round.lost,
            }),
            selective: true,
            in_recovery: round.in_recovery,
            is_limited: round.is_limited,
            ..Acked::default()
        };
        self.bbr.on_ack(&mut self.window, &acked);
    }

    fn rounds(&mut self, count: u32, round: Round) {
        for _ in 0..count {
            self.round(round);
        }
    }

    fn lose(&mut self, bytes: u32, sent_in_flight: u32, lost_since: u32) {
        let lost = Lost {
            bytes,
            sent_in_flight,
            lost_since,
            delivered_total: self.delivered,
            mss: MSS,
            selective: true,
            ..Lost::default()
        };
        self.bbr.on_lost(&mut self.window, &lost);
    }

    /// Goes on until the machine is in `state`.
    fn until(&mut self, state: State) {
        for _ in 0..200 {
            if self.bbr.state == state {
                return;
            }
            let in_flight = match self.bbr.state {
                State::Drain | State::Down | State::ProbeRtt => BDP / 3,
                _ => BDP,
            };
            self.shorter += Duration::from_micros(1);
            self.round(Round {
                in_flight,
                rtt: RTT - self.shorter,
                ..Round::full()
            });
        }
        panic!("never in {state:?}, but in {:?}", self.bbr.state);
    }

    /// A connection in ProbeBW that has found the bandwidth.
    fn in_state(state: State) -> Self {
        let mut flow = Self::new();
        flow.until(State::Cruise);
        flow.until(state);
        flow
    }

    fn gain(&self) -> f64 {
        self.bbr.pacing_rate as f64 / (BANDWIDTH as f64 * PACING_MARGIN)
    }
}
