//! The rules of the draft one by one, with acknowledgments that a test makes up.

use super::*;
use crate::base::congestion::RateSample;

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

#[test]
fn draft_5_6_2_the_first_rate_is_that_of_the_initial_window() {
    let flow = Flow::new();
    assert_eq!(
        flow.bbr.pacing_rate, 277_000,
        "2.77 windows each round trip"
    );
    let unknown = Bbr::new(&Start::new(MSS, 10 * MSS, None, 1));
    assert_eq!(unknown.pacing_rate, 27_700_000, "in a nominal millisecond");
}

#[test]
fn draft_5_3_1_2_startup_ends_after_three_rounds_without_growth() {
    let mut flow = Flow::new();
    for doubled in [1, 2, 4, 8] {
        flow.round(Round {
            bytes_per_second: BANDWIDTH * doubled / 8,
            ..Round::full()
        });
        assert_eq!(flow.bbr.state, State::Startup);
    }
    assert!((flow.gain() - 2.77).abs() < 0.01);
    flow.rounds(2, Round::full());
    assert_eq!(flow.bbr.state, State::Startup);
    // A round that the application limited proves nothing.
    flow.round(Round {
        app_limited: true,
        ..Round::full()
    });
    assert_eq!(flow.bbr.state, State::Startup);
    // So the queue is drained.
    flow.round(Round {
        in_flight: 2 * BDP,
        ..Round::full()
    });
    assert_eq!(flow.bbr.state, State::Drain);
    assert!((flow.gain() - 0.5).abs() < 0.01);
    flow.round(Round {
        in_flight: BDP,
        ..Round::full()
    });
    assert!(flow.bbr.state.is_probe_bw(), "section 5.3.2");
}

#[test]
fn draft_5_3_1_3_startup_ends_by_six_runs_of_losses_in_a_round() {
    for runs in [5, 6] {
        let mut flow = Flow::new();
        for doubled in [2, 4, 8] {
            flow.round(Round {
                bytes_per_second: BANDWIDTH * doubled / 8,
                ..Round::full()
            });
        }
        let lossy = Round {
            bytes_per_second: 2 * BANDWIDTH,
            lost: 30 * MSS,
            in_recovery: true,
            ..Round::full()
        };
        flow.round(lossy);
        for run in 1..=runs {
            flow.lose(MSS, BDP, run * MSS);
        }
        flow.round(Round {
            bytes_per_second: 4 * BANDWIDTH,
            in_flight: 10 * BDP,
            ..lossy
        });
        let ended = flow.bbr.state == State::Drain;
        assert_eq!(ended, runs == 6, "{runs}");
        assert_eq!(flow.bbr.inflight_longterm != UNBOUNDED, ended);
        // A spurious recovery goes back (section 5.5.11.2).
        flow.bbr.on_undo(&mut flow.window);
        assert_eq!(flow.bbr.state, State::Startup);
        assert_eq!(flow.bbr.inflight_longterm, UNBOUNDED);
    }
}

#[test]
fn draft_5_3_2_drain_ends_after_three_rounds_at_the_latest() {
    let mut flow = Flow::new();
    let queued = Round {
        in_flight: 2 * BDP,
        ..Round::full()
    };
    for _ in 0..10 {
        flow.round(queued);
        if flow.bbr.state == State::Drain {
            break;
        }
    }
    flow.rounds(3, queued);
    assert_eq!(flow.bbr.state, State::Drain);
    flow.round(queued);
    assert_eq!(flow.bbr.state, State::Down);
}

#[test]
fn draft_5_3_3_the_cycle_has_its_order_its_gains_and_its_time() {
    let mut flow = Flow::in_state(State::Down);
    let began = flow.now;
    for (state, gain) in [
        (State::Down, 0.9),
        (State::Cruise, 1.0),
        (State::Refill, 1.0),
        (State::Up, 1.25),
    ] {
        flow.until(state);
        assert!((flow.gain() - gain).abs() < 0.01, "{state:?}");
    }
    let time = flow.now - began;
    let bounds = Duration::from_secs(2)..Duration::from_millis(3_400);
    assert!(bounds.contains(&time), "{time:?}");
    // Refill lasts a round trip; Up, until the bandwidth does not grow for three.
    flow.rounds(2, Round::full());
    assert_eq!(flow.bbr.state, State::Up);
    flow.round(Round::full());
    assert_eq!(flow.bbr.state, State::Down);
}

