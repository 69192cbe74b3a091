//! The path MTU as routers report it, for TCP: each connection hears of it, and it limits what is sent only
//! (RFC 1191, RFC 9293 section 3.7.1).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::FutureExt as _;
use netstack::base::Config;
use netstack::net::{TcpListener, TcpStream};
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
    let quote = build(sent.from, sent.to, &sent.header, &sent.payload);
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
