//! Attacks on single connections, segment by segment.

use std::time::Duration;

use futures::FutureExt as _;
use netstack::TcpStream;
use netstack::base::{Rng, TcpConfig};
use netstack::tcp::State;
use tests::hostile::{CHARGEN, DEAF, DISCARD, ECHO, FILE, Family, Heard, Lab, Peer, flag, mss};

use super::{lab, leaves_nothing, survives};

attacks!(
    sack_panic,
    segment_smack,
    challenge_acks_are_no_side_channel,
    blind_resets_syns_and_data,
    sequence_numbers_and_timestamps_are_not_predicted,
    single_bytes_and_the_smallest_mss,
    resets_in_every_state,
    resets_while_the_stack_closes,
    resets_of_connections_that_the_stack_opens,
    ports_are_not_predicted,
);

fn sack_permitted() -> Vec<u8> {
    [mss(48), vec![1, 1, 4, 2, 1, 3, 3, 7]].concat()
}

/// Returns a SACK option of these blocks.
fn sack(blocks: &[(u32, u32)]) -> Vec<u8> {
    let mut option = vec![1, 1, 5, 2 + 8 * blocks.len() as u8];
    for (left, right) in blocks {
        option.extend_from_slice(&left.to_be_bytes());
        option.extend_from_slice(&right.to_be_bytes());
    }
    option
}

/// CVE-2019-11477, 11478, 11479: a tiny MSS, much in flight, and SACK blocks that cut it into pieces.
fn sack_panic(family: Family) {
    let mut lab = lab(family);
    let mut peer = Peer::new(family.host(99), 20_000, CHARGEN);
    assert!(peer.open(&mut lab, &sack_permitted()));
    let mut rng = Rng::from_u64(1);
    for _ in 0..2_000 {
        let mut edge = || {
            let left = peer.rcv.wrapping_add(rng.below(60_000));
            (left, left.wrapping_add(1 + rng.below(48)))
        };
        let option = sack(&[edge(), edge(), edge()]);
        let packet = peer.segment(peer.next, peer.rcv, flag::ACK, &option, &[]);
        lab.send(packet);
    }
    lab.wait(Duration::from_secs(2));
    assert!(lab.ping());
    leaves_nothing(lab, &mut [peer], "SACK panic");
}

/// CVE-2018-5390: segments that each leave a gap, so that every one is a range to be searched.
fn segment_smack(family: Family) {
    let mut lab = lab(family);
    let mut peer = Peer::new(family.host(99), 20_000, DISCARD);
    assert!(peer.open(&mut lab, &mss(1_460)));
    for n in 0..20_000u32 {
        let seq = peer.next.wrapping_add(1 + (2 * n) % 60_000);
        peer.send_at(&mut lab, seq, b"x");
    }
    let kept = lab.handle().tcp_info()[0].2.out_of_order as usize;
    let most = TcpConfig::default().max_reassembly_ranges;
    assert_eq!(most, 512);
    assert!(kept > 0 && kept <= most, "{kept} ranges are kept");
    leaves_nothing(lab, &mut [peer], "SegmentSmack");
}

/// CVE-2016-5696: challenge ACKs of one connection must not depend on those of another.
fn challenge_acks_are_no_side_channel(family: Family) {
    let mut lab = lab(family);
    let mut victim = Peer::new(family.host(0x32), 30_000, ECHO);
    let mut own = Peer::new(family.host(99), 20_000, ECHO);
    assert!(victim.open(&mut lab, &mss(1_460)) && own.open(&mut lab, &mss(1_460)));
    // The attacker exhausts whatever limit there is with its own connection, in one second.
    for _ in 0..500 {
        let packet = own.segment(own.next.wrapping_add(5), own.rcv, flag::RST, &[], &[]);
        lab.send(packet);
    }
    own.listen(&mut lab);
    // The victim's connection still answers a reset in its window with a challenge.
    victim.listen(&mut lab);
    let reset = victim.segment(victim.next.wrapping_add(5), victim.rcv, flag::RST, &[], &[]);
    lab.send(reset);
    let answers = victim.listen(&mut lab);
    assert_eq!(answers.len(), 1, "a challenge of its own: {answers:?}");
    leaves_nothing(lab, &mut [victim, own], "challenge ACKs");
}

