//! The retransmission timer (RFC 6298), on the millisecond.

use core::time::Duration;

use super::rig::{ACK, Rig, plain};
use crate::tcp::TcpError;

#[test]
fn retransmissions_back_off_and_give_up() {
    let mut cfg = plain();
    cfg.data_retries = 5;
    let mut rig = Rig::established(cfg);
    rig.send(100);
    let sent = rig.pass(100_000);
    let at: Vec<u64> = sent.iter().map(|s| s.at_millis).collect();
    assert_eq!(at, [0, 210, 630, 1_470, 3_150, 6_510]);
    assert!(sent.iter().all(|s| (s.seq, s.len) == (1, 100)));
    assert_eq!(rig.tcp.error(), Some(TcpError::TimedOut));
    assert!(rig.tcp.is_gone());
    assert_eq!(rig.buffers.small().in_use(), 0);
}

#[test]
fn karn_keeps_the_backoff_until_a_clean_sample() {
    let mut rig = Rig::established(plain());
    rig.send(100);
    rig.pass(250);
    assert_eq!(rig.tcp.info().rto, Duration::from_millis(420));
    rig.recv(1, 101, ACK, b"");
    assert_eq!(rig.tcp.info().rto, Duration::from_millis(420));
    rig.send(100);
    rig.out();
    rig.pass(10);
    rig.recv(1, 201, ACK, b"");
    assert_eq!(rig.tcp.info().rto, Duration::from_millis(210));
}

#[test]
fn an_echoed_timestamp_is_a_clean_sample() {
    let mut cfg = plain();
    cfg.timestamps = true;
    let mut rig = Rig::established(cfg);
    rig.send(100);
    rig.pass(250);
    assert_eq!(rig.tcp.info().rto, Duration::from_millis(420));
    // `recv` echoes the current time: as if the retransmission had come back at once.
    rig.recv(1, 101, ACK, b"");
    let info = rig.tcp.info();
    assert_eq!(info.rto, Duration::from_millis(200) + info.srtt);
}

#[test]
fn a_lost_syn_makes_the_first_timeout_long() {
    let mut rig = Rig::syn_sent(plain());
    rig.pass(1_500);
    let mut syn_ack = rig.segment(0, 1, super::rig::SYN | ACK, b"");
    syn_ack.options = super::rig::syn_options(None);
    rig.give(syn_ack);
    assert!(rig.tcp.info().rto >= Duration::from_secs(3));
    assert_eq!(rig.tcp.info().cwnd, 1_000, "one segment (RFC 5681)");
}
