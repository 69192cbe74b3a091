//! Loss recovery, segment by segment: RFC 5681, 6582, 6675, 2018, 2883, 3042.

use core::time::Duration;

use super::rig::{ACK, Rig, plain, with_sack, without_rack};
use crate::base::Instant;
use crate::tcp::send::inflight::{Ack, Inflight, PathView, Progress};
use crate::tcp::{Algorithm, SeqNum};

/// Ten segments of 1,000 bytes in flight, sent one by one.
fn ten(mut rig: Rig) -> Rig {
    rig.max_payload = 1_000;
    rig.send(10_000);
    assert!(rig.payloads().len() >= 10);
    rig
}

#[test]
fn three_duplicates_resend_the_first_segment() {
    let mut rig = ten(Rig::established(plain()));
    rig.tcp.set_congestion(Algorithm::NEW_RENO);
    rig.send(20_000);
    rig.recv(1, 1, ACK, b"");
    assert_eq!(rig.payloads(), [(10_001, 1_000)], "limited transmit");
    rig.recv(1, 1, ACK, b"");
    assert_eq!(rig.payloads(), [(11_001, 1_000)], "limited transmit");
    rig.recv(1, 1, ACK, b"");
    assert_eq!(rig.payloads(), [(1, 1_000)], "fast retransmit");
    let info = rig.tcp.info();
    assert_eq!((info.recoveries, info.ssthresh), (1, 6_000));
    // Further duplicates let new segments out once the pipe is small enough.
    let mut fresh = 0;
    for _ in 0..7 {
        rig.recv(1, 1, ACK, b"");
        fresh += rig.payloads().len();
    }
    assert!(fresh >= 3, "{fresh}");
    // A partial acknowledgment resends the next hole at once (RFC 6582).
    rig.recv(1, 2_001, ACK, b"");
    assert_eq!(rig.payloads()[0], (2_001, 1_000));
    // A full one ends the recovery.
    rig.recv(1, 12_001, ACK, b"");
    assert!(rig.payloads().iter().all(|p| p.seq > 12_000));
    assert_eq!(rig.tcp.info().cwnd, 6_000);
    assert_eq!(rig.tcp.info().recoveries, 1);
}

#[test]
fn two_duplicates_are_reordering() {
    let mut rig = ten(Rig::established(plain()));
    rig.recv(1, 1, ACK, b"");
    rig.recv(1, 1, ACK, b"");
    rig.recv(1, 10_001, ACK, b"");
    assert!(rig.payloads().is_empty());
    assert_eq!(rig.tcp.info().retransmits, 0);
}

#[test]
fn what_is_no_duplicate_is_not_counted() {
    let mut rig = ten(Rig::established(plain()));
    for i in 0..6u16 {
        // A window update each time.
        rig.window = 50_000 + i;
        rig.recv(1, 1, ACK, b"");
    }
    for i in 0..6u32 {
        // Payload each time.
        rig.recv(1 + i, 1, ACK, b"x");
    }
    assert!(rig.payloads().iter().all(|p| p.len == 0));
    assert_eq!(rig.tcp.info().recoveries, 0);
}

#[test]
fn duplicates_of_small_segments_never_count_for_more_than_is_in_flight() {
    // Each duplicate counts as a full segment, whatever it answers; each partial acknowledgment here
    // covers 10 bytes. The invariants checked with every call do the rest.
    let mut rig = Rig::established(plain());
    rig.tcp.set_nodelay(true);
    for _ in 0..300 {
        rig.send(10);
        rig.out();
    }
    for _ in 0..20 {
        rig.recv(1, 1, ACK, b"");
        rig.out();
    }
    assert_eq!(rig.tcp.info().recoveries, 1);
    for i in 1..250 {
        rig.recv(1, 1 + 10 * i, ACK, b"");
        rig.out();
    }
    assert_eq!(rig.tcp.info().recoveries, 1);
}