/// RFC 5961: resets, SYNs and data from somebody who sees nothing of the connection.
fn blind_resets_syns_and_data(family: Family) {
    let mut lab = lab(family);
    let mut peer = Peer::new(family.host(99), 20_000, ECHO);
    assert!(peer.open(&mut lab, &mss(1_460)));
    let mut rng = Rng::from_u64(2);
    for n in 0..10_000u32 {
        let seq = match n % 3 {
            // In the window, but not exact, or anywhere.
            0 => peer.next.wrapping_add(1 + rng.below(60_000)),
            _ => rng.u32() | 1,
        };
        let ack = if n % 2 == 0 {
            rng.u32()
        } else {
            peer.rcv.wrapping_add(0x4000_0000)
        };
        let (flags, data): (u8, &[u8]) = match n % 4 {
            0 => (flag::RST, &[]),
            1 => (flag::SYN, &[]),
            2 => (flag::ACK, b"injected"),
            _ => (flag::RST | flag::ACK, &[]),
        };
        // Exactly RCV.NXT is what nobody guesses.
        if seq != peer.next {
            let packet = peer.segment(seq, ack, flags, &[], data);
            lab.send(packet);
        }
    }
    peer.listen(&mut lab);
    peer.data(&mut lab, b"still here");
    lab.wait(Duration::from_millis(500));
    let echoed = in_order(peer.rcv, peer.listen(&mut lab));
    assert_eq!(
        echoed, b"still here",
        "the connection lives, and nothing was injected"
    );
    peer.rcv = peer.rcv.wrapping_add(10);
    leaves_nothing(lab, &mut [peer], "blind segments");
}

/// Returns the stream that begins at `next`, without what was sent again.
pub(super) fn in_order(mut next: u32, segments: Vec<Heard>) -> Vec<u8> {
    let mut stream = Vec::new();
    for segment in segments {
        if segment.seq == next {
            next = next.wrapping_add(segment.data.len() as u32);
            stream.extend(segment.data);
        }
    }
    stream
}

/// RFC 9293 section 3.4.1: initial sequence numbers, and RFC 7323 timestamps, tell nothing to who sees those of others.
fn sequence_numbers_and_timestamps_are_not_predicted(family: Family) {
    let mut lab = lab(family);
    let mut numbers = Vec::new();
    for n in 0..64u16 {
        let mut peer = Peer::new(family.host(0x301 + n), 20_000, ECHO);
        let options = [mss(1_460), vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0]].concat();
        peer.syn(&mut lab, &options);
        let answer = peer.listen(&mut lab).pop().expect("a SYN-ACK");
        let at = answer
            .options
            .windows(2)
            .position(|w| w == [8, 10])
            .expect("timestamps");
        let stamp = &answer.options[at + 2..at + 6];
        numbers.push((
            answer.seq,
            u32::from_be_bytes([stamp[0], stamp[1], stamp[2], stamp[3]]),
        ));
        peer.rcv = answer.seq.wrapping_add(1);
        peer.reset(&mut lab);
    }
    for which in [|n: &(u32, u32)| n.0, |n: &(u32, u32)| n.1] {
        let mut gaps: Vec<u32> = numbers
            .windows(2)
            .map(|w| which(&w[1]).wrapping_sub(which(&w[0])))
            .collect();
        gaps.sort_unstable();
        gaps.dedup();
        assert!(gaps.len() > 60, "differences repeat");
        let near = gaps
            .iter()
            .filter(|gap| **gap < 1 << 24 || **gap > u32::MAX - (1 << 24))
            .count();
        assert!(near < 8, "{near} of 63 are within 2^24 of the one before");
    }
    survives(lab, "prediction");
}