#[test]
fn draft_5_3_3_8_a_small_flow_probes_as_often_as_reno() {
    let slow = Round {
        bytes_per_second: BANDWIDTH / 20,
        in_flight: 2 * MSS,
        ..Round::full()
    };
    let mut flow = Flow::new();
    for _ in 0..200 {
        flow.round(slow);
        if flow.bbr.state == State::Cruise {
            break;
        }
    }
    // The bandwidth-delay product is five segments.
    let mut rounds = 0;
    while flow.bbr.state != State::Refill {
        flow.round(slow);
        rounds += 1;
        assert!(rounds <= 5);
    }
}

#[test]
fn draft_5_5_3_the_bandwidth_is_the_maximum_of_two_cycles() {
    let mut flow = Flow::in_state(State::Cruise);
    // The cycle that Startup began ends with the first of these.
    flow.rounds(3, Round::full());
    assert_eq!(flow.bbr.max_bw.get(), BANDWIDTH);
    let slower = |rounds: u64| Round {
        bytes_per_second: BANDWIDTH / 2,
        in_flight: BDP / 3,
        rtt: RTT - Duration::from_micros(1_000 + rounds),
        ..Round::full()
    };
    let mut rounds = 0;
    let mut cycles = 0;
    let mut state = flow.bbr.state;
    while flow.bbr.max_bw.get() > BANDWIDTH / 2 {
        rounds += 1;
        flow.round(slower(rounds));
        cycles += u32::from(state != State::Down && flow.bbr.state == State::Down);
        state = flow.bbr.state;
        assert!(cycles < 4);
    }
    assert!(cycles >= 2, "{cycles}");
}

#[test]
fn draft_5_5_4_samples_that_the_application_limited_do_not_lower_the_bandwidth() {
    let mut flow = Flow::in_state(State::Cruise);
    let limited = |bytes_per_second| Round {
        bytes_per_second,
        app_limited: true,
        in_flight: BDP / 3,
        ..Round::full()
    };
    flow.rounds(100, limited(BANDWIDTH / 10));
    assert_eq!(flow.bbr.max_bw.get(), BANDWIDTH);
    // But they raise it.
    flow.round(limited(2 * BANDWIDTH));
    assert_eq!(flow.bbr.max_bw.get(), 2 * BANDWIDTH);
}

#[test]
fn draft_5_5_10_2_losses_of_a_probe_bound_the_volume() {
    let mut flow = Flow::in_state(State::Up);
    flow.round(Round::full());
    assert!(flow.bbr.is_bw_probe_sample);
    // Two percent are tolerated.
    flow.lose(MSS, 120 * MSS, 2 * MSS);
    assert_eq!(flow.bbr.state, State::Up);
    assert_eq!(flow.bbr.inflight_longterm, UNBOUNDED);
    flow.lose(MSS, 120 * MSS, 3 * MSS);
    assert_eq!(flow.bbr.state, State::Down);
    assert!(flow.bbr.prev_probe_too_high);
    // The volume at which the third loss was one too many.
    let bound = flow.bbr.inflight_longterm;
    assert!((115 * MSS..=120 * MSS).contains(&bound), "{bound}");
    // Never less than 0.7 of the target, and once for each probe.
    flow.lose(MSS, 120 * MSS, 90 * MSS);
    assert_eq!(flow.bbr.inflight_longterm, bound);
}

