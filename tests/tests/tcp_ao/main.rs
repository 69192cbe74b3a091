//! Authenticated connections (TCP-AO, RFC 5925): a peer that signs segment by segment, one that does not, and two stacks.
//!
//! No kernel takes part: this one is built without the option. What other implementations sign is in RFC 9235, and the unit
//! tests of `netstack::ao` verify each of its segments.

mod router;
mod two_stacks;

use std::net::SocketAddr;
use std::time::Duration;

use futures::FutureExt as _;
use netstack::ao::{Ends, KeySet, OPTION_LEN};
use netstack::base::Config;
use netstack::net::{AoAlgorithm, AoKey, AoKeys, TcpListener, TcpSocket, TcpStream};
use netstack::{Counter, DropReason};
use packet::tcp::{FastOpen, TcpOptions, Timestamps};
use tests::forge::{icmp, packet_to, parts, seal, sealed};
use tests::raw_peer::{ACK, FIN, OURS, Peer, RST, SYN, Wire, ours, read};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use router::Router;

const SECRET: &[u8] = b"a secret of two routers";
const PORT: u16 = 179;

fn key(send_id: u8, recv_id: u8) -> AoKey {
    AoKey::new(AoAlgorithm::HmacSha1, send_id, recv_id, SECRET).expect("a key")
}

fn keys_of(keys: impl IntoIterator<Item = AoKey>) -> AoKeys {
    let set = AoKeys::new();
    for key in keys {
        set.add(key).expect("a key of its own");
    }
    set
}

fn options() -> TcpOptions {
    TcpOptions {
        mss: Some(1_400),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some(Timestamps { val: 5_000, ecr: 0 }),
        authentication_len: OPTION_LEN,
        ..TcpOptions::default()
    }
}

fn at(host: u8, port: u16) -> SocketAddr {
    SocketAddr::new([10, 0, 0, host].into(), port)
}

fn listener(wire: &Wire, keys: &AoKeys) -> TcpListener {
    let socket = TcpSocket::new_v4(wire.stack());
    socket.set_ao_keys(Some(keys));
    socket.bind(ours(PORT)).expect("bind");
    socket.listen(16).expect("listen")
}

fn accept(listener: &TcpListener) -> Option<TcpStream> {
    let (stream, _) = listener.accept().now_or_never()?.expect("accepted");
    Some(stream)
}

fn dropped(wire: &Wire, reason: DropReason) -> u64 {
    wire.stack().counters().dropped(reason)
}

fn read_now(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut buffer = [0; 100];
    let read = stream.read(&mut buffer).now_or_never()?;
    Some(buffer[..read.expect("read")].to_vec())
}

