//! When acknowledgments leave (RFC 9293 section 3.8.6.3, RFC 5681 section 4.2), and what they report.

use super::rig::{ACK, FIN, Rig, SYN, ours, plain, theirs, with_sack};
use crate::base::TcpConfig;
use crate::tcp::{Readiness, State};

fn quick(quick_acks: u8) -> TcpConfig {
    TcpConfig {
        quick_acks,
        ..plain()
    }
}

#[test]
fn the_first_segments_are_acknowledged_at_once_and_then_every_second_one() {
    let mut rig = Rig::established(quick(4));
    let mut acks = Vec::new();
    for i in 0..12 {
        rig.recv(1 + 1_000 * i, 1, ACK, &[7; 1_000]);
        acks.push(rig.out().len());
        rig.pass(1);
    }
    assert_eq!(acks, [1, 1, 1, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
}

#[test]
fn after_a_pause_the_first_segments_are_acknowledged_at_once_again() {
    let mut rig = Rig::established(quick(1));
    rig.recv(1, 1, ACK, &[7; 1_000]);
    assert_eq!(rig.out().len(), 1);
    rig.recv(1_001, 1, ACK, &[7; 1_000]);
    assert!(rig.out().is_empty());
    rig.pass(2_000);
    rig.recv(2_001, 1, ACK, &[7; 1_000]);
    assert_eq!(rig.out().len(), 1);
}

#[test]
fn an_application_that_replies_saves_the_acknowledgments() {
    let mut rig = Rig::established(quick(16));
    rig.recv(1, 1, ACK, b"one");
    assert_eq!(rig.out().len(), 1, "not known yet");
    rig.send(100);
    assert_eq!(rig.payloads(), [(1, 100)]);
    rig.recv(4, 101, ACK, b"two");
    assert!(rig.out().is_empty(), "the reply will carry it");
    rig.send(100);
    assert_eq!(rig.out()[0].ack, theirs(7));
    // Once no reply came in time, it counts no more.
    rig.recv(7, 201, ACK, b"three");
    assert_eq!(rig.pass(100).len(), 1);
    rig.recv(12, 201, ACK, b"four");
    assert_eq!(rig.out().len(), 1);
}

#[test]
fn the_delay_is_40_ms_at_most_and_shorter_for_a_quick_sender() {
    let mut rig = Rig::established(plain());
    // Keystrokes of a sender whose segments come every 6 ms.
    rig.recv(1, 1, ACK, &[7; 1_000]);
    let mut next = 1_001;
    for _ in 0..40 {
        rig.pass(6);
        rig.recv(next, 1, ACK, b"x");
        next += 1;
    }
    rig.out();
    rig.recv(next, 1, ACK, b"x");
    let sent = rig.pass(100);
    assert!(!sent.is_empty());
    assert!(sent[0].at_millis <= 12, "{sent:?}");
}

#[test]
fn duplicates_of_one_turn_are_each_reported() {
    let mut rig = Rig::established(with_sack());
    rig.recv(1, 1, ACK, &[7; 6_000]);
    rig.out();
    // Two that continue each other, and one apart.
    rig.recv(1, 1, ACK, &[7; 1_000]);
    rig.recv(1_001, 1, ACK, &[7; 1_000]);
    rig.recv(4_001, 1, ACK, &[7; 1_000]);
    let reports: Vec<_> = rig
        .out()
        .iter()
        .map(|seg| seg.options.sack.as_slice().to_vec())
        .collect();
    let block = |from: u32, to: u32| vec![(theirs(from).0, theirs(to).0)];
    assert_eq!(reports, [block(1, 2_001), block(4_001, 5_001)]);
}

#[test]
fn payload_and_fin_of_a_syn_ack_are_taken() {
    let mut rig = Rig::syn_sent(plain());
    let mut seg = rig.segment(0, 1, SYN | ACK | FIN, b"hello");
    seg.options = super::rig::syn_options(None);
    let outcome = rig.give(seg);
    let expected = Readiness::ESTABLISHED | Readiness::READABLE | Readiness::PEER_CLOSED;
    assert!(outcome.readiness.contains(expected));
    assert_eq!(rig.tcp.state(), State::CloseWait);
    assert_eq!(rig.one(), (1, 7, ACK));
    assert_eq!(rig.read_all(), b"hello");
}

#[test]
fn echoes_are_samples_however_long_ago_the_last_recovery_was() {
    let mut rig = Rig::established(TcpConfig {
        timestamps: true,
        ..plain()
    });
    rig.send(100);
    rig.pass(300);
    rig.recv(1, 101, ACK, b"");
    // Both clocks went half around since the timeout.
    let days = 25 * 24 * 3_600;
    rig.now = rig.now + core::time::Duration::from_secs(days);
    let before = rig.tcp.info().srtt;
    // The segment is lost, and its retransmission arrives: only the echo can be a sample.
    rig.send(100);
    rig.pass(1_500);
    rig.recv(1, 201, ACK, b"");
    assert_eq!(rig.tcp.unacked(), 0);
    assert_ne!(rig.tcp.info().srtt, before);
    assert_eq!(ours(201) - ours(1), 200);
}

// Delayed acknowledgments (RFC 9293 section 3.8.6.3)

#[test]
fn one_segment_waits_for_the_timer_two_do_not() {
    let mut rig = Rig::established(plain());
    rig.recv(1, 1, ACK, b"one");
    let sent = rig.pass(1_000);
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].at_millis, sent[0].flags), (40, ACK));
    rig.recv(4, 1, ACK, b"two");
    assert!(rig.out().is_empty());
    rig.recv(7, 1, ACK, b"three");
    assert_eq!(rig.one(), (1, 12, ACK));
    assert_eq!(rig.pass(1_000).len(), 0);
}

#[test]
fn a_super_segment_is_acknowledged_at_once() {
    let mut rig = Rig::established(plain());
    let mut seg = rig.segment(1, 1, ACK, &[5; 20_000]);
    seg.gso_size = 1_000;
    let outcome = rig.give(seg);
    assert!(outcome.readiness.contains(Readiness::READABLE));
    assert!(rig.tcp.wants_transmit());
    assert_eq!(rig.one(), (1, 20_001, ACK));
}

#[test]
fn a_reply_carries_the_acknowledgment() {
    let mut rig = Rig::established(plain());
    rig.recv(1, 1, ACK, b"ping");
    rig.send(4);
    let out = rig.out();
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].ack, theirs(5));
    assert!(rig.pass(199).is_empty(), "nothing more is owed");
}