#[test]
fn sack_resends_all_holes_and_nothing_else() {
    let mut rig = ten(Rig::established(with_sack()));
    // Segments 1, 3 and 5 are lost.
    rig.recv_sack(1, &[(1_001, 2_001)]);
    rig.recv_sack(1, &[(3_001, 4_001), (1_001, 2_001)]);
    assert_eq!(rig.tcp.info().recoveries, 0);
    rig.recv_sack(1, &[(5_001, 10_001), (3_001, 4_001), (1_001, 2_001)]);
    let info = rig.tcp.info();
    assert_eq!((info.recoveries, info.sacked), (1, 7_000));
    assert_eq!(rig.payloads(), [(1, 1_000), (2_001, 1_000), (4_001, 1_000)]);
    rig.recv_sack(2_001, &[(5_001, 10_001), (3_001, 4_001)]);
    assert!(rig.payloads().is_empty());
    rig.recv(1, 10_001, ACK, b"");
    assert!(rig.payloads().is_empty());
    assert_eq!(rig.tcp.info().retransmits, 3);
    assert_eq!(rig.tcp.unacked(), 0);
}

#[test]
fn a_hole_is_resent_as_one_super_segment() {
    let mut rig = ten(Rig::established(with_sack()));
    rig.max_payload = 65_000;
    rig.recv_sack(1, &[(4_001, 10_001)]);
    let sent = rig.payloads();
    assert_eq!(sent, [(1, 4_000)], "one gap, one super-segment");
}

#[test]
fn a_lost_retransmission_is_found_by_what_was_sent_after_it() {
    let mut rig = ten(Rig::established(with_sack()));
    rig.send(10_000);
    rig.recv_sack(1, &[(1_001, 10_001)]);
    let sent = rig.payloads();
    assert_eq!(sent[0], (1, 1_000));
    assert!(sent.len() >= 4, "new data follows: {sent:?}");
    let end = sent.last().map(|p| p.seq + 1_000).expect("sent");
    rig.recv_sack(1, &[(1_001, end)]);
    assert_eq!(rig.payloads()[0], (1, 1_000), "again");
    assert_eq!(rig.tcp.info().timeouts, 0);
}

#[test]
fn the_last_segment_of_a_flight_is_rescued() {
    let mut rig = ten(Rig::established(with_sack()));
    // 1 and 10 are lost: only one of them can be known to be.
    rig.recv_sack(1, &[(1_001, 9_001)]);
    assert_eq!(rig.payloads(), [(1, 1_000), (9_001, 1_000)]);
    assert!(rig.payloads().is_empty(), "once");
}

#[test]
fn a_timeout_resends_in_slow_start_and_spares_what_was_sacked() {
    let mut rig = ten(Rig::established(without_rack()));
    rig.recv_sack(1, &[(3_001, 4_001)]);
    let sent = rig.pass(250);
    assert_eq!((sent[0].at_millis, sent[0].seq), (210, 1));
    let info = rig.tcp.info();
    assert_eq!((info.timeouts, info.cwnd), (1, 1_000));
    rig.recv_sack(1_001, &[(3_001, 4_001)]);
    assert_eq!(rig.payloads(), [(1_001, 1_000), (2_001, 1_000)]);
    rig.recv(1, 4_001, ACK, b"");
    let sent = rig.payloads();
    assert_eq!(sent[0], (4_001, 1_000));
    assert!(sent.len() >= 3, "it doubles: {sent:?}");
}

#[test]
fn a_peer_that_reneges_is_not_believed_twice() {
    let mut rig = ten(Rig::established(with_sack()));
    rig.recv_sack(1, &[(1_001, 10_001)]);
    assert_eq!(rig.payloads(), [(1, 1_000)]);
    // It has forgotten everything but the first segment.
    rig.recv(1, 1_001, ACK, b"");
    let sent = rig.pass(2_000);
    let resent: usize = sent.iter().map(|s| s.len).sum();
    assert!(resent > 0);
    let mut acked = 1_001;
    for _ in 0..30 {
        acked = (acked + 1_000).min(10_001);
        rig.recv(1, acked, ACK, b"");
        rig.pass(10);
    }
    assert_eq!(rig.tcp.unacked(), 0);
}