#[test]
fn rfc5925_7_5_a_listener_takes_signed_segments_only_and_signs_its_own() {
    let mut wire = Wire::new(Config::default());
    let listener = listener(&wire, &keys_of([key(1, 2)]));
    // A peer that knows nothing of it gets no answer, nor does one with another secret or number.
    let mut plain = Peer::new(at(9, 5_000), ours(PORT), TcpOptions::default());
    assert_eq!(wire.send(plain.packet(SYN, b"")).len(), 0);
    assert_eq!(dropped(&wire, DropReason::TcpAoMissing), 1);
    let other = AoKey::new(AoAlgorithm::HmacSha1, 2, 1, b"guessed").expect("a key");
    let mut guessing = Router::new(at(9, 5_001), ours(PORT), [other]);
    assert_eq!(guessing.send(&mut wire, SYN, b"").len(), 0);
    assert_eq!(dropped(&wire, DropReason::TcpAoBad), 1);
    let mut unknown = Router::new(at(9, 5_002), ours(PORT), [key(7, 1)]);
    assert_eq!(unknown.send(&mut wire, SYN, b"").len(), 0);
    assert_eq!(dropped(&wire, DropReason::TcpAoUnknownKey), 1);

    let mut router = Router::new(at(9, 6_000), ours(PORT), [key(2, 1)]);
    let sent = router.send(&mut wire, SYN, b"");
    assert_eq!(sent[0].header.flags, SYN | ACK);
    // The SYN-ACK again, when its timer expires.
    let before = router.session.info().accepted;
    wire.now += Duration::from_millis(1_100);
    let packets = wire.packets();
    assert_eq!(router.take(&wire, &packets).len(), 1);
    assert_eq!(router.session.info().accepted, before + 1);
    // Whoever sees the numbers, but has no key, ends nothing and completes nothing.
    let (seq, ack) = (router.peer.seq, router.peer.ack);
    let forger = |flags, payload: &[u8]| {
        let mut forger = Peer {
            options: TcpOptions::default(),
            ..Peer::new(at(9, 6_000), ours(PORT), TcpOptions::default())
        };
        (forger.seq, forger.ack) = (seq, ack);
        forger.packet(flags, payload)
    };
    for (flags, payload) in [(ACK, &b""[..]), (RST, b""), (ACK, b"evil")] {
        assert_eq!(wire.send(forger(flags, payload)).len(), 0);
    }
    assert!(accept(&listener).is_none());
    router.send(&mut wire, ACK, b"");
    let mut stream = accept(&listener).expect("a connection");
    for (flags, payload) in [
        (RST, &b""[..]),
        (ACK, b"evil"),
        (FIN | ACK, b""),
        (SYN, b""),
    ] {
        assert_eq!(wire.send(forger(flags, payload)).len(), 0, "{flags:?}");
    }
    assert_eq!(dropped(&wire, DropReason::TcpAoMissing), 1 + 3 + 4);
    assert_eq!(read_now(&mut stream), None);
    // The same segment, damaged on the way by one that corrects the checksum.
    let mut damaged = router.packet(ACK, b"hello");
    *damaged.last_mut().expect("a byte") ^= 1;
    seal(&mut damaged);
    wire.send(damaged);
    assert_eq!(read_now(&mut stream), None);
    router.peer.seq = router.peer.seq.wrapping_sub(5);
    router.send(&mut wire, ACK, b"hello");
    assert_eq!(read_now(&mut stream).as_deref(), Some(&b"hello"[..]));
    let written = stream.write_all(b"world").now_or_never();
    written.expect("room").expect("written");
    let packets = wire.packets();
    let sent = router.take(&wire, &packets);
    assert_eq!(sent.last().expect("an answer").payload, b"world");
    let info = stream.ao_info().expect("authenticated");
    assert_eq!((info.bad, info.missing), (1, 4));
    assert_eq!(info.last_received, Some((2, 1)));
    assert!(wire.stack().counters().count(Counter::TcpAoAccepted) >= info.accepted);
    // A signed reset ends it.
    router.send(&mut wire, RST, b"");
    let end = stream.read(&mut [0; 1]).now_or_never().expect("at once");
    assert!(end.is_err());
}

#[test]
fn rfc5925_7_4_an_active_open_is_signed_and_hears_no_stranger() {
    let mut wire = Wire::new(Config::default());
    let socket = TcpSocket::new_v4(wire.stack());
    socket.set_ao_keys(Some(&keys_of([key(1, 2)])));
    let to = at(9, PORT);
    let mut connecting = Box::pin(socket.connect(to));
    assert!(connecting.as_mut().now_or_never().is_none());
    let syn = wire.packets();
    let [syn] = &syn[..] else {
        panic!("a SYN: {syn:?}");
    };
    let sent = read(syn, wire.now).expect("a segment");
    let ends = Ends {
        local: to,
        remote: sent.from,
    };
    let mut keys = KeySet::default();
    keys.add(key(2, 1)).expect("the first");
    let (_, _, bytes) = parts(syn).expect("a segment");
    assert_eq!(keys.verify_syn(&ends, bytes), Ok(Some(1)));

    let mut peer = Peer::new(to, sent.from, options());
    peer.seq = 7_000;
    peer.hear(&sent);
    let session = keys
        .resume(sent.from, 1, 7_000, sent.header.seq)
        .expect("a key");
    let mut router = Router {
        peer,
        keys,
        session,
        ends,
    };
    // Refusals and acceptances of others.
    let mut stranger = Peer {
        options: TcpOptions::default(),
        ..router.peer.clone()
    };
    for flags in [RST | ACK, SYN | ACK] {
        assert_eq!(wire.send(stranger.packet(flags, b"")).len(), 0);
    }
    assert!(connecting.as_mut().now_or_never().is_none());
    // Nothing is in flight that ICMP could be about but the SYN: it may end a connection that is not open yet.
    let ack = router.send(&mut wire, SYN | ACK, b"");
    assert_eq!(ack.len(), 1);
    let stream = connecting.now_or_never().expect("open").expect("open");

    // RFC 5925 section 7.8: hard errors are nobody's word.
    let mut stream = stream;
    let write = stream.write_all(b"question").now_or_never();
    write.expect("room").expect("written");
    let question = wire.packets();
    // Protocol and port unreachable, and fragmentation needed: codes 2 to 4.
    let error = |code: u8, quote: &[u8]| {
        let mtu = if code == 4 { [0, 0, 2, 88] } else { [0; 4] };
        sealed(packet_to(to.ip(), OURS, 1, &icmp(3, code, mtu, quote)))
    };
    for code in 2..=4 {
        wire.send(error(code, &question[0]));
    }
    let ignored = |wire: &Wire| wire.stack().counters().count(Counter::TcpAoIcmpIgnored);
    assert_eq!(ignored(&wire), 3);
    router.take(&wire, &question);
    router.send(&mut wire, ACK, b"answer");
    assert_eq!(read_now(&mut stream).as_deref(), Some(&b"answer"[..]));
    // Unless the program wants them heeded.
    assert!(stream.set_ao_heeds_icmp(true));
    let write = stream.write_all(b"question").now_or_never();
    write.expect("room").expect("written");
    let question = wire.packets();
    wire.send(error(3, &question[0]));
    assert_eq!(ignored(&wire), 3);
}

