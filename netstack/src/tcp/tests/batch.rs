//! Many segments in one turn: the rules of the RFCs are written for one at a time, and must come out as
//! if nothing had been batched.

use super::rig::{Rig, with_sack};

/// Ten segments of 1,000 bytes in flight, sent one by one: the whole initial window.
fn ten() -> Rig {
    let mut rig = Rig::established(with_sack());
    rig.max_payload = 1_000;
    rig.send(10_000);
    assert_eq!(rig.payloads().len(), 10);
    rig
}

#[test]
fn flight_size_is_what_was_in_flight_before_the_turn() {
    let mut rig = ten();
    // One turn: six segments are acknowledged, then a loss shows.
    for i in 1..=6 {
        rig.recv_sack(1 + 1_000 * i, &[]);
    }
    rig.recv_sack(6_001, &[(7_001, 10_001)]);
    let info = rig.tcp.info();
    assert_eq!((info.recoveries, info.ssthresh), (1, 7_000));
}

#[test]
fn a_turn_that_ended_counts_no_more() {
    let mut rig = ten();
    for i in 1..=6 {
        rig.recv_sack(1 + 1_000 * i, &[]);
    }
    assert!(rig.out().is_empty(), "there is no more to send");
    rig.recv_sack(6_001, &[(7_001, 10_001)]);
    // Half of the window, which is more than the flight of four segments.
    assert_eq!(rig.tcp.info().ssthresh, 5_600);
}

#[test]
fn each_acknowledgment_of_a_turn_grows_the_window() {
    let mut rig = ten();
    for i in 1..=10 {
        rig.recv_sack(1 + 1_000 * i, &[]);
    }
    assert_eq!(rig.tcp.info().cwnd, 20_000);
}
