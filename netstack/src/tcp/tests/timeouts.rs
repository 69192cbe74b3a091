//! The retransmission timer (RFC 6298), on the millisecond.

use core::time::Duration;

use packet::tcp::{TcpOptions, Timestamps};

use super::rig::{ACK, Rig, SYN, plain, syn_options, without_rack};
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
    // The second time an original is acknowledged with the retransmission.
    for len in [100, 1_100] {
        let mut rig = Rig::established(cfg.clone());
        rig.send(len);
        rig.pass(250);
        assert_eq!(rig.tcp.info().rto, Duration::from_millis(420));
        // `recv` echoes the current time: as if the retransmission had come back at once.
        rig.recv(1, 1 + len as u32, ACK, b"");
        let info = rig.tcp.info();
        assert_eq!(info.rto, Duration::from_millis(200) + info.srtt);
        assert!(info.srtt < Duration::from_millis(10));
    }
}

#[test]
fn the_answer_to_an_earlier_syn_is_not_timed() {
    let millis = Duration::from_millis;
    let mut cfg = plain();
    cfg.timestamps = true;
    for (answers_the_last, srtt, least_rto) in [(true, 80, 200), (false, 0, 3_000)] {
        let mut rig = Rig::syn_sent(cfg.clone());
        rig.pass(1_000);
        rig.now = rig.now + millis(80);
        let mut syn_ack = rig.segment(0, 1, SYN | ACK, b"");
        let ago = if answers_the_last { 80 } else { 1_080 };
        let ecr = rig.our_ts() - ago;
        syn_ack.options = TcpOptions {
            timestamps: Some(Timestamps { val: 500, ecr }),
            ..syn_options(None)
        };
        rig.give(syn_ack);
        let info = rig.tcp.info();
        assert_eq!(info.srtt, millis(srtt));
        assert!(info.rto >= millis(least_rto), "{:?}", info.rto);
        // What follows is timed as ever.
        rig.ts = Some(501);
        rig.out();
        rig.send(100);
        rig.out();
        rig.now = rig.now + millis(80);
        rig.recv(1, 101, ACK, b"");
        assert_eq!(rig.tcp.info().srtt, millis(80));
    }
}

#[test]
fn rfc4015_3_1_only_what_was_sent_after_a_spurious_timeout_is_timed() {
    let mut cfg = without_rack();
    cfg.timestamps = true;
    let mut rig = Rig::established(cfg);
    rig.send(4_000);
    rig.out();
    let before = rig.tcp.info();
    rig.pass(20_000);
    // Its acknowledgments were lost until now, but for this test all that counts is that they are old.
    for ack in [989, 1_977, 4_001] {
        let mut seg = rig.segment(1, ack, ACK, b"");
        if let Some(ts) = &mut seg.options.timestamps {
            ts.ecr = ts.ecr.wrapping_sub(20_000);
        }
        rig.give(seg);
        let info = rig.tcp.info();
        let estimate = (info.undone, info.srtt, info.rttvar);
        assert_eq!(estimate, (1, before.srtt, before.rttvar));
    }
    rig.payloads();
    rig.send(500);
    rig.out();
    rig.now = rig.now + Duration::from_millis(300);
    rig.recv(1, 4_501, ACK, b"");
    let info = rig.tcp.info();
    let millis = Duration::from_millis;
    assert_eq!((info.srtt, info.rttvar), (millis(300), millis(150)));
    assert_eq!(info.rto, millis(900), "nor is it backed off");
    // And then as ever.
    rig.send(500);
    rig.out();
    rig.now = rig.now + millis(300);
    rig.recv(1, 5_001, ACK, b"");
    let info = rig.tcp.info();
    assert_eq!((info.srtt, info.rttvar), (millis(300), millis(150) * 3 / 4));
}

#[test]
fn a_lost_syn_makes_the_first_timeout_long() {
    let mut rig = Rig::syn_sent(plain());
    rig.pass(1_500);
    let mut syn_ack = rig.segment(0, 1, SYN | ACK, b"");
    syn_ack.options = syn_options(None);
    rig.give(syn_ack);
    assert!(rig.tcp.info().rto >= Duration::from_secs(3));
    assert_eq!(rig.tcp.info().cwnd, 1_000, "one segment (RFC 5681)");
}
