//! BBR, version 3 (draft-ietf-ccwg-bbr-06): a model of the path instead of a reaction to each loss.
//!
//! The model is the bandwidth that the path delivered at most in the last two probing cycles, the least round
//! trip of the last ten seconds, and the volume in flight up to which losses stay below two percent. From
//! them follow the pacing rate and the window.
//!
//! ```text
//!   Startup ──> Drain ──> ProbeBW: DOWN ──> CRUISE ──> REFILL ──> UP ──┐
//!      │                            ^                                  │
//!      └──────── ProbeRTT <─────────┴──────────────────────────────────┘
//! ```
//!
//! Names are the draft's. `model` has the estimates, `startup`, `probe` (the cycle of ProbeBW) and `rtt` (ProbeRTT) the
//! states, `control` what follows from both.

mod control;
mod model;
mod probe;
mod rest;
mod rtt;
mod startup;

#[cfg(test)]
mod tests;

use core::num::NonZeroU64;
use core::time::Duration;

use crate::base::Instant;
use crate::base::congestion::{Acked, CongestionControl, Idle, Loss, Lost, Saved, Start, Window};
use model::{Aggregation, MaxFilter};
use rest::Clock;

/// Gain with which the rate doubles each round trip: 4 ln 2.
const STARTUP_PACING_GAIN: f64 = 2.77;
/// Gain that empties in a round trip the queue that Startup made.
const DRAIN_PACING_GAIN: f64 = 0.5;
/// Window in bandwidth-delay products.
const DEFAULT_CWND_GAIN: f64 = 2.0;
/// The same while the bandwidth is probed, so that the window is not the limit.
const UP_CWND_GAIN: f64 = 2.25;
/// Window of ProbeRTT.
const PROBE_RTT_CWND_GAIN: f64 = 0.5;
/// Part of the estimated bandwidth that is used, to keep queues short (`PacingMarginPercent`).
const PACING_MARGIN: f64 = 0.99;
/// Part that is kept when losses say that it was too much (`Beta`).
const BETA: f64 = 0.7;
/// Part of the volume that is left to others (`Headroom`).
const HEADROOM: f64 = 0.15;
/// Runs of losses in a round trip that end Startup.
const STARTUP_FULL_LOSS_COUNT: u8 = 6;
/// Least window, in segments.
const MIN_PIPE_SEGMENTS: u32 = 4;
/// Round trip from which the first rate is derived if none was measured.
const NOMINAL_RTT: Duration = Duration::from_millis(1);
/// No bound, of a volume in bytes.
const UNBOUNDED: u32 = u32::MAX;
/// No bound, of a rate in bytes a second.
const UNBOUNDED_RATE: u64 = u64::MAX;

/// The state of the machine (section 5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Startup,
    Drain,
    Down,
    Cruise,
    Refill,
    Up,
    ProbeRtt,
}

impl State {
    /// Returns true for the states of ProbeBW.
    fn is_probe_bw(self) -> bool {
        matches!(self, Self::Down | Self::Cruise | Self::Refill | Self::Up)
    }

    /// Returns true while more than the estimate is looked for (`IsProbingBW`).
    fn is_probing(self) -> bool {
        matches!(self, Self::Startup | Self::Refill | Self::Up)
    }

    fn pacing_gain(self) -> f64 {
        match self {
            Self::Startup => STARTUP_PACING_GAIN,
            Self::Drain => DRAIN_PACING_GAIN,
            Self::Down => 0.9,
            Self::Up => 1.25,
            Self::Cruise | Self::Refill | Self::ProbeRtt => 1.0,
        }
    }

    fn cwnd_gain(self) -> f64 {
        match self {
            Self::Up => UP_CWND_GAIN,
            Self::ProbeRtt => PROBE_RTT_CWND_GAIN,
            _ => DEFAULT_CWND_GAIN,
        }
    }
}

/// The meaning of what is acknowledged now (`BBR.ack_phase`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AckPhase {
    Init,
    Refilling,
    Starting,
    Feedback,
    Stopping,
}

/// The state that is restored if a recovery turns out to be spurious (section 5.5.11).
#[derive(Clone, Copy, Debug)]
struct Undo {
    /// The state that losses ended.
    state: Option<State>,
    bw_shortterm: u64,
    inflight_shortterm: u32,
    inflight_longterm: u32,
}

