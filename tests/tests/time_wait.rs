//! TIME-WAIT, segment by segment: small entries in a bounded queue, which answer late segments and give
//! way to new connections (RFC 9293 section 3.6.1, RFC 6191), while the application keeps its handle.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use futures::FutureExt as _;
use netstack::base::Config;
use netstack::net::{TcpListener, TcpStream};
use netstack::tcp::State;
use netstack::{Counter, DropReason};
use packet::tcp::{TcpOptions, Timestamps};
use tests::raw_peer::{ACK, FIN, Peer, RST, SYN, Sent, Wire, ours};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn options(ts: u32) -> TcpOptions {
    TcpOptions {
        mss: Some(1_400),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some(Timestamps { val: ts, ecr: 0 }),
        ..TcpOptions::default()
    }
}

fn address(port: u16) -> SocketAddr {
    ([10, 1, 0, 1], port).into()
}

/// A connection that both sides have closed, this side first: the peer's unread `last` words lie in it.
fn close(wire: &mut Wire, listener: &TcpListener, port: u16, last: &[u8]) -> (Peer, TcpStream) {
    let to = listener.local_addr().expect("bound");
    let mut peer = Peer::new(address(port), to, options(5_000));
    peer.open(wire);
    let (mut stream, _) = listener
        .accept()
        .now_or_never()
        .expect("ready")
        .expect("accepted");
    let shutdown = stream.shutdown().now_or_never().expect("at once");
    shutdown.expect("shut down");
    let fin = wire.settle();
    assert_eq!(fin[0].header.flags, FIN | ACK);
    peer.hear(&fin[0]);
    let acked = wire.send(peer.packet(FIN | ACK, last));
    assert_eq!(acked.len(), 1, "{acked:?}");
    assert_eq!(acked[0].numbers(), (ACK, peer.ack, peer.seq));
    (peer, stream)
}

fn bind(wire: &Wire) -> TcpListener {
    TcpListener::bind_now(wire.stack(), ours(80)).expect("bind")
}

fn ack_of(peer: &Peer, sent: &[Sent]) {
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(sent[0].numbers(), (ACK, peer.ack, peer.seq));
}

#[test]
fn a_connection_in_time_wait_is_closed_and_only_an_entry_is_left() {
    let mut wire = Wire::new(Config::default());
    let listener = bind(&wire);
    let (_, stream) = close(&mut wire, &listener, 4_000, b"");
    assert_eq!(
        (wire.stack().connections(), wire.stack().time_waits()),
        (0, 1)
    );
    assert!(wire.stack().tcp_info().is_empty());
    assert_eq!(stream.info().state, State::Closed);
    assert_eq!(wire.stack().counters().count(Counter::TcpClosed), 1);
    drop(stream);
    assert!(wire.pass(Duration::from_millis(59_990)).is_empty());
    assert_eq!(wire.stack().time_waits(), 1);
    wire.pass(Duration::from_millis(20));
    assert_eq!(wire.stack().time_waits(), 0);
    assert_eq!(wire.stack().counters().count(Counter::TcpClosed), 1);
}

#[test]
fn the_applications_handle_goes_on_to_the_end_of_the_stream() {
    let mut wire = Wire::new(Config::default());
    let listener = bind(&wire);
    let (peer, mut stream) = close(&mut wire, &listener, 4_000, b"last words");
    let check = |stream: &mut TcpStream| {
        assert_eq!(stream.peer_addr().expect("known"), peer.from);
        assert_eq!(stream.local_addr().expect("known"), peer.to);
        let written = stream.write(b"x").now_or_never().expect("at once");
        assert_eq!(written.expect_err("closed").kind(), ErrorKind::BrokenPipe);
        assert!(stream.shutdown().now_or_never().expect("at once").is_ok());
        assert!(stream.readable().now_or_never().expect("at once").is_ok());
        assert!(stream.writable().now_or_never().expect("at once").is_ok());
        assert!(stream.set_nodelay(true).is_ok());
    };
    check(&mut stream);
    let mut buffer = [0; 4];
    let peeked = stream.peek(&mut buffer).now_or_never().expect("at once");
    assert_eq!((peeked.expect("peeked"), &buffer), (4, b"last"));
    // Even long after its TIME-WAIT.
    wire.pass(Duration::from_secs(120));
    assert_eq!(wire.stack().time_waits(), 0);
    let mut text = String::new();
    // The end comes with a poll of its own.
    let read = futures::executor::block_on(stream.read_to_string(&mut text));
    assert_eq!(read.expect("the end"), 10);
    assert_eq!(text, "last words");
    check(&mut stream);
    assert!(wire.settle().is_empty());
}

