//! Idle time, and a change of the algorithm.

use super::*;

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