/// The state of BBR for one connection. Rates are in bytes a second, volumes in bytes.
#[derive(Debug)]
pub(super) struct Bbr {
    state: State,
    /// State of the generator of random numbers.
    random: u64,
    mss: u32,
    initial: u32,
    /// Losses that are tolerated while the bandwidth is probed (`LossThresh`).
    loss_thresh: f64,
    clock: Clock,
    /// The first round trip was measured: the initial rate follows it.
    has_rtt: bool,
    pacing_rate: u64,
    /// Bytes in flight after the last acknowledgment, and if the window was the limit.
    in_flight: u32,
    is_limited: bool,
    delivered_total: u32,
    /// Time of the last acknowledgment.
    last_ack: Instant,
    /// Bytes that arrived since the controller was made.
    delivered: u64,
    in_recovery: bool,
    /// The last window that no recovery and no ProbeRTT bounded (`prior_cwnd`).
    prior_cwnd: u32,
    // Round trips (section 5.5.1).
    round_count: u32,
    round_start: bool,
    next_round_delivered: u32,
    // The model of the rate.
    max_bw: MaxFilter,
    bw: u64,
    bw_shortterm: u64,
    bw_latest: u64,
    full_bw: u64,
    full_bw_count: u8,
    full_bw_now: bool,
    full_bw_reached: bool,
    // The model of the volume.
    aggregation: Aggregation,
    inflight_longterm: u32,
    inflight_shortterm: u32,
    inflight_latest: u32,
    // Losses.
    is_loss_in_round: bool,
    loss_round_delivered: u32,
    loss_round_start: bool,
    loss_runs_in_round: u8,
    undo: Undo,
    // ProbeBW (section 2.14).
    drain_start_round: u32,
    ack_phase: AckPhase,
    is_bw_probe_sample: bool,
    probe_up_acked: u32,
    probe_up_acked_per_inc: u32,
    probe_up_rounds: u8,
    rounds_since_probe_up: u32,
    probe_wait: Duration,
    cycle_stamp: Instant,
    prev_probe_too_high: bool,
    prev_probe_precautionary: bool,
    // The least round trip, and ProbeRTT (section 2.16).
    min_rtt: Option<Duration>,
    min_rtt_stamp: Instant,
    probe_rtt_min_delay: Option<Duration>,
    probe_rtt_min_stamp: Instant,
    probe_rtt_expired: bool,
    probe_rtt_done_stamp: Option<Instant>,
    probe_rtt_round_done: bool,
    idle_restart: bool,
}

impl Bbr {
    /// Creates the state of a connection (`OnInit`).
    pub(super) fn new(start: &Start) -> Self {
        let mut bbr = Self {
            state: State::Startup,
            random: start.seed,
            mss: start.mss.max(1),
            initial: start.initial,
            loss_thresh: f64::from(start.tolerated_loss_percent.min(99)) / 100.0,
            clock: Clock::Unset,
            has_rtt: start.srtt.is_some(),
            pacing_rate: 0,
            in_flight: 0,
            is_limited: false,
            delivered_total: start.delivered_total,
            last_ack: Instant::ZERO,
            delivered: 0,
            in_recovery: false,
            prior_cwnd: 0,
            round_count: 0,
            round_start: false,
            next_round_delivered: start.delivered_total,
            max_bw: MaxFilter::default(),
            bw: 0,
            bw_shortterm: UNBOUNDED_RATE,
            bw_latest: 0,
            full_bw: 0,
            full_bw_count: 0,
            full_bw_now: false,
            full_bw_reached: false,
            aggregation: Aggregation::default(),
            inflight_longterm: UNBOUNDED,
            inflight_shortterm: UNBOUNDED,
            inflight_latest: 0,
            is_loss_in_round: false,
            loss_round_delivered: start.delivered_total,
            loss_round_start: false,
            loss_runs_in_round: 0,
            undo: Undo {
                state: None,
                bw_shortterm: 0,
                inflight_shortterm: 0,
                inflight_longterm: 0,
            },
            drain_start_round: 0,
            ack_phase: AckPhase::Init,
            is_bw_probe_sample: false,
            probe_up_acked: 0,
            probe_up_acked_per_inc: UNBOUNDED,
            probe_up_rounds: 0,
            rounds_since_probe_up: 0,
            probe_wait: Duration::ZERO,
            cycle_stamp: Instant::ZERO,
            prev_probe_too_high: false,
            prev_probe_precautionary: false,
            min_rtt: start.srtt,
            min_rtt_stamp: Instant::ZERO,
            probe_rtt_min_delay: start.srtt,
            probe_rtt_min_stamp: Instant::ZERO,
            probe_rtt_expired: false,
            probe_rtt_done_stamp: None,
            probe_rtt_round_done: false,
            idle_restart: false,
        };
        bbr.init_pacing_rate(start.srtt);
        if let Some(saved) = &start.saved {
            bbr.restore(saved);
        }
        bbr
    }

    /// Returns a random number below `bound` (SplitMix64).
    fn random_below(&mut self, bound: u32) -> u32 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let high = (mixed ^ (mixed >> 31)) >> 32;
        ((high * u64::from(bound)) >> 32) as u32
    }

    fn min_pipe_cwnd(&self) -> u32 {
        MIN_PIPE_SEGMENTS * self.mss
    }
}

/// The sample of one acknowledgment, with the draft's zeros for what it does not say.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    delivery_rate: u64,
    delivered: u32,
    prior_delivered: Option<u32>,
    is_app_limited: bool,
    tx_in_flight: u32,
    lost: u32,
    selective: bool,
}

