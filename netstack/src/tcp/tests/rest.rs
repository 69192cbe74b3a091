//! Rest: an idle connection frees its control block, and nobody outside sees a difference.

use core::time::Duration;

use packet::tcp::TcpFlags;

use super::rig::{ACK, FIN, RST, Rig, SYN, plain};
use crate::base::{Rng, TcpConfig};
use crate::tcp::{IcmpError, State, TcpError, Unreachable};

/// Returns an open connection that has carried data both ways and rests.
fn resting(cfg: TcpConfig) -> Rig {
    let mut rig = Rig::established(cfg);
    rig.recv(1, 1, ACK, b"request");
    assert_eq!(rig.read_all(), b"request");
    rig.send(3_000);
    rig.out();
    rig.recv(8, 3_001, ACK, b"");
    rig.out();
    rig.pass(50);
    let at = rig.tcp.rest_at().expect("idle");
    assert_eq!(at, rig.now + Duration::from_millis(50));
    rig.tcp.rest(rig.now);
    assert!(!rig.tcp.is_resting(), "too early");
    rig.pass(50);
    rig.tcp.rest(rig.now);
    assert!(rig.tcp.is_resting());
    assert_eq!(rig.tcp.rest_at(), None);
    rig
}

#[test]
fn a_resting_connection_says_what_it_said_before() {
    let mut rig = Rig::established(plain());
    rig.recv(1, 1, ACK, b"request");
    rig.read_all();
    rig.pass(2_000);
    let before = format!("{:?}", rig.tcp.info());
    let room = rig.tcp.send_room();
    rig.tcp.rest(rig.now);
    assert!(rig.tcp.is_resting());
    assert_eq!(format!("{:?}", rig.tcp.info()), before);
    assert_eq!(rig.tcp.state(), State::Established);
    assert_eq!((rig.tcp.send_room(), rig.tcp.unacked()), (room, 0));
    assert_eq!((rig.tcp.recv_len(), rig.tcp.is_recv_finished()), (0, false));
    assert!(!rig.tcp.wants_transmit() && !rig.tcp.is_gone());
    assert_eq!((rig.tcp.error(), rig.tcp.poll_timeout()), (None, None));
    // A task that polls finds nothing, and does not end the rest.
    assert!(rig.tcp.recv_pop(rig.now).is_none());
    assert!(rig.out().is_empty());
    rig.tcp.set_nodelay(true);
    assert!(rig.tcp.nodelay() && rig.tcp.is_resting());
}

#[test]
fn either_side_ends_a_rest() {
    let mut rig = resting(plain());
    rig.recv(8, 3_001, ACK, b"more");
    assert!(!rig.tcp.is_resting());
    assert_eq!(rig.read_all(), b"more");
    let mut rig = resting(plain());
    rig.send(100);
    let sent = rig.payloads();
    assert_eq!(sent, [(3_001, 100)]);
    rig.recv(8, 3_101, ACK, b"");
    assert_eq!(rig.tcp.unacked(), 0);
    let mut rig = resting(plain());
    rig.close();
    assert_eq!(rig.one(), (3_001, 8, FIN | ACK));
    let mut rig = resting(plain());
    rig.recv(8, 3_001, FIN | ACK, b"");
    assert_eq!(rig.tcp.state(), State::CloseWait);
    let mut rig = resting(plain());
    rig.recv(8, 3_001, RST, b"");
    assert_eq!(rig.tcp.error(), Some(TcpError::Reset));
    let mut rig = resting(plain());
    rig.abort();
    assert_eq!(rig.one(), (3_001, 8, RST | ACK));
    let mut rig = resting(plain());
    rig.tcp.close_both(rig.now);
    assert_eq!(rig.one(), (3_001, 8, FIN | ACK));
}

#[test]
fn blind_segments_are_answered_from_rest_within_the_same_limit() {
    let mut rig = resting(plain());
    let mut answers = 0;
    for _ in 0..50 {
        rig.recv(8, 0, SYN, b"");
        answers += rig.out().len();
        // The attacker waits for nothing: the connection does not rest again at once.
        assert!(rig.tcp.rest_at().is_some_and(|at| at > rig.now));
        rig.now = rig.now + Duration::from_millis(1);
    }
    assert_eq!(answers, 8);
    let guess = rig.tcp.on_icmp_error(
        IcmpError::Hard(Unreachable::Port),
        super::rig::ours(3_000),
        rig.now,
    );
    assert!(guess.is_err());
}

#[test]
fn memory_that_is_asked_for_ends_no_rest() {
    let mut rig = resting(plain());
    assert_eq!(rig.tcp.compact(&rig.buffers), 0);
    assert_eq!(rig.tcp.drop_out_of_order(), 0);
    assert!(rig.tcp.is_resting());
}

