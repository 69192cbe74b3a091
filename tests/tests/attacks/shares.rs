//! One peer that takes all the places: those who come later get some of them.

use std::time::Duration;

use futures::FutureExt as _;
use netstack::base::{Config, Rng};
use netstack::net::{TcpListener, UdpListener, UdpSocket};
use netstack::{Counter, DropReason};
use tests::forge;
use tests::hostile::{DEAF, DISCARD, ECHO, Family, Lab, Peer, bind_udp, flag, mss};

use super::{leaves_nothing, survives};

attacks!(
    idle_connections_of_one_peer_keep_nobody_out,
    peers_share_a_table_that_is_full,
    idle_connections_make_room_when_all_peers_have_few,
    spoofed_syns_end_no_connection,
    connections_that_nobody_accepts_leave_room_for_other_peers,
    handshakes_of_one_peer_leave_room_for_other_peers,
    datagrams_of_one_sender_leave_room_for_other_senders,
    flows_of_one_sender_leave_room_for_other_senders,
);

/// Opens connections of one peer, from all of its addresses, until `count` are open.
fn crowd(lab: &mut Lab, count: u32, to: u16) {
    let options = mss(1_400);
    for n in 0..count {
        // One IPv4 address has not enough ports for one service.
        let to = if n < 50_000 { to } else { DEAF };
        let address = lab.family().attacker((n / 50_000) as u16);
        let mut peer = Peer::new(address, 10_000 + (n % 50_000) as u16, to);
        peer.open(lab, &options);
        lab.ignore((peer.address, peer.port));
    }
}

/// Returns how many connections of each of the hosts there are.
fn counts(lab: &Lab, hosts: std::ops::Range<u16>) -> Vec<usize> {
    let info = lab.handle().tcp_info();
    let of = |host| {
        let address = lab.family().host(host);
        info.iter()
            .filter(|(_, remote, _)| remote.ip() == address)
            .count()
    };
    hosts.map(of).collect()
}

/// As many idle connections as there may be, all of one client: others come in, at its expense.
fn idle_connections_of_one_peer_keep_nobody_out(family: Family) {
    let most = 65_536;
    let config = Config {
        max_connections: most,
        ..Config::default()
    };
    let mut lab = Lab::new(config, 1, family);
    crowd(&mut lab, most as u32, DISCARD);
    assert_eq!(lab.handle().connections(), most, "while nobody else comes");
    lab.wait(Duration::from_secs(1));
    let refused = lab.handle().counters().dropped(DropReason::TcpTableFull);
    // More of its own are refused.
    crowd_more(&mut lab, 20, DISCARD);
    let counters = lab.handle().counters();
    assert!(counters.dropped(DropReason::TcpTableFull) >= refused + 20);
    assert_eq!(counters.count(Counter::TcpDisplaced), 0, "{counters}");
    // Another client comes in at once, each time.
    for n in 0..50 {
        let served = lab.exchange(40_000 + n, 500, Duration::from_secs(1));
        assert!(served.is_some(), "{n}: {}", lab.handle().counters());
    }
    let counters = lab.handle().counters();
    assert!(counters.count(Counter::TcpDisplaced) > 0, "{counters}");
    survives(lab, "65,536 idle connections of one peer");
}

/// The crowding peer tries again with other ports.
fn crowd_more(lab: &mut Lab, count: u16, to: u16) {
    for n in 0..count {
        let mut peer = Peer::new(lab.family().attacker(7), 1_000 + n, to);
        peer.open(lab, &mss(1_400));
        lab.ignore((peer.address, peer.port));
    }
}

/// Peers that each want as many connections as they can get have about the same number in the end.
fn peers_share_a_table_that_is_full(family: Family) {
    let config = Config {
        max_connections: 400,
        ..Config::default()
    };
    let mut lab = Lab::new(config, 3, family);
    let mut rng = Rng::from_u64(3);
    let mut ports = [10_000u16; 4];
    for round in 0..6_000u32 {
        // The first one was there before the others.
        let n = if round < 400 { 0 } else { rng.below(4) as u16 };
        ports[usize::from(n)] += 1;
        let mut peer = Peer::new(family.host(100 + n), ports[usize::from(n)], DISCARD);
        peer.open(&mut lab, &mss(1_400));
        lab.ignore((peer.address, peer.port));
    }
    let counts = counts(&lab, 100..104);
    println!("connections of each peer: {counts:?}");
    assert_eq!(counts.iter().sum::<usize>(), 400);
    assert!(
        counts.iter().all(|count| (40..=200).contains(count)),
        "{counts:?}"
    );
    survives(lab, "four peers that want every connection");
}