#[test]
fn nonsense_blocks_are_ignored() {
    let mut rig = ten(Rig::established(with_sack()));
    rig.recv_sack(1, &[(20_001, 30_001)]);
    rig.recv_sack(1, &[(5_001, 4_001)]);
    rig.recv_sack(1, &[(1, 3_001)]);
    rig.recv_sack(1, &[(9_001, 10_002)]);
    rig.recv_sack(1, &[(1 << 31, 0u32.wrapping_sub(15))]);
    rig.recv_sack(1, &[((1 << 31) - 10, 10_001)]);
    assert_eq!(rig.tcp.info().sacked, 0);
    assert_eq!(rig.tcp.info().recoveries, 0);
}

#[test]
fn what_arrives_twice_is_reported() {
    let mut rig = Rig::established(with_sack());
    let block = |n: u32| super::rig::theirs(n).0;
    rig.recv(1, 1, ACK, b"abc");
    rig.recv(1, 1, ACK, b"abc");
    let out = rig.out();
    assert_eq!(
        out[0].options.sack.as_slice(),
        [(block(1), block(4))],
        "RFC 2883"
    );
    rig.recv(10, 1, ACK, b"xyz");
    let out = rig.out();
    assert_eq!(out[0].options.sack.as_slice(), [(block(10), block(13))]);
    rig.recv(10, 1, ACK, b"xyz");
    let out = rig.out();
    assert_eq!(
        out[0].options.sack.as_slice(),
        [(block(10), block(13)), (block(10), block(13))]
    );
}

#[test]
fn rfc2883_4_2_the_first_part_that_arrives_twice_is_reported() {
    let mut rig = Rig::established(with_sack());
    let at = |n: u32| super::rig::theirs(n).0;
    let block = |left: u32, right: u32| (at(left), at(right));
    rig.recv(101, 1, ACK, &[b'a'; 100]);
    rig.recv(301, 1, ACK, &[b'a'; 100]);
    rig.out();
    // Ahead of the gap: it covers one range, and touches nothing else.
    rig.recv(251, 1, ACK, &[b'a'; 100]);
    let out = rig.out();
    assert_eq!(
        out[0].options.sack.as_slice(),
        [block(301, 351), block(251, 401), block(101, 201)]
    );
    // Parts of two ranges: only the first one is reported.
    rig.recv(151, 1, ACK, &[b'a'; 150]);
    let out = rig.out();
    assert_eq!(
        out[0].options.sack.as_slice(),
        [block(151, 201), block(101, 401)]
    );
    // It closes the gap.
    rig.recv(1, 1, ACK, &[b'a'; 150]);
    let out = rig.out();
    assert_eq!(out[0].ack, super::rig::theirs(401));
    assert_eq!(out[0].options.sack.as_slice(), [block(101, 151)]);
    // What arrives below RCV.NXT is the first duplicate, whatever follows it.
    rig.recv(501, 1, ACK, &[b'a'; 100]);
    rig.out();
    rig.recv(351, 1, ACK, &[b'a'; 200]);
    let out = rig.out();
    assert_eq!(out[0].options.sack.as_slice(), [block(351, 401)]);
}

