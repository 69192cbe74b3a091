//! Attacks that hold what others need: windows, memory, connections.

use std::time::Duration;

use netstack::base::{Config, Rng};
use netstack::{Counter, DropReason};
use packet::buf::Level;
use tests::hostile::{BLOBS, CHARGEN, DISCARD, ECHO, FILE, Family, Heard, Lab, Peer, flag, mss};

use super::{lab, leaves_nothing, little, survives};

attacks!(
    zero_windows_that_drain_slowly,
    zero_windows_end_with_the_user_timeout,
    orphans_behind_zero_windows_end,
    blobs_of_the_application_are_charged,
    connection_swarms,
    handshakes_offer_less_under_pressure,
    a_flood_of_syns,
    the_holders_that_make_no_progress_go_at_the_limit,
);

/// A peer that opens its window for a moment now and then, or never: its memory is bounded, and under pressure
/// it is the one that goes.
fn zero_windows_that_drain_slowly(family: Family) {
    let mut lab = little(family);
    let mut peers: Vec<Peer> = (0..100)
        .map(|n| Peer::new(family.host(0x401 + n as u16), 20_000, CHARGEN))
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

/// Opens `count` connections whose peers close their windows after the handshake.
fn misers(lab: &mut Lab, count: u16, to: u16) -> Vec<Peer> {
    let family = lab.family();
    let mut peers: Vec<Peer> = (0..count)
        .map(|n| Peer::new(family.host(0x801 + n), 20_000, to))
        .collect();
    for peer in &mut peers {
        assert!(peer.open(lab, &mss(1_400)));
        peer.offer = 0;
        peer.ack(lab);
    }
    peers
}

/// Lets time pass while the peers answer; returns how many connections are left.
fn answer_probes(lab: &mut Lab, peers: &mut [Peer], seconds: u32) -> usize {
    for _ in 0..seconds * 5 {
        lab.wait(Duration::from_millis(200));
        for peer in peers.iter_mut() {
            let heard = peer.listen(lab);
            if heard.iter().any(|segment| !segment.data.is_empty()) {
                peer.ack(lab);
            }
        }
    }
    lab.handle().connections()
}

/// With a user timeout, a peer that takes nothing goes without any pressure; without, it may stay for as long as it
/// answers (RFC 9293 section 3.8.6.1), and holds no more than its share.
fn zero_windows_end_with_the_user_timeout(family: Family) {
    for (timeout, left) in [(Some(Duration::from_secs(30)), 0), (None, 50)] {
        let mut config = Config::default();
        config.tcp.user_timeout = timeout;
        let mut lab = Lab::new(config, 1, family);
        let mut peers = misers(&mut lab, 50, CHARGEN);
        assert_eq!(answer_probes(&mut lab, &mut peers, 62), left);
        let memory = lab.handle().memory();
        println!(
            "{timeout:?}: {left} of 50 are left and hold {} kB",
            memory.used / 1_000
        );
        if left == 0 {
            assert_eq!(lab.buffers_in_use(), 0);
        }
        leaves_nothing(lab, &mut peers, "zero windows");
    }
}

/// A service wrote its answer and let go of the connection; the peer answers probes and takes nothing.
fn orphans_behind_zero_windows_end(family: Family) {
    let mut lab = lab(family);
    let mut peers = misers(&mut lab, 50, FILE);
    assert!(lab.handle().connections() == 50);
    let left = answer_probes(&mut lab, &mut peers, 130);
    assert_eq!(left, 0, "{:?}", lab.handle().tcp_info());
    assert_eq!(lab.buffers_in_use(), 0);
    survives(lab, "orphans behind zero windows");
}

/// Memory that the application brings itself counts while it is queued, as any other.
fn blobs_of_the_application_are_charged(family: Family) {
    let mut lab = little(family);
    let mut peers = misers(&mut lab, 200, BLOBS);
    lab.wait(Duration::from_millis(500));
    let memory = lab.handle().memory();
    assert!(memory.used > memory.limit / 2, "{memory:?}");
    let held: usize = lab
        .handle()
        .tcp_info()
        .iter()
        .map(|(_, _, info)| info.memory)
        .sum();
    assert!(
        held > memory.limit / 2 && held <= memory.limit,
        "{held}: {memory:?}"
    );
    assert!(lab.ping());
    let served = lab.exchange(40_000, 3_000, Duration::from_secs(1));
    assert!(served.is_some(), "{}", lab.handle().counters());
    leaves_nothing(lab, &mut peers, "memory of the application");
}

/// Connections that open, send one byte, and reset, again and again.
fn connection_swarms(family: Family) {
    let mut lab = lab(family);
    for n in 0..5_000u16 {
        let mut peer = Peer::new(family.host(0x500 | (n & 0xff)), 10_000 + n, ECHO);
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

/// Memory that is short is given to whoever comes, before it is given to who has most: of those that hold and make
/// no progress, the ones that the application has let go of go first.
fn the_holders_that_make_no_progress_go_at_the_limit(family: Family) {
    let config = Config {
        memory_bytes: Some(Config::MIN_MEMORY_BYTES),
        ..Config::default()
    };
    let mut lab = Lab::new(config, 1, family);
    // More holders than the memory has floors for.
    let mut peers: Vec<Peer> = (0..250u16)
        .map(|n| Peer::new(family.host(0x601 + n), 20_000 + n, CHARGEN))
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

/// SYNs from random sources, which never answer: entries of the queue, then cookies, and nothing that grows.
fn a_flood_of_syns(family: Family) {
    let mut lab = lab(family);
    let mut rng = Rng::from_u64(9);
    for n in 0..60_000u32 {
        let peer = Peer::new(
            family.host(rng.u32() as u16 | 0x100),
            rng.u32() as u16 | 1,
            ECHO,
        );
        lab.queue(peer.segment(rng.u32(), 0, flag::SYN, &mss(1_400), &[]));
        if n % 32 == 31 {
            lab.settle();
            lab.ignore_all();
        }
        if n % 10_000 == 9_999 {
            let served = lab.exchange(30_000 + (n / 10_000) as u16, 500, Duration::from_secs(1));
            assert!(served.is_some(), "{n}: {}", lab.handle().counters());
        }
    }
    let counters = lab.handle().counters();
    assert!(
        counters.count(Counter::TcpSynCookiesSent) > 40_000,
        "{counters}"
    );
    assert!(lab.handle().half_open() <= 16_384);
    assert_eq!(lab.handle().connections(), 0);
    survives(lab, "a flood of SYNs");
}

/// While memory is short, the first window of a connection is small, and grows when memory is at ease again.
fn handshakes_offer_less_under_pressure(family: Family) {
    let mut lab = little(family);
    let first_window = |lab: &mut Lab, port| {
        let mut peer = Peer::new(family.host(70), port, DISCARD);
        peer.syn(lab, &mss(1_400));
        let syn_ack = peer.listen(lab).pop().expect("a SYN-ACK");
        peer.on_syn_ack(&syn_ack);
        peer.ack(lab);
        (syn_ack.window, peer)
    };
    let (at_ease, polite) = first_window(&mut lab, 20_000);
    assert_eq!(at_ease, u16::MAX);
    let mut peers = misers(&mut lab, 200, CHARGEN);
    lab.wait(Duration::from_millis(500));
    assert!(lab.handle().memory().level > Level::Ease);
    let (window, mut late) = first_window(&mut lab, 20_001);
    assert!(window <= 4_096, "{window} under pressure");
    // It is enough to be served.
    late.data(&mut lab, &[7; 1_400]);
    lab.wait(Duration::from_millis(100));
    late.listen(&mut lab);
    assert_eq!(late.una, late.next);
    polite.reset(&mut lab);
    peers.push(late);
    leaves_nothing(lab, &mut peers, "handshakes under pressure");
}
