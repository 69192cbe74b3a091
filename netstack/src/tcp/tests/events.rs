//! The events that a subscriber gets, in their order and with nothing left out.

use core::time::Duration;

use super::rig::{ACK, FIN, RST, Rig, SYN, ours, plain, with_sack, without_rack};
use crate::base::{DropReason, TcpConfig};
use crate::tcp::{
    Algorithm, Event, IcmpError, LossRule, MssChange, Recovery, Spurious, State, TcpError,
    Unreachable, WindowChange,
};

fn changed(from: State, to: State) -> Event {
    Event::StateChanged { from, to }
}

fn lost(seq: u32, len: u32, rule: LossRule) -> Event {
    Event::SegmentLost {
        seq: ours(seq),
        len,
        rule,
    }
}

fn window(cwnd: u32, ssthresh: u32, reason: WindowChange) -> Event {
    Event::CongestionWindow {
        cwnd,
        ssthresh,
        reason,
    }
}

fn dropped(reason: DropReason) -> Event {
    Event::SegmentDropped { reason }
}

/// Ten segments of 1,000 bytes in flight with a congestion window of 10,000, under Reno.
fn ten(cfg: TcpConfig) -> Rig {
    let mut rig = Rig::established(cfg);
    rig.tcp.set_congestion(Algorithm::NEW_RENO);
    rig.max_payload = 1_000;
    rig.send(10_000);
    assert_eq!(rig.payloads().len(), 10);
    rig.events();
    rig
}

#[test]
fn an_active_open_and_close() {
    let mut rig = Rig::established(plain());
    rig.close();
    rig.out();
    rig.recv(1, 2, ACK, b"");
    rig.recv(1, 2, ACK | FIN, b"");
    rig.pass(60_000);
    assert_eq!(
        rig.events(),
        [
            changed(State::Closed, State::SynSent),
            changed(State::SynSent, State::Established),
            changed(State::Established, State::FinWait1),
            changed(State::FinWait1, State::FinWait2),
            changed(State::FinWait2, State::TimeWait),
            changed(State::TimeWait, State::Closed),
        ]
    );
}

#[test]
fn a_passive_open_and_close() {
    let mut rig = Rig::syn_received(plain());
    // The last ACK of the handshake carries a FIN.
    rig.recv(1, 1, ACK | FIN, b"");
    rig.close();
    rig.out();
    rig.recv(2, 2, ACK, b"");
    assert_eq!(
        rig.events(),
        [
            changed(State::Closed, State::SynReceived),
            changed(State::SynReceived, State::Established),
            changed(State::Established, State::CloseWait),
            changed(State::CloseWait, State::LastAck),
            changed(State::LastAck, State::Closed),
        ]
    );
}

#[test]
fn a_segment_that_acknowledges_our_fin_and_carries_one_makes_two_steps() {
    let mut rig = Rig::established(plain());
    rig.close();
    rig.out();
    rig.events();
    rig.recv(1, 2, ACK | FIN, b"");
    assert_eq!(
        rig.events(),
        [
            changed(State::FinWait1, State::FinWait2),
            changed(State::FinWait2, State::TimeWait),
        ]
    );
}

