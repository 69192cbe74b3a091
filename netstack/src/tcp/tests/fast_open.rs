//! TCP Fast Open (RFC 7413), and data on SYNs that cross (RFC 9293 section 3.10.7.3).

use core::time::Duration;
use std::sync::Arc;

use packet::tcp::FastOpen;

use super::rig::{ACK, FIN, RST, Rig, SYN, open, ours, plain, syn, theirs};
use crate::base::{DropReason, TcpConfig};
use crate::tcp::segment::SegmentParts;
use crate::tcp::{
    FastAccept, FastConnect, FastOpenNews, FastOpenQueue, HalfOpen, Segment, SegmentOut, State,
    Tcp, TcpError,
};

fn cookie(byte: u8) -> FastOpen {
    FastOpen::new(&[byte; 8]).expect("a valid length")
}

// The server (section 4.2.2).

/// Returns a connection that a SYN with data opened, and the queue of its place.
fn accepted(cfg: TcpConfig, data: &[u8]) -> (Rig, Arc<FastOpenQueue>) {
    let queue = FastOpenQueue::new(1);
    let mut rig = Rig::syn_sent(plain());
    let cfg = Arc::new(cfg);
    let mut parts = syn();
    parts.payload = rig.buffers.copy(data).expect("a slab");
    let syn = Segment::from(parts);
    let half = HalfOpen::new(&cfg, open(), &syn, rig.now);
    let grant = FastAccept {
        cookie: Some(cookie(9)),
        place: queue.admit(rig.now).expect("free"),
        path_mss: 1_000,
    };
    let (tcp, outcome) = Tcp::accept_early(&half, grant, &cfg, syn, rig.now, &rig.buffers);
    assert_eq!(outcome.drop, None);
    rig.tcp = tcp;
    rig.tcp.check();
    (rig, queue)
}

/// Returns what a segment is about: sequence number, acknowledgment and payload relative to the SYNs, flags.
fn seen(segment: &SegmentOut) -> (u32, u32, usize, packet::tcp::TcpFlags) {
    (
        segment.seq - ours(0),
        segment.ack - theirs(0),
        segment.payload.len_bytes(),
        segment.flags,
    )
}

#[test]
fn rfc7413_4_2_2_data_of_a_syn_is_read_and_answered_before_the_handshake_is_done() {
    let (mut rig, queue) = accepted(plain(), b"question");
    assert_eq!(rig.tcp.state(), State::SynReceived);
    assert_eq!(rig.read_all(), b"question");
    assert!(rig.tcp.may_send());
    rig.send(1_500);
    let out = rig.out();
    let syn_ack = &out[0];
    assert_eq!(seen(syn_ack), (0, 9, 0, SYN | ACK));
    assert_eq!(syn_ack.options.fast_open(), Some(cookie(9)));
    let data: usize = out[1..].iter().map(|seg| seg.payload.len_bytes()).sum();
    assert_eq!((data, seen(&out[1]).0), (1_500, 1));
    assert_eq!(queue.taken(), 1);

    assert!(rig.out().is_empty(), "no window update, either");
    rig.now = rig.now + Duration::from_millis(10);
    rig.recv(9, 1, ACK, b"");
    assert_eq!(rig.tcp.state(), State::Established);
    assert_eq!(queue.taken(), 0);
    assert_eq!(rig.tcp.info().srtt, Duration::from_millis(10));
    rig.recv(9, 1_501, ACK, b"more");
    assert_eq!(rig.read_all(), b"more");
    assert_eq!(rig.tcp.info().in_flight, 0);
}

#[test]
fn rfc7413_4_2_2_one_acknowledgment_can_cover_syn_and_data() {
    let (mut rig, _) = accepted(plain(), b"question");
    rig.send(700);
    rig.out();
    rig.recv(9, 701, ACK, b"");
    assert_eq!(rig.tcp.state(), State::Established);
    assert_eq!(rig.tcp.info().in_flight, 0);
    assert_eq!(rig.tcp.info().bytes_out, 700);
}

#[test]
fn rfc7413_4_2_2_the_syn_ack_alone_is_sent_again_and_then_the_data() {
    let (mut rig, _) = accepted(plain(), b"x");
    rig.send(3_000);
    assert_eq!(rig.out().len(), 2);
    let again = rig.pass(3_500);
    let flags: Vec<_> = again
        .iter()
        .map(|s| (s.at_millis, s.flags, s.len))
        .collect();
    assert_eq!(flags, [(1_000, SYN | ACK, 0), (3_000, SYN | ACK, 0)]);
    rig.recv(2, 1, ACK, b"");
    assert_eq!(rig.tcp.state(), State::Established);
    // RFC 5681 section 3.1: one segment, since the SYN-ACK was lost.
    assert_eq!(rig.tcp.info().cwnd, 1_000);
    let resent = rig.pass(5_000);
    assert_eq!(resent[0].seq, 1, "{resent:?}");
}

