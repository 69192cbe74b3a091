//! RFC 9293 section 3.10.7, in its order: what happens when a segment arrives.

use core::time::Duration;

use super::rig::{ACK, FIN, RST, Rig, SYN, open, ours, plain, syn, syn_options, theirs};
use crate::base::{DropReason, TcpConfig};
use crate::tcp::segment::SegmentParts;
use crate::tcp::{Readiness, State, Tcp, TcpError, reset_for};
use packet::tcp::{TcpFlags, TcpOptions, Timestamps};

// 3.10.7.1: CLOSED

#[test]
fn closed_answers_with_a_reset_and_ignores_resets() {
    let mut rig = Rig::established(plain());
    rig.recv(1, 1, RST, b"");
    assert_eq!(rig.tcp.state(), State::Closed);
    let outcome = rig.recv(1, 1, ACK, b"late");
    let rst = outcome.rst.expect("a reset");
    assert_eq!((rst.seq, rst.flags), (ours(1), RST));
    assert_eq!(outcome.drop, Some(DropReason::TcpNoListener));
    assert!(rig.recv(1, 1, RST, b"").rst.is_none());
    let syn = rig.segment(7, 0, SYN, b"");
    let rst = reset_for(&syn.into()).expect("a reset");
    assert_eq!((rst.ack, rst.flags), (theirs(8), RST | ACK));
}

// 3.10.7.3: SYN-SENT

#[test]
fn syn_sent_resets_a_bad_ack() {
    for bad in [0, 2, 1_000_000] {
        let mut rig = Rig::syn_sent(plain());
        let outcome = rig.recv(0, bad, SYN | ACK, b"");
        let rst = outcome.rst.expect("a reset");
        assert_eq!((rst.seq, rst.flags), (ours(bad), RST));
        assert_eq!(rig.tcp.state(), State::SynSent);
        // The same with RST: silence.
        let outcome = rig.recv(0, bad, RST | ACK, b"");
        assert!(outcome.rst.is_none());
        assert_eq!(outcome.drop, Some(DropReason::TcpBadAck));
        assert_eq!(rig.tcp.state(), State::SynSent);
    }
}

#[test]
fn syn_sent_is_refused_only_by_a_reset_that_acknowledges() {
    let mut rig = Rig::syn_sent(plain());
    rig.recv(0, 0, RST, b"");
    assert_eq!(rig.tcp.state(), State::SynSent);
    let outcome = rig.recv(0, 1, RST | ACK, b"");
    assert!(
        outcome
            .readiness
            .contains(Readiness::ERROR | Readiness::CLOSED)
    );
    assert_eq!(rig.tcp.error(), Some(TcpError::Refused));
    assert!(rig.tcp.is_gone());
    assert_eq!(rig.tcp.take_error(), Some(TcpError::Refused));
    assert_eq!(rig.tcp.take_error(), None, "shown once");
    assert!(rig.out().is_empty());
}

#[test]
fn syn_sent_becomes_established_by_a_syn_ack() {
    let mut rig = Rig::syn_sent(plain());
    let outcome = rig.recv(0, 1, SYN | ACK, b"");
    assert!(
        outcome
            .readiness
            .contains(Readiness::ESTABLISHED | Readiness::WRITABLE)
    );
    assert_eq!(rig.tcp.state(), State::Established);
    assert_eq!(rig.one(), (1, 1, ACK));
}

#[test]
fn syn_sent_ignores_what_has_neither_syn_nor_rst() {
    let mut rig = Rig::syn_sent(plain());
    let outcome = rig.recv(0, 1, ACK, b"text");
    assert_eq!(outcome.drop, Some(DropReason::TcpNotAcceptable));
    let outcome = rig.recv(0, 1, FIN | ACK, b"");
    assert_eq!(outcome.drop, Some(DropReason::TcpNotAcceptable));
    assert_eq!(rig.tcp.state(), State::SynSent);
    assert!(rig.out().is_empty());
}

