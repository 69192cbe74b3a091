//! Congestion marks, segment by segment (RFC 3168, RFC 8511, RFC 9768). The tables of the handshake and the arithmetic
//! of the counters are tested beside their code.

use super::rig::{ACK, ECN, FIN, Rig, SYN, plain, syn};
use crate::base::TcpConfig;
use crate::tcp::segment::SegmentParts;
use crate::tcp::{Algorithm, EcnMode, Event, SegmentOut, WindowChange};
use core::time::Duration;
use packet::tcp::{TcpFlags, TcpOptions, Timestamps};

const CE: u8 = 3;
const ECE: TcpFlags = TcpFlags::ECE;
const CWR: TcpFlags = TcpFlags::CWR;
const AE: TcpFlags = TcpFlags::AE;

fn cfg() -> TcpConfig {
    TcpConfig {
        ecn: true,
        ..super::rig::with_sack()
    }
}

/// ESTABLISHED by an active open; the SYN-ACK had these flags beside its own, and the handshake's ACK is returned.
fn open(answer: TcpFlags) -> (Rig, SegmentOut) {
    open_with(cfg(), answer)
}

fn open_with(cfg: TcpConfig, answer: TcpFlags) -> (Rig, SegmentOut) {
    let timestamps = cfg.timestamps;
    let mut rig = Rig::syn_sent(cfg);
    rig.now = rig.now + Duration::from_millis(10);
    let mut syn_ack = SegmentParts {
        ack: super::rig::ours(1),
        flags: SYN | ACK | answer,
        ..syn()
    };
    if timestamps {
        let ecr = rig.our_ts();
        syn_ack.options.timestamps = Some(Timestamps { val: 500, ecr });
        rig.ts = Some(500);
    }
    rig.give(syn_ack);
    let mut out = rig.out();
    assert_eq!(out.len(), 1);
    (rig, out.remove(0))
}

fn classic() -> Rig {
    let (rig, ack) = open(ECE);
    assert_eq!(ack.flags, ACK);
    assert_eq!(rig.tcp.info().ecn, EcnMode::Classic);
    rig
}

fn accurate() -> Rig {
    let (rig, _) = open(CWR);
    assert_eq!(rig.tcp.info().ecn, EcnMode::Accurate);
    rig
}

fn marked(rig: &mut Rig, seq: u32, flags: TcpFlags, payload: &[u8], ecn: u8) {
    let mut seg = rig.segment(seq, 1, ACK | flags, payload);
    seg.ecn = ecn;
    rig.give(seg);
}

#[test]
fn rfc3168_6_1_only_new_data_is_sent_with_ect() {
    let mut rig = classic();
    rig.max_payload = 1_000;
    rig.send(4_000);
    assert!(rig.out().iter().all(|seg| seg.ecn == 2));
    rig.recv(1, 1, ACK, &[7; 3_000]);
    assert!(rig.out().iter().all(|seg| seg.ecn == 0), "a bare ACK");
    rig.recv_sack(1, &[(1_001, 4_001)]);
    let again = rig.out();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].ecn, 0, "a retransmission");
    rig.recv(3_001, 4_001, ACK, b"");
    rig.window = 0;
    rig.recv(3_001, 4_001, ACK, b"");
    rig.send(10);
    assert!(rig.out().is_empty());
    rig.now = rig.tcp.poll_timeout().expect("the persist timer");
    rig.tcp.on_timeout(rig.now);
    let probe = rig.out();
    assert_eq!((probe.len(), probe[0].ecn), (1, 0), "a window probe");
    rig.window = 60_000;
    rig.recv(3_001, 4_001, ACK, b"");
    rig.close();
    let last = rig.out();
    assert!(last.last().is_some_and(|seg| seg.flags.contains(FIN)));
}

#[test]
fn rfc3168_6_1_2_a_mark_reduces_the_window_once_a_round_trip_and_is_confirmed_once() {
    let mut rig = classic();
    rig.max_payload = 1_000;
    rig.send(30_000);
    assert_eq!(rig.payloads().len(), 10);
    rig.events();
    rig.recv(1, 1_001, ACK | ECE, b"");
    rig.recv(1, 2_001, ACK | ECE, b"");
    // CUBIC keeps 0.85 (RFC 8511 section 4).
    assert_eq!(rig.tcp.info().cwnd, 8_500);
    let events = rig.events();
    let reductions = events.iter().filter(|event| {
        matches!(
            event,
            Event::CongestionWindow {
                reason: WindowChange::Marks,
                ..
            }
        )
    });
    assert_eq!(reductions.count(), 1);
    rig.recv(1, 5_001, ACK | ECE, b"");
    let out = rig.out();
    assert!(out[0].flags.contains(CWR));
    assert!(out[1..].iter().all(|seg| !seg.flags.contains(CWR)));
    // Everything that was in flight then is acknowledged: the next mark counts.
    rig.recv(1, 10_001, ACK, b"");
    rig.out();
    let before = rig.tcp.info().cwnd;
    rig.recv(1, 11_001, ACK | ECE, b"");
    assert!(rig.tcp.info().cwnd < before);
    assert_eq!(rig.tcp.info().retransmits, 0);
}

