//! Attacks, each with what it costs the stack: time on the processor for each packet, with every check on,
//! and memory.
//!
//! The stack is on virtual time and the attackers send raw packets. `--nocapture` shows the costs. During and
//! after each attack a ping is answered, and a polite peer is served within a second.

use std::net::Ipv4Addr;
use std::time::Duration;

use netstack::DropReason;
use netstack::base::{Config, Rng};
use tests::forge;
use tests::hostile::{CHARGEN, DEAF, DISCARD, ECHO, Heard, Lab, OURS, Peer, bind_udp, flag, mss};

/// The attacker's address.
const ATTACKER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 99);

/// More than this for a packet, on average, is more than any attack may cost: 1 ms, with every check of every
/// invariant, on a machine that others use.
const MOST_EACH: Duration = Duration::from_millis(1);

fn lab() -> Lab {
    Lab::new(Config::default(), 1)
}

fn little() -> Lab {
    let config = Config {
        memory_bytes: Some(4 << 20),
        ..Config::default()
    };
    Lab::new(config, 1)
}

/// Others are served, the memory is back, and no packet cost too much.
fn survives(mut lab: Lab, what: &str) {
    assert!(lab.ping(), "{what}: a ping");
    let served = lab.exchange(50_000, 3_000, Duration::from_secs(1));
    assert!(
        served.is_some(),
        "{what}: a connection\n{}",
        lab.handle().counters()
    );
    let (processor, packets) = lab.cost();
    assert!(
        processor < MOST_EACH * packets as u32,
        "{what}: {processor:?} for {packets}"
    );
    lab.report(what);
}