#[test]
fn simultaneous_open_by_syn_ack_and_by_ack() {
    for finish_with_syn in [true, false] {
        let mut rig = Rig::syn_sent(plain());
        rig.recv(0, 0, SYN, b"");
        assert_eq!(rig.tcp.state(), State::SynReceived);
        assert_eq!(rig.one(), (0, 1, SYN | ACK));
        let outcome = if finish_with_syn {
            rig.recv(0, 1, SYN | ACK, b"")
        } else {
            rig.recv(1, 1, ACK, b"hello")
        };
        assert!(outcome.readiness.contains(Readiness::ESTABLISHED));
        assert_eq!(rig.tcp.state(), State::Established);
        if finish_with_syn {
            assert_eq!(rig.one(), (1, 1, ACK));
        } else {
            assert_eq!(rig.read_all(), b"hello");
        }
    }
}

#[test]
fn a_syn_goes_again_and_then_times_out() {
    let mut rig = Rig::syn_sent(plain());
    let sent = rig.pass(1_000_000);
    let at: Vec<u64> = sent.iter().map(|s| s.at_millis).collect();
    assert_eq!(at, [1_000, 3_000, 7_000, 15_000, 31_000, 63_000]);
    assert!(sent.iter().all(|s| s.seq == 0 && s.flags == SYN));
    assert_eq!(rig.tcp.error(), Some(TcpError::TimedOut));
    assert!(rig.tcp.is_gone());
}

// 3.10.7.4: SYN-RECEIVED

#[test]
fn syn_received_sends_its_syn_ack_again_for_a_syn() {
    let mut rig = Rig::syn_received(plain());
    rig.give(syn());
    assert_eq!(rig.one(), (0, 1, SYN | ACK));
    assert_eq!(rig.tcp.state(), State::SynReceived);
}

#[test]
fn syn_received_passive_goes_by_a_reset_in_place_only() {
    let mut rig = Rig::syn_received(plain());
    rig.recv(5, 0, RST, b"");
    assert_eq!(rig.tcp.state(), State::SynReceived);
    assert_eq!(rig.one(), (1, 1, ACK), "a challenge");
    rig.recv(100_000, 0, RST, b"");
    assert!(rig.out().is_empty(), "outside the window: silence");
    rig.recv(1, 0, RST, b"");
    assert!(rig.tcp.is_gone());
    assert_eq!(rig.tcp.error(), Some(TcpError::Reset));
}

#[test]
fn syn_received_active_is_refused_by_a_reset() {
    let mut rig = Rig::syn_sent(plain());
    rig.recv(0, 0, SYN, b"");
    rig.recv(1, 0, RST, b"");
    assert_eq!(rig.tcp.error(), Some(TcpError::Refused));
}

#[test]
fn syn_received_resets_a_bad_ack_and_drops_what_has_none() {
    let mut rig = Rig::syn_received(plain());
    for bad in [0, 2, 77_777] {
        let outcome = rig.recv(1, bad, ACK, b"");
        let rst = outcome.rst.expect("a reset");
        assert_eq!((rst.seq, rst.flags), (ours(bad), RST));
        assert_eq!(outcome.drop, Some(DropReason::TcpBadAck));
    }
    let outcome = rig.recv(1, 0, TcpFlags::empty(), b"x");
    assert_eq!(outcome.drop, Some(DropReason::TcpNotAcceptable));
    assert_eq!(rig.tcp.state(), State::SynReceived);
}

#[test]
fn the_handshakes_ack_may_carry_payload_and_fin() {
    let mut rig = Rig::syn_received(plain());
    let outcome = rig.recv(1, 1, ACK | FIN, b"all there is");
    assert!(
        outcome
            .readiness
            .contains(Readiness::ESTABLISHED | Readiness::READABLE | Readiness::PEER_CLOSED)
    );
    assert_eq!(rig.tcp.state(), State::CloseWait);
    assert_eq!(rig.one(), (1, 14, ACK));
    assert_eq!(rig.read_all(), b"all there is");
    assert!(rig.tcp.is_recv_finished());
}