/// One byte a segment, and the smallest MSS.
fn single_bytes_and_the_smallest_mss(family: Family) {
    let mut lab = lab(family);
    let mut bytes = Peer::new(family.host(99), 20_000, ECHO);
    let mut small = Peer::new(family.host(99), 20_001, CHARGEN);
    assert!(bytes.open(&mut lab, &mss(1_460)) && small.open(&mut lab, &mss(48)));
    for _ in 0..5_000 {
        bytes.data(&mut lab, b"b");
        small.ack(&mut lab);
        for segment in small.listen(&mut lab) {
            if segment.seq == small.rcv {
                small.rcv = small.rcv.wrapping_add(segment.data.len() as u32);
            }
            assert!(
                segment.data.is_empty() || segment.data.len() >= 8,
                "no smaller than must be"
            );
        }
        for segment in bytes.listen(&mut lab) {
            if segment.seq == bytes.rcv {
                bytes.rcv = bytes.rcv.wrapping_add(segment.data.len() as u32);
            }
        }
    }
    leaves_nothing(lab, &mut [bytes, small], "single bytes, MSS 48");
}

/// A reset in every state that a peer can bring a connection to.
fn resets_in_every_state(family: Family) {
    let mut lab = lab(family);
    let mut port = 20_000;
    for service in [ECHO, DISCARD, DEAF, CHARGEN] {
        for steps in 0..6 {
            port += 1;
            let mut peer = Peer::new(family.host(99), port, service);
            peer.syn(&mut lab, &mss(1_460));
            if steps > 0 {
                let answer = peer.listen(&mut lab).pop().expect("a SYN-ACK");
                peer.on_syn_ack(&answer);
                peer.ack(&mut lab);
            }
            if steps > 1 {
                peer.data(&mut lab, b"data");
            }
            if steps > 2 {
                let fin = peer.segment(peer.next, peer.rcv, flag::FIN | flag::ACK, &[], &[]);
                peer.next = peer.next.wrapping_add(1);
                lab.send(fin);
            }
            if steps > 3 {
                lab.wait(Duration::from_millis(100));
            }
            for segment in peer.listen(&mut lab) {
                if segment.seq == peer.rcv {
                    let fin = u32::from(segment.flags & flag::FIN);
                    peer.rcv = peer.rcv.wrapping_add(segment.data.len() as u32 + fin);
                }
            }
            if steps > 4 {
                peer.ack(&mut lab);
            }
            peer.listen(&mut lab);
            // Everything arrived, whether it was acknowledged yet or not.
            let reset = flag::RST | flag::ACK;
            lab.send(peer.segment(peer.next, peer.rcv, reset, &[], &[]));
            lab.ignore((peer.address, peer.port));
        }
    }
    lab.end_deaf();
    lab.wait(Duration::from_secs(130));
    assert_eq!(
        lab.handle().connections(),
        0,
        "{:?}",
        lab.handle().tcp_info()
    );
    leaves_nothing(lab, &mut [], "resets in every state");
}

/// Takes in order what the stack sends, and acknowledges it, until its FIN is there.
fn receive_all(lab: &mut Lab, peer: &mut Peer) {
    for _ in 0..200 {
        let segments = peer.listen(lab);
        for segment in segments {
            if segment.seq == peer.rcv {
                peer.rcv = peer.rcv.wrapping_add(segment.data.len() as u32);
                if segment.flags & flag::FIN != 0 {
                    return;
                }
            }
        }
        peer.ack(lab);
        lab.wait(Duration::from_millis(10));
    }
    panic!("no FIN: {peer:?}");
}

