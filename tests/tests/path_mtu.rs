//! The path MTU as routers report it, for TCP: each connection hears of it, and it limits what is sent only
//! (RFC 1191, RFC 9293 section 3.7.1).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::FutureExt as _;
use netstack::Counter;
use netstack::base::Config;
use netstack::net::{MtuDiscovery, TcpListener, TcpStream, UdpSocket};
use packet::tcp::TcpOptions;
use tests::forge;
use tests::raw_peer::{ACK, OURS, Peer, RST, Sent, Wire, build, ours};

fn peer(port: u16) -> Peer {
    let from: SocketAddr = ([10, 1, 0, 1], port).into();
    let options = TcpOptions {
        mss: Some(1_460),
        sack_permitted: true,
        ..TcpOptions::default()
    };
    Peer::new(from, ours(80), options)
}

fn open(wire: &mut Wire, listener: &TcpListener, port: u16) -> (Peer, TcpStream) {
    let mut peer = peer(port);
    peer.open(wire);
    (peer, accept(listener))
}

fn accept(listener: &TcpListener) -> TcpStream {
    let accepted = listener.accept().now_or_never().expect("ready");
    accepted.expect("accepted").0
}

/// Returns the sizes of the payloads that are sent now.
fn sizes(wire: &mut Wire) -> Vec<usize> {
    let sent = wire.settle();
    sent.iter().map(|sent| sent.payload.len()).collect()
}

/// Returns a router's report that `sent` exceeds `mtu`.
fn too_big(sent: &Sent, mtu: u16) -> Vec<u8> {
    too_big_about(&build(sent.from, sent.to, &sent.header, &sent.payload), mtu)
}

/// Returns a router's report that a datagram of 1,500 bytes from port 53 to port 9 of the peers' host exceeds `mtu`.
fn datagram_too_big(mtu: u16) -> Vec<u8> {
    let (IpAddr::V4(from), to) = (OURS, [10, 1, 0, 1].into()) else {
        panic!("IPv4 addresses")
    };
    let datagram = forge::udp(53, 9, &[0; 1_472]);
    too_big_about(&forge::ipv4_with(from, to, forge::UDP, &[], &datagram), mtu)
}

fn too_big_about(quote: &[u8], mtu: u16) -> Vec<u8> {
    let [high, low] = mtu.to_be_bytes();
    let message = forge::icmp(3, 4, [0, 0, high, low], &quote[..28]);
    let (IpAddr::V4(to), IpAddr::V4(router)) = (OURS, IpAddr::from([10, 1, 0, 254])) else {
        panic!("IPv4 addresses")
    };
    forge::sealed(forge::ipv4_with(router, to, forge::ICMP, &[], &message))
}

fn write(wire: &mut Wire, stream: &TcpStream) -> Vec<Sent> {
    assert_eq!(stream.try_write(&[7; 2_920]).expect("room"), 2_920);
    let sent = wire.settle();
    assert!(sent.iter().all(|sent| sent.payload.len() == 1_460));
    sent
}

#[test]
fn each_connection_to_a_peer_hears_of_a_smaller_path() {
    let mut wire = Wire::new(Config::default());
    let listener = TcpListener::bind_now(wire.stack(), ours(80)).expect("bind");
    let (_, first) = open(&mut wire, &listener, 4_000);
    let (_, second) = open(&mut wire, &listener, 4_001);
    // Both have large segments in flight when the reports come, of which the second one is no news for the cache.
    let of_first = write(&mut wire, &first);
    let of_second = write(&mut wire, &second);
    for sent in [of_first, of_second] {
        let again = wire.send(too_big(&sent[0], 1_000));
        let sizes: Vec<_> = again.iter().map(|sent| sent.payload.len()).collect();
        assert!(!sizes.is_empty(), "nothing was sent again");
        assert!(sizes.iter().all(|size| *size <= 960), "{sizes:?}");
        assert!(again.iter().all(|again| again.to == sent[0].to));
    }
    let late = wire.pass(Duration::from_secs(2));
    assert!(late.iter().all(|sent| sent.payload.len() <= 960));
}

#[test]
fn the_mss_option_says_what_can_be_received_whatever_the_path_carries() {
    let mut wire = Wire::new(Config::default());
    let listener = TcpListener::bind_now(wire.stack(), ours(80)).expect("bind");
    let (_, stream) = open(&mut wire, &listener, 4_000);
    let sent = write(&mut wire, &stream);
    wire.send(too_big(&sent[0], 600));
    let mut later = peer(4_001);
    let syn_ack = later.syn(&mut wire).expect("a SYN-ACK");
    assert_eq!(syn_ack.header.options.mss, Some(1_460));
    wire.send(later.packet(ACK, b""));
    let stream = accept(&listener);
    assert_eq!(stream.try_write(&[7; 2_000]).expect("room"), 2_000);
    let sizes = sizes(&mut wire);
    assert_eq!(sizes[0], 560, "what is sent follows the path");
}