#[test]
fn closing_during_the_handshake() {
    // SYN-SENT: it is as if nothing had been.
    let mut rig = Rig::syn_sent(plain());
    rig.tcp.close(rig.now);
    assert!(rig.tcp.is_gone() && rig.tcp.error().is_none());
    // SYN-RECEIVED: the FIN follows the handshake.
    let mut rig = Rig::syn_received(plain());
    rig.tcp.close(rig.now);
    rig.recv(1, 1, ACK, b"");
    assert_eq!(rig.tcp.state(), State::FinWait1);
    assert_eq!(rig.one(), (1, 1, FIN | ACK));
}

#[test]
fn aborting_during_the_handshake() {
    let mut rig = Rig::syn_sent(plain());
    rig.tcp.abort(rig.now);
    assert!(rig.out().is_empty() && rig.tcp.is_gone());
    let mut rig = Rig::syn_received(plain());
    rig.tcp.abort(rig.now);
    assert!(!rig.tcp.is_gone());
    assert_eq!(rig.one(), (1, 1, RST | ACK));
    assert!(rig.tcp.is_gone());
}

#[test]
fn options_are_accepted_only_if_offered() {
    let cfg = std::sync::Arc::new(TcpConfig::default());
    let now = crate::base::Instant::from_millis(5);
    let mut bare = syn();
    bare.options = TcpOptions::default();
    let mut tcp = Tcp::accept(&cfg, open(), &bare.into(), now);
    let syn_ack = tcp.poll_transmit(now, 1_000).expect("SYN-ACK");
    assert_eq!(
        syn_ack.options,
        TcpOptions {
            mss: Some(1_000),
            ..TcpOptions::default()
        }
    );
    let mut tcp = Tcp::accept(&cfg, open(), &syn().into(), now);
    let options = tcp.poll_transmit(now, 1_000).expect("SYN-ACK").options;
    assert_eq!(
        options.timestamps,
        Some(Timestamps {
            val: 7_005,
            ecr: 500
        })
    );
    assert_eq!(options.window_scale, Some(7));
    assert!(options.sack_permitted);
    assert_eq!(syn_options(None).mss, Some(1_000));
}

// First: the sequence number

#[test]
fn what_is_outside_the_window_is_answered_with_an_ack() {
    let mut rig = Rig::established(plain());
    for (seq, payload) in [(70_000, &b"far"[..]), (0, b"x"), (0, b"")] {
        let outcome = rig.recv(seq, 1, ACK, payload);
        assert_eq!(outcome.drop, Some(DropReason::TcpNotAcceptable));
        assert_eq!(rig.one(), (1, 1, ACK));
    }
    assert_eq!(rig.tcp.recv_len(), 0);
    // With RST: silence.
    rig.recv(70_000, 1, RST, b"");
    assert!(rig.out().is_empty());
    assert_eq!(rig.tcp.state(), State::Established);
}

#[test]
fn replies_to_empty_unacceptable_segments_are_limited() {
    let mut rig = Rig::established(plain());
    let replies: usize = (0..100)
        .map(|_| {
            rig.recv(70_000, 1, ACK, b"");
            rig.out().len()
        })
        .sum();
    assert_eq!(replies, 8);
    rig.now = rig.now + Duration::from_secs(1);
    rig.recv(70_000, 1, ACK, b"");
    assert_eq!(rig.out().len(), 1);
}

#[test]
fn only_the_new_part_of_a_straddling_segment_counts() {
    let mut rig = Rig::established(plain());
    rig.recv(1, 1, ACK, b"abc");
    rig.recv(2, 1, ACK, b"bcdef");
    assert_eq!(rig.read_all(), b"abcdef");
    assert_eq!(rig.one().ack, 7);
}

// Second: RST

#[test]
fn a_reset_counts_only_in_place() {
    let mut rig = Rig::established(plain());
    let outcome = rig.recv(2, 1, RST, b"");
    assert_eq!(outcome.drop, Some(DropReason::TcpChallenged));
    assert_eq!(rig.one(), (1, 1, ACK));
    assert_eq!(rig.tcp.state(), State::Established);
    let outcome = rig.recv(1, 1, RST, b"");
    assert!(outcome.readiness.contains(
        Readiness::ERROR | Readiness::READABLE | Readiness::WRITABLE | Readiness::CLOSED
    ));
    assert_eq!(rig.tcp.error(), Some(TcpError::Reset));
    assert!(rig.tcp.is_gone() && rig.out().is_empty());
    assert_eq!(rig.tcp.poll_timeout(), None);
}