#[test]
fn rfc3168_6_1_2_a_receiver_that_echoes_until_cwr_arrives_reduces_the_window_once() {
    let mut rig = classic();
    rig.max_payload = 1_000;
    rig.send(10_000);
    assert_eq!(rig.payloads().len(), 10);
    // The first segment was marked: each ACK of the flight echoes that.
    for segment in 1..=10 {
        rig.recv(1, 1_000 * segment + 1, ACK | ECE, b"");
    }
    assert_eq!(rig.tcp.info().cwnd, 8_500);
    rig.send(1_000);
    assert!(rig.out()[0].flags.contains(CWR));
    rig.recv(1, 11_001, ACK, b"");
    assert!(rig.tcp.info().cwnd >= 8_500);
}

#[test]
fn rfc3168_6_1_2_a_mark_on_a_segment_that_acknowledges_nothing_new_counts() {
    let mut rig = classic();
    rig.max_payload = 1_000;
    rig.send(10_000);
    rig.out();
    rig.recv(1, 10_001, ACK, b"");
    let before = rig.tcp.info().cwnd;
    // Nothing is in flight. The echo on a segment of data is the first one that arrives.
    rig.recv(1, 10_001, ACK | ECE, b"data");
    assert!(rig.tcp.info().cwnd < before);
    rig.send(1_000);
    assert!(rig.out()[0].flags.contains(CWR));
}

#[test]
fn rfc8511_4_reno_keeps_four_fifths() {
    let mut rig = classic();
    rig.tcp.set_congestion(Algorithm::NEW_RENO);
    rig.send(30_000);
    rig.out();
    rig.recv(1, 1_001, ACK | ECE, b"");
    assert_eq!(rig.tcp.info().cwnd, 8_000);
}

#[test]
fn rfc3168_6_1_2_a_loss_in_the_same_round_trip_reduces_once() {
    let mut rig = classic();
    rig.max_payload = 1_000;
    rig.send(30_000);
    rig.out();
    rig.recv_sack(1, &[(1_001, 5_001)]);
    let reduced = rig.tcp.info().ssthresh;
    let mut seg = rig.segment(1, 1, ACK | ECE, b"");
    seg.options
        .sack
        .push(super::rig::ours(1_001).0, super::rig::ours(6_001).0);
    rig.give(seg);
    assert_eq!(rig.tcp.info().ssthresh, reduced);
    let fresh: Vec<_> = rig.out().into_iter().filter(|seg| seg.ecn == 2).collect();
    assert!(fresh.first().is_none_or(|seg| seg.flags.contains(CWR)));
}

#[test]
fn rfc3168_6_1_3_the_receiver_echoes_until_the_sender_confirms() {
    let mut rig = classic();
    marked(&mut rig, 1, TcpFlags::empty(), &[7; 1_000], CE);
    assert_eq!(rig.out()[0].flags, ACK | ECE, "at once");
    for i in 1..4 {
        marked(
            &mut rig,
            1 + 2_000 * i - 1_000,
            TcpFlags::empty(),
            &[7; 2_000],
            2,
        );
        assert_eq!(rig.out()[0].flags, ACK | ECE);
    }
    marked(&mut rig, 7_001, CWR, &[7; 2_000], 2);
    assert_eq!(rig.out()[0].flags, ACK);
    // Marked once more, and confirmed an earlier mark: it counts.
    marked(&mut rig, 9_001, CWR, &[7; 2_000], CE);
    assert_eq!(rig.out()[0].flags, ACK | ECE);
    // What is not acceptable does not.
    let mut rig = classic();
    marked(&mut rig, 500_000, TcpFlags::empty(), &[7; 100], CE);
    assert_eq!(rig.out()[0].flags, ACK);
    assert_eq!(rig.tcp.info().received_ce, 0);
}