#[test]
fn an_mss_clamp_limits_both_directions() {
    let mut config = Config::default();
    config.tcp.max_mss = 700;
    let mut wire = Wire::new(config);
    let listener = TcpListener::bind_now(wire.stack(), ours(80)).expect("bind");
    let mut first = peer(4_000);
    let syn_ack = first.syn(&mut wire).expect("a SYN-ACK");
    assert_eq!(syn_ack.header.options.mss, Some(700));
    wire.send(first.packet(ACK, b""));
    let stream = accept(&listener);
    assert_eq!(stream.try_write(&[7; 1_400]).expect("room"), 1_400);
    assert_eq!(sizes(&mut wire), [700, 700]);
}

#[test]
fn segments_after_the_peers_reset_are_reset() {
    let mut wire = Wire::new(Config::default());
    let listener = TcpListener::bind_now(wire.stack(), ours(80)).expect("bind");
    let (mut peer, stream) = open(&mut wire, &listener, 4_000);
    assert!(wire.send(peer.packet(RST, b"")).is_empty());
    drop(stream);
    let answer = wire.send(peer.packet(ACK, b"late"));
    assert_eq!(answer.len(), 1);
    assert_eq!(answer[0].header.flags, RST);
}

#[test]
fn a_report_about_a_datagram_makes_no_connection_send_again() {
    let mut wire = Wire::new(Config::default());
    let listener = TcpListener::bind_now(wire.stack(), ours(80)).expect("bind");
    let _udp = UdpSocket::bind_now(wire.stack(), ours(53)).expect("bind");
    let (mut peer, stream) = open(&mut wire, &listener, 4_000);
    let sent = write(&mut wire, &stream);
    let mut next = sent[1].header.seq.wrapping_add(1_460);
    for mtu in [1_400, 1_300, 1_200, 1_100, 1_000, 900, 800, 700, 600] {
        assert_eq!(wire.send(datagram_too_big(mtu)).len(), 0);
        // The connection has its turn.
        let len = usize::from(mtu) - 40;
        assert_eq!(stream.try_write(&vec![7; len]).expect("room"), len);
        for sent in wire.settle() {
            assert_eq!((sent.header.seq, sent.payload.len()), (next, len));
            next = next.wrapping_add(len as u32);
            peer.hear(&sent);
        }
    }
    let counters = wire.stack().counters();
    assert_eq!(counters.count(Counter::TcpRetransmits), 0);
    wire.send(peer.packet(ACK, b""));
    assert_eq!(stream.try_write(&[7; 1_120]).expect("room"), 1_120);
    assert_eq!(sizes(&mut wire), [560, 560], "the path is followed");
}

#[test]
fn a_report_about_a_datagram_to_another_than_the_peer_is_not_believed() {
    let mut wire = Wire::new(Config::default());
    let listener = TcpListener::bind_now(wire.stack(), ours(80)).expect("bind");
    let udp = UdpSocket::bind_now(wire.stack(), ours(53)).expect("bind");
    for (peer_port, len) in [(10_u16, 1_460), (9, 560)] {
        let to = SocketAddr::from(([10, 1, 0, 1], peer_port));
        udp.connect(to)
            .now_or_never()
            .expect("ready")
            .expect("connected");
        wire.send(datagram_too_big(600));
        let (_, stream) = open(&mut wire, &listener, 4_000 + peer_port);
        assert_eq!(stream.try_write(&[7; 2_920]).expect("room"), 2_920);
        assert_eq!(sizes(&mut wire)[0], len, "connected to port {peer_port}");
    }
}

/// Lets `wire` carry packets of `mtu` bytes at most to `peer`, which acknowledges what arrives, until nothing more is
/// sent within `time`; returns what was sent, and the time at which the first payload arrived.
fn carry(wire: &mut Wire, peer: &mut Peer, mtu: usize, time: Duration) -> (Vec<Sent>, Duration) {
    let (mut all, mut first) = (Vec::new(), None);
    let end = wire.now + time;
    let mut sent = wire.settle();
    loop {
        let mut is_new = false;
        for sent in &sent {
            let len = sent.payload.len();
            if len > 0 && len + 40 <= mtu {
                first.get_or_insert(wire.now);
                peer.hear(sent);
                is_new = true;
            }
        }
        all.append(&mut sent);
        sent = if is_new {
            let answer = peer.packet(ACK, b"");
            wire.send(answer)
        } else if wire.now < end {
            wire.pass(Duration::from_millis(10))
        } else {
            return (all, first.expect("something arrives"));
        };
    }
}

