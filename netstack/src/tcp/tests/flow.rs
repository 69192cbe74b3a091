//! Flow control, small segments, acknowledgments and timers, on the millisecond.

use core::time::Duration;

use super::rig::{ACK, FIN, Rig, plain, theirs};
use crate::base::TcpConfig;
use crate::tcp::{IcmpError, Readiness, State, TcpError, Unreachable};
use packet::Payload;
use packet::tcp::UserTimeout;

// Delayed acknowledgments (RFC 9293 section 3.8.6.3)

#[test]
fn one_segment_waits_for_the_timer_two_do_not() {
    let mut rig = Rig::established(plain());
    rig.recv(1, 1, ACK, b"one");
    let sent = rig.pass(1_000);
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].at_millis, sent[0].flags), (40, ACK));
    rig.recv(4, 1, ACK, b"two");
    assert!(rig.out().is_empty());
    rig.recv(7, 1, ACK, b"three");
    assert_eq!(rig.one(), (1, 12, ACK));
    assert_eq!(rig.pass(1_000).len(), 0);
}

#[test]
fn a_super_segment_is_acknowledged_at_once() {
    let mut rig = Rig::established(plain());
    let mut seg = rig.segment(1, 1, ACK, &[5; 20_000]);
    seg.gso_size = 1_000;
    let outcome = rig.give(seg);
    assert!(outcome.readiness.contains(Readiness::READABLE));
    assert!(rig.tcp.wants_transmit());
    assert_eq!(rig.one(), (1, 20_001, ACK));
}

#[test]
fn a_reply_carries_the_acknowledgment() {
    let mut rig = Rig::established(plain());
    rig.recv(1, 1, ACK, b"ping");
    rig.send(4);
    let out = rig.out();
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].ack, theirs(5));
    assert!(rig.pass(199).is_empty(), "nothing more is owed");
}

// Nagle (RFC 9293 section 3.7.4)

#[test]
fn nagle_holds_a_second_small_segment() {
    let mut rig = Rig::established(plain());
    rig.send(10);
    assert_eq!(rig.payloads(), [(1, 10)]);
    rig.send(10);
    rig.send(10);
    assert!(rig.payloads().is_empty());
    rig.recv(1, 11, ACK, b"");
    assert_eq!(rig.payloads(), [(11, 20)]);
}

#[test]
fn nagle_lets_a_tail_follow_full_segments() {
    let mut rig = Rig::established(plain());
    rig.send(2_500);
    assert_eq!(rig.payloads(), [(1, 2_500)], "no small segment is out");
    rig.send(100);
    assert!(rig.payloads().is_empty());
    rig.send(2_000);
    assert_eq!(rig.payloads(), [(2_501, 2_000)], "only whole ones");
    rig.recv(1, 2_501, ACK, b"");
    assert_eq!(rig.payloads(), [(4_501, 100)]);
}

#[test]
fn nodelay_sends_every_small_segment() {
    let mut rig = Rig::established(plain());
    rig.tcp.set_nodelay(true);
    assert!(rig.tcp.nodelay());
    for i in 0..5 {
        rig.send(10);
        assert_eq!(rig.payloads(), [(1 + 10 * i, 10)]);
    }
}

// Silly windows (RFC 9293 section 3.8.6.2)

#[test]
fn a_silly_window_is_not_used_until_the_override() {
    let mut rig = Rig::established(plain());
    rig.tcp.set_nodelay(true);
    rig.window = 100;
    rig.recv(1, 1, ACK, b"");
    rig.send(5_000);
    assert!(rig.payloads().is_empty(), "100 of 60,000 is silly");
    let sent = rig.pass(250);
    assert_eq!(sent.len(), 1, "but after a while it is better than nothing");
    assert_eq!((sent[0].at_millis, sent[0].seq, sent[0].len), (210, 1, 100));
}

#[test]
fn half_of_the_largest_window_is_not_silly() {
    let mut rig = Rig::syn_sent(plain());
    rig.window = 400;
    let mut syn_ack = rig.segment(0, 1, super::rig::SYN | ACK, b"");
    syn_ack.options = super::rig::syn_options(None);
    rig.give(syn_ack);
    rig.out();
    rig.send(5_000);
    assert_eq!(rig.payloads(), [(1, 400)]);
    rig.window = 200;
    rig.recv(1, 401, ACK, b"");
    assert_eq!(rig.payloads(), [(401, 200)]);
}

