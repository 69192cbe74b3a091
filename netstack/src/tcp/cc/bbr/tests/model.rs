//! The model of the path: bandwidth, losses, windows.

use super::*;

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
fn draft_2_8_more_losses_are_tolerated_if_the_program_says_so() {
    let start = Start::new(MSS, 10 * MSS, Some(RTT), 1);
    let mut flow = Flow::in_state(State::Up);
    flow.bbr.loss_thresh = Bbr::new(&start.tolerating(10)).loss_thresh;
    flow.round(Round::full());
    flow.lose(MSS, 120 * MSS, 12 * MSS);
    assert_eq!(flow.bbr.state, State::Up);
    assert_eq!(flow.bbr.inflight_longterm, UNBOUNDED);
    flow.lose(MSS, 120 * MSS, 13 * MSS);
    assert_eq!(flow.bbr.state, State::Down);
    let bound = flow.bbr.inflight_longterm;
    assert!((115 * MSS..=120 * MSS).contains(&bound), "{bound}");
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
