//! RFC 9293 section 3.10.7.4, in its order: what happens when a segment arrives at an open connection.

use core::time::Duration;

use super::rig::{ACK, FIN, RST, Rig, SYN, plain, theirs};
use crate::base::DropReason;
use crate::tcp::{Readiness, State, TcpError};
use packet::tcp::TcpFlags;

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
fn rfc5961_5_2_an_ack_from_before_the_connection_is_challenged() {
    let mut rig = Rig::established(plain());
    for ack in [0, 0u32.wrapping_sub(100)] {
        let outcome = rig.recv(1, ack, ACK, b"text");
        assert_eq!(outcome.drop, Some(DropReason::TcpBadAck), "{ack}");
        assert_eq!(rig.one().flags, ACK);
    }
    assert_eq!(rig.tcp.recv_len(), 0);
    // All that was acknowledged may come again, with and without a FIN of ours.
    rig.send(100);
    rig.out();
    rig.recv(1, 101, ACK, b"");
    rig.tcp.close(rig.now);
    rig.out();
    rig.recv(1, 102, ACK, b"");
    for (ack, is_old) in [(1, true), (0, false)] {
        let outcome = rig.recv(1, ack, ACK, b"");
        assert_eq!(outcome.drop.is_none(), is_old, "{ack}");
    }
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