#[test]
fn the_window_opens_by_worthwhile_steps() {
    let mut cfg = plain();
    cfg.recv_buffer_initial = 8_000;
    cfg.recv_buffer_max = 8_000;
    let mut rig = Rig::established(cfg);
    rig.recv(1, 1, ACK, &[1; 8_000]);
    let out = rig.out();
    assert_eq!(out[0].window, 0);
    rig.tcp.recv_consume(500, rig.now);
    assert!(!rig.tcp.wants_transmit());
    assert!(rig.out().is_empty());
    rig.tcp.recv_consume(500, rig.now);
    assert!(rig.tcp.wants_transmit());
    let out = rig.out();
    assert_eq!((out[0].window, out[0].ack), (1_000, theirs(8_001)));
    // Once the window is open, further news wait for a quarter of the buffer.
    rig.tcp.recv_consume(1_000, rig.now);
    assert_eq!(
        rig.out()[0].window,
        2_000,
        "one segment is still nearly closed"
    );
    rig.tcp.recv_consume(1_000, rig.now);
    assert!(rig.out().is_empty());
    rig.tcp.recv_consume(1_000, rig.now);
    assert_eq!(rig.out()[0].window, 4_000);
}

// Zero windows (RFC 9293 section 3.8.6.1)

#[test]
fn a_closed_window_is_probed_for_as_long_as_the_peer_answers() {
    let mut cfg = plain();
    cfg.data_retries = 4;
    let mut rig = Rig::established(cfg);
    rig.window = 0;
    rig.recv(1, 1, ACK, b"");
    rig.send(500);
    assert!(rig.out().is_empty());
    let mut last = rig.now;
    let mut gaps = Vec::new();
    for _ in 0..30 {
        let at = rig.tcp.poll_timeout().expect("the persist timer");
        gaps.push(at.saturating_since(last).as_millis());
        last = at;
        rig.now = at;
        assert!(rig.payloads().is_empty(), "the timer has not fired yet");
        rig.tcp.on_timeout(at);
        assert!(rig.tcp.wants_transmit());
        assert_eq!(rig.payloads(), [(1, 1)], "one octet");
        rig.recv(1, 1, ACK, b"");
        assert!(rig.payloads().is_empty());
    }
    assert_eq!(&gaps[..4], [210, 420, 840, 1_680]);
    assert_eq!(*gaps.last().expect("gaps"), 120_000);
    assert_eq!(rig.tcp.error(), None);
    // The window opens: everything goes, the probed octet too, and quickly.
    rig.window = 60_000;
    rig.recv(1, 1, ACK, b"");
    assert_eq!(rig.payloads(), [(1, 500)]);
    assert_eq!(rig.tcp.info().rto, Duration::from_millis(210));
}

#[test]
fn a_probe_may_be_accepted() {
    let mut rig = Rig::established(plain());
    rig.window = 0;
    rig.recv(1, 1, ACK, b"");
    rig.send(500);
    let sent = rig.pass(250);
    assert_eq!((sent[0].seq, sent[0].len), (1, 1));
    rig.window = 1_000;
    rig.recv(1, 2, ACK, b"");
    assert_eq!(rig.tcp.unacked(), 499);
    assert_eq!(rig.payloads(), [(2, 499)]);
}

#[test]
fn probes_that_nobody_answers_end_the_connection() {
    let mut cfg = plain();
    cfg.data_retries = 3;
    let mut rig = Rig::established(cfg);
    rig.window = 0;
    rig.recv(1, 1, ACK, b"");
    rig.send(500);
    let sent = rig.pass(60_000);
    assert_eq!(sent.len(), 3);
    assert_eq!(rig.tcp.error(), Some(TcpError::TimedOut));
}

#[test]
fn a_closed_window_does_not_hold_an_orphan_forever() {
    let mut rig = Rig::established(plain());
    rig.window = 0;
    rig.recv(1, 1, ACK, b"");
    rig.send(500);
    rig.tcp.close(rig.now);
    rig.tcp.close_recv(rig.now);
    assert!(rig.out().is_empty());
    for _ in 0..100 {
        let Some(at) = rig.tcp.poll_timeout() else {
            break;
        };
        rig.now = at;
        rig.tcp.on_timeout(at);
        rig.out();
        rig.recv(1, 1, ACK, b"");
    }
    assert!(rig.tcp.is_gone(), "{:?}", rig.tcp.info());
}

#[test]
fn a_fin_waits_for_the_window_too() {
    let mut rig = Rig::established(plain());
    rig.window = 0;
    rig.recv(1, 1, ACK, b"");
    rig.tcp.close(rig.now);
    assert!(rig.out().is_empty());
    let sent = rig.pass(250);
    assert!(sent[0].flags.contains(FIN));
    rig.recv(1, 2, ACK, b"");
    assert_eq!(rig.tcp.state(), State::FinWait2);
}

// Retransmission timer (RFC 6298)