/// Thousands of peers with one connection each: the one that has been idle longest makes room, but not before it
/// has been idle for long.
fn idle_connections_make_room_when_all_peers_have_few(family: Family) {
    let config = Config {
        max_connections: 300,
        ..Config::default()
    };
    let mut lab = Lab::new(config, 1, family);
    for n in 0..300 {
        let mut peer = Peer::new(family.host(0x200 + n), 20_000, DISCARD);
        assert!(peer.open(&mut lab, &mss(1_400)), "{n}");
    }
    assert!(lab.exchange(40_000, 100, Duration::from_secs(1)).is_none());
    let counters = lab.handle().counters();
    assert!(counters.dropped(DropReason::TcpTableFull) > 0, "{counters}");
    lab.wait(Duration::from_secs(61));
    for n in 0..10 {
        let served = lab.exchange(41_000 + n, 100, Duration::from_secs(1));
        assert!(served.is_some(), "{n}: {}", lab.handle().counters());
    }
    let counters = lab.handle().counters();
    assert!(counters.count(Counter::TcpIdleDisplaced) > 0, "{counters}");
    survives(lab, "300 peers with one connection each");
}

/// SYNs that never become connections displace none, whatever their source.
fn spoofed_syns_end_no_connection(family: Family) {
    let config = Config {
        max_connections: 200,
        ..Config::default()
    };
    let mut lab = Lab::new(config, 1, family);
    crowd(&mut lab, 200, DISCARD);
    let mut rng = Rng::from_u64(8);
    for _ in 0..5_000 {
        let peer = Peer::new(
            family.host(rng.below(60_000) as u16 | 0x100),
            30_000,
            DISCARD,
        );
        peer.syn(&mut lab, &mss(1_400));
        lab.ignore((peer.address, peer.port));
    }
    assert_eq!(lab.handle().connections(), 200);
    survives(lab, "spoofed SYNs to a full table");
}

/// A backlog full of one peer's connections, since nobody accepts them.
fn connections_that_nobody_accepts_leave_room_for_other_peers(family: Family) {
    let mut config = Config::default();
    config.tcp.backlog = 64;
    let mut lab = Lab::new(config, 1, family);
    let listener = TcpListener::bind_now(lab.handle(), (family.ours(), 5_000));
    let listener = listener.expect("a listener");
    crowd(&mut lab, 64, 5_000);
    assert_eq!(lab.handle().connections(), 64);
    let mut others = Vec::new();
    for n in 0..10 {
        let mut other = Peer::new(family.host(60 + n), 20_000, 5_000);
        assert!(other.open(&mut lab, &mss(1_400)), "{n}: a SYN-ACK");
        let answers = other.listen(&mut lab);
        assert!(
            answers.iter().all(|a| a.flags & flag::RST == 0),
            "{answers:?}"
        );
        others.push(other);
    }
    let counters = lab.handle().counters();
    assert_eq!(counters.count(Counter::TcpUnacceptedDisplaced), 10);
    assert_eq!(counts(&lab, 60..70), [1; 10], "{counters}");
    // The crowding peer has the rest, and gets no more.
    crowd_more(&mut lab, 100, 5_000);
    assert_eq!(counts(&lab, 60..70), [1; 10]);
    drop(listener);
    leaves_nothing(lab, &mut others, "a backlog of one peer");
}

/// Half-open connections of one peer, which has an address and never answers: those of others are kept, too.
fn handshakes_of_one_peer_leave_room_for_other_peers(family: Family) {
    let config = Config {
        max_half_open: 4_096,
        ..Config::default()
    };
    let mut lab = Lab::new(config, 1, family);
    for n in 0..3_000u16 {
        let peer = Peer::new(family.attacker(n % 100), 10_000 + n, ECHO);
        peer.syn(&mut lab, &mss(1_400));
        lab.ignore((peer.address, peer.port));
    }
    let before = lab.handle().counters();
    assert!(before.count(Counter::TcpSynCookiesSent) > 0, "{before}");
    for n in 0..40 {
        let other = Peer::new(family.host(0x300 + n), 20_000, ECHO);
        other.syn(&mut lab, &mss(1_400));
    }
    let after = lab.handle().counters();
    let displaced = after.count(Counter::TcpHandshakesDisplaced);
    assert_eq!(displaced, 40, "{after}");
    lab.wait(Duration::from_secs(200));
    assert_eq!(lab.handle().half_open(), 0);
    survives(lab, "handshakes of one peer");
}