#[test]
fn a_handle_that_is_dropped_with_unread_data_resets_nothing_any_more() {
    let mut wire = Wire::new(Config::default());
    let listener = bind(&wire);
    let (peer, stream) = close(&mut wire, &listener, 4_000, b"last words");
    drop(stream);
    assert!(wire.settle().is_empty());
    assert_eq!(wire.stack().time_waits(), 1);
    assert_eq!(wire.stack().slabs_in_use(), (0, 0));
    let mut late = peer.clone();
    late.seq = late.seq.wrapping_sub(1);
    ack_of(&peer, &wire.send(late.packet(FIN | ACK, b"")));
}

#[test]
fn a_repeated_fin_is_acknowledged_and_starts_the_wait_anew() {
    let mut wire = Wire::new(Config::default());
    let listener = bind(&wire);
    let (peer, _stream) = close(&mut wire, &listener, 4_000, b"");
    wire.pass(Duration::from_secs(40));
    let mut again = peer.clone();
    again.seq = again.seq.wrapping_sub(1);
    ack_of(&peer, &wire.send(again.packet(FIN | ACK, b"")));
    wire.pass(Duration::from_secs(59));
    assert_eq!(wire.stack().time_waits(), 1);
    wire.pass(Duration::from_secs(2));
    assert_eq!(wire.stack().time_waits(), 0);
}

#[test]
fn late_segments_are_answered_and_only_a_reset_in_place_ends_it() {
    let mut wire = Wire::new(Config::default());
    let listener = bind(&wire);
    let (peer, _stream) = close(&mut wire, &listener, 4_000, b"");
    let mut old = peer.clone();
    old.seq = old.seq.wrapping_sub(100);
    ack_of(&peer, &wire.send(old.packet(ACK, b"old data")));
    // A SYN that may not succeed: old by timestamp.
    let mut syn = Peer::new(peer.from, peer.to, options(4_000));
    syn.seq = peer.seq.wrapping_add(1_000);
    ack_of(&peer, &wire.send(syn.packet(SYN, b"")));
    let mut rst = peer.clone();
    rst.seq = rst.seq.wrapping_add(1);
    ack_of(&peer, &wire.send(rst.packet(RST, b"")));
    assert_eq!(wire.stack().time_waits(), 1);
    assert!(wire.send(peer.clone().packet(RST, b"")).is_empty());
    assert_eq!(wire.stack().time_waits(), 0);
}

#[test]
fn after_the_peers_reset_there_is_nothing_left_but_resets() {
    let mut wire = Wire::new(Config::default());
    let listener = bind(&wire);
    let (mut peer, _stream) = close(&mut wire, &listener, 4_000, b"");
    assert_eq!(wire.stack().time_waits(), 1);
    assert!(wire.send(peer.packet(RST, b"")).is_empty());
    assert_eq!(wire.stack().time_waits(), 0);
    let answer = wire.send(peer.packet(FIN | ACK, b""));
    assert_eq!(answer.len(), 1, "{answer:?}");
    assert_eq!(answer[0].header.flags, RST);
}

#[test]
fn a_newer_syn_opens_a_connection_in_its_place() {
    let mut wire = Wire::new(Config::default());
    let listener = bind(&wire);
    let (old, _stream) = close(&mut wire, &listener, 4_000, b"");
    let mut peer = Peer::new(old.from, old.to, options(6_000));
    let syn_ack = peer.syn(&mut wire).expect("a SYN-ACK");
    let distance = syn_ack.header.seq.wrapping_sub(old.ack);
    assert!(distance > 1 << 16 && distance < 1 << 31, "{distance}");
    assert_eq!(
        (wire.stack().time_waits(), wire.stack().half_open()),
        (0, 1)
    );
    wire.send(peer.packet(ACK, b""));
    assert_eq!(wire.stack().connections(), 1);
}

#[test]
fn even_in_a_flood_a_newer_syn_gets_an_entry() {
    let config = Config {
        max_half_open: 4,
        ..Config::default()
    };
    let mut wire = Wire::new(config);
    let listener = bind(&wire);
    let (old, _stream) = close(&mut wire, &listener, 4_000, b"");
    for port in 5_000..5_020 {
        let mut peer = Peer::new(address(port), ours(80), options(1));
        peer.syn(&mut wire).expect("a SYN-ACK");
    }
    let cookies = wire.stack().counters().count(Counter::TcpSynCookiesSent);
    assert!(cookies > 0);
    let mut peer = Peer::new(old.from, old.to, options(6_000));
    peer.syn(&mut wire).expect("a SYN-ACK");
    let after = wire.stack().counters().count(Counter::TcpSynCookiesSent);
    assert_eq!((after, wire.stack().time_waits()), (cookies, 0));
}