#[test]
fn handshakes_that_fail() {
    let ended = |rig: &mut Rig, from: State, error: TcpError| {
        let events = rig.events();
        assert_eq!(
            events[events.len() - 2..],
            [changed(from, State::Closed), Event::Ended { error }]
        );
    };
    let mut rig = Rig::syn_sent(plain());
    rig.recv(0, 1, RST | ACK, b"");
    ended(&mut rig, State::SynSent, TcpError::Refused);

    let mut rig = Rig::syn_sent(plain());
    rig.recv(0, 0, SYN, b"");
    assert_eq!(
        rig.events().last(),
        Some(&changed(State::SynSent, State::SynReceived))
    );
    rig.abort();
    ended(&mut rig, State::SynReceived, TcpError::Aborted);

    let mut rig = Rig::syn_sent(plain());
    rig.events();
    rig.pass(1_000_000);
    let counts = (1..=6).map(|count| Event::RetransmissionTimeout { count });
    let error = TcpError::TimedOut;
    let end = [
        changed(State::SynSent, State::Closed),
        Event::Ended { error },
    ];
    assert_eq!(rig.events(), counts.chain(end).collect::<Vec<_>>());

    let mut rig = Rig::syn_sent(plain());
    rig.events();
    rig.close();
    assert_eq!(rig.events(), [changed(State::SynSent, State::Closed)]);

    let mut rig = Rig::syn_sent(plain());
    let mut seen = Vec::new();
    let cx = crate::tcp::Context::new(rig.now).with_subscriber(&mut seen);
    rig.tcp
        .on_icmp_error(IcmpError::Hard(Unreachable::Port), ours(0), cx)
        .expect("ours");
    let error = TcpError::Refused;
    let events: Vec<Event> = seen.into_iter().map(|(_, event)| event).collect();
    assert_eq!(
        events,
        [
            changed(State::SynSent, State::Closed),
            Event::Ended { error }
        ]
    );
}

#[test]
fn connections_that_fail() {
    let mut rig = Rig::established(plain());
    rig.events();
    rig.recv(1, 1, RST, b"");
    let error = TcpError::Reset;
    let closed = changed(State::Established, State::Closed);
    assert_eq!(rig.events(), [closed, Event::Ended { error }]);

    let mut rig = Rig::established(plain());
    rig.events();
    rig.abort();
    let error = TcpError::Aborted;
    assert_eq!(rig.events(), [closed, Event::Ended { error }]);
}

#[test]
fn a_loss_found_by_sack() {
    let mut rig = ten(with_sack());
    // Segments 1 and 3 are lost; bytes 3,001 to 6,000 arrive.
    rig.recv_sack(1, &[(1_001, 2_001)]);
    assert_eq!(rig.events(), [], "one segment above a hole proves nothing");
    rig.recv_sack(1, &[(3_001, 6_001), (1_001, 2_001)]);
    assert_eq!(
        rig.events(),
        [
            Event::RecoveryEntered {
                kind: Recovery::Fast
            },
            lost(1, 1_000, LossRule::Sacked),
            lost(2_001, 1_000, LossRule::Sacked),
            window(5_000, 5_000, WindowChange::Loss),
        ]
    );
    assert_eq!(rig.payloads(), [(1, 1_000)]);
    rig.recv_sack(1, &[(8_001, 10_001), (3_001, 6_001), (1_001, 2_001)]);
    assert_eq!(rig.events(), [], "sent before the retransmission");
    rig.recv(1, 10_001, ACK, b"");
    assert_eq!(rig.events(), [Event::RecoveryLeft]);
}

#[test]
fn a_retransmission_that_is_lost() {
    let mut rig = ten(with_sack());
    rig.send(10_000);
    rig.recv_sack(1, &[(1_001, 10_001)]);
    let end = rig.payloads().last().map(|p| p.seq + 1_000).expect("sent");
    rig.events();
    rig.recv_sack(1, &[(1_001, end)]);
    assert_eq!(rig.events(), [lost(1, 1_000, LossRule::RetransmissionLost)]);
}

#[test]
fn a_loss_found_by_duplicates() {
    let mut rig = ten(plain());
    for _ in 0..3 {
        assert_eq!(rig.events(), []);
        rig.recv(1, 1, ACK, b"");
    }
    assert_eq!(
        rig.events(),
        [
            Event::RecoveryEntered {
                kind: Recovery::Fast
            },
            lost(1, 1_000, LossRule::DuplicateAcks),
            window(5_000, 5_000, WindowChange::Loss),
        ]
    );
    assert_eq!(rig.payloads(), [(1, 1_000)]);
    rig.recv(1, 2_001, ACK, b"");
    assert_eq!(rig.events(), [lost(2_001, 1_000, LossRule::PartialAck)]);
    rig.out();
    rig.recv(1, 10_001, ACK, b"");
    assert_eq!(rig.events(), [Event::RecoveryLeft]);
}