#[test]
fn bytes_received_before_a_reset_stay_readable() {
    let mut rig = Rig::established(plain());
    rig.recv(1, 1, ACK, b"last words");
    rig.recv(11, 1, RST, b"");
    assert_eq!(rig.read_all(), b"last words");
    assert!(!rig.tcp.is_recv_finished(), "not the end: an error");
    assert_eq!(rig.tcp.error(), Some(TcpError::Reset));
    assert_eq!(rig.tcp.send(b"more", &rig.buffers), 0);
}

#[test]
fn a_reset_after_both_fins_is_not_an_error() {
    let mut rig = Rig::established(plain());
    rig.recv(1, 1, ACK | FIN, b"");
    rig.tcp.close(rig.now);
    rig.out();
    assert_eq!(rig.tcp.state(), State::LastAck);
    rig.recv(2, 1, RST, b"");
    assert_eq!((rig.tcp.state(), rig.tcp.error()), (State::Closed, None));
}

// Fourth: SYN

#[test]
fn a_syn_in_a_synchronised_state_is_challenged() {
    let mut rig = Rig::established(plain());
    for seq in [0, 1, 500, 100_000] {
        let outcome = rig.recv(seq, 1, SYN, b"");
        assert_eq!(outcome.drop, Some(DropReason::TcpChallenged));
        assert_eq!(rig.one(), (1, 1, ACK));
        assert_eq!(rig.tcp.state(), State::Established);
    }
}

// Fifth: ACK

#[test]
fn without_ack_a_segment_is_dropped() {
    let mut rig = Rig::established(plain());
    let outcome = rig.recv(1, 0, TcpFlags::empty(), b"text");
    assert_eq!(outcome.drop, Some(DropReason::TcpNotAcceptable));
    assert_eq!(rig.tcp.recv_len(), 0);
}

#[test]
fn an_ack_of_what_was_never_sent_is_challenged_and_its_payload_dropped() {
    let mut rig = Rig::established(plain());
    rig.send(100);
    rig.out();
    let outcome = rig.recv(1, 102, ACK, b"text");
    assert_eq!(outcome.drop, Some(DropReason::TcpBadAck));
    assert_eq!(rig.tcp.recv_len(), 0);
    assert_eq!(rig.one().flags, ACK);
    // Too old is as bad (RFC 5961 section 5).
    let outcome = rig.recv(1, 0u32.wrapping_sub(60_000), ACK, b"text");
    assert_eq!(outcome.drop, Some(DropReason::TcpBadAck));
    // A little old is only overtaken.
    rig.recv(1, 101, ACK, b"");
    let outcome = rig.recv(1, 1, ACK, b"text");
    assert_eq!(outcome.drop, None);
    assert_eq!(rig.read_all(), b"text");
}

#[test]
fn an_ack_frees_what_it_covers_and_makes_room() {
    let mut cfg = plain();
    cfg.send_buffer = 4_000;
    let mut rig = Rig::established(cfg);
    assert_eq!(rig.tcp.send(&[1; 5_000], &rig.buffers), 4_000);
    assert_eq!(rig.tcp.send(&[1; 5_000], &rig.buffers), 0);
    rig.out();
    let outcome = rig.recv(1, 1_001, ACK, b"");
    assert!(outcome.readiness.contains(Readiness::WRITABLE));
    assert_eq!((rig.tcp.unacked(), rig.tcp.send_room()), (3_000, 1_000));
    let outcome = rig.recv(1, 2_001, ACK, b"");
    assert!(
        !outcome.readiness.contains(Readiness::WRITABLE),
        "told once"
    );
}

// Sixth: URG

#[test]
fn urgent_data_is_data_in_the_stream() {
    let mut rig = Rig::established(plain());
    rig.recv(1, 1, ACK | TcpFlags::URG, b"abc");
    assert_eq!(rig.read_all(), b"abc");
}

// Seventh: the payload