/// A SYN to a port without a listener opens nothing: it must not end the TIME-WAIT of that port.
#[test]
fn without_a_listener_a_syn_ends_no_time_wait() {
    let mut wire = Wire::new(Config::default());
    let listener = bind(&wire);
    let (old, _stream) = close(&mut wire, &listener, 4_000, b"");
    drop(listener);
    let mut peer = Peer::new(old.from, old.to, options(6_000));
    peer.seq = old.seq.wrapping_add(5);
    ack_of(&old, &wire.send(peer.packet(SYN, b"")));
    assert_eq!(wire.stack().time_waits(), 1);
    let dropped = wire.stack().counters().dropped(DropReason::TcpChallenged);
    assert_eq!(dropped, 1);
}

#[test]
fn a_new_connection_of_ours_does_not_take_the_four_tuple() {
    let mut wire = Wire::new(Config::default());
    let listener = bind(&wire);
    let (old, _stream) = close(&mut wire, &listener, 4_000, b"");
    drop(listener);
    let connect = TcpStream::connect_from(wire.stack(), old.to, old.from);
    let refused = connect.now_or_never().expect("at once").expect_err("taken");
    assert_eq!(refused.kind(), ErrorKind::AddrInUse);
}

#[test]
fn the_queue_is_bounded_and_the_oldest_one_makes_room() {
    let config = Config {
        max_time_wait: 10,
        ..Config::default()
    };
    let mut wire = Wire::new(config);
    let listener = bind(&wire);
    let mut peers = Vec::new();
    for port in 0..30 {
        peers.push(close(&mut wire, &listener, 4_000 + port, b"").0);
        wire.pass(Duration::from_millis(10));
        assert!(wire.stack().time_waits() <= 10);
        assert_eq!(wire.stack().connections(), 0);
    }
    let counters = wire.stack().counters();
    assert_eq!(counters.count(Counter::TcpTimeWaitsRecycled), 20);
    // The ten youngest are left: they answer, and the others do not know the port.
    for (n, peer) in peers.iter().enumerate() {
        let mut late = peer.clone();
        late.seq = late.seq.wrapping_sub(1);
        let sent = wire.send(late.packet(FIN | ACK, b""));
        let expected = if n < 20 { RST } else { ACK };
        assert_eq!(sent[0].header.flags, expected, "peer {n}");
    }
}

#[test]
fn what_is_in_time_wait_and_half_open_is_listed() {
    // More than a list takes out of each part of the table at a time.
    const HANDSHAKES: u16 = 10_000;
    let mut wire = Wire::new(Config {
        max_half_open: 4 * usize::from(HANDSHAKES),
        ..Config::default()
    });
    let listener = bind(&wire);
    let (peer, stream) = close(&mut wire, &listener, 999, b"");
    let found: Vec<_> = wire.stack().list_time_waits().collect();
    assert_eq!(found.len(), wire.stack().time_waits());
    assert_eq!((found[0].local, found[0].remote), (ours(80), address(999)));
    assert!(found[0].remaining > Duration::ZERO);
    assert_eq!(wire.stack().list_half_open().count(), 0);
    for port in 1_000..1_000 + HANDSHAKES {
        let syn = Peer::new(address(port), ours(80), options(1)).packet(SYN, b"");
        assert_eq!(wire.send(syn).len(), 1);
    }
    let list = |wire: &Wire| {
        let peers = wire.stack().list_half_open().map(|half| half.remote);
        peers.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(list(&wire).len(), usize::from(HANDSHAKES));
    assert_eq!(wire.stack().half_open(), usize::from(HANDSHAKES));
    let mut first = Peer::new(address(1_000), ours(80), options(1));
    assert!(list(&wire).contains(&address(1_000)));
    // A second SYN gets the SYN-ACK again, whose numbers end the handshake.
    first.open(&mut wire);
    assert!(!list(&wire).contains(&address(1_000)));
    let info = wire.stack().tcp_info_of(ours(80), address(1_000));
    assert_eq!(info.map(|info| info.state), Some(State::Established));
    assert_eq!(wire.stack().tcp_info_of(ours(80), address(999)), None);
    // Each of these packets was a worker's.
    let reports = wire.stack().worker_reports();
    let all = wire.stack().counters();
    let sum = |counter| {
        reports
            .iter()
            .map(|one| one.counters.count(counter))
            .sum::<u64>()
    };
    assert_eq!(sum(Counter::PacketsIn), all.count(Counter::PacketsIn));
    assert!(reports[0].busy_turns > u64::from(HANDSHAKES));
    drop((peer, stream));
}