#[test]
fn draft_5_3_3_6_the_probe_after_losses_is_a_careful_one() {
    let mut flow = Flow::in_state(State::Up);
    flow.round(Round::full());
    flow.lose(5 * MSS, BDP, 5 * MSS);
    assert_eq!(flow.bbr.state, State::Down);
    flow.until(State::Up);
    let bound = flow.bbr.inflight_longterm;
    flow.round(Round {
        in_flight: bound,
        ..Round::full()
    });
    assert_eq!(
        flow.bbr.state,
        State::Down,
        "as soon as the volume is reached"
    );
    assert!(flow.bbr.prev_probe_precautionary);
    // It went well: the next probe follows at once.
    flow.round(Round::full());
    assert_eq!(flow.bbr.state, State::Refill);
}

#[test]
fn draft_5_5_10_3_losses_while_cruising_lower_the_short_term_model_once_a_round() {
    let mut flow = Flow::in_state(State::Cruise);
    flow.round(Round::full());
    flow.lose(MSS, BDP, MSS);
    flow.lose(MSS, BDP, 2 * MSS);
    let slower = Round {
        bytes_per_second: BANDWIDTH * 9 / 10,
        ..Round::full()
    };
    flow.rounds(2, slower);
    let bw = flow.bbr.bw_shortterm;
    let bounds = BANDWIDTH * 7 / 10..UNBOUNDED_RATE;
    assert!(bounds.contains(&bw), "{bw}");
    assert_eq!(flow.bbr.bw, bw.min(BANDWIDTH));
    assert!(flow.bbr.inflight_shortterm >= BDP * 7 / 10);
    // Refill forgets it (section 5.3.3.3).
    flow.until(State::Refill);
    assert_eq!(flow.bbr.bw_shortterm, UNBOUNDED_RATE);
    assert_eq!(flow.bbr.inflight_shortterm, UNBOUNDED);
}

#[test]
fn draft_5_3_4_3_after_five_seconds_the_round_trip_is_measured_with_half_the_volume() {
    let mut flow = Flow::in_state(State::Cruise);
    let (began, least) = (flow.now, flow.bbr.min_rtt);
    let longer = Round {
        rtt: RTT + Duration::from_millis(5),
        in_flight: BDP / 3,
        ..Round::full()
    };
    while flow.bbr.state != State::ProbeRtt {
        flow.round(longer);
        assert!(flow.now - began < Duration::from_secs(6));
    }
    assert!(flow.window.cwnd <= BDP * 6 / 10, "{}", flow.window.cwnd);
    assert!(flow.bbr.is_holding_back());
    let entered = flow.now;
    while flow.bbr.state == State::ProbeRtt {
        flow.round(longer);
    }
    let time = flow.now - entered;
    assert!(time >= Duration::from_millis(200) && time < Duration::from_millis(600));
    assert_eq!(flow.bbr.state, State::Cruise, "section 5.3.4.4");
    assert!(flow.window.cwnd > BDP, "the window is restored");
    // The old least round trip holds for ten seconds.
    assert_eq!(flow.bbr.min_rtt, least);
    flow.rounds(60, longer);
    assert_eq!(flow.bbr.min_rtt, Some(longer.rtt));
}

#[test]
fn draft_5_4_1_after_idle_time_the_rate_is_the_bandwidth() {
    let mut flow = Flow::in_state(State::Up);
    let cwnd = flow.window.cwnd;
    flow.now = flow.now + Duration::from_secs(60);
    flow.bbr.on_restart(&mut flow.window, flow.now);
    assert!((flow.gain() - 1.0).abs() < 0.01);
    assert_eq!(flow.window.cwnd, cwnd);
    // Idle time drains the queue as ProbeRTT does.
    flow.round(Round::full());
    assert_ne!(flow.bbr.state, State::ProbeRtt);
}

#[test]
fn draft_5_6_4_4_the_window_of_before_comes_back_after_a_recovery() {
    let mut flow = Flow::in_state(State::Cruise);
    let cwnd = flow.window.cwnd;
    flow.bbr.on_timeout(
        &mut flow.window,
        &Loss {
            in_flight: 0,
            ..Loss::new(BDP, MSS)
        },
    );
    assert_eq!(flow.window.cwnd, MSS);
    flow.bbr.on_recovered(&mut flow.window, 0, 10 * MSS);
    assert_eq!(flow.window.cwnd, cwnd);
}