/// As [`survives`]; beyond that every connection and buffer is gone once `peers` are.
fn leaves_nothing(mut lab: Lab, peers: &mut [Peer], what: &str) {
    for peer in peers {
        peer.listen(&mut lab);
        peer.reset(&mut lab);
    }
    lab.end_deaf();
    lab.wait(Duration::from_secs(1));
    assert_eq!(
        lab.buffers_in_use(),
        0,
        "{what}: {}",
        lab.handle().counters()
    );
    survives(lab, what);
}

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
#[test]
fn sack_panic() {
    let mut lab = lab();
    let mut peer = Peer::new(ATTACKER, 20_000, CHARGEN);
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
#[test]
fn segment_smack() {
    let mut lab = lab();
    let mut peer = Peer::new(ATTACKER, 20_000, DISCARD);
    assert!(peer.open(&mut lab, &mss(1_460)));
    for n in 0..20_000u32 {
        let seq = peer.next.wrapping_add(1 + (2 * n) % 60_000);
        peer.send_at(&mut lab, seq, b"x");
    }
    let kept = lab.handle().tcp_info()[0].2.out_of_order;
    assert!(kept <= 64, "{kept} ranges are kept");
    leaves_nothing(lab, &mut [peer], "SegmentSmack");
}

/// CVE-2016-5696: challenge ACKs of one connection must not depend on those of another.
#[test]
fn challenge_acks_are_no_side_channel() {
    let mut lab = lab();
    let mut victim = Peer::new(Ipv4Addr::new(10, 77, 0, 50), 30_000, ECHO);
    let mut own = Peer::new(ATTACKER, 20_000, ECHO);
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
#[test]
fn blind_resets_syns_and_data() {
    let mut lab = lab();
    let mut peer = Peer::new(ATTACKER, 20_000, ECHO);
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
fn in_order(mut next: u32, segments: Vec<Heard>) -> Vec<u8> {
    let mut stream = Vec::new();
    for segment in segments {
        if segment.seq == next {
            next = next.wrapping_add(segment.data.len() as u32);
            stream.extend(segment.data);
        }
    }
    stream
}

/// RFC 5927: ICMP errors about segments that were not sent.
#[test]
fn blind_icmp() {
    let mut lab = lab();
    let mut peer = Peer::new(ATTACKER, 20_000, ECHO);
    assert!(peer.open(&mut lab, &mss(1_460)));
    let mut rng = Rng::from_u64(3);
    for n in 0..5_000u32 {
        let mut quoted = forge::tcp(ECHO, 20_000, rng.u32(), 0, flag::ACK, &[]);
        quoted.truncate(8);
        let quote = forge::ipv4_with(OURS, ATTACKER, forge::TCP, &[], &quoted);
        let (code, rest) = match n % 3 {
            0 => (2, [0; 4]),
            1 => (3, [0; 4]),
            _ => (4, [0, 0, 0, 68]),
        };
        let error = forge::icmp(3, code, rest, &quote);
        lab.queue(forge::sealed(forge::ipv4(OURS, forge::ICMP, &error)));
        lab.settle();
    }
    peer.listen(&mut lab);
    peer.data(&mut lab, b"still here");
    lab.wait(Duration::from_millis(500));
    let echoed = in_order(peer.rcv, peer.listen(&mut lab));
    assert_eq!(echoed, b"still here");
    let mtu = lab.handle().tcp_info()[0].2.mss;
    assert!(mtu > 1_400, "the path MTU is as it was: {mtu}");
    peer.rcv = peer.rcv.wrapping_add(10);
    leaves_nothing(lab, &mut [peer], "blind ICMP");
}

/// RFC 1858, RFC 3128, RFC 5722: fragments that overlap, that hide the ports, and that never end.
#[test]
fn overlapping_tiny_and_endless_fragments() {
    let mut lab = little();
    let udp = forge::udp(1_000, ECHO, &[7; 64]);
    let before = lab.udp_answers();
    for n in 0..10_000u16 {
        let packets = match n % 4 {
            // An overlap discards the datagram.
            0 => vec![
                forge::ipv4_fragment(OURS, forge::UDP, n, 0, true, &udp[..40]),
                forge::ipv4_fragment(OURS, forge::UDP, n, 32, false, &udp[32..]),
            ],
            // Eight bytes of a TCP header.
            1 => vec![forge::ipv4_fragment(
                OURS,
                forge::TCP,
                n,
                0,
                true,
                &[0x11; 8],
            )],
            // Too far out: more than a datagram can be.
            2 => vec![forge::ipv4_fragment(
                OURS,
                forge::UDP,
                n,
                65_528,
                false,
                &[1; 64],
            )],
            _ => vec![forge::ipv4_fragment(
                OURS,
                forge::UDP,
                n,
                8_000,
                true,
                &[1; 1_400],
            )],
        };
        for packet in packets {
            lab.queue(packet);
        }
        if n % 16 == 0 {
            lab.settle();
        }
    }
    lab.settle();
    assert_eq!(lab.udp_answers(), before, "no datagram came of it");
    // An honest datagram in fragments still arrives.
    lab.send(forge::ipv4_fragment(
        OURS,
        forge::UDP,
        60_001,
        0,
        true,
        &udp[..40],
    ));
    lab.send(forge::ipv4_fragment(
        OURS,
        forge::UDP,
        60_001,
        40,
        false,
        &udp[40..],
    ));
    assert_eq!(lab.udp_answers(), before + 1, "{}", lab.handle().counters());
    survives(lab, "fragments");
}

/// LAND: the source is the destination.
#[test]
fn land() {
    let mut lab = lab();
    let before = lab.packets_out();
    for _ in 0..1_000 {
        let segment = forge::tcp(ECHO, ECHO, 1, 0, flag::SYN, &[]);
        lab.send(forge::sealed(forge::ipv4_with(
            OURS,
            OURS,
            forge::TCP,
            &[],
            &segment,
        )));
        let datagram = forge::udp(ECHO, ECHO, b"echo to echo");
        lab.send(forge::sealed(forge::ipv4_with(
            OURS,
            OURS,
            forge::UDP,
            &[],
            &datagram,
        )));
    }
    assert_eq!(lab.packets_out(), before, "nothing is answered");
    assert_eq!(lab.handle().connections(), 0);
    survives(lab, "LAND");
}

/// RFC 9293 section 3.4.1: initial sequence numbers, and RFC 7323 timestamps, tell nothing to who sees those of others.
#[test]
fn sequence_numbers_and_timestamps_are_not_predicted() {
    let mut lab = lab();
    let mut numbers = Vec::new();
    for n in 0..64u16 {
        let mut peer = Peer::new(Ipv4Addr::new(10, 77, 3, n as u8 + 1), 20_000, ECHO);
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

/// A peer that opens its window for a moment now and then, or never: its memory is bounded, and under pressure
/// it is the one that goes.
#[test]
fn zero_windows_that_drain_slowly() {
    let mut lab = little();
    let mut peers: Vec<Peer> = (0..100)
        .map(|n| Peer::new(Ipv4Addr::new(10, 77, 4, n as u8 + 1), 20_000, CHARGEN))
        .collect();
    for peer in &mut peers {
        assert!(peer.open(&mut lab, &mss(1_460)));
        peer.offer = 0;
        peer.ack(&mut lab);
    }
    for round in 0..60u32 {
        for (n, peer) in peers.iter_mut().enumerate() {
            let segments = peer.listen(&mut lab);
            if segments
                .iter()
                .any(|segment| segment.flags & flag::RST != 0)
            {
                continue;
            }
            // A byte a second from each, so that no timer expires.
            if (round as usize + n).is_multiple_of(4) {
                peer.offer = 1;
                peer.ack(&mut lab);
                let got: Vec<Heard> = peer.listen(&mut lab);
                peer.rcv = peer
                    .rcv
                    .wrapping_add(u32::from(got.iter().any(|s| !s.data.is_empty())));
                peer.offer = 0;
                peer.ack(&mut lab);
            }
        }
        lab.wait(Duration::from_millis(250));
        if round % 10 == 9 {
            assert!(lab.ping(), "round {round}");
            let served = lab.exchange(40_000 + round as u16, 3_000, Duration::from_secs(1));
            assert!(
                served.is_some(),
                "round {round}: {}",
                lab.handle().counters()
            );
        }
    }
    leaves_nothing(lab, &mut peers, "slow drain");
}

/// One byte a segment, and the smallest MSS.
#[test]
fn single_bytes_and_the_smallest_mss() {
    let mut lab = lab();
    let mut bytes = Peer::new(ATTACKER, 20_000, ECHO);
    let mut small = Peer::new(ATTACKER, 20_001, CHARGEN);
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

/// UDP to a socket that nobody reads, from many senders.
#[test]
fn udp_to_a_slow_reader() {
    let mut lab = little();
    let unread = bind_udp(lab.handle(), 99);
    let mut rng = Rng::from_u64(4);
    for _ in 0..20_000 {
        let len = rng.below(1_400) as usize;
        let datagram = forge::udp(1_000 + rng.below(60_000) as u16, 99, &vec![7; len]);
        let from = Ipv4Addr::new(10, 77, 9, 1 + rng.below(200) as u8);
        lab.send(forge::sealed(forge::ipv4_with(
            from,
            OURS,
            forge::UDP,
            &[],
            &datagram,
        )));
    }
    assert!(lab.ping());
    drop(unread);
    lab.wait(Duration::from_secs(1));
    leaves_nothing(lab, &mut [], "UDP to a slow reader");
}

/// Packets that ask for ICMP errors: they are limited, and ordinary answers are not.
#[test]
fn packets_that_provoke_icmp() {
    let mut lab = lab();
    for n in 0..20_000u32 {
        let packet = match n % 3 {
            0 => forge::sealed(forge::ipv4(
                OURS,
                forge::UDP,
                &forge::udp(1_000, 1, b"nobody"),
            )),
            1 => forge::ipv4(OURS, 200, b"no such protocol"),
            _ => forge::ipv4_with(ATTACKER, OURS, forge::UDP, &[68, 3, 5, 0], b"a bad option"),
        };
        lab.send(packet);
    }
    assert!(
        lab.icmp_errors() <= 100,
        "{} errors at one instant",
        lab.icmp_errors()
    );
    survives(lab, "ICMP-provoking packets");
}

/// Connections that open, send one byte, and reset, again and again.
#[test]
fn connection_swarms() {
    let mut lab = lab();
    for n in 0..5_000u16 {
        let mut peer = Peer::new(Ipv4Addr::new(10, 77, 5, n as u8), 10_000 + n, ECHO);
        assert!(peer.open(&mut lab, &mss(1_460)), "connection {n}");
        peer.data(&mut lab, b"1");
        peer.listen(&mut lab);
        peer.reset(&mut lab);
        lab.ignore((peer.address, peer.port));
    }
    lab.wait(Duration::from_secs(1));
    assert_eq!(lab.handle().connections(), 0, "{}", lab.handle().counters());
    leaves_nothing(lab, &mut [], "a swarm of connections");
}

/// A reset in every state that a peer can bring a connection to.
#[test]
fn resets_in_every_state() {
    let mut lab = lab();
    let mut port = 20_000;
    for service in [ECHO, DISCARD, DEAF, CHARGEN] {
        for steps in 0..6 {
            port += 1;
            let mut peer = Peer::new(ATTACKER, port, service);
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

/// Memory that is short is given to whoever comes, before it is given to who has most: of those that hold and make
/// no progress, the ones that the application has let go of go first.
#[test]
fn the_holders_that_make_no_progress_go_at_the_limit() {
    let config = Config {
        memory_bytes: Some(Config::MIN_MEMORY_BYTES),
        ..Config::default()
    };
    let mut lab = Lab::new(config, 1);
    // More holders than the memory has floors for.
    let mut peers: Vec<Peer> = (0..250u16)
        .map(|n| Peer::new(Ipv4Addr::new(10, 77, 6, n as u8 + 1), 20_000 + n, CHARGEN))
        .collect();
    for peer in &mut peers {
        peer.open(&mut lab, &mss(1_460));
        lab.wait(Duration::from_millis(40));
        lab.ignore((peer.address, peer.port));
    }
    lab.wait(Duration::from_secs(3));
    let counters = lab.handle().counters();
    assert!(
        counters.count(netstack::Counter::MemoryAborted) > 0,
        "{counters}"
    );
    assert!(
        counters.dropped(DropReason::NoReceiveBuffer) == 0,
        "{counters}"
    );
    assert!(lab.ping());
    leaves_nothing(lab, &mut peers, "more holders than floors");
}