#[test]
fn reordering_that_was_taken_for_loss_widens_the_window() {
    let mut rig = ten(Rig::established(with_sack()));
    rig.now = rig.now + Duration::from_millis(10);
    rig.recv_sack(1, &[(1_001, 4_001)]);
    assert_eq!(rig.payloads()[0], (1, 1_000));
    // The original arrives, then the retransmission: a duplicate.
    rig.recv_sack(4_001, &[]);
    rig.recv_sack(4_001, &[(1, 1_001)]);
    rig.recv(1, 10_001, ACK, b"");
    rig.send(10_000);
    rig.max_payload = 1_000;
    rig.out();
    rig.now = rig.now + Duration::from_millis(10);
    // The same pattern is not taken for loss again: time decides.
    rig.recv_sack(10_001, &[(11_001, 14_001)]);
    rig.recv_sack(10_001, &[(11_001, 17_001)]);
    rig.pass(4);
    assert_eq!(rig.tcp.info().recoveries, 1);
    rig.pass(3);
    assert_eq!(rig.tcp.info().recoveries, 2);
}

#[test]
fn rfc6298_3_a_sack_gives_a_round_trip_sample_once_a_round_trip() {
    let mut rig = ten(Rig::established(with_sack()));
    let before = rig.tcp.info().srtt;
    rig.now = rig.now + Duration::from_millis(50);
    rig.recv_sack(1, &[(1_001, 2_001)]);
    let sampled = rig.tcp.info().srtt;
    assert_eq!(sampled, before + Duration::from_millis(5));
    rig.now = rig.now + Duration::from_millis(5);
    rig.recv_sack(1, &[(1_001, 3_001)]);
    assert_eq!(rig.tcp.info().srtt, sampled);
}

#[test]
fn the_window_after_idle_is_the_initial_one() {
    let mut rig = Rig::established(plain());
    rig.max_payload = 1_000;
    for i in 0..6u32 {
        rig.send(10_000);
        rig.out();
        rig.pass(5);
        rig.recv(1, 1 + 10_000 * (i + 1), ACK, b"");
    }
    let grown = rig.tcp.info().cwnd;
    assert!(grown > 10_000, "{grown}");
    rig.pass(10_000);
    rig.send(30_000);
    let first: usize = rig.payloads().iter().map(|p| p.len).sum();
    assert_eq!(first, 10_000);
}

#[test]
fn the_congestion_window_is_no_bottleneck_without_loss() {
    // One ACK per flight: slow start must double all the same.
    let mut rig = Rig::established(plain());
    rig.window = 65_535;
    let mut acked = 1u32;
    let mut flights = Vec::new();
    for _ in 0..4 {
        rig.send(200_000);
        let flight: usize = rig.payloads().iter().map(|p| p.len).sum();
        flights.push(flight);
        acked += flight as u32;
        rig.pass(1);
        rig.recv(1, acked, ACK, b"");
    }
    assert_eq!(flights, [10_000, 20_000, 40_000, 65_000]);
}

fn stamped() -> crate::base::TcpConfig {
    crate::base::TcpConfig {
        timestamps: true,
        ..without_rack()
    }
}

/// An acknowledgment that echoes the time `millis` ago.
fn ack_of_old(rig: &mut Rig, ack: u32, millis: u32) {
    let mut seg = rig.segment(1, ack, ACK, b"");
    if let Some(ts) = &mut seg.options.timestamps {
        ts.ecr = ts.ecr.wrapping_sub(millis);
    }
    rig.give(seg);
}

#[test]
fn a_needless_timeout_is_taken_back() {
    let mut rig = ten(Rig::established(stamped()));
    let before = rig.tcp.info();
    let sent = rig.pass(250);
    assert_eq!((sent[0].at_millis, sent[0].seq), (210, 1));
    assert_eq!(rig.tcp.info().cwnd, u32::from(before.mss));
    // The original had only been slow.
    ack_of_old(&mut rig, 989, 250);
    let info = rig.tcp.info();
    assert_eq!((info.undone, info.ssthresh), (1, before.ssthresh));
    assert!(info.cwnd >= before.cwnd);
    assert!(rig.payloads().is_empty(), "nothing else is sent again");
}

