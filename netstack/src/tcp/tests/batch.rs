//! Many segments in one turn: the rules of the RFCs are written for one at a time, and must come out as
//! if nothing had been batched.

use super::rig::{ACK, Rig, plain, theirs, with_sack};
use crate::tcp::SegmentOut;

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

/// Returns the SACK blocks of a segment, relative to the peer's SYN.
fn blocks(seg: &SegmentOut) -> Vec<(u32, u32)> {
    let sack = seg.options.sack.as_slice().iter();
    sack.map(|&(l, r)| (l.wrapping_sub(theirs(0).0), r.wrapping_sub(theirs(0).0)))
        .collect()
}

#[test]
fn each_segment_out_of_order_has_its_acknowledgment_and_is_reported() {
    let mut rig = Rig::established(with_sack());
    rig.send(500);
    for i in 1..=8 {
        rig.recv(1 + 200 * i, 1, ACK, &[7; 100]);
    }
    let out = rig.out();
    let (acks, data) = out.split_at(8);
    for (i, ack) in acks.iter().enumerate() {
        let start = 201 + 200 * i as u32;
        assert_eq!((ack.payload.len_bytes(), ack.ack), (0, theirs(1)));
        assert_eq!(
            blocks(ack)[0],
            (start, start + 100),
            "its own range comes first"
        );
    }
    assert_eq!(data.len(), 1, "then what there is to send");
    assert_eq!(data[0].payload.len_bytes(), 500);
}

#[test]
fn segments_of_one_run_out_of_order_are_acknowledged_one_by_one() {
    let mut rig = Rig::established(with_sack());
    for i in 1..=8 {
        rig.recv(1 + 100 * i, 1, ACK, &[7; 100]);
    }
    let out = rig.out();
    assert_eq!(out.len(), 8);
    assert!(out.iter().all(|seg| blocks(seg) == [(101, 901)]));
}

#[test]
fn rfc2018_4_the_first_block_of_each_has_its_segment_whatever_else_waits() {
    let mut rig = Rig::established(with_sack());
    rig.recv(5_001, 1, ACK, &[7; 100]);
    rig.recv(6_001, 1, ACK, &[7; 100]);
    assert_eq!(rig.out().len(), 2);
    for i in 1..=8 {
        rig.recv(1 + 100 * i, 1, ACK, &[7; 100]);
    }
    let out = rig.out();
    assert_eq!(out.len(), 8);
    let expected = [(101, 901), (6_001, 6_101), (5_001, 5_101)];
    assert!(out.iter().all(|seg| blocks(seg) == expected));
}

#[test]
fn rfc2018_4_ranges_that_grow_in_turns_are_each_named_by_their_own_segments() {
    let mut rig = Rig::established(with_sack());
    for i in 0..4 {
        rig.recv(101 + 100 * i, 1, ACK, &[7; 100]);
        rig.recv(5_001 + 100 * i, 1, ACK, &[7; 100]);
    }
    let out = rig.out();
    assert_eq!(out.len(), 8);
    let [a, b] = [(101, 501), (5_001, 5_401)];
    for pair in out.chunks(2) {
        assert_eq!(blocks(&pair[0])[0], a);
        assert_eq!(blocks(&pair[1]), [b, a]);
    }
}

#[test]
fn a_gap_that_closes_in_the_same_turn_leaves_no_duplicates() {
    for cfg in [plain(), with_sack()] {
        let mut rig = Rig::established(cfg);
        rig.recv(101, 1, ACK, &[7; 100]);
        rig.recv(201, 1, ACK, &[7; 100]);
        rig.recv(1, 1, ACK, &[7; 100]);
        assert_eq!(rig.one(), (1, 301, ACK));
    }
}

#[test]
fn without_sack_the_sender_gets_a_duplicate_for_each_wire_segment() {
    let mut rig = Rig::established(plain());
    let mut seg = rig.segment(1_001, 1, ACK, &[7; 4_000]);
    seg.gso_size = 1_000;
    rig.give(seg);
    let out = rig.out();
    assert_eq!(out.len(), 4);
    assert!(out.iter().all(|seg| seg.ack == theirs(1)));
}

#[test]
fn a_segment_that_is_longer_than_ours_may_be_has_one_duplicate() {
    let mut rig = Rig::established(plain());
    rig.recv(1_001, 1, ACK, &[7; 4_000]);
    assert_eq!(rig.one(), (1, 1, ACK));
    assert!(rig.out().is_empty());
}

#[test]
fn a_duplicate_is_reported_once_however_long_the_next_segment_is() {
    let mut rig = Rig::established(with_sack());
    rig.recv(1, 1, ACK, &[7; 100]);
    rig.out();
    rig.send(9_000);
    rig.recv(1, 1, ACK, &[7; 100]);
    let out = rig.out();
    assert_eq!(out.len(), 2);
    assert_eq!(
        (out[0].payload.len_bytes(), blocks(&out[0])),
        (0, vec![(1, 101)])
    );
    assert_eq!(
        (out[1].payload.len_bytes(), blocks(&out[1])),
        (9_000, vec![])
    );
}
