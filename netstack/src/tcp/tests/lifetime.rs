//! How long a connection waits for its peer: keepalive of a socket (RFC 9293 section 3.8.4), the user timeout that
//! peers tell each other (RFC 5482), and the timers of data and window.

use core::time::Duration;

use super::rig::{ACK, Rig, plain};
use crate::base::TcpConfig;
use crate::tcp::TcpError;
use packet::tcp::UserTimeout;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_socket_sets_its_own_keepalive() {
    let mut rig = Rig::established(plain());
    rig.tcp.set_keepalive(Some(5 * SECOND), rig.now);
    rig.tcp.set_keepalive_interval(SECOND);
    rig.tcp.set_keepalive_probes(2);
    let at: Vec<u64> = rig.pass(60_000).iter().map(|s| s.at_millis).collect();
    assert_eq!(at, [5_000, 6_000, 7_000], "two probes and a reset");
    assert_eq!(rig.tcp.error(), Some(TcpError::TimedOut));
}

#[test]
fn a_user_timeout_ends_silence_sooner_than_keepalive_but_never_later() {
    for (timeout, expected) in [
        (8, &[5_000, 7_000, 8_000][..]),
        (300, &[5_000, 7_000, 9_000, 11_000][..]),
    ] {
        let mut rig = Rig::established(plain());
        rig.tcp.set_keepalive(Some(5 * SECOND), rig.now);
        rig.tcp.set_keepalive_interval(2 * SECOND);
        rig.tcp.set_keepalive_probes(3);
        rig.tcp.set_user_timeout(Some(timeout * SECOND));
        let at: Vec<u64> = rig.pass(60_000).iter().map(|s| s.at_millis).collect();
        assert_eq!(at, expected, "{timeout} s");
        assert_eq!(rig.tcp.error(), Some(TcpError::TimedOut));
    }
}

#[test]
fn rfc5482_3_the_user_timeout_is_told_once_and_the_peers_is_followed() {
    let mut rig = Rig::established(TcpConfig {
        user_timeout: Some(300 * SECOND),
        user_timeout_option: true,
        ..plain()
    });
    rig.send(5_000);
    // The rig took the handshake's ACK, which told it: nothing else does.
    assert!(
        rig.out()
            .iter()
            .all(|seg| seg.options.user_timeout.is_none())
    );
    let mut seg = rig.segment(1, 1, ACK, b"");
    seg.options.user_timeout = Some(UserTimeout {
        minutes: true,
        value: 10,
    });
    rig.give(seg);
    assert_eq!(rig.tcp.user_timeout(), Some(600 * SECOND));
    rig.tcp.set_user_timeout(Some(150 * SECOND));
    let told: Vec<_> = rig
        .out()
        .iter()
        .map(|seg| (seg.payload.len_bytes(), seg.options.user_timeout))
        .collect();
    let mine = UserTimeout {
        minutes: false,
        value: 150,
    };
    assert_eq!(
        told,
        [(0, Some(mine))],
        "alone, not on each segment of a train"
    );
}

#[test]
fn retransmission_and_persist_do_not_starve_each_other() {
    let mut rig = Rig::established(plain());
    rig.max_payload = 1_000;
    rig.send(3_000);
    assert_eq!(rig.payloads().len(), 3);
    // All are lost but the first, and the window closes behind them: they are sent again nevertheless.
    rig.window = 0;
    rig.recv(1, 1_001, ACK, b"");
    rig.send(1_000);
    let sent = rig.pass(1_000);
    assert!(sent.iter().any(|s| *s == (1_001, 1_000)), "{sent:?}");
    rig.recv(1, 3_001, ACK, b"");
    // What was never sent is probed for.
    let probes = rig.pass(10_000);
    assert!(!probes.is_empty());
    assert!(probes.iter().all(|s| *s == (3_001, 1)), "{probes:?}");
    // Acknowledgments of a closed window put no probe off.
    let mut next = 0;
    for _ in 0..200 {
        rig.recv(1, 3_001, ACK, b"");
        next += rig.pass(100).len();
    }
    assert!(next >= 1, "{next}");
}