#[test]
fn the_syn_again_gets_the_syn_ack_again_without_the_option() {
    let (mut rig, _) = accepted(plain(), b"question");
    assert!(rig.out()[0].options.fast_open().is_some());
    let mut again = syn();
    again.payload = rig.buffers.copy(b"question").expect("a slab");
    rig.give(again);
    let out = rig.out();
    assert_eq!(out.len(), 1);
    assert_eq!(seen(&out[0]), (0, 9, 0, SYN | ACK));
    assert_eq!(out[0].options.fast_open(), None);
    assert_eq!(rig.read_all(), b"question", "once");
}

#[test]
fn rfc7413_5_1_a_reset_keeps_the_place_for_a_minute() {
    let (mut rig, queue) = accepted(plain(), b"question");
    rig.out();
    rig.recv(9, 0, RST, b"");
    assert_eq!(rig.tcp.error(), Some(TcpError::Reset));
    assert_eq!(rig.read_all(), b"question", "as on Linux");
    assert!(rig.tcp.is_gone());
    assert_eq!(queue.taken(), 1);
    assert!(queue.admit(rig.now + Duration::from_secs(59)).is_none());
    assert!(queue.admit(rig.now + Duration::from_secs(61)).is_some());
    // A reset that is not the next one is challenged (RFC 5961).
    let (mut rig, queue) = accepted(plain(), b"question");
    rig.out();
    let outcome = rig.recv(10, 0, RST, b"");
    assert_eq!(outcome.drop, Some(DropReason::TcpChallenged));
    assert_eq!(rig.one(), (1, 9, ACK));
    assert_eq!(queue.taken(), 1);
}

#[test]
fn an_acknowledgment_of_nothing_that_was_sent_is_reset() {
    for bad in [0, 2, 1_000_000] {
        let (mut rig, _) = accepted(plain(), b"question");
        rig.out();
        let outcome = rig.recv(9, bad, ACK, b"");
        let rst = outcome.rst.expect("a reset");
        assert_eq!((rst.seq, rst.flags), (ours(bad), RST));
        assert_eq!(rig.tcp.state(), State::SynReceived);
    }
}

#[test]
fn a_handshake_that_nobody_ends_is_given_up() {
    let (mut rig, queue) = accepted(plain(), b"question");
    let sent = rig.pass(1_000_000);
    assert_eq!(sent.len(), 7);
    assert!(sent.iter().all(|s| s.flags == SYN | ACK));
    assert_eq!(rig.tcp.error(), Some(TcpError::TimedOut));
    assert!(rig.tcp.is_gone());
    assert_eq!(queue.taken(), 0);
}

#[test]
fn the_application_may_close_or_abort_before_the_handshake_is_done() {
    let (mut rig, queue) = accepted(plain(), b"question");
    assert_eq!(rig.read_all(), b"question");
    rig.send(10);
    rig.close();
    let out = rig.out();
    assert_eq!(seen(&out[0]).3, SYN | ACK);
    assert!(out[1].flags.contains(FIN));
    assert_eq!(rig.tcp.state(), State::FinWait1);
    rig.recv(9, 12, ACK | FIN, b"");
    assert_eq!(rig.tcp.state(), State::TimeWait);
    assert_eq!(queue.taken(), 0);

    let (mut rig, queue) = accepted(plain(), b"question");
    rig.out();
    rig.abort();
    assert_eq!(rig.one(), (1, 9, RST | ACK));
    assert!(rig.tcp.is_gone());
    rig.pass(10_000);
    drop(rig);
    assert_eq!(queue.taken(), 0);
}

#[test]
fn a_syn_without_data_opens_with_a_valid_cookie_too() {
    let (mut rig, _) = accepted(plain(), b"");
    assert_eq!(rig.one(), (0, 1, SYN | ACK));
    // However idle it is, it does not rest before the handshake is done.
    rig.now = rig.now + Duration::from_millis(500);
    assert_eq!(rig.tcp.rest_at(), None);
    rig.tcp.rest(rig.now);
    rig.send(5);
    assert_eq!(rig.payloads(), [(1, 5)]);
    rig.recv(1, 6, ACK, b"late");
    assert_eq!(rig.read_all(), b"late");
}

