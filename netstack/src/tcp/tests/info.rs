//! Tests of the counts that a connection keeps of itself.

use core::time::Duration;

use packet::tcp::TcpOptions;

use super::rig::{ACK, Rig, plain, with_sack};
use crate::tcp::segment::SegmentParts;

fn sent(rig: &Rig) -> [u32; 4] {
    let info = rig.tcp.info();
    [
        info.segments_out,
        info.data_segments_out,
        info.delivered,
        info.resent_in_flight,
    ]
}

#[test]
fn a_super_segment_counts_as_the_segments_that_it_is_cut_into() {
    let mut rig = Rig::established(with_sack());
    let [before, data, delivered, _] = sent(&rig);
    assert_eq!((data, delivered), (0, 1), "the SYN was delivered");
    rig.send(9_500);
    assert_eq!(rig.payloads().len(), 1);
    assert_eq!(sent(&rig), [before + 10, 10, 1, 0]);
    rig.recv_sack(4_001, &[(5_001, 9_501)]);
    assert_eq!(rig.tcp.info().delivered, 1 + 9);
    rig.recv_sack(9_501, &[]);
    assert_eq!(rig.tcp.info().delivered, 1 + 10);

    let before = rig.tcp.info();
    let segment = rig.segment(1, 9_501, ACK, &[7; 2_500]);
    rig.give(SegmentParts {
        gso_size: 1_000,
        ..segment
    });
    rig.recv(2_501, 9_501, ACK, b"");
    let info = rig.tcp.info();
    assert_eq!(info.data_segments_in, before.data_segments_in + 3);
    assert_eq!(info.segments_in, before.segments_in + 4);
}

#[test]
fn a_fin_behind_data_is_no_segment_of_its_own() {
    let mut rig = Rig::established(plain());
    rig.send(1_000);
    rig.close();
    assert_eq!(rig.payloads().len(), 1);
    let before = rig.tcp.info();
    assert_eq!(before.data_segments_out, 1);
    rig.recv(1, 1_002, ACK, b"");
    assert_eq!(rig.tcp.info().delivered, before.delivered + 1);
    // Alone it is one.
    let mut rig = Rig::established(plain());
    rig.close();
    rig.out();
    rig.recv(1, 2, ACK, b"");
    assert_eq!(rig.tcp.info().delivered, 2);
}

#[test]
fn what_is_sent_again_counts_once_more() {
    let mut rig = Rig::established(with_sack());
    rig.max_payload = 1_000;
    rig.send(10_000);
    rig.out();
    rig.recv_sack(1, &[(1_001, 10_001)]);
    assert_eq!(rig.payloads().len(), 1);
    let info = rig.tcp.info();
    assert_eq!((info.retransmits, info.bytes_resent), (1, 1_000));
    assert_eq!((info.resent_in_flight, info.data_segments_out), (1_000, 11));
    assert_eq!((info.delivered, info.reorderings), (1 + 9, 0));
    rig.recv_sack(10_001, &[(1, 1_001)]);
    let info = rig.tcp.info();
    assert_eq!((info.resent_in_flight, info.delivered), (0, 1 + 10));
    assert_eq!(info.duplicates_reported, 1);
}

#[test]
fn an_original_that_comes_late_shows_reordering() {
    let mut rig = Rig::established(with_sack());
    rig.max_payload = 1_000;
    rig.send(4_000);
    rig.out();
    rig.recv_sack(1, &[(1_001, 2_001)]);
    assert_eq!(rig.tcp.info().reorderings, 0);
    rig.recv_sack(2_001, &[]);
    assert_eq!(rig.tcp.info().reorderings, 1);
}

#[test]
fn timeouts_without_an_acknowledgment_between_them_are_one_series() {
    let mut rig = Rig::established(plain());
    rig.send(100);
    // At 210 and 630 ms.
    rig.pass(1_000);
    let info = rig.tcp.info_at(rig.now);
    assert_eq!((info.timeouts, info.timeout_series), (2, 1));
    assert_eq!(info.timeouts_in_row, 2);
    assert_eq!(info.timeout_time, Duration::from_millis(1_000 - 210));
    rig.recv(1, 101, ACK, b"");
    rig.pass(5_000);
    let info = rig.tcp.info_at(rig.now);
    assert_eq!((info.timeouts, info.timeouts_in_row), (2, 0));
    assert_eq!(info.timeout_time, Duration::from_millis(1_000 - 210));
}

#[test]
fn segments_ahead_of_a_gap_are_counted_as_they_came() {
    let mut rig = Rig::established(with_sack());
    rig.recv(1_001, 1, ACK, &[7; 1_000]);
    let segment = rig.segment(3_001, 1, ACK, &[7; 2_500]);
    rig.give(SegmentParts {
        gso_size: 1_000,
        options: TcpOptions::default(),
        ..segment
    });
    assert_eq!(rig.tcp.info().out_of_order_segments, 4);
}

#[test]
fn unanswered_keepalive_probes_are_counted() {
    let mut cfg = plain();
    cfg.keepalive_idle = Some(Duration::from_secs(10));
    let mut rig = Rig::established(cfg);
    rig.pass(10_500);
    assert_eq!(rig.tcp.info().keepalive_probes, 1);
    rig.recv(1, 1, ACK, b"");
    assert_eq!(rig.tcp.info().keepalive_probes, 0);
}

#[test]
fn counts_last_through_a_rest() {
    let mut rig = Rig::established(with_sack());
    rig.max_payload = 1_000;
    rig.send(10_000);
    rig.out();
    rig.recv_sack(1, &[(1_001, 10_001)]);
    rig.out();
    rig.recv_sack(10_001, &[]);
    rig.pass(2_000);
    let before = format!("{:?}", rig.tcp.info());
    rig.tcp.rest(rig.now);
    assert!(rig.tcp.is_resting());
    assert_eq!(format!("{:?}", rig.tcp.info()), before);
    assert_eq!(rig.tcp.losses().retransmits, 1);
}

#[test]
fn a_handshake_counts_its_syn() {
    let mut rig = Rig::syn_sent(plain());
    rig.out();
    let info = rig.tcp.info();
    assert_eq!((info.segments_out, info.in_flight), (1, 1));
    assert_eq!((info.resent_in_flight, info.timeouts_in_row), (0, 0));
    rig.pass(1_500);
    let info = rig.tcp.info();
    assert_eq!((info.segments_out, info.timeout_series), (2, 1));
    assert_eq!((info.resent_in_flight, info.timeouts_in_row), (1, 1));
}
