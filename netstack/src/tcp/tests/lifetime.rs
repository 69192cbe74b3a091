//! How long a connection waits for its peer: keepalive of a socket (RFC 9293 section 3.8.4), the user timeout that
//! peers tell each other (RFC 5482), and the timers of data and window.

use core::time::Duration;

use super::rig::{ACK, Rig, plain};
use crate::base::TcpConfig;
use crate::tcp::{State, TcpError};
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

// Keepalive (RFC 9293 section 3.8.4)

fn keepalive() -> TcpConfig {
    TcpConfig {
        keepalive_idle: Some(Duration::from_secs(10)),
        keepalive_interval: Duration::from_secs(2),
        keepalive_probes: 3,
        ..plain()
    }
}

#[test]
fn keepalive_probes_a_silent_peer_and_gives_up() {
    let mut rig = Rig::established(keepalive());
    let sent = rig.pass(60_000);
    let at: Vec<u64> = sent.iter().map(|s| s.at_millis).collect();
    assert_eq!(at, [10_000, 12_000, 14_000, 16_000]);
    assert!(
        sent[..3]
            .iter()
            .all(|s| (s.seq, s.len, s.flags) == (0, 0, ACK))
    );
    assert_eq!(rig.tcp.error(), Some(TcpError::TimedOut));
}

#[test]
fn an_answer_satisfies_keepalive() {
    let mut rig = Rig::established(keepalive());
    for _ in 0..10 {
        let sent = rig.pass(10_500);
        assert_eq!(sent.len(), 1);
        rig.recv(1, 1, ACK, b"");
        assert!(rig.out().is_empty());
    }
    rig.tcp.set_keepalive(None, rig.now);
    assert!(rig.pass(1_000_000).is_empty());
    assert_eq!(
        rig.tcp.poll_timeout(),
        None,
        "an idle connection has no timer"
    );
}

#[test]
fn our_answer_to_a_keepalive_probe() {
    let mut rig = Rig::established(plain());
    rig.recv(0, 1, ACK, b"");
    assert_eq!(rig.one(), (1, 1, ACK));
    rig.recv(0, 1, ACK, b"x");
    assert_eq!(rig.one(), (1, 1, ACK));
}

// FIN-WAIT-2

#[test]
fn fin_wait_2_ends_when_nobody_waits() {
    let mut rig = Rig::established(plain());
    rig.tcp.close(rig.now);
    rig.out();
    rig.recv(1, 2, ACK, b"");
    rig.pass(3_600_000);
    assert_eq!(
        rig.tcp.state(),
        State::FinWait2,
        "the application still reads"
    );
    rig.tcp.close_recv(rig.now);
    rig.pass(59_000);
    assert_eq!(rig.tcp.state(), State::FinWait2);
    rig.pass(2_000);
    assert!(rig.tcp.is_gone() && rig.tcp.error().is_none());
}

// The user timeout (RFC 9293 sections 3.8.6.1, 3.9.1.1 and 3.10.8)

/// A peer with a closed window that takes `bytes` each second, and answers all that it gets.
struct Miser {
    bytes: u16,
    /// The bytes that it took.
    una: u32,
}

impl Miser {
    fn new(bytes: u16) -> Self {
        Self { bytes, una: 1 }
    }

    /// Takes what the connection sends now if the window is open, and answers.
    fn answer(&mut self, rig: &mut Rig) {
        let sent = rig.payloads();
        if sent.is_empty() {
            return;
        }
        if rig.window > 0 {
            let taken: usize = sent.iter().map(|sent| sent.len).sum();
            self.una += taken as u32;
        }
        rig.window = 0;
        rig.recv(1, self.una, ACK, b"");
    }

    /// Lets time pass; returns when the connection ended, in seconds.
    fn live(&mut self, rig: &mut Rig, seconds: u64) -> Option<u64> {
        let start = rig.now;
        for second in 1..=seconds {
            let end = start + Duration::from_secs(second);
            while let Some(at) = rig.tcp.poll_timeout().filter(|at| *at <= end) {
                rig.now = at;
                rig.tcp.on_timeout(at);
                self.answer(rig);
            }
            rig.now = end;
            if rig.tcp.is_gone() {
                return Some(second);
            }
            rig.window = self.bytes;
            rig.recv(1, self.una, ACK, b"");
            self.answer(rig);
        }
        None
    }
}

fn with_closed_window(cfg: TcpConfig) -> Rig {
    let mut rig = Rig::established(cfg);
    rig.window = 0;
    rig.recv(1, 1, ACK, b"");
    rig.send(20_000);
    assert!(rig.out().is_empty());
    rig
}

#[test]
fn a_user_timeout_ends_a_connection_whose_peer_takes_nothing_or_a_byte_now_and_then() {
    let limit = Some(Duration::from_secs(30));
    for bytes in [0, 1] {
        let mut rig = with_closed_window(TcpConfig {
            user_timeout: limit,
            ..plain()
        });
        let mut peer = Miser::new(bytes);
        let ended = peer.live(&mut rig, 600).expect("it ends");
        assert!((29..=60).contains(&ended), "{bytes} bytes: {ended} s");
        assert_eq!(rig.tcp.error(), Some(TcpError::TimedOut));
        // Set later, it counts from then.
        let mut rig = with_closed_window(plain());
        let mut peer = Miser::new(bytes);
        assert_eq!(peer.live(&mut rig, 3_600), None, "MUST-37");
        rig.tcp.set_user_timeout(limit);
        assert_eq!(rig.tcp.user_timeout(), limit);
        let ended = peer.live(&mut rig, 600).expect("it ends");
        assert!((29..=60).contains(&ended), "{bytes} bytes: {ended} s");
    }
}

#[test]
fn a_user_timeout_does_not_end_a_connection_that_moves() {
    let mut rig = with_closed_window(TcpConfig {
        user_timeout: Some(Duration::from_secs(30)),
        ..plain()
    });
    // 1,000 bytes a second: each byte is taken within 20 s of its write.
    let mut peer = Miser::new(1_000);
    for _ in 0..8 {
        assert_eq!(peer.live(&mut rig, 15), None);
        let room = 20_000 - rig.tcp.unacked();
        rig.send(room);
    }
}

#[test]
fn rfc5482_options_do_not_postpone_the_end_of_an_orphan() {
    for (user_timeout_option, values) in
        [(false, [300, 300]), (true, [300, 300]), (true, [300, 400])]
    {
        let mut rig = with_closed_window(TcpConfig {
            user_timeout_option,
            orphan_timeout: Duration::from_secs(200),
            ..plain()
        });
        rig.tcp.close_both(rig.now);
        let mut peer = Miser::new(0);
        let ended = (0..600).find(|second| {
            let mut seg = rig.segment(1, 1, ACK, b"");
            seg.options.user_timeout = Some(UserTimeout {
                minutes: false,
                value: values[second % 2],
            });
            rig.give(seg);
            peer.live(&mut rig, 1).is_some()
        });
        assert!(
            ended.is_some_and(|second| second <= 401),
            "{values:?}: {ended:?}"
        );
    }
}

#[test]
fn an_orphan_that_is_drained_slowly_is_given_up() {
    for (bytes, ends) in [(0, true), (1, true), (100, false)] {
        let mut rig = with_closed_window(plain());
        rig.tcp.close_both(rig.now);
        let ended = Miser::new(bytes).live(&mut rig, 150);
        assert_eq!(ended.is_some(), ends, "{bytes} bytes a second: {ended:?}");
    }
}