#[test]
fn payload_out_of_order_waits_for_the_gap() {
    let mut rig = Rig::established(plain());
    rig.recv(4, 1, ACK, b"def");
    assert_eq!(rig.one(), (1, 1, ACK), "a duplicate ACK at once");
    rig.recv(9, 1, ACK, b"i");
    rig.recv(7, 1, ACK, b"gh");
    assert_eq!(rig.tcp.info().out_of_order, 6);
    let outcome = rig.recv(1, 1, ACK, b"abc");
    assert!(outcome.readiness.contains(Readiness::READABLE));
    assert_eq!(rig.one(), (1, 10, ACK), "at once: a gap was filled");
    assert_eq!(rig.read_all(), b"abcdefghi");
}

#[test]
fn payload_beyond_the_window_is_cut_off() {
    let mut cfg = plain();
    cfg.recv_buffer_initial = 4_000;
    cfg.recv_buffer_max = 4_000;
    let mut rig = Rig::established(cfg);
    let outcome = rig.recv(1, 1, ACK, &[7; 5_000]);
    assert_eq!(outcome.drop, None);
    assert_eq!(rig.tcp.recv_len(), 4_000);
    let out = rig.out();
    assert_eq!((out[0].ack, out[0].window), (theirs(4_001), 0));
    // Nothing more goes in, but its acknowledgment is taken.
    rig.send(10);
    rig.out();
    let outcome = rig.recv(4_001, 11, ACK, b"x");
    assert_eq!(outcome.drop, Some(DropReason::TcpNoBuffer));
    assert_eq!((rig.tcp.unacked(), rig.tcp.recv_len()), (0, 4_000));
}

#[test]
fn payload_after_the_application_left_resets() {
    let mut rig = Rig::established(plain());
    rig.tcp.close(rig.now);
    rig.tcp.close_recv(rig.now);
    assert_eq!(rig.one(), (1, 1, FIN | ACK));
    let outcome = rig.recv(1, 2, ACK, b"too late");
    assert_eq!(outcome.drop, Some(DropReason::TcpDataAfterClose));
    let flags = rig.one().flags;
    assert!(flags.contains(RST));
    assert!(rig.tcp.is_gone());
}

#[test]
fn unread_bytes_at_close_reset() {
    let mut rig = Rig::established(plain());
    rig.recv(1, 1, ACK, b"unread");
    rig.tcp.close_recv(rig.now);
    assert_eq!(rig.one(), (1, 7, RST | ACK));
    assert!(rig.tcp.is_gone());
}

// Eighth: FIN

#[test]
fn a_fin_out_of_order_waits_for_the_gap() {
    let mut rig = Rig::established(plain());
    let outcome = rig.recv(4, 1, ACK | FIN, b"def");
    assert!(!outcome.readiness.contains(Readiness::PEER_CLOSED));
    assert_eq!(rig.tcp.state(), State::Established);
    let outcome = rig.recv(1, 1, ACK, b"abc");
    assert!(outcome.readiness.contains(Readiness::PEER_CLOSED));
    assert_eq!(rig.tcp.state(), State::CloseWait);
    assert_eq!(rig.one(), (1, 8, ACK));
    assert_eq!(rig.read_all(), b"abcdef");
    assert!(rig.tcp.is_recv_finished());
}

#[test]
fn the_first_end_of_stream_wins() {
    let mut rig = Rig::established(plain());
    rig.recv(4, 1, ACK | FIN, b"def");
    // Payload that would lie beyond the FIN does not count.
    rig.recv(7, 1, ACK, b"ghi");
    rig.recv(1, 1, ACK, b"abc");
    assert_eq!(rig.read_all(), b"abcdef");
    assert_eq!(rig.tcp.state(), State::CloseWait);
    // And a FIN below what is held already is a lie.
    let mut rig = Rig::established(plain());
    rig.recv(7, 1, ACK, b"ghi");
    rig.recv(4, 1, ACK | FIN, b"d");
    rig.recv(1, 1, ACK, b"abc");
    rig.recv(5, 1, ACK, b"ef");
    assert_eq!(rig.read_all(), b"abcdefghi");
    assert_eq!(rig.tcp.state(), State::Established);
}