#[test]
fn rfc9768_3_2_2_1_the_syn_ack_is_acknowledged_with_its_codepoint() {
    let (mut rig, ack) = open(CWR);
    assert_eq!(ack.flags, ACK | CWR, "it came without ECT");
    let option = ack.options.acc_ecn.expect("tests the way of the option");
    assert_eq!(option.ect0(), Some(1));
    rig.send(100);
    let data = rig.out().remove(0);
    assert_eq!(data.flags.intersection(ECN), AE | ECE, "5");
    assert_eq!(data.ecn, 2);
    // The SYN-ACK again, marked.
    let again = SegmentParts {
        ack: super::rig::ours(1),
        flags: SYN | ACK | CWR,
        ecn: CE,
        ..syn()
    };
    rig.give(again);
    assert_eq!(rig.out()[0].flags, ACK | AE | CWR);
}

#[test]
fn rfc9768_3_1_5_a_forged_syn_ack_does_not_change_the_feedback() {
    let syn_ack = |seq, ack| SegmentParts {
        seq,
        ack,
        flags: SYN | ACK | CWR,
        ecn: CE,
        ..syn()
    };
    let fed_back = |seq: u32, ack: u32, heard: bool| {
        let mut rig = accurate();
        if heard {
            rig.recv(1, 1, ACK, &[7; 1_000]);
            rig.out();
        }
        rig.give(syn_ack(super::rig::theirs(seq), super::rig::ours(ack)));
        let out = rig.out();
        assert_eq!(out.len(), 1, "a challenge ACK");
        out[0].flags.intersection(ECN)
    };
    let counter = AE | ECE;
    assert_eq!(fed_back(500, 1, false), counter, "in the window");
    assert_eq!(fed_back(u32::MAX / 2, 1, false), counter, "out of it");
    assert_eq!(fed_back(0, 77, false), counter, "another ACK");
    assert_eq!(fed_back(0, 1, true), counter, "the stream has begun");
    assert_eq!(fed_back(1_000, 1, true), counter);
    assert_eq!(fed_back(0, 1, false), AE | CWR, "the SYN-ACK again");
    // Without a reply nothing is kept for the next segment.
    let mut rig = accurate();
    for _ in 0..8 {
        rig.give(syn_ack(super::rig::theirs(500), super::rig::ours(1)));
        assert_eq!(rig.out().len(), 1);
    }
    rig.give(syn_ack(super::rig::theirs(0), super::rig::ours(1)));
    assert!(rig.out().is_empty());
    rig.recv(1, 1, ACK, &[7; 3_000]);
    assert_eq!(rig.out()[0].flags.intersection(ECN), counter);
}

#[test]
fn data_that_waits_follows_the_bare_ack_of_the_syn_ack() {
    let mut rig = Rig::syn_sent(cfg());
    let syn_ack = SegmentParts {
        ack: super::rig::ours(1),
        flags: SYN | ACK | CWR,
        ..syn()
    };
    rig.give(syn_ack);
    rig.send(100);
    let out = rig.out();
    let lens: Vec<_> = out.iter().map(|seg| seg.payload.len_bytes()).collect();
    assert_eq!(lens, [0, 100]);
    assert_eq!(out[0].flags, ACK | CWR);
}

#[test]
fn rfc9768_3_2_2_each_marked_wire_segment_is_counted_and_fed_back() {
    let mut rig = accurate();
    let mut seg = rig.segment(1, 1, ACK, &[7; 3_000]);
    (seg.gso_size, seg.ecn) = (1_000, CE);
    rig.give(seg);
    let ack = rig.out().remove(0);
    // 5 + 3 is 0 modulo 8.
    assert_eq!(ack.flags, ACK);
    let option = ack.options.acc_ecn.expect("a counter moved");
    assert_eq!((option.ect0(), option.ce()), (Some(1), Some(3_000)));
    assert_eq!(rig.tcp.info().received_ce, 3);
    // Nothing moved since.
    rig.recv(3_001, 1, ACK, &[7; 2_000]);
    assert!(rig.out()[0].options.acc_ecn.is_none());
    // The first mark after none is acknowledged at once, the second of two is.
    marked(&mut rig, 5_001, TcpFlags::empty(), &[7; 10], CE);
    assert_eq!(rig.out().len(), 1, "change");
    marked(&mut rig, 5_011, TcpFlags::empty(), &[7; 10], CE);
    assert!(rig.out().is_empty());
    marked(&mut rig, 5_021, TcpFlags::empty(), &[7; 10], CE);
    assert_eq!(rig.out().len(), 1, "two marks");
}

#[test]
fn rfc9768_3_2_3_3_two_sack_blocks_have_precedence_over_the_option() {
    let mut rig = accurate();
    let mut options = Vec::new();
    for i in 1..5 {
        marked(&mut rig, 1 + 2_000 * i, TcpFlags::empty(), &[7; 1_000], CE);
        let ack = rig.out().remove(0);
        options.push((ack.options.sack.len(), ack.options.acc_ecn.is_some()));
        assert!(ack.options.encoded_len() <= 40);
    }
    assert_eq!(options, [(1, true), (2, true), (3, false), (4, false)]);
}

