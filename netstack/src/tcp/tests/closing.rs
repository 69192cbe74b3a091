//! Closing (RFC 9293 section 3.10.4) and aborting. With something unread, the bytes that were queued are sent first, then
//! the reset.

use super::rig::{ACK, FIN, RST, Rig, ours, plain, theirs};
use crate::base::DropReason;
use crate::tcp::{Readiness, State, TcpError};
use packet::tcp::TcpFlags;

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

/// Returns a connection on which the peer sent six bytes that were not read.
fn with_unread() -> Rig {
    let mut rig = Rig::established(plain());
    rig.recv(1, 1, ACK, b"unread");
    rig
}

fn flags(rig: &mut Rig) -> Vec<(u32, usize, TcpFlags)> {
    rig.payloads()
        .iter()
        .map(|s| (s.seq, s.len, s.flags))
        .collect()
}

const PSH: TcpFlags = TcpFlags::PSH;

#[test]
fn queued_bytes_leave_before_the_reset() {
    let mut rig = with_unread();
    rig.send(42);
    rig.tcp.close_both(rig.now);
    assert!(rig.tcp.wants_transmit());
    assert_eq!(flags(&mut rig), [(1, 42, ACK | PSH), (43, 0, RST | ACK)]);
    assert!(rig.tcp.is_gone());
    assert_eq!(rig.buffers.small().in_use(), 0);
}

#[test]
fn a_small_rest_does_not_wait_for_the_nagle_algorithm() {
    let mut rig = with_unread();
    rig.send(10);
    assert_eq!(rig.payloads(), [(1, 10)]);
    rig.send(10);
    assert!(rig.out().is_empty(), "held by the small segment in flight");
    rig.tcp.close_both(rig.now);
    assert_eq!(flags(&mut rig), [(11, 10, ACK | PSH), (21, 0, RST | ACK)]);
}

#[test]
fn the_end_of_stream_that_was_asked_for_leaves_before_the_reset() {
    let mut rig = with_unread();
    rig.send(42);
    rig.close();
    rig.tcp.close_recv(rig.now);
    assert_eq!(
        flags(&mut rig),
        [(1, 42, ACK | PSH | FIN), (44, 0, RST | ACK)]
    );
}

#[test]
fn bytes_beyond_the_windows_follow_the_acknowledgments() {
    let mut rig = with_unread();
    rig.send(30_000);
    rig.tcp.close_both(rig.now);
    assert_eq!(rig.tcp.send(b"more", &rig.buffers), 0, "closed");
    let mut end = 1;
    let mut rounds = 0;
    while !rig.tcp.is_gone() {
        rounds += 1;
        assert!(rounds < 10, "{:?}", rig.tcp.info());
        for sent in rig.out() {
            assert_eq!(sent.seq, ours(end), "in order, each byte once");
            end += sent.payload.len_bytes() as u32;
            let last = sent.flags.contains(RST);
            assert_eq!(last, end == 30_001 && sent.payload.len_bytes() == 0);
            // What the peer still sends is not taken, and its window does not open.
            let right = sent.ack + u32::from(sent.window);
            assert_eq!((sent.ack, right), (theirs(7), theirs(65_536)));
        }
        if !rig.tcp.is_gone() {
            let outcome = rig.recv(7, end, ACK, &[9; 500]);
            assert_eq!(outcome.drop, Some(DropReason::TcpDataAfterClose));
        }
    }
    assert!(rounds > 1, "the window was meant to be the limit");
    assert_eq!(end, 30_001);
}

#[test]
fn the_reset_waits_no_longer_than_the_timer() {
    // Nothing is acknowledged.
    let mut rig = with_unread();
    rig.send(30_000);
    rig.tcp.close_both(rig.now);
    let sent = rig.pass(1_000);
    let last = sent.last().expect("a reset");
    assert_eq!((last.seq, last.flags), (10_001, RST | ACK));
    assert!((200..400).contains(&last.at_millis), "{last:?}");
    assert!(rig.tcp.is_gone());

    // The window is closed.
    let mut rig = with_unread();
    rig.window = 0;
    rig.recv(7, 1, ACK, b"");
    rig.send(500);
    rig.tcp.close_both(rig.now);
    let sent = rig.pass(1_000);
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert_eq!((sent[1].seq, sent[1].flags), (1, RST | ACK));
    assert!(rig.tcp.is_gone());
}

#[test]
fn payload_after_close_leaves_queued_bytes_their_turn() {
    let mut rig = Rig::established(plain());
    rig.send(42);
    rig.tcp.close_both(rig.now);
    assert_eq!(rig.tcp.state(), State::FinWait1);
    let outcome = rig.recv(1, 1, ACK, b"late");
    assert_eq!(outcome.drop, Some(DropReason::TcpDataAfterClose));
    assert_eq!(
        flags(&mut rig),
        [(1, 42, ACK | PSH | FIN), (44, 0, RST | ACK)]
    );
    assert!(rig.tcp.is_gone());
}

#[test]
fn rfc1122_4_2_2_13_an_end_of_stream_that_the_window_keeps_back_does_not_hold_the_reset() {
    let mut rig = Rig::established(plain());
    rig.window = 0;
    rig.recv(1, 1, ACK, b"");
    rig.tcp.close_both(rig.now);
    assert!(rig.out().is_empty(), "the window is closed");
    let outcome = rig.recv(1, 1, ACK, b"late");
    assert_eq!(outcome.drop, Some(DropReason::TcpDataAfterClose));
    assert_eq!(flags(&mut rig), [(1, 0, RST | ACK)]);
    assert!(rig.tcp.is_gone());
}

#[test]
fn an_acknowledged_end_of_stream_does_not_hold_the_reset() {
    let mut rig = Rig::established(plain());
    rig.send(42);
    rig.tcp.close_both(rig.now);
    rig.recv(1, 1, ACK, b"late");
    let sent = rig.tcp.poll_transmit(rig.now, 0).expect("the bytes");
    assert!(sent.flags.contains(FIN));
    rig.recv(1, 44, ACK, b"");
    assert_eq!(flags(&mut rig), [(44, 0, RST | ACK)]);
    assert!(rig.tcp.is_gone());
}

#[test]
fn bytes_that_were_taken_and_dropped_are_unread() {
    let mut rig = with_unread();
    assert_eq!(rig.read_all(), b"unread");
    rig.tcp.note_unread();
    rig.send(42);
    rig.tcp.close_both(rig.now);
    assert_eq!(flags(&mut rig), [(1, 42, ACK | PSH), (43, 0, RST | ACK)]);
}

#[test]
fn an_abort_drops_what_is_queued() {
    let mut rig = with_unread();
    rig.send(42);
    rig.abort();
    assert_eq!(flags(&mut rig), [(1, 0, RST | ACK)]);
    assert!(rig.tcp.is_gone());
}

#[test]
fn an_abort_after_a_close_resets_until_the_end_of_stream_was_sent() {
    for sends_all in [false, true] {
        let mut rig = Rig::established(plain());
        rig.recv(1, 1, ACK | FIN, b"");
        rig.send(if sends_all { 42 } else { 30_000 });
        rig.close();
        rig.out();
        assert_eq!(rig.tcp.state(), State::LastAck);
        rig.abort();
        let resets = rig.out();
        assert_eq!(resets.len(), usize::from(!sends_all), "{resets:?}");
        assert!(resets.iter().all(|seg| seg.flags.contains(RST)));
        assert!(rig.tcp.is_gone());
    }
}
