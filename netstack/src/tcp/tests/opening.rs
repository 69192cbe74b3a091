//! RFC 9293 section 3.10.7 before a connection is open: CLOSED, SYN-SENT and SYN-RECEIVED.

use super::rig::{ACK, FIN, RST, Rig, SYN, open, ours, plain, syn, syn_options, theirs};
use crate::base::{DropReason, TcpConfig};
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
    assert_eq!(options.window_scale, Some(9));
    assert!(options.sack_permitted);
    assert_eq!(syn_options(None).mss, Some(1_000));
}

/// RFC 9293 section 3.7.1, MUST-65: the option is in SYNs only.
#[test]
fn no_segment_but_a_syn_announces_an_mss() {
    let mut rig = Rig::established(plain());
    rig.send(3_000);
    let mut out = rig.out();
    rig.recv(1, 3_001, ACK, &[7; 2_000]);
    out.extend(rig.out());
    rig.close();
    out.extend(rig.out());
    assert_eq!(out.len(), 3, "data, an ACK, a FIN: {out:?}");
    for seg in out {
        assert_eq!(seg.options.mss, None);
        assert_eq!(seg.options.window_scale, None);
        assert!(!seg.options.sack_permitted);
    }
}