#[test]
fn more_than_the_window_is_not_taken() {
    let mut cfg = plain();
    cfg.recv_buffer_initial = 2_048;
    cfg.recv_buffer_max = 2_048;
    let (mut rig, _) = accepted(cfg, &[7; 5_000]);
    let out = rig.out();
    assert_eq!(seen(&out[0]), (0, 2_049, 0, SYN | ACK));
    assert_eq!(out[0].window, 0);
    assert_eq!(rig.read_all().len(), 2_048);
}

// The client (section 4.2.1).

fn connecting(option: Option<FastOpen>, room: u16, data: &[u8]) -> (Rig, SegmentOut) {
    let mut rig = Rig::syn_sent(plain());
    let cfg = Arc::new(plain());
    let connect = FastConnect { option, room };
    let (tcp, taken) = Tcp::connect_early(&cfg, open(), connect, data, &rig.buffers, rig.now);
    assert_eq!(taken, data.len());
    rig.tcp = tcp;
    let mut out = rig.out();
    assert_eq!(out.len(), 1);
    (rig, out.remove(0))
}

fn syn_ack(acked: u32) -> SegmentParts {
    SegmentParts {
        ack: ours(1 + acked),
        flags: SYN | ACK,
        ..syn()
    }
}

/// Gives the SYN-ACK, and returns what it said about Fast Open.
fn answer(rig: &mut Rig, parts: SegmentParts) -> Option<FastOpenNews> {
    let segment = Segment::from(parts.clone());
    let news = rig.tcp.fast_open_news(&segment);
    rig.give(parts);
    news
}

#[test]
fn rfc7413_4_2_1_a_cookie_goes_with_data() {
    let (mut rig, first) = connecting(Some(cookie(1)), 960, &[7; 1_500]);
    assert_eq!(first.options.fast_open(), Some(cookie(1)));
    assert_eq!((first.payload.len_bytes(), first.flags), (960, SYN));
    let news = answer(&mut rig, syn_ack(960));
    assert_eq!(news, Some(FastOpenNews::Accepted { mss: 1_000 }));
    assert_eq!(rig.tcp.state(), State::Established);
    let rest = rig.payloads();
    assert_eq!(rest, [(961, 540)], "what the SYN had no room for");
    rig.recv(1, 1_501, ACK, b"");
    assert_eq!(rig.tcp.info().bytes_out, 1_500);
}

#[test]
fn rfc7413_4_2_1_what_is_not_acknowledged_is_sent_again_at_once() {
    for (acked, expected) in [(0, (1, 500)), (100, (101, 400))] {
        let (mut rig, _) = connecting(Some(cookie(1)), 960, &[7; 500]);
        let news = answer(&mut rig, syn_ack(acked));
        let refused = acked == 0;
        assert_eq!(news == Some(FastOpenNews::Refused), refused);
        assert_eq!(rig.payloads(), [expected]);
    }
    // A cookie instead: the old one is not valid any more.
    let (mut rig, _) = connecting(Some(cookie(1)), 960, &[7; 500]);
    let mut renewed = syn_ack(0);
    renewed.options.set_fast_open(Some(cookie(2)));
    let news = answer(&mut rig, renewed);
    let (cookie, mss) = (cookie(2), 1_000);
    assert_eq!(news, Some(FastOpenNews::Cookie { cookie, mss }));
}

#[test]
fn more_than_the_syn_had_cannot_be_acknowledged() {
    let (mut rig, _) = connecting(Some(cookie(1)), 960, &[7; 500]);
    assert_eq!(rig.tcp.fast_open_news(&syn_ack(501).into()), None);
    let outcome = rig.give(syn_ack(501));
    assert_eq!(outcome.rst.expect("a reset").seq, ours(502));
    assert_eq!(rig.tcp.state(), State::SynSent);
}

#[test]
fn rfc7413_4_2_1_a_request_goes_without_data() {
    let (mut rig, first) = connecting(Some(FastOpen::REQUEST), 0, b"question");
    assert_eq!(first.options.fast_open(), Some(FastOpen::REQUEST));
    assert_eq!(first.payload.len_bytes(), 0);
    let mut given = syn_ack(0);
    given.options.set_fast_open(Some(cookie(5)));
    let news = answer(&mut rig, given);
    let (cookie, mss) = (cookie(5), 1_000);
    assert_eq!(news, Some(FastOpenNews::Cookie { cookie, mss }));
    assert_eq!(rig.payloads(), [(1, 8)]);
    // A server without Fast Open.
    let (mut rig, _) = connecting(Some(FastOpen::REQUEST), 0, b"question");
    assert_eq!(answer(&mut rig, syn_ack(0)), Some(FastOpenNews::Refused));
}