#[test]
fn draft_5_6_4_2_the_window_is_two_bandwidth_delay_products_and_never_below_four_segments() {
    let mut flow = Flow::in_state(State::Cruise);
    flow.rounds(5, Round::full());
    let cwnd = flow.window.cwnd;
    assert!((2 * BDP..=3 * BDP).contains(&cwnd), "{cwnd}");
    let slow = Round {
        bytes_per_second: 10_000,
        in_flight: MSS,
        ..Round::full()
    };
    flow.rounds(300, slow);
    assert!(flow.window.cwnd >= 4 * MSS);
}

#[test]
fn what_idle_time_saves_is_the_model() {
    let flow = Flow::in_state(State::Cruise);
    let mut start = Start::new(MSS, 10 * MSS, Some(RTT), 2);
    start.saved = Some(flow.bbr.save());
    let awake = Bbr::new(&start);
    assert_eq!(awake.max_bw.get(), BANDWIDTH);
    assert_eq!(
        (awake.state, awake.min_rtt),
        (State::Cruise, flow.bbr.min_rtt)
    );
    start.saved = Some(Bbr::new(&start).save());
    start.saved = Some(Saved::default());
    assert_eq!(Bbr::new(&start).state, State::Startup);
}

/// Returns the controller after a rest.
fn after_rest(flow: &Flow) -> Bbr {
    let mut start = Start::new(MSS, 10 * MSS, Some(RTT), 2);
    start.saved = Some(flow.bbr.save());
    Bbr::new(&start)
}

#[test]
fn marks_of_time_outlive_rests() {
    let mut flow = Flow::in_state(State::Cruise);
    let (least, probed) = (flow.bbr.min_rtt_stamp, flow.bbr.probe_rtt_min_stamp);
    let next_probe = flow.bbr.cycle_stamp + flow.bbr.probe_wait;
    // Two rests without an event between them.
    flow.bbr = after_rest(&flow);
    flow.bbr = after_rest(&flow);
    flow.now = flow.now + Duration::from_millis(700);
    flow.bbr.on_restart(&mut flow.window, flow.now);
    let millis = |at: Instant| at.as_millis();
    assert_eq!(millis(flow.bbr.min_rtt_stamp), millis(least));
    assert_eq!(millis(flow.bbr.probe_rtt_min_stamp), millis(probed));
    let probes_at = flow.bbr.cycle_stamp + flow.bbr.probe_wait;
    assert_eq!(millis(probes_at), millis(next_probe).max(millis(flow.now)));
}

#[test]
fn draft_5_5_7_the_least_round_trip_is_forgotten_although_the_connection_rests_again_and_again() {
    for state in [State::Startup, State::Cruise] {
        let mut flow = Flow::new();
        flow.rounds(1, Round::full());
        flow.until(state);
        let longer = Round {
            rtt: RTT + Duration::from_millis(5),
            app_limited: true,
            in_flight: 0,
            ..Round::full()
        };
        for _ in 0..60 {
            flow.bbr = after_rest(&flow);
            flow.now = flow.now + Duration::from_millis(200);
            flow.delivered = 0;
            flow.bbr.on_restart(&mut flow.window, flow.now);
            flow.round(longer);
            assert_ne!(
                flow.bbr.state,
                State::ProbeRtt,
                "idle time drains the queue"
            );
        }
        assert_eq!(flow.bbr.min_rtt, Some(longer.rtt), "{state:?}");
    }
}

#[test]
fn rounds_are_counted_when_the_algorithm_is_chosen_in_the_middle_of_a_connection() {
    for delivered in [0, 3_000_000_000] {
        let start = Start {
            delivered_total: delivered,
            ..Start::new(MSS, 10 * MSS, Some(RTT), 1)
        };
        let mut flow = Flow::new();
        flow.bbr = Bbr::new(&start);
        flow.delivered = delivered;
        flow.rounds(5, Round::full());
        assert_eq!(flow.bbr.round_count, 5, "{delivered}");
        assert!(flow.bbr.full_bw_reached);
    }
}