#[test]
fn rfc5925_7_2_time_wait_is_authenticated_too() {
    let mut wire = Wire::new(Config::default());
    let listener = listener(&wire, &keys_of([key(1, 2)]));
    let mut router = Router::new(at(9, 6_000), ours(PORT), [key(2, 1)]);
    router.open(&mut wire);
    let stream = accept(&listener).expect("a connection");
    drop(stream);
    let packets = wire.packets();
    let fin = router.take(&wire, &packets);
    assert!(fin.last().expect("a FIN").header.flags.contains(FIN));
    let fin = router.packet(FIN | ACK, b"");
    assert_eq!(router.offer(&mut wire, fin.clone()).len(), 1);
    assert_eq!(wire.stack().counters().count(Counter::TcpClosed), 0);
    // The FIN again: its answer is signed, as `offer` checks.
    assert_eq!(router.offer(&mut wire, fin).len(), 1);
    // Another connection of the same ends: a forged SYN opens none, a signed one does.
    let mut plain = Peer::new(at(9, 6_000), ours(PORT), TcpOptions::default());
    plain.seq = router.peer.seq.wrapping_add(1_000_000);
    assert_eq!(wire.send(plain.packet(SYN, b"")).len(), 0);
    let mut again = Router::new(at(9, 6_000), ours(PORT), [key(2, 1)]);
    again.peer.ts = 50_000;
    again.peer.seq = plain.seq;
    again.session = again.keys.begin(ours(PORT), again.peer.seq).expect("a key");
    again.open(&mut wire);
    let _successor = accept(&listener).expect("a connection");
    // Without a successor it ends by itself.
    let mut last = Router::new(at(9, 6_001), ours(PORT), [key(2, 1)]);
    last.open(&mut wire);
    drop(accept(&listener));
    let packets = wire.packets();
    last.take(&wire, &packets);
    last.send(&mut wire, FIN | ACK, b"");
    let closed = wire.stack().counters().count(Counter::TcpClosed);
    wire.pass(Duration::from_secs(300));
    assert_eq!(
        wire.stack().counters().count(Counter::TcpClosed),
        closed + 1
    );
}

#[test]
fn a_peer_that_begins_anew_is_not_kept_out_by_its_handshake_before() {
    let mut wire = Wire::new(Config::default());
    let listener = listener(&wire, &keys_of([key(1, 2)]));
    let mut lost = Router::new(at(9, 6_000), ours(PORT), [key(2, 1)]);
    lost.send(&mut wire, SYN, b"");
    // The same ports, another number, a later timestamp.
    let mut again = Router::new(at(9, 6_000), ours(PORT), [key(2, 1)]);
    again.peer.seq = 1_000_000;
    again.peer.ts += 1_000;
    again.session = again.keys.begin(ours(PORT), again.peer.seq).expect("a key");
    again.open(&mut wire);
    assert!(accept(&listener).is_some());
    assert_eq!(wire.stack().half_open(), 0);
}

#[test]
fn a_time_wait_that_keeps_its_keys_makes_room_in_a_full_table() {
    let config = Config {
        max_connections: 2,
        ..Config::default()
    };
    let mut wire = Wire::new(config);
    let listener = listener(&wire, &keys_of([key(1, 2)]));
    let mut closing = Router::new(at(9, 6_000), ours(PORT), [key(2, 1)]);
    closing.open(&mut wire);
    drop(accept(&listener).expect("a connection"));
    let packets = wire.packets();
    closing.take(&wire, &packets);
    closing.send(&mut wire, FIN | ACK, b"");
    let mut staying = Router::new(at(8, 6_000), ours(PORT), [key(2, 1)]);
    staying.open(&mut wire);
    let mut stays = accept(&listener).expect("a connection");
    assert_eq!(wire.stack().connections(), 2);
    // The answer to whether there is room is kept for a moment.
    wire.pass(Duration::from_millis(50));
    let mut newcomer = Router::new(at(7, 6_000), ours(PORT), [key(2, 1)]);
    newcomer.open(&mut wire);
    assert!(accept(&listener).is_some());
    staying.send(&mut wire, ACK, b"still here");
    assert_eq!(read_now(&mut stays).as_deref(), Some(&b"still here"[..]));
}