#[test]
fn a_needed_timeout_is_not() {
    let mut rig = ten(Rig::established(stamped()));
    rig.pass(250);
    ack_of_old(&mut rig, 989, 0);
    let info = rig.tcp.info();
    assert_eq!(info.undone, 0);
    assert!(info.ssthresh < 10_000);
    assert!(!rig.payloads().is_empty());
    // And only the first acknowledgment counts.
    ack_of_old(&mut rig, 1_977, 250);
    assert_eq!(rig.tcp.info().undone, 0);
}

// The retransmission timer (RFC 6298)

#[test]
fn the_timer_is_restarted_when_the_head_is_sent_again() {
    let mut rig = Rig::established(without_rack());
    rig.send(8_000);
    rig.out();
    // The loss is found just before the timer expires.
    rig.now = rig.now + Duration::from_millis(200);
    rig.recv_sack(1, &[(1_001, 5_001)]);
    assert_eq!(rig.payloads()[0], (1, 1_000));
    assert!(rig.pass(150).is_empty(), "the resent head has its own time");
    assert_eq!(rig.tcp.info().timeouts, 0);
    rig.recv_sack(8_001, &[]);
    assert_eq!(rig.tcp.info().in_flight, 0);
}

#[test]
fn one_late_acknowledgment_on_a_steady_long_path_is_no_timeout() {
    let mut rig = Rig::established(plain());
    let mut next = 1;
    for delay in [200; 12].into_iter().chain([300]) {
        rig.send(1_000);
        assert_eq!(
            rig.pass(delay).len(),
            1,
            "no retransmission within {delay} ms"
        );
        next += 1_000;
        rig.recv(1, next, ACK, b"");
    }
    assert_eq!(rig.tcp.info().timeouts, 0);
}

// Marks of earlier recoveries, when half of the sequence space has gone by

/// Takes an acknowledgment without SACK.
fn acknowledge(flight: &mut Inflight, ack: SeqNum, bare: bool) -> Progress {
    let input = Ack {
        ack,
        blocks: &[],
        bare,
        echoed_millis: None,
        path: PathView {
            mss: 1_000,
            ..PathView::default()
        },
    };
    flight.on_ack(&input, &mut Instant::ZERO.into())
}

/// Sends and acknowledges 3 GiB.
fn three_gib(flight: &mut Inflight) {
    for _ in 0..6 {
        flight.on_sent(1 << 29, Instant::ZERO);
        let end = flight.nxt();
        acknowledge(flight, end, false);
    }
}

#[test]
fn fast_retransmit_without_sack_works_after_two_gib() {
    let mut flight = Inflight::new(SeqNum(7), false);
    three_gib(&mut flight);
    flight.on_sent(10_000, Instant::ZERO);
    let una = flight.una();
    let mut entered = false;
    for _ in 0..3 {
        let progress = acknowledge(&mut flight, una, true);
        entered |= progress.entered_recovery;
    }
    assert!(entered);
}

#[test]
fn the_mark_of_the_nagle_algorithm_follows_what_is_acknowledged() {
    let mut rig = Rig::established(plain());
    rig.send(10);
    rig.out();
    rig.recv(1, 11, ACK, b"");
    for round in 0..5 {
        rig.send(1_000);
        rig.out();
        rig.recv(1, 1_011 + 1_000 * round, ACK, b"");
        let tcb = rig.tcp.tcb().expect("open");
        assert_eq!(tcb.small_end, tcb.flight.una());
    }
}

#[test]
fn the_last_segment_is_rescued_although_the_window_holds_more_back() {
    let mut rig = Rig::established(with_sack());
    rig.max_payload = 1_000;
    rig.window = 10_000;
    rig.recv(1, 1, ACK, b"");
    rig.send(15_000);
    assert_eq!(rig.payloads().len(), 10);
    rig.recv_sack(1, &[(1_001, 9_001)]);
    assert_eq!(rig.payloads(), [(1, 1_000), (9_001, 1_000)]);
}