#[test]
fn rfc9768_3_2_3_3_counters_that_find_no_room_are_told_by_the_next_ack() {
    let cfg = TcpConfig {
        timestamps: true,
        user_timeout: Some(Duration::from_secs(300)),
        user_timeout_option: true,
        ..cfg()
    };
    let (mut rig, _) = open_with(cfg, CWR);
    assert_eq!(rig.tcp.info().ecn, EcnMode::Accurate);
    marked(&mut rig, 2_001, TcpFlags::empty(), &[7; 1_000], CE);
    assert!(rig.out()[0].options.acc_ecn.is_some());
    // Timestamps, two SACK blocks and a user timeout leave four bytes.
    rig.tcp.set_user_timeout(Some(Duration::from_secs(150)));
    marked(&mut rig, 4_001, TcpFlags::empty(), &[7; 1_000], CE);
    let options = rig.out().remove(0).options;
    assert_eq!((options.sack.len(), options.encoded_len()), (2, 36));
    assert!(options.user_timeout.is_some() && options.acc_ecn.is_none());
    rig.recv(1, 1, ACK, &[7; 2_000]);
    let option = rig.out().remove(0).options.acc_ecn;
    assert_eq!(option.and_then(|option| option.ce()), Some(2_000));
}

#[test]
fn rfc9768_3_3_4_no_device_takes_a_bit_out_of_the_counter() {
    let mut rig = accurate();
    rig.send(4_000);
    assert_eq!(rig.payloads(), [(1, 4_000)]);
    rig.recv(1, 4_001, ACK | AE | ECE, b"");
    // 6 has the bit that devices take for CWR.
    marked(&mut rig, 1, TcpFlags::empty(), &[7; 1_000], CE);
    rig.out();
    rig.send(4_000);
    let out = rig.out();
    assert_eq!(out.len(), 4);
    assert!(
        out.iter()
            .all(|seg| seg.flags.intersection(ECN) == AE | CWR)
    );
    assert!(out.iter().all(|seg| seg.payload.len_bytes() <= 1_000));
}

#[test]
fn rfc9768_3_2_2_marks_of_accurate_feedback_reduce_once_a_round_trip_without_cwr() {
    let mut rig = accurate();
    rig.max_payload = 1_000;
    rig.send(30_000);
    rig.out();
    rig.recv(1, 1_001, ACK | AE | CWR, b"");
    assert_eq!(rig.tcp.info().cwnd, 8_500);
    rig.recv(1, 2_001, ACK | AE | CWR | ECE, b"");
    assert_eq!(rig.tcp.info().cwnd, 8_500);
    assert_eq!(rig.tcp.info().delivered_ce, 2);
    rig.recv(1, 5_001, ACK | AE | CWR | ECE, b"");
    assert!(
        rig.out()
            .iter()
            .all(|seg| seg.flags.intersection(ECN) == AE | ECE)
    );
}

#[test]
fn a_passive_open_takes_what_is_offered() {
    let accept = |offer: TcpFlags, third: TcpFlags| {
        let (mut rig, syn_ack) = Rig::accepting(
            cfg(),
            SegmentParts {
                flags: SYN | offer,
                options: TcpOptions {
                    timestamps: None,
                    ..syn().options
                },
                ..syn()
            },
        );
        rig.recv(1, 1, ACK | third, b"");
        rig.send(100);
        let out = rig.out();
        let data = out.last().expect("data");
        let info = rig.tcp.info();
        (syn_ack.flags.intersection(ECN), info.ecn, data.ecn)
    };
    assert_eq!(accept(ECN, CWR), (CWR, EcnMode::Accurate, 2));
    assert_eq!(
        accept(CWR | ECE, TcpFlags::empty()),
        (ECE, EcnMode::Classic, 2)
    );
    let none = TcpFlags::empty();
    assert_eq!(accept(none, none), (none, EcnMode::Off, 0));
    // The SYN-ACK arrived with a codepoint that it was not sent with.
    assert_eq!(accept(ECN, AE), (CWR, EcnMode::Accurate, 0));
}

#[test]
fn no_offer_no_marks() {
    let mut rig = Rig::established(plain());
    marked(&mut rig, 1, CWR | ECE, &[7; 2_000], CE);
    assert_eq!(rig.out()[0].flags, ACK);
    assert_eq!(rig.tcp.info().received_ce, 0);
}
