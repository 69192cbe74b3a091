//! TS.Recent, the newest timestamp of the peer (RFC 7323 sections 4.3 and 5).

use core::time::Duration;

use super::rig::{ACK, Rig, plain};
use crate::base::{DropReason, TcpConfig};

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
