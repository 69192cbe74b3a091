//! Segments at the edges of a window, and what counts as a sign of life.

use core::time::Duration;

use super::rig::{ACK, RST, Rig, ours, plain};
use crate::base::{DropReason, TcpConfig};
use crate::tcp::{IcmpError, TcpError, Unreachable};

#[test]
fn a_bare_ack_at_the_edge_of_a_full_window_is_taken() {
    let mut cfg = plain();
    cfg.recv_buffer_initial = 4_000;
    cfg.recv_buffer_max = 4_000;
    let mut rig = Rig::established(cfg);
    rig.send(500);
    rig.out();
    // The peer sent 4,000 bytes, which fill the window, and the first of them were lost.
    rig.recv(2_001, 1, ACK, &[7; 2_000]);
    rig.out();
    assert_eq!(rig.recv(4_001, 501, ACK, b"").drop, None);
    assert_eq!(rig.tcp.unacked(), 0);
    let outcome = rig.recv(4_002, 501, ACK, b"");
    assert_eq!(outcome.drop, Some(DropReason::TcpNotAcceptable));
}

#[test]
fn an_ack_of_what_was_never_sent_is_no_sign_of_life() {
    let mut rig = Rig::established(TcpConfig {
        keepalive_idle: Some(Duration::from_secs(10)),
        keepalive_interval: Duration::from_secs(2),
        keepalive_probes: 2,
        ..plain()
    });
    for _ in 0..4 {
        rig.pass(4_000);
        rig.recv(1, 9_999, ACK, b"");
    }
    assert_eq!(rig.tcp.error(), Some(TcpError::TimedOut));
}

#[test]
fn acks_lie_within_a_window_that_the_peer_took_back() {
    let mut rig = Rig::established(plain());
    rig.send(5_000);
    rig.out();
    rig.window = 1_000;
    rig.recv(1, 1_001, ACK, &[7; 1_000]);
    rig.recv(1_001, 1_001, ACK, &[7; 1_000]);
    assert_eq!(rig.one(), (2_001, 2_001, ACK), "the highest acceptable");
    rig.window = 0;
    rig.recv(2_001, 1_001, ACK, &[7; 1_000]);
    rig.recv(3_001, 1_001, ACK, &[7; 1_000]);
    assert_eq!(rig.one(), (1_001, 4_001, ACK));
    rig.abort();
    assert_eq!(rig.one(), (1_001, 4_001, RST | ACK));
}

#[test]
fn crumbs_of_window_do_not_put_the_override_off() {
    let mut rig = Rig::established(plain());
    rig.window = 0;
    rig.recv(1, 1, ACK, b"");
    rig.send(5_000);
    for window in 1..=20 {
        rig.window = window;
        rig.recv(1, 1, ACK, b"");
        let sent = rig.pass(50);
        if let Some(sent) = sent.first() {
            // RFC 9293 section 3.8.6.2.1: within 0.1 to 1 s.
            assert_eq!((window, sent.len), (5, 5));
            return;
        }
    }
    panic!("nothing was sent in a second");
}

#[test]
fn the_window_of_a_segment_that_fills_a_gap_counts() {
    let mut rig = Rig::established(plain());
    rig.send(500);
    rig.out();
    rig.recv(101, 1, ACK, &[7; 100]);
    rig.window = 30_000;
    rig.recv(1, 501, ACK, &[7; 100]);
    assert_eq!(rig.tcp.info().send_window, 30_000);
}

#[test]
fn progress_ends_what_a_soft_error_explains() {
    let mut rig = Rig::established(plain());
    rig.send(500);
    rig.out();
    let error = IcmpError::Soft(Unreachable::Host);
    rig.tcp
        .on_icmp_error(error, ours(1), rig.now)
        .expect("about what is in flight");
    rig.recv(1, 501, ACK, b"");
    rig.send(500);
    rig.pass(10_000_000);
    assert_eq!(rig.tcp.error(), Some(TcpError::TimedOut));
}
