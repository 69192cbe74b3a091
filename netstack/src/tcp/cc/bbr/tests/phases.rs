//! Startup, drain and the cycle of probes.

use super::*;

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