impl Rate {
    fn of(acked: &Acked) -> Self {
        let Some(sample) = acked.rate else {
            return Self {
                selective: acked.selective,
                ..Self::default()
            };
        };
        Self {
            delivery_rate: sample.bytes_per_second(acked.min_rtt).unwrap_or(0),
            delivered: sample.bytes,
            prior_delivered: Some(sample.prior_delivered),
            is_app_limited: sample.app_limited,
            tx_in_flight: sample.sent_in_flight,
            lost: sample.lost,
            selective: acked.selective,
        }
    }

    /// Returns true if losses, of which so many are tolerated, say that too much was in flight (`IsInflightTooHigh`).
    fn is_inflight_too_high(&self, loss_thresh: f64) -> bool {
        let tolerated = f64::from(self.tx_in_flight) * loss_thresh;
        f64::from(self.lost) > tolerated || (self.lost > 0 && !self.selective)
    }
}

impl CongestionControl for Bbr {
    /// Updates the model, the state and the control parameters, in the draft's order (section 5.2.3).
    fn on_ack(&mut self, window: &mut Window, acked: &Acked) {
        let now = acked.now;
        self.start_clock(now);
        self.last_ack = now;
        self.mss = acked.mss.max(1);
        self.in_flight = acked.in_flight;
        self.is_limited = acked.is_limited;
        self.in_recovery = acked.in_recovery;
        self.delivered_total = acked.delivered_total;
        self.delivered = self.delivered.saturating_add(u64::from(acked.delivered));
        if !self.has_rtt && acked.rtt.is_some() {
            self.has_rtt = true;
            self.init_pacing_rate(acked.rtt);
        }
        let rate = Rate::of(acked);
        self.update_latest_delivery_signals(rate);
        self.update_congestion_signals(window, rate);
        self.update_ack_aggregation(window, acked);
        self.check_full_bw_reached(rate);
        self.check_startup_done(acked, rate);
        self.check_drain_done(now);
        self.update_cycle_phase(window, acked, rate);
        self.update_min_rtt(acked.rtt, now);
        self.check_probe_rtt(window, rate, now);
        self.advance_latest_delivery_signals(rate);
        self.bw = self.max_bw.get().min(self.bw_shortterm);
        self.set_pacing_rate_with_gain(self.state.pacing_gain());
        self.set_cwnd(window, acked.delivered);
    }

    /// Keeps the window for after the recovery; the model answers to the losses (section 5.6.4.4).
    fn on_loss(&mut self, window: &mut Window, _loss: &Loss) {
        self.save_state_upon_loss(window);
        self.in_recovery = true;
    }

    fn on_timeout(&mut self, window: &mut Window, loss: &Loss) {
        self.save_state_upon_loss(window);
        self.in_recovery = true;
        window.cwnd = loss.in_flight.saturating_add(loss.mss);
    }

    fn on_lost(&mut self, window: &mut Window, lost: &Lost) {
        self.handle_lost(window, lost);
    }

    fn on_recovered(&mut self, window: &mut Window, _in_flight: u32, _initial: u32) {
        self.in_recovery = false;
        self.restore_cwnd(window);
    }

    /// Returns to what was known before the recovery (section 5.5.11.2).
    fn on_undo(&mut self, window: &mut Window) {
        self.in_recovery = false;
        self.restore_cwnd(window);
        self.is_loss_in_round = false;
        self.reset_full_bw();
        let undo = self.undo;
        self.bw_shortterm = self.bw_shortterm.max(undo.bw_shortterm);
        self.inflight_shortterm = self.inflight_shortterm.max(undo.inflight_shortterm);
        self.inflight_longterm = self.inflight_longterm.max(undo.inflight_longterm);
        let in_probe_rtt = self.state == State::ProbeRtt;
        match undo.state {
            Some(State::Startup) if self.state != State::Startup => {
                self.full_bw_reached = false;
                if !in_probe_rtt {
                    self.enter_startup();
                }
            }
            Some(State::Up) if self.state != State::Up && !in_probe_rtt => self.start_refill(),
            _ => {}
        }
        self.undo.state = None;
    }

    /// Leaves the window as it is: the rate is what matters (section 5.4.1).
    fn on_idle(&mut self, _window: &mut Window, _idle: &Idle) {}

    /// Restarts from idle at exactly the estimated rate (section 5.4.1).
    fn on_restart(&mut self, window: &mut Window, now: Instant) {
        self.start_clock(now);
        self.idle_restart = true;
        self.aggregation.start = now;
        if self.state.is_probe_bw() {
            self.set_pacing_rate_with_gain(1.0);
        } else if self.state == State::ProbeRtt {
            self.check_probe_rtt_done(window, now);
        }
    }

    fn pacing_rate(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.pacing_rate)
    }

    fn reduces_proportionally(&self) -> bool {
        false
    }

    /// Returns true in ProbeRTT, whose low rates are no samples.
    fn is_holding_back(&self) -> bool {
        self.state == State::ProbeRtt
    }

    fn save(&self) -> Saved {
        self.saved()
    }
}
