//! TS.Recent, the newest timestamp of the peer (RFC 7323 sections 4.3 and 5), and what it decides about old segments and about
//! SYNs in TIME-WAIT (RFC 6191).

use core::time::Duration;

use super::rig::{ACK, FIN, RST, Rig, ours, plain, syn, syn_options, theirs};
use crate::base::{DropReason, TcpConfig};
use crate::tcp::segment::SegmentParts;
use crate::tcp::{State, TcpError};

fn stamped() -> TcpConfig {
    TcpConfig {
        timestamps: true,
        ..plain()
    }
}

#[test]
fn a_segment_with_a_bad_ack_does_not_move_the_recent_timestamp() {
    let mut rig = Rig::established(stamped());
    // Blind: the right sequence number, a wrong ACK.
    rig.ts = Some(200_000);
    let outcome = rig.recv(1, 9_999, ACK, b"x");
    assert_eq!(outcome.drop, Some(DropReason::TcpBadAck));
    let echoed = rig.out()[0].options.timestamps.expect("timestamps").ecr;
    assert_eq!(echoed, 500);
    rig.ts = Some(701);
    assert_eq!(rig.recv(1, 1, ACK, b"genuine").drop, None);
    assert_eq!(rig.read_all(), b"genuine");
}

#[test]
fn a_stale_recent_timestamp_moves_with_an_acceptable_segment_only() {
    let mut rig = Rig::established(stamped());
    rig.now = rig.now + Duration::from_secs(25 * 24 * 3_600);
    // Out of window, with an old timestamp.
    rig.ts = Some(500_u32.wrapping_sub(1 << 30));
    assert!(rig.recv(200_000, 1, ACK, b"x").drop.is_some());
    let echoed = rig.out()[0].options.timestamps.expect("timestamps").ecr;
    assert_eq!(echoed, 500);
    // The peer's clock wrapped in the meantime.
    rig.ts = Some(500_u32.wrapping_sub(1 << 20));
    assert_eq!(rig.recv(1, 1, ACK, b"genuine").drop, None);
    let echoed = rig.out();
    assert!(echoed.is_empty(), "delayed: {echoed:?}");
    rig.ts = Some(500_u32.wrapping_sub(1 << 20) + 1);
    assert_eq!(rig.recv(8, 1, ACK, b"more").drop, None);
}

// RFC 7323 section 5: PAWS

#[test]
fn an_old_timestamp_is_answered_and_dropped() {
    let mut rig = Rig::established(stamped());
    rig.ts = Some(600);
    rig.recv(1, 1, ACK, b"new");
    rig.out();
    rig.ts = Some(599);
    let outcome = rig.recv(4, 1, ACK, b"old");
    assert_eq!(outcome.drop, Some(DropReason::TcpPaws));
    let out = rig.out();
    assert_eq!(out[0].options.timestamps.map(|ts| ts.ecr), Some(600));
    // A reset needs no timestamp.
    rig.ts = None;
    let outcome = rig.recv(4, 1, ACK, b"none");
    assert_eq!(outcome.drop, Some(DropReason::TcpPaws));
    rig.recv(4, 1, RST, b"");
    assert_eq!(rig.tcp.error(), Some(TcpError::Reset));
}

#[test]
fn above_a_gap_a_late_segment_may_be_older_than_the_retransmission_that_fills_it() {
    let mut rig = Rig::established(TcpConfig {
        sack: true,
        ..stamped()
    });
    let mut take = |ts: u32, seq: u32, payload: &[u8]| {
        rig.ts = Some(ts);
        let drop = rig.recv(seq, 1, ACK, payload).drop;
        rig.out();
        drop
    };
    assert_eq!(take(600, 1, b"one"), None);
    assert_eq!(take(602, 7, b"thr"), None);
    assert_eq!(take(604, 13, b"fiv"), None);
    // The segment at 4 was lost; that at 10 was sent before its retransmission, and is late.
    assert_eq!(take(650, 4, b"two"), None);
    assert_eq!(take(599, 16, b"six"), Some(DropReason::TcpPaws), "too old");
    assert_eq!(take(603, 10, b"fou"), None);
    // There is no gap any more.
    assert_eq!(take(605, 16, b"six"), Some(DropReason::TcpPaws));
    assert_eq!(rig.read_all(), b"onetwothrfoufiv");
}

#[test]
fn after_24_days_a_timestamp_says_nothing() {
    let mut rig = Rig::established(stamped());
    rig.now = rig.now + Duration::from_secs(25 * 24 * 3_600);
    rig.ts = Some(499);
    let outcome = rig.recv(1, 1, ACK, b"hello again");
    assert_eq!(outcome.drop, None);
    assert_eq!(rig.read_all(), b"hello again");
}

#[test]
fn the_timestamp_echoed_is_that_of_the_segment_acknowledged() {
    let mut rig = Rig::established(stamped());
    rig.ts = Some(600);
    rig.recv(4, 1, ACK, b"ahead");
    let out = rig.out();
    assert_eq!(out[0].options.timestamps.map(|ts| ts.ecr), Some(500));
    rig.ts = Some(601);
    rig.recv(1, 1, ACK, b"abc");
    let out = rig.out();
    assert_eq!(out[0].options.timestamps.map(|ts| ts.ecr), Some(601));
}

// RFC 6191: a SYN in TIME-WAIT

#[test]
fn time_wait_may_be_reused_by_a_newer_incarnation() {
    let mut rig = Rig::established(stamped());
    let fresh = |seq: u32, ts: Option<u32>| SegmentParts {
        seq: theirs(seq),
        options: syn_options(ts),
        ..syn()
    };
    assert!(
        rig.tcp
            .time_wait_reuse(&fresh(1_000, Some(9_000)).into())
            .is_none()
    );
    rig.tcp.close(rig.now);
    rig.out();
    rig.recv(1, 2, ACK | FIN, b"");
    rig.out();
    assert_eq!(rig.tcp.state(), State::TimeWait);
    let reuse = rig
        .tcp
        .time_wait_reuse(&fresh(0, Some(501)).into())
        .expect("newer");
    assert!(reuse.isn_after.after(ours(2)));
    assert!(
        rig.tcp
            .time_wait_reuse(&fresh(9, Some(500)).into())
            .is_some()
    );
    assert!(
        rig.tcp
            .time_wait_reuse(&fresh(1, Some(500)).into())
            .is_none()
    );
    assert!(
        rig.tcp
            .time_wait_reuse(&fresh(9, Some(499)).into())
            .is_none()
    );
    assert!(rig.tcp.time_wait_reuse(&fresh(3, None).into()).is_some());
    assert!(rig.tcp.time_wait_reuse(&fresh(1, None).into()).is_none());
    let mut ack = fresh(9, Some(900));
    ack.flags |= ACK;
    assert!(rig.tcp.time_wait_reuse(&ack.into()).is_none());
}
