//! Flow control: small segments, silly windows and closed windows, on the millisecond.

use core::time::Duration;

use super::rig::{ACK, FIN, Rig, plain, theirs};
use crate::tcp::{State, TcpError};

// Nagle (RFC 9293 section 3.7.4)

#[test]
fn nagle_holds_a_second_small_segment() {
    let mut rig = Rig::established(plain());
    rig.send(10);
    assert_eq!(rig.payloads(), [(1, 10)]);
    rig.send(10);
    rig.send(10);
    assert!(rig.payloads().is_empty());
    rig.recv(1, 11, ACK, b"");
    assert_eq!(rig.payloads(), [(11, 20)]);
}

#[test]
fn nagle_lets_a_tail_follow_full_segments() {
    let mut rig = Rig::established(plain());
    rig.send(2_500);
    assert_eq!(rig.payloads(), [(1, 2_500)], "no small segment is out");
    rig.send(100);
    assert!(rig.payloads().is_empty());
    rig.send(2_000);
    assert_eq!(rig.payloads(), [(2_501, 2_000)], "only whole ones");
    rig.recv(1, 2_501, ACK, b"");
    assert_eq!(rig.payloads(), [(4_501, 100)]);
}

#[test]
fn nodelay_sends_every_small_segment() {
    let mut rig = Rig::established(plain());
    rig.tcp.set_nodelay(true);
    assert!(rig.tcp.nodelay());
    for i in 0..5 {
        rig.send(10);
        assert_eq!(rig.payloads(), [(1 + 10 * i, 10)]);
    }
}

// Silly windows (RFC 9293 section 3.8.6.2)

#[test]
fn a_silly_window_is_not_used_until_the_override() {
    let mut rig = Rig::established(plain());
    rig.tcp.set_nodelay(true);
    rig.window = 100;
    rig.recv(1, 1, ACK, b"");
    rig.send(5_000);
    assert!(rig.payloads().is_empty(), "100 of 60,000 is silly");
    let sent = rig.pass(250);
    assert_eq!(sent.len(), 1, "but after a while it is better than nothing");
    assert_eq!((sent[0].at_millis, sent[0].seq, sent[0].len), (210, 1, 100));
}

#[test]
fn half_of_the_largest_window_is_not_silly() {
    let mut rig = Rig::syn_sent(plain());
    rig.window = 400;
    let mut syn_ack = rig.segment(0, 1, super::rig::SYN | ACK, b"");
    syn_ack.options = super::rig::syn_options(None);
    rig.give(syn_ack);
    rig.out();
    rig.send(5_000);
    assert_eq!(rig.payloads(), [(1, 400)]);
    rig.window = 200;
    rig.recv(1, 401, ACK, b"");
    assert_eq!(rig.payloads(), [(401, 200)]);
}

#[test]
fn the_window_opens_by_worthwhile_steps() {
    let mut cfg = plain();
    cfg.recv_buffer_initial = 8_000;
    cfg.recv_buffer_max = 8_000;
    let mut rig = Rig::established(cfg);
    rig.recv(1, 1, ACK, &[1; 8_000]);
    let out = rig.out();
    assert_eq!(out[0].window, 0);
    rig.tcp.recv_consume(500, rig.now);
    assert!(!rig.tcp.wants_transmit());
    assert!(rig.out().is_empty());
    rig.tcp.recv_consume(500, rig.now);
    assert!(rig.tcp.wants_transmit());
    let out = rig.out();
    assert_eq!((out[0].window, out[0].ack), (1_000, theirs(8_001)));
    // Once the window is open, further news wait for a quarter of the buffer.
    rig.tcp.recv_consume(1_000, rig.now);
    assert_eq!(
        rig.out()[0].window,
        2_000,
        "one segment is still nearly closed"
    );
    rig.tcp.recv_consume(1_000, rig.now);
    assert!(rig.out().is_empty());
    rig.tcp.recv_consume(1_000, rig.now);
    assert_eq!(rig.out()[0].window, 4_000);
}

// Zero windows (RFC 9293 section 3.8.6.1)

#[test]
fn a_closed_window_is_probed_for_as_long_as_the_peer_answers() {
    let mut cfg = plain();
    cfg.data_retries = 4;
    let mut rig = Rig::established(cfg);
    rig.window = 0;
    rig.recv(1, 1, ACK, b"");
    rig.send(500);
    assert!(rig.out().is_empty());
    let mut last = rig.now;
    let mut gaps = Vec::new();
    for _ in 0..30 {
        let at = rig.tcp.poll_timeout().expect("the persist timer");
        gaps.push(at.saturating_since(last).as_millis());
        last = at;
        rig.now = at;
        assert!(rig.payloads().is_empty(), "the timer has not fired yet");
        rig.tcp.on_timeout(at);
        assert!(rig.tcp.wants_transmit());
        assert_eq!(rig.payloads(), [(1, 1)], "one octet");
        rig.recv(1, 1, ACK, b"");
        assert!(rig.payloads().is_empty());
    }
    assert_eq!(&gaps[..4], [210, 420, 840, 1_680]);
    assert_eq!(*gaps.last().expect("gaps"), 120_000);
    assert_eq!(rig.tcp.error(), None);
    // The window opens: everything goes, the probed octet too, and quickly.
    rig.window = 60_000;
    rig.recv(1, 1, ACK, b"");
    assert_eq!(rig.payloads(), [(1, 500)]);
    assert_eq!(rig.tcp.info().rto, Duration::from_millis(210));
}

#[test]
fn a_probe_may_be_accepted() {
    let mut rig = Rig::established(plain());
    rig.window = 0;
    rig.recv(1, 1, ACK, b"");
    rig.send(500);
    let sent = rig.pass(250);
    assert_eq!((sent[0].seq, sent[0].len), (1, 1));
    rig.window = 1_000;
    rig.recv(1, 2, ACK, b"");
    assert_eq!(rig.tcp.unacked(), 499);
    assert_eq!(rig.payloads(), [(2, 499)]);
}

#[test]
fn probes_that_nobody_answers_end_the_connection() {
    let mut cfg = plain();
    cfg.data_retries = 3;
    let mut rig = Rig::established(cfg);
    rig.window = 0;
    rig.recv(1, 1, ACK, b"");
    rig.send(500);
    let sent = rig.pass(60_000);
    assert_eq!(sent.len(), 3);
    assert_eq!(rig.tcp.error(), Some(TcpError::TimedOut));
}

#[test]
fn a_closed_window_does_not_hold_an_orphan_forever() {
    let mut rig = Rig::established(plain());
    rig.window = 0;
    rig.recv(1, 1, ACK, b"");
    rig.send(500);
    rig.tcp.close(rig.now);
    rig.tcp.close_recv(rig.now);
    assert!(rig.out().is_empty());
    for _ in 0..100 {
        let Some(at) = rig.tcp.poll_timeout() else {
            break;
        };
        rig.now = at;
        rig.tcp.on_timeout(at);
        rig.out();
        rig.recv(1, 1, ACK, b"");
    }
    assert!(rig.tcp.is_gone(), "{:?}", rig.tcp.info());
}

#[test]
fn a_fin_waits_for_the_window_too() {
    let mut rig = Rig::established(plain());
    rig.window = 0;
    rig.recv(1, 1, ACK, b"");
    rig.tcp.close(rig.now);
    assert!(rig.out().is_empty());
    let sent = rig.pass(250);
    assert!(sent[0].flags.contains(FIN));
    rig.recv(1, 2, ACK, b"");
    assert_eq!(rig.tcp.state(), State::FinWait2);
}