#[test]
fn passive_close_ends_closed() {
    let mut rig = Rig::established(plain());
    rig.recv(1, 1, ACK | FIN, b"");
    rig.send(5);
    rig.tcp.close(rig.now);
    let out = rig.out();
    assert_eq!(out.len(), 1, "payload, FIN and ACK in one");
    assert!(out[0].flags.contains(FIN | ACK | TcpFlags::PSH));
    assert_eq!(rig.tcp.state(), State::LastAck);
    rig.recv(2, 6, ACK, b"");
    assert_eq!(
        rig.tcp.state(),
        State::LastAck,
        "the FIN is not acknowledged"
    );
    let outcome = rig.recv(2, 7, ACK, b"");
    assert!(outcome.readiness.contains(Readiness::CLOSED));
    assert!(rig.tcp.is_gone() && rig.tcp.error().is_none());
}

#[test]
fn active_close_goes_through_time_wait() {
    let mut rig = Rig::established(plain());
    rig.tcp.close(rig.now);
    assert_eq!(rig.one(), (1, 1, FIN | ACK));
    assert_eq!(rig.tcp.state(), State::FinWait1);
    rig.recv(1, 2, ACK, b"");
    assert_eq!(rig.tcp.state(), State::FinWait2);
    rig.recv(1, 2, ACK, b"still here");
    let outcome = rig.recv(11, 2, ACK | FIN, b"");
    assert!(
        outcome
            .readiness
            .contains(Readiness::PEER_CLOSED | Readiness::CLOSED)
    );
    assert_eq!(rig.tcp.state(), State::TimeWait);
    assert_eq!(rig.one(), (2, 12, ACK));
    assert_eq!(rig.read_all(), b"still here", "readable in TIME-WAIT, too");
    // A retransmitted FIN is acknowledged again, and 2 MSL begin anew.
    rig.pass(50_000);
    rig.recv(11, 2, ACK | FIN, b"");
    assert_eq!(rig.one(), (2, 12, ACK));
    rig.pass(50_000);
    assert_eq!(rig.tcp.state(), State::TimeWait);
    rig.pass(10_001);
    assert!(rig.tcp.is_gone());
}

#[test]
fn fin_and_ack_of_ours_together_skip_fin_wait_2() {
    let mut rig = Rig::established(plain());
    rig.tcp.close(rig.now);
    rig.out();
    rig.recv(1, 2, ACK | FIN, b"");
    assert_eq!(rig.tcp.state(), State::TimeWait);
}

#[test]
fn simultaneous_close() {
    let mut rig = Rig::established(plain());
    rig.tcp.close(rig.now);
    rig.out();
    rig.recv(1, 1, ACK | FIN, b"");
    assert_eq!(rig.tcp.state(), State::Closing);
    assert_eq!(rig.one(), (2, 2, ACK));
    rig.recv(2, 2, ACK, b"");
    assert_eq!(rig.tcp.state(), State::TimeWait);
}

#[test]
fn half_close_lets_the_other_half_live() {
    let mut rig = Rig::established(plain());
    rig.recv(1, 1, ACK | FIN, b"");
    assert_eq!(rig.tcp.state(), State::CloseWait);
    rig.out();
    rig.send(3_000);
    let total: usize = rig.payloads().iter().map(|p| p.len).sum();
    assert_eq!(total, 3_000);
    // After its FIN the peer sends no payload.
    let outcome = rig.recv(2, 1, ACK, b"impossible");
    assert_eq!(outcome.drop, Some(DropReason::TcpNotAcceptable));
    assert_eq!(rig.tcp.recv_len(), 0);
}

// 3.10.5: ABORT

#[test]
fn abort_sends_one_reset() {
    let mut rig = Rig::established(plain());
    rig.send(100);
    rig.out();
    rig.tcp.abort(rig.now);
    assert_eq!(rig.tcp.state(), State::Closed);
    assert_eq!(rig.one(), (101, 1, RST | ACK));
    assert!(rig.tcp.is_gone());
    assert_eq!(rig.tcp.error(), Some(TcpError::Aborted));
    assert_eq!(rig.buffers.small().in_use(), 0);
}

// RFC 7323 section 5: PAWS

fn stamped() -> TcpConfig {
    TcpConfig {
        timestamps: true,
        ..plain()
    }
}

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