#[test]
fn a_timeout_that_was_needed() {
    let mut rig = ten(without_rack());
    rig.recv_sack(1, &[(3_001, 4_001)]);
    let start = rig.now;
    rig.pass(250);
    let at = start + Duration::from_millis(210);
    let events = [
        Event::RetransmissionTimeout { count: 1 },
        window(1_000, 5_000, WindowChange::Timeout),
        Event::RecoveryEntered {
            kind: Recovery::Timeout,
        },
        lost(1, 3_000, LossRule::Timeout),
        lost(4_001, 6_000, LossRule::Timeout),
    ];
    assert_eq!(rig.timed_events(), events.map(|event| (at, event)));
    rig.recv_sack(1_001, &[(3_001, 4_001)]);
    assert_eq!(
        rig.events(),
        [window(2_000, 5_000, WindowChange::SlowStart)]
    );
}

#[test]
fn a_timeout_that_was_spurious() {
    let stamped = TcpConfig {
        timestamps: true,
        ..without_rack()
    };
    let mut rig = Rig::established(stamped);
    rig.send(500);
    rig.out();
    let before = rig.tcp.info();
    rig.pass(250);
    rig.events();
    // The acknowledgment echoes the time before the timeout.
    let mut seg = rig.segment(1, 501, ACK, b"");
    if let Some(ts) = &mut seg.options.timestamps {
        ts.ecr = ts.ecr.wrapping_sub(250);
    }
    rig.give(seg);
    assert_eq!(
        rig.events(),
        [
            Event::RecoveryLeft,
            Event::Undone {
                evidence: Spurious::Timestamp
            },
            window(before.cwnd, before.ssthresh, WindowChange::Undone),
        ]
    );
}

#[test]
fn a_probe_for_a_lost_tail() {
    let mut rig = Rig::established(with_sack());
    rig.send(1_000);
    assert_eq!(rig.payloads().len(), 1);
    rig.events();
    rig.pass(150);
    let (seq, len) = (ours(1), 1_000);
    assert_eq!(rig.events(), [Event::TailLossProbe { seq, len }]);
}

#[test]
fn the_pacing_rate_of_an_algorithm_that_has_one() {
    let mut rig = Rig::established(with_sack());
    rig.tcp.set_congestion(Algorithm::BBR);
    rig.max_payload = 1_000;
    let mut changes = 0;
    let mut reported = rig.tcp.info().pacing_rate;
    for round in 0..30 {
        rig.send(20_000);
        let sent: usize = rig.pass(10).iter().map(|sent| sent.len).sum();
        assert!(sent > 0, "round {round}");
        let nxt = rig.tcp.tcb().expect("open").flight.nxt() - ours(0);
        rig.recv(1, nxt, ACK, b"");
        for event in rig.events() {
            if let Event::PacingRate { rate } = event {
                assert_ne!(rate, reported, "a change");
                reported = rate;
                changes += 1;
            }
        }
        assert_eq!(rig.tcp.info().pacing_rate, reported, "round {round}");
    }
    assert!(changes >= 2, "{changes} changes");
}

#[test]
fn a_smaller_path() {
    let mut rig = ten(with_sack());
    let mut seen = Vec::new();
    let cx = crate::tcp::Context::new(rig.now).with_subscriber(&mut seen);
    rig.tcp.on_path_mtu(500, cx);
    let events: Vec<Event> = seen.into_iter().map(|(_, event)| event).collect();
    assert_eq!(
        events,
        [
            Event::MssChanged {
                mss: 500,
                reason: MssChange::Path
            },
            Event::RecoveryEntered {
                kind: Recovery::PathMtu
            },
            lost(1, 10_000, LossRule::PathMtu),
        ]
    );
}