#[test]
fn rfc5482_3_a_user_timeout_that_is_set_in_rest_is_told_to_the_peer() {
    let mut rig = resting(TcpConfig {
        user_timeout_option: true,
        ..plain()
    });
    rig.tcp.set_user_timeout(Some(Duration::from_secs(300)));
    let told: Vec<_> = rig
        .out()
        .iter()
        .map(|seg| seg.options.user_timeout)
        .collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].map(|timeout| timeout.value), Some(300));
}

#[test]
fn keepalive_goes_on_in_rest() {
    let mut rig = resting(TcpConfig {
        keepalive_idle: Some(Duration::from_secs(10)),
        ..plain()
    });
    assert!(rig.tcp.poll_timeout().is_some());
    let probes = rig.pass(10_000);
    assert_eq!(probes.len(), 1, "{probes:?}");
    assert!(!rig.tcp.is_resting());
    // The peer lives.
    rig.recv(8, 3_001, ACK, b"");
    rig.pass(1_000);
    rig.tcp.rest(rig.now);
    assert!(rig.tcp.is_resting());
}

#[test]
fn what_is_not_idle_does_not_rest() {
    let busy: [fn(&mut Rig); 5] = [
        |rig| rig.send(10),
        |rig| {
            rig.recv(1, 1, ACK, b"unread");
        },
        |rig| {
            rig.recv(5, 1, ACK, b"out of order");
        },
        |rig| {
            rig.recv(1, 1, FIN | ACK, b"");
        },
        |rig| rig.close(),
    ];
    for (number, make_busy) in busy.into_iter().enumerate() {
        let mut rig = Rig::established(plain());
        make_busy(&mut rig);
        rig.out();
        rig.now = rig.now + Duration::from_secs(5);
        assert_eq!(rig.tcp.rest_at(), None, "{number}");
        rig.tcp.rest(rig.now);
        assert!(!rig.tcp.is_resting(), "{number}");
    }
}

/// The same conversation twice: once with a connection that rests whenever it may, once with one that
/// never does. Every segment and every byte is the same.
#[test]
fn rest_makes_no_difference_that_anybody_sees() {
    let mut rests = 0;
    for seed in 0..100 {
        let [(with, rested), (without, _)] = [true, false].map(|rests| converse(seed, rests));
        rests += rested;
        assert_eq!(with, without, "seed {seed}");
    }
    assert!(rests > 500, "rested {rests} times");
}

/// Returns what was sent and read, and how often the connection rested.
fn converse(seed: u64, rests: bool) -> (Vec<String>, usize) {
    let mut rng = Rng::from_u64(seed);
    let cfg = match rng.below(3) {
        0 => plain(),
        1 => TcpConfig::default(),
        _ => TcpConfig {
            keepalive_idle: Some(Duration::from_secs(3)),
            ..TcpConfig::default()
        },
    };
    let mut rig = Rig::established(cfg);
    let (mut seq, mut ack) = (1, 1);
    let mut transcript = Vec::new();
    let mut rested = 0;
    for _ in 0..60 {
        match rng.below(6) {
            0 => {
                let len = 1 + rng.below(5_000);
                rig.send(len as usize);
                transcript.push(format!("{:?}", rig.out()));
                ack += len;
                // Enough acknowledgments for whatever the windows hold back.
                for _ in 0..8 {
                    let outstanding = rig.tcp.info().in_flight;
                    let acked = ack - rig.tcp.unacked() as u32 + outstanding;
                    rig.recv(seq, acked, ACK, b"");
                    transcript.push(format!("{:?}", rig.out()));
                }
            }
            1 => {
                let data = vec![9; 1 + rng.below(900) as usize];
                rig.recv(seq, ack, ACK, &data);
                seq += data.len() as u32;
                transcript.push(format!("{:?} {:?}", rig.out(), rig.read_all()));
            }
            2 => {
                let flags = [SYN, RST, TcpFlags::empty()][rng.below(3) as usize];
                rig.recv(seq + 1 + rng.below(100), ack, flags, b"");
                transcript.push(format!("{:?}", rig.out()));
            }
            _ => {
                let sent = rig.pass(u64::from(rng.below(5_000)));
                transcript.push(format!("{sent:?}"));
                if let Some(ts) = &mut rig.ts {
                    *ts += rng.below(1_000);
                }
                if rests && rig.tcp.rest_at().is_some_and(|at| at <= rig.now) {
                    rig.tcp.rest(rig.now);
                    rested += usize::from(rig.tcp.is_resting());
                }
            }
        }
        transcript.push(format!("{:?}", rig.tcp.info()));
    }
    (transcript, rested)
}