#[test]
fn rfc5925_7_3_peers_without_a_key_connect_unless_that_is_refused() {
    let mut wire = Wire::new(Config::default());
    let lan = |key: AoKey| key.for_peers("10.0.0.9/32".parse().expect("a prefix"));
    let keys = keys_of([lan(key(1, 2))]);
    let listener = listener(&wire, &keys);
    let mut plain = Peer::new(at(8, 5_000), ours(PORT), TcpOptions::default());
    plain.open(&mut wire);
    let stream = accept(&listener).expect("a connection");
    assert!(stream.ao_info().is_none());
    assert!(stream.set_ao_current_key(1).is_err() && !stream.set_ao_heeds_icmp(true));
    keys.refuse_others(true);
    let mut late = Peer::new(at(8, 5_001), ours(PORT), TcpOptions::default());
    assert_eq!(wire.send(late.packet(SYN, b"")).len(), 0);
    assert_eq!(dropped(&wire, DropReason::TcpAoRefused), 1);
    // What is open stays open.
    let mut stream = stream;
    wire.send(plain.packet(ACK, b"still here"));
    assert_eq!(read_now(&mut stream).as_deref(), Some(&b"still here"[..]));
    let socket = TcpSocket::new_v4(wire.stack());
    socket.set_ao_keys(Some(&keys));
    let refused = socket.connect(at(8, 1)).now_or_never().expect("at once");
    let why = refused.expect_err("refused").to_string();
    assert!(why.contains("no key for 10.0.0.8:1"), "{why}");
}

#[test]
fn rfc5925_7_5_a_handshake_that_began_without_a_key_is_not_completed_without_one() {
    let mut wire = Wire::new(Config::default());
    let keys = AoKeys::new();
    let listener = listener(&wire, &keys);
    let mut plain = Peer::new(at(9, 5_000), ours(PORT), TcpOptions::default());
    plain.syn(&mut wire).expect("a SYN-ACK");
    keys.add(key(1, 2)).expect("the first");
    wire.send(plain.packet(ACK, b""));
    assert!(accept(&listener).is_none());
    assert_eq!(dropped(&wire, DropReason::TcpAoMissing), 1);
    // Nothing is left of it: the peer begins anew, with the key.
    let mut router = Router::new(at(9, 5_000), ours(PORT), [key(2, 1)]);
    router.open(&mut wire);
    assert!(accept(&listener).expect("a connection").ao_info().is_some());
}

#[test]
fn a_flood_without_keys_shuts_no_authenticated_peer_out_and_cookies_let_none_in() {
    let config = Config {
        max_half_open: 16,
        ..Config::default()
    };
    let mut wire = Wire::new(config);
    let nine = |key: AoKey| key.for_peers("10.0.0.9/32".parse().expect("a prefix"));
    let keys = keys_of([nine(key(1, 2))]);
    let listener = listener(&wire, &keys);
    let mut victim = Peer::new(at(77, 4_000), ours(PORT), TcpOptions::default());
    for n in 0..200_u16 {
        let from = SocketAddr::new([10, 3, (n >> 4) as u8, n as u8].into(), 4_000);
        let mut flooding = Peer::new(from, ours(PORT), TcpOptions::default());
        wire.send(flooding.packet(SYN, b""));
    }
    let cookies = wire.stack().counters().count(Counter::TcpSynCookiesSent);
    assert!(cookies > 100, "the queue is full");
    // This one has a cookie, and gets a key before it uses it.
    victim.syn(&mut wire).expect("a SYN-ACK");
    assert_eq!(
        wire.stack().counters().count(Counter::TcpSynCookiesSent),
        cookies + 1
    );
    let mut router = Router::new(at(9, 6_000), ours(PORT), [key(2, 1)]);
    router.open(&mut wire);
    assert!(accept(&listener).expect("a connection").ao_info().is_some());
    let victims = "10.0.0.77/32".parse().expect("a prefix");
    keys.add(key(3, 4).for_peers(victims)).expect("apart");
    wire.send(victim.packet(ACK, b""));
    assert!(accept(&listener).is_none());
}