#[test]
fn rfc7413_4_1_3_1_a_syn_that_is_lost_goes_again_as_an_ordinary_one() {
    let (mut rig, _) = connecting(Some(cookie(1)), 960, b"question");
    let mut again = Vec::new();
    rig.now = rig.tcp.poll_timeout().expect("armed");
    rig.tcp.on_timeout(rig.now);
    again.extend(rig.out());
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].options.fast_open(), None);
    assert_eq!((again[0].payload.len_bytes(), again[0].flags), (0, SYN));
    // The answer to the first one, late, is good news.
    let late = Segment::from(syn_ack(8));
    let news = rig.tcp.fast_open_news(&late);
    assert_eq!(news, Some(FastOpenNews::Accepted { mss: 1_000 }));
    // The answer to the second one alone says that the path drops the first kind.
    assert_eq!(answer(&mut rig, syn_ack(0)), Some(FastOpenNews::Refused));
    assert_eq!(rig.payloads(), [(1, 8)]);
}

#[test]
fn rfc7413_4_1_3_1_a_syn_that_is_too_big_goes_again_at_once_as_an_ordinary_one() {
    let (mut rig, _) = connecting(Some(cookie(1)), 960, &[7; 900]);
    rig.tcp.on_path_mtu(600, rig.now);
    let again = rig.out();
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].payload.len_bytes(), again[0].flags), (0, SYN));
    assert_eq!(again[0].options.fast_open(), None);
    rig.give(syn_ack(0));
    let out = rig.out();
    assert_eq!((seen(&out[0]).2, out[0].mss), (900, 600));
}

#[test]
fn without_the_option_data_follows_the_handshake() {
    let (mut rig, first) = connecting(None, 0, b"question");
    assert_eq!(first.options.fast_open(), None);
    assert_eq!(first.payload.len_bytes(), 0);
    assert_eq!(answer(&mut rig, syn_ack(0)), None);
    assert_eq!(rig.payloads(), [(1, 8)]);
}

// Simultaneous opens (RFC 9293 sections 3.5 and 3.10.7.3).

#[test]
fn rfc9293_3_10_7_3_text_of_a_syn_that_crosses_ours_waits_for_the_handshake() {
    for with_fin in [false, true] {
        let mut rig = Rig::syn_sent(plain());
        let mut crossing = syn();
        crossing.payload = rig.buffers.copy(b"abc").expect("a slab");
        if with_fin {
            crossing.flags |= FIN;
        }
        rig.give(crossing);
        assert_eq!(rig.tcp.state(), State::SynReceived);
        assert_eq!(rig.one(), (0, 1, SYN | ACK), "not acknowledged yet");
        assert_eq!(rig.read_all(), b"");
        rig.recv(if with_fin { 5 } else { 4 }, 1, ACK, b"");
        assert_eq!(rig.read_all(), b"abc");
        let state = if with_fin {
            State::CloseWait
        } else {
            State::Established
        };
        assert_eq!(rig.tcp.state(), state);
        // Without a FIN the acknowledgment may wait for data of ours.
        rig.pass(50);
        rig.recv(if with_fin { 5 } else { 4 }, 1, ACK, b"");
        let expected = theirs(if with_fin { 5 } else { 4 });
        rig.send(1);
        assert!(rig.out().iter().all(|seg| seg.ack == expected));
    }
}

#[test]
fn text_of_a_crossing_syn_that_is_sent_again_is_read_once() {
    let mut rig = Rig::syn_sent(plain());
    let mut crossing = syn();
    crossing.payload = rig.buffers.copy(b"abc").expect("a slab");
    rig.give(crossing);
    rig.out();
    rig.recv(1, 1, ACK, b"abcdef");
    assert_eq!(rig.read_all(), b"abcdef");
    assert_eq!(rig.one(), (1, 7, ACK));
}

#[test]
fn a_crossing_syn_may_acknowledge_the_data_of_ours() {
    for acked in [0, 500] {
        let (mut rig, _) = connecting(Some(cookie(1)), 960, &[7; 500]);
        rig.give(syn());
        assert_eq!(rig.one(), (0, 1, SYN | ACK));
        rig.give(syn_ack(acked));
        assert_eq!(rig.tcp.state(), State::Established);
        let sent: usize = rig.payloads().iter().map(|s| s.len).sum();
        assert_eq!(sent, 500 - acked as usize);
    }
}