#[test]
fn rfc4821_5_2_what_one_connection_learns_of_a_black_hole_the_next_one_knows() {
    let mut wire = Wire::new(Config::default());
    let listener = TcpListener::bind_now(wire.stack(), ours(80)).expect("bind");
    let (mut first, stream) = open(&mut wire, &listener, 4_000);
    assert_eq!(stream.try_write(&[7; 2_920]).expect("room"), 2_920);
    let began = wire.now;
    let (_, arrived) = carry(&mut wire, &mut first, 1_279, Duration::from_secs(5));
    assert!(arrived - began < Duration::from_secs(3), "{arrived:?}");
    assert!(stream.try_write(&[7; 2_048]).is_ok());
    assert_eq!(sizes(&mut wire), [1_024, 1_024]);

    let mut second = peer(4_001);
    let syn_ack = second.syn(&mut wire).expect("a SYN-ACK");
    let offered = syn_ack.header.options.mss;
    assert_eq!(offered, Some(1_460), "it says nothing of what is received");
    wire.send(second.packet(ACK, b""));
    let stream = accept(&listener);
    assert_eq!(stream.try_write(&[7; 2_048]).expect("room"), 2_048);
    assert_eq!(sizes(&mut wire), [1_024, 1_024]);
    // A UDP program that asks hears the same.
    let udp = UdpSocket::bind_now(wire.stack(), ours(53)).expect("bind");
    let remote = ([10, 1, 0, 1], 9).into();
    assert_eq!(udp.path_mtu(remote).expect("the family"), 1_064);
}

#[test]
fn a_report_about_a_probe_answers_it() {
    let mut wire = Wire::new(Config::default());
    let listener = TcpListener::bind_now(wire.stack(), ours(80)).expect("bind");
    let udp = UdpSocket::bind_now(wire.stack(), ours(53)).expect("bind");
    let remote: SocketAddr = ([10, 1, 0, 1], 9).into();
    // Some time ago a program found that 1,000 bytes arrive.
    udp.set_path_mtu(remote, 1_000).expect("noted");
    wire.pass(Duration::from_secs(601));
    let (mut peer, stream) = open(&mut wire, &listener, 4_000);
    assert_eq!(stream.try_write(&[7; 9_600]).expect("room"), 9_600);
    let sent = wire.settle();
    assert_eq!(sent[0].payload.len(), 960, "the window is too small yet");
    for sent in &sent {
        peer.hear(sent);
    }
    wire.send(peer.packet(ACK, b""));
    assert_eq!(stream.try_write(&[7; 9_600]).expect("room"), 9_600);
    let sent = wire.settle();
    assert_eq!(sent[0].payload.len(), 1_460, "a probe");
    assert!(sent[1..].iter().all(|sent| sent.payload.len() <= 960));
    let again = wire.send(too_big(&sent[0], 1_200));
    let resent: Vec<_> = again.iter().map(|sent| sent.payload.len()).collect();
    assert_eq!(resent.iter().sum::<usize>(), 1_460, "{resent:?}");
    assert_eq!(udp.path_mtu(remote).expect("the family"), 1_000);
    for sent in sent.iter().skip(1).chain(&again) {
        peer.hear(sent);
    }
}

fn ready<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("ready")
}

#[test]
fn rfc4821_9_a_program_probes_with_datagrams_larger_than_the_path_mtu() {
    let mut wire = Wire::new(Config::default());
    let udp = UdpSocket::bind_now(wire.stack(), ours(53)).expect("bind");
    let remote: SocketAddr = ([10, 1, 0, 1], 9).into();
    ready(udp.connect(remote)).expect("connected");
    udp.set_path_mtu(remote, 1_280).expect("noted");
    let mut lengths = |mode, len| {
        udp.set_mtu_discovery(mode).expect("set");
        let result = ready(udp.send(&vec![1; len]));
        let packets = wire.packets();
        let lengths: Vec<usize> = packets.iter().map(Vec::len).collect();
        let is_whole = |packet: &Vec<u8>| packet[6] & 0x40 != 0;
        (result.is_ok(), lengths, packets.iter().all(is_whole))
    };
    let (sent, packets, _) = lengths(MtuDiscovery::Fragment, 1_472);
    assert!(sent && packets.len() == 2, "{packets:?}");
    assert_eq!(
        lengths(MtuDiscovery::Reject, 1_252),
        (true, vec![1_280], true)
    );
    assert_eq!(lengths(MtuDiscovery::Reject, 1_253), (false, vec![], true));
    assert_eq!(
        lengths(MtuDiscovery::Probe, 1_472),
        (true, vec![1_500], true)
    );
    assert_eq!(lengths(MtuDiscovery::Probe, 1_473), (false, vec![], true));
    // A router's answer to the probe is an error of the next call, once.
    wire.send(datagram_too_big(1_400));
    let error = ready(udp.send(&[1])).expect_err("the report");
    assert!(error.to_string().contains("1400"), "{error}");
    ready(udp.send(&[1])).expect("once");
    assert_eq!(udp.path_mtu(remote).expect("the family"), 1_280);
    // What the program finds counts for others.
    udp.set_path_mtu(remote, 1_390).expect("noted");
    assert_eq!(udp.path_mtu(remote).expect("the family"), 1_390);
    for wrong in [67, 1_501] {
        assert!(udp.set_path_mtu(remote, wrong).is_err());
    }
}