#[test]
fn the_congestion_window_grows_and_restarts() {
    let mut rig = ten(plain());
    rig.send(10_000);
    rig.out();
    rig.recv(1, 10_001, ACK, b"");
    let grown = [window(20_000, 1 << 30, WindowChange::SlowStart)];
    assert_eq!(rig.events(), grown);
    rig.out();
    rig.recv(1, 20_001, ACK, b"");
    let high = rig.tcp.info().cwnd;
    rig.events();
    rig.pass(10_000);
    rig.send(1_000);
    rig.out();
    let events = rig.events();
    assert_eq!(events, [window(10_000, 1 << 30, WindowChange::Idle)]);
    assert!(high > 10_000);
}

#[test]
fn a_window_that_closes_and_opens() {
    let mut rig = Rig::established(plain());
    rig.events();
    rig.window = 0;
    rig.recv(1, 1, ACK, b"");
    rig.recv(1, 1, ACK, b"");
    rig.send(500);
    rig.pass(250);
    rig.window = 60_000;
    rig.recv(1, 1, ACK, b"");
    rig.window = 50_000;
    rig.recv(1, 1, ACK, b"");
    assert_eq!(
        rig.events(),
        [
            Event::PeerWindowClosed,
            Event::PersistProbe,
            Event::PeerWindowOpened { window: 60_000 },
        ]
    );
}

#[test]
fn keepalive_probes_and_the_end() {
    let mut rig = Rig::established(TcpConfig {
        keepalive_idle: Some(Duration::from_secs(10)),
        keepalive_interval: Duration::from_secs(2),
        keepalive_probes: 2,
        ..plain()
    });
    rig.events();
    rig.pass(60_000);
    let error = TcpError::TimedOut;
    assert_eq!(
        rig.events(),
        [
            Event::KeepaliveProbe { count: 1 },
            Event::KeepaliveProbe { count: 2 },
            changed(State::Established, State::Closed),
            Event::Ended { error },
        ]
    );
}

#[test]
fn every_drop_has_its_reason() {
    let mut rig = Rig::syn_sent(plain());
    rig.events();
    rig.recv(0, 77, SYN | ACK, b"");
    rig.recv(0, 1, ACK, b"x");
    assert_eq!(
        rig.events(),
        [
            dropped(DropReason::TcpBadAck),
            dropped(DropReason::TcpNotAcceptable),
        ]
    );
    let mut rig = Rig::syn_received(plain());
    rig.events();
    rig.recv(1, 7, ACK, b"");
    rig.recv(1, 0, SYN, b"");
    assert_eq!(
        rig.events(),
        [
            dropped(DropReason::TcpBadAck),
            dropped(DropReason::TcpChallenged),
        ]
    );
    let mut rig = Rig::established(TcpConfig {
        timestamps: true,
        ..plain()
    });
    rig.events();
    rig.recv(100_000, 1, ACK, b"x");
    rig.recv(1, 99, ACK, b"x");
    rig.recv(2, 1, RST, b"");
    rig.recv(1, 1, SYN, b"");
    rig.ts = Some(499);
    rig.recv(1, 1, ACK, b"old");
    rig.ts = Some(501);
    rig.recv(1, 1, ACK, b"new");
    rig.close();
    rig.out();
    rig.read_all();
    rig.tcp.close_recv(rig.now);
    rig.recv(4, 2, ACK, b"");
    rig.recv(4, 2, ACK, b"late");
    assert_eq!(
        rig.events(),
        [
            dropped(DropReason::TcpNotAcceptable),
            dropped(DropReason::TcpBadAck),
            dropped(DropReason::TcpChallenged),
            dropped(DropReason::TcpChallenged),
            dropped(DropReason::TcpPaws),
            changed(State::Established, State::FinWait1),
            changed(State::FinWait1, State::FinWait2),
            changed(State::FinWait2, State::Closed),
            Event::Ended {
                error: TcpError::Aborted
            },
            dropped(DropReason::TcpDataAfterClose),
        ]
    );
    rig.recv(8, 2, ACK, b"later");
    assert_eq!(rig.events(), [dropped(DropReason::TcpNoListener)]);
}