#[test]
fn an_authenticated_syn_opens_nothing_early() {
    let mut wire = Wire::new(Config::default());
    let socket = TcpSocket::new_v4(wire.stack());
    socket.set_fast_open(16).expect("Fast Open");
    let keys = keys_of([key(1, 2).for_peers("10.0.0.9/32".parse().expect("a prefix"))]);
    socket.set_ao_keys(Some(&keys));
    socket.bind(ours(PORT)).expect("bind");
    let listener = socket.listen(16).expect("listen");
    // A request for a cookie, of one without a key and of one with a key.
    let request = || {
        let mut options = TcpOptions {
            mss: Some(1_400),
            ..TcpOptions::default()
        };
        options.set_fast_open(FastOpen::new(&[]));
        options
    };
    let mut plain = Peer::new(at(8, 5_000), ours(PORT), request());
    let syn_ack = plain.syn(&mut wire).expect("a SYN-ACK");
    assert!(syn_ack.header.options.fast_open().is_some());
    let mut router = Router::new(at(9, 5_000), ours(PORT), [key(2, 1)]);
    router.peer.options = TcpOptions {
        authentication_len: OPTION_LEN,
        ..request()
    };
    let sent = router.send(&mut wire, SYN, b"");
    assert_eq!(sent[0].header.options.fast_open(), None);
    assert!(accept(&listener).is_none());
    let socket = TcpSocket::new_v4(wire.stack());
    socket.set_ao_keys(Some(&keys));
    assert_eq!(socket.fast_open_room(at(9, 1)).expect("an address"), 0);
}

#[test]
fn a_key_that_is_removed_ends_its_connections_by_time_and_says_so() {
    let mut wire = Wire::new(Config::default());
    let keys = keys_of([key(1, 2)]);
    let listener = listener(&wire, &keys);
    let mut router = Router::new(at(9, 6_000), ours(PORT), [key(2, 1)]);
    router.open(&mut wire);
    let mut stream = accept(&listener).expect("a connection");
    let half_open = Router::new(at(9, 6_001), ours(PORT), [key(2, 1)]).packet(SYN, b"");
    assert_eq!(wire.send(half_open).len(), 1);
    assert_eq!(keys.remove(|_| true), 1);
    router.send(&mut wire, ACK, b"unheard");
    assert_eq!(dropped(&wire, DropReason::TcpAoUnknownKey), 1);
    let written = stream.write_all(b"unsent").now_or_never();
    written.expect("room").expect("written");
    assert!(wire.pass(Duration::from_secs(10)).is_empty());
    assert!(
        dropped(&wire, DropReason::TcpAoUnsigned) > 2,
        "both connections"
    );
    // In time it is there again.
    keys.add(key(1, 2)).expect("free");
    router.peer.seq = router.peer.seq.wrapping_sub(7);
    router.send(&mut wire, ACK, b"heard");
    assert_eq!(read_now(&mut stream).as_deref(), Some(&b"heard"[..]));
}

#[test]
fn rfc5925_6_1_an_idle_connection_tells_which_key_it_wants() {
    let mut wire = Wire::new(Config::default());
    let keys = keys_of([key(1, 2)]);
    let listener = listener(&wire, &keys);
    let mut router = Router::new(at(9, 6_000), ours(PORT), [key(2, 1), key(12, 11)]);
    router.open(&mut wire);
    let stream = accept(&listener).expect("a connection");
    // It rests by now.
    wire.pass(Duration::from_secs(5));
    keys.add(key(11, 12)).expect("apart");
    stream.set_ao_rnext_key(12).expect("there");
    let packets = wire.packets();
    assert_eq!(router.take(&wire, &packets).len(), 1);
    assert_eq!(router.session.info().current_key, 12);
}

#[test]
fn signed_acknowledgments_have_the_sack_block_that_fits() {
    let mut wire = Wire::new(Config::default());
    let listener = listener(&wire, &keys_of([key(1, 2)]));
    let mut router = Router::new(at(9, 6_000), ours(PORT), [key(2, 1)]);
    router.open(&mut wire);
    let _stream = accept(&listener).expect("a connection");
    let first = router.peer.seq;
    for gap in 1..=4 {
        router.peer.seq = first.wrapping_add(200 * gap);
        let sent = router.send(&mut wire, ACK, &[7; 100]);
        let [ack] = &sent[..] else {
            panic!("an ACK: {sent:?}");
        };
        let start = first.wrapping_add(200 * gap);
        // RFC 2018 section 4: the newest one. Timestamps and the code leave room for no other.
        assert_eq!(
            ack.header.options.sack.as_slice(),
            [(start, start.wrapping_add(100))]
        );
        assert_eq!(ack.header.options.authentication_len, OPTION_LEN);
        assert!(ack.header.options.timestamps.is_some());
    }
}