#[test]
fn retransmissions_back_off_and_give_up() {
    let mut cfg = plain();
    cfg.data_retries = 5;
    let mut rig = Rig::established(cfg);
    rig.send(100);
    let sent = rig.pass(100_000);
    let at: Vec<u64> = sent.iter().map(|s| s.at_millis).collect();
    assert_eq!(at, [0, 210, 630, 1_470, 3_150, 6_510]);
    assert!(sent.iter().all(|s| (s.seq, s.len) == (1, 100)));
    assert_eq!(rig.tcp.error(), Some(TcpError::TimedOut));
    assert!(rig.tcp.is_gone());
    assert_eq!(rig.buffers.small().in_use(), 0);
}

#[test]
fn karn_keeps_the_backoff_until_a_clean_sample() {
    let mut rig = Rig::established(plain());
    rig.send(100);
    rig.pass(250);
    assert_eq!(rig.tcp.info().rto, Duration::from_millis(420));
    rig.recv(1, 101, ACK, b"");
    assert_eq!(rig.tcp.info().rto, Duration::from_millis(420));
    rig.send(100);
    rig.out();
    rig.pass(10);
    rig.recv(1, 201, ACK, b"");
    assert_eq!(rig.tcp.info().rto, Duration::from_millis(210));
}

#[test]
fn an_echoed_timestamp_is_a_clean_sample() {
    let mut cfg = plain();
    cfg.timestamps = true;
    let mut rig = Rig::established(cfg);
    rig.send(100);
    rig.pass(250);
    assert_eq!(rig.tcp.info().rto, Duration::from_millis(420));
    // `recv` echoes the current time: as if the retransmission had come back at once.
    rig.recv(1, 101, ACK, b"");
    let info = rig.tcp.info();
    assert_eq!(info.rto, Duration::from_millis(200) + info.srtt);
}

#[test]
fn a_lost_syn_makes_the_first_timeout_long() {
    let mut rig = Rig::syn_sent(plain());
    rig.pass(1_500);
    let mut syn_ack = rig.segment(0, 1, super::rig::SYN | ACK, b"");
    syn_ack.options = super::rig::syn_options(None);
    rig.give(syn_ack);
    assert!(rig.tcp.info().rto >= Duration::from_secs(3));
    assert_eq!(rig.tcp.info().cwnd, 1_000, "one segment (RFC 5681)");
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

// ICMP (RFC 1122 section 4.2.3.9, RFC 5461, RFC 5927)

#[test]
fn icmp_errors_end_handshakes_only() {
    let hard = IcmpError::Hard(Unreachable::Port);
    let mut rig = Rig::syn_sent(plain());
    assert!(
        rig.tcp
            .on_icmp_error(hard, super::rig::ours(9), rig.now)
            .is_err()
    );
    rig.tcp
        .on_icmp_error(hard, super::rig::ours(0), rig.now)
        .expect("ours");
    assert_eq!(rig.tcp.error(), Some(TcpError::Refused));

    let mut rig = Rig::syn_sent(plain());
    rig.tcp
        .on_icmp_error(
            IcmpError::Soft(Unreachable::Host),
            super::rig::ours(0),
            rig.now,
        )
        .expect("ours");
    assert_eq!(rig.tcp.state(), State::SynSent);
    rig.pass(1_000_000);
    assert_eq!(
        rig.tcp.error(),
        Some(TcpError::Unreachable(Unreachable::Host))
    );

    let mut rig = Rig::established(plain());
    assert!(
        rig.tcp
            .on_icmp_error(hard, super::rig::ours(1), rig.now)
            .is_err()
    );
    rig.send(10);
    rig.out();
    rig.tcp
        .on_icmp_error(hard, super::rig::ours(1), rig.now)
        .expect("in flight");
    assert_eq!(rig.tcp.state(), State::Established);
}

#[test]
fn a_smaller_path_resends_in_smaller_segments() {
    let mut rig = Rig::established(plain());
    rig.max_payload = 1_000;
    rig.send(3_000);
    assert_eq!(rig.payloads().len(), 3);
    rig.tcp.on_path_mtu(500, rig.now);
    rig.max_payload = 500;
    let cwnd = rig.tcp.info().cwnd;
    let mut sent = rig.payloads();
    let mut acked = 1;
    for _ in 0..20 {
        acked += 500;
        if acked > 3_001 {
            break;
        }
        rig.recv(1, acked, ACK, b"");
        sent.extend(rig.payloads());
    }
    assert!(sent.iter().all(|p| p.len <= 500));
    let total: usize = sent.iter().map(|p| p.len).sum();
    assert_eq!(total, 3_000, "all of it once more: {sent:?}");
    assert!(rig.tcp.info().cwnd >= cwnd, "not a sign of congestion");
    assert_eq!(rig.tcp.unacked(), 0);
}

// Memory

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
