//! The time for which a connection has something to send, by what holds it back.

use core::time::Duration;

use super::rig::{ACK, Rig, plain};
use crate::base::TcpConfig;

/// Returns the milliseconds for which the connection was busy, and those of them for which the peer's window and the
/// send buffer were the limit.
fn times(rig: &Rig) -> (u64, u64, u64) {
    let info = rig.tcp.info_at(rig.now);
    let millis = |time: Duration| time.as_millis() as u64;
    (
        millis(info.busy),
        millis(info.recv_window_limited),
        millis(info.send_buffer_limited),
    )
}

#[test]
fn waiting_for_an_acknowledgment_is_the_path() {
    let mut rig = Rig::established(plain());
    rig.pass(500);
    assert_eq!(times(&rig), (0, 0, 0), "nothing to send");
    rig.send(3_000);
    rig.out();
    rig.pass(80);
    assert_eq!(times(&rig), (80, 0, 0), "it goes on");
    rig.recv(1, 3_001, ACK, b"");
    rig.out();
    rig.pass(500);
    assert_eq!(times(&rig), (80, 0, 0), "all is acknowledged");
}

#[test]
fn a_closed_window_is_the_peers() {
    let mut rig = Rig::established(plain());
    rig.send(9_000);
    rig.out();
    rig.send(9_000);
    rig.window = 0;
    rig.recv(1, 9_001, ACK, b"");
    rig.out();
    rig.pass(120);
    assert_eq!(times(&rig), (120, 120, 0));
    rig.window = 60_000;
    rig.recv(1, 9_001, ACK, b"");
    rig.out();
    rig.pass(30);
    assert_eq!(times(&rig), (150, 120, 0), "it is open again");
}

#[test]
fn a_full_buffer_is_the_send_buffer() {
    let cfg = TcpConfig {
        send_buffer: 4_000,
        ..plain()
    };
    let mut rig = Rig::established(cfg);
    assert_eq!(rig.tcp.send(&[7; 10_000], &rig.buffers), 4_000);
    rig.out();
    rig.pass(60);
    assert_eq!(times(&rig), (60, 0, 60));
    rig.recv(1, 4_001, ACK, b"");
    rig.out();
    rig.pass(60);
    assert_eq!(times(&rig), (60, 0, 60), "the application was asked");
}

#[test]
fn a_rest_keeps_the_times() {
    let mut rig = Rig::established(plain());
    rig.send(1_000);
    rig.out();
    rig.pass(40);
    rig.recv(1, 1_001, ACK, b"");
    rig.out();
    rig.pass(300);
    rig.tcp.rest(rig.now);
    assert!(rig.tcp.is_resting());
    assert_eq!(times(&rig), (40, 0, 0));
    rig.send(1_000);
    rig.out();
    rig.pass(25);
    assert_eq!(times(&rig), (65, 0, 0));
}