/// A socket that is not read for a while: one sender fills its queue, and those of others still arrive.
fn datagrams_of_one_sender_leave_room_for_other_senders(family: Family) {
    let mut lab = Lab::new(Config::default(), 1, family);
    let socket = bind_udp(lab.handle(), family.ours(), 99);
    for n in 0..10_000u16 {
        lab.send(forge::datagram(
            family.attacker(n % 100),
            1_000 + n,
            99,
            &[1; 100],
        ));
    }
    let counters = lab.handle().counters();
    assert!(counters.dropped(DropReason::UdpQueueFull) > 0, "{counters}");
    for n in 0..200 {
        lab.send(forge::datagram(
            family.host(0x400 + n),
            5_000,
            99,
            b"honest",
        ));
    }
    let counters = lab.handle().counters();
    assert_eq!(
        counters.dropped(DropReason::UdpDisplaced),
        200,
        "{counters}"
    );
    let mut honest = 0;
    let mut buffer = [0; 200];
    while let Ok((len, _)) = socket.try_recv_from(&mut buffer) {
        honest += usize::from(&buffer[..len] == b"honest");
    }
    assert_eq!(honest, 200, "{}", lab.handle().counters());
    drop(socket);
    survives(lab, "datagrams of one sender");
}

/// Takes the flow that a datagram began.
fn accept(listener: &UdpListener) -> Option<UdpSocket> {
    let (flow, _) = listener.accept().now_or_never()?.expect("the stack lives");
    Some(flow)
}

/// As many flows of UDP as there may be, all of one sender: those of others begin, at its expense, and the ends are
/// reported.
fn flows_of_one_sender_leave_room_for_other_senders(family: Family) {
    let mut lab = Lab::new(Config::default(), 1, family);
    let bind = |port| UdpListener::bind(lab.handle(), (family.ours(), port));
    let listeners = [6_000, 6_001].map(|port| bind(port).expect("a listener"));
    let mut flows = Vec::new();
    for n in 0..65_536u32 {
        let (port, at) = if n < 60_000 { (6_000, 0) } else { (6_001, 1) };
        let source = 1 + (n % 60_000) as u16;
        lab.queue(forge::datagram(
            family.attacker((n % 7) as u16),
            source,
            port,
            b"a flow",
        ));
        if n % 32 == 31 {
            lab.settle();
            flows.extend(std::iter::from_fn(|| accept(&listeners[at])));
        }
    }
    assert_eq!(flows.len(), 65_536);
    // More of its own are lost, and `accept` goes on to wait.
    let refused = |lab: &Lab| lab.handle().counters().dropped(DropReason::UdpFlowsFull);
    let before = refused(&lab);
    lab.send(forge::datagram(
        family.attacker(1),
        65_000,
        6_000,
        b"one more",
    ));
    assert!(accept(&listeners[0]).is_none());
    assert_eq!(refused(&lab), before + 1);
    let mut others = Vec::new();
    for n in 0..20 {
        lab.send(forge::datagram(
            family.host(0x600 + n),
            5_000,
            6_000,
            b"honest",
        ));
        let flow = accept(&listeners[0]).expect("a flow of another sender");
        let mut buffer = [0; 16];
        let (len, _) = flow.try_recv_from(&mut buffer).expect("its datagram");
        assert_eq!(&buffer[..len], b"honest");
        others.push(flow);
    }
    let counters = lab.handle().counters();
    assert_eq!(counters.count(Counter::UdpFlowsDisplaced), 20, "{counters}");
    let ended = flows
        .iter()
        .filter(|flow| {
            let error = flow.try_recv_from(&mut [0; 16]).err();
            error.is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionAborted)
        })
        .count();
    assert_eq!(ended, 20);
    let again = flows.iter().filter(|flow| {
        let is_ready = flow.readable().now_or_never().is_some();
        is_ready && flow.try_send(b"?").is_err()
    });
    assert_eq!(again.count(), 20, "each says so every time");
    let counters = lab.handle().counters();
    assert_eq!(counters.dropped(DropReason::UdpDisplaced), 20, "{counters}");
    drop((flows, others, listeners));
    survives(lab, "flows of one sender");
}
