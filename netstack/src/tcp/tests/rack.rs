//! Losses found by time, tail loss probes, and what makes a recovery needless: RFC 8985, 5682, 3708, 4015,
//! 3042 and 9937. Tests are named for the section.

use core::time::Duration;

use super::rig::{ACK, FIN, Rig, ours, plain, with_sack, without_rack};
use crate::base::TcpConfig;
use crate::tcp::{Algorithm, Event, LossRule, Spurious};

/// Returns a connection with a round trip of 10 ms and ten segments of 1,000 bytes in flight, sent one by one.
fn ten(cfg: TcpConfig) -> Rig {
    let mut rig = Rig::established(cfg);
    rig.max_payload = 1_000;
    rig.send(10_000);
    assert!(rig.payloads().len() >= 10);
    rig.events();
    rig
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Returns the losses since the last call.
fn losses(rig: &mut Rig) -> Vec<(u32, u32, LossRule)> {
    let lost = |event| match event {
        Event::SegmentLost { seq, len, rule } => Some((seq - ours(0), len, rule)),
        _ => None,
    };
    rig.events().into_iter().filter_map(lost).collect()
}

// RACK (RFC 8985 section 6)

#[test]
fn rfc8985_6_2_one_segment_sent_later_makes_an_earlier_one_lost() {
    let mut rig = Rig::established(with_sack());
    rig.send(1_000);
    rig.out();
    rig.now = rig.now + millis(5);
    rig.send(1_000);
    rig.out();
    rig.events();
    rig.now = rig.now + millis(10);
    rig.recv_sack(1, &[(1_001, 2_001)]);
    assert_eq!(losses(&mut rig), [(1, 1_000, LossRule::Overtaken)]);
    assert_eq!(rig.payloads(), [(1, 1_000)]);
    rig.now = rig.now + millis(10);
    rig.recv(1, 2_001, ACK, b"");
    let info = rig.tcp.info();
    assert_eq!((info.recoveries, info.timeouts), (1, 0));
}

#[test]
fn rfc8985_6_2_what_left_together_waits_for_the_reordering_window() {
    let mut rig = Rig::established(with_sack());
    rig.send(2_000);
    rig.out();
    rig.now = rig.now + millis(10);
    rig.recv_sack(1, &[(1_001, 2_001)]);
    assert!(rig.payloads().is_empty());
    // A quarter of the least round trip.
    let sent = rig.pass(5);
    assert_eq!((sent[0].at_millis, sent[0].seq, sent[0].len), (2, 1, 1_000));
    assert_eq!(rig.tcp.info().recoveries, 1);
}

#[test]
fn rfc8985_6_2_counts_are_no_evidence_on_a_path_that_reorders() {
    let mut rig = ten(with_sack());
    rig.now = rig.now + millis(10);
    rig.recv_sack(1, &[(1_001, 2_001)]);
    rig.now = rig.now + millis(1);
    // The first arrives after the second.
    rig.recv(1, 2_001, ACK, b"");
    rig.recv(1, 10_001, ACK, b"");
    rig.send(10_000);
    rig.out();
    rig.now = rig.now + millis(10);
    rig.recv_sack(10_001, &[(11_001, 20_001)]);
    assert!(rig.payloads().is_empty(), "nine segments are not enough");
    let sent = rig.pass(5);
    assert_eq!((sent[0].at_millis, sent[0].seq), (2, 10_001), "time is");
}

#[test]
fn rfc8985_6_2_a_retransmission_that_is_lost_is_found_by_what_was_sent_after_it() {
    let mut rig = ten(with_sack());
    rig.send(10_000);
    rig.now = rig.now + millis(10);
    rig.recv_sack(1, &[(1_001, 10_001)]);
    let sent = rig.payloads();
    assert_eq!(sent[0], (1, 1_000));
    assert!(sent[1].seq == 10_001, "then new data: {sent:?}");
    rig.events();
    rig.now = rig.now + millis(10);
    // One segment that was sent after the retransmission arrives.
    rig.recv_sack(1, &[(1_001, 11_001)]);
    assert_eq!(losses(&mut rig), [(1, 1_000, LossRule::RetransmissionLost)]);
    assert_eq!(rig.payloads()[0], (1, 1_000));
    assert_eq!(rig.tcp.info().timeouts, 0);
}

#[test]
fn rfc8985_6_2_an_acknowledgment_too_early_for_the_retransmission_is_that_of_the_original() {
    let mut rig = ten(with_sack());
    rig.now = rig.now + millis(10);
    rig.recv_sack(1, &[(1_001, 4_001)]);
    assert_eq!(rig.payloads()[0], (1, 1_000));
    rig.now = rig.now + millis(1);
    // The original: it says nothing of what was sent between it and the retransmission.
    rig.events();
    rig.recv(1, 4_001, ACK, b"");
    assert_eq!(losses(&mut rig), []);
}

#[test]
fn rfc8985_6_3_a_timeout_spares_what_was_sent_lately() {
    let mut rig = Rig::established(with_sack());
    rig.max_payload = 1_000;
    rig.send(1_000);
    // The probe goes after 70 ms, and the timeout comes 210 ms after it.
    assert_eq!(rig.pass(275).len(), 2);
    rig.send(5_000);
    assert_eq!(rig.payloads().len(), 5);
    rig.events();
    let sent = rig.pass(6);
    assert_eq!((sent[0].at_millis, sent[0].seq, sent[0].len), (5, 1, 1_000));
    assert_eq!(rig.tcp.info().timeouts, 1);
    assert_eq!(losses(&mut rig), [(1, 1_000, LossRule::Timeout)]);
}

// Tail loss probes (RFC 8985 section 7)

#[test]
fn rfc8985_7_3_the_last_segment_is_the_probe_if_there_is_nothing_new() {
    let mut rig = ten(with_sack());
    let sent = rig.pass(400);
    let at: Vec<(u64, u32)> = sent.iter().map(|s| (s.at_millis, s.seq)).collect();
    // Twice the round trip and 2 ms; then the retransmission timer, which the probe restarts.
    assert_eq!(at, [(22, 9_001), (232, 1)]);
}

#[test]
fn rfc8985_7_3_new_data_is_the_probe_whatever_the_congestion_window() {
    let mut rig = ten(with_sack());
    rig.send(5_000);
    assert!(rig.out().is_empty(), "the window is full");
    let sent = rig.pass(100);
    assert_eq!(sent.len(), 1);
    assert_eq!(
        (sent[0].at_millis, sent[0].seq, sent[0].len),
        (22, 10_001, 1_000)
    );
}

#[test]
fn rfc8985_7_2_a_single_segment_waits_for_a_delayed_acknowledgment() {
    let mut rig = Rig::established(with_sack());
    rig.send(500);
    rig.close();
    let first = rig.payloads();
    assert!(first[0].flags.contains(FIN));
    let sent = rig.pass(100);
    assert_eq!((sent[0].at_millis, sent[0].seq, sent[0].len), (70, 1, 500));
    assert!(sent[0].flags.contains(FIN), "the whole tail goes again");
}

#[test]
fn rfc8985_7_3_no_probe_follows_a_probe_without_a_round_trip_measured() {
    let mut rig = Rig::established(with_sack());
    rig.send(1_000);
    assert_eq!(rig.pass(100).len(), 2);
    // The acknowledgment may be of either copy.
    rig.recv(1, 1_001, ACK, b"");
    rig.send(1_000);
    let sent = rig.pass(200);
    assert_eq!(sent.len(), 1, "{sent:?}");
}

#[test]
fn rfc8985_7_4_1_the_acknowledgment_of_a_probe_shows_a_lost_tail() {
    let mut rig = ten(with_sack());
    assert_eq!(rig.pass(22), [(9_001, 1_000)]);
    rig.now = rig.now + millis(10);
    rig.recv_sack(1, &[(9_001, 10_001)]);
    assert_eq!(losses(&mut rig), [(1, 9_000, LossRule::Overtaken)]);
    assert_eq!(rig.payloads(), [(1, 1_000)], "as much as arrived");
    let info = rig.tcp.info();
    assert_eq!((info.recoveries, info.timeouts), (1, 0));
}

#[test]
fn rfc8985_7_4_2_a_loss_that_the_probe_repaired_counts() {
    let mut rig = ten(with_sack());
    assert_eq!(rig.pass(22), [(9_001, 1_000)]);
    rig.now = rig.now + millis(10);
    rig.recv(1, 10_001, ACK, b"");
    let before = rig.tcp.info();
    rig.send(1_000);
    rig.out();
    rig.now = rig.now + millis(10);
    rig.recv(1, 11_001, ACK, b"");
    let info = rig.tcp.info();
    assert!(info.cwnd < before.cwnd, "{} of {}", info.cwnd, before.cwnd);
    assert_eq!(info.recoveries, 0);
}

#[test]
fn rfc8985_7_4_2_a_probe_that_arrives_twice_repaired_nothing() {
    let mut rig = ten(with_sack());
    assert_eq!(rig.pass(22), [(9_001, 1_000)]);
    rig.recv(1, 10_001, ACK, b"");
    rig.recv_sack(10_001, &[(9_001, 10_001)]);
    let before = rig.tcp.info();
    rig.send(1_000);
    rig.out();
    rig.recv(1, 11_001, ACK, b"");
    assert!(rig.tcp.info().cwnd >= before.cwnd);
    assert_eq!(rig.tcp.info().undone, 0);
}

#[test]
fn a_lost_retransmission_with_nothing_behind_it_is_found_by_a_probe() {
    let mut rig = Rig::established(with_sack());
    rig.max_payload = 1_000;
    rig.send(4_000);
    assert_eq!(rig.payloads().len(), 4);
    rig.now = rig.now + millis(10);
    rig.recv_sack(1, &[(1_001, 4_001)]);
    assert_eq!(rig.payloads(), [(1, 1_000)]);
    // It is lost. Nothing is left to be sent, so the first goes again: long before the timeout.
    let sent = rig.pass(150);
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(
        (sent[0].at_millis, sent[0].seq, sent[0].len),
        (22, 1, 1_000)
    );
    assert_eq!(rig.tcp.info().timeouts, 0);
    rig.recv(1, 4_001, ACK, b"");
    assert_eq!(rig.tcp.info().undone, 0);
}

#[test]
fn a_clean_sample_after_a_timeout_ends_the_backoff() {
    let mut rig = ten(TcpConfig {
        timestamps: true,
        ..without_rack()
    });
    rig.pass(211);
    assert_eq!(rig.tcp.info().rto, millis(420));
    // The first of what was in flight is acknowledged, with the time of its retransmission.
    rig.now = rig.now + millis(10);
    rig.recv(1, 989, ACK, b"");
    assert!(rig.tcp.info().rto < millis(300));
}

// F-RTO (RFC 5682)

#[test]
fn rfc5682_3_1_what_was_sent_before_the_timeout_arrives_so_it_was_spurious() {
    let mut rig = ten(without_rack());
    let before = rig.tcp.info();
    let sent = rig.pass(211);
    assert_eq!((sent[0].at_millis, sent[0].seq), (210, 1));
    // Only the first was sent again; the second arrives, too.
    rig.events();
    rig.recv(1, 2_001, ACK, b"");
    let evidence = Spurious::NeverResent;
    assert!(rig.events().contains(&Event::Undone { evidence }));
    let info = rig.tcp.info();
    assert_eq!((info.undone, info.ssthresh), (1, before.ssthresh));
    assert!(info.cwnd >= before.cwnd);
    assert!(rig.payloads().is_empty(), "nothing is sent again");
    assert!(
        info.rto > before.rto,
        "RFC 4015 section 3.2: the timer learns"
    );
}

#[test]
fn rfc5682_3_1_new_segments_are_sent_to_find_out() {
    let mut rig = ten(without_rack());
    rig.send(5_000);
    assert_eq!(rig.pass(211), [(1, 1_000)]);
    rig.recv(1, 1_001, ACK, b"");
    assert_eq!(rig.payloads(), [(10_001, 1_000), (11_001, 1_000)]);
    // Their SACKs come, and nothing that was sent before: the timeout was genuine.
    rig.recv_sack(1_001, &[(10_001, 11_001)]);
    assert_eq!(rig.tcp.info().undone, 0);
    assert_eq!(rig.payloads()[0], (1_001, 1_000));
}

#[test]
fn rfc5682_2_1_without_sack_the_second_acknowledgment_decides() {
    let mut rig = ten(plain());
    rig.send(5_000);
    let before = rig.tcp.info();
    assert_eq!(rig.pass(211), [(1, 1_000)]);
    rig.recv(1, 1_001, ACK, b"");
    assert_eq!(rig.payloads(), [(10_001, 1_000), (11_001, 1_000)]);
    rig.recv(1, 2_001, ACK, b"");
    let info = rig.tcp.info();
    assert_eq!((info.undone, info.ssthresh), (1, before.ssthresh));

    let mut rig = ten(plain());
    rig.send(5_000);
    rig.pass(211);
    rig.recv(1, 1_001, ACK, b"");
    assert_eq!(rig.payloads().len(), 2);
    rig.recv(1, 1_001, ACK, b"");
    assert_eq!(rig.tcp.info().undone, 0);
    assert_eq!(rig.payloads()[0], (1_001, 1_000), "a duplicate: genuine");
}

#[test]
fn rfc8985_6_2_a_recovery_that_is_undone_shows_reordering() {
    let mut rig = ten(with_sack());
    let is_seen = |rig: &Rig| {
        let tcb = rig.tcp.tcb().expect("open");
        tcb.flight.reordering().is_seen()
    };
    rig.recv_sack(1, &[(1_001, 4_001)]);
    assert_eq!(rig.payloads()[0], (1, 1_000));
    rig.recv(1, 4_001, ACK, b"");
    assert!(!is_seen(&rig), "the original or its copy");
    rig.recv_sack(4_001, &[(1, 1_001)]);
    assert_eq!(rig.tcp.info().undone, 1);
    assert!(is_seen(&rig));
}

#[test]
fn rfc8985_6_2_a_duplicate_that_is_reported_in_the_next_recovery_widens_the_window() {
    let mut rig = ten(with_sack());
    rig.recv_sack(1, &[(1_001, 4_001)]);
    assert_eq!(rig.payloads()[0], (1, 1_000));
    rig.send(10_000);
    rig.recv(1, 9_001, ACK, b"");
    rig.out();
    rig.recv(1, 10_001, ACK, b"");
    let window = |rig: &Rig| {
        let rtt = Some(millis(10));
        let reordering = rig.tcp.tcb().expect("open").flight.reordering();
        reordering.window(false, rtt, rtt)
    };
    let narrow = window(&rig);
    // Another recovery begins, and then the duplicate of the first one is reported.
    rig.recv_sack(10_001, &[(11_001, 14_001)]);
    assert_eq!(rig.tcp.info().recoveries, 2);
    rig.recv_sack(10_001, &[(1, 1_001), (11_001, 14_001)]);
    assert_eq!(window(&rig), 2 * narrow);
    assert_eq!(rig.tcp.info().undone, 0, "it says nothing of this recovery");
    // Long after a retransmission, a duplicate is the network's.
    let again = window(&rig);
    for end in [15_001, 20_001, 30_001, 40_001, 50_001] {
        rig.send(10_000);
        rig.out();
        let end = end.min(rig.tcp.tcb().expect("open").flight.nxt() - ours(0));
        rig.recv(1, end, ACK, b"");
    }
    rig.send(10_000);
    rig.out();
    let una = rig.tcp.tcb().expect("open").flight.una() - ours(0);
    rig.recv_sack(una, &[(1, 1_001), (una + 1_000, una + 2_000)]);
    assert_eq!(window(&rig), again);
}

// Undoing (RFC 3708, RFC 4015)

#[test]
fn rfc3708_3_a_recovery_in_which_each_retransmission_was_needless_is_undone() {
    let mut rig = ten(with_sack());
    let before = rig.tcp.info();
    rig.recv_sack(1, &[(2_001, 5_001)]);
    assert_eq!(rig.payloads(), [(1, 1_000), (1_001, 1_000)]);
    rig.now = rig.now + millis(1);
    rig.recv(1, 5_001, ACK, b"");
    rig.recv_sack(5_001, &[(1, 1_001)]);
    assert_eq!(rig.tcp.info().undone, 0, "one of two");
    rig.events();
    rig.recv_sack(5_001, &[(1_001, 2_001)]);
    let evidence = Spurious::Duplicates;
    assert!(rig.events().contains(&Event::Undone { evidence }));
    let info = rig.tcp.info();
    assert_eq!((info.undone, info.ssthresh), (1, before.ssthresh));
    assert!(info.cwnd >= before.cwnd);
}

#[test]
fn rfc3708_3_a_lie_about_duplicates_undoes_a_reduction_once() {
    let mut rig = ten(with_sack());
    rig.recv_sack(1, &[(1_001, 4_001)]);
    rig.out();
    for _ in 0..50 {
        rig.recv_sack(4_001, &[(1, 1_001)]);
    }
    let info = rig.tcp.info();
    assert_eq!(info.undone, 1);
    assert!(info.cwnd <= 20_000, "{}", info.cwnd);
}

// Limited transmit (RFC 3042), and the rate of a recovery (RFC 9937)

#[test]
fn rfc3042_2_sacked_segments_let_new_ones_out_before_a_recovery() {
    let mut rig = ten(with_sack());
    rig.send(5_000);
    rig.recv_sack(1, &[(1_001, 2_001)]);
    assert_eq!(rig.payloads(), [(10_001, 1_000)]);
    rig.recv_sack(1, &[(1_001, 3_001)]);
    assert_eq!(rig.payloads(), [(11_001, 1_000)]);
    assert_eq!(rig.tcp.info().recoveries, 0);
}

#[test]
fn rfc9937_6_2_every_second_acknowledgment_of_a_recovery_sends_a_segment() {
    let mut rig = Rig::established(with_sack());
    rig.tcp.set_congestion(Algorithm::NEW_RENO);
    rig.max_payload = 1_000;
    rig.send(10_000);
    rig.out();
    rig.recv(1, 10_001, ACK, b"");
    // A window of 20 segments, of which the first is lost.
    rig.send(40_000);
    assert_eq!(rig.payloads().len(), 20);
    rig.now = rig.now + millis(10);
    let mut sent = Vec::new();
    for i in 2..=20 {
        rig.recv_sack(10_001, &[(11_001, 10_001 + 1_000 * i)]);
        let now = rig.payloads();
        assert!(now.len() <= 1, "no burst");
        sent.extend(now);
    }
    let info = rig.tcp.info();
    assert_eq!((info.recoveries, info.cwnd), (1, 11_000));
    // Two by limited transmit, the retransmission, and one for each second acknowledgment.
    assert_eq!(sent[2], (10_001, 1_000));
    assert!((10..=12).contains(&sent.len()), "{}", sent.len());
    assert!(rig.tcp.info().timeouts == 0);
}

// Memory

#[test]
fn an_idle_connection_has_no_records() {
    let mut rig = ten(with_sack());
    assert!(
        rig.tcp.tcb().expect("open").flight.is_compact(),
        "sent together"
    );
    rig.recv_sack(1, &[(1_001, 2_001)]);
    assert!(!rig.tcp.tcb().expect("open").flight.is_compact());
    rig.recv(1, 10_001, ACK, b"");
    assert!(rig.tcp.tcb().expect("open").flight.is_compact());
    // One flight at a time needs none, however it is sent.
    rig.send(3_000);
    rig.out();
    assert!(rig.tcp.tcb().expect("open").flight.is_compact());
}

/// A path of 100 µs, on which the retransmission timer takes two thousand round trips.
fn short_path() -> Rig {
    let mut rig = Rig::established(with_sack());
    for i in 0..60 {
        rig.send(1_000);
        rig.out();
        rig.now = rig.now + Duration::from_micros(100);
        rig.recv(1, 1 + 1_000 * (i + 1), ACK, b"");
    }
    rig
}

#[test]
fn rfc9002_6_2_on_a_short_path_a_recovery_probes_again_and_again_before_the_timeout() {
    let mut rig = short_path();
    rig.max_payload = 1_000;
    rig.send(5_000);
    rig.out();
    rig.now = rig.now + Duration::from_micros(100);
    rig.recv_sack(60_001, &[(61_001, 65_001)]);
    assert_eq!(rig.payloads(), [(60_001, 1_000)]);
    // The retransmission is lost, and so are the probes for it.
    let sent = rig.pass(150);
    assert!(sent.iter().all(|s| *s == (60_001, 1_000)), "{sent:?}");
    let gaps: Vec<u64> = sent
        .windows(2)
        .map(|pair| pair[1].at_millis - pair[0].at_millis)
        .collect();
    assert!(sent.len() >= 4 && sent.len() <= 6, "{sent:?}");
    assert!(
        gaps.windows(2).all(|pair| pair[1] >= 2 * pair[0] - 1),
        "{gaps:?}"
    );
    let info = rig.tcp.info();
    assert_eq!((info.timeouts, info.recoveries), (0, 1));
    // Whatever arrives ends the series, and the window was reduced once.
    rig.recv(1, 65_001, ACK, b"");
    assert_eq!(rig.tcp.info().in_flight, 0);
}