/// A service that closes first brings the connection to FIN-WAIT-1, FIN-WAIT-2, CLOSING and TIME-WAIT.
fn resets_while_the_stack_closes(family: Family) {
    let mut lab = lab(family);
    for steps in 0..4u16 {
        let mut peer = Peer::new(family.host(99), 21_000 + steps, FILE);
        assert!(peer.open(&mut lab, &mss(1_400)));
        receive_all(&mut lab, &mut peer);
        let fin = flag::FIN | flag::ACK;
        let expected = match steps {
            // Our FIN is not acknowledged.
            0 => State::FinWait1,
            1 => {
                peer.rcv = peer.rcv.wrapping_add(1);
                peer.ack(&mut lab);
                State::FinWait2
            }
            // The peer's FIN crosses ours.
            2 => {
                lab.send(peer.segment(peer.next, peer.rcv, fin, &[], &[]));
                peer.next = peer.next.wrapping_add(1);
                State::Closing
            }
            _ => {
                peer.rcv = peer.rcv.wrapping_add(1);
                lab.send(peer.segment(peer.next, peer.rcv, fin, &[], &[]));
                peer.next = peer.next.wrapping_add(1);
                State::TimeWait
            }
        };
        let states: Vec<State> = lab.handle().tcp_info().iter().map(|i| i.2.state).collect();
        match expected {
            State::TimeWait => assert_eq!(lab.handle().time_waits(), 1),
            state => assert_eq!(states, [state], "{steps}"),
        }
        let reset = flag::RST | flag::ACK;
        lab.send(peer.segment(peer.next, peer.rcv, reset, &[], &[]));
        assert_eq!(
            lab.handle().connections(),
            0,
            "{expected:?} ends with a reset"
        );
        // TIME-WAIT, too: RFC 9293 section 3.10.7.4, against the advice of RFC 1337.
        assert_eq!(lab.handle().time_waits(), 0);
    }
    leaves_nothing(lab, &mut [], "resets while the stack closes");
}

/// SYN-SENT: a reset must acknowledge our SYN exactly.
fn resets_of_connections_that_the_stack_opens(family: Family) {
    let mut lab = lab(family);
    let stack = lab.handle().clone();
    for n in 0..50u16 {
        let to = (family.host(99), 22_000 + n);
        let mut connecting = Box::pin(TcpStream::connect(&stack, to));
        assert!(connecting.as_mut().now_or_never().is_none());
        lab.settle();
        let syn = lab.heard((family.host(99), 22_000 + n)).expect("a SYN");
        assert_eq!(syn.flags & !flag::ECN, flag::SYN);
        let peer = Peer::new(family.host(99), 22_000 + n, syn.from);
        let reset = flag::RST | flag::ACK;
        for guess in [syn.seq, syn.seq.wrapping_add(2), syn.seq ^ 0x8000_0000] {
            lab.send(peer.segment(0, guess, reset, &[], &[]));
        }
        assert!(
            connecting.as_mut().now_or_never().is_none(),
            "blind resets are ignored"
        );
        lab.send(peer.segment(0, syn.seq.wrapping_add(1), reset, &[], &[]));
        let end = connecting.as_mut().now_or_never().expect("it ended");
        let error = end.expect_err("refused");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    }
    assert_eq!(lab.handle().connections(), 0);
    leaves_nothing(lab, &mut [], "resets in SYN-SENT");
}

/// RFC 6056: the ports of connections that the stack opens to one peer tell nothing about the next one.
fn ports_are_not_predicted(family: Family) {
    let mut lab = lab(family);
    let stack = lab.handle().clone();
    let mut ports = Vec::new();
    let mut open = Vec::new();
    for n in 0..200u16 {
        let to = (family.host(0x500 + n), 80);
        let mut connecting = Box::pin(TcpStream::connect(&stack, to));
        assert!(connecting.as_mut().now_or_never().is_none());
        open.push(connecting);
        lab.settle();
        let syn = lab.heard((family.host(0x500 + n), 80)).expect("a SYN");
        ports.push(syn.from);
    }
    let near = ports
        .windows(2)
        .filter(|pair| pair[1].abs_diff(pair[0]) < 256)
        .count();
    println!("{near} of 199 ports are within 256 of the one before");
    assert!(near < 20, "{ports:?}");
    drop(open);
    lab.wait(Duration::from_secs(1));
    survives(lab, "ports");
}
