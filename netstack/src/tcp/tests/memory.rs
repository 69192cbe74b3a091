//! The memory that queues hold.

use super::rig::{ACK, Rig, plain};
use crate::tcp::Readiness;
use packet::Payload;

#[test]
fn an_idle_connection_holds_no_slab() {
    let mut rig = Rig::established(plain());
    for i in 0..10u32 {
        rig.recv(1 + 3 * i, 1 + 10 * i, ACK, b"abc");
        rig.read_all();
        rig.send(10);
        rig.out();
    }
    rig.recv(31, 101, ACK, b"");
    assert_eq!(rig.buffers.small().in_use(), 0);
    assert_eq!(rig.buffers.large().in_use(), 0);
}

#[test]
fn a_payload_is_sent_without_a_copy() {
    let mut cfg = plain();
    cfg.send_buffer = 10_000;
    let mut rig = Rig::established(cfg);
    let mine = Payload::from(bytes::Bytes::from_static(&[7; 9_000]));
    rig.tcp
        .send_payload(mine.clone(), &rig.buffers)
        .expect("room");
    assert!(rig.tcp.send_payload(mine.clone(), &rig.buffers).is_err());
    let out = rig.out();
    let first = out[0].payload.iter().next().expect("a piece");
    assert_eq!(first.as_ptr(), mine.as_ptr());
    let outcome = rig.recv(1, 9_001, ACK, b"");
    assert!(outcome.readiness.contains(Readiness::WRITABLE));
    rig.tcp
        .send_payload(mine, &rig.buffers)
        .expect("room again");
}

#[test]
fn tiny_slices_do_not_stall() {
    let mut rig = Rig::established(plain());
    rig.tcp.set_nodelay(true);
    for _ in 0..100 {
        let piece = Payload::from(bytes::Bytes::from_static(b"0123456789"));
        rig.tcp.send_payload(piece, &rig.buffers).expect("room");
    }
    let total: usize = rig.payloads().iter().map(|p| p.len).sum();
    assert_eq!(total, 1_000);
}
